//! Every link and every anchor inside the repository leads somewhere.

use super::{apart, pages, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// What GitHub and mdBook make of a heading.
fn slug(heading: &str) -> String {
    let link = regex::Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let heading = link.replace_all(heading, "$1").to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = apart(page);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for line in &prose {
        if line.starts_with('#') {
            let slug = slug(line.trim_start_matches('#').trim());
            let count = seen.entry(slug.clone()).or_default();
            all.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
            *count += 1;
        }
    }
    let id = regex::Regex::new("<a id=\"([^\"]+)\">").unwrap();
    all.extend(prose.iter().flat_map(|line| id.captures_iter(line)).map(|found| found[1].to_owned()));
    all
}

fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// What is wrong with a link from this page; the count of looked-at links.
fn follow(from: &str, target: &str, anchors_of: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let at = match path {
        "" => PathBuf::from(from),
        path => plain(&Path::new(from).parent().unwrap_or(Path::new("")).join(path)),
    };
    if !root().join(&at).exists() {
        return Some(format!("{from}: {target}: no such file"));
    }
    let known = anchors_of.get(at.to_str()?);
    match (anchor, known) {
        ("", _) => None,
        (anchor, Some(known)) if known.contains(anchor) => None,
        (_, Some(_)) => Some(format!("{from}: {target}: no such heading")),
        (_, None) => Some(format!("{from}: {target}: an anchor of what is no page")),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors_of: BTreeMap<String, BTreeSet<String>> =
        pages.iter().map(|(name, text)| (name.clone(), anchors(text))).collect();
    let link = regex::Regex::new(r#"\]\(([^)\s]+)(?: "[^"]*")?\)|(?:src|srcset|href)="([^"]+)""#).unwrap();
    let code = regex::Regex::new(r"`[^`]*`").unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (name, text) in &pages {
        for line in apart(text).1 {
            // Words in code inside of a link's text stay a link; whole links in code are none.
            let shown = code.replace_all(line, "code");
            for found in link.captures_iter(&shown) {
                let target = found.get(1).or(found.get(2)).unwrap().as_str();
                if !target.contains("://") && !target.starts_with("mailto:") {
                    count += 1;
                    wrong.extend(follow(name, target, &anchors_of));
                }
            }
        }
    }
    // And what the program, dashboards and alerts say of our pages.
    let ours = regex::Regex::new(r#"https://github\.com/fourmi-proxy/fourmi/blob/main/([^"\s)`'\\]+)"#).unwrap();
    let mut folders = ["dashboards", "sidecar/src", "docs"].map(|name| root().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for found in ours.captures_iter(&text) {
                // What is put together at run time ends where its text does.
                let target = found[1].trim_end_matches(['#', '.', ',', '}', ']']);
                if !target.contains(['{', '$', '…']) {
                    count += 1;
                    let fault = follow("README.md", target, &anchors_of);
                    wrong.extend(fault.map(|fault| format!("{}: {fault}", path.display())));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} links lead nowhere:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 400, "only {count} links were found");
    println!("{count} links lead somewhere");
}

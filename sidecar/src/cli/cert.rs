//! `fourmi cert`: what was made, and what is in the files.

use super::args::{CertCommand, Global};
use super::out;
use crate::cert::{self, Failure, Init, Issue, Kept, KeyFile, Shown, Usage, date};
use serde_json::{Value, json};
use std::path::PathBuf;

const DAY: i64 = 86_400;

pub(crate) fn cert(global: &Global, command: CertCommand) -> u8 {
    let done = match command {
        CertCommand::Init { dir, trust_domain, days } => init(global, &Init { folder: dir, trust_domain, days }),
        CertCommand::Issue { name, dir, out, dns, ip, days, client_only, server_only } => {
            let usage = match (client_only, server_only) {
                (true, _) => Some(Usage::Client),
                (_, true) => Some(Usage::Server),
                _ => None,
            };
            let (dns, ips) = (Some(dns).filter(|d| !d.is_empty()), Some(ip).filter(|i| !i.is_empty()));
            issue(global, &Issue { name, authority: dir, out, dns, ips, days, usage })
        }
        CertCommand::Show { files } => return show(global, &files),
    };
    done.unwrap_or_else(|failure| told(&failure))
}

fn told(failure: &Failure) -> u8 {
    out::note(&format!("error: {}", failure.message));
    failure.code
}

fn init(global: &Global, asked: &Init) -> Result<u8, Failure> {
    let made = cert::init(asked)?;
    let (certificate, key) = (made.certificate.display(), made.key.display());
    if global.json() {
        return Ok(out::json(&json!({
            "certificate": certificate.to_string(),
            "key": key.to_string(),
            "trust_domain": made.trust_domain,
            "not_after": date(made.not_after),
        })));
    }
    let code = out::result(&format!("{certificate}\n{key}\n"));
    if !global.quiet {
        out::note(&format!(
            "next: keep {key} where only you can read it; `fourmi cert issue NAME --dir {}` makes certificates of \
             spiffe://{}/NAME",
            asked.folder.display(),
            made.trust_domain
        ));
    }
    Ok(code)
}

fn issue(global: &Global, asked: &Issue) -> Result<u8, Failure> {
    let issued = cert::issue(asked)?;
    let (certificate, key) = (issued.certificate.display(), issued.key.display());
    if issued.shortened {
        out::note(&format!("warning: it ends with its authority, on {}", date(issued.not_after)));
    }
    if global.json() {
        return Ok(out::json(&json!({
            "certificate": certificate.to_string(),
            "key": key.to_string(),
            "identity": issued.identity,
            "not_after": date(issued.not_after),
            "renewed": issued.renewed,
            "kept": kept(&issued.kept),
            "made_folder": issued.made_folder,
        })));
    }
    let code = out::result(&format!("{certificate}\n{key}\n"));
    if !global.quiet {
        let what = if issued.renewed { "renewed" } else { "issued" };
        out::note(&format!("{what}: {}, until {}", issued.identity, date(issued.not_after)));
        let kept = kept_in_words(&issued.kept);
        if !kept.is_empty() {
            out::note(&format!("kept: {}", kept.join(", ")));
        }
        if issued.made_folder {
            out::note(&format!("made the folder {}", asked.out.display()));
        }
    }
    Ok(code)
}

fn word(usage: Usage) -> &'static str {
    match usage {
        Usage::Both => "server+client",
        Usage::Client => "client",
        Usage::Server => "server",
    }
}

fn kept(kept: &Kept) -> Value {
    json!({ "dns": kept.dns, "ip": kept.ips, "usage": kept.usage.map(word), "days": kept.days })
}

/// Only what would be otherwise in a new one.
fn kept_in_words(kept: &Kept) -> Vec<String> {
    let mut words = kept.dns.clone();
    words.extend(kept.ips.iter().map(ToString::to_string));
    words.extend(kept.usage.filter(|u| *u != Usage::Both).map(|u| format!("{} only", word(u))));
    words.extend(kept.days.filter(|d| *d != cert::DAYS).map(|d| format!("{d} days")));
    words
}

/// Whether what a file has can be used now. Of several authorities one has its key here at most.
fn usable(shown: &[Shown]) -> bool {
    let other = |s: &Shown| matches!(s.key, KeyFile::Mismatch(_));
    let own = shown.iter().any(|s| matches!(s.key, KeyFile::Matches(_)));
    shown.iter().all(|s| s.state() == "ok" && !(other(s) && (!s.authority || !own)))
}

/// What can be shown is, whatever is wrong with another file.
fn show(global: &Global, files: &[PathBuf]) -> u8 {
    let (mut all, mut worst) = (Vec::new(), 0);
    for file in files {
        match cert::show(file) {
            Ok(shown) => {
                worst = worst.max(u8::from(!usable(&shown)));
                all.extend(shown);
            }
            Err(failure) => worst = worst.max(told(&failure)),
        }
    }
    let printed = match global.json() {
        true => out::json(&Value::Array(all.iter().map(object).collect())),
        false if all.is_empty() => 0,
        false => out::result(&table(&all)),
    };
    if worst == 0 { printed } else { worst }
}

fn object(shown: &Shown) -> Value {
    let key = match &shown.key {
        KeyFile::None => Value::Null,
        KeyFile::Matches(file) => json!({ "file": file.display().to_string(), "matches": true }),
        KeyFile::Mismatch(file) => json!({ "file": file.display().to_string(), "matches": false }),
        KeyFile::Unknown(file, why) => {
            json!({ "file": file.display().to_string(), "matches": Value::Null, "error": why })
        }
    };
    json!({
        "file": shown.file.display().to_string(),
        "subject": shown.subject,
        "issuer": shown.issuer,
        "serial": shown.serial,
        "identity": shown.identity,
        "dns": shown.dns,
        "ip": shown.ips,
        "other_names": shown.others,
        "not_before": date(shown.not_before),
        "not_after": date(shown.not_after),
        "seconds_left": shown.left(),
        "state": shown.state(),
        "authority": shown.authority,
        "server": shown.server,
        "client": shown.client,
        "key": key,
    })
}

/// One line a certificate, each with its file. Of what a certificate says only the last cell can have blanks.
fn table(all: &[Shown]) -> String {
    let head = ["FILE", "STATE", "LEFT", "EXPIRES", "KEY", "USE", "IDENTITY", "NAMES", "SUBJECT"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(all.iter().map(cells));
    let mut widths = [0; 9];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn cells(shown: &Shown) -> [String; 9] {
    let key = match &shown.key {
        KeyFile::None => "none",
        KeyFile::Matches(_) => "matches",
        KeyFile::Mismatch(_) => "mismatch",
        KeyFile::Unknown(..) => "unreadable",
    };
    let usage = match (shown.authority, shown.server, shown.client) {
        (true, ..) => "authority",
        (_, true, true) => "server+client",
        (_, true, _) => "server",
        (_, _, true) => "client",
        _ => "other",
    };
    let names: Vec<&str> = shown.dns.iter().chain(&shown.ips).chain(&shown.others).map(String::as_str).collect();
    [
        shown.file.display().to_string(),
        shown.state().to_owned(),
        left(shown.left()),
        date(shown.not_after),
        key.to_owned(),
        usage.to_owned(),
        shown.identity.clone().unwrap_or_else(|| "-".to_owned()),
        if names.is_empty() { "-".to_owned() } else { names.join(",").replace(' ', "_") },
        shown.subject.clone(),
    ]
}

/// In days; on the last one in hours.
fn left(seconds: i64) -> String {
    match seconds {
        ..=0 => "0".to_owned(),
        s if s < DAY => format!("{}h", s / 3600),
        s => format!("{}d", s / DAY),
    }
}

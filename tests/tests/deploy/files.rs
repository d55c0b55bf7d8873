//! What all examples have in common.

use crate::{effective, example, python_peer, root, text};
use fourmi_tests::run_fourmi;
use fourmi_tests::sidecar::run_fourmi_in;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// The files below `examples` that are configurations of Fourmi.
fn configurations() -> Vec<PathBuf> {
    let of_fourmi = |path: &PathBuf| {
        let yaml = path.extension().is_some_and(|e| e == "yaml");
        let others = path.components().any(|c| c.as_os_str() == "kubernetes") || path.ends_with("compose.yaml");
        // `broken` is to be refused; `instances` wants certificates, which `example_instances` makes before it runs it;
        // `kong` is a file of another kind, which the tests of `kong` read.
        let elsewhere = path.components().any(|c| ["broken", "instances", "kong"].iter().any(|f| c.as_os_str() == *f));
        yaml && !others && !elsewhere
    };
    walk(&root().join("examples")).into_iter().filter(of_fourmi).collect()
}

#[test]
fn every_configuration_among_the_examples_is_valid() {
    let files = configurations();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        effective(&file, &[]);
    }
    let broken = run_fourmi(&["validate", root().join("examples/broken/fourmi.yaml").to_str().unwrap()]);
    assert_eq!(broken.code, 78, "{}", broken.stderr);
}

/// Every `FOURMI_…` name in a text.
pub(crate) fn variables(text: &str) -> BTreeSet<String> {
    let legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices("FOURMI_").filter(|(at, _)| !text[..*at].ends_with(legal));
    let names = starts.map(|(at, _)| text[at..].chars().take_while(|c| legal(*c)).collect::<String>());
    // `FOURMI_` alone, and `FOURMI_TAGS__` with something in angle brackets, speak of all such names.
    names.filter(|n| !n.ends_with('_')).collect()
}

/// Whether `fourmi env` lists the name; `FOURMI_TAGS__NAME` stands for every tag.
fn is_known(name: &str, listed: &BTreeSet<String>) -> bool {
    let tag = name.strip_prefix("FOURMI_TAGS__").is_some_and(|key| !key.is_empty());
    listed.contains(name) || (tag && listed.contains("FOURMI_TAGS__NAME"))
}

#[test]
fn every_variable_in_the_examples_is_listed_by_fourmi_env() {
    let listed = variables(&run_fourmi(&["env"]).stdout);
    assert!(listed.len() > 30, "{listed:?}");
    let mut files = walk(&example(""));
    files.push(root().join("docs/deploy.md"));
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for name in variables(&text) {
            assert!(is_known(&name, &listed), "{}: {name}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 12, "only {seen} names were found");
    assert!(!is_known("FOURMI_HOST", &listed) && !is_known("FOURMI_TAGS__", &listed));
}

#[test]
fn the_page_names_files_that_exist_and_exit_codes_that_are_true() {
    let page = std::fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let mut links = 0;
    for (at, _) in page.match_indices("](") {
        let target = page[at + 2..].split([')', '#']).next().unwrap();
        if !target.is_empty() && !target.starts_with("http") {
            assert!(root().join("docs").join(target).exists(), "docs/deploy.md: {target} does not exist");
            links += 1;
        }
    }
    assert!(links >= 10, "only {links} links");
    let code = |arguments: &[&str]| run_fourmi_in(&root().join("examples"), arguments).code;
    assert_eq!(code(&["run", "-c", "broken/fourmi.yaml"]), 78);
    assert_eq!(code(&["run", "-c", "nowhere.yaml"]), 66);
    assert_eq!(code(&["health", "--admin", "127.0.0.1:1"]), 69);
    for told in ["| 78 |", "| 66 |", "| 69 |"] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn the_python_of_the_examples_compiles() {
    for file in ["worker/worker.py", "compose/receivers.py"] {
        // No file is written: a folder of examples stays as it is.
        let script = "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')";
        let mut command = std::process::Command::new(python_peer("python3"));
        command.args(["-W", "error", "-c", script, file]).stdin(std::fs::File::open(example(file)).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(text(file).starts_with("#!/usr/bin/env python3\n"));
    }
}

//! What the command line says of a Kong file, without running it.

use crate::table::{Case, Explained, Row, Said};
use crate::upstream::filled_with_nobody;
use fourmi_tests::sidecar::run_fourmi_with;
use serde_json::Value;
use std::path::Path;

/// Checks what `validate` and `explain` must say.
pub(crate) fn check(case: &Case, row: &Row) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kong.yaml"), filled_with_nobody(&case.kong)).unwrap();
    let mut wrong = Vec::new();
    if let Some(said) = &row.validate {
        wrong.extend(validated(folder.path(), case, said));
    }
    if let Some(explained) = &row.explain {
        wrong.extend(explains(folder.path(), case, explained));
    }
    wrong
}

fn validated(folder: &Path, case: &Case, expected: &[Said]) -> Vec<String> {
    let ended = run_fourmi_with(folder, &case.env, &["validate", "kong.yaml", "--output", "json"]);
    let problems = serde_json::from_str::<Value>(&ended.stdout).ok().and_then(|v| v.as_array().cloned());
    let Some(problems) = problems else { return vec![format!("validate says no list: {ended:?}")] };
    let code = if expected.iter().all(|e| e.warning) { 0 } else { 78 };
    let mut wrong = Vec::new();
    if ended.code != code {
        wrong.push(format!("validate ended with {} instead of {code}", ended.code));
    }
    for said in expected {
        let severity = if said.warning { "warning" } else { "error" };
        let fits = |p: &&Value| {
            p["message"].as_str().is_some_and(|m| m.contains(&said.says))
                && p["severity"] == severity
                && p["file"] == "kong.yaml"
                && said.key.as_ref().is_none_or(|key| p["key"] == key.as_str())
                && said.line.is_none_or(|line| p["line"] == line)
        };
        if problems.iter().find(fits).is_none() {
            wrong.push(format!("validate does not say {said:?}"));
        }
    }
    if !wrong.is_empty() {
        wrong.extend(problems.iter().map(|p| format!("it says {p}")));
    }
    wrong
}

fn explains(folder: &Path, case: &Case, expected: &Explained) -> Vec<String> {
    let line = ["explain", "-c", "kong.yaml", "-o", "json", &expected.url];
    let ended = run_fourmi_with(folder, &case.env, &line);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    let part = |value: &Value| value.as_str().unwrap_or("").to_owned();
    if part(&said["instances"][0]) + &part(&said["upstream"]["path"]) == expected.upstream {
        return Vec::new();
    }
    vec![format!("explain does not say {:?}: {}{}", expected.upstream, ended.stdout, ended.stderr)]
}

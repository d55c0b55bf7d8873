//! Every code of an error has its place on the page for those who are in trouble.

use super::text;

#[test]
fn every_code_has_its_section() {
    let page = text("docs/troubleshooting.md");
    let configuration = text("docs/configuration.md");
    let faults = text("sidecar/src/exchange/fault.rs");
    let codes = regex::Regex::new(r#"FaultKind::\w+ => "([a-z-]+)","#).unwrap();
    let faults: Vec<String> = codes.captures_iter(&faults).map(|c| c[1].to_owned()).collect();
    assert!(faults.len() >= 18, "the codes of faults were not found: {faults:?}");
    for code in &faults {
        let section = page.split("\n## ").find(|s| s.starts_with(&format!("`{code}`\n")));
        assert!(section.is_some_and(|s| s.len() > 80), "docs/troubleshooting.md has no section `{code}`");
    }
    let problems = text("sidecar/src/config/problem.rs");
    let problems = problems.split("CODES: &").nth(1).unwrap().split("];").next().unwrap();
    let codes = regex::Regex::new(r#"\("([a-z-]+)", ""#).unwrap();
    let problems: Vec<String> = codes.captures_iter(problems).map(|c| c[1].to_owned()).collect();
    assert!(problems.len() >= 26, "the codes of problems were not found: {problems:?}");
    for code in &problems {
        assert!(configuration.contains(&format!("<a id=\"{code}\"></a>")), "docs/configuration.md: {code}");
        let row = page.lines().find(|l| l.contains(&format!("<a id=\"config-{code}\"></a>")));
        let fix = row.and_then(|row| row.split('|').nth(2)).unwrap_or_default();
        assert!(fix.len() > 15, "docs/troubleshooting.md says nothing to do about config/{code}");
    }
    println!("{} codes of errors and {} of problems have their sections", faults.len(), problems.len());
}

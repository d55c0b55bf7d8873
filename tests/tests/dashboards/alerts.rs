//! Alerts: Prometheus takes them, each fires and keeps quiet where it should, and somebody who is woken has a page.

use super::{below, folder};
use fourmi_tests::peers::{program, run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Every rule that is an alert.
fn alerts(rules: &Value) -> Vec<&Value> {
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|g| g["rules"].as_array().unwrap()).filter(|r| r["alert"].is_string()).collect()
}

/// What `promtool test rules` says of the tests in this folder, and whether they passed.
fn tested(folder: &Path) -> (bool, String) {
    let mut command = Command::new(program("promtool"));
    let output = command.args(["test", "rules", "fourmi.test.yaml"]).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn every_alert_fires_and_keeps_quiet() {
    let prometheus = folder().join("prometheus");
    let files = below(&prometheus);
    let rules = yaml(&files["fourmi.rules.yaml"]);
    for (what, file) in [("rules", "fourmi.rules.yaml"), ("config", "prometheus.yaml")] {
        let file = prometheus.join(file).display().to_string();
        let checked = run("promtool", &["check", what, &file]);
        assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    let (passed, said) = tested(&prometheus);
    assert!(passed, "{said}");

    // The tests can fail: of an alert that never fires its first, of one that always does its second.
    let copy = TempDir::new().unwrap();
    std::fs::write(copy.path().join("fourmi.test.yaml"), &files["fourmi.test.yaml"]).unwrap();
    for (expr, kind) in [("vector(1) > 2", "fires"), ("absent(nobody)", "quiet")] {
        let mut spoilt = rules.clone();
        for group in spoilt["groups"].as_array_mut().unwrap() {
            for rule in group["rules"].as_array_mut().unwrap().iter_mut().filter(|r| r["alert"].is_string()) {
                rule["expr"] = expr.into();
                rule.as_object_mut().unwrap().remove("for");
            }
        }
        // JSON is YAML.
        std::fs::write(copy.path().join("fourmi.rules.yaml"), spoilt.to_string()).unwrap();
        let (_, said) = tested(copy.path());
        for alert in alerts(&rules) {
            let name = alert["alert"].as_str().unwrap();
            assert!(said.contains(&format!("name: {name} {kind},")), "no test that {name} {kind}:\n{said}");
        }
    }
    println!("{} alerts fire and keep quiet", alerts(&rules).len());
}

#[test]
fn every_alert_tells_whoever_it_wakes_what_to_do() {
    let rules = yaml(&std::fs::read_to_string(folder().join("prometheus/fourmi.rules.yaml")).unwrap());
    let runbooks = std::fs::read_to_string(folder().join("../docs/runbooks.md")).unwrap();
    let sections: Vec<&str> = runbooks.split("\n## ").skip(1).collect();
    let mut known = Vec::new();
    for alert in alerts(&rules) {
        let name = alert["alert"].as_str().unwrap();
        known.push(name);
        let notes = &alert["annotations"];
        let page = format!("https://github.com/fourmi-proxy/fourmi/blob/main/docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(notes["runbook_url"], page, "{name}");
        assert!(["page", "ticket"].iter().any(|s| alert["labels"]["severity"] == *s), "{name}: severity");
        for key in ["summary", "description"] {
            assert!(notes[key].as_str().is_some_and(|t| t.len() > 20), "{name}: {key}");
        }
        let section = sections.iter().find(|s| s.lines().next() == Some(name));
        let section = section.unwrap_or_else(|| panic!("docs/runbooks.md has no section {name}"));
        for part in ["**Means.**", "**Look.**", "**Do.**"] {
            assert!(section.contains(part), "docs/runbooks.md, {name}: no {part}");
        }
    }
    for section in sections {
        let name = section.lines().next().unwrap();
        assert!(!name.starts_with("Fourmi") || known.contains(&name), "docs/runbooks.md: there is no alert {name}");
    }
}

#[test]
fn grafanas_own_alerts_are_the_same() {
    let files = below(&folder().join("grafana/provisioning"));
    let rules = yaml(&std::fs::read_to_string(folder().join("prometheus/fourmi.rules.yaml")).unwrap());
    let (sources, provisioned) = (yaml(&files["datasources/fourmi.yaml"]), yaml(&files["alerting/fourmi.yaml"]));
    let providers = yaml(&files["dashboards/fourmi.yaml"]);
    let known: Vec<&str> =
        sources["datasources"].as_array().unwrap().iter().filter_map(|d| d["uid"].as_str()).collect();
    let all = provisioned["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(all.len(), alerts(&rules).len());
    let mut recorded = Vec::new();
    for (one, prometheus) in all.iter().zip(alerts(&rules)) {
        let name = one["title"].as_str().unwrap();
        assert_eq!(name, prometheus["alert"]);
        assert_eq!(one["labels"], prometheus["labels"], "{name}");
        assert_eq!(one["annotations"]["runbook_url"], prometheus["annotations"]["runbook_url"], "{name}");
        assert_eq!(one["for"], prometheus["for"].as_str().unwrap_or("0s"), "{name}");
        assert!(
            known.contains(&one["data"][0]["datasourceUid"].as_str().unwrap()),
            "{name}: a data source that is there"
        );
        assert_eq!(one["condition"], one["data"][1]["refId"], "{name}");
        assert!(one["uid"].as_str().is_some_and(|uid| uid.len() <= 40), "{name}: uid");
        let expr = &one["data"][0]["model"]["expr"];
        // Nothing records ratios for Grafana: they are written out.
        assert!(!expr.as_str().unwrap().contains("ratio_rate"), "{name}: {expr}");
        recorded.push(serde_json::json!({"record": "a:b", "expr": expr, "labels": {"alert": name}}));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let rules = serde_json::json!({"groups": [{"name": "grafana", "rules": recorded}]});
    std::fs::write(file.path(), rules.to_string()).unwrap();
    let checked = run("promtool", &["check", "rules", file.path().to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for provider in providers["providers"].as_array().unwrap() {
        let kind = provider["options"]["path"].as_str().unwrap().rsplit('/').next().unwrap();
        assert!(folder().join("grafana/dashboards").join(kind).is_dir(), "{kind}: no such folder of dashboards");
    }
}

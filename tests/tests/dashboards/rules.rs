//! What every dashboard for Grafana keeps to: its types, and what people rely on when they load one.

use super::{Dashboard, folder, text};
use serde_json::Value;
use std::collections::BTreeSet;

const KINDS: [&str; 2] = ["prometheus", "graphite"];

#[test]
fn grafanas_own_types_know_every_key_of_the_dashboards() {
    let files: Vec<String> = KINDS
        .iter()
        .flat_map(|kind| Dashboard::all(kind))
        .map(|d| folder().join("grafana/dashboards").join(d.name).display().to_string())
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = fourmi_tests::peers::node_prints_with("dashboards.js", &files);
    assert!(said.ends_with(&format!("{} dashboards, 0 faults\n", files.len())), "{said}");

    // And the check sees what is wrong: a key that nobody knows, a value that is not allowed.
    let good = std::fs::read_to_string(files[0]).unwrap();
    let bad = tempfile::NamedTempFile::new().unwrap();
    for (from, to) in [("\"gridPos\"", "\"gridpos\""), ("\"graphTooltip\": 1", "\"graphTooltip\": \"shared\"")] {
        std::fs::write(bad.path(), good.replace(from, to)).unwrap();
        let said = fourmi_tests::peers::node_prints_with("dashboards.js", &[bad.path().to_str().unwrap()]);
        assert!(!said.contains(" 0 faults"), "{to}: {said}");
    }
}

#[test]
fn datadogs_own_client_knows_every_key_of_its_dashboard() {
    let file = folder().join("datadog/fourmi.json");
    let said =
        |file: &std::path::Path| fourmi_tests::peers::python_prints("datadog_dashboard.py", &[file.to_str().unwrap()]);
    let good = said(&file);
    assert!(good.ends_with(" 0 faults\n") && !good.starts_with("0 "), "{good}");
    let text = std::fs::read_to_string(&file).unwrap();
    let bad = tempfile::NamedTempFile::new().unwrap();
    for (from, to) in [("\"show_legend\"", "\"show_legends\""), ("\"type\": \"toplist\"", "\"type\": \"top\"")] {
        std::fs::write(bad.path(), text.replace(from, to)).unwrap();
        assert!(!said(bad.path()).ends_with(" 0 faults\n"), "{to} is not noticed");
    }
    println!("Datadog: {}", good.trim());
}

#[test]
fn every_dashboard_keeps_to_the_rules() {
    let mut uids = BTreeSet::new();
    let mut panels = 0;
    for kind in KINDS {
        for dashboard in Dashboard::all(kind) {
            let faults = faults(&dashboard, kind);
            assert!(faults.is_empty(), "{}:\n{}", dashboard.name, faults.join("\n"));
            assert!(uids.insert(dashboard.uid().to_owned()), "{}: uid {} twice", dashboard.name, dashboard.uid());
            panels += dashboard.panels().count();
        }
    }
    println!("{} dashboards, {panels} panels keep to the rules", uids.len());
}

#[test]
fn the_rules_see_what_is_wrong() {
    let spoilt = |change: &dyn Fn(&mut Value)| {
        let mut one = Dashboard::all("prometheus").remove(0);
        change(&mut one.json);
        faults(&one, "prometheus").join("\n")
    };
    assert_eq!(spoilt(&|_| {}), "");
    let panel = "/panels/1";
    for (pointer, value, said) in [
        (format!("{panel}/id"), 3.into(), "id 3 twice"),
        (format!("{panel}/title"), "".into(), "no title"),
        (format!("{panel}/description"), "".into(), "no description"),
        (format!("{panel}/fieldConfig/defaults/unit"), "".into(), "no unit"),
        (format!("{panel}/gridPos/w"), 30.into(), "beyond the 24 columns"),
        (format!("{panel}/gridPos/h"), 9.into(), "overlap"),
        (format!("{panel}/datasource/uid"), "abc".into(), "another data source"),
        (format!("{panel}/targets/0/expr"), "up{a=\"$b\"}".into(), "$b is not defined"),
        (format!("{panel}/targets/0/expr"), "rate(fourmi_commands_total[1m])".into(), "a range of its own"),
        ("/editable".to_owned(), true.into(), "editable"),
        ("/refresh".to_owned(), "5s".into(), "refresh"),
        ("/tags".to_owned(), Value::Array(vec![]), "tag"),
    ] {
        let seen = spoilt(&|json| *json.pointer_mut(&pointer).unwrap() = value.clone());
        assert!(seen.contains(said), "{pointer}: {seen}");
    }
}

fn faults(dashboard: &Dashboard, kind: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let json = &dashboard.json;
    let defined: BTreeSet<&str> = dashboard.variables().iter().map(|v| text(v, "name")).collect();
    for wanted in ["datasource", "environment", "service", "command"] {
        if !defined.contains(wanted) {
            faults.push(format!("no variable {wanted}"));
        }
    }
    if dashboard.uid().is_empty() || dashboard.uid().len() > 40 || !dashboard.uid().starts_with("fourmi-") {
        faults.push(format!("uid {}", dashboard.uid()));
    }
    let tags = json["tags"].as_array().cloned().unwrap_or_default();
    let link = &json["links"][0];
    let expected = [
        (tags.iter().any(|t| t == "fourmi"), "tag fourmi"),
        (json["editable"] == false, "editable"),
        (json["graphTooltip"] == 1, "graphTooltip"),
        (json["refresh"] == "30s", "refresh"),
        (json["timezone"] == "browser", "timezone"),
        (json["time"]["from"] == "now-1h" && json["time"]["to"] == "now", "time"),
        (
            link["type"] == "dashboards" && link["keepTime"] == true && link["includeVars"] == true,
            "links to the others",
        ),
        (!text(json, "title").is_empty() && !text(json, "description").is_empty(), "title and description"),
        (kind != "prometheus" || json["annotations"]["list"].as_array().is_some_and(|l| l.len() == 3), "annotations"),
    ];
    faults.extend(expected.iter().filter(|(holds, _)| !holds).map(|(_, what)| (*what).to_owned()));
    let mut ids = BTreeSet::new();
    let mut taken: Vec<(String, [u64; 4])> = Vec::new();
    for panel in json["panels"].as_array().into_iter().flatten() {
        let name = text(panel, "title");
        let id = panel["id"].as_u64().unwrap_or_default();
        if !ids.insert(id) || id == 0 {
            faults.push(format!("{name}: id {id} twice"));
        }
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or_default());
        if place[0] + place[2] > 24 || place[2] == 0 || place[3] == 0 {
            faults.push(format!("{name}: beyond the 24 columns"));
        }
        let overlap = |a: &[u64; 4], b: &[u64; 4], i: usize| a[i] < b[i] + b[i + 2] && b[i] < a[i] + a[i + 2];
        if let Some((other, _)) = taken.iter().find(|(_, o)| overlap(o, &place, 0) && overlap(o, &place, 1)) {
            faults.push(format!("{name} and {other} overlap"));
        }
        taken.push((name.to_owned(), place));
    }
    let mut titles = BTreeSet::new();
    for panel in dashboard.panels() {
        let name = text(panel, "title");
        for (missing, what) in [
            (name.is_empty(), "title"),
            (text(panel, "description").len() < 10, "description"),
            (text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "unit"),
            (panel["targets"].as_array().is_none_or(Vec::is_empty), "query"),
            (panel["links"].as_array().is_none_or(Vec::is_empty), "link"),
        ] {
            if missing {
                faults.push(format!("{name}: no {what}"));
            }
        }
        if !titles.insert(name) {
            faults.push(format!("{name}: title twice"));
        }
        let mut letters = BTreeSet::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            if !letters.insert(text(target, "refId")) || text(target, "refId").is_empty() {
                faults.push(format!("{name}: refId {} twice", target["refId"]));
            }
            for asked in [&panel["datasource"], &target["datasource"]] {
                if text(asked, "uid") != "${datasource}" || text(asked, "type") != kind {
                    faults.push(format!("{name}: another data source than the variable: {asked}"));
                }
            }
            faults.extend(query_faults(name, target, &defined));
        }
    }
    for asked in dashboard.variables().iter().chain(json["annotations"]["list"].as_array().into_iter().flatten()) {
        let query = asked["query"].as_str().or(asked["expr"].as_str()).unwrap_or_default();
        faults.extend(undefined(query, &defined).map(|v| format!("{}: ${v} is not defined", text(asked, "name"))));
        if text(asked, "type") == "query" && (asked["refresh"] != 2 || text(asked, "allValue").is_empty()) {
            faults.push(format!("{}: refreshed with the time, and with a value for all", text(asked, "name")));
        }
    }
    faults
}

fn query_faults(name: &str, target: &Value, defined: &BTreeSet<&str>) -> Vec<String> {
    let query = target["expr"].as_str().or(target["target"].as_str()).unwrap_or_default();
    let mut faults: Vec<String> =
        undefined(query, defined).map(|v| format!("{name}: ${v} is not defined in {query}")).collect();
    if query.is_empty() {
        faults.push(format!("{name}: an empty query"));
    }
    // A rate must see at least two scrapes, however far one zooms in. Windows of alerts are named by their length.
    let ranges = query.split("rate(").skip(1).filter_map(|rest| rest.split_once('[')?.1.split_once(']'));
    for (range, _) in ranges {
        let fixed = ["5m", "1h", "6h"].contains(&range) && text(target, "legendFormat").ends_with(range);
        if !["$__rate_interval", "$__range"].contains(&range) && !fixed {
            faults.push(format!("{name}: a range of its own: [{range}]"));
        }
    }
    faults
}

/// The variables of a query that the dashboard does not define.
fn undefined<'a>(query: &'a str, defined: &'a BTreeSet<&'a str>) -> impl Iterator<Item = &'a str> {
    let names = query.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    });
    // A lone `$` ends a regular expression.
    names.filter(|name| !name.is_empty() && !name.starts_with("__") && !defined.contains(name))
}

//! Dashboards and alerts: the files are what their source makes, Grafana's types know them, and every query has data
//! where the order system runs.

mod alerts;
mod asked;
mod files;
mod graylog;
mod orders;
mod rules;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `dashboards/`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// Runs the generator into this folder.
#[track_caller]
fn generate(into: &Path) {
    let source = folder().join("source/build.js");
    let said = fourmi_tests::peers::node_prints_with(source.to_str().unwrap(), &[into.to_str().unwrap()]);
    assert_eq!(said, "", "it writes files and says nothing");
}

/// Every file below a folder, by its path there.
fn below(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// A dashboard for Grafana, and its file.
struct Dashboard {
    name: String,
    json: Value,
}

impl Dashboard {
    fn all(kind: &str) -> Vec<Dashboard> {
        let files = below(&folder().join("grafana/dashboards").join(kind));
        let read = |(name, text): (String, String)| Dashboard {
            json: serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}/{name}: {e}")),
            name: format!("{kind}/{name}"),
        };
        files.into_iter().map(read).collect()
    }
    fn uid(&self) -> &str {
        self.json["uid"].as_str().unwrap_or_default()
    }
    /// Every panel that is no row.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|p| p["type"] != "row")
    }
    fn variables(&self) -> &[Value] {
        self.json["templating"]["list"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// A text of a JSON value; empty if there is none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

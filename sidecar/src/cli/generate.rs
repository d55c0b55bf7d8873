//! `fourmi generate`: the files of `dashboards/`, for those who have only the program.

use super::args::{Generated, Global};
use super::client::{self, Target};
use super::out;
use crate::config::LoadOptions;
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

/// A file of `dashboards/`: its path there, and its text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../dashboards/", $path)))),*]
    };
}

const DASHBOARDS: &[File] = files![
    "datadog/fourmi.json",
    "graylog/content-pack.json",
    "grafana/dashboards/graphite/commands.json",
    "grafana/dashboards/graphite/discovery.json",
    "grafana/dashboards/graphite/gateway.json",
    "grafana/dashboards/graphite/overview.json",
    "grafana/dashboards/graphite/service.json",
    "grafana/dashboards/prometheus/discovery.json",
    "grafana/dashboards/prometheus/gateway.json",
    "grafana/dashboards/prometheus/overview.json",
    "grafana/dashboards/prometheus/service.json",
    "grafana/dashboards/prometheus/sidecar.json",
    "grafana/provisioning/dashboards/fourmi.yaml",
    "grafana/provisioning/datasources/fourmi.yaml",
];

const ALERTS: &[File] = files![
    "grafana/provisioning/alerting/fourmi.yaml",
    "prometheus/fourmi.rules.yaml",
    "prometheus/fourmi.test.yaml",
    "prometheus/prometheus.yaml",
];

/// What names a sidecar in the example of a scrape: where its admin listener is, and its environment.
const SCRAPED: &str = "prometheus/prometheus.yaml";
const PLACE: &str = "127.0.0.1:9901";
const ENVIRONMENT: &str = "env: production";

/// The files with what the configuration says in its place.
fn files(global: &Global, what: Generated) -> Vec<(&'static str, Cow<'static, str>)> {
    let all = match what {
        Generated::Dashboards => DASHBOARDS,
        Generated::Alerts => ALERTS,
    };
    all.iter()
        .map(|(path, text)| (*path, if *path == SCRAPED { scraped(global, text) } else { (*text).into() }))
        .collect()
}

/// The example, for the Fourmi that this configuration is of; as it is where there is none.
fn scraped(global: &Global, text: &'static str) -> Cow<'static, str> {
    let load = LoadOptions { path: global.config.clone() };
    let plan = crate::config::load(&load).ok().map(|loaded| loaded.plan);
    let named = global.admin.is_some() || std::env::var_os("FOURMI_ADMIN_URL").is_some_and(|url| !url.is_empty());
    if plan.is_none() && !named {
        return text.into();
    }
    let mut out = text.to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    let scalar = |value: &str| match value.chars().all(plain) && !value.starts_with('-') && !value.ends_with(':') {
        true => value.to_owned(),
        // JSON's strings are YAML's.
        false => serde_json::Value::from(value).to_string(),
    };
    if let Ok(place) = client::find(&Target { admin: global.admin.clone(), load, json: false }) {
        out = out.replace(PLACE, &scalar(&place.authority));
    }
    if let Some(plan) = plan {
        out = out.replace(ENVIRONMENT, &format!("env: {}", scalar(&plan.identity.env)));
    }
    out.into()
}

/// Writes the files below this folder, or none of them; each path that was written is a line of the result.
pub(crate) fn generate(global: &Global, what: Generated, folder: &Path, force: bool) -> u8 {
    let files = files(global, what);
    // Somebody may have changed one: that is seen before anything is written.
    let changed = |(path, text): &&(&str, Cow<'_, str>)| {
        std::fs::read(folder.join(path)).is_ok_and(|found| found != text.as_bytes())
    };
    if !force && let Some((path, _)) = files.iter().find(changed) {
        let path = folder.join(path);
        out::note(&format!(
            "error: {} is there already, with another text\nhint: --force replaces it, or name another folder",
            path.display()
        ));
        return 1;
    }
    let mut written = String::new();
    for (path, text) in &files {
        let path = folder.join(path);
        if let Err(error) = write(&path, text) {
            out::note(&format!("error: can't write {}: {error}", path.display()));
            return if error.kind() == ErrorKind::PermissionDenied { 77 } else { 73 };
        }
        written.push_str(&format!("{}\n", path.display()));
    }
    let code = out::result(&written);
    if !global.quiet {
        out::note(match what {
            Generated::Dashboards => {
                "next: give grafana/ to Grafana, datadog/fourmi.json to Datadog, graylog/content-pack.json to Graylog"
            }
            Generated::Alerts => {
                "next: name prometheus/fourmi.rules.yaml in rule_files:, or give grafana/provisioning/alerting to Grafana"
            }
        });
    }
    code
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    fn below(folder: &Path, into: &mut BTreeSet<PathBuf>, root: &Path) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => below(&path, into, root),
                path => drop(into.insert(path.strip_prefix(root).unwrap().to_owned())),
            }
        }
    }

    #[test]
    fn every_generated_file_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
        let mut found = BTreeSet::new();
        below(&folder, &mut found, &folder);
        // The page of the admin listener is in the program by another way.
        let apart = [Path::new("source"), Path::new("web"), Path::new("README.md")];
        found.retain(|path| !apart.iter().any(|of| path.starts_with(of)));
        let known = DASHBOARDS.iter().chain(ALERTS).map(|(path, _)| PathBuf::from(path)).collect::<BTreeSet<_>>();
        assert_eq!(known, found);
    }

    #[test]
    fn the_scrape_asks_the_fourmi_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("fourmi.yaml");
        let generated = |text: &str, more: &[&str]| {
            std::fs::write(&config, text).unwrap();
            let (config, into) = (config.to_str().unwrap(), folder.path().to_str().unwrap());
            let words = ["fourmi", "generate", "alerts", into, "-q", "--force", "-c", config];
            assert_eq!(run(words.iter().chain(more).map(Into::into).collect()), 0);
            std::fs::read_to_string(folder.path().join(SCRAPED)).unwrap()
        };
        let text = generated("worker: http://127.0.0.1:8080\nenv: \"prod: eu\"\nadmin: {listen: 0.0.0.0:9100}\n", &[]);
        assert!(text.contains("- 127.0.0.1:9100\n") && text.contains("env: \"prod: eu\"\n"), "{text}");
        let text = generated("worker: http://127.0.0.1:8080\nenv: test\n", &["--admin", "http://[fd00::7]:9100"]);
        assert!(text.contains("- \"[fd00::7]:9100\"\n") && text.contains("env: test\n"), "{text}");
        assert!(generated("worker: nonsense\n", &[]).contains(PLACE), "what can't be read says nothing");
    }

    #[test]
    fn what_somebody_changed_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |what: &str, more: &[&str]| {
            let words = ["fourmi", "generate", what, folder.path().to_str().unwrap(), "-q"];
            run(words.iter().chain(more).map(Into::into).collect())
        };
        assert_eq!((at("dashboards", &[]), at("alerts", &[])), (0, 0));
        let rules = folder.path().join("prometheus/fourmi.rules.yaml");
        assert!(std::fs::read_to_string(&rules).unwrap().contains("alert: FourmiDown"));
        assert_eq!(at("alerts", &[]), 0, "the same again");
        std::fs::write(&rules, "mine").unwrap();
        assert_eq!(at("alerts", &[]), 1);
        assert_eq!(std::fs::read_to_string(&rules).unwrap(), "mine");
        assert_eq!(at("alerts", &["--force"]), 0);
        assert_ne!(std::fs::read_to_string(&rules).unwrap(), "mine");
        std::fs::remove_dir_all(folder.path().join("grafana")).unwrap();
        std::fs::write(folder.path().join("grafana"), "in the way").unwrap();
        assert_eq!(at("dashboards", &[]), 73);
        assert_eq!(at("everything", &[]), 2);
    }
}

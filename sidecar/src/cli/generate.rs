//! `fourmi generate`: the files of `dashboards/`, for those who have only the program.

use super::args::{Generated, Global};
use super::out;
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

/// Writes the files below this folder, or none of them; each path that was written is a line of the result.
pub(crate) fn generate(global: &Global, what: Generated, folder: &Path, force: bool) -> u8 {
    let files = match what {
        Generated::Dashboards => DASHBOARDS,
        Generated::Alerts => ALERTS,
    };
    // Somebody may have changed one: that is seen before anything is written.
    let changed = |(path, text): &&File| std::fs::read(folder.join(path)).is_ok_and(|found| found != text.as_bytes());
    if !force && let Some((path, _)) = files.iter().find(changed) {
        let path = folder.join(path);
        out::note(&format!(
            "error: {} is there already, with another text\nhint: --force replaces it, or name another folder",
            path.display()
        ));
        return 1;
    }
    let mut written = String::new();
    for (path, text) in files {
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

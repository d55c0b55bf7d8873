//! The configuration: valid, and the files that it names readable.

use super::line::{CERTIFICATE, CONFIG, FILES, Line};
use crate::config::{Loaded, Problem, Report, Severity};
use crate::tls::{Age, Pem, Role, about};
use nix::unistd::{AccessFlags, access};
use serde_json::Value;
use std::path::Path;

/// Sections whose keys are the user's own words, not ours.
const OWN_WORDS: [&str; 3] = ["rename", "tags", "headers"];

pub(super) fn lines(loaded: &Result<Loaded, Report>) -> Vec<Line> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(report) => return report.problems.iter().map(problem).collect(),
    };
    let name = match &loaded.plan.origin {
        Some(path) => path.display().to_string(),
        None => "what was read, or the built-in defaults,".to_owned(),
    };
    let mut lines = vec![CONFIG.ok("", format!("{name} is valid"))];
    // Certificates have lines of their own.
    lines.extend(loaded.warnings.iter().filter(|w| w.code != "certificate-time").map(problem));
    let mut files = Vec::new();
    named(&loaded.shown.json()["values"], "", &mut files);
    let bad: Vec<Line> = files
        .iter()
        .filter_map(|(key, path)| {
            let why = access(Path::new(path), AccessFlags::R_OK).err()?;
            Some(FILES.failed(key, format!("{path} cannot be read ({why}): let the user that runs Fourmi read it")))
        })
        .collect();
    if bad.is_empty() && !files.is_empty() {
        lines.push(FILES.ok("", format!("{} named in the configuration can be read", files.len())));
    }
    lines.extend(bad);
    lines.extend(certificates(&files));
    lines
}

/// Until when each file of certificates holds; what cannot be read has been told.
fn certificates(files: &[(String, String)]) -> Vec<Line> {
    let mut seen = Vec::new();
    let mut lines = Vec::new();
    for (key, path) in files {
        let role = match key.rsplit('.').next() {
            Some("certificate") => Role::Shown,
            Some("ca" | "client_ca") => Role::Trusted,
            _ => continue,
        };
        if seen.contains(&path) || access(Path::new(path), AccessFlags::R_OK).is_err() {
            continue;
        }
        seen.push(path);
        const RENEW: &str = "renew it, no restart is needed";
        lines.push(match about(&Pem::File(path.into()), "", role).map(|found| found.age()) {
            Ok(age @ Age::Good(_)) => CERTIFICATE.ok(path, age.to_string()),
            Ok(age @ Age::Soon(_)) => CERTIFICATE.warning(path, format!("{age}: {RENEW}")),
            Ok(age @ Age::Over(_)) => CERTIFICATE.failed(path, format!("{age}: {RENEW}")),
            Ok(age @ Age::Early(_)) => CERTIFICATE.failed(path, format!("{age}: look at this machine's clock")),
            Err(trouble) => CERTIFICATE.failed(path, trouble.to_string()),
        });
    }
    lines
}

fn problem(problem: &Problem) -> Line {
    let place = match problem.line {
        0 => problem.file.clone(),
        line => format!("{}:{line}:{}", problem.file, problem.column),
    };
    let fix = if problem.fix.is_empty() { String::new() } else { format!("; fix: {}", problem.fix) };
    let detail = format!("{} [config/{}]{fix}", problem.message, problem.code);
    match problem.severity {
        Severity::Error => CONFIG.failed(place, detail),
        Severity::Warning => CONFIG.warning(place, detail),
    }
}

/// Every file that a value names to be read: those of `tls` sections, and every `…_file`.
fn named(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| named(v, &format!("{path}[{i}]"), out)),
        Value::Object(entries) => {
            let tls = path.ends_with(".tls") || path.contains(".tls.certificates[");
            for (key, value) in entries.iter().filter(|(key, _)| !OWN_WORDS.contains(&key.as_str())) {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let file = key.ends_with("_file")
                    || (tls && ["ca", "certificate", "client_ca", "key"].contains(&key.as_str()));
                match (value.as_str(), value.as_object()) {
                    (Some(text), _) if file => out.push((at, text.to_owned())),
                    // Their names are the user's words, what is in them is ours.
                    (_, Some(services)) if key == "services" => {
                        services.iter().for_each(|(name, service)| named(service, &format!("{at}.{name}"), out));
                    }
                    _ => named(value, &at, out),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_are_found_where_they_are_ours() {
        let values = json!({
            "tags": {"x_file": "no"},
            "logs": [{"graylog": {"rename": {"key": "no"}, "tls": {"ca": "/ca", "verify": true, "key": "/key"}}}],
            "outbound": [{"services": {"a_file": "no", "s": {"tls": {"ca": "/services"}}}}],
            "traces": {"otlp": {"token_file": "/token", "key": "no"}},
            "inbound": [{"tls": {"client_ca": "/clients", "certificates": [{"certificate": "/a", "key": "/b"}]}}],
        });
        let mut files = Vec::new();
        named(&values, "", &mut files);
        let files: Vec<_> = files.iter().map(|(k, p)| (k.as_str(), p.as_str())).collect();
        let expected = [
            ("logs[0].graylog.tls.ca", "/ca"),
            ("logs[0].graylog.tls.key", "/key"),
            ("outbound[0].services.s.tls.ca", "/services"),
            ("traces.otlp.token_file", "/token"),
            ("inbound[0].tls.client_ca", "/clients"),
            ("inbound[0].tls.certificates[0].certificate", "/a"),
            ("inbound[0].tls.certificates[0].key", "/b"),
        ];
        assert_eq!(files, expected);
    }
}

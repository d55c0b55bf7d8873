//! The sinks: of a running Fourmi what it says of each, before a start whether each receiver can be reached.

use super::Asked;
use super::line::{Line, Mark, RECEIVER, SINK};
use super::running::{get, list, words};
use crate::config::Loaded;
use crate::sink::{Probe, probes};
use serde_json::Value;
use std::time::Duration;

/// How long one receiver may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Receivers that are tried at once.
const AT_ONCE: usize = 32;

/// Tries every receiver of a configuration.
pub(super) fn before(loaded: &Loaded) -> Vec<Line> {
    let all = probes(&loaded.plan.logs, &loaded.shown.json()["values"]);
    let subjects: Vec<String> = all.iter().map(|p| subject(&p.sink, &p.target)).collect();
    let answers = run(all);
    subjects
        .into_iter()
        .zip(answers)
        .map(|(subject, answer)| match answer {
            Ok(words) => RECEIVER.ok(subject, words),
            Err(why) => RECEIVER.failed(subject, why),
        })
        .collect()
}

/// What a running Fourmi says of its sinks. One that had nothing to send yet says little, so its receiver is tried
/// from here, when here is where that Fourmi is.
pub(super) fn running(place: &Asked<'_>, loaded: Option<&Loaded>) -> Vec<Line> {
    let sinks = match get(place, "/api/v1/sinks") {
        Ok(sinks) => sinks,
        Err(why) => return vec![SINK.failed("", why)],
    };
    let mut known = match loaded {
        Some(loaded) if place.here => probes(&loaded.plan.logs, &loaded.shown.json()["values"]),
        _ => Vec::new(),
    };
    let mut lines = Vec::new();
    let mut tried: Vec<(usize, Probe)> = Vec::new();
    for sink in list(&sinks) {
        let target = words(&sink["target"]);
        if sink["state"] == "unused"
            && let Some(at) = known.iter().position(|p| p.is(&target))
        {
            tried.push((lines.len(), known.swap_remove(at)));
        }
        lines.push(one(sink));
    }
    let (places, waiting): (Vec<usize>, Vec<Probe>) = tried.into_iter().unzip();
    for (at, answer) in places.into_iter().zip(run(waiting)) {
        if let (Err(why), Some(line)) = (answer, lines.get_mut(at)) {
            *line = SINK.failed(line.subject.clone(), format!("nothing to send yet, and nobody could take it: {why}"));
        }
    }
    lines
}

fn run(probes: Vec<Probe>) -> Vec<Result<String, String>> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return probes.iter().map(|_| Err(format!("cannot try it: {e}"))).collect(),
    };
    let mut answers = Vec::new();
    let mut probes = probes.into_iter();
    loop {
        let some: Vec<Probe> = probes.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        answers.extend(runtime.block_on(async {
            let tasks: Vec<_> = some.into_iter().map(|p| tokio::spawn(p.run(PATIENCE))).collect();
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.unwrap_or_else(|e| Err(format!("cannot try it: {e}"))));
            }
            answers
        }));
    }
    // A name service that does not answer must not keep anybody.
    runtime.shutdown_background();
    answers
}

fn subject(sink: &str, target: &str) -> String {
    if sink == target { sink.to_owned() } else { format!("{sink} {target}") }
}

/// One entry of `/api/v1/sinks`.
fn one(sink: &Value) -> Line {
    let number = |key: &str| sink[key].as_u64().unwrap_or(0);
    let target = words(&sink["target"]);
    let losses: Vec<String> = [
        ("dropped_full", "found no room in the buffer"),
        ("dropped_error", "could not be delivered"),
        ("oversize", "were too large"),
    ]
    .iter()
    .filter_map(|(key, words)| Some(number(key)).filter(|n| *n > 0).map(|n| format!("{n} {words}")))
    .collect();
    let sent = match (number("sent"), target.starts_with("udp:") || target.starts_with("unixgram:")) {
        (0, _) => "nothing sent yet".to_owned(),
        (n, true) => format!("{n} sent, unconfirmed"),
        (n, false) => format!("{n} sent"),
    };
    let error = sink["last_error"].as_str().map(|why| match sink["last_error_age_seconds"].as_u64() {
        Some(age) => format!("{why} ({} ago)", ago(age)),
        None => why.to_owned(),
    });
    let lost = if losses.is_empty() { String::new() } else { format!("; lost: {}", losses.join(", ")) };
    let (mark, detail) = match (sink["state"].as_str(), error) {
        (Some("failing"), error) => (
            Mark::Failed,
            format!("failing: {}; {sent}{lost}", error.as_deref().unwrap_or("the receiver does not take anything")),
        ),
        (_, Some(error)) if !losses.is_empty() => (Mark::Warning, format!("{sent}{lost}; last error: {error}")),
        (_, None) if !losses.is_empty() => (Mark::Warning, format!("{sent}{lost}")),
        (_, Some(error)) => (Mark::Ok, format!("{sent}; last error: {error}")),
        (_, None) => (Mark::Ok, sent),
    };
    SINK.line(mark, subject(&words(&sink["sink"]), &target), detail)
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(own: Value) -> (Mark, String) {
        let mut sink = json!({
            "sink": "graylog", "target": "udp://g:1", "state": "ok", "sent": 0, "dropped_full": 0, "dropped_error": 0,
            "oversize": 0, "last_error": null, "last_error_age_seconds": null,
        });
        sink.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let line = one(&sink);
        (line.mark, line.words())
    }

    #[test]
    fn each_state_has_its_words() {
        assert_eq!(said(json!({"state": "unused"})), (Mark::Ok, "sink graylog udp://g:1: nothing sent yet".into()));
        assert_eq!(said(json!({"sent": 7})).1, "sink graylog udp://g:1: 7 sent, unconfirmed");
        assert_eq!(said(json!({"sent": 7, "sink": "stdout", "target": "stdout"})).1, "sink stdout: 7 sent");
        let (mark, words) = said(json!({"sent": 7, "dropped_full": 2, "oversize": 1}));
        assert_eq!(mark, Mark::Warning);
        assert!(words.ends_with("lost: 2 found no room in the buffer, 1 were too large"), "{words}");
        let (mark, words) = said(json!({
            "state": "failing", "target": "tcp://g:1", "last_error": "refused", "last_error_age_seconds": 3,
            "dropped_error": 4,
        }));
        assert_eq!(mark, Mark::Failed);
        assert!(
            words.ends_with("failing: refused (3 s ago); nothing sent yet; lost: 4 could not be delivered"),
            "{words}"
        );
        let (mark, words) = said(json!({"sent": 1, "last_error": "refused", "last_error_age_seconds": 10_000}));
        assert!(mark == Mark::Ok && words.ends_with("refused (2 h ago)"), "{words}");
        // What is not understood is not called well without reason.
        assert_eq!(said(json!({"state": null, "dropped_error": 1})).0, Mark::Warning);
    }
}

//! Sinks that send many records in one HTTP request: whatever befalls their receivers, each record arrives or is
//! counted.

use fourmi_tests::peers::http_sink::{Answer, Fault, HttpSink};
use fourmi_tests::peers::splunk::{Acks, Rules};
use fourmi_tests::peers::{Certificates, DatadogLogs, GelfHttp, Loggly, Splunk, gelf_http};
use fourmi_tests::{Fourmi, Load, Setup, Worker, eventually, free_port, until};
use serde_json::Value;
use std::collections::BTreeMap;

/// Requests of one round.
const ROUND: usize = 12;

/// One receiver, and what it has of each command: how often which id came.
struct Peer {
    name: &'static str,
    yaml: String,
    has: Box<dyn Fn() -> Vec<Value>>,
    faults: Box<dyn Fn() -> &'static HttpSink>,
}

fn ids(records: &[Value]) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for record in records {
        let id = ["command_id", "_command_id"].iter().find_map(|k| record[*k].as_str()).unwrap_or_default();
        *ids.entry(id.to_owned()).or_default() += 1;
    }
    ids
}

/// A receiver of tests lives as long as the process: its thread and its port go with it.
fn kept<T>(it: T) -> &'static T {
    Box::leak(Box::new(it))
}

fn array_of(body: &str) -> Vec<Value> {
    match serde_json::from_str(body) {
        Ok(Value::Array(all)) => all,
        _ => body.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
    }
}

fn taken(sink: &HttpSink) -> Vec<Value> {
    sink.heard().iter().filter(|h| h.status == 200).flat_map(|h| array_of(&h.text())).collect()
}

fn peers() -> Vec<Peer> {
    let loggly = kept(Loggly::start());
    let datadog = kept(DatadogLogs::start());
    let splunk = kept(Splunk::start());
    let acking = kept(Splunk::with(Rules { ack: true, ..Rules::default() }, None));
    acking.acks(Acks::After(2));
    let gelf = kept(GelfHttp::start());
    let bulk = kept(GelfHttp::with(gelf_http::Rules { bulk: true, ..Default::default() }, None));
    let local = |port: u16| format!("url: \"http://127.0.0.1:{port}\"");
    let to = |port: u16| format!("to: \"http://127.0.0.1:{port}/gelf\"");
    let events = |splunk: &Splunk| splunk.events().iter().map(|e| e["event"].clone()).collect();
    let mut peers = vec![
        Peer {
            name: "loggly",
            yaml: format!("{{loggly: {{{}, token: {}}}}}", local(loggly.port()), loggly.token()),
            has: Box::new(|| loggly.events().into_iter().filter_map(|e| e.json).collect()),
            faults: Box::new(|| &loggly.sink),
        },
        Peer {
            name: "datadog",
            yaml: format!("{{datadog: {{{}, api_key: {}}}}}", local(datadog.port()), datadog.key()),
            has: Box::new(|| datadog.logs()),
            faults: Box::new(|| &datadog.sink),
        },
        Peer {
            name: "splunk",
            yaml: format!("{{splunk: {{{}, token: {}}}}}", local(splunk.port()), splunk.token()),
            has: Box::new(move || events(splunk)),
            faults: Box::new(|| &splunk.sink),
        },
        Peer {
            name: "splunk",
            yaml: format!(
                "{{splunk: {{{}, token: {}, ack: true, ack_interval: 200ms}}}}",
                local(acking.port()),
                acking.token()
            ),
            has: Box::new(move || events(acking)),
            faults: Box::new(|| &acking.sink),
        },
        Peer {
            name: "graylog",
            yaml: format!("{{graylog: {{{}}}}}", to(gelf.port())),
            has: Box::new(|| gelf.records()),
            faults: Box::new(|| &gelf.sink),
        },
        Peer {
            name: "graylog",
            yaml: format!("{{graylog: {{{}, bulk: true}}}}", to(bulk.port())),
            has: Box::new(|| bulk.records()),
            faults: Box::new(|| &bulk.sink),
        },
    ];
    for (format, compress) in [("json-array", "gzip"), ("ndjson", "none"), ("json", "none")] {
        let sink = kept(HttpSink::answering(200));
        peers.push(Peer {
            name: "http",
            yaml: format!("{{http: {{{}, format: {format}, compress: {compress}}}}}", local(sink.port())),
            has: Box::new(|| taken(sink)),
            faults: Box::new(|| sink),
        });
    }
    peers
}

fn fourmi(worker: &Worker, sinks: &[&str]) -> Fourmi {
    Setup::beside(worker.address()).logs(format!("[{}]", sinks.join(", "))).more("tags: {team: orders}").start()
}

/// What became of a sink's records.
fn stat(fourmi: &Fourmi, target: &str) -> Value {
    let all: Vec<Value> = serde_json::from_str(&fourmi.admin("GET", "/api/v1/sinks").text()).unwrap();
    let found = all.iter().find(|s| s["target"].as_str().is_some_and(|t| t.contains(target)));
    found.unwrap_or_else(|| panic!("no sink to {target}: {all:?}")).clone()
}

fn count(stat: &Value, what: &str) -> u64 {
    stat[what].as_u64().unwrap()
}

#[track_caller]
fn says(fourmi: &Fourmi, target: &str, part: &str) -> Value {
    let mut last = Value::Null;
    eventually(&format!("the sink to {target} says {part}"), || {
        last = stat(fourmi, target);
        last["last_error"].as_str().is_some_and(|e| e.contains(part)).then(|| last.clone())
    })
}

/// The sink's counts, once they come to so many records.
#[track_caller]
fn settled(fourmi: &Fourmi, target: &str, records: u64) -> Value {
    let all = ["sent", "dropped_full", "dropped_error", "oversize"];
    eventually(&format!("the sink to {target} accounts for {records} records"), || {
        let stat = stat(fourmi, target);
        let sum: u64 = all.iter().map(|what| count(&stat, what)).sum();
        assert!(sum <= records, "more than there were: {stat}");
        (sum == records).then_some(stat)
    })
}

fn commands(fourmi: &Fourmi, round: &str, n: usize) {
    let mut client = fourmi.client();
    for i in 0..n {
        let path = format!("/status/{}", if i % 3 == 0 { 404 } else { 200 });
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: t\r\nFourmi-Id: {round}-{i}\r\nFourmi-Command: Do\"It\r\n\r\n");
        client.send(head).answer();
    }
}

#[test]
fn every_sink_outlives_the_same_faults_and_loses_nothing() {
    let (worker, peers) = (Worker::echo(), peers());
    let sinks: Vec<&str> = peers.iter().map(|p| p.yaml.as_str()).collect();
    let fourmi = fourmi(&worker, &sinks);
    let address = |peer: &Peer| format!("127.0.0.1:{}", (peer.faults)().port());
    let rounds: [(&str, Vec<Fault>); 8] = [
        ("well", vec![]),
        ("busy", vec![Fault::status(503), Fault::status(500)]),
        ("asked", vec![Fault::retry_after(429, 1)]),
        ("garbage", vec![Fault::Garbage]),
        ("closed", vec![Fault::Close, Fault::Close]),
        ("cut", vec![]),
        ("away", vec![]),
        ("mute", vec![Fault::Silence]),
    ];
    for (nth, (round, faults)) in rounds.iter().enumerate() {
        for peer in &peers {
            let sink = (peer.faults)();
            sink.next(faults.clone());
            match *round {
                "cut" => sink.kill_connections(),
                "away" => {
                    sink.close_listener();
                    sink.kill_connections();
                }
                _ => {}
            }
        }
        commands(&fourmi, round, ROUND);
        for peer in &peers {
            match *round {
                "busy" => drop(says(&fourmi, &address(peer), "50")),
                "away" => {
                    says(&fourmi, &address(peer), "refused");
                    (peer.faults)().reopen();
                }
                // The limit of a request is nearly the whole of the patience.
                "mute" => drop(says(&fourmi, &address(peer), "no answer in 10s")),
                _ => {}
            }
        }
        let total = (nth + 1) * ROUND;
        for peer in &peers {
            let stat = settled(&fourmi, &address(peer), total as u64);
            assert_eq!((count(&stat, "sent"), &stat["state"]), (total as u64, &"ok".into()), "{round}: {stat}");
            let has = ids(&(peer.has)());
            let expected: usize = has.values().sum();
            assert_eq!((has.len(), expected), (total, total), "{} {round}: each once, {has:?}", peer.name);
        }
    }
    for peer in &peers {
        let heard = (peer.faults)().heard();
        assert!(heard.iter().all(|h| h.header("user-agent").is_some_and(|a| a.starts_with("fourmi/"))));
        let alone = peer.yaml.contains("format: json,") || peer.yaml.contains("/gelf\"}");
        let most = rounds.len() * ROUND + 12 * 4;
        assert!(alone || heard.len() < most, "{}: {} requests are no batches", peer.name, heard.len());
        assert!(!peer.yaml.contains("bulk") || heard.iter().any(|h| h.text().lines().count() > 1));
    }
    let shown = fourmi.admin("GET", "/api/v1/config").text() + &fourmi.admin("GET", "/api/v1/sinks").text();
    for secret in [Loggly::start().token(), DatadogLogs::start().key(), Splunk::start().token()] {
        assert!(!shown.contains(secret) && !fourmi.stderr().contains(secret), "a token is shown: {shown}");
    }
}

#[test]
fn row_29_75_77_refusals_are_counted_kept_or_halved_as_they_mean() {
    let (worker, peers) = (Worker::echo(), peers());
    let sinks: Vec<&str> = peers.iter().map(|p| p.yaml.as_str()).collect();
    let fourmi = fourmi(&worker, &sinks);
    let address = |peer: &Peer| format!("127.0.0.1:{}", (peer.faults)().port());
    // Who asks for an acknowledgement would be refused while asking.
    let peers: Vec<&Peer> = peers.iter().filter(|p| !p.yaml.contains("ack: true")).collect();
    // 400: these records are no good and never will be.
    peers.iter().for_each(|p| (p.faults)().next([Fault::status(400)]));
    commands(&fourmi, "bad", ROUND);
    let mut lost = BTreeMap::new();
    for peer in &peers {
        let stat = settled(&fourmi, &address(peer), ROUND as u64);
        let has = (peer.has)().len() as u64;
        assert!(count(&stat, "dropped_error") > 0 && count(&stat, "sent") == has, "{stat}, has {has}");
        lost.insert(address(peer), ROUND as u64 - has);
    }
    // 413: in halves, and again; one alone is given up.
    peers.iter().for_each(|p| (p.faults)().next([Fault::status(413)]));
    commands(&fourmi, "large", ROUND);
    for peer in &peers {
        let stat = settled(&fourmi, &address(peer), 2 * ROUND as u64);
        let alone = count(&stat, "oversize");
        assert!(alone <= 1, "{stat}");
        assert_eq!(count(&stat, "sent"), (peer.has)().len() as u64, "{stat}");
        *lost.entry(address(peer)).or_default() += alone;
    }
    // 403: the token is wrong. Its records wait, but Graylog's HTTP input is another one then, and they are lost.
    peers.iter().for_each(|p| (p.faults)().always(Some(Fault::Answer(Answer::new(403, "who are you?")))));
    commands(&fourmi, "token", ROUND);
    for peer in &peers {
        let stat = says(&fourmi, &address(peer), "403: who are you?");
        assert_eq!(stat["state"], "failing");
        if peer.name == "graylog" {
            let stat = settled(&fourmi, &address(peer), 3 * ROUND as u64);
            *lost.entry(address(peer)).or_default() +=
                count(&stat, "dropped_error") + count(&stat, "oversize") - lost[&address(peer)];
        }
        (peer.faults)().always(None);
    }
    commands(&fourmi, "then", ROUND);
    for peer in &peers {
        let stat = settled(&fourmi, &address(peer), 4 * ROUND as u64);
        let has = ids(&(peer.has)());
        assert_eq!(stat["state"], "ok");
        assert_eq!(has.len() as u64, 4 * ROUND as u64 - lost[&address(peer)], "{stat} {has:?}");
        assert!(has.values().all(|n| *n == 1), "{has:?}");
        assert_eq!(has.len() as u64, count(&stat, "sent"));
    }
}

#[test]
fn a_slow_receiver_that_is_well_loses_nothing_under_load() {
    let worker = Worker::echo();
    let slow = HttpSink::start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        Answer::new(200, "")
    });
    let sink = format!("{{http: {{url: \"http://127.0.0.1:{}\", format: ndjson, batch: 500}}}}", slow.port());
    let fourmi = fourmi(&worker, &[&sink]);
    let load = Load::on(fourmi.port(), 4, "GET /status/200 HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the receiver has answered some batches", || slow.heard().len() >= 8);
    let tally = load.stop();
    let sent = tally.sent();
    let stat = settled(&fourmi, "http://127.0.0.1", sent);
    assert_eq!(count(&stat, "sent"), sent, "{stat}");
    let heard = slow.heard();
    assert_eq!(heard.iter().map(|h| h.text().lines().count() as u64).sum::<u64>(), sent);
    assert!(heard.len() as u64 * 20 < sent, "{} requests for {sent} records", heard.len());
}

#[test]
fn row_74_splunk_names_the_bad_event_and_only_the_later_ones_are_sent_again() {
    let (worker, splunk) = (Worker::echo(), Splunk::start());
    let sink = format!("{{splunk: {{url: \"http://127.0.0.1:{}\", token: {}}}}}", splunk.port(), splunk.token());
    let fourmi = fourmi(&worker, &[&sink]);
    // Five commands are one batch unless this machine is very slow; then it is tried again.
    let (mut total, mut round) = (0, 0);
    let stat = loop {
        splunk.refuse_event(2);
        commands(&fourmi, &format!("r{round}"), 5);
        total += 5;
        round += 1;
        let stat = settled(&fourmi, "/services/collector/event", total);
        if count(&stat, "dropped_error") > 0 || round == 5 {
            break stat;
        }
    };
    assert_eq!((count(&stat, "dropped_error"), count(&stat, "sent")), (1, total - 1), "{stat}");
    let has = ids(&splunk.events().iter().map(|e| e["event"].clone()).collect::<Vec<_>>());
    assert_eq!((has.len() as u64, has.values().max()), (total - 1, Some(&1)), "each once: {has:?}");
    assert!(!has.contains_key(&format!("r{}-2", round - 1)), "{has:?}");
    let event = splunk.events().remove(0);
    assert_eq!((&event["host"], &event["sourcetype"]), (&"box".into(), &"fourmi".into()), "{event}");
    assert_eq!(event["fields"], serde_json::json!({"env": "test", "service": "payment"}));
    assert!(event["time"].is_number() && event["event"]["tag_team"] == "orders", "{event}");
}

#[test]
fn row_76_what_splunk_never_acknowledges_is_sent_again_once_and_then_counted() {
    let (worker, splunk) = (Worker::echo(), Splunk::with(Rules { ack: true, ..Rules::default() }, None));
    splunk.acks(Acks::Never);
    let keys = format!("url: \"http://127.0.0.1:{}\", token: {}", splunk.port(), splunk.token());
    let fourmi = fourmi(&worker, &[&format!("{{splunk: {{{keys}, ack: true, ack_interval: 100ms}}}}")]);
    commands(&fourmi, "never", 5);
    splunk.wait_for(10);
    let stat = settled(&fourmi, "/services/collector/event", 5);
    assert_eq!(count(&stat, "dropped_error"), 5, "{stat}");
    assert!(stat["last_error"].as_str().unwrap().contains("indexed") && splunk.polls() >= 60, "{stat}");
    splunk.acks(Acks::After(3));
    commands(&fourmi, "then", 5);
    assert_eq!(count(&settled(&fourmi, "/services/collector/event", 10), "sent"), 5);
    assert_eq!(splunk.events().len(), 15, "never more than twice");
}

#[test]
fn a_token_in_a_file_may_change_without_a_reload() {
    let (worker, datadog) = (Worker::echo(), DatadogLogs::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "not-the-key").unwrap();
    let keys = format!("url: \"http://127.0.0.1:{}\", api_key_file: {}", datadog.port(), file.display());
    let fourmi = fourmi(&worker, &[&format!("{{datadog: {{{keys}}}}}")]);
    commands(&fourmi, "wrong", 3);
    let stat = says(&fourmi, "/api/v2/logs", "is the token right");
    assert_eq!((count(&stat, "sent"), count(&stat, "dropped_error")), (0, 0), "{stat}");
    std::fs::write(&file, format!("{}\n", datadog.key())).unwrap();
    let logs = datadog.wait_for(3);
    let log = &logs[0];
    assert_eq!((&log["service"], &log["hostname"]), (&"payment".into(), &"box".into()), "{log}");
    assert_eq!(log["ddtags"], "env:test,team:orders", "{log}");
    assert_eq!((&log["status"], &log["http.status_code"]), (&"warning".into(), &404.into()), "{log}");
}

#[test]
fn an_expired_certificate_keeps_records_until_there_is_another() {
    let (worker, certificates, port) = (Worker::echo(), Certificates::new(), free_port());
    let ca = certificates.ca_file();
    let serve = |pair| HttpSink::start_on(port, Some(certificates.server(pair)), |_| Answer::new(200, ""));
    let expired = serve(certificates.expired());
    let sink = format!("{{http: {{url: \"https://127.0.0.1:{port}/in\", tls: {{ca: {}}}}}}}", ca.display());
    let fourmi = fourmi(&worker, &[&sink]);
    commands(&fourmi, "tls", ROUND);
    let stat = says(&fourmi, "https://", "expired");
    assert_eq!((count(&stat, "sent"), &stat["state"]), (0, &"failing".into()), "{stat}");
    assert!(expired.heard().is_empty(), "nothing was said to whoever that is");
    drop(expired);
    let good = serve(certificates.good());
    let stat = settled(&fourmi, "https://", ROUND as u64);
    assert_eq!(count(&stat, "sent"), ROUND as u64, "{stat}");
    until("every record is there", || ids(&taken(&good)).len() == ROUND);
}

use super::*;
use crate::sink::batch::{Deliver, Verdict};
use crate::sink::entry::What;
use crate::sink::logs::tests::values;
use crate::sink::record::tests::{identity, sample};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn settings(more: Json) -> Json {
    let mut all = json!({
        "url": "http://127.0.0.1:1", "token": "secret-token", "source": "fourmi", "sourcetype": "fourmi",
        "indexed": ["env", "service", "status"], "ack": false, "ack_interval": {"secs": 1, "nanos": 0},
        "compress": "none",
    });
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    values(all)
}

#[test]
fn an_event_is_an_object_in_an_object() {
    let mut sink = build(&settings(json!({"index": "web", "sourcetype": "a\"b"}))).unwrap();
    assert_eq!(sink.target, "http://127.0.0.1:1/services/collector/event");
    let (mut out, who) = (Vec::new(), Who::new(&identity(&[("team", "orders")])));
    let x = sample(&identity(&[]));
    assert!(sink.encode.encode(&mut out, &Entry::of(What::Command, &x), &who));
    assert!(out.starts_with(b"{\"time\":1700000000.125000,\"host\":\"pay-3\","), "{}", String::from_utf8_lossy(&out));
    let event: Json = serde_json::from_slice(&out).unwrap();
    let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["time", "host", "source", "sourcetype", "index", "event", "fields"]);
    assert_eq!((&event["index"], &event["sourcetype"]), (&json!("web"), &json!("a\"b")));
    assert_eq!(event["fields"], json!({"env": "prod", "service": "order", "status": "200"}));
    let inner = &event["event"];
    assert_eq!((&inner["message"], &inner["tag_team"]), (&json!("CreateOrder 200 12.34 ms"), &json!("orders")));
    assert!(inner.get("env").is_none() && inner.get("status").is_none(), "not twice: {inner}");
    let mut out = Vec::new();
    sink.encode.encode(&mut out, &Entry::line(6, 0, &"\u{2}".repeat(400_000), Vec::new()), &who);
    let event: Json = serde_json::from_slice(&out).unwrap();
    assert!(out.len() <= EVENT_MAX && event["event"]["truncated"] == "true" && event.get("time").is_none());
}

/// Answers request after request with these statuses and bodies, and keeps what it was asked.
async fn collector(answers: &[(u16, &str)], ack: bool) -> (Collector, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut answers: VecDeque<(u16, String)> = answers.iter().map(|(s, b)| (*s, b.to_string())).collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut held = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let n = socket.read(&mut buffer).await.unwrap_or(0);
            if n == 0 {
                return;
            }
            held.extend_from_slice(&buffer[..n]);
            let text = String::from_utf8_lossy(&held).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_lowercase().split("content-length: ").nth(1).map(|l| l.lines().next().unwrap().to_owned());
            if body.len() < length.unwrap().parse::<usize>().unwrap() {
                continue;
            }
            held.clear();
            seen.lock().unwrap().push(text);
            let (status, body) = answers.pop_front().unwrap_or((500, String::new()));
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let secret = Secret::of(("token", Some("secret-token".to_owned())), ("token_file", None)).unwrap();
    let post = Post::new(&url, collector::EVENT_PATH, section::Values::default(), "application/json", Compress::None)
        .unwrap()
        .with(secret, Place::Authorization("Splunk"));
    (Collector::new(post, ack.then_some(Duration::from_millis(1))), asked)
}

#[tokio::test]
async fn each_code_has_its_verdict() {
    type Case = (u16, &'static str, fn(&Verdict) -> bool);
    let cases: [Case; 14] = [
        (200, r#"{"text":"Success","code":0}"#, |v| *v == Verdict::Taken),
        (200, "OK", |v| *v == Verdict::Taken),
        (403, r#"{"text":"Token disabled","code":1}"#, |v| matches!(v, Verdict::Parked(_))),
        (401, r#"{"text":"Invalid authorization","code":3}"#, |v| matches!(v, Verdict::Parked(_))),
        (403, r#"{"text":"no secret-token here","code":4}"#, |v| {
            matches!(v, Verdict::Parked(why) if !why.contains("secret-token"))
        }),
        (400, r#"{"text":"Invalid data format","code":6,"invalid-event-number":1}"#, |v| {
            matches!(v, Verdict::Bad { index: 1, .. })
        }),
        (400, r#"{"text":"No data","code":5}"#, |v| matches!(v, Verdict::Refused(_))),
        (400, r#"{"text":"Incorrect index","code":7,"invalid-event-number":0}"#, |v| matches!(v, Verdict::Parked(_))),
        (400, r#"{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}"#, |v| {
            matches!(v, Verdict::Bad { index: 0, .. })
        }),
        (503, r#"{"text":"Server is busy","code":9}"#, |v| matches!(v, Verdict::Later(None, _))),
        (500, "", |v| matches!(v, Verdict::Later(None, _))),
        (429, "slow down", |v| matches!(v, Verdict::Later(None, _))),
        (413, "", |v| matches!(v, Verdict::Halve(_))),
        (404, "", |v| matches!(v, Verdict::Parked(_))),
    ];
    let answers: Vec<(u16, &str)> = cases.iter().map(|(s, b, _)| (*s, *b)).collect();
    let (mut collector, asked) = collector(&answers, false).await;
    for (status, body, fits) in cases {
        let verdict = collector.deliver(&[b"{}", b"{\"a\":1}"]).await;
        assert!(fits(&verdict), "{status} {body}: {verdict:?}");
    }
    let first = asked.lock().unwrap()[0].to_lowercase();
    assert!(first.contains("authorization: splunk secret-token\r\n") && first.ends_with("{}\n{\"a\":1}"), "{first}");
    assert!(!first.contains("x-splunk-request-channel"));
}

#[tokio::test]
async fn what_is_never_acknowledged_is_sent_again_once() {
    const TAKEN: &str = r#"{"text":"Success","code":0,"ackId":7}"#;
    let mut answers = vec![(200, TAKEN)];
    answers.extend([(200, r#"{"acks":{"7":false}}"#); 30]);
    answers.push((200, r#"{"text":"Success","code":0,"ackId":8}"#));
    // Whoever is not there says nothing about it.
    answers.push((503, ""));
    answers.extend([(200, r#"{"acks":{"8":false}}"#); 30]);
    answers.extend([(200, TAKEN), (200, r#"{"acks":{"7":true}}"#), (200, TAKEN), (400, r#"{"text":"off","code":14}"#)]);
    let (mut collector, asked) = collector(&answers, true).await;
    assert_eq!(collector.deliver(&[b"{}", b"{}"]).await, Verdict::Held);
    let (mut lost, mut told) = (0, 0);
    while collector.due().is_some() {
        let settled = collector.tend().await;
        told += u32::from(settled.why.is_some());
        lost += settled.lost;
        assert_eq!(settled.taken, 0);
    }
    assert_eq!((lost, told, asked.lock().unwrap().len()), (2, 2, 63));
    assert_eq!(collector.deliver(&[b"{}"]).await, Verdict::Held);
    assert_eq!(collector.tend().await.taken, 1);
    assert!(collector.due().is_none());
    assert_eq!(collector.deliver(&[b"{}"]).await, Verdict::Held);
    let off = collector.tend().await;
    assert!(off.taken == 1 && off.why.is_some_and(|w| w.contains("ack: false")));
    let asked = asked.lock().unwrap();
    let channels: std::collections::BTreeSet<_> =
        asked.iter().map(|a| a.to_lowercase().split("x-splunk-request-channel: ").nth(1).unwrap()[..36].to_owned()).collect();
    assert_eq!(channels.len(), 1, "{channels:?}");
    assert!(asked[1].starts_with("POST /services/collector/ack ") && asked[1].ends_with(r#"{"acks":[7]}"#), "{}", asked[1]);
}

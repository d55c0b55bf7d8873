use super::*;
use crate::exchange::{
    Command, Direction, Exchange, Fault, FaultKind, Head, Identity, Outcome, Protocol, Timings, Trace,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

mod oracle;
mod rows;

fn request() -> Head {
    let mut head = Head::default();
    head.method = http::Method::POST;
    head.authority = "order".into();
    head.set_target("/orders", Some("token=secret-query"));
    head
}

/// An exchange as the road leaves it, for the tests of every sink.
pub(crate) fn sample(identity: &Arc<Identity>) -> Exchange {
    let start = Instant::now();
    let at = |micros| Some(start + Duration::from_micros(micros));
    Exchange {
        peer: "127.0.0.1:999".parse().ok(),
        client: "10.1.2.3".parse().ok(),
        trusted: true,
        service: "order".into(),
        route: "worker".into(),
        command: Command {
            name: "CreateOrder".into(),
            id: "42".into(),
            tags: vec![("shop".into(), "7".into())],
            ..Default::default()
        },
        trace: Trace { trace_id: 0xabc, parent_span: 0, span_id: 0xdef, flags: 1 },
        timings: Timings {
            wall: UNIX_EPOCH + Duration::from_micros(1_700_000_000_125_000),
            start,
            sent: at(300),
            answered: at(12_000),
            end: at(12_340),
        },
        status: 200,
        outcome: Some(Outcome::Success),
        bytes_in: 10,
        bytes_out: 20,
        upstream: Some("127.0.0.1:8080".into()),
        ..Exchange::begin(identity, Direction::Inbound, Protocol::Http11, request(), &"".into())
    }
}

/// Who the tests are.
pub(crate) fn identity(tags: &[(&str, &str)]) -> Arc<Identity> {
    Arc::new(Identity {
        service: "order".into(),
        env: "prod".into(),
        hostname: "pay-3".into(),
        tags: tags.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    })
}

/// The record of an exchange, by the way that it goes: as an entry, written and read.
fn record(form: Form, x: &Exchange) -> Vec<u8> {
    let mut bytes = Vec::new();
    Entry::of(What::Command, x).write(&mut bytes);
    let mut out = Vec::new();
    let entry = Entry::read(&bytes).unwrap();
    RecordEncoder::new(form, Names::all(), 180_224).encode(&mut out, &entry, &Who::new(&x.identity));
    out
}

fn gelf(x: &Exchange) -> (Value, String) {
    let out = record(Form::Gelf, x);
    let text = String::from_utf8(out).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let keys = text.matches("\":").count();
    assert!(keys >= value.as_object().unwrap().len());
    (value, text)
}

#[test]
fn a_record_has_the_documented_fields_and_types() {
    let mut x = sample(&identity(&[("team", "orders")]));
    x.request.headers.set("cookie", "secret-cookie");
    x.request.headers.set("authorization", "secret-key");
    let (v, text) = gelf(&x);
    assert!(text.starts_with(r#"{"version":"1.1","host":"pay-3","_facility":"prod","_env":"prod","#), "{text}");
    for part in [
        r#""timestamp":1700000000.125000,"level":6,"short_message":"CreateOrder 200 12.34 ms","#,
        r#""_command_id":"42","_tags":"team=orders,shop=7","_tag_team":"orders","_tag_shop":"7","#,
        r#""_direction":"inbound","_protocol":"http/1.1","_route":"worker","_status":200,"_outcome":"success","#,
        r#""_duration_ms":12.34,"_upstream_ms":11.7,"_overhead_ms":0.3,"_attempt":1,"_bytes_in":10,"_bytes_out":20,"#,
        r#""_client":"10.1.2.3","_upstream":"127.0.0.1:8080","#,
        r#""_trace_id":"00000000000000000000000000000abc","_span_id":"0000000000000def"}"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("secret"), "{text}");
    for absent in ["_id", "facility", "_consumer", "_error", "_truncated"] {
        assert!(v.get(absent).is_none(), "{absent}");
    }
    let json = record(Form::Json, &x);
    let plain: Value = serde_json::from_slice(&json).unwrap();
    for (key, value) in v.as_object().unwrap() {
        assert_eq!(plain.get(key.strip_prefix('_').unwrap_or(key)), Some(value), "{key}");
    }
}

#[test]
fn who_a_caller_has_proved_to_be_is_shown() {
    let mut x = sample(&identity(&[]));
    x.peer_identity = Some("spiffe://ours/pay".into());
    let (_, text) = gelf(&x);
    assert!(text.contains(r#""_client":"10.1.2.3","_client_identity":"spiffe://ours/pay","_upstream""#), "{text}");
}

#[test]
fn tags_are_text_cleaned_and_unique() {
    let mut x = sample(&identity(&[("team", "orders"), ("region", "eu"), ("none", "")]));
    x.command.tags = [
        ("id", "9"),
        ("paid", "true"),
        ("empty", ""),
        ("spaces", "  x "),
        ("a b/c:é", "first"),
        ("a_b_c__", "second"),
        ("region", "us"),
        ("odd", "new\nline \"q\" \\ \t \u{0} 😀"),
    ]
    .map(|(k, v)| (Arc::from(k), v.to_owned()))
    .to_vec();
    let (v, text) = gelf(&x);
    assert_eq!(v["_tag_id"], "9");
    assert!(v.get("_id").is_none());
    assert_eq!(v["_tag_paid"], "true");
    assert!(v.get("_tag_empty").is_none() && v.get("_tag_none").is_none());
    assert_eq!(v["_tag_spaces"], "  x ");
    assert_eq!(v["_tag_a_b_c__"], "first");
    assert_eq!(v["_tag_region"], "us");
    assert_eq!(v["_tag_odd"], "new\nline \"q\" \\ \t \u{0} 😀");
    assert_eq!(v["_tags"].as_str().unwrap().split(',').next(), Some("team=orders"));
    for key in ["\"_tag_region\":", "\"_tag_a_b_c__\":", "region="] {
        assert_eq!(text.matches(key).count(), 1, "{key} in {text}");
    }
    x.command.tags = vec![("only".into(), String::new())];
    x.identity = identity(&[]);
    assert!(gelf(&x).0.get("_tags").is_none());
}

#[test]
fn levels_names_and_edges() {
    let mut x = sample(&identity(&[]));
    let mut level_of = |status, outcome, attempt| {
        x.status = status;
        x.outcome = outcome;
        x.attempt = attempt;
        gelf(&x).0["level"].as_u64().unwrap()
    };
    assert_eq!(level_of(200, None, 1), 6);
    assert_eq!(level_of(200, None, 2), 5);
    assert_eq!(level_of(404, None, 1), 4);
    assert_eq!(level_of(503, None, 1), 3);
    assert_eq!(level_of(429, Some(Outcome::Rejected), 1), 4);
    assert_eq!(level_of(0, Some(Outcome::Unreachable), 1), 3);

    x.command.name = "".into();
    x.status = 0;
    x.timings.wall = UNIX_EPOCH - Duration::from_secs(5);
    x.bytes_in = u64::MAX;
    x.fault = Some(Fault::new(FaultKind::Unreachable, "connection refused"));
    x.identity = Arc::new(Identity { hostname: " ".into(), ..(*x.identity).clone() });
    let (v, _) = gelf(&x);
    assert_eq!(v["host"], "unknown");
    assert_eq!(v["short_message"], "worker unreachable 12.34 ms");
    assert!(v.get("timestamp").is_none() && v.get("_status").is_none());
    assert_eq!(v["_error"], "unreachable: connection refused");
    assert_eq!(v["_bytes_in"], i64::MAX as u64);
}

#[test]
fn what_is_too_long_is_cut_and_marked() {
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("big".into(), "😀".repeat(10_000))];
    let (v, _) = gelf(&x);
    let big = v["_tag_big"].as_str().unwrap();
    assert!(big.len() <= 32_000 && big.chars().all(|c| c == '😀'));
    assert_eq!(v["_truncated"], "true");
    x.command.tags = (0..16).map(|n| (format!("t{n}").into(), "z\"".repeat(15_000))).collect();
    let (v, text) = gelf(&x);
    assert!(text.len() <= 180_224, "{}", text.len());
    assert_eq!(v["_truncated"], "true");
    assert_eq!(v["_tag_t15"].as_str().unwrap().len(), 256);
}

#[test]
fn lines_of_the_worker_are_records_too() {
    let who = Who::new(&identity(&[("team", "orders")]));
    let mut encoder = RecordEncoder::new(Form::Gelf, Names::all(), 180_224);
    let mut show = |entry: &Entry<'_>| {
        let mut out = Vec::new();
        encoder.encode(&mut out, entry, &who);
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let shown = vec![("channel", "app"), ("level", "9"), ("command", "evil"), ("id", "5"), ("tag_team", "evil")];
    let v = show(&Entry::line(4, 1_700_000_000_125_000, "disk is \"full\"", shown));
    assert_eq!((v["short_message"].as_str(), v["level"].as_u64()), (Some("disk is \"full\""), Some(4)));
    assert_eq!((v["_channel"].as_str(), v["_line_command"].as_str()), (Some("app"), Some("evil")));
    assert_eq!((v["_line_id"].as_str(), v["_line_tag_team"].as_str()), (Some("5"), Some("evil")));
    assert_eq!((v["_tag_team"].as_str(), v["_service"].as_str()), (Some("orders"), Some("order")));
    for absent in ["_command", "_duration_ms", "_attempt", "_bytes_in", "_outcome", "_id", "full_message"] {
        assert!(v.get(absent).is_none(), "{absent}");
    }
    // A long one keeps its beginning where it is searched for, and all of it behind.
    let long = "x\n".repeat(30_000);
    let v = show(&Entry::line(6, 1, &long, Vec::new()));
    assert!(v["short_message"].as_str().unwrap().len() <= 32_000);
    assert_eq!(v["full_message"].as_str().unwrap(), long);
    let v = show(&Entry::line(6, 1, &"\u{1}".repeat(500_000), Vec::new()));
    assert_eq!(v["_truncated"], "true");
}

use super::super::frame::Framed;
use super::super::resource;
use super::super::settings::Remote;
use super::super::{Signal, attributes};
use super::*;
use crate::exchange::{Attempt, Exchange, Fault, FaultKind, Outcome};
use crate::sink::record::tests::{identity, sample};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use prost::Message;
use serde_json::json;
use std::time::Duration;

/// The body of a request with these records.
pub(in super::super) fn body(senders: Arc<Senders>, signal: Signal, records: &[Vec<u8>]) -> Vec<u8> {
    let values = json!({"endpoint": "http://x", "headers": {}, "compress": "none", "timeout": {"secs": 1, "nanos": 0}});
    let post = Remote::new(&values).unwrap().post(signal);
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    Framed::new(post, senders).body(&records)
}

/// What an exchange becomes, by the way that it goes: as an entry, written and read.
pub(in super::super) fn encoded(encoder: &mut dyn Encode, who: &Who, x: &Exchange) -> Option<Vec<u8>> {
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    Entry::of(What::Command, x).write(&mut bytes);
    encoder.encode(&mut out, &Entry::read(&bytes).unwrap(), who).then_some(out)
}

pub(in super::super) fn value<'a>(all: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    assert!(all.iter().filter(|a| a.key == key).count() <= 1, "{key} stands there twice");
    all.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

#[test]
fn a_command_is_a_record_with_typed_attributes_and_raw_ids() {
    let who = Who::new(&identity(&[("team", "orders"), ("version", "1.2")]));
    let senders = Arc::<Senders>::default();
    let mut encoder = LogEncoder::new(Names::all(), senders.clone());
    let mut x = sample(&identity(&[]));
    x.trace.trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    let first = encoded(&mut encoder, &who, &x).unwrap();
    // Another one behind it, so that memory is used again.
    x.command.name = "Charge".into();
    x.status = 504;
    x.outcome = Some(Outcome::Timeout);
    x.fault = Some(Fault::new(FaultKind::Timeout, "no answer in 60s"));
    let second = encoded(&mut encoder, &who, &x).unwrap();
    let mut line = Entry::line(7, 0, "a \"line\"\nof two", vec![("logger", "app")]);
    line.trace_flags = 1;
    let mut third = Vec::new();
    assert!(encoder.encode(&mut third, &line, &who));

    let request = ExportLogsServiceRequest::decode(&*body(senders, Signal::Logs, &[first, second, third])).unwrap();
    assert_eq!((request.resource_logs.len(), request.resource_logs[0].scope_logs.len()), (1, 1));
    let made = request.resource_logs[0].resource.as_ref().unwrap();
    let version = resource::value(made, "service.version").unwrap();
    assert_eq!(version.value, Some(text("1.2")), "the tag `version`");
    let scope = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope.scope.as_ref().map(|s| s.name.as_str()), Some("fourmi"));
    let [first, second, third] = scope.log_records.as_slice() else { panic!("{scope:?}") };

    assert_eq!(first.time_unix_nano, 1_700_000_000_125_000_000);
    assert!(first.observed_time_unix_nano > first.time_unix_nano);
    assert_eq!((first.severity_number, first.severity_text.as_str()), (SeverityNumber::Info as i32, "info"));
    assert_eq!(first.body.as_ref().and_then(|b| b.value.clone()), Some(text("CreateOrder 200 12.34 ms")));
    assert_eq!(first.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!((first.span_id.as_slice(), first.flags), (&0xdef_u64.to_be_bytes()[..], 1));
    for (key, expected) in [
        ("command", text("CreateOrder")),
        ("command_id", text("42")),
        ("tag_team", text("orders")),
        ("tag_shop", text("7")),
        ("status", Value::IntValue(200)),
        ("duration_ms", Value::DoubleValue(12.34)),
        ("attempt", Value::IntValue(1)),
        ("client", text("10.1.2.3")),
    ] {
        assert_eq!(value(&first.attributes, key), Some(&expected), "{key}");
    }
    for absent in ["trace_id", "span_id", "service", "env", "hostname", "facility", "error"] {
        assert!(value(&first.attributes, absent).is_none(), "{absent} has its own place");
    }

    assert_eq!((second.severity_number, second.severity_text.as_str()), (SeverityNumber::Error as i32, "error"));
    assert_eq!(second.body.as_ref().and_then(|b| b.value.clone()), Some(text("Charge 504 12.34 ms")));
    assert_eq!(value(&second.attributes, "error"), Some(&text("timeout: no answer in 60s")));

    assert_eq!(third.body.as_ref().and_then(|b| b.value.clone()), Some(text("a \"line\"\nof two")));
    assert_eq!((third.time_unix_nano, third.severity_number), (0, SeverityNumber::Debug as i32));
    assert!(third.trace_id.is_empty() && third.span_id.is_empty() && third.flags == 0);
    assert_eq!(value(&third.attributes, "logger"), Some(&text("app")));
    assert!(value(&third.attributes, "status").is_none(), "nothing of the record before");
}

#[test]
fn attributes_are_bounded_and_counted() {
    let who = Who::new(&identity(&[]));
    let senders = Arc::<Senders>::default();
    let mut encoder = LogEncoder::new(Names::all(), senders.clone());
    let long = "é".repeat(40_000);
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let entry = Entry::line(6, 1, &long, keys.iter().map(|k| (k.as_str(), long.as_str())).collect());
    let mut out = Vec::new();
    encoder.encode(&mut out, &entry, &who);
    let request = ExportLogsServiceRequest::decode(&*body(senders, Signal::Logs, &[out])).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.attributes.len(), record.dropped_attributes_count), (128, 72));
    let Some(Value::StringValue(kept)) = value(&record.attributes, "k0") else { panic!("text") };
    assert!(kept.len() <= STRING_MAX && kept.len() > STRING_MAX - 2);
    assert_eq!(attributes::text("k", &long).value.and_then(|v| v.value), Some(Value::StringValue(kept.clone())));
}

#[test]
fn records_of_two_configurations_have_two_resources() {
    let (old, new) = (Who::new(&identity(&[])), Who::new(&identity(&[("version", "2")])));
    let senders = Arc::<Senders>::default();
    let mut encoder = LogEncoder::new(Names::all(), senders.clone());
    let mut x = sample(&identity(&[]));
    let mut records = Vec::new();
    for (n, who) in [&old, &new, &old, &new].into_iter().enumerate() {
        x.command.id = n.to_string();
        records.push(encoded(&mut encoder, who, &x).unwrap());
    }
    let request = ExportLogsServiceRequest::decode(&*body(senders, Signal::Logs, &records)).unwrap();
    let told: Vec<(Option<&str>, Vec<&str>)> = request
        .resource_logs
        .iter()
        .map(|r| {
            let version = resource::value(r.resource.as_ref().unwrap(), "service.version");
            let version = version.and_then(|v| match &v.value {
                Some(Value::StringValue(text)) => Some(text.as_str()),
                _ => None,
            });
            let ids = r.scope_logs[0].log_records.iter().map(|l| match value(&l.attributes, "command_id") {
                Some(Value::StringValue(id)) => id.as_str(),
                other => panic!("{other:?}"),
            });
            (version, ids.collect())
        })
        .collect();
    assert_eq!(told, [(None, vec!["0", "2"]), (Some("2"), vec!["1", "3"])]);
}

#[test]
fn the_entry_carries_what_failed_before() {
    let mut x = sample(&identity(&[]));
    let mut bytes = Vec::new();
    Entry::of(What::Command, &x).write(&mut bytes);
    let none = bytes.len();
    x.attempts = vec![Attempt {
        upstream: "a:1".into(),
        at: Duration::from_millis(3),
        code: "unreachable",
        detail: "refused".into(),
    }];
    bytes.clear();
    Entry::of(What::Command, &x).write(&mut bytes);
    let entry = Entry::read(&bytes).unwrap();
    let read: Vec<_> = entry.attempts.iter().map(|t| (t.upstream, t.at.0, t.code, t.detail)).collect();
    assert_eq!(read, [("a:1", 3_000_000, "unreachable", "refused")]);
    assert!(bytes.len() > none && entry.attempts.len() == 1);
}

use super::super::record::tests::{body, encoded, value};
use super::*;
use crate::exchange::{Attempt, Exchange, Fault, FaultKind};
use crate::sink::record::tests::{identity, sample};
use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status as ApiStatus, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, StringValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    IdGenerator, Sampler, SamplingDecision, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
};
use prost::Message;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

fn span_of(x: &Exchange, errors: bool) -> Option<Span> {
    let senders = Arc::<Senders>::default();
    let mut encoder = SpanEncoder::new(Names::all(), errors, senders.clone());
    let record = encoded(&mut encoder, &Who::new(&x.identity), x)?;
    let request = ExportTraceServiceRequest::decode(&*body(senders, Signal::Traces, &[record])).unwrap();
    Some(request.resource_spans[0].scope_spans[0].spans[0].clone())
}

/// A command to another service that found its second instance, and what came of it.
fn outbound() -> Exchange {
    let mut x = sample(&identity(&[("team", "orders")]));
    x.direction = Direction::Outbound;
    x.trace.trace_id = TRACE;
    x.trace.parent_span = 0x00f0_67aa_0ba9_02b7;
    x.attempts = vec![Attempt {
        upstream: "10.0.0.1:80".into(),
        at: Duration::from_millis(2),
        code: "unreachable",
        detail: "connection refused".into(),
    }];
    x.upstream = Some("10.0.0.2:80".into());
    x.status = 504;
    x.outcome = Some(Outcome::Timeout);
    x.fault = Some(Fault::new(FaultKind::Timeout, "no answer in 60s"));
    x.baggage_dropped = 3;
    x.shown =
        vec![("path".into(), "/orders".into()), ("header_x-a".into(), "b".into()), ("method".into(), "POST".into())];
    x
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

#[derive(Debug)]
struct Given;

impl IdGenerator for Given {
    fn new_trace_id(&self) -> TraceId {
        TraceId::from(TRACE)
    }
    fn new_span_id(&self) -> SpanId {
        SpanId::from(0xdef)
    }
}

/// The same span as the OpenTelemetry SDK makes and encodes it.
fn by_the_sdk() -> Span {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_id_generator(Given).with_simple_exporter(kept.clone()).build();
    let start = UNIX_EPOCH + Duration::from_micros(1_700_000_000_125_000);
    let end = start + Duration::from_micros(12_340);
    let event = |name: &'static str, at, upstream: &'static str, code: &'static str, detail: &'static str| {
        let all = [("fourmi.upstream", upstream), ("error.type", code), ("fourmi.detail", detail)];
        Event::new(name, at, all.into_iter().map(|(k, v)| KeyValue::new(k, v)).collect(), 0)
    };
    let remote = SpanContext::new(
        TraceId::from(TRACE),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    let tracer = provider.tracer("fourmi");
    let span = tracer
        .span_builder("CreateOrder")
        .with_kind(SpanKind::Client)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("fourmi.command", "CreateOrder"),
            KeyValue::new("fourmi.id", "42"),
            KeyValue::new("fourmi.route", "worker"),
            KeyValue::new("fourmi.outcome", "timeout"),
            KeyValue::new("fourmi.tag.team", "orders"),
            KeyValue::new("fourmi.tag.shop", "7"),
            KeyValue::new("url.path", "/orders"),
            KeyValue::new("http.request.header.x-a", opentelemetry::Value::Array(vec![StringValue::from("b")].into())),
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.response.status_code", 504),
            KeyValue::new("network.protocol.name", "http"),
            KeyValue::new("network.protocol.version", "1.1"),
            KeyValue::new("http.request.body.size", 10),
            KeyValue::new("http.response.body.size", 20),
            KeyValue::new("client.address", "10.1.2.3"),
            KeyValue::new("fourmi.upstream", "10.0.0.2:80"),
            KeyValue::new("peer.service", "order"),
            KeyValue::new("server.address", "10.0.0.2"),
            KeyValue::new("server.port", 80),
            KeyValue::new("fourmi.attempt", 1),
            KeyValue::new("http.request.resend_count", 1),
            KeyValue::new("fourmi.upstream.duration", 0.0117),
            KeyValue::new("fourmi.overhead", 0.0003),
            KeyValue::new("fourmi.baggage_dropped", 3),
            KeyValue::new("error.type", "timeout"),
        ])
        .with_events(vec![
            event(
                "fourmi.attempt.failed",
                start + Duration::from_millis(2),
                "10.0.0.1:80",
                "unreachable",
                "connection refused",
            ),
            event("fourmi.fault", end, "10.0.0.2:80", "timeout", "no answer in 60s"),
        ]);
    let mut span = tracer.build_with_context(span, &Context::new().with_remote_span_context(remote));
    opentelemetry::trace::Span::set_status(&mut span, ApiStatus::error("no answer in 60s"));
    opentelemetry::trace::Span::end_with_timestamp(&mut span, end);
    let data = kept.0.lock().unwrap().remove(0);
    data.into()
}

#[test]
fn a_span_is_what_the_sdk_makes_of_the_same() {
    assert_eq!(span_of(&outbound(), false).unwrap(), by_the_sdk());
}

#[test]
fn an_inbound_command_is_a_servers_span_and_4xx_is_the_callers_doing() {
    let mut x = sample(&identity(&[]));
    let span = span_of(&x, true).unwrap();
    assert_eq!((span.kind, span.parent_span_id.len()), (span::SpanKind::Server as i32, 0));
    assert_eq!(span.flags, 0x101, "sampled; no parent that could be remote");
    assert_eq!(span.status.as_ref().map(|s| s.code), Some(status::StatusCode::Unset as i32));
    assert!(span.events.is_empty() && value(&span.attributes, "error.type").is_none());
    for absent in ["server.address", "peer.service", "url.path", "fourmi.baggage_dropped", "http.request.resend_count"]
    {
        assert!(value(&span.attributes, absent).is_none(), "{absent}");
    }
    (x.status, x.outcome) = (404, Some(Outcome::ClientError));
    assert_eq!(span_of(&x, true).unwrap().status.unwrap().code, status::StatusCode::Unset as i32);
    x.direction = Direction::Outbound;
    let span = span_of(&x, true).unwrap();
    assert_eq!(span.status.unwrap().code, status::StatusCode::Error as i32);
    assert_eq!(value(&span.attributes, "error.type"), Some(&Value::StringValue("404".into())));
    x.protocol = Protocol::Grpc;
    (x.status, x.grpc_status, x.outcome) = (200, Some(14), Some(Outcome::ServerError));
    let span = span_of(&x, true).unwrap();
    assert_eq!(value(&span.attributes, "error.type"), Some(&Value::StringValue("14".into())));
    assert_eq!(value(&span.attributes, "rpc.grpc.status_code"), Some(&Value::IntValue(14)));
}

#[test]
fn what_is_not_recorded_is_told_only_when_it_failed() {
    let mut x = outbound();
    x.trace.flags = 0;
    let told = span_of(&x, true).unwrap();
    assert_eq!(told.flags, 0x300, "not sampled, remote parent");
    assert!(span_of(&x, false).is_none());
    x.outcome = Some(Outcome::Success);
    assert!(span_of(&x, true).is_none());
    x.trace.flags = 1;
    assert!(span_of(&x, false).is_some());
    x.trace.trace_id = 0;
    assert!(span_of(&x, true).is_none(), "no span without ids");
    let mut out = Vec::new();
    let mut encoder = SpanEncoder::new(Names::all(), true, Arc::default());
    let mut line = Entry::line(3, 1, "a line", Vec::new());
    (line.trace_id, line.span_id, line.trace_flags) = (1, 1, 1);
    assert!(!encoder.encode(&mut out, &line, &Who::new(&identity(&[]))) && out.is_empty(), "a line is no span");
}

#[test]
fn dropped_fields_are_in_no_span() {
    let values = crate::sink::logs::tests::values(serde_json::json!({
        "drop": ["client", "tag_shop", "error", "upstream", "command_id", "path"]
    }));
    let names = Names::new(&read::<Common>(&values).unwrap());
    let x = outbound();
    let senders = Arc::<Senders>::default();
    let record = encoded(&mut SpanEncoder::new(names, true, senders.clone()), &Who::new(&x.identity), &x).unwrap();
    let request = ExportTraceServiceRequest::decode(&*body(senders, Signal::Traces, &[record])).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    for absent in ["client.address", "fourmi.tag.shop", "fourmi.upstream", "server.address", "fourmi.id", "url.path"] {
        assert!(value(&span.attributes, absent).is_none(), "{absent}");
    }
    assert!(value(&span.attributes, "fourmi.tag.team").is_some());
    assert_eq!(span.status.as_ref().map(|s| s.message.as_str()), Some(""));
    assert!(span.events.iter().all(|e| value(&e.attributes, "fourmi.detail").is_none()));
}

#[test]
fn traces_are_chosen_as_the_sdk_chooses_them() {
    for ratio in [0.0, 0.001, 0.1, 0.5, 0.999, 1.0] {
        let ours = crate::command::trace::Sampling { ratio }.sampler();
        let sdk = Sampler::TraceIdRatioBased(ratio);
        for _ in 0..2000 {
            let id = fastrand::u128(1..);
            let theirs = sdk.should_sample(None, TraceId::from(id), "", &SpanKind::Server, &[], &[]);
            assert_eq!(ours.takes(id), theirs.decision == SamplingDecision::RecordAndSample, "{ratio} {id:x}");
        }
    }
}

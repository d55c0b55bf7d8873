//! OTLP over HTTP: what a receiver gets, in the OpenTelemetry project's own messages, and what becomes of it when the
//! receiver is sick. Each record ends in exactly one place: at the receiver, or in a counter.

use fourmi_tests::peers::oteltap::attribute;
use fourmi_tests::peers::{Answer, Certificates, DdApm, Fault, Heard, HttpSink, OtelTap};
use fourmi_tests::{Fourmi, Setup, Worker, eventually, free_port, run_fourmi, until};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// What a request may have at most, before it is packed.
const REQUEST_MAX: usize = 3 << 20;

/// The records of a request; none when it is not exactly as the protocol wants it.
fn logs(heard: &Heard) -> Option<Vec<(Resource, LogRecord)>> {
    let fits = heard.method == "POST"
        && heard.path == "/v1/logs"
        && heard.header("content-type") == Some("application/x-protobuf");
    let request = ExportLogsServiceRequest::decode(&*heard.plain().filter(|_| fits)?).ok()?;
    let mut all = Vec::new();
    for of in request.resource_logs {
        let resource = of.resource.filter(|r| text(&r.attributes, "service.name").is_some())?;
        for scope in of.scope_logs {
            scope.scope.filter(|s| s.name == "fourmi" && !s.version.is_empty())?;
            all.extend(scope.log_records.into_iter().map(|r| (resource.clone(), r)));
        }
    }
    (!all.is_empty()).then_some(all)
}

fn value<'a>(all: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    all.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(all: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(all, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Takes log records, and refuses what is no OTLP.
fn receiver() -> HttpSink {
    HttpSink::start(strict)
}

fn strict(heard: &Heard) -> Answer {
    match logs(heard) {
        Some(_) => Answer::new(200, ExportLogsServiceResponse::default().encode_to_vec()),
        None => Answer::new(400, "this is no OTLP"),
    }
}

fn beside(worker: &Worker, sink: &HttpSink, more: &str) -> Setup {
    let port = sink.port();
    Setup::beside(worker.address()).logs(format!("[{{otlp: {{endpoint: \"http://127.0.0.1:{port}\"{more}}}}}]"))
}

/// Commands with these ids.
fn commands(fourmi: &Fourmi, ids: std::ops::Range<usize>) {
    for id in ids {
        fourmi.get_with("/", &format!("Fourmi-Id: {id}\r\n"));
    }
}

/// The ids of the records that were taken, in the order of their coming.
fn taken(sink: &HttpSink) -> Vec<usize> {
    let ok = sink.heard().into_iter().filter(|h| h.status == 200);
    ok.flat_map(|h| logs(&h).unwrap())
        .map(|(_, r)| text(&r.attributes, "command_id").unwrap().parse().unwrap())
        .collect()
}

fn sink_counts(fourmi: &Fourmi, sink: &str, result: &str, expected: usize) {
    fourmi.counts("fourmi_sink_records_total", &[("sink", sink), ("result", result)], expected as f64);
}

#[test]
fn row_73_a_record_has_the_callers_trace_and_a_resource() {
    let (worker, sink) = (Worker::echo(), receiver());
    let fourmi = beside(&worker, &sink, ", headers: {x-key: secret-value}").more("tags: {version: \"1.2\"}").start();
    fourmi.post("/status/503", &format!("Fourmi-Command: Charge\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n"), "body");
    let heard = sink.wait_for(1).remove(0);
    assert_eq!((heard.header("content-encoding"), heard.header("x-key")), (Some("gzip"), Some("secret-value")));
    let (resource, record) = logs(&heard).unwrap().remove(0);
    for (key, expected) in [
        ("service.name", "payment"),
        ("service.version", "1.2"),
        ("deployment.environment.name", "test"),
        ("host.name", "box"),
        ("telemetry.sdk.name", "opentelemetry"),
    ] {
        assert_eq!(text(&resource.attributes, key), Some(expected), "{key}");
    }
    assert!(text(&resource.attributes, "service.instance.id").is_some_and(|id| id.len() == 36));
    assert_eq!(record.trace_id, u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes());
    assert_eq!((record.span_id.len(), record.flags), (8, 1));
    assert_ne!(record.span_id, u64::from_str_radix(PARENT, 16).unwrap().to_be_bytes(), "the span is ours");
    assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "error"));
    let body = record.body.as_ref().and_then(|b| b.value.clone());
    assert!(matches!(&body, Some(Value::StringValue(b)) if b.starts_with("Charge 503 ")), "{body:?}");
    assert_eq!(value(&record.attributes, "status"), Some(&Value::IntValue(503)));
    assert!(matches!(value(&record.attributes, "duration_ms"), Some(Value::DoubleValue(_))));
    assert!(!fourmi.admin("GET", "/api/v1/config").text().contains("secret-value"));
}

#[test]
fn row_69_a_partial_success_is_counted_and_not_repeated() {
    let worker = Worker::echo();
    let refused = Arc::new(AtomicUsize::new(0));
    let sink = {
        let refused = refused.clone();
        HttpSink::start(move |heard| match logs(heard) {
            Some(records) if records.len() >= 3 && refused.swap(3, Ordering::AcqRel) == 0 => {
                let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "too old".into() };
                let response = ExportLogsServiceResponse { partial_success: Some(partial) };
                Answer::new(200, response.encode_to_vec())
            }
            _ => strict(heard),
        })
    };
    let fourmi = beside(&worker, &sink, "").start();
    let mut n = 0;
    until("a request has three records", || {
        commands(&fourmi, n..n + 5);
        n += 5;
        refused.load(Ordering::Acquire) == 3
    });
    sink_counts(&fourmi, "otlp", "dropped_error", 3);
    sink_counts(&fourmi, "otlp", "sent", n - 3);
    assert_eq!(taken(&sink), (0..n).collect::<Vec<_>>(), "each came once");
}

#[test]
fn row_70_71_a_busy_receiver_is_asked_again_with_the_same_records_and_one_that_refuses_is_not() {
    let (worker, sink) = (Worker::echo(), receiver());
    let fourmi = beside(&worker, &sink, "").start();
    let asked = std::time::Instant::now();
    sink.next([Fault::retry_after(503, 2), Fault::Close, Fault::Garbage]);
    commands(&fourmi, 0..2);
    let heard = eventually("a request is taken", || Some(sink.heard()).filter(|h| h.iter().any(|h| h.status == 200)));
    // It never comes earlier than it was asked to, however long everything else takes.
    assert!(asked.elapsed() >= std::time::Duration::from_secs(2));
    assert_eq!(heard[0].status, 503);
    let again: Vec<_> = heard.iter().take_while(|h| h.status != 200).map(logs).collect();
    assert!(again.len() >= 3 && again.iter().all(|a| *a == again[0]), "the same records");
    until("both arrive", || taken(&sink).len() == 2);
    sink_counts(&fourmi, "otlp", "sent", 2);

    sink.next([Fault::Answer(Answer::new(400, "no such tenant"))]);
    commands(&fourmi, 2..3);
    sink_counts(&fourmi, "otlp", "dropped_error", 1);
    let said = fourmi.admin("GET", "/api/v1/sinks").text();
    assert!(said.contains("no such tenant") && said.contains("failing"), "{said}");
    commands(&fourmi, 3..4);
    until("the next arrives", || taken(&sink) == [0, 1, 3]);
    sink_counts(&fourmi, "otlp", "sent", 3);
    assert_eq!(sink.heard().iter().filter(|h| h.status == 400).count(), 1, "not repeated");
}

#[test]
fn row_72_what_gathered_while_the_receiver_was_away_comes_in_requests_of_bounded_size() {
    const COMMANDS: usize = 450;
    let (worker, sink) = (Worker::echo(), receiver());
    let names: Vec<String> = (0..8).map(|n| format!("x-{n}")).collect();
    let fourmi = beside(&worker, &sink, ", buffer: 32MiB, compress: none")
        .more(&format!("record: {{headers: [{}]}}\nlimits: {{head: 64KiB}}", names.join(", ")))
        .start();
    sink.always(Some(Fault::status(503)));
    commands(&fourmi, 0..1);
    sink.wait_for(1);
    let headers: String = names.iter().map(|n| format!("{n}: {}\r\n", "v".repeat(2040))).collect();
    let mut client = fourmi.client();
    for id in 1..COMMANDS {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nFourmi-Id: {id}\r\n{headers}\r\n")).answer();
    }
    sink.always(None);
    sink_counts(&fourmi, "otlp", "sent", COMMANDS);
    assert_eq!(taken(&sink).into_iter().collect::<BTreeSet<_>>().len(), COMMANDS);
    let sizes: Vec<usize> = sink.heard().iter().filter(|h| h.status == 200).map(|h| h.body.len()).collect();
    assert!(sizes.iter().sum::<usize>() > 2 * REQUEST_MAX, "{sizes:?}");
    assert!(sizes.iter().all(|s| *s <= REQUEST_MAX) && sizes.iter().any(|s| *s > REQUEST_MAX / 2), "{sizes:?}");
    for result in ["dropped_full", "dropped_error", "oversize"] {
        sink_counts(&fourmi, "otlp", result, 0);
    }
}

#[test]
fn an_https_receiver_is_believed_only_with_its_authority() {
    let (worker, certificates) = (Worker::echo(), Certificates::new());
    let sink = HttpSink::start_on(free_port(), Some(certificates.server(certificates.good())), strict);
    let to = |tls: &str| format!("[{{otlp: {{endpoint: \"https://localhost:{}\"{tls}}}}}]", sink.port());
    let known =
        Setup::beside(worker.address()).logs(to(&format!(", tls: {{ca: {}}}", certificates.ca_file().display())));
    let fourmi = known.start();
    commands(&fourmi, 0..1);
    sink_counts(&fourmi, "otlp", "sent", 1);
    let stranger = Setup::beside(worker.address()).logs(to("")).start();
    commands(&stranger, 1..2);
    until("the certificate is refused", || stranger.admin("GET", "/api/v1/sinks").text().contains("certificate"));
    assert_eq!(taken(&sink), [0]);
}

/// Takes spans, and refuses what is no OTLP.
fn span_receiver() -> HttpSink {
    HttpSink::start(|heard| match decoded(heard) {
        Some(_) => Answer::new(200, ""),
        None => Answer::new(400, "this is no OTLP"),
    })
}

fn decoded(heard: &Heard) -> Option<Vec<Span>> {
    let body = heard.plain().filter(|_| heard.path == "/v1/traces")?;
    let request = ExportTraceServiceRequest::decode(&*body).ok()?;
    Some(request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect())
}

fn spans(sink: &HttpSink) -> Vec<Span> {
    sink.heard().iter().filter(|h| h.status == 200).flat_map(|h| decoded(h).unwrap()).collect()
}

fn span(sink: &HttpSink, id: &str) -> Span {
    eventually(&format!("the span of {id}"), || {
        spans(sink).into_iter().find(|s| text(&s.attributes, "fourmi.id") == Some(id))
    })
}

#[test]
fn each_hop_is_a_span_with_its_failed_tries() {
    let (worker, stock, sink) = (Worker::echo(), Worker::echo(), span_receiver());
    let away = free_port();
    let services = format!("{{stock: {{address: [\"http://127.0.0.1:{away}\", \"{}\"]}}}}", stock.address());
    // No log sink at all.
    let fourmi = Setup::beside(worker.address())
        .outbound(services)
        .more(&format!("traces: {{otlp: {{endpoint: \"http://127.0.0.1:{}\"}}}}", sink.port()))
        .start();
    let from = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    fourmi.post("/a", &format!("Fourmi-Command: Charge\r\nFourmi-Id: in\r\nFourmi-Tags: shop=7\r\n{from}"), "x");
    let inbound = span(&sink, "in");
    assert_eq!((inbound.name.as_str(), inbound.kind), ("Charge", SpanKind::Server as i32));
    assert_eq!(inbound.trace_id, u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes());
    assert_eq!(inbound.parent_span_id, u64::from_str_radix(PARENT, 16).unwrap().to_be_bytes());
    assert!(inbound.end_time_unix_nano > inbound.start_time_unix_nano && inbound.events.is_empty());
    assert_eq!(text(&inbound.attributes, "fourmi.tag.shop"), Some("7"));
    assert_eq!(text(&inbound.attributes, "http.request.method"), Some("POST"));
    assert_eq!(value(&inbound.attributes, "http.response.status_code"), Some(&Value::IntValue(200)));
    let seen = worker.last().header("traceparent").unwrap().to_owned();
    let ours: String = inbound.span_id.iter().map(|b| format!("{b:02x}")).collect();
    assert!(seen.contains(&ours), "the worker's parent is this span: {seen}");

    // The instance that is away is tried first at some time; the other one then answers.
    let tried = eventually("a command was tried twice", || {
        let id = format!("out{}", spans(&sink).len());
        let mut client = fourmi.outbound();
        client.send(format!("GET / HTTP/1.1\r\nHost: stock\r\nFourmi-Id: {id}\r\n{from}\r\n")).answer();
        span(&sink, &id);
        spans(&sink).into_iter().find(|s| !s.events.is_empty())
    });
    assert_eq!(tried.kind, SpanKind::Client as i32);
    assert_eq!(tried.status.as_ref().map(|s| s.code), Some(StatusCode::Unset as i32), "it went well in the end");
    assert_eq!(text(&tried.attributes, "peer.service"), Some("stock"));
    assert_eq!(value(&tried.attributes, "server.port"), Some(&Value::IntValue(i64::from(stock.port()))));
    let event = &tried.events[0];
    assert_eq!(
        (event.name.as_str(), text(&event.attributes, "error.type")),
        ("fourmi.attempt.failed", Some("unreachable"))
    );
    assert!(text(&event.attributes, "fourmi.upstream").is_some_and(|u| u.contains(&away.to_string())));
    assert!((tried.start_time_unix_nano..=tried.end_time_unix_nano).contains(&event.time_unix_nano));
}

#[test]
fn what_is_not_sampled_is_told_only_when_it_failed() {
    let (worker, sink) = (Worker::echo(), span_receiver());
    let traces =
        |more: &str| format!("traces: {{otlp: {{endpoint: \"http://127.0.0.1:{}\"}}, sample: 0{more}}}", sink.port());
    let fourmi = Setup::beside(worker.address()).more(&traces("")).start();
    let silent = Setup::beside(worker.address()).more(&traces(", errors: false")).start();
    for (id, path, parent) in [
        ("begun", "/", None),
        ("decided-no", "/", Some("00")),
        ("decided-yes", "/", Some("01")),
        ("failed", "/status/500", None),
        ("failed-no", "/status/502", Some("00")),
        ("callers-fault", "/status/404", None),
    ] {
        let parent = parent.map(|flags| format!("traceparent: 00-{TRACE}-{PARENT}-{flags}\r\n")).unwrap_or_default();
        fourmi.get_with(path, &format!("Fourmi-Id: {id}\r\n{parent}"));
        silent.get_with(path, &format!("Fourmi-Id: silent-{id}\r\n{parent}"));
    }
    for told in ["decided-yes", "failed", "failed-no", "silent-decided-yes"] {
        span(&sink, told);
    }
    sink_counts(&fourmi, "otlp_traces", "sent", 3);
    sink_counts(&silent, "otlp_traces", "sent", 1);
    let failed = span(&sink, "failed");
    assert_eq!(failed.status.as_ref().map(|s| s.code), Some(StatusCode::Error as i32));
    assert_eq!((text(&failed.attributes, "error.type"), failed.flags & 1), (Some("500"), 0));
    assert_eq!(
        worker.last().header("traceparent").map(|t| t.ends_with("-00")),
        Some(true),
        "nor does the next hop record"
    );
    assert_eq!(spans(&sink).len(), 4);
}

/// Takes numbers.
fn number_receiver() -> HttpSink {
    HttpSink::start(|heard| match metrics(heard) {
        Some(_) => Answer::new(200, ""),
        None => Answer::new(400, "this is no OTLP"),
    })
}

fn metrics(heard: &Heard) -> Option<Vec<Metric>> {
    let body = heard.plain().filter(|_| heard.path == "/v1/metrics")?;
    let request = ExportMetricsServiceRequest::decode(&*body).ok()?;
    Some(request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics).collect())
}

/// The sums of `fourmi.commands` in each request that was taken, and their temporality.
fn counted(sink: &HttpSink) -> Vec<(i64, i32)> {
    let ok = sink.heard().into_iter().filter(|h| h.status == 200);
    let metrics = ok.flat_map(|h| metrics(&h).unwrap()).filter(|m| m.name == "fourmi.commands");
    let sums = metrics.map(|m| match m.data {
        Some(Data::Sum(sum)) => sum,
        other => panic!("{other:?}"),
    });
    sums.map(|sum| {
        let whole = sum.data_points.iter().map(|p| match p.value {
            Some(number_data_point::Value::AsInt(n)) => n,
            other => panic!("{other:?}"),
        });
        (whole.sum(), sum.aggregation_temporality)
    })
    .collect()
}

#[test]
fn deltas_add_up_whatever_the_receiver_answers_and_cumulative_sums_only_grow() {
    let (worker, sink, whole) = (Worker::echo(), number_receiver(), number_receiver());
    let delta =
        format!("{{otlp: {{endpoint: \"http://127.0.0.1:{}\", interval: 100ms, temporality: delta}}}}", sink.port());
    let cumulative = format!("{{otlp: {{endpoint: \"http://127.0.0.1:{}\", interval: 100ms}}}}", whole.port());
    let fourmi = Setup::beside(worker.address()).metric_sink(delta).metric_sink(cumulative).start();
    for round in 0..6 {
        // Nothing that was told can be lost by it: no answer was 200.
        sink.next([Fault::status(503), Fault::Garbage]);
        commands(&fourmi, round * 10..(round + 1) * 10);
        sink.wait_for((round + 1) * 3);
    }
    until("the deltas are all there", || counted(&sink).iter().map(|(n, _)| n).sum::<i64>() == 60);
    assert!(counted(&sink).iter().all(|(_, t)| *t == AggregationTemporality::Delta as i32));
    until("the sum is whole", || counted(&whole).last() == Some(&(60, AggregationTemporality::Cumulative as i32)));
    assert!(counted(&whole).is_sorted());
    let last = metrics(whole.heard().last().unwrap()).unwrap();
    let names: BTreeSet<&str> = last.iter().map(|m| m.name.as_str()).collect();
    for name in ["fourmi.command.duration", "fourmi.overhead", "fourmi.commands.in_flight", "process.memory.usage"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    // Another identity is another resource: the old sink ends where the new one begins.
    fourmi.rewrite(&fourmi.yaml().replace("env: test", "env: other"));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    commands(&fourmi, 60..70);
    until("the deltas go on", || counted(&sink).iter().map(|(n, _)| n).sum::<i64>() == 70);
    let before =
        fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "otlp_metrics"), ("result", "dropped_error")]);
    assert_eq!(before, 0.0);
}

#[test]
fn a_wrong_section_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fourmi.yaml");
    let text = "logs: [{otlp: {endpoint: 'grpc://c:4317'}}]\n\
                metrics: {sinks: [{otlp: {endpoint: 'http://c', headers: {Host: x}}}]}\n\
                traces: {otlp: {endpoint: 'https://c', tls: {ca: /nowhere.pem}}}\n";
    std::fs::write(&file, text).unwrap();
    let ended = run_fourmi(&["validate", &file.display().to_string()]);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_ne!(ended.code, 0, "{said}");
    for part in ["logs[0].otlp.endpoint", "metrics.sinks[0].otlp.headers", "traces.otlp.tls", "/nowhere.pem"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn real_receivers_understand_everything() {
    let (tap, agent, worker) = (OtelTap::start(), DdApm::start(), Worker::echo());
    for port in [tap.port(), agent.http()] {
        let to = format!("endpoint: \"http://127.0.0.1:{port}\"");
        let fourmi = Setup::beside(worker.address())
            .logs(format!("[{{otlp: {{{to}, compress: none}}}}]"))
            .metric_sink(format!("{{otlp: {{{to}, compress: none, interval: 100ms}}}}"))
            .more(&format!("traces: {{otlp: {{{to}, compress: none}}}}"))
            .start();
        let from = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
        fourmi.get_with("/status/500", &format!("Fourmi-Command: Charge\r\nFourmi-Id: 42\r\n{from}"));
        sink_counts(&fourmi, "otlp", "sent", 1);
        sink_counts(&fourmi, "otlp_traces", "sent", 1);
        until("numbers are taken", || {
            fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "otlp_metrics"), ("result", "sent")]) > 0.0
        });
    }
    let log = tap.log("command_id", "42");
    assert_eq!((&log["traceId"], &log["severityNumber"]), (&TRACE.into(), &17.into()), "{log}");
    let span = tap.span("fourmi.id", "42");
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&TRACE.into(), &PARENT.into()), "{span}");
    assert_eq!(span["spanId"], log["spanId"]);
    let metric = tap.metric("fourmi.commands");
    let point = &metric["sum"]["dataPoints"][0];
    assert_eq!(attribute(point, "outcome").as_deref(), Some("server_error"), "{metric}");
    let received = agent.wait_for("logs", 1);
    let record = &received[0]["resource_logs"][0]["scope_logs"][0]["log_records"][0];
    assert!(record["body"]["string_value"].as_str().is_some_and(|b| b.starts_with("Charge 500 ")), "{received:?}");
    agent.wait_for("traces", 1);
    agent.wait_for("metrics", 1);
}

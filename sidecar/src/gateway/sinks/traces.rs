//! Plugins that tell spans.

use super::Asked;
use super::endpoint::{finish, millis, texts, url};
use super::queue::Queue;
use crate::gateway::Wrong;
use crate::gateway::entity::Plugin;
use crate::gateway::fields::Fields;
use crate::sink::kong::{Http, Otlp, Recorded, To, Zipkin};

/// Kong's formats of trace headers.
const FORMATS: [&str; 10] = ["w3c", "b3", "b3-single", "jaeger", "ot", "aws", "gcp", "datadog", "instana", "ignore"];
/// Those that we read and write.
const OURS: [&str; 3] = ["w3c", "b3", "b3-single"];
/// The share of traces that Kong records when nobody says another.
const RATIO: f64 = 0.01;

fn not_yet(fields: &mut Fields<'_>, key: &str, what: &str, fix: &str) {
    fields.wrong(key, format!("{what} is not supported yet"), fix);
}

/// Which headers carry traces: only what differs from ours is refused.
fn headers(fields: &mut Fields<'_>, usual: &'static str) {
    let words: Vec<&'static str> = ["preserve"].into_iter().chain(FORMATS).collect();
    let kind = fields.one_of("header_type", &words, "preserve");
    if !OURS.contains(&kind) && kind != "preserve" {
        not_yet(fields, "header_type", &format!("`{kind}`"), "write preserve, w3c, b3 or b3-single");
    }
    fields.record("propagation", |fields| {
        for key in ["extract", "inject"] {
            for (at, format) in fields.texts(key).unwrap_or_default().iter().enumerate() {
                let at = format!("{key}[{at}]");
                if OURS.contains(&format.as_str()) || (key == "inject" && format == "preserve") {
                    continue;
                }
                match FORMATS.contains(&format.as_str()) {
                    true => not_yet(fields, &at, &format!("`{format}`"), "write w3c, b3 or b3-single"),
                    false => fields.wrong(&at, format!("expected one of: {}", FORMATS.join(", ")), "write one of them"),
                }
            }
        }
        if fields.texts("clear").is_some_and(|clear| !clear.is_empty()) {
            not_yet(fields, "clear", "removing headers here", "use request-transformer");
        }
        let format = fields.one_of("default_format", &FORMATS, usual);
        if !OURS.contains(&format) {
            not_yet(fields, "default_format", &format!("`{format}`"), "write w3c, b3 or b3-single");
        }
    });
    if fields.text("http_response_header_for_traceid").is_some() {
        not_yet(fields, "http_response_header_for_traceid", "this header", "remove it; records have the trace's id");
    }
}

pub(super) fn opentelemetry(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let queue = Queue::read(&mut fields, 200);
    let old = fields.text("endpoint");
    let traces = fields.text("traces_endpoint").or(old);
    let logs = fields.text("logs_endpoint");
    if traces.is_none() && logs.is_none() {
        let message = "at least one of these fields must be non-empty: 'traces_endpoint', 'logs_endpoint'";
        fields.entity(message, "add traces_endpoint");
    }
    let lines = texts(&mut fields, "headers");
    let mut resource = texts(&mut fields, "resource_attributes");
    if !resource.iter().any(|(key, _)| key == "service.name") {
        resource.push(("service.name".to_owned(), "kong".to_owned()));
    }
    let connect = millis(&mut fields, "connect_timeout", 1000);
    let send = millis(&mut fields, "send_timeout", 5000);
    let timeout = connect + send + millis(&mut fields, "read_timeout", 5000);
    let ratio = fields.number("sampling_rate", 0.0, 1.0);
    fields.one_of(
        "sampling_strategy",
        &["parent_drop_probability_fallback", "parent_probability_fallback"],
        "parent_drop_probability_fallback",
    );
    fields.integer("batch_span_count", 1, i64::from(i32::MAX));
    fields.integer("batch_flush_delay", 0, i64::from(i32::MAX));
    headers(&mut fields, "w3c");
    let mut otlp = |key: &'static str, endpoint: &str| {
        let (url, user) = url(&mut fields, key, endpoint);
        Otlp { url, headers: lines.iter().cloned().chain(user).collect(), resource: resource.clone(), timeout }
    };
    let mut to = Vec::new();
    let recorded = Recorded { ratio: ratio.unwrap_or(RATIO) };
    if let Some(endpoint) = &traces {
        to.push(To::Spans(otlp("traces_endpoint", endpoint), recorded));
    }
    if let Some(endpoint) = &logs {
        to.push(To::Records(otlp("logs_endpoint", endpoint)));
    }
    let sampling = traces.is_some().then_some(recorded.ratio);
    finish(fields, Asked { to, buffer: queue.buffer, sampling })
}

pub(super) fn zipkin(plugin: &Plugin) -> Result<Asked, Vec<Wrong>> {
    let mut fields = Fields::new(&plugin.config);
    let queue = Queue::read(&mut fields, 1);
    let endpoint = fields.text("http_endpoint");
    let (url, user) = match &endpoint {
        Some(endpoint) => url(&mut fields, "http_endpoint", endpoint),
        None => Default::default(),
    };
    let connect = millis(&mut fields, "connect_timeout", 2000);
    let send = millis(&mut fields, "send_timeout", 5000);
    let timeout = connect + send + millis(&mut fields, "read_timeout", 5000);
    let ratio = fields.number("sample_ratio", 0.0, 1.0).unwrap_or(0.001);
    let tags = fields.records("static_tags", |fields| (fields.required("name"), fields.required("value")));
    fields.one_of("phase_duration_flavor", &["annotations", "tags"], "annotations");
    fields.one_of("default_header_type", &FORMATS, "b3");
    headers(&mut fields, "b3");
    let short = match fields.integer("traceid_byte_count", 8, 16) {
        Some(8) => true,
        Some(16) | None => false,
        Some(_) => {
            fields.wrong("traceid_byte_count", "expected one of: 8, 16", "write 8 or 16");
            false
        }
    };
    let zipkin = Zipkin {
        http: Http {
            url,
            method: "POST",
            content_type: "application/json",
            headers: user.into_iter().collect(),
            timeout,
            batch: queue.batch,
            linger: queue.linger,
        },
        recorded: Recorded { ratio },
        local: fields.text("local_service_name").unwrap_or_else(|| "kong".to_owned()),
        other: fields.text("default_service_name"),
        tags_header: fields.text("tags_header").unwrap_or_else(|| "zipkin-tags".to_owned()).to_ascii_lowercase(),
        credential: fields.flag("include_credential", true),
        path: fields.one_of("http_span_name", &["method", "method_path"], "method") == "method_path",
        tags: tags.unwrap_or_default(),
        short,
    };
    // Without a receiver Kong only hands traces on.
    let to = if endpoint.is_some() { vec![To::Zipkin(zipkin)] } else { Vec::new() };
    let sampling = endpoint.is_some().then_some(ratio);
    finish(fields, Asked { to, buffer: queue.buffer, sampling })
}

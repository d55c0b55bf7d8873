//! One command as one span of OTLP (opentelemetry/proto/trace/v1): a server's when it came in, a client's when it went
//! out, with its failed tries and its fault as events.

use super::attributes::{Attributes, text};
use super::frame::{Framer, Senders};
use super::record::fill;
use super::settings::{BASIC, Remote};
use super::{Signal, send};
use crate::exchange::{Direction, Outcome, Protocol};
use crate::section::{Key, Wrong};
use crate::sink::entry::{Entry, What};
use crate::sink::fields::{Field, Who, tag_field};
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::json::{STRING_MAX, cut};
use crate::sink::logs::{COMMON, Sink, read};
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status, span, status};
use serde::Deserialize;
use serde_json::Value as Json;
use std::sync::Arc;

/// The section `traces.otlp`: of the keys of a log sink those that mean something for a span.
pub(crate) const KEYS: &[Key] = &{
    let [_, _, drop, _, buffer] = COMMON;
    let [endpoint, headers, compress, timeout, tls] = BASIC;
    [endpoint, headers, compress, timeout, tls, drop, buffer]
};

/// What the sink is called where sinks are counted.
pub(crate) const NAME: &str = "otlp_traces";

/// Attribute names of OpenTelemetry's semantic conventions, and ours.
mod key {
    pub(super) const METHOD: &str = "http.request.method";
    pub(super) const STATUS: &str = "http.response.status_code";
    pub(super) const RESENT: &str = "http.request.resend_count";
    pub(super) const REQUEST_SIZE: &str = "http.request.body.size";
    pub(super) const ANSWER_SIZE: &str = "http.response.body.size";
    pub(super) const PATH: &str = "url.path";
    pub(super) const QUERY: &str = "url.query";
    pub(super) const HEADER: &str = "http.request.header.";
    pub(super) const RPC: &str = "rpc.system";
    pub(super) const GRPC_STATUS: &str = "rpc.grpc.status_code";
    pub(super) const PROTOCOL: &str = "network.protocol.name";
    pub(super) const VERSION: &str = "network.protocol.version";
    pub(super) const CLIENT: &str = "client.address";
    pub(super) const SERVER: &str = "server.address";
    pub(super) const SERVER_PORT: &str = "server.port";
    pub(super) const PEER: &str = "peer.service";
    pub(super) const ERROR: &str = "error.type";
    pub(super) const COMMAND: &str = "fourmi.command";
    pub(super) const ID: &str = "fourmi.id";
    pub(super) const TAG: &str = "fourmi.tag.";
    pub(super) const ROUTE: &str = "fourmi.route";
    pub(super) const CONSUMER: &str = "fourmi.consumer";
    pub(super) const CLIENT_IDENTITY: &str = "fourmi.client_identity";
    pub(super) const OUTCOME: &str = "fourmi.outcome";
    pub(super) const ATTEMPT: &str = "fourmi.attempt";
    pub(super) const UPSTREAM: &str = "fourmi.upstream";
    pub(super) const UPSTREAM_TIME: &str = "fourmi.upstream.duration";
    pub(super) const OVERHEAD: &str = "fourmi.overhead";
    pub(super) const BAGGAGE_DROPPED: &str = "fourmi.baggage_dropped";
    pub(super) const DETAIL: &str = "fourmi.detail";
    pub(super) const SHOWN: &str = "fourmi.shown.";
    pub(super) const ATTEMPT_FAILED: &str = "fourmi.attempt.failed";
    pub(super) const FAULT: &str = "fourmi.fault";
}

#[derive(Deserialize)]
struct Raw {
    errors: bool,
}

/// Makes the sink of `traces.otlp`, with `errors` of `traces` among its values.
pub(crate) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { errors } = read(values)?;
    let remote = Remote::new(values)?;
    let names = Names::new(&read::<Common>(values)?);
    let senders = Arc::<Senders>::default();
    Ok(Sink {
        target: remote.target(Signal::Traces),
        encode: Box::new(SpanEncoder::new(names, errors, senders.clone())),
        send: Box::new(move |outlet, inbox| Box::pin(send(outlet, inbox, remote, Signal::Traces, senders))),
    })
}

/// Writes spans.
pub(crate) struct SpanEncoder {
    names: Names,
    /// Whether failures are told when the trace is not recorded.
    errors: bool,
    framer: Framer,
    /// Memory that is used again.
    span: Span,
    attributes: Attributes,
    name: String,
}

impl SpanEncoder {
    /// With the section's names of fields, and the list that the sender looks into.
    pub(crate) fn new(names: Names, errors: bool, senders: Arc<Senders>) -> SpanEncoder {
        SpanEncoder {
            names,
            errors,
            framer: Framer::new(senders),
            span: Span::default(),
            attributes: Attributes::default(),
            name: String::new(),
        }
    }
}

/// Whether a hop's span is an error. The conventions for HTTP: 5xx always, 4xx only for the one who asked; a caller
/// that left is no error of the one it left.
fn failed(entry: &Entry<'_>) -> bool {
    match entry.outcome {
        Some(
            Outcome::ServerError
            | Outcome::Unreachable
            | Outcome::Timeout
            | Outcome::Dead
            | Outcome::Expired
            | Outcome::Unknown,
        ) => true,
        Some(Outcome::ClientError) => entry.direction == Some(Direction::Outbound),
        Some(Outcome::Rejected) => entry.direction == Some(Direction::Outbound) || entry.status >= 500,
        Some(Outcome::Success | Outcome::Accepted | Outcome::Cancelled) | None => false,
    }
}

impl Encode for SpanEncoder {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let failed = failed(entry);
        let recorded = entry.trace_flags & 1 != 0;
        if entry.what != What::Command
            || entry.trace_id == 0
            || entry.span_id == 0
            || !(recorded || (self.errors && failed))
        {
            return false;
        }
        let SpanEncoder { names, framer, span, attributes, name, .. } = self;
        fill(&mut span.trace_id, &entry.trace_id.to_be_bytes());
        fill(&mut span.span_id, &entry.span_id.to_be_bytes());
        match entry.parent_span {
            0 => span.parent_span_id.clear(),
            parent => fill(&mut span.parent_span_id, &parent.to_be_bytes()),
        }
        let remote = if entry.parent_span == 0 { 0 } else { SpanFlags::ContextIsRemoteMask as u32 };
        span.flags = u32::from(entry.trace_flags) | SpanFlags::ContextHasIsRemoteMask as u32 | remote;
        span.name.clear();
        span.name.push_str(cut(entry.name(), STRING_MAX).0);
        let outbound = entry.direction == Some(Direction::Outbound);
        span.kind = if outbound { span::SpanKind::Client } else { span::SpanKind::Server } as i32;
        let start = entry.wall.saturating_mul(1000);
        span.start_time_unix_nano = start;
        span.end_time_unix_nano = start.saturating_add(entry.total.0);
        attributes.list = std::mem::take(&mut span.attributes);
        attributes.clear();
        of_command(attributes, entry, who, names, name);
        of_hop(attributes, entry, names);
        if failed {
            match entry.fault {
                "" => attributes.shown(key::ERROR, format_args!("{}", Code(entry))),
                fault => attributes.text(key::ERROR, fault),
            }
        }
        span.dropped_attributes_count = attributes.dropped;
        span.attributes = std::mem::take(&mut attributes.list);
        let detailed = names.of(Field::Error).is_some();
        events(span, entry, detailed);
        span.status = Some(Status {
            code: if failed { status::StatusCode::Error } else { status::StatusCode::Unset } as i32,
            message: if failed && detailed { cut(entry.detail, STRING_MAX).0.to_owned() } else { String::new() },
        });
        framer.write(out, who, names, span);
        true
    }
}

/// What kind of error, when there was no fault: the status that the instance answered.
struct Code<'a>(&'a Entry<'a>);

impl std::fmt::Display for Code<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.grpc_status.filter(|s| *s != 0), self.0.status) {
            (Some(status), _) => write!(f, "{status}"),
            (None, status) if status >= 400 => write!(f, "{status}"),
            _ => f.write_str(self.0.outcome()),
        }
    }
}

/// What command it was.
fn of_command(to: &mut Attributes, entry: &Entry<'_>, who: &Who, names: &Names, name: &mut String) {
    let mut put = |field: Field, key: &str, value: &str| {
        if names.of(field).is_some() && !value.is_empty() {
            to.text(key, value);
        }
    };
    put(Field::Command, key::COMMAND, entry.command);
    put(Field::CommandId, key::ID, entry.id);
    put(Field::Route, key::ROUTE, entry.route);
    put(Field::Consumer, key::CONSUMER, entry.consumer);
    put(Field::Outcome, key::OUTCOME, entry.outcome());
    let mut field = String::new();
    who.tags(entry, |key, known, value| {
        let known = match known {
            Some(known) => known,
            None => {
                tag_field(&mut field, key);
                &field
            }
        };
        if names.of_name(known).is_some() {
            name.clear();
            name.push_str(key::TAG);
            name.push_str(known.strip_prefix("tag_").unwrap_or(known));
            to.text(name, value);
        }
    });
    for (key, value) in entry.shown.iter().filter(|(k, v)| !v.is_empty() && names.of_name(k).is_some()) {
        match key {
            // It stands there already.
            "method" => {}
            "path" => to.text(key::PATH, value),
            "query" => to.text(key::QUERY, value),
            _ => {
                let (prefix, rest) = match key.strip_prefix("header_") {
                    Some(header) => (key::HEADER, header),
                    None => (key::SHOWN, key),
                };
                name.clear();
                name.push_str(prefix);
                name.push_str(cut(rest, STRING_MAX).0);
                match prefix {
                    key::HEADER => to.texts(name, value),
                    _ => to.text(name, value),
                }
            }
        }
    }
}

/// How it went on this hop.
fn of_hop(to: &mut Attributes, entry: &Entry<'_>, names: &Names) {
    let shown = |field: Field| names.of(field).is_some();
    if !entry.method.is_empty() {
        to.text(key::METHOD, entry.method);
    }
    if entry.status != 0 && shown(Field::Status) {
        to.int(key::STATUS, u64::from(entry.status));
    }
    if let Some(protocol) = entry.protocol.filter(|_| shown(Field::Protocol)) {
        let (name, version) = match protocol {
            Protocol::Http10 => ("http", "1.0"),
            Protocol::Http11 => ("http", "1.1"),
            Protocol::Http2 | Protocol::Grpc => ("http", "2"),
            Protocol::WebSocket => ("websocket", ""),
            Protocol::Tunnel => ("tunnel", ""),
            Protocol::Zmq => ("zmq", ""),
        };
        to.text(key::PROTOCOL, name);
        if !version.is_empty() {
            to.text(key::VERSION, version);
        }
        if protocol == Protocol::Grpc {
            to.text(key::RPC, "grpc");
        }
    }
    if let Some(status) = entry.grpc_status.filter(|_| shown(Field::Status)) {
        to.int(key::GRPC_STATUS, u64::from(status));
    }
    if shown(Field::BytesIn) {
        to.int(key::REQUEST_SIZE, entry.bytes_in);
    }
    if shown(Field::BytesOut) {
        to.int(key::ANSWER_SIZE, entry.bytes_out);
    }
    if let Some(client) = entry.client.filter(|_| shown(Field::Client)) {
        to.shown(key::CLIENT, client);
    }
    if !entry.client_identity.is_empty() && shown(Field::ClientIdentity) {
        to.text(key::CLIENT_IDENTITY, entry.client_identity);
    }
    if !entry.upstream.is_empty() && shown(Field::Upstream) {
        to.text(key::UPSTREAM, entry.upstream);
    }
    if entry.direction == Some(Direction::Outbound) {
        if !entry.service.is_empty() {
            to.text(key::PEER, entry.service);
        }
        if let Some((host, port)) = host_and_port(entry.upstream).filter(|_| shown(Field::Upstream)) {
            to.text(key::SERVER, host);
            to.int(key::SERVER_PORT, u64::from(port));
        }
    }
    if shown(Field::Attempt) {
        to.int(key::ATTEMPT, u64::from(entry.attempt));
    }
    if entry.attempts.len() > 0 {
        to.int(key::RESENT, entry.attempts.len() as u64);
    }
    if shown(Field::UpstreamMs) {
        to.double(key::UPSTREAM_TIME, entry.upstream_time.0 as f64 / 1e9);
    }
    if shown(Field::OverheadMs) {
        to.double(key::OVERHEAD, entry.overhead.0 as f64 / 1e9);
    }
    if entry.baggage_dropped > 0 {
        to.int(key::BAGGAGE_DROPPED, u64::from(entry.baggage_dropped));
    }
}

/// `host:port`, `[v6]:port`; a scheme in front and a path behind do not matter.
fn host_and_port(upstream: &str) -> Option<(&str, u16)> {
    let rest = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

/// One for each failed try, one for the fault.
fn events(span: &mut Span, entry: &Entry<'_>, detailed: bool) {
    span.events.clear();
    let start = span.start_time_unix_nano;
    let mut event = |name: &str, at: u64, upstream: &str, code: &str, detail: &str| {
        let all = [(key::UPSTREAM, upstream), (key::ERROR, code), (key::DETAIL, if detailed { detail } else { "" })];
        span.events.push(span::Event {
            time_unix_nano: at,
            name: name.to_owned(),
            attributes: all.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| text(k, v)).collect(),
            ..span::Event::default()
        });
    };
    for failed in entry.attempts.iter() {
        event(key::ATTEMPT_FAILED, start.saturating_add(failed.at.0), failed.upstream, failed.code, failed.detail);
    }
    if !entry.fault.is_empty() {
        event(key::FAULT, start.saturating_add(entry.total.0), entry.upstream, entry.fault, entry.detail);
    }
}

#[cfg(test)]
mod tests;

//! What the head says: one pass over the header lines, then the rules in their order.

use super::trace::{self, Found, Sampler};
use super::{Codec, Rules, Step, cloudevents, deadline, id, name, tags};
use crate::exchange::{Exchange, Head, Headers, Protocol};
use crate::names::header as word;
use std::str::from_utf8;

/// The lines that identification reads.
#[derive(Default)]
struct Seen<'a> {
    /// Anything that only a trusted peer may say.
    claims: bool,
    fourmi_command: Option<&'a [u8]>,
    fourmi_id: Option<&'a [u8]>,
    fourmi_tags: bool,
    fourmi_deadline: Option<&'a [u8]>,
    fourmi_key: Option<&'a [u8]>,
    /// How it should be delivered.
    asks: bool,
    grpc_timeout: Option<&'a [u8]>,
    ce_type: Option<&'a [u8]>,
    ce_source: Option<&'a [u8]>,
    ce_id: Option<&'a [u8]>,
    idempotency_key: Option<&'a [u8]>,
    trace: Found<'a>,
    symfony_type: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    encoded: bool,
    chunked: bool,
}

impl<'a> Seen<'a> {
    fn scan(headers: &'a Headers) -> Self {
        let mut seen = Seen::default();
        for (name, value) in headers.iter() {
            match name {
                "content-type" => seen.content_type = seen.content_type.or(Some(value)),
                "content-length" => seen.content_length = seen.content_length.or(Some(value)),
                "content-encoding" => seen.encoded |= !value.trim_ascii().eq_ignore_ascii_case(b"identity"),
                "transfer-encoding" => seen.chunked = true,
                "type" => seen.symfony_type = seen.symfony_type.or(Some(value)),
                word::PREFER => seen.asks = true,
                word::IDEMPOTENCY_KEY => seen.idempotency_key = seen.idempotency_key.or(Some(value)),
                word::GRPC_TIMEOUT => seen.grpc_timeout = seen.grpc_timeout.or(Some(value)),
                word::TRACEPARENT => {
                    seen.claims = true;
                    seen.trace.traceparents += 1;
                    seen.trace.traceparent = Some(value);
                }
                word::TRACESTATE => {
                    seen.claims = true;
                    seen.trace.tracestate = true;
                }
                word::BAGGAGE => seen.trace.baggage = true,
                word::B3 => {
                    seen.claims = true;
                    seen.trace.b3.single = true;
                }
                _ if name.starts_with(word::PREFIX) => {
                    seen.claims = true;
                    match name {
                        word::COMMAND => seen.fourmi_command = seen.fourmi_command.or(Some(value)),
                        word::ID => seen.fourmi_id = seen.fourmi_id.or(Some(value)),
                        word::TAGS => seen.fourmi_tags = true,
                        word::DEADLINE => seen.fourmi_deadline = seen.fourmi_deadline.or(Some(value)),
                        word::KEY => seen.fourmi_key = seen.fourmi_key.or(Some(value)),
                        word::MODE | word::AT | word::DELAY | word::EXPIRES => seen.asks = true,
                        _ => {}
                    }
                }
                _ if name.starts_with(word::X_B3) => {
                    seen.claims = true;
                    seen.trace.b3.multi = true;
                }
                _ if name.starts_with("ce-") => {
                    seen.claims = true;
                    match name {
                        "ce-type" => seen.ce_type = seen.ce_type.or(Some(value)),
                        "ce-source" => seen.ce_source = seen.ce_source.or(Some(value)),
                        "ce-id" => seen.ce_id = seen.ce_id.or(Some(value)),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        seen
    }
}

/// Identifies a command as far as its head goes, and continues its trace, or begins one that is recorded if `sampler`
/// says so.
///
/// Takes what an untrusted peer may not say (`Fourmi-*`, `ce-*`, trace context) out of the request first. Asks for
/// the body only where it can add something: the plan has rules for it, or it is a CloudEvent, and it is JSON and
/// not known to be over [`BODY_MAX`](super::BODY_MAX).
pub fn from_head(rules: &Rules, sampler: Sampler, ex: &mut Exchange) -> Step {
    let mut seen = Seen::scan(&ex.request.headers);
    if seen.claims && !ex.trusted {
        // How a message was cut is said by whoever read it, who let nobody else say it.
        let message = ex.protocol == Protocol::Zmq;
        ex.request.headers.retain(|n| !is_claim(n) || (message && is_cut(n)));
        seen = Seen::scan(&ex.request.headers);
    }

    if seen.claims && ex.protocol != Protocol::Zmq {
        // Only a handshake of CURVE proves it, and nobody is believed to pass it on.
        ex.request.headers.remove(word::CURVE);
        seen = Seen::scan(&ex.request.headers);
    }

    let found = seen.trace;
    (ex.trace, ex.b3) = trace::read(found, &ex.request.headers, sampler);

    // Everybody may say of a gRPC call how long it may take.
    let timeout = seen.grpc_timeout.filter(|_| ex.protocol == Protocol::Grpc);
    ex.deadline = deadline::of(ex.timings.start, seen.fourmi_deadline, timeout);
    ex.asks = seen.asks;
    let unread = seen.fourmi_deadline.is_some() && ex.deadline.is_none();

    let media = Media::of(&seen);
    let event = media == Media::Event && may_read_body(&ex.request, &seen);
    let command = &mut ex.command;

    if let Some(found) = text(seen.fourmi_command).and_then(name::normalized) {
        command.name = found;
    } else if let Some(found) = seen.ce_type.and_then(|v| name::normalized(&cloudevents::decoded(v)?)) {
        command.name = found;
    } else if !event
        && rules.codec == Some(Codec::Symfony)
        && let Some(found) = text(seen.symfony_type).and_then(name::normalized)
    {
        command.name = found;
    } else if ex.protocol == Protocol::Zmq
        && let Some(found) = ex.request.path().strip_prefix('/').and_then(name::normalized)
    {
        // A message has no path but its name.
        command.name = found;
    }

    let given = text(seen.fourmi_id)
        .and_then(id::given)
        .or_else(|| seen.idempotency_key.and_then(id::idempotency_key))
        .or_else(|| cloudevents::binary_id(seen.ce_source?, seen.ce_id?));
    if let Some(found) = given {
        command.id = found;
        command.id_given = true;
    }

    command.key = text(seen.fourmi_key).and_then(id::given);
    if seen.fourmi_tags {
        for line in ex.request.headers.get_all(word::TAGS) {
            tags::read(line, &mut command.tags);
        }
    }

    let wants_body = match media {
        Media::Batch => true,
        _ => {
            let nameless = command.name.is_empty();
            let idless = command.id.is_empty();
            let codec = rules.codec.is_some_and(|c| nameless || (idless && c.has_id()));
            (event && (nameless || idless))
                || codec
                || (nameless && rules.name.is_some())
                || (idless && rules.id.is_some())
                || (command.key.is_none() && rules.key.is_some())
                || !rules.tags.is_empty()
        }
    };
    let step = if wants_body && media != Media::Other && may_read_body(&ex.request, &seen) {
        Step::NeedsBody
    } else {
        Step::Done
    };
    let (tracestate, baggage) = (found.tracestate, found.baggage);
    let continued = found.traceparents == 1 && ex.trace.parent_span != 0;
    if unread {
        ex.request.headers.remove(word::DEADLINE);
    }
    if tracestate {
        trace::fit_tracestate(&mut ex.request.headers, continued);
    }
    if baggage {
        ex.baggage_dropped = trace::fit_baggage(&mut ex.request.headers);
    }
    step
}

/// What only a trusted peer may say.
fn is_claim(name: &str) -> bool {
    matches!(name, word::TRACEPARENT | word::TRACESTATE | word::B3)
        || [word::PREFIX, word::X_B3, "ce-"].iter().any(|p| name.starts_with(p))
}

/// What says how a message of ZeroMQ was cut, and who sent it.
fn is_cut(name: &str) -> bool {
    matches!(name, word::FRAMES | word::BEFORE | word::CURVE)
}

fn text(value: Option<&[u8]>) -> Option<&str> {
    value.and_then(|v| from_utf8(v).ok())
}

fn may_read_body(head: &Head, seen: &Seen<'_>) -> bool {
    if seen.encoded {
        return false;
    }
    match seen.content_length {
        Some(n) => {
            let n = from_utf8(n).ok().and_then(|n| n.trim().parse::<usize>().ok());
            n.is_some_and(|n| n > 0 && n <= super::BODY_MAX)
        }
        None => seen.chunked || !matches!(head.method, http::Method::GET | http::Method::HEAD),
    }
}

/// What the body may be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// Nothing that is read here.
    Other,
    /// JSON.
    Json,
    /// One CloudEvent in structured mode.
    Event,
    /// A CloudEvents batch.
    Batch,
}

impl Media {
    fn of(seen: &Seen<'_>) -> Media {
        let whole = seen.content_type.unwrap_or_default();
        Media::named(whole.split(|b| *b == b';').next().unwrap_or_default().trim_ascii())
    }

    /// The kind that a media type without parameters stands for.
    pub(super) fn named(bytes: &[u8]) -> Media {
        if bytes.eq_ignore_ascii_case(b"application/json") {
            Media::Json
        } else if bytes.len() < 5 || !bytes[bytes.len() - 5..].eq_ignore_ascii_case(b"+json") {
            Media::Other
        } else if bytes.eq_ignore_ascii_case(b"application/cloudevents+json") {
            Media::Event
        } else if bytes.eq_ignore_ascii_case(b"application/cloudevents-batch+json") {
            Media::Batch
        } else {
            Media::Json
        }
    }
}

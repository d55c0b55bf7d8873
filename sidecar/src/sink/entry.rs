//! What the sinks are told of one command, in the form in which it crosses from the data threads: everything that
//! changes from command to command, nothing that is the same for all, and no sink's own format. A data thread pays
//! for one encoding, however many sinks there are.

mod pack;
mod whole;

pub(crate) use whole::Whole;

use crate::exchange::{Attempt, Direction, Exchange, Headers, Outcome, Protocol};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The worker has been given a command. No record: it only lets the worker's own lines find their command.
    Begun,
    /// A command has ended.
    Command,
    /// The worker wrote a line.
    Line,
}

/// One thing to tell.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    /// What it is.
    pub(crate) what: What,
    /// Syslog's severity (RFC 5424, 6.2.1).
    pub(crate) level: u8,
    /// Microseconds since 1970; 0 when there is no telling.
    pub(crate) wall: u64,
    /// A line's text; a command's is made of its name, status and duration.
    pub(crate) message: &'a str,
    /// Name of the command; empty when unknown.
    pub(crate) command: &'a str,
    /// Its id.
    pub(crate) id: &'a str,
    /// Its own tags.
    pub(crate) tags: Pairs<'a>,
    /// Which way it went; none for a line that belongs to no command.
    pub(crate) direction: Option<Direction>,
    /// How it came.
    pub(crate) protocol: Option<Protocol>,
    /// Service that it went to.
    pub(crate) service: &'a str,
    /// Name of the route.
    pub(crate) route: &'a str,
    /// Name of the consumer.
    pub(crate) consumer: &'a str,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// HTTP status; 0 when none.
    pub(crate) status: u16,
    /// gRPC's.
    pub(crate) grpc_status: Option<u16>,
    /// From the head read to the end.
    pub(crate) total: Nanos,
    /// The upstream's share.
    pub(crate) upstream_time: Nanos,
    /// Ours.
    pub(crate) overhead: Nanos,
    /// Counts from 1; 0 for what is no command.
    pub(crate) attempt: u32,
    /// The tries that failed before.
    pub(crate) attempts: Tries<'a>,
    /// The request's method; empty for what is no command.
    pub(crate) method: &'a str,
    /// Members of `baggage` that were left out.
    pub(crate) baggage_dropped: u32,
    /// Body bytes of the request.
    pub(crate) bytes_in: u64,
    /// Body bytes of the answer.
    pub(crate) bytes_out: u64,
    /// The caller's address.
    pub(crate) client: Option<IpAddr>,
    /// Who the caller's certificate says it is; empty without one.
    pub(crate) client_identity: &'a str,
    /// The instance that answered or was tried last.
    pub(crate) upstream: &'a str,
    /// Trace; 0 when there is none.
    pub(crate) trace_id: u128,
    /// Our span.
    pub(crate) span_id: u64,
    /// The caller's.
    pub(crate) parent_span: u64,
    /// Trace flags.
    pub(crate) trace_flags: u8,
    /// The fault's code; empty when nothing went wrong.
    pub(crate) fault: &'a str,
    /// More of it, for people.
    pub(crate) detail: &'a str,
    /// Further fields: what the configuration wants shown of a request, or what came with a line.
    pub(crate) shown: Pairs<'a>,
    /// When it was, in the worker's output and by the clock; only while somebody takes the worker's lines.
    pub(crate) moment: Moment,
    /// The rest of a command, when a sink wants it.
    pub(crate) whole: Option<Whole<'a>>,
}

/// A moment: of a line its stretch in the worker's output, of a command where the output was when it began or ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Not before this, in microseconds since 1970.
    pub(crate) since: u64,
    /// Not after this; 0 when there is no telling.
    pub(crate) at: u64,
    /// Bytes that the worker had written to its standard output and to its standard error.
    pub(crate) outputs: [Stretch; 2],
}

/// From a byte to a byte, counted from the output's beginning; nothing when both are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// A duration in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Nanos(pub(crate) u64);

impl From<Duration> for Nanos {
    fn from(d: Duration) -> Nanos {
        Nanos(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Nanos {
    /// As a duration.
    pub(crate) fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// Keys and values, as an exchange owns them or as they were read.
#[derive(Debug, Clone)]
pub(crate) enum Pairs<'a> {
    /// Of an exchange.
    Own(&'a [(Arc<str>, String)]),
    /// Read from bytes: the lengths of keys and values, and their texts behind each other.
    Packed {
        /// Four bytes each.
        lengths: &'a [u8],
        /// All texts.
        text: &'a str,
    },
    /// Header lines.
    Lines(&'a Headers),
    /// Read from elsewhere.
    Read(Vec<(&'a str, &'a str)>),
}

impl<'a> Pairs<'a> {
    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let own = if let Pairs::Own(own) = self { *own } else { &[] };
        let read = if let Pairs::Read(read) = self { read.as_slice() } else { &[] };
        let (lengths, text) =
            if let Pairs::Packed { lengths, text } = self { (*lengths, *text) } else { (&[][..], "") };
        let packed = Pairs::unpacked(lengths, text);
        let lines = if let Pairs::Lines(lines) = self { Some(lines.iter()) } else { None };
        let lines = lines.into_iter().flatten().map(|(name, value)| (name, valid(value)));
        own.iter().map(|(k, v)| (&**k, v.as_str())).chain(read.iter().copied()).chain(packed).chain(lines)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            Pairs::Own(own) => own.len(),
            Pairs::Packed { lengths, .. } => lengths.len() / 8,
            Pairs::Lines(lines) => lines.len(),
            Pairs::Read(read) => read.len(),
        }
    }
}

/// A header's value as far as it is text.
fn valid(value: &[u8]) -> &str {
    match std::str::from_utf8(value) {
        Ok(text) => text,
        Err(e) => value.get(..e.valid_up_to()).and_then(|v| std::str::from_utf8(v).ok()).unwrap_or_default(),
    }
}

/// One try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Try<'a> {
    /// The instance.
    pub(crate) upstream: &'a str,
    /// When it failed, from the command's start.
    pub(crate) at: Nanos,
    /// A fault's code.
    pub(crate) code: &'a str,
    /// More of it, for people.
    pub(crate) detail: &'a str,
}

impl<'a> From<&'a Attempt> for Try<'a> {
    fn from(a: &'a Attempt) -> Try<'a> {
        Try { upstream: &a.upstream, at: a.at.into(), code: a.code, detail: &a.detail }
    }
}

/// Failed tries, as an exchange owns them or as they were read. Nearly always none: that costs one byte.
#[derive(Debug, Clone)]
pub(crate) enum Tries<'a> {
    /// Of an exchange.
    Own(&'a [Attempt]),
    /// Read.
    Read(Vec<Try<'a>>),
}

impl<'a> Tries<'a> {
    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Try<'_>> {
        let (own, read): (&[Attempt], &[Try<'_>]) = match self {
            Tries::Own(own) => (own, &[]),
            Tries::Read(read) => (&[], read),
        };
        own.iter().map(Try::from).chain(read.iter().copied())
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        match self {
            Tries::Own(own) => own.len(),
            Tries::Read(read) => read.len(),
        }
    }
}

/// Syslog's severity of a command's end.
fn level(x: &Exchange) -> u8 {
    match x.outcome() {
        Outcome::ServerError | Outcome::Unreachable | Outcome::Timeout | Outcome::Dead | Outcome::Unknown => 3,
        Outcome::ClientError | Outcome::Rejected | Outcome::Cancelled | Outcome::Expired => 4,
        Outcome::Success | Outcome::Accepted if x.attempt > 1 => 5,
        Outcome::Success | Outcome::Accepted => 6,
    }
}

impl<'a> Entry<'a> {
    /// A command, as it is now.
    pub(crate) fn of(what: What, x: &'a Exchange) -> Entry<'a> {
        let wall = x.timings.wall.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0));
        Entry {
            what,
            level: level(x),
            wall,
            message: "",
            command: &x.command.name,
            id: &x.command.id,
            tags: Pairs::Own(&x.command.tags),
            direction: Some(x.direction),
            protocol: Some(x.protocol),
            service: &x.service,
            route: &x.route,
            consumer: x.consumer.as_deref().unwrap_or(""),
            outcome: Some(x.outcome()),
            status: x.status,
            grpc_status: x.grpc_status,
            total: x.timings.total().into(),
            upstream_time: x.timings.upstream().into(),
            overhead: x.timings.overhead().into(),
            attempt: x.attempt,
            attempts: Tries::Own(&x.attempts),
            method: x.request.method.as_str(),
            baggage_dropped: x.baggage_dropped,
            bytes_in: x.bytes_in,
            bytes_out: x.bytes_out,
            client: x.client.or(x.peer.map(|p| p.ip())),
            client_identity: x.peer_identity.as_deref().unwrap_or_default(),
            upstream: x.upstream.as_deref().unwrap_or(""),
            trace_id: x.trace.trace_id,
            span_id: x.trace.span_id,
            parent_span: x.trace.parent_span,
            trace_flags: x.trace.flags,
            fault: x.fault.as_ref().map_or("", |f| f.kind.code()),
            detail: x.fault.as_ref().map_or("", |f| &f.detail),
            shown: Pairs::Own(&x.shown),
            moment: Moment::default(),
            whole: None,
        }
    }

    /// A line of the worker's that belongs to no command yet.
    pub(crate) fn line(level: u8, wall: u64, message: &'a str, shown: Vec<(&'a str, &'a str)>) -> Entry<'a> {
        Entry {
            what: What::Line,
            level: level.min(7),
            wall,
            message,
            command: "",
            id: "",
            tags: Pairs::Read(Vec::new()),
            direction: None,
            protocol: None,
            service: "",
            route: "",
            consumer: "",
            outcome: None,
            status: 0,
            grpc_status: None,
            total: Nanos(0),
            upstream_time: Nanos(0),
            overhead: Nanos(0),
            attempt: 0,
            attempts: Tries::Own(&[]),
            method: "",
            baggage_dropped: 0,
            bytes_in: 0,
            bytes_out: 0,
            client: None,
            client_identity: "",
            upstream: "",
            trace_id: 0,
            span_id: 0,
            parent_span: 0,
            trace_flags: 0,
            fault: "",
            detail: "",
            shown: Pairs::Read(shown),
            moment: Moment::default(),
            whole: None,
        }
    }

    /// What to call a command that nothing named.
    pub(crate) fn name(&self) -> &str {
        match (self.command.trim().is_empty(), self.route.trim().is_empty()) {
            (false, _) => self.command,
            (true, false) => self.route,
            (true, true) => "command",
        }
    }

    /// The word for how it ended.
    pub(crate) fn outcome(&self) -> &'static str {
        self.outcome.map_or("", Outcome::as_str)
    }
}

//! One command on its way: the one value that travels the road.
//!
//! Everything behind the codec (middlewares, sinks, identification) sees these types and nothing of the
//! HTTP library below, so a codec can be exchanged without touching them.

mod attempt;
mod base64;
mod body;
mod bounds;
mod caller;
pub mod deadline;
mod delivery;
mod early;
mod fault;
pub mod frames;
mod head;
mod headers;
mod reply;
mod tell;
mod whole;
pub mod z85;

pub use attempt::{ATTEMPTS_MAX, Attempt};
pub use base64::{base64, from_base64, from_base64any, from_base64url};
pub use body::{Body, BodyError, Source, Stage, Staged};
pub use bounds::{Limits, Timeouts};
pub use caller::{Caller, Consumer, Credential, Named, Via};
pub use delivery::{Delivery, Mode, Part, RetryLater};
pub use early::{Early, Informed};
pub use fault::{Fault, FaultKind, Retry, Side};
pub use head::{Answer, Head};
pub use headers::Headers;
pub(crate) use headers::{BYTES_MAX, NAME_MAX};
pub use reply::{AnswerHead, Cached, Reply, Says, Seen};
pub use tell::{ConnectionSide, Counted, Silent, Tell};
pub use whole::{Wants, Whole};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Who this Fourmi stands beside; the same on every record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The worker's service name.
    pub service: Arc<str>,
    /// The environment, which is also the log record's facility.
    pub env: Arc<str>,
    /// The machine's or container's name.
    pub hostname: Arc<str>,
    /// Tags of the configuration: on every record, before a command's own.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
}

/// Which way a command goes, seen from the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Others to the worker.
    Inbound,
    /// The worker to other services.
    Outbound,
}

impl Direction {
    /// The word that records and labels carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

/// How the command came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// An upgraded connection: WebSocket or another.
    WebSocket,
    /// CONNECT: bytes both ways.
    Tunnel,
    /// A message of ZeroMQ.
    Zmq,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 7] = [
        Protocol::Http10,
        Protocol::Http11,
        Protocol::Http2,
        Protocol::Grpc,
        Protocol::WebSocket,
        Protocol::Tunnel,
        Protocol::Zmq,
    ];

    /// The word that records and labels carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "http/1.0",
            Protocol::Http11 => "http/1.1",
            Protocol::Http2 => "http/2",
            Protocol::Grpc => "grpc",
            Protocol::WebSocket => "websocket",
            Protocol::Tunnel => "tunnel",
            Protocol::Zmq => "zmq",
        }
    }
}

/// How a command ended. Exactly one per command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// 1xx to 3xx, or grpc-status 0.
    Success,
    /// 4xx of the worker.
    ClientError,
    /// 5xx of the worker, or a broken answer.
    ServerError,
    /// Refused by a middleware or a limit before the worker saw it.
    Rejected,
    /// A deadline passed.
    Timeout,
    /// No instance could be reached, or it went away with the command in its hands.
    Unreachable,
    /// The caller left before the answer was complete.
    Cancelled,
    /// Stored; the final outcome follows later.
    Accepted,
    /// Given up after its last attempt.
    Dead,
    /// Its time had passed before it ran.
    Expired,
    /// Written to the worker, no answer, and not known whether it ran.
    Unknown,
}

impl Outcome {
    /// All of them, in the order of their cells.
    pub const ALL: [Outcome; 11] = [
        Outcome::Success,
        Outcome::ClientError,
        Outcome::ServerError,
        Outcome::Rejected,
        Outcome::Timeout,
        Outcome::Unreachable,
        Outcome::Cancelled,
        Outcome::Accepted,
        Outcome::Dead,
        Outcome::Expired,
        Outcome::Unknown,
    ];

    /// The word that records and labels carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::ClientError => "client_error",
            Outcome::ServerError => "server_error",
            Outcome::Rejected => "rejected",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable => "unreachable",
            Outcome::Cancelled => "cancelled",
            Outcome::Accepted => "accepted",
            Outcome::Dead => "dead",
            Outcome::Expired => "expired",
            Outcome::Unknown => "unknown",
        }
    }
}

/// What the command is called, which one it is, and what else is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Normalised name (`[A-Za-z0-9._-]`, at most 128 bytes), never empty once identified.
    pub name: Arc<str>,
    /// Whether `name` came from the route rather than the command itself: such names are few by nature.
    pub named_by_route: bool,
    /// Its id: the caller's, or a UUIDv7 of ours.
    pub id: String,
    /// Whether the caller gave the id.
    pub id_given: bool,
    /// The command's own tags (not the configuration's), at most 16, last writer of a key wins.
    pub tags: Vec<(Arc<str>, String)>,
    /// The id of the command in whose handling this one was sent.
    pub parent: Option<String>,
    /// Commands of one key, when they are stored, run one after another.
    pub key: Option<String>,
}

/// W3C trace context of this hop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// 128 bits; never zero once set.
    pub trace_id: u128,
    /// The span of the caller, 0 when the trace begins here.
    pub parent_span: u64,
    /// The span of this hop; never zero once set.
    pub span_id: u64,
    /// The trace flags; bit 0 is "sampled".
    pub flags: u8,
}

impl Trace {
    /// Whether the trace is recorded: what its first hop decided, and every later one keeps.
    pub fn sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The flag "sampled".
    pub const SAMPLED: u8 = 1;
}

/// Which B3 headers a command came with: it leaves with the same, since they are what the next hop reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct B3 {
    /// `b3`: everything in one line.
    pub single: bool,
    /// `X-B3-*`: a line for each part.
    pub multi: bool,
    /// The caller wants this trace recorded whatever sampling says: `d`, or `X-B3-Flags: 1`.
    pub debug: bool,
}

impl B3 {
    /// Whether there was any.
    pub fn any(self) -> bool {
        self.single || self.multi
    }
}

/// When each part of the road was reached. Monotonic; only `wall` is for showing.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Wall clock when the head was read.
    pub wall: SystemTime,
    /// The head was read.
    pub start: Instant,
    /// Handing to the instance began (of the last attempt).
    pub sent: Option<Instant>,
    /// The answer's head came.
    pub answered: Option<Instant>,
    /// The last byte left, or the exchange was given up.
    pub end: Option<Instant>,
}

impl Timings {
    /// From head read to the end.
    pub fn total(&self) -> Duration {
        self.end.map(|e| e.saturating_duration_since(self.start)).unwrap_or_default()
    }
    /// From handing over to the answer's head: the upstream's share. Zero if none was reached.
    pub fn upstream(&self) -> Duration {
        match (self.sent, self.answered) {
            (Some(sent), Some(answered)) => answered.saturating_duration_since(sent),
            (Some(sent), None) => self.end.map(|e| e.saturating_duration_since(sent)).unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
    /// From head read to handing over: Fourmi's own share (waiting for a worker to be ready included).
    pub fn overhead(&self) -> Duration {
        match self.sent {
            Some(sent) => sent.saturating_duration_since(self.start),
            None => self.total(),
        }
    }
}

/// One command on its way, with its answer, timings and outcome.
pub struct Exchange {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Which way it goes.
    pub direction: Direction,
    /// How it came.
    pub protocol: Protocol,
    /// The connection's other end.
    pub peer: Option<SocketAddr>,
    /// This end of it.
    pub local: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// The caller's address after forwarded headers of trusted peers; one answer for logs, limits and access.
    pub client: Option<IpAddr>,
    /// Who the connection's other end has proved to be, by a certificate that was verified.
    pub peer_identity: Option<Arc<str>>,
    /// The names of that certificate that can be shown: its host names, addresses of mail and URIs in their order, then
    /// the common names of its subject. None without one.
    pub peer_names: Option<Arc<[Arc<str>]>>,
    /// Whether the peer's Fourmi-*, ce-* and traceparent headers are believed.
    pub trusted: bool,
    /// The request as it will be forwarded.
    pub request: Head,
    /// Name of the service that the route leads to.
    pub service: Arc<str>,
    /// Name of the route.
    pub route: Arc<str>,
    /// Name of the consumer, when access found one.
    pub consumer: Option<Arc<str>>,
    /// Who calls, when access found out.
    pub caller: Caller,
    /// What the gateway chose, if there is one.
    pub via: Option<Arc<Via>>,
    /// What the groups of the route's expression matched: the whole first; the name of each that has one. Only when
    /// somebody wants to know.
    pub captures: Vec<(Option<Arc<str>>, String)>,
    /// The request's body, as far as middlewares have seen it.
    pub seen: Seen,
    /// The bytes of a body that may pass, when a middleware allows less than the configuration.
    pub body_max: Option<u64>,
    /// What the cache knows of the answer.
    pub cached: Option<Box<Cached>>,
    /// The path that the instance is asked for, when a middleware wants another than the route's.
    pub path_instead: Option<String>,
    /// The host that the instance is asked for, when a middleware wants another than the route's.
    pub host_instead: Option<String>,
    /// Lines that middlewares add to the answer, whoever gives it.
    pub added: Headers,
    /// Which command this is.
    pub command: Command,
    /// W3C trace context.
    pub trace: Trace,
    /// The B3 headers that came beside or instead of it.
    pub b3: B3,
    /// Members of `baggage` that were left out because it was over its limits.
    pub baggage_dropped: u32,
    /// The clock readings.
    pub timings: Timings,
    /// Whether its caller says how it should be delivered: by `Prefer` or a `Fourmi-` line.
    pub asks: bool,
    /// How it is delivered, when a middleware says so.
    pub delivery: Option<Arc<Delivery>>,
    /// How the message that it came as was read.
    pub inlet: Option<Arc<frames::Inlet>>,
    /// Which part of its story this is.
    pub part: Part,
    /// When its whole answer must have come, if whoever sent it said so.
    pub deadline: Option<Instant>,
    /// Counts from 1.
    pub attempt: u32,
    /// The tries of this hop that failed and were followed by another, the first [`ATTEMPTS_MAX`] of them; nearly
    /// always empty, and then it holds no memory. The last failure, when none succeeded, is `fault`.
    pub attempts: Vec<Attempt>,
    /// Status of the answer that the caller got; 0 when none.
    pub status: u16,
    /// grpc-status, when the answer carries one.
    pub grpc_status: Option<u16>,
    /// How it ended; set once.
    pub outcome: Option<Outcome>,
    /// What went wrong, when something did.
    pub fault: Option<Fault>,
    /// What else of the request the records show, as the configuration asks: field and value, redacted already.
    pub shown: Vec<(Arc<str>, String)>,
    /// What sinks want that tell all of a command; none without such a sink.
    pub whole: Option<Box<Whole>>,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Answer body bytes.
    pub bytes_out: u64,
    /// The instance that answered or was tried last.
    pub upstream: Option<Arc<str>>,
}

impl Exchange {
    /// A command whose head has just been read: nothing else is known of it. `unnamed` is an empty text, shared by the
    /// thread so that beginning costs no allocation.
    pub fn begin(
        identity: &Arc<Identity>,
        direction: Direction,
        protocol: Protocol,
        request: Head,
        unnamed: &Arc<str>,
    ) -> Self {
        Exchange {
            identity: identity.clone(),
            direction,
            protocol,
            peer: None,
            local: None,
            secure: false,
            client: None,
            peer_identity: None,
            peer_names: None,
            trusted: false,
            request,
            service: identity.service.clone(),
            route: unnamed.clone(),
            consumer: None,
            caller: Caller::default(),
            via: None,
            captures: Vec::new(),
            seen: Seen::Not,
            body_max: None,
            cached: None,
            path_instead: None,
            host_instead: None,
            added: Headers::default(),
            command: Command { name: unnamed.clone(), ..Command::default() },
            trace: Trace::default(),
            b3: B3::default(),
            baggage_dropped: 0,
            timings: Timings { wall: SystemTime::now(), start: Instant::now(), sent: None, answered: None, end: None },
            asks: false,
            delivery: None,
            inlet: None,
            part: Part::Whole,
            deadline: None,
            attempt: 1,
            attempts: Vec::new(),
            status: 0,
            grpc_status: None,
            outcome: None,
            fault: None,
            shown: Vec::new(),
            whole: None,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
        }
    }

    /// The outcome that a status stands for when the worker gave it.
    pub fn outcome_of_status(status: u16, grpc_status: Option<u16>) -> Outcome {
        if let Some(g) = grpc_status {
            return match g {
                0 => Outcome::Success,
                1 => Outcome::Cancelled,
                4 => Outcome::Timeout,
                // Invalid argument, not found, already exists, permission denied, failed precondition,
                // out of range, unauthenticated: the caller's doing.
                3 | 5 | 6 | 7 | 9 | 11 | 16 => Outcome::ClientError,
                _ => Outcome::ServerError,
            };
        }
        match status {
            0..=399 => Outcome::Success,
            400..=499 => Outcome::ClientError,
            _ => Outcome::ServerError,
        }
    }

    /// How it ended; before that, what its status says.
    pub fn outcome(&self) -> Outcome {
        self.outcome.unwrap_or_else(|| Self::outcome_of_status(self.status, self.grpc_status))
    }
}

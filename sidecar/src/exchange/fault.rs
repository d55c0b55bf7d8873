//! What went wrong, whose fault it was, and whether trying again is safe.

use super::Outcome;
use std::borrow::Cow;

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller sent something that cannot be served.
    Client,
    /// Fourmi itself: a limit, a configuration, a bug.
    Fourmi,
    /// The worker or the service behind.
    Upstream,
}

impl Side {
    /// The word in our problem documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Fourmi => "fourmi",
            Side::Upstream => "upstream",
        }
    }
}

/// Whether the command may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It cannot have run.
    Safe,
    /// It may have run: only for what may run twice.
    IfIdempotent,
    /// No.
    No,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request cannot be understood.
    BadRequest,
    /// The path is one that hops would read differently.
    BadPath,
    /// Nothing leads to the named service.
    NoRoute,
    /// The request body is over the limit.
    BodyTooLarge,
    /// The request's header block is over the limit.
    HeadTooLarge,
    /// The worker is not ready yet, or not any more.
    NotReady,
    /// The service is left alone because it mostly fails.
    CircuitOpen,
    /// No connection to any instance.
    Unreachable,
    /// The instance went away with the command in its hands.
    Broken,
    /// The instance's answer is not HTTP.
    BadAnswer,
    /// The whole deadline passed.
    Timeout,
    /// The time that the caller left the command was over before it was sent.
    Deadline,
    /// The caller did not finish its request in time.
    SlowCaller,
    /// The caller left.
    ClientGone,
    /// A limit on connections or commands in flight.
    Overloaded,
    /// The other side of this Fourmi is not configured.
    NotConfigured,
    /// A middleware answered it.
    Refused,
    /// What is asked for is asked for in another way.
    MethodNotAllowed,
    /// The spool takes no more.
    SpoolFull,
    /// It should be stored, and there is nothing to store it in.
    NoSpool,
    /// The same command is being done.
    InProgress,
    /// Its id belongs to another command.
    IdTaken,
    /// It was given up after its last attempt.
    GivenUp,
    /// A bug.
    Internal,
}

impl FaultKind {
    /// Stable code: the last part of a problem's type, `reason` label, anchor in the docs.
    pub fn code(self) -> &'static str {
        match self {
            FaultKind::BadRequest => "bad-request",
            FaultKind::BadPath => "bad-path",
            FaultKind::NoRoute => "no-route",
            FaultKind::BodyTooLarge => "body-too-large",
            FaultKind::HeadTooLarge => "head-too-large",
            FaultKind::NotReady => "not-ready",
            FaultKind::CircuitOpen => "circuit-open",
            FaultKind::Unreachable => "unreachable",
            FaultKind::Broken => "broken",
            FaultKind::BadAnswer => "bad-answer",
            FaultKind::Timeout => "timeout",
            FaultKind::Deadline => "deadline",
            FaultKind::SlowCaller => "slow-caller",
            FaultKind::ClientGone => "client-gone",
            FaultKind::Overloaded => "overloaded",
            FaultKind::NotConfigured => "not-configured",
            FaultKind::Refused => "refused",
            FaultKind::MethodNotAllowed => "method-not-allowed",
            FaultKind::SpoolFull => "spool-full",
            FaultKind::NoSpool => "no-spool",
            FaultKind::InProgress => "in-progress",
            FaultKind::IdTaken => "id-taken",
            FaultKind::GivenUp => "given-up",
            FaultKind::Internal => "internal",
        }
    }

    /// Whose fault it was.
    pub fn side(self) -> Side {
        match self {
            FaultKind::BadRequest
            | FaultKind::BadPath
            | FaultKind::BodyTooLarge
            | FaultKind::HeadTooLarge
            | FaultKind::Deadline
            | FaultKind::SlowCaller
            | FaultKind::Refused
            | FaultKind::InProgress
            | FaultKind::IdTaken
            | FaultKind::MethodNotAllowed
            | FaultKind::ClientGone => Side::Client,
            FaultKind::NoRoute
            | FaultKind::Overloaded
            | FaultKind::SpoolFull
            | FaultKind::NoSpool
            | FaultKind::NotConfigured
            | FaultKind::Internal => Side::Fourmi,
            FaultKind::NotReady
            | FaultKind::CircuitOpen
            | FaultKind::Unreachable
            | FaultKind::Broken
            | FaultKind::BadAnswer
            | FaultKind::GivenUp
            | FaultKind::Timeout => Side::Upstream,
        }
    }

    /// The HTTP status that tells it. 499 is nginx's word for a caller that left; it is only ever logged.
    pub fn status(self) -> u16 {
        match self {
            FaultKind::BadRequest | FaultKind::BadPath => 400,
            FaultKind::NoRoute => 404,
            FaultKind::BodyTooLarge => 413,
            FaultKind::HeadTooLarge => 431,
            FaultKind::NotReady | FaultKind::CircuitOpen | FaultKind::Overloaded | FaultKind::SpoolFull => 503,
            FaultKind::Unreachable | FaultKind::Broken | FaultKind::BadAnswer | FaultKind::GivenUp => 502,
            FaultKind::MethodNotAllowed => 405,
            FaultKind::NoSpool => 501,
            FaultKind::InProgress => 409,
            FaultKind::IdTaken => 422,
            FaultKind::Timeout | FaultKind::Deadline => 504,
            FaultKind::SlowCaller => 408,
            FaultKind::Refused => 403,
            FaultKind::ClientGone => 499,
            FaultKind::NotConfigured | FaultKind::Internal => 500,
        }
    }

    /// The gRPC status that tells it (google.rpc.Code).
    pub fn grpc_status(self) -> u16 {
        match self {
            FaultKind::BadRequest | FaultKind::BadPath => 3,
            FaultKind::NoRoute => 12,
            FaultKind::BodyTooLarge | FaultKind::HeadTooLarge | FaultKind::Overloaded | FaultKind::SpoolFull => 8,
            FaultKind::NoSpool | FaultKind::MethodNotAllowed => 12,
            FaultKind::InProgress => 10,
            FaultKind::IdTaken => 6,
            FaultKind::GivenUp => 14,
            FaultKind::NotReady | FaultKind::CircuitOpen | FaultKind::Unreachable | FaultKind::Broken => 14,
            FaultKind::Timeout | FaultKind::Deadline | FaultKind::SlowCaller => 4,
            FaultKind::Refused => 7,
            FaultKind::ClientGone => 1,
            FaultKind::BadAnswer | FaultKind::NotConfigured | FaultKind::Internal => 13,
        }
    }

    /// The outcome it counts as.
    pub fn outcome(self) -> Outcome {
        match self {
            FaultKind::Timeout | FaultKind::Deadline | FaultKind::SlowCaller => Outcome::Timeout,
            FaultKind::NotReady | FaultKind::Unreachable | FaultKind::Broken => Outcome::Unreachable,
            FaultKind::BadAnswer | FaultKind::Internal | FaultKind::NotConfigured => Outcome::ServerError,
            FaultKind::ClientGone => Outcome::Cancelled,
            FaultKind::BadRequest
            | FaultKind::BadPath
            | FaultKind::NoRoute
            | FaultKind::BodyTooLarge
            | FaultKind::HeadTooLarge
            | FaultKind::CircuitOpen
            | FaultKind::Refused
            | FaultKind::MethodNotAllowed
            | FaultKind::SpoolFull
            | FaultKind::NoSpool
            | FaultKind::InProgress
            | FaultKind::IdTaken
            | FaultKind::Overloaded => Outcome::Rejected,
            FaultKind::GivenUp => Outcome::Dead,
        }
    }

    /// One sentence for people.
    pub fn title(self) -> &'static str {
        match self {
            FaultKind::BadRequest => "The request cannot be understood",
            FaultKind::BadPath => "The path can be read in more than one way",
            FaultKind::NoRoute => "Nothing leads to this service",
            FaultKind::BodyTooLarge => "The body is larger than allowed",
            FaultKind::HeadTooLarge => "The headers are larger than allowed",
            FaultKind::NotReady => "No instance is ready",
            FaultKind::CircuitOpen => "The service is left alone because it mostly fails",
            FaultKind::Unreachable => "No instance can be reached",
            FaultKind::Broken => "The instance went away before it answered",
            FaultKind::BadAnswer => "The instance's answer cannot be understood",
            FaultKind::Timeout => "The instance did not answer in time",
            FaultKind::Deadline => "The command's time was over before it was sent",
            FaultKind::SlowCaller => "The request did not come in time",
            FaultKind::ClientGone => "The caller left before the answer",
            FaultKind::Overloaded => "Too much at once",
            FaultKind::NotConfigured => "This side is not configured",
            FaultKind::Refused => "The command was refused",
            FaultKind::MethodNotAllowed => "It is asked for in another way",
            FaultKind::SpoolFull => "The command cannot be stored now",
            FaultKind::NoSpool => "There is nothing to store commands in",
            FaultKind::InProgress => "The same command is being done",
            FaultKind::IdTaken => "Another command has this id",
            FaultKind::GivenUp => "The command was given up",
            FaultKind::Internal => "Fourmi made a mistake",
        }
    }
}

/// What went wrong with one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Whether another try is safe.
    pub retry: Retry,
    /// The cause, for people: addresses, limits, system errors. No secrets.
    pub detail: Cow<'static, str>,
    /// Seconds for `Retry-After`, where waiting helps.
    pub retry_after: Option<u32>,
}

impl Fault {
    /// A fault that is final.
    pub fn new(kind: FaultKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Fault { kind, retry: Retry::No, detail: detail.into(), retry_after: None }
    }
    /// The same, with another answer to "may it be sent again?".
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
    /// The same, asking the caller to wait.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

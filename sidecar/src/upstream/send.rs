//! Pick an instance, send, and send again what may be sent again.
//!
//! What cannot have run (no connection, a kept one that died before a byte was written, a refused stream) is sent again
//! whatever it is. What may have run is sent again only if it may run twice. Both spend the service's budget.

mod again;
mod attempt;
mod copy;
mod find;
mod guarded;
mod hedge;
mod message;

use super::endpoint::TIMEOUT;
use super::health::Report;
use super::{Choice, Cluster, Endpoint, InFlight, Retries};
use crate::codec::Stream;
use crate::codec::client::{Http1, OwnBody, Received, ReceivedBody};
use crate::exchange::{
    Body, Counted, Early, Exchange, Fault, FaultKind, Head, Headers, Part, Retry, Source, Tell, Timeouts,
};
use again::Again;
use attempt::{Failed, once};
use bytes::Bytes;
use copy::copied;
use http::Method;
use hyper::body::Incoming;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often one command may meet a connection that died before a byte of it was written.
const UNSENT_MAX: u32 = 8;
/// A deadline of the caller's own that leaves an instance less than this is not held against the instance.
const HURRIED: Duration = Duration::from_secs(1);
/// How often to look again for an instance, when nothing says when there will be one.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// An answer's head, with the instance and connection that it came over.
pub struct Sent {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// Counts the command at the instance.
    pub in_flight: InFlight,
    endpoint: Rc<Endpoint>,
    over: Over,
}

/// What an answer comes over.
enum Over {
    /// A connection of the exchange's own.
    Own(Box<Http1>),
    /// A stream of a shared one.
    Shared(Incoming),
    /// Nothing: it is all there.
    Whole(Bytes),
}

impl Sent {
    fn own(received: Received, conn: Box<Http1>, endpoint: &Rc<Endpoint>, in_flight: InFlight) -> Self {
        Self::new(received, Over::Own(conn), endpoint, in_flight)
    }

    fn shared(received: Received, incoming: Incoming, endpoint: &Rc<Endpoint>, in_flight: InFlight) -> Self {
        Self::new(received, Over::Shared(incoming), endpoint, in_flight)
    }

    fn whole(received: Received, body: Bytes, endpoint: &Rc<Endpoint>, in_flight: InFlight) -> Self {
        Self::new(received, Over::Whole(body), endpoint, in_flight)
    }

    fn new(received: Received, over: Over, endpoint: &Rc<Endpoint>, in_flight: InFlight) -> Self {
        let Received { status, headers } = received;
        Sent { status, headers, in_flight, endpoint: endpoint.clone(), over }
    }

    /// The answer's head and its body, which gives the connection back at its end.
    pub fn into_parts(self) -> (u16, Headers, ReceivedBody, InFlight) {
        let body = match self.over {
            Over::Own(conn) => ReceivedBody::Own(OwnBody::new(conn, self.endpoint)),
            Over::Shared(incoming) => ReceivedBody::Shared(incoming),
            Over::Whole(bytes) => ReceivedBody::Whole(bytes),
        };
        (self.status, self.headers, body, self.in_flight)
    }

    /// The answer's lines and the connection itself, which speaks another protocol now; none on a shared one.
    pub fn into_stream(self) -> (Headers, Option<(Stream, Counted)>, InFlight) {
        let stream = match self.over {
            Over::Own(conn) => Some(conn.into_stream()),
            Over::Shared(_) | Over::Whole(_) => None,
        };
        (self.headers, stream, self.in_flight)
    }
}

/// What one command's attempts have in common.
pub struct Task<'a> {
    /// Its head is sent; it learns whom it is given to, when, and who failed.
    pub ex: &'a mut Exchange,
    /// Its body.
    pub body: &'a mut Body,
    /// Writes the lines that an instance is to see, when that is not done yet: not every one sees any.
    pub lines: Option<fn(&mut Exchange)>,
    /// Where the body comes from, as long as that is the caller's connection.
    pub upload: Option<&'a Rc<dyn Source>>,
    /// For consistent hashing.
    pub key: Option<u64>,
    /// Takes informational answers.
    pub early: &'a Early,
    /// How long each part may take.
    pub timeouts: &'a Timeouts,
    /// When the answer's head must be there.
    pub by: Instant,
    /// Counts retries.
    pub tell: &'a dyn Tell,
}

impl Task<'_> {
    /// Whether it is the caller that time ran out with: it has not finished its request, or has no patience.
    fn is_callers_fault(&self) -> bool {
        let since = self.ex.timings.sent.unwrap_or(self.ex.timings.start);
        is_hurried(self.ex, self.by, since) || self.upload.is_some_and(|u| u.is_awaited())
    }
}

/// Whether a deadline of the caller's own left too little time to say anything of an instance.
fn is_hurried(ex: &Exchange, by: Instant, since: Instant) -> bool {
    ex.deadline == Some(by) && by.saturating_duration_since(since) < HURRIED
}

/// The same for a longer deadline, too, if the instance has answered others meanwhile.
fn is_own(ex: &Exchange, by: Instant, since: Instant, endpoint: &Endpoint) -> bool {
    is_hurried(ex, by, since) || (ex.deadline == Some(by) && endpoint.has_answered_since(since))
}

/// Whose patience was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// That of a caller who wanted too much, or did not finish its request.
    Callers,
    /// Ours.
    Ours,
}

/// Why there is no answer.
pub enum Failure {
    /// This happened.
    Fault(Box<Fault>),
    /// The time was over.
    Late(Patience),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(Box::new(fault))
    }
}

fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// Whether a command may run twice: by its method (RFC 9110, 9.2.2), because its service says so, or because it carries
/// a key by which the service knows it again.
fn may_repeat(head: &Head, retries: &Retries) -> bool {
    retries.idempotent
        || idempotent(&head.method)
        || (retries.idempotency_key && head.headers.get("idempotency-key").is_some())
}

/// Sends one command; returns with the answer's head, or why there is none.
pub async fn send(cluster: &Cluster, task: &mut Task<'_>) -> Result<Sent, Failure> {
    match &cluster.policy.breaker {
        None => attempts(cluster, task).await,
        Some(settings) => Box::pin(guarded::send(cluster, task, settings)).await,
    }
}

async fn attempts(cluster: &Cluster, task: &mut Task<'_>) -> Result<Sent, Failure> {
    let (upload, early, timeouts, by, tell) = (task.upload, task.early, task.timeouts, task.by, task.tell);
    let Task { ex, body, lines, .. } = task;
    let retries = &cluster.policy.retries;
    let most = cluster.most();
    cluster.budget.earn();
    // A stored attempt has its own schedule; what must not run twice is not sent twice here either.
    let single = ex.delivery.as_ref().is_some_and(|delivery| delivery.at_most_once);
    let repeat = ex.part != Part::Attempt && !single && may_repeat(&ex.request, retries);
    let choice = Choice { key: task.key, repeats: repeat && retries.attempts > 0 };
    let passive = &cluster.policy.health.passive;
    let mut again = Again { repeat, left: retries.attempts, copy: None, whole: body.is_empty() };
    if repeat && retries.attempts > 0 && !body.is_empty() {
        again.copy = Box::pin(copied(body, retries.body, by)).await?;
        again.whole = again.copy.is_some();
    }
    if cluster.speaks_messages() && !matches!(**body, Body::Full(_) | Body::Empty) {
        Box::pin(message::first(cluster, body, by)).await?;
    }
    let number = cluster.queue().number();
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    let (mut unsent, mut kept, mut was_sent, mut may_have_run) = (0, !single, false, false);
    // Why the last instance was left, and its answer, which is better than none.
    let mut last: Option<Box<Fault>> = None;
    let mut answer: Option<Box<Sent>> = None;
    // Why an instance that had it went away: where there is no other, that is the cause.
    let mut broken: Option<Box<Fault>> = None;
    // A stored one waits in the store: marked as running, it would be taken for one that somebody has.
    let hold = if ex.part == Part::Attempt { Duration::ZERO } else { timeouts.hold };
    loop {
        let now = Instant::now();
        let found = match cluster.pick(now, &choice, &tried) {
            super::Pick::One(e) if cluster.queue().is_empty() => e.enter(most).map(|in_flight| (e, in_flight)),
            _ => None,
        };
        let (endpoint, in_flight, begun) = match found {
            Some((endpoint, in_flight)) => (endpoint, in_flight, now),
            None => {
                let search = find::Search {
                    choice: &choice,
                    start: ex.timings.start,
                    by,
                    hold,
                    last: last.as_deref(),
                    number,
                    waits: answer.is_none(),
                };
                match Box::pin(find::find(cluster, &mut tried, search)).await {
                    Ok((endpoint, in_flight)) => (endpoint, in_flight, Instant::now()),
                    Err(failure) => {
                        // Whoever was tried before had not got it.
                        if !may_have_run {
                            ex.timings.sent = None;
                        }
                        let cause = broken.filter(|_| !cluster.holds && last.is_none()).map(Failure::Fault);
                        return answer.map_or(Err(cause.unwrap_or(failure)), |sent| Ok(*sent));
                    }
                }
            }
        };
        if last.is_some() {
            if !cluster.budget.spend() {
                tell.retry_skipped("budget");
                return answer.map_or_else(
                    || Err(last.take().map_or(Failure::Late(Patience::Ours), Failure::Fault)),
                    |sent| Ok(*sent),
                );
            }
            tell.retried("connect");
        }
        ex.upstream = Some(endpoint.label.clone());
        // The time of an attempt that was given up is the instances', not ours.
        if !was_sent {
            ex.timings.sent = Some(begun);
        }
        // Only an attempt that another one can follow is cut short.
        let limit = match retries.per_try {
            Some(most) if again.is_possible() => by.min(begun + most),
            _ => by,
        };
        if lines.is_some()
            && !endpoint.takes_bare_messages()
            && let Some(write) = lines.take()
        {
            write(ex);
        }
        let going = attempt::Going { timeouts, limit, early, now: begun, kept };
        let (endpoint, result) = match cluster.policy.hedge {
            Some(after) if again.is_bare() && hedge::is_read(&ex.request.method) => {
                let both =
                    Box::pin(hedge::once(cluster, &choice, (endpoint, in_flight), &ex.request, going, after, tell))
                        .await;
                // The answer may be another instance's.
                ex.upstream = Some(both.0.label.clone());
                both
            }
            _ => {
                let result = once(&endpoint, in_flight, &ex.request, body, &going).await;
                (endpoint, result)
            }
        };
        last = None;
        may_have_run |= !matches!(
            result,
            Err(Failed::NotConnected(_) | Failed::NoRoom(_) | Failed::Unsent | Failed::Late { begun: false })
        );
        match result {
            Ok(sent) => {
                let answered = Instant::now();
                // The next hop has less time than this one, and so is the one that says that it was too little.
                let excused = sent.status == TIMEOUT && is_own(ex, by, begun, &endpoint);
                endpoint.answered(passive, sent.status, excused, (begun, answered));
                if retries.statuses.contains(&sent.status) {
                    match again.may(cluster) {
                        Ok(()) => {
                            let why = format!("answered {}", sent.status);
                            ex.attempt_failed(&endpoint.label, answered, FaultKind::BadAnswer, why);
                            was_sent = true;
                            tell.retried("status");
                            tried.push(endpoint);
                            again.restore(body);
                            answer = Some(Box::new(sent));
                            continue;
                        }
                        Err(why) => tell.retry_skipped(why),
                    }
                }
                ex.timings.answered = Some(answered);
                return Ok(sent);
            }
            Err(Failed::NotConnected(error)) => {
                let now = Instant::now();
                endpoint.failed(now);
                endpoint.went_wrong(passive, Report::TcpFailure, &error);
                let detail = format!("{}: {error}", endpoint.label);
                ex.attempt_failed(&endpoint.label, now, FaultKind::Unreachable, error);
                last = Some(Box::new(Fault::new(FaultKind::Unreachable, detail).retry(Retry::Safe)));
                tried.push(endpoint);
            }
            Err(Failed::NoRoom(error)) => {
                let detail = format!("no connection to {}: {error}", endpoint.label);
                return Err(Fault::new(FaultKind::Overloaded, detail).retry(Retry::Safe).retry_after(1).into());
            }
            Err(Failed::Unsent) if unsent < UNSENT_MAX => {
                unsent += 1;
                let why = "the connection ended without an answer";
                ex.attempt_failed(&endpoint.label, Instant::now(), FaultKind::Broken, why);
                tell.retried("stale");
            }
            // It may have run, so this is done once, and over a connection that cannot have died of age.
            Err(Failed::Stale) => {
                kept = false;
                ex.attempt_failed(&endpoint.label, Instant::now(), FaultKind::Broken, "a kept connection ended");
                tell.retried("stale");
            }
            Err(Failed::Unsent) => {
                let detail = format!("{} closes every connection", endpoint.label);
                return Err(Fault::new(FaultKind::Unreachable, detail).into());
            }
            Err(Failed::Late { .. }) => {
                let now = Instant::now();
                // A caller that does not finish its request, or has little patience, says nothing of the instance; nor
                // does one with more of it, if the instance has answered others meanwhile.
                let hurried = limit == by && is_own(ex, by, begun, &endpoint);
                let whose = match hurried || upload.is_some_and(|u| u.is_awaited()) {
                    true => Patience::Callers,
                    false => Patience::Ours,
                };
                if whose == Patience::Ours {
                    endpoint.slower_than(now.saturating_duration_since(begun), now);
                    let waited = now.saturating_duration_since(begun);
                    endpoint.went_wrong(passive, Report::Timeout, &format!("no answer within {waited:.1?}"));
                }
                if now >= by {
                    if !may_have_run {
                        ex.timings.sent = None;
                    }
                    return answer.map_or(Err(Failure::Late(whose)), |sent| Ok(*sent));
                }
                let took = retries.per_try.unwrap_or_default();
                let why = format!("no answer within {took:?} (retries.per_try)");
                if let Err(skipped) = again.may(cluster) {
                    tell.retry_skipped(skipped);
                    let detail = format!("{}: {why}", endpoint.label);
                    let fault = || Err(Fault::new(FaultKind::Timeout, detail).into());
                    return answer.map_or_else(fault, |sent| Ok(*sent));
                }
                ex.attempt_failed(&endpoint.label, now, FaultKind::Timeout, why);
                was_sent = true;
                tell.retried("timeout");
                tried.push(endpoint);
                again.restore(body);
            }
            Err(Failed::Fault(fault)) => {
                let now = Instant::now();
                if fault.kind == FaultKind::Broken {
                    endpoint.went_wrong(passive, Report::TcpFailure, &fault.detail);
                }
                if fault.retry == Retry::No {
                    return answer.map_or(Err(Failure::Fault(fault)), |sent| Ok(*sent));
                }
                if let Err(skipped) = again.may(cluster) {
                    tell.retry_skipped(skipped);
                    return answer.map_or(Err(Failure::Fault(fault)), |sent| Ok(*sent));
                }
                ex.attempt_failed(&endpoint.label, now, fault.kind, fault.detail.clone().into_owned());
                broken = Some(fault);
                was_sent = true;
                tell.retried("broken");
                tried.push(endpoint);
                again.restore(body);
            }
        }
    }
}

#[cfg(test)]
mod tests;

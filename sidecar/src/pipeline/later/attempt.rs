//! One attempt, seen from the store: what it met, and what comes of it.

use crate::exchange::{BodyError, Delivery, Exchange, Fault, FaultKind, Headers, Retry};
use crate::names::header as word;
use crate::pipeline::answer::{self, Begun, Gathered};
use crate::pipeline::forward;
use crate::pipeline::gated;
use crate::pipeline::lane::Lane;
use crate::pipeline::told::Told;
use crate::route::Way;
use crate::spool::retry::{Met, Says, decide};
use crate::spool::{Ending, Kept};
use crate::upstream::Sent;
use bytes::Bytes;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of an answer that are kept.
pub(super) const KEPT_MAX: usize = 64 << 10;

/// Sends it: the statements of the road from *pick* on.
pub(super) async fn once(lane: &Lane, told: &mut Told, way: &Way, body: Bytes) -> Result<Sent, Fault> {
    told.handling();
    if let Some(routed) = told.routed.clone()
        && let Some(reply) = gated::nowhere(&routed.gate)
    {
        return Err(Fault::new(FaultKind::NoRoute, reply.why.clone()));
    }
    let mut body = forward::wire(told, body.into(), false);
    forward::send(lane, told, way, &mut body).await
}

/// What an answer says of trying again.
pub(super) fn met(status: u16, headers: &Headers, now: SystemTime) -> Met {
    let retry_after = headers.get("retry-after").and_then(|line| after(line, now));
    Met::Answer { status, retry_after, says: headers.get(crate::names::header::RETRY).and_then(Says::parse) }
}

/// What a fault says of it.
pub(super) fn failed(fault: &Fault) -> Met {
    let (title, detail) = (fault.kind.title(), &fault.detail);
    // Where the cause begins with the same words, once is enough.
    let says = detail.get(..title.len()).is_some_and(|start| start.eq_ignore_ascii_case(title));
    let why = if says { detail.clone().into_owned() } else { format!("{title}: {detail}") };
    match fault.kind {
        FaultKind::NotReady | FaultKind::CircuitOpen | FaultKind::Unreachable | FaultKind::Overloaded => {
            Met::Nobody(why)
        }
        FaultKind::Broken | FaultKind::Timeout if fault.retry == Retry::Safe => Met::Nobody(why),
        FaultKind::Broken | FaultKind::Timeout | FaultKind::BadAnswer | FaultKind::ClientGone => Met::Silence(why),
        // It may lead somewhere with the next configuration.
        FaultKind::NoRoute | FaultKind::NotConfigured => Met::Nobody(why),
        _ => Met::Hopeless(why),
    }
}

/// A number of seconds, or a date (RFC 9110, 10.2.3).
fn after(line: &str, now: SystemTime) -> Option<Duration> {
    let line = line.trim();
    if let Ok(seconds) = line.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let stamp = jiff::fmt::rfc2822::parse(line).ok()?.timestamp();
    SystemTime::from(stamp).duration_since(now).ok()
}

/// What comes of it.
pub(super) fn ending(delivery: &Delivery, met: Met, attempt: u32, created: i64) -> Ending {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let age = u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(u64::try_from(created).unwrap_or(0));
    decide(&delivery.retry, met, attempt, Duration::from_millis(age), delivery.at_most_once, fastrand::f64())
}

/// When an answer must have ended that nobody but us waits for.
pub(super) fn patience(told: &Told) -> Instant {
    let timeouts = &told.road.timeouts;
    Instant::now() + timeouts.whole.unwrap_or(timeouts.answer)
}

/// Lines of an answer that say what its body is, and where to go on.
pub(super) fn kept_lines(headers: &Headers) -> Vec<(String, String)> {
    let wanted = ["content-type", "content-encoding", "content-language", "location", "etag", word::FRAMES];
    let line = |name: &str| Some((name.to_owned(), headers.get(name)?.to_owned()));
    wanted.into_iter().filter_map(line).collect()
}

/// Reads an answer for the store. What is longer than is kept is read to its end, so that the worker can finish.
pub(super) async fn keep(told: &mut Told, sent: Sent) -> Result<Kept, BodyError> {
    let Begun { head, body, in_flight } = answer::begin(told, sent);
    let gathered = answer::collect(answer::Out::Received(body), KEPT_MAX).await?;
    let lines = kept_lines(&head.headers);
    let kept = match gathered {
        Gathered::All(body) => Kept { lines, body, cut: false },
        Gathered::More(rest) => {
            let (first, all) = answer::drain(rest, KEPT_MAX).await?;
            told.ex.bytes_out = all;
            Kept { lines, body: first, cut: true }
        }
    };
    told.ex.bytes_out = told.ex.bytes_out.max(kept.body.len() as u64);
    drop(in_flight);
    Ok(kept)
}

/// How long the service had it.
pub(super) fn took(ex: &Exchange) -> Duration {
    let timings = &ex.timings;
    let end = timings.answered.unwrap_or_else(Instant::now);
    timings.sent.map_or(Duration::ZERO, |sent| end.saturating_duration_since(sent))
}

//! A read that has no answer yet is asked of a second instance, too; the first good answer is taken.

use super::Sent;
use super::attempt::{self, Failed, Going};
use crate::exchange::{Body, Early, Head, Tell};
use crate::upstream::{Choice, Cluster, Endpoint, InFlight, Pick};
use http::Method;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Whether it only reads (RFC 9110, 9.2.1).
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

type Outcome = (Rc<Endpoint>, Result<Sent, Failed>);

/// Sends once, or twice if the first takes longer than `after`. The command has no body.
pub(super) async fn once(
    cluster: &Cluster,
    choice: &Choice,
    (endpoint, in_flight): (Rc<Endpoint>, InFlight),
    head: &Head,
    going: Going<'_>,
    after: Duration,
    tell: &dyn Tell,
) -> Outcome {
    let mut body = Body::Empty;
    let mut first = pin!(attempt::once(&endpoint, in_flight, head, &mut body, &going));
    if let Ok(result) = tokio::time::timeout(after, first.as_mut()).await {
        return (endpoint.clone(), result);
    }
    let now = Instant::now();
    let other = match cluster.pick(now, choice, std::slice::from_ref(&endpoint)) {
        Pick::One(other) if cluster.queue().is_empty() => other,
        _ => return (endpoint.clone(), first.await),
    };
    let Some(in_flight) = other.enter(cluster.most()) else {
        return (endpoint.clone(), first.await);
    };
    if !cluster.budget.spend() {
        tell.retry_skipped("budget");
        drop(in_flight);
        return (endpoint.clone(), first.await);
    }
    tell.retried("hedge");
    let (mut body, early) = (Body::Empty, Early::default());
    let going = Going { early: &early, now, ..going };
    let mut second = pin!(attempt::once(&other, in_flight, head, &mut body, &going));
    // A bad result waits for the other's, which may be better.
    let mut bad: Option<(bool, Result<Sent, Failed>)> = None;
    let (won, result) = poll_fn(|cx| {
        let is_done = |of: bool, bad: &Option<(bool, _)>| bad.as_ref().is_some_and(|(which, _)| *which == of);
        for of in [false, true] {
            if is_done(of, &bad) {
                continue;
            }
            let polled = if of { second.as_mut().poll(cx) } else { first.as_mut().poll(cx) };
            if let Poll::Ready(result) = polled {
                if bad.is_some() || is_good(&result) {
                    return Poll::Ready((of, result));
                }
                bad = Some((of, result));
            }
        }
        Poll::Pending
    })
    .await;
    // Who lost took at least this long.
    let took = Instant::now();
    if won && bad.is_none() {
        endpoint.slower_than(took.saturating_duration_since(now).saturating_add(after), took);
    }
    // Both are bad: the one that tells more is an answer.
    let (won, result) = match (bad, result) {
        (Some((first, Ok(sent))), Err(_)) => (first, Ok(sent)),
        (_, result) => (won, result),
    };
    (if won { other.clone() } else { endpoint.clone() }, result)
}

fn is_good(result: &Result<Sent, Failed>) -> bool {
    result.as_ref().is_ok_and(|sent| sent.status < 500)
}

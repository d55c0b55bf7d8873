//! A command that is sent at once and may end in the store: because its caller's patience ends, because it fails, or
//! because it must be done once only.

use super::accept::{self, Stored};
use super::attempt::{self, failed, met};
use super::{Plan, Wish};
use crate::exchange::{Answer, Body, Fault, FaultKind, Part};
use crate::pipeline::answer;
use crate::pipeline::gated;
use crate::pipeline::lane::Lane;
use crate::pipeline::refuse;
use crate::pipeline::told::Told;
use crate::route::Way;
use crate::spool::retry::{Met, is_failure};
use crate::spool::{Accepted, Ending, Kept, New, Spool, State};
use crate::upstream::Sent;
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Ends the attempt when its caller leaves, unless it is stored.
struct Going {
    task: JoinHandle<()>,
    stays: Rc<Cell<bool>>,
}

impl Drop for Going {
    fn drop(&mut self) {
        if !self.stays.get() {
            self.task.abort();
        }
    }
}

/// An exchange that is told only if it is asked for.
struct Spare(Option<Told>);

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told.forget();
        }
    }
}

/// Its place in the store, if it is there.
#[derive(Clone)]
struct Place {
    seq: i64,
    token: String,
}

/// Sends it, with the store behind it.
pub(super) async fn run(lane: Rc<Lane>, told: Told, way: Way, spool: Spool, plan: Plan, body: Bytes) -> Answer {
    let new = accept::new(&told, &spool, &plan, &body);
    // Known by its id before it is sent, it is sent once.
    let mut place = None;
    if plan.first {
        let mut first = New { state: State::Running, attempt: 1, ..new.clone() };
        // Only what may be sent again needs its request.
        first.told.came.once = plan.wish == Wish::Now && !plan.save;
        match spool.accept(first).await {
            Ok(Accepted::New { seq, token, .. }) => place = Some(Place { seq, token }),
            Ok(Accepted::Same { state, status, answer, token, .. }) => {
                return same(told, &plan, state, status, answer, token);
            }
            Err(refused) => return accept::refuse_it(told, refused),
        }
    }
    let mut spare = Spare(Some(told.same_again()));
    let stays = Rc::new(Cell::new(place.is_some()));
    let (result, has_result) = oneshot::channel();
    let task = {
        let (lane, way) = (lane.clone(), way.clone());
        let store = Store { spool: spool.clone(), delivery: plan.delivery.clone(), created: new.created };
        let place = Rc::new(std::cell::RefCell::new(place.clone()));
        let shared = place.clone();
        let task = tokio::task::spawn_local(async move {
            let mut told = told;
            let sent = attempt::once(&lane, &mut told, &way, body).await;
            if let Err((told, sent)) = result.send((told, sent)) {
                // Nobody waits any more.
                let place = shared.borrow().clone();
                store.end(told, sent, place).await;
            }
        });
        (Going { task, stays: stays.clone() }, place)
    };
    let (going, shared) = task;
    let wait = match plan.wish {
        Wish::Wait(wait) => wait,
        _ => Duration::MAX,
    };
    let mut has_result = has_result;
    let got = match wait {
        Duration::MAX => Some((&mut has_result).await),
        wait => tokio::time::timeout(wait, &mut has_result).await.ok(),
    };
    let got = match got {
        Some(got) => got,
        None => {
            // Its caller's patience is over: it goes on from the store.
            let running = New { state: State::Running, attempt: 1, ..new.clone() };
            let stored = match &place {
                Some(place) => Ok(place.clone()),
                None => match spool.accept(running).await {
                    Ok(Accepted::New { seq, token, .. } | Accepted::Same { seq, token, .. }) => {
                        Ok(Place { seq, token })
                    }
                    Err(refused) => Err(refused),
                },
            };
            match stored {
                Ok(place) => {
                    stays.set(true);
                    *shared.borrow_mut() = Some(place.clone());
                    // It may have been answered while it was stored.
                    if let Ok((told, sent)) = has_result.try_recv() {
                        let store =
                            Store { spool: spool.clone(), delivery: plan.delivery.clone(), created: new.created };
                        let place = Some(place.clone());
                        tokio::task::spawn_local(async move { store.end(told, sent, place).await });
                    }
                    drop(has_result);
                    let Some(told) = spare.0.take() else { return gone() };
                    let stored = Stored {
                        token: place.token,
                        state: State::Running,
                        due: None,
                        replayed: false,
                        preferred: plan.preferred,
                    };
                    return accept::taken(told, &stored);
                }
                // It cannot be stored, so its caller has to wait.
                Err(_) => has_result.await,
            }
        }
    };
    drop(going);
    let Ok((told, sent)) = got else { return gone() };
    answered(told, sent, spool, &plan, new, place).await
}

/// The attempt's task has died, which only a bug does.
fn gone() -> Answer {
    crate::codec::problem::answer(&Fault::new(FaultKind::Internal, "the attempt ended without a word"), None)
}

/// A command that was there before, under the same id.
fn same(told: Told, plan: &Plan, state: State, status: u16, kept: Kept, token: String) -> Answer {
    if state.is_final() && status > 0 && !kept.cut {
        return accept::replay(told, status, kept);
    }
    if let Wish::Wait(_) = plan.wish {
        let (due, preferred) = (None, plan.preferred);
        return accept::taken(told, &Stored { token, state, due, replayed: true, preferred });
    }
    if !state.is_final() {
        return accept::in_progress(told);
    }
    let detail = "it has been done, and its answer was too large to be kept";
    refuse::refuse(told, Fault::new(FaultKind::InProgress, detail), Body::Empty)
}

/// The worker has answered, or will not, while the caller waits.
async fn answered(
    mut told: Told,
    sent: Result<Sent, Fault>,
    spool: Spool,
    plan: &Plan,
    new: New,
    place: Option<Place>,
) -> Answer {
    let retry = &plan.delivery.retry;
    let now = SystemTime::now();
    let what = match &sent {
        Ok(sent) => met(sent.status, &sent.headers, now),
        Err(fault) => failed(fault),
    };
    let fails = match &what {
        Met::Answer { status, says, .. } => is_failure(retry, *status, *says),
        Met::Nobody(_) => true,
        // It may have been done: only what may run twice is sent again without a word of its caller's.
        Met::Silence(_) => told.ex.command.id_given || told.ex.request.method.is_idempotent(),
        Met::Hopeless(_) => false,
    };
    if plan.save && fails {
        let ending = attempt::ending(&plan.delivery, what.clone(), 1, new.created);
        let (error, status) = why(&what);
        let label = told.ex.upstream.clone().unwrap_or_else(|| told.road.none.clone());
        told.ex.attempt_failed(&label, Instant::now(), FaultKind::GivenUp, error.clone());
        let stored = match (&place, ending) {
            (Some(place), ending @ (Ending::Again { .. } | Ending::Nobody { .. })) => {
                spool.finish(place.seq, ending, attempt::took(&told.ex)).await;
                Ok(Some(place.token.clone()))
            }
            (None, Ending::Again { after, .. }) => {
                let due = super::millis(now + after);
                let new = New { state: State::Retrying, attempt: 1, due, error: Some(error), status, ..new };
                token(spool.accept(new).await)
            }
            (None, Ending::Nobody { .. }) => {
                let new = New { state: State::Ready, error: Some(error), due: super::millis(now), ..new };
                token(spool.accept(new).await)
            }
            (Some(place), _) => {
                spool.finish(place.seq, Ending::Forget, Duration::ZERO).await;
                Ok(None)
            }
            (None, _) => Ok(None),
        };
        match stored {
            Ok(Some(token)) => {
                drop(sent);
                let state = State::Retrying;
                let stored = Stored { token, state, due: None, replayed: false, preferred: plan.preferred };
                return accept::taken(told, &stored);
            }
            Ok(None) => {}
            Err(refused) => tracing::debug!("a failed command is not stored: {refused:?}"),
        }
    } else if plan.save
        && place.is_none()
        && let Met::Silence(error) = &what
    {
        // Written and unanswered: it may have been done. It is kept for somebody to decide, and not sent again.
        let new = New { state: State::Unknown, attempt: 1, error: Some(error.clone()), ..new };
        if spool.accept(new).await.is_ok() {
            told.ex.outcome = Some(crate::exchange::Outcome::Unknown);
            told.ex.added.set(crate::names::header::STATE, State::Unknown.as_str());
        }
    }
    match (sent, place) {
        (Ok(sent), None) => pass(told, sent).await,
        (Ok(sent), Some(place)) => remember(told, sent, &spool, plan, place).await,
        (Err(fault), place) => {
            if let Some(place) = place {
                let ending = match what {
                    Met::Silence(error) if plan.delivery.at_most_once => {
                        let (state, error) = (State::Unknown, Some(error));
                        Ending::Final { state, status: 0, error, answer: Kept::default() }
                    }
                    _ => Ending::Forget,
                };
                spool.finish(place.seq, ending, Duration::ZERO).await;
            }
            refuse::refuse(told, fault, Body::Empty)
        }
    }
}

fn token(accepted: Result<Accepted, crate::spool::Refused>) -> Result<Option<String>, crate::spool::Refused> {
    accepted.map(|accepted| match accepted {
        Accepted::New { token, .. } | Accepted::Same { token, .. } => Some(token),
    })
}

/// Why it failed, and what was answered.
fn why(met: &Met) -> (String, u16) {
    match met {
        Met::Answer { status, .. } => (format!("the worker answered {status}"), *status),
        Met::Nobody(why) | Met::Silence(why) | Met::Hopeless(why) => (why.clone(), 0),
    }
}

/// The worker's answer as any other.
async fn pass(told: Told, sent: Sent) -> Answer {
    match told.routed.clone().filter(|r| r.gate.line.looks_at_answers()) {
        Some(routed) => gated::answer(told, routed, sent).await,
        None => answer::answer(told, sent),
    }
}

/// The worker's answer, which is given again to whoever sends the same once more. It is on disk before it is given.
async fn remember(mut told: Told, sent: Sent, spool: &Spool, plan: &Plan, place: Place) -> Answer {
    let status = sent.status;
    let again = is_failure(&plan.delivery.retry, status, None) || status >= 500;
    if again {
        spool.finish(place.seq, Ending::Forget, Duration::ZERO).await;
        return pass(told, sent).await;
    }
    let took = attempt::took(&told.ex);
    let begun = answer::begin(&mut told, sent);
    let gathered = answer::collect(answer::Out::Received(begun.body), attempt::KEPT_MAX).await;
    let media = begun.head.headers.get("content-type").unwrap_or_default().to_owned();
    let (kept, out) = match gathered {
        Ok(answer::Gathered::All(body)) => {
            (Kept { media, body: body.clone(), cut: false }, answer::Out::Own(Body::from(body)))
        }
        Ok(answer::Gathered::More(rest)) => (Kept { media, body: Bytes::new(), cut: true }, rest),
        Err(e) => {
            spool.finish(place.seq, Ending::Forget, Duration::ZERO).await;
            let fault = Fault::new(FaultKind::Broken, format!("the answer broke off: {e}"));
            return refuse::refuse(told, fault, Body::Empty);
        }
    };
    let state = if status < 400 { State::Succeeded } else { State::Dead };
    let error = (status >= 400).then(|| format!("the worker answered {status}"));
    spool.finish(place.seq, Ending::Final { state, status, error, answer: kept }, took).await;
    let mut head = begun.head;
    if let answer::Out::Own(body) = &out {
        use http_body::Body as _;
        let length = body.size_hint().exact().unwrap_or(0);
        if !matches!(status, 204 | 304) && told.ex.request.method != http::Method::HEAD {
            head.headers.set("content-length", itoa::Buffer::new().format(length));
        }
    }
    answer::end(told, head, out, Some(begun.in_flight))
}

/// Where an attempt ends whose caller has been answered, or has left.
struct Store {
    spool: Spool,
    delivery: std::sync::Arc<crate::exchange::Delivery>,
    created: i64,
}

impl Store {
    async fn end(self, mut told: Told, sent: Result<Sent, Fault>, place: Option<Place>) {
        let Some(place) = place else { return };
        told.ex.part = Part::Attempt;
        super::pump::end(told, sent, &self.spool, &self.delivery, place.seq, 1, self.created).await;
    }
}

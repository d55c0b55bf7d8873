//! A command that is sent at once and may end in the store: because its caller's patience ends, because it fails, or
//! because it must be done once only.
//!
//! All of it runs in a task of its own: from the moment that it is in the store, its caller may leave, and it goes on.

use super::accept::{self, Stored};
use super::attempt::{self, failed, met};
use super::{Plan, Wish};
use crate::exchange::deadline::until;
use crate::exchange::{Answer, Body, BodyError, Fault, FaultKind, Outcome, Part};
use crate::pipeline::answer;
use crate::pipeline::gated::{self, Held};
use crate::pipeline::lane::Lane;
use crate::pipeline::refuse;
use crate::pipeline::told::Told;
use crate::route::Way;
use crate::spool::retry::{Met, Says, is_failure};
use crate::spool::{Accepted, Ending, Kept, New, Refused, Spool, State};
use crate::upstream::Sent;
use bytes::Bytes;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// When one that nobody had is looked at again.
const AWAY: Duration = Duration::from_millis(50);

/// Ends the task when its caller leaves, unless the command is in the store or on its way there.
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

/// Its place in the store.
#[derive(Clone)]
struct Place {
    seq: i64,
    token: String,
}

/// Sends it, with the store behind it.
pub(super) async fn run(
    lane: Rc<Lane>,
    told: Told,
    way: Way,
    spool: Spool,
    plan: Plan,
    (body, held): (Bytes, Held),
) -> Answer {
    let stays = Rc::new(Cell::new(false));
    let (give, answer) = oneshot::channel();
    let work = Work { lane, way, spool, plan, stays: stays.clone(), give: Some(give), _held: held };
    let _going = Going { task: tokio::task::spawn_local(work.all(told, body)), stays };
    answer.await.unwrap_or_else(|_| {
        // The task has died, which only a bug does.
        crate::codec::problem::answer(&Fault::new(FaultKind::Internal, "the attempt ended without a word"), None)
    })
}

/// The work of one command.
struct Work {
    lane: Rc<Lane>,
    way: Way,
    spool: Spool,
    plan: Plan,
    stays: Rc<Cell<bool>>,
    give: Option<oneshot::Sender<Answer>>,
    _held: Held,
}

/// How an attempt ended.
type Went = Result<Sent, Fault>;

impl Work {
    /// Answers its caller, if that is still there.
    fn answer(&mut self, answer: Answer) {
        if let Some(give) = self.give.take() {
            let _ = give.send(answer);
        }
    }

    async fn all(mut self, mut told: Told, body: Bytes) {
        let new = accept::new(&told, &self.spool, &self.plan, &body);
        // Known by its id before it is sent, it is sent once; known by its key, after those that came before it.
        let mut place = None;
        let waits = matches!(self.plan.wish, Wish::Wait(_));
        if self.plan.first {
            let mut first = New { state: State::Running, attempt: 1, in_turn: waits, ..new.clone() };
            // Only what may be sent again needs its request.
            first.told.came.once = self.plan.wish == Wish::Now && !self.plan.save;
            self.stays.set(true);
            match self.spool.accept(first).await {
                Ok(Accepted::New { token, state, .. }) if state.waits() => {
                    told.ex.bytes_in = body.len() as u64;
                    let (due, preferred) = (None, self.plan.preferred);
                    let stored = Stored { token, state, due, replayed: false, preferred };
                    return self.answer(accept::taken(told, &stored));
                }
                Ok(Accepted::New { seq, token, .. }) => place = Some(Place { seq, token }),
                Ok(Accepted::Same { state, status, answer, token, .. }) => {
                    let answer = same(told, &self.plan, (state, status), answer, token);
                    return self.answer(answer);
                }
                Err(refused) => {
                    let answer = accept::refuse_it(told, refused);
                    return self.answer(answer);
                }
            }
        }
        told.ex.delivery = Some(self.plan.delivery.clone());
        if self.plan.first || waits {
            // Whoever is given what is kept of its answer may not understand it otherwise.
            told.ex.request.headers.remove("accept-encoding");
        }
        let Wish::Wait(wait) = self.plan.wish else {
            let sent = attempt::once(&self.lane, &mut told, &self.way, body).await;
            return self.answered(told, sent, new, place).await;
        };
        let mut spare = Spare(Some(told.same_again()));
        let (lane, way, spool) = (self.lane.clone(), self.way.clone(), self.spool.clone());
        let mut late = None;
        let sent = {
            let mut sending = pin!(attempt::once(&lane, &mut told, &way, body));
            match tokio::time::timeout(wait, &mut sending).await {
                Ok(sent) => sent,
                // Its caller's patience is over: it goes on from the store.
                Err(_) => {
                    self.stays.set(true);
                    let mut storing = pin!(store(&spool, &new, place.clone()));
                    let (mut sent, mut stored) = (None, None);
                    while stored.is_none() {
                        tokio::select! {
                            done = &mut storing => stored = Some(done),
                            done = &mut sending, if sent.is_none() => sent = Some(done),
                        }
                    }
                    if let Some(Ok(stored)) = stored {
                        // Answered while it was stored, it is answered after all.
                        if sent.is_none()
                            && let Some(told) = spare.0.take()
                        {
                            let token = stored.token.clone();
                            let (state, preferred) = (State::Running, self.plan.preferred);
                            let said = Stored { token, state, due: None, replayed: false, preferred };
                            self.answer(accept::taken(told, &said));
                            late = Some(stored.clone());
                        }
                        place = Some(stored);
                    }
                    match sent {
                        Some(sent) => sent,
                        // Where it cannot be stored, its caller has to wait.
                        None => sending.await,
                    }
                }
            }
        };
        match late {
            Some(place) => {
                told.ex.part = Part::Attempt;
                super::pump::end(told, sent, &spool, &self.plan.delivery, (place.seq, 1), new.created).await;
            }
            None => self.answered(told, sent, new, place).await,
        }
    }

    /// The worker has answered, or will not, while the caller waits.
    async fn answered(mut self, mut told: Told, sent: Went, new: New, place: Option<Place>) {
        let delivery = self.plan.delivery.clone();
        let now = SystemTime::now();
        let what = match &sent {
            Ok(sent) => met(sent.status, &sent.headers, now),
            Err(fault) => failed(fault),
        };
        let fails = match &what {
            Met::Answer { status, says, .. } => is_failure(&delivery.retry, *status, *says),
            Met::Nobody(_) => true,
            // It may have been done: only what may run twice is sent again without a word of its caller's.
            Met::Silence(_) => told.ex.command.id_given || told.ex.request.method.is_idempotent(),
            Met::Hopeless(_) => false,
        };
        let (error, status) = why(&what);
        let silent = matches!(what, Met::Silence(_));
        let ending = attempt::ending(&delivery, what, 1, new.created);
        if self.plan.save && fails && matches!(ending, Ending::Again { .. } | Ending::Nobody { .. }) {
            self.stays.set(true);
            match self.save(&told, &new, place.as_ref(), ending, (error.clone(), status)).await {
                Ok((token, state)) => {
                    let label = told.ex.upstream.clone().unwrap_or_else(|| told.road.none.clone());
                    told.ex.attempt_failed(&label, Instant::now(), FaultKind::GivenUp, error);
                    drop(sent);
                    let preferred = self.plan.preferred;
                    let answer = accept::taken(told, &Stored { token, state, due: None, replayed: false, preferred });
                    return self.answer(answer);
                }
                Err(refused) => tracing::debug!("a failed command is not stored: {refused:?}"),
            }
        } else if self.plan.save && place.is_none() && silent {
            // Written and unanswered: it may have been done. It is kept for somebody to decide, and not sent again.
            self.stays.set(true);
            let new = New { state: State::Unknown, attempt: 1, error: Some(error.clone()), ..new };
            if self.spool.accept(new).await.is_ok() {
                told.ex.outcome = Some(Outcome::Unknown);
                told.ex.added.set(crate::names::header::STATE, State::Unknown.as_str());
            }
        }
        let answer = match (sent, place) {
            (Ok(sent), None) => pass(told, sent).await,
            (Ok(sent), Some(place)) => self.remember(told, sent, place).await,
            (Err(fault), place) => {
                if let Some(place) = place {
                    let ending = if silent { self.had(0, error) } else { Ending::Forget };
                    self.spool.finish(place.seq, ending, Duration::ZERO).await;
                }
                refuse::refuse(told, fault, Body::Empty)
            }
        };
        self.answer(answer);
    }

    /// Puts a command that failed into the store, or lets it stay there; returns what its caller may ask with, and how
    /// it is there.
    async fn save(
        &self,
        told: &Told,
        new: &New,
        place: Option<&Place>,
        ending: Ending,
        (error, status): (String, u16),
    ) -> Result<(String, State), Refused> {
        if let Some(place) = place {
            // What nobody had was no attempt.
            let state = if matches!(ending, Ending::Nobody { .. }) { State::Ready } else { State::Retrying };
            self.spool.finish(place.seq, ending, attempt::took(&told.ex)).await;
            return Ok((place.token.clone(), state));
        }
        let now = SystemTime::now();
        let new = match ending {
            Ending::Again { after, .. } => {
                let due = super::millis(now + after);
                New { state: State::Retrying, attempt: 1, due, error: Some(error), status, ..new.clone() }
            }
            // Nobody was there a moment ago.
            _ => New { state: State::Ready, error: Some(error), due: super::millis(now + AWAY), ..new.clone() },
        };
        self.spool.accept(new).await.map(|accepted| match accepted {
            Accepted::New { token, state, .. } | Accepted::Same { token, state, .. } => (token, state),
        })
    }

    /// The worker had it and did not do it well: its id may be used again, unless it must not run twice.
    fn had(&self, status: u16, error: String) -> Ending {
        match self.plan.delivery.at_most_once {
            true => Ending::Final { state: State::Unknown, status, error: Some(error), answer: Kept::default() },
            false => Ending::Forget,
        }
    }

    /// The worker's answer, which is given again to whoever sends the same once more. It is on disk before it is given.
    async fn remember(&self, mut told: Told, sent: Sent, place: Place) -> Answer {
        let status = sent.status;
        if is_failure(&self.plan.delivery.retry, status, None) || status >= 500 {
            let says = sent.headers.get(crate::names::header::RETRY).and_then(Says::parse);
            let ending = match is_refusal(status, says) {
                true => Ending::Forget,
                false => self.had(status, format!("the worker answered {status}")),
            };
            self.spool.finish(place.seq, ending, Duration::ZERO).await;
            return pass(told, sent).await;
        }
        let took = attempt::took(&told.ex);
        let answer::Begun { mut head, body, in_flight } = answer::begin(&mut told, sent);
        let lines = attempt::kept_lines(&head.headers);
        let by = attempt::patience(&told);
        let gathered = until(by, async {
            let kept = |body, cut| Kept { lines, body, cut };
            match answer::collect(answer::Out::Received(body), attempt::KEPT_MAX).await? {
                answer::Gathered::All(body) => Ok((kept(body.clone(), false), answer::Out::Own(Body::from(body)))),
                answer::Gathered::More(rest) => {
                    let (first, whole) = answer::first(rest, attempt::KEPT_MAX).await?;
                    Ok::<_, BodyError>((kept(first, true), whole))
                }
            }
        });
        let (kept, out) = match gathered.await {
            Ok(Ok(both)) => both,
            broken => {
                let fault = match broken {
                    Ok(Err(e)) => Fault::new(FaultKind::Broken, format!("the answer broke off: {e}")),
                    _ => Fault::new(FaultKind::Timeout, "the answer did not end in time"),
                };
                let ending = self.had(0, fault.detail.clone().into_owned());
                self.spool.finish(place.seq, ending, Duration::ZERO).await;
                return refuse::refuse(told, fault, Body::Empty);
            }
        };
        let state = if status < 400 { State::Succeeded } else { State::Dead };
        let error = (status >= 400).then(|| format!("the worker answered {status}"));
        // Without an id nobody can ask for it again: it was there for its key.
        let ending = match told.ex.command.id_given {
            true => Ending::Final { state, status, error, answer: kept },
            false => Ending::Forget,
        };
        self.spool.finish(place.seq, ending, took).await;
        if let answer::Out::Own(body) = &out {
            use http_body::Body as _;
            let length = body.size_hint().exact().unwrap_or(0);
            if !matches!(status, 204 | 304) && told.ex.request.method != http::Method::HEAD {
                head.headers.set("content-length", itoa::Buffer::new().format(length));
            }
        }
        match told.routed.clone().filter(|r| r.gate.line.looks_at_answers()) {
            Some(routed) => gated::through(told, routed, head, out, in_flight).await,
            None => answer::end(told, head, out, Some(in_flight)),
        }
    }
}

/// Whether a worker says by its answer that it has not done it.
fn is_refusal(status: u16, says: Option<Says>) -> bool {
    matches!(says, Some(Says::After(_))) || matches!(status, 400..500 | 503)
}

/// Stores a command that is being sent; one that is there already is promised from now on.
async fn store(spool: &Spool, new: &New, place: Option<Place>) -> Result<Place, Refused> {
    if let Some(place) = place {
        spool.promise(place.seq).await?;
        return Ok(place);
    }
    let running = New { state: State::Running, attempt: 1, promised: true, ..new.clone() };
    spool.accept(running).await.map(|accepted| match accepted {
        Accepted::New { seq, token, .. } | Accepted::Same { seq, token, .. } => Place { seq, token },
    })
}

/// A command that was there before, under the same id.
fn same(told: Told, plan: &Plan, (state, status): (State, u16), kept: Kept, token: String) -> Answer {
    if state.is_final() && status > 0 && !kept.cut {
        return accept::replay(told, status, kept);
    }
    // One that may still be forgotten is not found at all: this one was answered 202, and so it is again.
    if !state.is_final() || matches!(plan.wish, Wish::Wait(_)) {
        let (due, preferred) = (None, plan.preferred);
        return accept::taken(told, &Stored { token, state, due, replayed: true, preferred });
    }
    let detail = "it has been done, and its answer was too large to be kept whole and given again";
    refuse::refuse(told, Fault::new(FaultKind::InProgress, detail), Body::Empty)
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

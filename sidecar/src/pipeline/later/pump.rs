//! Stored commands leave for their instances: what is due is taken, sent, and its end written down.

use super::attempt::{self, failed, keep, met};
use crate::codec::server::Life;
use crate::command::trace;
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Delivery, Direction, Exchange, Fault, FaultKind, Head, Outcome, Part, Protocol, Trace};
use crate::pipeline::lane::{Door, Lane};
use crate::pipeline::road::Road;
use crate::pipeline::told::Told;
use crate::spool::retry::Met;
use crate::spool::{Ended, Ending, Job, Kept, Spool, State, Told as Known, Work};
use crate::upstream::Sent;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// Stored commands that a thread sends at once, of all services.
const AT_ONCE: usize = 256;

/// How long one waits whose route is gone, before it is looked for again.
const GONE: Duration = Duration::from_secs(5);

/// After so long an answer that has begun is no reason any more to let others of its service wait.
const LONG: Duration = Duration::from_millis(500);

/// What a thread has in its hands.
#[derive(Default)]
struct Hands {
    count: Cell<usize>,
    freed: Notify,
}

struct Hand(Rc<Hands>);

impl Hand {
    fn take(hands: &Rc<Hands>) -> Hand {
        hands.count.set(hands.count.get() + 1);
        Hand(hands.clone())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.freed.notify_one();
    }
}

/// Sends what is due until the spool closes; returns when what was begun has ended.
pub async fn pump(lane: Rc<Lane>, spool: Spool) {
    let hands = Rc::<Hands>::default();
    loop {
        let free = AT_ONCE.saturating_sub(hands.count.get());
        if free == 0 {
            hands.freed.notified().await;
            continue;
        }
        // Asked again when hands become free meanwhile would be asked twice: one question at a time is enough, since
        // it is answered as soon as anything is due.
        let Some(all) = spool.claim(free).await else { break };
        for work in all {
            match work {
                Work::Over(ended) => over(&lane, *ended),
                Work::Run(job) => {
                    let (lane, spool, hand) = (lane.clone(), spool.clone(), Hand::take(&hands));
                    tokio::task::spawn_local(async move {
                        one(lane, spool, *job).await;
                        drop(hand);
                    });
                }
            }
        }
    }
    while hands.count.get() > 0 {
        hands.freed.notified().await;
    }
}

fn protocol(word: &str) -> Protocol {
    Protocol::ALL.into_iter().find(|p| p.as_str() == word).unwrap_or(Protocol::Http11)
}

fn direction(word: &str) -> Direction {
    if word == Direction::Outbound.as_str() { Direction::Outbound } else { Direction::Inbound }
}

/// The head as it was stored; none if nobody can read it.
fn head(job: &Job) -> Option<Head> {
    let (method, target) = job.request.first()?;
    let mut head = Head::default();
    head.method = method.parse().ok()?;
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    head.set_target(path, query);
    head.authority.clone_from(&job.told.came.authority);
    for (name, value) in job.request.lines() {
        head.headers.add(name, value);
    }
    if !job.request.body.is_empty() || head.headers.contains("content-length") {
        head.headers.set("content-length", itoa::Buffer::new().format(job.request.body.len()));
    }
    Some(head)
}

/// Gives an exchange what was known of its command.
fn recall(ex: &mut Exchange, known: &Known) {
    let came = &known.came;
    ex.peer = came.peer;
    ex.client = came.client;
    ex.local = came.local;
    ex.secure = came.secure;
    ex.trusted = came.trusted;
    ex.service = known.service.as_str().into();
    ex.route = known.route.as_str().into();
    ex.consumer = known.consumer.as_deref().map(Into::into);
    ex.path_instead.clone_from(&came.path);
    ex.host_instead.clone_from(&came.host);
    ex.command.name = known.name.as_str().into();
    ex.command.id.clone_from(&known.id);
    ex.command.id_given = came.id_given;
    ex.command.parent.clone_from(&came.parent);
    ex.command.key.clone_from(&known.key);
    ex.command.tags = known.tags.iter().map(|(k, v)| (Arc::from(k.as_str()), v.clone())).collect();
    // The span under which it was accepted is the parent.
    ex.trace = trace::of_text(&came.trace).map_or_else(Trace::default, trace::proceed);
    if ex.trace.trace_id == 0 {
        ex.trace = trace::begin(trace::Sampler::default());
    }
}

/// One attempt.
async fn one(lane: Rc<Lane>, spool: Spool, job: Job) {
    let road = lane.road();
    let Job { seq, told: known, attempt, created, .. } = &job;
    let (seq, attempt, created) = (*seq, *attempt, *created);
    let direction = direction(&known.direction);
    let Some(head) = head(&job) else {
        let error = Some("its head cannot be read".to_owned());
        let ending = Ending::Final { state: State::Dead, status: 0, error: error.clone(), answer: Kept::default() };
        spool.finish(seq, ending, Duration::ZERO).await;
        over(&lane, Ended { told: job.told, state: State::Dead, attempt, created, error });
        return;
    };
    let came = &known.came;
    let door = Rc::new(Door {
        direction,
        local: came.local,
        peer: came.peer,
        trusted: came.trusted,
        secure: came.secure,
        session: None,
        sni: None,
        identity: None,
        names: None,
        life: Life::new(),
        _present: Box::new(()),
    });
    let protocol = protocol(&came.protocol);
    let mut taken = match road.way_back(&lane, &door, (known, &head, protocol)) {
        Ok(taken) => taken,
        Err(error) => {
            // Held and shown: the next configuration may have it again.
            spool.finish(seq, Ending::Held { error, after: GONE }, Duration::ZERO).await;
            return;
        }
    };
    let mut told = Told::new(&lane, &road, &door, head, protocol, Some(&mut taken));
    recall(&mut told.ex, known);
    told.ex.attempt = attempt;
    told.ex.part = Part::Attempt;
    let delivery = taken.way.delivery.clone().unwrap_or_else(|| road.delivery_of(direction).clone());
    // What held when it was taken in holds for it.
    let delivery = match (&known.came.retry, known.came.at_most_once != delivery.at_most_once) {
        (None, false) => delivery,
        (retry, _) => Arc::new(Delivery {
            at_most_once: known.came.at_most_once,
            retry: retry.clone().unwrap_or_else(|| delivery.retry.clone()),
            ..Delivery::clone(&delivery)
        }),
    };
    told.ex.delivery = Some(delivery.clone());
    let sent = attempt::once(&lane, &mut told, &taken.way, job.request.body.clone()).await;
    end(told, sent, &spool, &delivery, (seq, attempt), created).await;
}

/// An attempt has ended: what comes of it is written, and told when it is the last.
pub(super) async fn end(
    mut told: Told,
    sent: Result<Sent, Fault>,
    spool: &Spool,
    delivery: &Delivery,
    (seq, attempt): (i64, u32),
    created: i64,
) {
    let met = match sent {
        Ok(sent) => {
            let (status, met) = (sent.status, met(sent.status, &sent.headers, SystemTime::now()));
            let by = attempt::patience(&told);
            let (well, took) = (status < 500, attempt::took(&told.ex));
            let mut keeping = pin!(until(by, keep(&mut told, sent)));
            let kept = match tokio::time::timeout(LONG, &mut keeping).await {
                Ok(kept) => kept,
                Err(_) => {
                    spool.answering(seq, well, took);
                    keeping.await
                }
            };
            match kept {
                Ok(Ok(kept)) => Ok((status, met, kept)),
                Ok(Err(e)) => Err(Fault::new(FaultKind::Broken, format!("the answer broke off: {e}"))),
                Err(Elapsed) => Err(Fault::new(FaultKind::Timeout, "the answer did not end in time")),
            }
        }
        Err(fault) => Err(fault),
    };
    let took = attempt::took(&told.ex);
    let (met, kept) = match met {
        Ok((status, met, kept)) => {
            told.ex.status = status;
            (met, kept)
        }
        Err(fault) => {
            let met = failed(&fault);
            told.ex.status = fault.kind.status();
            told.ex.fault = Some(fault);
            (met, Kept::default())
        }
    };
    let nobody = matches!(met, Met::Nobody(_));
    let ending = match attempt::ending(delivery, met, attempt, created) {
        Ending::Final { state, status, error, .. } => Ending::Final { state, status, error, answer: kept },
        ending => ending,
    };
    // What nobody had was no attempt, and there may be many such tries.
    if nobody && matches!(ending, Ending::Nobody { .. }) {
        told.forget();
        spool.finish(seq, ending, took).await;
        return;
    }
    let last = match &ending {
        Ending::Final { state, error, .. } => Some((*state, error.clone())),
        _ => None,
    };
    let (lane, road) = (told.lane(), told.road.clone());
    let ex = last.map(|(state, error)| of_end(&told.ex, &road, state, error, created));
    spool.finish(seq, ending, took).await;
    told.finish();
    drop(told);
    if let Some(ex) = ex {
        road.told(&ex, &lane);
    }
}

/// The record of a command's end, out of its last attempt.
fn of_end(last: &Exchange, road: &Road, state: State, error: Option<String>, created: i64) -> Exchange {
    let mut ex = Exchange::begin(&last.identity, last.direction, last.protocol, Head::default(), &road.none);
    ex.peer = last.peer;
    ex.client = last.client;
    ex.local = last.local;
    ex.trusted = last.trusted;
    ex.service = last.service.clone();
    ex.route = last.route.clone();
    ex.consumer = last.consumer.clone();
    ex.via = last.via.clone();
    ex.command = last.command.clone();
    ex.trace = trace::beside(last.trace);
    ex.attempt = last.attempt;
    ex.status = last.status;
    ex.bytes_in = last.bytes_in;
    ex.bytes_out = last.bytes_out;
    ex.upstream = last.upstream.clone();
    finally(&mut ex, (state, error), created, last.timings.upstream());
    ex
}

/// The end of one that nobody sent: expired, cancelled.
fn over(lane: &Rc<Lane>, ended: Ended) {
    let road = lane.road();
    let Ended { told, state, attempt, created, error } = ended;
    let head = Head::default();
    let mut ex =
        Exchange::begin(&road.identity, direction(&told.direction), protocol(&told.came.protocol), head, &road.none);
    recall(&mut ex, &told);
    ex.attempt = attempt.max(1);
    finally(&mut ex, (state, error), created, Duration::ZERO);
    road.told(&ex, lane);
}

fn finally(ex: &mut Exchange, (state, error): (State, Option<String>), created: i64, upstream: Duration) {
    ex.part = Part::Final;
    ex.outcome = Some(match state {
        State::Succeeded => Outcome::Success,
        State::Cancelled => Outcome::Cancelled,
        State::Expired => Outcome::Expired,
        State::Unknown => Outcome::Unknown,
        _ => Outcome::Dead,
    });
    // All of it took as long as its caller waited for its end.
    let age = super::millis(SystemTime::now()).saturating_sub(created);
    let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
    let now = Instant::now();
    ex.timings.start = now.checked_sub(age).unwrap_or(now);
    ex.timings.wall = SystemTime::now().checked_sub(age).unwrap_or_else(SystemTime::now);
    ex.timings.end = Some(now);
    // The time in the spool is nobody's overhead: it was asked for, or it is its worker's.
    ex.timings.sent = Some(ex.timings.start);
    ex.timings.answered = ex.timings.start.checked_add(upstream);
    ex.fault = error.map(|error| Fault::new(FaultKind::GivenUp, error));
}

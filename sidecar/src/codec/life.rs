//! What a connection of a caller tells its keeper, and what the keeper asks of it.

use crate::exchange::Timeouts;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long an HTTP/2 caller has to take its leave.
const GOODBYE: Duration = Duration::from_secs(5);

/// Tells whether the connection has broken, without reading from it.
type Broken = Box<dyn Fn() -> bool>;

/// One caller's connection, as its keeper sees it.
pub struct Life {
    in_flight: Cell<u32>,
    /// HTTP/2: streams count, pings do not.
    multiplexed: Cell<bool>,
    /// It is never closed for being silent or old.
    rests: Cell<bool>,
    /// Nothing is read while an answer is waited for, so a caller that has reset the connection would not be noticed.
    broken: RefCell<Option<Broken>>,
    waiting_for_head: Cell<bool>,
    /// Since when a message has begun and others of its bytes are missing.
    half: Cell<Option<Instant>>,
    /// It waits for memory that others hold.
    starves: Cell<bool>,
    /// Bytes that have left of those that wait to be written, and since when no others did.
    unread: Cell<Option<(u64, Instant)>>,
    /// An answer is being written, though its exchange may have ended.
    writing: Cell<bool>,
    /// It was closed for this.
    late: Cell<Option<&'static str>>,
    since: Cell<Instant>,
    /// When it was accepted, and its own share of the age that it may have.
    born: (Instant, f64),
    end: Cell<End>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// Close behind the next answer: one that rests may have a request on its way.
    Aged,
    /// Finish what runs, then close.
    Graceful,
    /// Close now.
    Now,
}

impl Life {
    /// A connection that has just been accepted.
    pub fn new() -> Rc<Self> {
        Rc::new(Life {
            in_flight: Cell::new(0),
            multiplexed: Cell::new(false),
            rests: Cell::new(false),
            broken: RefCell::default(),
            waiting_for_head: Cell::new(true),
            half: Cell::new(None),
            starves: Cell::new(false),
            unread: Cell::new(None),
            writing: Cell::new(false),
            late: Cell::new(None),
            since: Cell::new(Instant::now()),
            // A tenth sooner or later, so that not all end at once.
            born: (Instant::now(), 0.9 + 0.2 * fastrand::f64()),
            end: Cell::new(End::No),
            waker: RefCell::new(None),
        })
    }

    /// A request's head is complete.
    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.waiting_for_head.set(false);
    }

    /// Its answer is complete or given up.
    pub fn finish(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.since.set(now);
    }

    /// The first bytes of a head have come, and others are missing.
    pub(super) fn head_begun(&self) {
        if !self.waiting_for_head.replace(true) {
            self.since.set(Instant::now());
        }
    }

    /// It carries many requests at once.
    pub(super) fn multiplexes(&self) {
        self.multiplexed.set(true);
    }

    /// Its protocol lets callers rest as long as they like: one that is closed on them may lose what they are just sending.
    pub(super) fn rests(&self) {
        self.rests.set(true);
        self.waiting_for_head.set(false);
    }

    /// Whether a message has begun whose end is missing.
    pub(super) fn half(&self, half: bool) {
        match (half, self.half.get()) {
            (true, None) => self.half.set(Some(Instant::now())),
            (false, Some(_)) => self.half.set(None),
            _ => {}
        }
    }

    /// It is to be polled again soon, when others may have given back what it needs.
    pub(super) fn starves(&self) {
        self.starves.set(true);
    }

    /// How many bytes have left so far, while others wait to be written; none when all have.
    pub(super) fn unread(&self, written: Option<u64>) {
        match (written, self.unread.get()) {
            (None, None) => {}
            (None, Some(_)) => self.unread.set(None),
            (Some(now), Some((before, _))) if now == before => {}
            (Some(now), _) => self.unread.set(Some((now, Instant::now()))),
        }
    }

    /// Whether an answer is being written.
    pub(super) fn writing(&self, writing: bool) {
        self.writing.set(writing);
    }

    /// Why it was closed, if it was for what did not come to its end in time.
    pub(super) fn is_late(&self) -> Option<&'static str> {
        self.late.get()
    }

    /// Has it look again at what it goes by.
    pub fn nudge(&self) {
        if let Some(w) = self.waker.borrow_mut().take() {
            w.wake();
        }
    }

    /// Gives or takes the way to ask whether it has broken.
    pub(super) fn watch(&self, broken: Option<Broken>) {
        *self.broken.borrow_mut() = broken;
    }

    /// Asks the connection to end when what runs has ended.
    pub fn drain(&self) {
        if matches!(self.end.get(), End::No | End::Aged) {
            self.finish_with(End::Graceful);
        }
    }

    /// Ends the connection now.
    pub fn close(&self) {
        self.finish_with(End::Now);
    }

    fn finish_with(&self, end: End) {
        self.end.set(end);
        self.nudge();
    }

    /// Whether nothing of it is being served.
    pub fn is_idle(&self) -> bool {
        self.in_flight.get() == 0 && self.unread.get().is_none() && !self.writing.get()
    }

    /// Whether it is asked to end.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.end.get(), End::Graceful | End::Now)
    }

    /// Whether the next answer is its last.
    pub(super) fn is_last(&self) -> bool {
        self.end.get() != End::No
    }

    /// Resolves when the connection is asked to end, before it is served.
    pub async fn ending(&self) {
        std::future::poll_fn(|cx| {
            if self.is_ending() {
                return Poll::Ready(());
            }
            self.remember(cx);
            Poll::Pending
        })
        .await;
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Runs what serves the connection until that ends, or the keeper closes it: then none. It is polled when the
    /// connection is asked to end gracefully.
    pub(super) async fn rule<F: Future>(&self, mut serving: Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            if self.end.get() == End::Now {
                return Poll::Ready(None);
            }
            self.remember(cx);
            serving.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Asked now and then: closes the connection when its caller takes too long for a head, for the rest of a message or for
    /// the next request.
    pub fn check(&self, now: Instant, timeouts: &Timeouts) {
        let Timeouts { head, idle, answer, caller_age: age, .. } = *timeouts;
        if self.end.get() == End::Now {
            return;
        }
        if self.starves.take() {
            self.nudge();
        }
        let over = |since: Instant| now.saturating_duration_since(since) > answer;
        if self.half.get().is_some_and(over) {
            self.late.set(Some("a message did not come to its end in time (timeouts.answer)"));
            return self.close();
        }
        if self.unread.get().is_some_and(|(_, since)| over(since)) {
            self.late.set(Some("it took nothing of its answers for too long (timeouts.answer)"));
            return self.close();
        }
        if self.rests.get() {
            return;
        }
        if now.saturating_duration_since(self.born.0) > age.mul_f64(self.born.1) {
            match self.multiplexed.get() {
                // What runs goes on; GOAWAY is said twice, so that no stream is lost on its way (RFC 9113, 6.8).
                true => self.drain(),
                false if self.end.get() == End::No => self.end.set(End::Aged),
                false => {}
            }
        }
        if self.in_flight.get() > 0 {
            if self.broken.borrow().as_ref().is_some_and(|broken| broken()) {
                self.close();
            }
            return;
        }
        let multiplexed = self.multiplexed.get();
        let limit = if self.waiting_for_head.get() && !multiplexed { head } else { idle };
        let idle = now.saturating_duration_since(self.since.get());
        if idle > limit.saturating_add(GOODBYE) || (idle > limit && !multiplexed) {
            self.close();
        } else if idle > limit {
            // GOAWAY tells an HTTP/2 caller that nothing was lost.
            self.drain();
        }
    }
}

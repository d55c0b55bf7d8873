//! A connection to an instance that speaks ZeroMQ. Commands share it; a number of ours before each finds its answer.

use super::io::Wire;
use super::wire::{
    Error, Event, Limits, Machine, Mechanism, Message, PublicKey, Secret, SecretKey, Settings, SocketType,
};
use crate::codec::Socket;
use crate::codec::client::{Cause, SendError};
use crate::exchange::Counted;
use crate::exchange::frames::{FRAMES_MAX, Outlet};
use bytes::Bytes;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// How often an instance is asked whether it is alive, and after how long a silence it is not.
const PING: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);
/// How long an instance that takes one command at a time may keep one whose caller has left.
const LATE: Duration = Duration::from_secs(60);
/// Bytes that an instance may leave unread; what comes then waits.
const UNREAD: usize = 1 << 20;

/// Bytes of our number.
const NUMBER: usize = size_of::<u64>();

/// A connection; clones share it.
#[derive(Clone)]
pub struct Zmtp(Rc<Shared>);

struct Shared {
    state: RefCell<State>,
    /// Whoever drives the connection is to look again.
    driver: RefCell<Option<Waker>>,
    /// It takes many commands at a time.
    many: bool,
    /// It is given many, whether or not it takes them: those of one turn leave together.
    together: bool,
}

struct State {
    wire: Wire,
    waiting: HashMap<u64, Waiting, foldhash::fast::RandomState>,
    next: u64,
    /// Why it has ended.
    ended: Option<Ended>,
    heard: Instant,
    /// Bytes that had left at the last look.
    written: u64,
    /// Since when something is asked of it and nothing has come.
    asked: Option<Instant>,
    /// Those that wait until what was written has left.
    blocked: Vec<Waker>,
    counted: Counted,
}

/// Why a connection has ended.
struct Ended {
    why: String,
    /// It was us who could not go on with what came.
    ours: bool,
}

impl Ended {
    fn theirs(why: impl Into<String>) -> Ended {
        Ended { why: why.into(), ours: false }
    }

    fn ours(error: &Error) -> Ended {
        let key = if matches!(error, Error::MessageTooLong { .. }) { " (zmq.max_message)" } else { "" };
        Ended { why: format!("{error}{key}"), ours: true }
    }
}

#[derive(Default)]
struct Waiting {
    waker: Option<Waker>,
    answer: Option<Message>,
    /// Its caller has left, and its place is kept until the instance is done with it.
    left: Option<(Instant, Box<dyn Any>)>,
}

/// What a dialer says of itself.
fn settings(outlet: &Outlet) -> io::Result<Arc<Settings>> {
    let mechanism = match (&outlet.plain, outlet.curve) {
        (Some((user, password)), _) => Mechanism::PlainClient {
            user: Bytes::copy_from_slice(user.as_bytes()),
            password: Secret::new(password.as_bytes().to_vec()),
        },
        (None, Some(server)) => {
            // Nobody asked who we are: any key will do.
            let secret = SecretKey::generate().map_err(|e| io::Error::other(e.to_string()))?;
            Mechanism::CurveClient { server: PublicKey::from(server), secret }
        }
        (None, None) => Mechanism::Null,
    };
    // What is ours before it does not count.
    let limits = Limits { message: outlet.max.saturating_add(NUMBER), frames: FRAMES_MAX + 8, ..Limits::default() };
    Ok(Arc::new(Settings { limits, ..Settings::new(SocketType::Dealer, mechanism) }))
}

impl Zmtp {
    /// Shakes hands over a connected socket. There is no time limit here.
    ///
    /// # Errors
    /// Why the other side is none that commands can be sent to.
    pub async fn handshake(socket: Socket, outlet: &Outlet, counted: Counted) -> io::Result<Zmtp> {
        let mut wire = Wire::new(socket, Machine::new(settings(outlet)?), b"");
        let peer = poll_fn(|cx| {
            loop {
                let flushed = match wire.poll_flush(cx) {
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    flushed => flushed.is_ready(),
                };
                let Wire { machine, input, .. } = &mut wire;
                match machine.read(input) {
                    Ok(Some(Event::Ready(peer))) => return Poll::Ready(Ok(peer)),
                    Ok(Some(_)) => continue,
                    Ok(None) => {}
                    Err(e) => return Poll::Ready(Err(io::Error::other(e.to_string()))),
                }
                if flushed && !wire.machine.output().is_empty() {
                    continue;
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => {
                        let why = "it closed the connection in the handshake: does it speak ZeroMQ, and does it \
                                   want a proof (zmq.plain) or encryption (zmq.server_key)?";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await?;
        let state = State {
            wire,
            waiting: HashMap::default(),
            next: fastrand::u64(..),
            ended: None,
            heard: Instant::now(),
            written: 0,
            asked: None,
            blocked: Vec::new(),
            counted,
        };
        let shared = Rc::new(Shared {
            state: RefCell::new(state),
            driver: RefCell::default(),
            many: peer.socket_type != SocketType::Rep,
            together: peer.socket_type != SocketType::Rep || outlet.ahead > 0,
        });
        tokio::task::spawn_local(drive(shared.clone()));
        Ok(Zmtp(shared))
    }

    /// Whether it takes many commands at a time: a ROUTER or DEALER. A REP takes one.
    pub fn takes_many(&self) -> bool {
        self.0.many
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.0.state.borrow().ended.is_some()
    }

    /// Sends a message and waits for its answer. If the wait is given up, `place` is kept until an instance that takes
    /// one command at a time has answered after all: it is busy until then.
    ///
    /// # Errors
    /// Why there is no answer; `unsent` if not one byte has left.
    pub async fn send<P: 'static>(&self, frames: &[Bytes], place: &mut Option<P>) -> Result<Message, Box<SendError>> {
        // Who does not read what was written gets no more of it.
        poll_fn(|cx| {
            let mut state = self.0.state.borrow_mut();
            if state.ended.is_none() && state.wire.machine.output().len() > UNREAD {
                if !state.blocked.iter().any(|w| w.will_wake(cx.waker())) {
                    state.blocked.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        let (number, begun) = {
            let mut state = self.0.state.borrow_mut();
            if state.ended.is_some() {
                return Err(Box::new(SendError { unsent: true, cause: Cause::Ended }));
            }
            state.next = state.next.wrapping_add(1);
            let number = state.next;
            let begun = state.wire.machine.output().queued();
            if let Err(e) = state.wire.machine.send_to(&number.to_be_bytes(), frames) {
                return Err(Box::new(SendError { unsent: true, cause: Cause::Nonsense(e.to_string()) }));
            }
            state.asked.get_or_insert_with(Instant::now);
            state.waiting.insert(number, Waiting::default());
            // Those of one turn leave together, by the driver; one that comes alone leaves at once.
            let behind = self.0.together || {
                let flushed = state.wire.poll_flush(&mut Context::from_waker(Waker::noop()));
                !matches!(flushed, Poll::Ready(Ok(())))
            };
            (number, (behind, begun))
        };
        let (behind, begun) = begun;
        if behind {
            self.0.wake();
        }
        let mut wait = Wait { shared: &self.0, number, place, done: false };
        poll_fn(|cx| wait.poll(cx, begun)).await
    }
}

impl Drop for Zmtp {
    fn drop(&mut self) {
        // The driver lives as long as somebody may use the connection.
        if Rc::strong_count(&self.0) <= 2 {
            self.0.wake();
        }
    }
}

/// One that waits for its answer.
struct Wait<'a, P: 'static> {
    shared: &'a Shared,
    number: u64,
    place: &'a mut Option<P>,
    done: bool,
}

impl<P> Wait<'_, P> {
    fn poll(&mut self, cx: &mut Context<'_>, begun: u64) -> Poll<Result<Message, Box<SendError>>> {
        let mut state = self.shared.state.borrow_mut();
        let state = &mut *state;
        if let Some(waiting) = state.waiting.get_mut(&self.number) {
            if let Some(answer) = waiting.answer.take() {
                state.waiting.remove(&self.number);
                self.done = true;
                return Poll::Ready(Ok(answer));
            }
            if state.ended.is_none() {
                if !waiting.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    waiting.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
        state.waiting.remove(&self.number);
        self.done = true;
        // What has not begun to leave is whole.
        let unsent = state.wire.machine.output().written() <= begun;
        let cause = match &state.ended {
            Some(ended) if ended.ours => Cause::Nonsense(ended.why.clone()),
            _ => Cause::Ended,
        };
        Poll::Ready(Err(Box::new(SendError { unsent, cause })))
    }
}

impl<P: 'static> Drop for Wait<'_, P> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.shared.state.borrow_mut();
        let ended = state.ended.is_some();
        let Some(waiting) = state.waiting.get_mut(&self.number) else { return };
        if waiting.answer.is_some() || ended || self.shared.many {
            state.waiting.remove(&self.number);
            return;
        }
        waiting.waker = None;
        if let Some(place) = self.place.take() {
            waiting.left = Some((Instant::now(), Box::new(place)));
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Goes on with reading and writing; ready when the connection has ended.
    fn poll(&self, cx: &mut Context<'_>, ping: &mut Interval) -> Poll<Ended> {
        *self.driver.borrow_mut() = Some(cx.waker().clone());
        let mut freed = Vec::new();
        let polled = {
            let mut state = self.state.borrow_mut();
            state.poll(cx, ping, &mut freed)
        };
        // Who had the place of one that has left may be followed by another at once.
        drop(freed);
        polled
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>, ping: &mut Interval, freed: &mut Vec<Box<dyn Any>>) -> Poll<Ended> {
        loop {
            match self.wire.poll_flush(cx) {
                Poll::Ready(Err(e)) => return Poll::Ready(Ended::theirs(e.to_string())),
                Poll::Ready(Ok(())) => self.blocked.drain(..).for_each(Waker::wake),
                Poll::Pending => {}
            }
            let Wire { machine, input, .. } = &mut self.wire;
            match machine.read(input) {
                Ok(Some(Event::Message(message))) => {
                    freed.extend(self.answered(message));
                    continue;
                }
                // A PONG is to be written.
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(e) => return Poll::Ready(Ended::ours(&e)),
            }
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ended::theirs("it closed the connection")),
                Poll::Ready(Ok(_)) => (self.heard, self.asked) = (Instant::now(), None),
                Poll::Ready(Err(e)) => return Poll::Ready(Ended::theirs(e.to_string())),
                Poll::Pending => {
                    if ping.poll_tick(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if let Some(why) = self.tick(Instant::now()) {
                        return Poll::Ready(Ended::theirs(why));
                    }
                }
            }
        }
    }

    /// Asks whether it is alive; why not, if it has been silent for too long.
    fn tick(&mut self, now: Instant) -> Option<String> {
        let output = self.wire.machine.output();
        // Who takes what is sent is there, though the PING lies behind it.
        if output.written() != self.written {
            (self.written, self.heard) = (output.written(), now);
        }
        let heartbeats = self.wire.machine.ping(None, b"").ok()?;
        let silent = now.saturating_duration_since(self.heard);
        if heartbeats && silent > SILENCE {
            return Some(format!("it has been silent for {silent:.1?}"));
        }
        // One of before heartbeats is known by its silence alone.
        if !heartbeats && self.asked.is_some_and(|at| now.saturating_duration_since(at) > LATE) {
            return Some(format!("nothing has come of it for {LATE:?}"));
        }
        let late = |w: &Waiting| w.left.as_ref().is_some_and(|(since, _)| now.saturating_duration_since(*since) > LATE);
        self.waiting.values().any(late).then(|| format!("it has kept a command for {LATE:?} after its time"))
    }

    /// An answer has come; returns the place of one whose caller has left.
    fn answered(&mut self, mut message: Message) -> Option<Box<dyn Any>> {
        // What comes back is what was put before: our number, and the empty frame.
        let number = match &message[..] {
            [number, empty, ..] if empty.is_empty() => number[..].try_into().ok().map(u64::from_be_bytes),
            _ => None,
        };
        let Some(number) = number else {
            tracing::debug!("an instance answered without the envelope that it was sent");
            self.counted.tell().answer_dropped("no-envelope");
            return None;
        };
        let Some(waiting) = self.waiting.get_mut(&number) else {
            self.counted.tell().answer_dropped("late");
            return None;
        };
        if waiting.left.is_some() {
            self.counted.tell().answer_dropped("late");
            return self.waiting.remove(&number).and_then(|w| w.left).map(|(_, place)| place);
        }
        message.drop_first(2);
        waiting.answer = Some(message);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
        None
    }
}

/// Keeps a connection going until it ends, or nobody can use it any more.
async fn drive(shared: Rc<Shared>) {
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let why = poll_fn(|cx| {
        if Rc::strong_count(&shared) == 1 && shared.state.borrow().waiting.is_empty() {
            return Poll::Ready(None);
        }
        shared.poll(cx, &mut ping).map(Some)
    })
    .await;
    let Some(why) = why else { return };
    tracing::debug!("a connection of ZeroMQ ended: {}", why.why);
    let wakers: Vec<Waker> = {
        let mut state = shared.state.borrow_mut();
        state.ended = Some(why);
        let blocked = std::mem::take(&mut state.blocked);
        state.waiting.retain(|_, w| w.left.is_none());
        state.waiting.values_mut().filter_map(|w| w.waker.take()).chain(blocked).collect()
    };
    wakers.into_iter().for_each(Waker::wake);
}

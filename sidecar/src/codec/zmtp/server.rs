//! A caller's connection: messages in, their answers out, each with the envelope that it came with.

use super::io::Wire;
use super::places::{Answered, On, Place, Running};
use super::room::Room;
use super::wire::{
    Credentials, Error, Event, Limits, Machine, Mechanism, Message, Secret, SecretKey, Settings, SocketType,
    envelope::{self, Envelope},
};
use crate::codec::Socket;
use crate::codec::server::{Asked, Ended, Incoming, Life};
use crate::exchange::frames::{FRAMES_MAX, Inlet, Proof, Proved};
use crate::exchange::{Answer, base64, z85};
use futures_util::stream::{FuturesUnordered, Stream};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How a greeting begins; nothing of HTTP does.
pub const FIRST: u8 = 0xff;

/// Commands of one connection at once; what comes then is not read, so that the caller's own limit holds it back.
const AT_ONCE: usize = 64;
/// How often a client is told that we live while nothing is read of it.
const REASSURE: Duration = Duration::from_millis(200);
/// Places that a connection keeps for its next commands.
const FREE_MAX: usize = 4;
/// Bytes of commands of one connection at once, beside the one that is always taken.
const BYTES_AT_ONCE: usize = 32 << 20;
/// Bytes of answers that a caller may leave unread before no more is taken from it.
const UNREAD: usize = 1 << 20;

/// How a listener takes messages now; its connections see to it that they go by it.
pub struct Terms(RefCell<Now>);

#[derive(Clone)]
struct Now {
    inlet: Arc<Inlet>,
    settings: Arc<Settings>,
}

impl Terms {
    /// Those of a listener.
    pub fn new(inlet: &Arc<Inlet>) -> Rc<Terms> {
        Rc::new(Terms(RefCell::new(Now { inlet: inlet.clone(), settings: settings(inlet) })))
    }

    /// Others hold from now on.
    pub fn change(&self, inlet: &Arc<Inlet>) {
        *self.0.borrow_mut() = Now { inlet: inlet.clone(), settings: settings(inlet) };
    }
}

/// What a listener's connections have in common, made once.
fn settings(inlet: &Inlet) -> Arc<Settings> {
    let mechanism = match &inlet.proof {
        Proof::Null => Mechanism::Null,
        Proof::Plain(_) => Mechanism::PlainServer,
        Proof::Curve { secret, .. } => Mechanism::CurveServer { secret: SecretKey::from(*secret) },
    };
    let limits = Limits { message: inlet.max, frames: FRAMES_MAX + 8, ..Limits::default() };
    Arc::new(Settings { limits, ..Settings::new(SocketType::Router, mechanism) })
}

/// Serves a connection until it ends; `first` was read of it already.
pub async fn serve<H, F>((socket, first): (Socket, Vec<u8>), terms: Rc<Terms>, life: Rc<Life>, handle: H) -> Ended
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let handle = Rc::new(handle);
    let place = move || -> Box<dyn Place> { Box::new(On { handle: handle.clone(), road: Box::pin(None) }) };
    let now = terms.0.borrow().clone();
    let caller = Caller {
        wire: Wire::new(socket, Machine::new(now.settings.clone()), &first),
        terms,
        now,
        outdated: false,
        room: Room::default(),
        reassured: None,
        place: Box::new(place),
        free: Vec::new(),
        proved: Rc::default(),
        only: None,
        asks_one: false,
        others: FuturesUnordered::new(),
        together: Vec::new(),
        count: 0,
        bytes: 0,
    };
    drop(first);
    until_it_ends(caller, &life).await
}

async fn until_it_ends(mut caller: Caller, life: &Life) -> Ended {
    let serving = std::pin::pin!(std::future::poll_fn(|cx| caller.poll(cx, life)));
    let mut serving = serving;
    let late = || life.is_late().map_or(Ended::Well, |why| Ended::Refused(why.to_owned()));
    life.rule(serving.as_mut()).await.unwrap_or_else(late)
}

struct Caller {
    wire: Wire,
    terms: Rc<Terms>,
    /// What it goes by.
    now: Now,
    /// How it has proved who it is does not hold any more: no further command is taken.
    outdated: bool,
    room: Room,
    /// When it was last told that we live, though nothing is read.
    reassured: Option<Instant>,
    /// Makes places.
    place: Box<dyn Fn() -> Box<dyn Place>>,
    /// Places that nothing lies in.
    free: Vec<Box<dyn Place>>,
    proved: Rc<Proved>,
    /// A REQ has one command at a time.
    only: Option<Running>,
    asks_one: bool,
    others: FuturesUnordered<Running>,
    together: Vec<Answered>,
    /// Commands so far.
    count: u64,
    bytes: usize,
}

impl Caller {
    fn poll(&mut self, cx: &mut Context<'_>, life: &Life) -> Poll<Ended> {
        self.follow();
        loop {
            self.poll_answers(cx);
            let flushed = match self.wire.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Broken),
                flushed => flushed.is_ready(),
            };
            let output = self.wire.machine.output();
            let (unread, written) = (output.len(), output.written());
            life.unread((unread > 0).then_some(written));
            let waits = usize::from(self.only.is_some()) + self.others.len();
            if self.outdated {
                life.half(false);
                return if waits == 0 && flushed { Poll::Ready(Ended::Well) } else { Poll::Pending };
            }
            if waits >= AT_ONCE || self.bytes > BYTES_AT_ONCE || unread > UNREAD {
                life.half(false);
                let held = self.wire.held() + self.bytes;
                if unread > UNREAD && !self.room.cover_unread(held, unread, self.now.inlet.max) {
                    let why = format!("it left {unread} bytes of its answers unread, and others need the memory");
                    return Poll::Ready(Ended::Refused(why));
                }
                self.reassure(cx, life);
                return Poll::Pending;
            }
            match self.wire.machine.read(&mut self.wire.input) {
                Ok(Some(event)) => {
                    if let Err(ended) = self.event(event, life) {
                        let _ = self.wire.poll_flush(cx);
                        return Poll::Ready(ended);
                    }
                    continue;
                }
                // The handshake may have a word to say.
                Ok(None) if flushed && !self.wire.machine.output().is_empty() => continue,
                Ok(None) => {}
                Err(error) => {
                    // Why is told, where the protocol has a word for it.
                    let _ = self.wire.poll_flush(cx);
                    return Poll::Ready(refused(&error));
                }
            }
            let begun = self.wire.machine.begun();
            life.half(begun.is_some() || !self.wire.input.is_empty());
            let held = self.wire.held() + self.bytes + begun.unwrap_or(0);
            if !self.room.cover(held, self.now.inlet.max) {
                // Nothing is read, so its leaving would not be noticed.
                if self.wire.socket.has_left() {
                    return Poll::Ready(Ended::Broken);
                }
                life.starves();
                return Poll::Pending;
            }
            match self.wire.poll_fill(cx) {
                // Who leaves does not wait for answers: what the worker has not got yet, it does not get any more.
                Poll::Ready(Ok(0)) => {
                    // Half a greeting is how a peer says that it speaks by another mechanism.
                    let Wire { machine, input, .. } = &mut self.wire;
                    return Poll::Ready(machine.end(input).map_or_else(|e| refused(&e), |()| Ended::Well));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Broken),
                // What has come already is still done.
                Poll::Pending if life.is_ending() && waits == 0 && flushed && self.wire.input.is_empty() => {
                    return Poll::Ready(Ended::Well);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Says now and then that we live, while nothing is read and so no PING is answered.
    fn reassure(&mut self, cx: &mut Context<'_>, life: &Life) {
        life.starves();
        let now = Instant::now();
        let due = self.reassured.is_none_or(|at| now.saturating_duration_since(at) >= REASSURE);
        if due && self.wire.machine.output().is_empty() {
            self.reassured = Some(now);
            let _ = self.wire.machine.ping(None, b"");
            let _ = self.wire.poll_flush(cx);
        }
    }

    /// Goes by what holds now.
    fn follow(&mut self) {
        if Arc::ptr_eq(&self.now.inlet, &self.terms.0.borrow().inlet) {
            return;
        }
        let now = self.terms.0.borrow().clone();
        let ready = self.wire.machine.is_ready();
        self.outdated |= match ready {
            true => !holds(&self.proved, &self.now.inlet.proof, &now.inlet.proof),
            false => self.now.inlet.proof != now.inlet.proof,
        };
        if !self.outdated {
            self.wire.machine.limit(now.settings.clone());
        }
        self.now = now;
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) {
        let mut first = None;
        if let Some(only) = &mut self.only
            && let Poll::Ready(answered) = Pin::new(only).poll(cx)
        {
            self.only = None;
            first = Some(answered);
        }
        if self.others.is_empty() {
            return first.into_iter().for_each(|answered| self.answer(answered));
        }
        // Those that are there together leave in the order of their commands.
        self.together.extend(first);
        while let Poll::Ready(Some(answered)) = Pin::new(&mut self.others).poll_next(cx) {
            self.together.push(answered);
        }
        self.together.sort_by_key(|answered| answered.number);
        let mut together = std::mem::take(&mut self.together);
        together.drain(..).for_each(|answered| self.answer(answered));
        self.together = together;
    }

    fn answer(&mut self, answered: Answered) {
        let Answered { envelope, frames, size, place, .. } = answered;
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(frames) = frames {
            // Only one that has ended meanwhile takes nothing.
            let _ = self.wire.machine.send(envelope.frames().iter().chain(&frames));
        }
        if self.free.len() < FREE_MAX {
            self.free.push(place);
        }
    }

    fn event(&mut self, event: Event, life: &Life) -> Result<(), Ended> {
        match event {
            Event::Message(message) => {
                // Whatever follows has its own time.
                life.half(false);
                self.message(message);
            }
            Event::Login(credentials) => self.login(credentials)?,
            // From now on it may rest as long as it likes.
            Event::Ready(peer) => {
                self.asks_one = peer.socket_type == SocketType::Req;
                life.rests();
            }
            Event::Ping { .. } | Event::Pong { .. } => {}
        }
        Ok(())
    }

    fn message(&mut self, message: Message) {
        let size = message.size();
        let inlet = self.now.inlet.clone();
        let (envelope, frames) = match inlet.raw {
            true => (Envelope::Missing, message),
            false => envelope::open(message),
        };
        let bare = envelope == Envelope::Missing && !inlet.raw;
        let asked = Asked { frames, inlet: inlet.clone(), proved: self.proved.clone(), bare };
        self.bytes = self.bytes.saturating_add(size);
        self.count = self.count.wrapping_add(1);
        let mut place = self.free.pop().unwrap_or_else(|| (self.place)());
        place.begin(Box::new(asked));
        let running = Running { number: self.count, envelope, size, inlet, place: Some(place), reading: None };
        // Of many at a time none is looked at out of its turn: they leave in the order of their coming.
        if self.only.is_some() || !self.asks_one {
            self.others.push(running);
        } else {
            self.only = Some(running);
        }
    }

    fn login(&mut self, credentials: Credentials) -> Result<(), Ended> {
        let (proved, who) = match (credentials, &self.now.inlet.proof) {
            (Credentials::Plain { user, password }, Proof::Plain(users)) => {
                let shown = shown(&user);
                (plain(&user, &password, users).ok_or(shown.clone()), shown)
            }
            (Credentials::Curve { key }, Proof::Curve { clients, .. }) => {
                let shown = key.to_string();
                let known = clients.is_empty() || clients.iter().any(|(known, _)| known == key.as_bytes());
                let proved = Proved { curve: Some(shown.clone()), ..Proved::default() };
                (known.then_some(proved).ok_or(shown.clone()), shown)
            }
            _ => (Err("somebody".to_owned()), String::new()),
        };
        match proved {
            Ok(proved) => {
                self.proved = Rc::new(proved);
                self.wire.machine.accept().map_err(|error| Ended::Refused(error.to_string()))
            }
            Err(_) => {
                // libzmq's word for credentials that are wrong: its peers do not come back with them.
                self.wire.machine.refuse("400");
                Err(Ended::Login(format!("{who} could not prove who it is")))
            }
        }
    }
}

/// How a connection ends that cannot go on. A client that proves itself in another way than is wanted, or not at all, is
/// one that could not log in.
fn refused(error: &Error) -> Ended {
    match error {
        Error::Mechanism { .. } | Error::BothServers(_) | Error::Sealed(_) | Error::OtherMechanism => {
            Ended::Login(error.to_string())
        }
        _ => Ended::Refused(error.to_string()),
    }
}

/// Whether what a connection has proved holds under other terms as well.
fn holds(proved: &Proved, before: &Proof, now: &Proof) -> bool {
    match (before, now) {
        (Proof::Plain(_), Proof::Plain(users)) => {
            users.iter().any(|(user, password)| proved.authorization.as_ref() == Some(&basic(user, password)))
        }
        (Proof::Curve { secret: before, .. }, Proof::Curve { secret, clients }) => {
            let known = |key: &str| clients.iter().any(|(known, _)| z85::key(key).as_ref() == Some(known));
            before == secret && (clients.is_empty() || proved.curve.as_deref().is_some_and(known))
        }
        (before, now) => before == now,
    }
}

/// The line `Authorization` of a user (RFC 7617).
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// A user's name as it may stand in a log.
fn shown(user: &[u8]) -> String {
    String::from_utf8_lossy(user).chars().take(64).map(|c| if c.is_control() { '.' } else { c }).collect()
}

/// Every user is compared, so that the time tells nobody which ones there are.
fn plain(user: &[u8], password: &Secret, users: &[(String, String)]) -> Option<Proved> {
    let mut found = false;
    for (name, secret) in users {
        let right = password.is(secret.as_bytes());
        found |= name.as_bytes() == user && right;
    }
    let text = std::str::from_utf8(user).ok().filter(|_| found)?;
    let secret = std::str::from_utf8(password.expose()).ok()?;
    Some(Proved { authorization: Some(basic(text, secret)), ..Proved::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_as_a_header() {
        let users = [("alice".to_owned(), "wonder".to_owned()), ("bob".to_owned(), "builder".to_owned())];
        let ask =
            |user: &str, password: &str| plain(user.as_bytes(), &Secret::new(password.as_bytes().to_vec()), &users);
        assert_eq!(ask("bob", "builder").unwrap().authorization.unwrap(), "Basic Ym9iOmJ1aWxkZXI=");
        for (user, password) in [("bob", "wonder"), ("carol", "builder"), ("", ""), ("bob", "")] {
            assert!(ask(user, password).is_none(), "{user}");
        }
        assert_eq!(shown(b"a\nb\xff"), "a.b\u{fffd}");
    }
}

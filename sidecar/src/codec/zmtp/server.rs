//! A caller's connection: messages in, their answers out, each with the envelope that it came with.

use super::io::Wire;
use super::reply;
use super::wire::{
    Credentials, Event, Limits, Machine, Mechanism, Message, Secret, SecretKey, Settings, SocketType, envelope,
};
use crate::codec::Socket;
use crate::codec::server::{Asked, Ended, Incoming, Life};
use crate::exchange::frames::{FRAMES_MAX, Inlet, Proof, Proved};
use crate::exchange::{Answer, Body, Early, Head, Protocol, base64};
use futures_util::stream::{FuturesUnordered, Stream};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How a greeting begins; nothing of HTTP does.
pub const FIRST: u8 = 0xff;

/// Commands of one connection at once; what comes then is not read, so that the caller's own limit holds it back.
const AT_ONCE: usize = 64;
/// Bytes of commands of one connection at once, beside the one that is always taken.
const BYTES_AT_ONCE: usize = 32 << 20;
/// Bytes of answers that a caller may leave unread before no more is taken from it.
const UNREAD: usize = 1 << 20;

/// What a listener's connections have in common, made once.
pub fn settings(inlet: &Inlet) -> Arc<Settings> {
    let mechanism = match &inlet.proof {
        Proof::Null => Mechanism::Null,
        Proof::Plain(_) => Mechanism::PlainServer,
        Proof::Curve { secret, .. } => Mechanism::CurveServer { secret: SecretKey::from(*secret) },
    };
    let limits = Limits { message: inlet.max, frames: FRAMES_MAX + 8, ..Limits::default() };
    Arc::new(Settings { limits, ..Settings::new(SocketType::Router, mechanism) })
}

/// Serves a connection until it ends; `first` was read of it already.
pub async fn serve<H, F>(
    (socket, first): (Socket, Vec<u8>),
    (inlet, settings): (&Arc<Inlet>, Arc<Settings>),
    life: Rc<Life>,
    handle: H,
) -> Ended
where
    H: Fn(Incoming) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let of_caller = inlet.clone();
    let begin = move |asked: Asked, (number, envelope): (u64, Message), size: usize| -> Running {
        let incoming = Incoming {
            head: Ok(Head::default()),
            body: Body::Empty,
            protocol: Protocol::Zmq,
            upgrade: None,
            early: Early::default(),
            message: Some(Box::new(asked)),
        };
        let (answer, inlet) = (handle(incoming), of_caller.clone());
        Box::pin(async move {
            let frames = reply::frames(&inlet, answer.await).await;
            (number, envelope, frames, size)
        })
    };
    let caller = Caller {
        wire: Wire::new(socket, Machine::new(settings), &first),
        inlet: inlet.clone(),
        begin: Box::new(begin),
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
    life.rule(serving.as_mut()).await.unwrap_or(Ended::Well)
}

/// Which command it was, its envelope, the frames of its answer, and the size of what was asked.
type Answered = (u64, Message, Option<Message>, usize);

/// A command on its road. The type of the road is left behind here: what is built of it would be compiled for long.
type Running = Pin<Box<dyn Future<Output = Answered>>>;

/// Begins a command.
type Begin = Box<dyn Fn(Asked, (u64, Message), usize) -> Running>;

struct Caller {
    wire: Wire,
    inlet: Arc<Inlet>,
    begin: Begin,
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
        loop {
            self.poll_answers(cx);
            let flushed = match self.wire.poll_flush(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Broken),
                flushed => flushed.is_ready(),
            };
            let waits = usize::from(self.only.is_some()) + self.others.len();
            if waits >= AT_ONCE || self.bytes > BYTES_AT_ONCE || self.wire.machine.output().len() > UNREAD {
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
                    return Poll::Ready(Ended::Refused(error.to_string()));
                }
            }
            match self.wire.poll_fill(cx) {
                // Who leaves does not wait for answers: what the worker has not got yet, it does not get any more.
                Poll::Ready(Ok(0)) => {
                    // Half a greeting is how a peer says that it speaks by another mechanism.
                    let Wire { machine, input, .. } = &mut self.wire;
                    return Poll::Ready(
                        machine.end(input).map_or_else(|e| Ended::Refused(e.to_string()), |()| Ended::Well),
                    );
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

    fn poll_answers(&mut self, cx: &mut Context<'_>) {
        let mut first = None;
        if let Some(only) = &mut self.only
            && let Poll::Ready(answered) = only.as_mut().poll(cx)
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
        self.together.sort_by_key(|(number, ..)| *number);
        let mut together = std::mem::take(&mut self.together);
        together.drain(..).for_each(|answered| self.answer(answered));
        self.together = together;
    }

    fn answer(&mut self, (_, envelope, frames, size): Answered) {
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(frames) = frames {
            // Only one that has ended meanwhile takes nothing.
            let _ = self.wire.machine.send(envelope.iter().chain(&frames));
        }
    }

    fn event(&mut self, event: Event, life: &Life) -> Result<(), Ended> {
        match event {
            Event::Message(message) => self.message(message),
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
        let (envelope, frames) = match self.inlet.raw {
            true => (Message::new(), message),
            false => envelope::open(message),
        };
        let bare = envelope.is_empty() && !self.inlet.raw;
        let asked = Asked { frames, proved: self.proved.clone(), bare };
        self.bytes = self.bytes.saturating_add(size);
        self.count = self.count.wrapping_add(1);
        let running = (self.begin)(asked, (self.count, envelope), size);
        // Of many at a time none is looked at out of its turn: they leave in the order of their coming.
        if self.only.is_some() || !self.asks_one {
            self.others.push(running);
        } else {
            self.only = Some(running);
        }
    }

    fn login(&mut self, credentials: Credentials) -> Result<(), Ended> {
        let (proved, who) = match (credentials, &self.inlet.proof) {
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
                Err(Ended::Login(who))
            }
        }
    }
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
    Some(Proved {
        authorization: Some(format!("Basic {}", base64(format!("{text}:{secret}").as_bytes()))),
        ..Proved::default()
    })
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

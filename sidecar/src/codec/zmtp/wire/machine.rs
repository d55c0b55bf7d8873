//! One connection: bytes in, events out, and what is to be written.

use super::command::{self, CONTEXT, Command};
use super::curve::Cipher;
use super::error::Error;
use super::frame::{COMMAND, MORE};
use super::greeting;
use super::handshake::{Handshake, Step};
use super::incoming::{self, Room, frame};
use super::message::Message;
use super::metadata::{About, Metadata};
use super::output::Output;
use super::settings::{Credentials, Settings};
use super::socket::SocketType;
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;

/// A peer for which so much waits unread gets no more PONGs: the bytes on their way are sign of life enough, and it
/// could fill our memory with them.
const PONGS: usize = 64 << 10;

/// While a message is not complete, frames below this are copied: a peer that sends a few bytes at a time would make us
/// keep a whole buffer for each.
const SMALL: usize = 4 << 10;

/// What happened on a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer says who it is: [`Machine::accept`] or [`Machine::refuse`]. Until then nothing more is read.
    Login(Credentials),
    /// The handshake is over. Messages may be sent from now on.
    Ready(Peer),
    /// A whole message.
    Message(Message),
    /// The peer asked whether we are alive. The answer is in the output already.
    Ping {
        /// It goes away when it hears nothing for so long.
        ttl: Option<Duration>,
    },
    /// The peer's answer to a [`Machine::ping`].
    Pong {
        /// What was sent with the ping.
        context: Bytes,
    },
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its kind of socket, one that may talk to ours.
    pub socket_type: SocketType,
    /// The name that it gave itself, often empty.
    pub identity: Bytes,
    /// The minor version that both sides have: 0 is without heartbeats.
    pub minor: u8,
    /// What else it told.
    pub metadata: Metadata,
}

/// One side of a connection. See [the module](super).
pub struct Machine {
    settings: Arc<Settings>,
    stage: Stage,
    /// Minor version of the peer.
    minor: u8,
    /// The frames that came of a message, and their bytes.
    message: Message,
    message_size: usize,
    /// Frames of it that hold no buffer for the sake of a few bytes.
    settled: usize,
    wanted: usize,
    out: Output,
}

enum Stage {
    Greeting,
    Handshake(Handshake),
    /// Waits for a verdict.
    Login(Handshake),
    /// There was one, and nothing more to hear from the peer.
    Accepted(Handshake, About),
    /// With a cipher, every frame goes through it.
    Ready(Option<Box<Cipher>>),
    Closed,
}

impl Machine {
    /// A new connection. The greeting is in the output.
    pub fn new(settings: Arc<Settings>) -> Machine {
        let mechanism = &settings.mechanism;
        let mut out = Output::default();
        out.raw(&greeting::ours(mechanism.name(), mechanism.is_server()));
        Machine {
            settings,
            stage: Stage::Greeting,
            minor: 0,
            message: Message::new(),
            message_size: 0,
            settled: 0,
            wanted: greeting::SIZE,
            out,
        }
    }

    /// Takes the next event out of what was read; none if more bytes are needed, or a login waits for its answer.
    ///
    /// # Errors
    /// The connection cannot go on. Write what lies in the output, and close.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        let event = self.next(input);
        if event.is_err() {
            self.close();
        }
        event
    }

    fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        loop {
            match &mut self.stage {
                Stage::Greeting => {
                    let Some(greeting) = greeting::parse(input)? else {
                        self.wanted = greeting::SIZE.saturating_sub(input.len());
                        return Ok(None);
                    };
                    let mechanism = &self.settings.mechanism;
                    greeting.check(mechanism.name(), mechanism.is_server())?;
                    input.advance(greeting::SIZE);
                    self.minor = greeting.minor;
                    self.stage = Stage::Handshake(Handshake::start(&self.settings, &mut self.out)?);
                }
                Stage::Handshake(handshake) => {
                    let Some((head, body)) = frame(input, &mut self.wanted, incoming::early)? else { return Ok(None) };
                    debug_assert!(head.flags == COMMAND);
                    match handshake.command(Command::parse(&body)?, &self.settings, &mut self.out)? {
                        Step::Wait => {}
                        Step::Login(credentials) => {
                            let Stage::Handshake(handshake) = self.take_stage() else { return Err(Error::Closed) };
                            self.stage = Stage::Login(handshake);
                            self.wanted = 0;
                            return Ok(Some(Event::Login(credentials)));
                        }
                        Step::About(about) => {
                            let Stage::Handshake(handshake) = self.take_stage() else { return Err(Error::Closed) };
                            return self.ready(handshake, about).map(Some);
                        }
                    }
                }
                Stage::Login(_) => return Ok(None),
                Stage::Accepted(..) => {
                    let Stage::Accepted(handshake, about) = self.take_stage() else { return Err(Error::Closed) };
                    return self.ready(handshake, about).map(Some);
                }
                Stage::Ready(_) => return self.traffic(input),
                Stage::Closed => return Err(Error::Closed),
            }
        }
    }

    /// The peer sends nothing more; what was read and not taken is still in the input.
    ///
    /// # Errors
    /// It stopped in the middle of something. A client of libzmq's with another mechanism closes within the greeting.
    pub fn end(&mut self, input: &[u8]) -> Result<(), Error> {
        let cut_off = match &self.stage {
            Stage::Greeting if input.is_empty() => Some("without a word"),
            Stage::Greeting => {
                self.close();
                return Err(Error::OtherMechanism);
            }
            Stage::Handshake(_) | Stage::Login(_) | Stage::Accepted(..) => Some("before the handshake was over"),
            Stage::Ready(_) if !input.is_empty() || !self.message.is_empty() => Some("within a message"),
            Stage::Ready(_) | Stage::Closed => None,
        };
        self.close();
        cut_off.map_or(Ok(()), |when| Err(Error::CutOff(when)))
    }

    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Closed)
    }

    fn ready(&mut self, handshake: Handshake, about: About) -> Result<Event, Error> {
        let socket_type = about.socket_type(self.settings.socket_type).inspect_err(|_| {
            command::write_error(&mut self.out, "Invalid socket type");
        })?;
        let cipher = handshake.finish(&self.settings, &mut self.out)?;
        self.stage = Stage::Ready(cipher);
        Ok(Event::Ready(Peer { socket_type, identity: about.identity, minor: self.minor, metadata: about.metadata }))
    }

    fn traffic(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        loop {
            let Some((flags, body)) = self.traffic_frame(input)? else {
                self.message.own_small(self.settled, SMALL);
                self.settled = self.message.len();
                return Ok(None);
            };
            if flags & COMMAND != 0 {
                match self.command(&body)? {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            self.message_size = self.message_size.saturating_add(body.len());
            // Nothing holds the buffer for the sake of an empty frame.
            self.message.push(if body.is_empty() { Bytes::new() } else { body.freeze() });
            if flags & MORE == 0 {
                (self.message_size, self.settled) = (0, 0);
                return Ok(Some(Event::Message(std::mem::take(&mut self.message))));
            }
        }
    }

    /// Flags and body of the next frame, decrypted.
    fn traffic_frame(&mut self, input: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, Error> {
        let Machine { settings, stage, message, message_size, wanted, .. } = self;
        let room = Room { limits: &settings.limits, frames: message.len(), before: *message_size };
        let Stage::Ready(Some(cipher)) = stage else {
            let frame = frame(input, wanted, |head| room.check(head.flags, head.size))?;
            return Ok(frame.map(|(head, body)| (head.flags, body)));
        };
        // From outside, one cannot see what it is.
        let Some((_, body)) = frame(input, wanted, |head| room.check_sealed(head.size))? else { return Ok(None) };
        let (flags, body) = cipher.open(body)?;
        room.check(flags, body.len() as u64)?;
        Ok(Some((flags, body)))
    }

    /// Commands may come at any time, between the frames of a message too. Those that nobody knows mean nothing to us.
    fn command(&mut self, body: &[u8]) -> Result<Option<Event>, Error> {
        let command = Command::parse(body)?;
        match command.name {
            b"PING" => {
                let (ttl, context) = command::ping(command.data)?;
                if self.out.len() < PONGS {
                    self.say(b"\x04PONG", &[context])?;
                }
                Ok(Some(Event::Ping { ttl }))
            }
            b"PONG" => {
                let context = command.data.get(..CONTEXT).unwrap_or(command.data);
                Ok(Some(Event::Pong { context: Bytes::copy_from_slice(context) }))
            }
            b"ERROR" => Err(command.unexpected("")),
            _ => Ok(None),
        }
    }

    /// Lets the peer of an [`Event::Login`] in. Call [`Machine::read`] afterwards, even if no bytes came.
    ///
    /// # Errors
    /// Nobody asked.
    pub fn accept(&mut self) -> Result<(), Error> {
        match self.take_stage() {
            Stage::Login(mut handshake) => {
                self.stage = match handshake.accept(&mut self.out) {
                    Some(about) => Stage::Accepted(handshake, about),
                    None => Stage::Handshake(handshake),
                };
                Ok(())
            }
            other => {
                self.stage = other;
                Err(Error::Call("no login waits for an answer"))
            }
        }
    }

    /// Ends the connection. During the handshake the peer is told why, and will not come back with the same
    /// credentials: libzmq's peers understand `400` for a login that failed. Without this, a close is a passing fault,
    /// and the peer tries again.
    pub fn refuse(&mut self, reason: &str) {
        if !matches!(self.stage, Stage::Ready(_) | Stage::Closed) {
            command::write_error(&mut self.out, reason);
        }
        self.close();
    }

    fn close(&mut self) {
        self.stage = Stage::Closed;
        self.message = Message::new();
        self.message_size = 0;
        self.wanted = 0;
    }

    /// Puts a message into the output. Large frames are not copied. A message without frames is none.
    ///
    /// # Errors
    /// The handshake is not over, or the connection has ended.
    pub fn send<'a>(&mut self, frames: impl IntoIterator<Item = &'a Bytes>) -> Result<(), Error> {
        self.check_ready()?;
        let mut frames = frames.into_iter().peekable();
        while let Some(frame) = frames.next() {
            let flags = if frames.peek().is_some() { MORE } else { 0 };
            match &mut self.stage {
                Stage::Ready(Some(cipher)) => cipher.seal(flags, &[frame], &mut self.out)?,
                _ => self.out.frame(flags, frame),
            }
        }
        Ok(())
    }

    /// The same, with an address of ours and an empty frame before it. Without frames, the message has an empty one.
    ///
    /// # Errors
    /// The handshake is not over, or the connection has ended.
    pub fn send_to(&mut self, address: &[u8], frames: &[Bytes]) -> Result<(), Error> {
        self.check_ready()?;
        for frame in [address, b""] {
            match &mut self.stage {
                Stage::Ready(Some(cipher)) => cipher.seal(MORE, &[frame], &mut self.out)?,
                _ => self.out.parts(MORE, &[frame]),
            }
        }
        match frames.is_empty() {
            true => self.send(&[Bytes::new()]),
            false => self.send(frames),
        }
    }

    /// Asks the peer whether it is alive; not if it speaks 3.0, which has no heartbeats: then the answer is false. Of
    /// the context, 16 bytes come back.
    ///
    /// # Errors
    /// The handshake is not over, or the connection has ended.
    pub fn ping(&mut self, ttl: Option<Duration>, context: &[u8]) -> Result<bool, Error> {
        self.check_ready()?;
        if self.minor == 0 {
            return Ok(false);
        }
        let context = context.get(..CONTEXT).unwrap_or(context);
        self.say(b"\x04PING", &[&command::tenths(ttl), context])?;
        Ok(true)
    }

    fn say(&mut self, name: &'static [u8], data: &[&[u8]]) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Ready(Some(cipher)) => cipher.seal(COMMAND, &command::parts(name, data), &mut self.out),
            _ => {
                command::write(&mut self.out, name, data);
                Ok(())
            }
        }
    }

    fn check_ready(&self) -> Result<(), Error> {
        match self.stage {
            Stage::Ready(_) => Ok(()),
            Stage::Closed => Err(Error::Closed),
            _ => Err(Error::Call("nothing can be sent before the handshake is over")),
        }
    }

    /// Bytes of a message whose end is missing, none if no frame of one has come.
    pub fn begun(&self) -> Option<usize> {
        (!self.message.is_empty()).then_some(self.message_size)
    }

    /// Goes on by other limits. How the handshake goes is not changed by it.
    pub fn limit(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Whether the handshake is over and the connection has not ended.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    /// After [`Machine::read`] found too little: how many bytes are missing as far as is known, at least one and at
    /// most 1 MiB. Zero while a login waits for its answer, and after the end: read nothing then.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Its side's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.out
    }
}

#[cfg(test)]
pub(super) mod tests;

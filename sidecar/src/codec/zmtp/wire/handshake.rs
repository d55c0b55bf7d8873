//! The handshake: one mechanism at work, from the greetings to the peer's metadata.

use super::command::{self, Command};
use super::curve::{self, Cipher};
use super::error::Error;
use super::metadata::{self, About, IDENTITY};
use super::output::Output;
use super::plain;
use super::settings::{Credentials, Mechanism, Settings};

/// Where the handshake stands.
pub(super) enum Handshake {
    /// Both sides send READY, and that is all.
    Null,
    PlainServer(plain::Server),
    PlainClient(plain::Client),
    CurveServer(Box<curve::Server>),
    CurveClient(Box<curve::Client>),
}

/// What a command of the peer's led to.
#[derive(Debug)]
pub(super) enum Step {
    /// To another command.
    Wait,
    /// To a question: is this peer welcome?
    Login(Credentials),
    /// To its metadata, the last thing that it says.
    About(About),
}

impl Handshake {
    /// Begins, once the greetings were found to fit.
    pub(super) fn start(settings: &Settings, out: &mut Output) -> Result<Handshake, Error> {
        if settings.identity.len() > IDENTITY {
            return Err(Error::Setting("our identity has more than 255 bytes"));
        }
        Ok(match &settings.mechanism {
            Mechanism::Null => {
                command::write(out, b"\x05READY", &[&metadata::ours(settings)]);
                Handshake::Null
            }
            Mechanism::PlainServer => Handshake::PlainServer(plain::Server::default()),
            Mechanism::PlainClient { user, password } => {
                Handshake::PlainClient(plain::Client::start(user, password, out)?)
            }
            Mechanism::CurveServer { .. } => Handshake::CurveServer(Box::new(curve::Server::Hello)),
            Mechanism::CurveClient { server, .. } => {
                Handshake::CurveClient(Box::new(curve::Client::start(server, out)?))
            }
        })
    }

    /// Takes a command of the peer's.
    pub(super) fn command(
        &mut self,
        command: Command<'_>,
        settings: &Settings,
        out: &mut Output,
    ) -> Result<Step, Error> {
        match (self, &settings.mechanism) {
            (Handshake::Null, _) if command.name == b"READY" => About::parse(command.data).map(Step::About),
            (Handshake::Null, _) => Err(command.unexpected("READY")),
            (Handshake::PlainServer(server), _) => server.command(command),
            (Handshake::PlainClient(client), _) => client.command(command, settings, out),
            (Handshake::CurveServer(server), Mechanism::CurveServer { secret }) => server.command(command, secret, out),
            (Handshake::CurveClient(client), Mechanism::CurveClient { server, secret }) => {
                client.command(command, server, secret, settings, out)
            }
            // The handshake began with these settings.
            (Handshake::CurveServer(_) | Handshake::CurveClient(_), _) => Err(Error::Closed),
        }
    }

    /// Goes on after a login; with the peer's metadata, where the login was the last thing that it said.
    pub(super) fn accept(&mut self, out: &mut Output) -> Option<About> {
        match self {
            Handshake::PlainServer(server) => {
                server.accept(out);
                None
            }
            Handshake::CurveServer(server) => server.accept(),
            Handshake::Null | Handshake::PlainClient(_) | Handshake::CurveClient(_) => None,
        }
    }

    /// Says the last word, if it is ours. With a cipher, everything after that goes through it.
    pub(super) fn finish(self, settings: &Settings, out: &mut Output) -> Result<Option<Box<Cipher>>, Error> {
        let cipher = match self {
            Handshake::Null | Handshake::PlainClient(_) => return Ok(None),
            Handshake::PlainServer(_) => {
                command::write(out, b"\x05READY", &[&metadata::ours(settings)]);
                return Ok(None);
            }
            Handshake::CurveServer(server) => server.finish(settings, out)?,
            Handshake::CurveClient(client) => client.finish()?,
        };
        Ok(Some(Box::new(cipher)))
    }
}

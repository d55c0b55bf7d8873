//! PLAIN: a name and a password in clear text. HELLO and WELCOME, then INITIATE and READY with metadata.

use super::command::{self, Command, short};
use super::error::Error;
use super::handshake::Step;
use super::metadata::{self, About};
use super::output::Output;
use super::settings::{Credentials, Secret, Settings};
use bytes::Bytes;

/// Our side, when we check.
#[derive(Debug, Default)]
pub(super) struct Server {
    welcomed: bool,
}

impl Server {
    pub(super) fn command(&mut self, command: Command<'_>) -> Result<Step, Error> {
        match (self.welcomed, command.name) {
            // libzmq 4.3.0 and 4.3.1 say WELCOME where they mean HELLO.
            (false, b"HELLO" | b"WELCOME") => hello(command.data)
                .map(|(user, password)| {
                    let (user, password) = (Bytes::copy_from_slice(user), Bytes::copy_from_slice(password));
                    Step::Login(Credentials::Plain { user, password: Secret::new(password) })
                })
                .ok_or(Error::Malformed("a HELLO of PLAIN is no name and password")),
            (true, b"INITIATE") => About::parse(command.data).map(Step::About),
            (false, _) => Err(command.unexpected("HELLO")),
            (true, _) => Err(command.unexpected("INITIATE")),
        }
    }

    pub(super) fn accept(&mut self, out: &mut Output) {
        self.welcomed = true;
        command::write(out, b"\x07WELCOME", &[]);
    }
}

fn hello(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (user, rest) = short(data)?;
    let (password, rest) = short(rest)?;
    rest.is_empty().then_some((user, password))
}

/// Our side, when we are checked.
#[derive(Debug, Default)]
pub(super) struct Client {
    welcomed: bool,
}

impl Client {
    pub(super) fn start(user: &[u8], password: &Secret, out: &mut Output) -> Result<Client, Error> {
        let password = password.expose();
        let (Ok(user_len), Ok(password_len)) = (u8::try_from(user.len()), u8::try_from(password.len())) else {
            return Err(Error::Setting("a name or password of PLAIN has more than 255 bytes"));
        };
        command::write(out, b"\x05HELLO", &[&[user_len], user, &[password_len], password]);
        Ok(Client::default())
    }

    pub(super) fn command(
        &mut self,
        command: Command<'_>,
        settings: &Settings,
        out: &mut Output,
    ) -> Result<Step, Error> {
        match (self.welcomed, command.name) {
            (false, b"WELCOME") => {
                self.welcomed = true;
                command::write(out, b"\x08INITIATE", &[&metadata::ours(settings)]);
                Ok(Step::Wait)
            }
            (true, b"READY") => About::parse(command.data).map(Step::About),
            (false, _) => Err(command.unexpected("WELCOME")),
            (true, _) => Err(command.unexpected("READY")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_a_name_and_a_password() {
        assert_eq!(hello(b"\x04shop\x02pw"), Some((&b"shop"[..], &b"pw"[..])));
        assert_eq!(hello(b"\0\0"), Some((&b""[..], &b""[..])));
        for data in [&b""[..], b"\x04shop", b"\x04shop\x02p", b"\x05shop\x00", b"\x00\x00x", b"\xff\xff"] {
            assert_eq!(hello(data), None, "{data:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        let (long, fits) = ([b'x'; 256], [b'x'; 255]);
        let mut out = Output::default();
        assert!(Client::start(&long, &Secret::new(&b""[..]), &mut out).is_err());
        assert!(Client::start(b"", &Secret::new(long.to_vec()), &mut out).is_err());
        assert!(out.is_empty());
        assert!(Client::start(&fits, &Secret::new(fits.to_vec()), &mut out).is_ok());
    }
}

//! Our side of CURVE when we are the server: the one whose public key clients know beforehand.

use super::super::command::{self, Command};
use super::super::error::Error;
use super::super::handshake::Step;
use super::super::metadata::{self, About};
use super::super::output::Output;
use super::super::settings::{Credentials, Settings};
use super::{
    COOKIE, Cipher, PADDING, PublicKey, SIGNATURE, SecretKey, counted, cut, drawn, open, random, seal, shared,
};
use aws_lc_rs::constant_time::verify_slices_are_equal as same;
use crypto_box::SalsaBox;

/// Where the handshake of a server stands.
pub(in super::super) enum Server {
    /// Nothing came.
    Hello,
    /// WELCOME was sent.
    Initiate(Box<Welcomed>),
    /// The client proved its key and waits for the verdict. The metadata is taken out when there is one.
    Proven { session: SalsaBox, theirs: u64, about: Option<About> },
}

pub(in super::super) struct Welcomed {
    client: PublicKey,
    /// Of this connection, like the client's.
    secret: SecretKey,
    cookie: [u8; COOKIE],
    /// The last number that the client used up.
    theirs: u64,
}

impl Server {
    pub(in super::super) fn command(
        &mut self,
        command: Command<'_>,
        secret: &SecretKey,
        out: &mut Output,
    ) -> Result<Step, Error> {
        match (&*self, command.name) {
            (Server::Hello, b"HELLO") => {
                *self = Server::Initiate(Box::new(hello(command.data, secret, out)?));
                Ok(Step::Wait)
            }
            (Server::Initiate(welcomed), b"INITIATE") => {
                let (key, proven) = welcomed.initiate(command.data, secret)?;
                *self = proven;
                Ok(Step::Login(Credentials::Curve { key }))
            }
            (Server::Hello, _) => Err(command.unexpected("HELLO")),
            (_, _) => Err(command.unexpected("INITIATE")),
        }
    }

    pub(in super::super) fn accept(&mut self) -> Option<About> {
        if let Server::Proven { about, .. } = self { about.take() } else { None }
    }

    pub(in super::super) fn finish(self, settings: &Settings, out: &mut Output) -> Result<Cipher, Error> {
        let Server::Proven { session, theirs, .. } = self else { return Err(Error::Closed) };
        let sealed = seal(&session, &counted(b"CurveZMQREADY---", 1), &[&metadata::ours(settings)])?;
        command::write(out, b"\x05READY", &[&1_u64.to_be_bytes(), &sealed]);
        Ok(Cipher::of_server(session, 2, theirs))
    }
}

/// Version, padding, the client's key of this connection, a number, a box of zeros that proves this key.
fn hello(mut data: &[u8], permanent: &SecretKey, out: &mut Output) -> Result<Welcomed, Error> {
    let short = Error::Malformed("a HELLO of CURVE does not have its 200 bytes");
    let (Some([major, minor]), Some(_), Some(client), Some(number)) =
        (cut::<2>(&mut data), cut::<PADDING>(&mut data), cut::<32>(&mut data), cut::<8>(&mut data))
    else {
        return Err(short);
    };
    if data.len() != SIGNATURE + super::TAG {
        return Err(short);
    }
    if (*major, *minor) != (1, 0) {
        return Err(Error::Malformed("a HELLO of CURVE has a version other than 1.0"));
    }
    let (client, theirs) = (PublicKey::from(*client), u64::from_be_bytes(*number));
    let for_hello = shared(&client, permanent);
    if open(&for_hello, &counted(b"CurveZMQHELLO---", theirs), data).is_none() {
        return Err(Error::Sealed("a HELLO of CURVE is not for our key: the client has another server's"));
    }

    let (secret, cookie, number) = (SecretKey::generate()?, random::<COOKIE>()?, random::<16>()?);
    let sealed = seal(&for_hello, &drawn(b"WELCOME-", &number), &[secret.public().as_bytes(), &cookie])?;
    command::write(out, b"\x07WELCOME", &[&number, &sealed]);
    Ok(Welcomed { client, secret, cookie, theirs })
}

impl Welcomed {
    /// The cookie, a number, a box with the client's permanent key, its vouch and the metadata.
    fn initiate(&self, mut data: &[u8], permanent: &SecretKey) -> Result<(PublicKey, Server), Error> {
        let short = Error::Malformed("an INITIATE of CURVE is too short");
        let (Some(cookie), Some(number)) = (cut::<COOKIE>(&mut data), cut::<8>(&mut data)) else { return Err(short) };
        if same(cookie, &self.cookie).is_err() {
            return Err(Error::Sealed("an INITIATE of CURVE has a cookie that we did not give"));
        }
        let theirs = u64::from_be_bytes(*number);
        if theirs <= self.theirs {
            return Err(Error::Sealed("an INITIATE of CURVE has a number that was used before"));
        }
        let session = shared(&self.client, &self.secret);
        let opened = open(&session, &counted(b"CurveZMQINITIATE", theirs), data)
            .ok_or(Error::Sealed("an INITIATE of CURVE is not encrypted with the keys of this connection"))?;
        let mut data = &opened[..];
        let (Some(key), Some(number), Some(vouch)) = (cut::<32>(&mut data), cut::<16>(&mut data), cut::<80>(&mut data))
        else {
            return Err(short);
        };
        // Only who has the permanent key could vouch that this connection's key is its own, and meant for us.
        let key = PublicKey::from(*key);
        let vouched = open(&shared(&key, &self.secret), &drawn(b"VOUCH---", number), vouch);
        let expected = [*self.client.as_bytes(), *permanent.public().as_bytes()].concat();
        if vouched.is_none_or(|vouched| same(&vouched, &expected).is_err()) {
            return Err(Error::Sealed("an INITIATE of CURVE does not prove the client's key"));
        }
        let about = Some(About::parse(data)?);
        Ok((key, Server::Proven { session, theirs, about }))
    }
}

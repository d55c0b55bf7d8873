//! Our side of CURVE when we are the client: we know the server's public key beforehand.

use super::super::command::{self, Command};
use super::super::error::Error;
use super::super::handshake::Step;
use super::super::metadata::{self, About};
use super::super::output::Output;
use super::super::settings::Settings;
use super::{
    COOKIE, Cipher, PADDING, PublicKey, SIGNATURE, SecretKey, counted, cut, drawn, open, random, seal, shared,
};
use crypto_box::SalsaBox;

/// Where the handshake of a client stands. The numbers are those of the steps: HELLO is 1, INITIATE 2.
pub(in super::super) struct Client {
    /// Of this connection.
    secret: SecretKey,
    /// What was agreed on with WELCOME, and from READY on the server's last number.
    session: Option<SalsaBox>,
    theirs: u64,
}

impl Client {
    pub(in super::super) fn start(server: &PublicKey, out: &mut Output) -> Result<Client, Error> {
        let secret = SecretKey::generate()?;
        let sealed = seal(&shared(server, &secret), &counted(b"CurveZMQHELLO---", 1), &[&[0; SIGNATURE]])?;
        let mut version_and_padding = [0; 2 + PADDING];
        version_and_padding[0] = 1;
        let public = secret.public();
        let data = [&version_and_padding, &public.as_bytes()[..], &1_u64.to_be_bytes(), &sealed];
        command::write(out, b"\x05HELLO", &data);
        Ok(Client { secret, session: None, theirs: 0 })
    }

    pub(in super::super) fn command(
        &mut self,
        command: Command<'_>,
        server: &PublicKey,
        permanent: &SecretKey,
        settings: &Settings,
        out: &mut Output,
    ) -> Result<Step, Error> {
        match (&self.session, command.name) {
            (None, b"WELCOME") => {
                self.session = Some(self.welcome(command.data, server, permanent, settings, out)?);
                Ok(Step::Wait)
            }
            (Some(session), b"READY") => {
                let mut data = command.data;
                let number = cut::<8>(&mut data).ok_or(Error::Malformed("a READY of CURVE is too short"))?;
                self.theirs = u64::from_be_bytes(*number);
                let about = open(session, &counted(b"CurveZMQREADY---", self.theirs), data)
                    .ok_or(Error::Sealed("a READY of CURVE is not encrypted with the keys of this connection"))?;
                About::parse(&about).map(Step::About)
            }
            (None, _) => Err(command.unexpected("WELCOME")),
            (Some(_), _) => Err(command.unexpected("READY")),
        }
    }

    /// A number, a box with the server's key of this connection and a cookie. INITIATE is the answer.
    fn welcome(
        &self,
        mut data: &[u8],
        server: &PublicKey,
        permanent: &SecretKey,
        settings: &Settings,
        out: &mut Output,
    ) -> Result<SalsaBox, Error> {
        let short = Error::Malformed("a WELCOME of CURVE does not have its 168 bytes");
        let Some(number) = cut::<16>(&mut data) else { return Err(short) };
        let opened = open(&shared(server, &self.secret), &drawn(b"WELCOME-", number), data)
            .ok_or(Error::Sealed("a WELCOME of CURVE does not prove the server's key"))?;
        let mut data = &opened[..];
        let (Some(theirs), Some(cookie)) = (cut::<32>(&mut data), cut::<COOKIE>(&mut data)) else { return Err(short) };
        if !data.is_empty() {
            return Err(short);
        }
        let theirs = PublicKey::from(*theirs);
        let session = shared(&theirs, &self.secret);
        let number = random::<16>()?;
        let (this_connection, always) = (self.secret.public(), permanent.public());
        let vouched = [&this_connection.as_bytes()[..], server.as_bytes()];
        let vouch = seal(&shared(&theirs, permanent), &drawn(b"VOUCH---", &number), &vouched)?;
        let content = [always.as_bytes(), &number[..], &vouch, &metadata::ours(settings)];
        let sealed = seal(&session, &counted(b"CurveZMQINITIATE", 2), &content)?;
        command::write(out, b"\x08INITIATE", &[cookie, &2_u64.to_be_bytes(), &sealed]);
        Ok(session)
    }

    pub(in super::super) fn finish(self) -> Result<Cipher, Error> {
        let session = self.session.ok_or(Error::Closed)?;
        Ok(Cipher::of_client(session, 3, self.theirs))
    }
}

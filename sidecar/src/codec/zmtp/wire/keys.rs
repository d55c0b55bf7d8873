//! Keys of CURVE, written in Z85 as ZeroMQ's tools write them.

use super::error::Error;
use crate::exchange::z85;
use std::fmt;
use std::str::FromStr;

/// Bytes of a key.
pub(super) const KEY: usize = 32;

/// Who somebody is. Written in Z85.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY]);

/// How somebody proves who it is: shown nowhere, wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(crypto_box::SecretKey);

impl PublicKey {
    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    pub(super) fn point(&self) -> crypto_box::PublicKey {
        crypto_box::PublicKey::from(self.0)
    }
}

impl From<[u8; KEY]> for PublicKey {
    fn from(bytes: [u8; KEY]) -> PublicKey {
        PublicKey(bytes)
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<PublicKey, Error> {
        z85::key(text).map(PublicKey).ok_or(Error::Setting("a public key is not 40 characters of Z85"))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&z85::text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SecretKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<SecretKey, Error> {
        random().map(SecretKey::from)
    }

    /// The key that others know this one by.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.public_key().as_bytes())
    }

    /// In Z85, to be written into a file that only its owner reads.
    pub fn expose(&self) -> String {
        z85::text(&self.0.to_bytes())
    }

    pub(super) fn scalar(&self) -> &crypto_box::SecretKey {
        &self.0
    }
}

impl From<[u8; KEY]> for SecretKey {
    fn from(bytes: [u8; KEY]) -> SecretKey {
        SecretKey(crypto_box::SecretKey::from(bytes))
    }
}

impl FromStr for SecretKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<SecretKey, Error> {
        z85::key(text).map(SecretKey::from).ok_or(Error::Setting("a secret key is not 40 characters of Z85"))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Error::Sealed("the system gave no random numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of libzmq's manual (zmq_curve): a server's public and secret key.
    const PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

    #[test]
    fn z85_of_the_manual() {
        let public: PublicKey = PUBLIC.parse().unwrap();
        assert_eq!(public.to_string(), PUBLIC);
        let secret: SecretKey = SECRET.parse().unwrap();
        assert_eq!((secret.public(), secret.expose().as_str()), (public, SECRET));
        // The example of RFC 32, four times.
        let hello = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b].repeat(4);
        let hello: [u8; 32] = hello.try_into().unwrap();
        assert_eq!(PublicKey::from(hello).to_string(), "HelloWorld".repeat(4));
        for bytes in [[0; 32], [255; 32]] {
            assert_eq!(PublicKey::from(bytes).to_string().parse(), Ok(PublicKey::from(bytes)));
        }
    }

    #[test]
    fn what_is_no_key() {
        let five = "#####".to_owned() + &PUBLIC[5..];
        for text in ["", &PUBLIC[1..], &(PUBLIC.to_owned() + "a"), &PUBLIC.replace('r', " "), &five, &"ü".repeat(20)] {
            assert!(text.parse::<PublicKey>().is_err() && text.parse::<SecretKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let secret = SecretKey::generate().unwrap();
        assert_eq!(format!("{secret:?}"), "***");
        assert_ne!(secret.public(), SecretKey::generate().unwrap().public());
    }
}

//! What one side of a connection is, knows and allows.

use super::keys::{PublicKey, SecretKey};
use super::socket::SocketType;
use bytes::Bytes;
use std::fmt;

/// How a listener or a dialer speaks: one for all of its connections, behind an `Arc`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What we are: ROUTER for callers, DEALER for workers.
    pub socket_type: SocketType,
    /// By which the peer's ROUTER may know us; at most 255 bytes, usually none.
    pub identity: Bytes,
    /// How peers prove who they are.
    pub mechanism: Mechanism,
    /// What peers may send.
    pub limits: Limits,
}

impl Settings {
    /// With default limits and no identity.
    pub fn new(socket_type: SocketType, mechanism: Mechanism) -> Settings {
        Settings { socket_type, identity: Bytes::new(), mechanism, limits: Limits::default() }
    }
}

/// How peers prove who they are. Both sides must have the same.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Mechanism {
    /// Not at all.
    Null,
    /// By a password in clear text: we check it.
    PlainServer,
    /// By a password in clear text: ours is checked. At most 255 bytes each.
    PlainClient {
        /// Who we are.
        user: Bytes,
        /// Its proof.
        password: Secret,
    },
    /// By keys, and encrypted: we are the server.
    CurveServer {
        /// Ours. Clients know its public key.
        secret: SecretKey,
    },
    /// By keys, and encrypted: we are the client.
    CurveClient {
        /// The server's.
        server: PublicKey,
        /// Ours. The server may know its public key.
        secret: SecretKey,
    },
}

impl Mechanism {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Mechanism::Null => "NULL",
            Mechanism::PlainServer | Mechanism::PlainClient { .. } => "PLAIN",
            Mechanism::CurveServer { .. } | Mechanism::CurveClient { .. } => "CURVE",
        }
    }

    /// Whether we are the side that checks.
    pub(super) fn is_server(&self) -> bool {
        matches!(self, Mechanism::PlainServer | Mechanism::CurveServer { .. })
    }
}

/// What a peer may send. Sizes are checked as they are announced, before anything is set aside for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, all of its frames together.
    pub message: usize,
    /// Frames of a message.
    pub frames: usize,
    /// Bytes of a command after the handshake; during it, at most 8 KiB.
    pub command: usize,
}

/// As much as the commands of the world outside have.
impl Default for Limits {
    fn default() -> Limits {
        Limits { message: 16 << 20, frames: 64, command: 64 << 10 }
    }
}

/// What a peer says to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// PLAIN.
    Plain {
        /// Who it says it is. Bytes of its choice, not always text.
        user: Bytes,
        /// Its proof.
        password: Secret,
    },
    /// CURVE. It has proved that the key is its own.
    Curve {
        /// Its permanent key.
        key: PublicKey,
    },
}

/// A password: shown nowhere, compared in a time that tells nothing but its length.
#[derive(Clone)]
pub struct Secret(Bytes);

impl Secret {
    /// Hides these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Secret {
        Secret(bytes.into())
    }

    /// Whether it is this one.
    pub fn is(&self, other: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, other).is_ok()
    }

    /// The bytes themselves, for those who hash them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_nowhere() {
        let password = Secret::new("hunter2");
        let client = Mechanism::PlainClient { user: Bytes::from_static(b"shop"), password: password.clone() };
        let settings = Settings::new(SocketType::Dealer, client);
        let credentials = Credentials::Plain { user: Bytes::new(), password: password.clone() };
        assert!(!format!("{settings:?}{credentials:?}{password:?}").contains("hunter2"));
        assert!(password.is(b"hunter2") && !password.is(b"hunter") && !password.is(b"hunter3"));
        assert_eq!(password, Secret::new(password.expose().to_vec()));
    }
}

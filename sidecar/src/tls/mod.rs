//! TLS to callers, receivers and instances: one shape of settings, one library (rustls with aws-lc-rs), errors in
//! plain words.

mod about;
mod acceptor;
mod choice;
mod connector;
mod files;
mod kept;
mod names;
mod pem;
pub(crate) mod section;
mod session;
mod tickets;
mod verify;
mod words;

pub use about::{About, Age, EXPIRES_SOON, Role, about};
pub use acceptor::{Acceptor, Pair, ServerTls, Titled};
pub(crate) use connector::system;
pub use connector::{ClientTls, Connector};
pub use kept::{Look, Trouble};
pub use names::Expiry;
pub use pem::Pem;
pub use session::{Session, session};
pub use words::{failure, in_words, of_caller};

use rustls::{CommonState, SupportedProtocolVersion};
use std::sync::Arc;

/// An encrypted stream over any other.
pub type TlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// RFC 5246; 1.3 is preferred all the same.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Version::Tls12 => &BOTH,
            Version::Tls13 => &BOTH[..1],
        }
    }
}

/// Who the other side has proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name: `spiffe://…`, a host name or a common name; none when its certificate has no name that can be shown.
    pub identity: Option<Arc<str>>,
    /// Every name of its certificate that can be shown, in its order: host names, addresses of mail and URIs, and at
    /// the end the common names of its subject.
    pub names: Arc<[Arc<str>]>,
}

/// Who the other side of a session is, if it showed a certificate. It was verified then.
pub fn peer(session: &CommonState) -> Option<Peer> {
    let certificate = session.peer_certificates()?.first()?;
    Some(Peer { identity: names::identity(certificate), names: names::all(certificate) })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

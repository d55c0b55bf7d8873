//! TLS to callers.

use super::choice::Choice;
use super::kept::{Kept, Look, Settings, Trouble};
use super::names::{self, Expiry};
use super::tickets::Tickets;
use super::{Pem, Version, files};
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// What callers are offered: HTTP/2 first. `http/1.0` is what some say who want nothing newer.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The certificate and its chain.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

/// A certificate that is shown for names that somebody gave it, whatever it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Titled {
    /// Host names in lower case; the first or the last label of one may be `*`.
    pub names: Vec<String>,
    /// The certificate.
    pub pair: Pair,
}

/// How a listener encrypts, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerTls {
    /// Certificates, chosen by the name that a caller asks for; the first for all others.
    pub pairs: Vec<Pair>,
    /// Whether the pairs stand under `certificates`, for messages.
    pub(crate) listed: bool,
    /// More certificates, each for its names, which go before those that stand in `pairs`.
    pub titled: Arc<[Titled]>,
    /// The authorities of callers' certificates; without them callers are not asked for one.
    pub client_ca: Option<Pem>,
    /// Callers without a certificate are let in too.
    pub client_optional: bool,
    /// The oldest version that is accepted.
    pub min_version: Version,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that is not usable, and what to do about it.
    pub fn acceptor(&self) -> Result<Acceptor, Trouble> {
        let kept = Kept::new(self.clone());
        kept.made()?;
        Ok(Acceptor(Arc::new(kept)))
    }

    /// Everything that is wrong with the files, each with the number of its pair if it belongs to one.
    pub(crate) fn troubles(&self) -> Vec<(Option<usize>, Trouble)> {
        let mut all = Vec::new();
        for (i, pair) in self.pairs.iter().enumerate() {
            all.extend(files::troubles(&pair.certificate, &pair.key).into_iter().map(|t| (Some(i), t)));
        }
        let authorities = self.client_ca.iter().filter_map(|path| files::trouble_of_authorities(path, "client_ca"));
        all.extend(authorities.map(|t| (None, t)));
        if all.is_empty() {
            // Those of a gateway are looked at with the gateway.
            all.extend(self.acceptor().err().filter(|_| !self.pairs.is_empty()).map(|t| (None, t)));
        }
        all
    }
}

impl Settings for ServerTls {
    type Made = ServerConfig;

    fn paths(&self) -> Vec<&Path> {
        let pairs = self.pairs.iter().chain(self.titled.iter().map(|t| &t.pair));
        pairs.flat_map(|p| [&p.certificate, &p.key]).chain(&self.client_ca).filter_map(Pem::path).collect()
    }

    fn make(&self) -> Result<(ServerConfig, Vec<Expiry>), Trouble> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let broken = |e: rustls::Error| Trouble::new("", format!("TLS cannot be set up ({e})"), "report this");
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.min_version.and_later())
            .map_err(broken)?;
        let mut expiries = Vec::new();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let all = files::certificates(pem, "client_ca")?;
                expiries.extend(names::of_authorities(pem, &all));
                let mut roots = RootCertStore::empty();
                files::authorities(&mut roots, all, pem, "client_ca")?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = if self.client_optional { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|e| {
                    let words = format!("the authorities in {pem} are not usable ({e})");
                    Trouble::new("client_ca", words, "give the authority's own certificate")
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (certificate, key) = if self.listed { ("certificates", "certificates") } else { ("certificate", "key") };
        let mut read = |pair: &Pair, certificate, key| {
            let (certified, chain) = files::pair((&pair.certificate, certificate), (&pair.key, key), &provider)?;
            expiries.extend(names::of_chain(&pair.certificate, &chain));
            Ok(Arc::new(certified))
        };
        let mut choice = Choice::default();
        for Titled { names, pair } in &*self.titled {
            choice.add_titled(names, read(pair, "", "")?);
        }
        for pair in &self.pairs {
            choice.add(read(pair, certificate, key)?);
        }
        if choice.is_empty() {
            return Err(Trouble::new("", "a listener needs a certificate", "add `certificate` and `key`"));
        }
        let mut config = builder.with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = ALPN.iter().map(|p| p.to_vec()).collect();
        // Its key changes by itself. A new configuration has a new one, so that nobody resumes what was agreed with
        // authorities that are not trusted any more.
        config.ticketer = match self.client_ca {
            None => aws_lc_rs::Ticketer::new().map_err(broken)?,
            Some(_) => {
                // What it remembers itself would last as long.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                Arc::new(Tickets::new().map_err(broken)?)
            }
        };
        Ok((config, expiries))
    }
}

/// Takes encrypted streams. Clones share what was read from the files.
#[derive(Clone)]
pub struct Acceptor(Arc<Kept<ServerTls>>);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Acceptor").field(&self.0.settings()).finish()
    }
}

impl Acceptor {
    /// Shakes hands with a caller. There is no time limit here.
    pub async fn accept<S>(&self, stream: S) -> io::Result<tokio_rustls::server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.0.made().map_err(|trouble| io::Error::other(trouble.to_string()))?;
        TlsAcceptor::from(config).accept(stream).await
    }

    /// What a server that speaks nothing but HTTP/1.1 shakes hands with now.
    pub fn for_http1(&self) -> io::Result<Arc<ServerConfig>> {
        let config = self.0.made().map_err(|trouble| io::Error::other(trouble.to_string()))?;
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks at the files and reads them again if they have changed; blocks as long as the file system does.
    pub fn look(&self) -> Look {
        self.0.look()
    }

    /// Goes on with another's settings and files, from the next handshake on.
    pub fn take_over(&self, other: Acceptor) {
        if let Some(kept) = Arc::into_inner(other.0) {
            self.0.become_like(kept);
        }
    }

    /// Whether it was made of these settings.
    pub fn is_of(&self, settings: &ServerTls) -> bool {
        *self.0.settings() == *settings
    }

    /// When which of the files expires.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.0.expiries()
    }
}

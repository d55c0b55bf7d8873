//! TLS to receivers and workers: one shape of settings, one library (rustls with aws-lc-rs), errors in plain words.

mod files;
mod verify;
mod words;

pub use words::in_words;

use files::Stamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// An encrypted stream over any other.
pub type TlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// RFC 5246; 1.3 is preferred all the same.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How a connection that we open is encrypted and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file of our own certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of our certificate's private key.
    pub key: Option<PathBuf>,
    /// The name that the other side's certificate must be for, when it is not the host that we connect to.
    pub server_name: Option<String>,
    /// False: whoever answers is believed. The traffic is encrypted, but anybody between may read and change it;
    /// for a test receiver only.
    pub verify: bool,
    /// The oldest version that is accepted.
    pub min_version: Version,
}

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls {
            ca: None,
            certificate: None,
            key: None,
            server_name: None,
            verify: true,
            min_version: Version::default(),
        }
    }
}

impl ClientTls {
    /// Reads the files. An error names the file and what to do about it.
    pub fn connector(&self, alpn: &[&[u8]]) -> Result<Connector, String> {
        if let Some(name) = &self.server_name {
            ServerName::try_from(name.as_str())
                .map_err(|_| format!("server_name `{name}` is neither a host name nor an address"))?;
        }
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|p| p.to_vec()).collect();
        let stamp = files::stamp(self);
        let config = Arc::new(files::load(self, &alpn)?);
        let shared =
            Shared { settings: self.clone(), alpn, loaded: Mutex::new(Loaded { config, stamp, trouble: None }) };
        Ok(Connector(Arc::new(shared)))
    }
}

struct Shared {
    settings: ClientTls,
    alpn: Vec<Vec<u8>>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    stamp: Stamp,
    /// Why changed files could not be taken over; the old ones are in use.
    trouble: Option<String>,
}

/// Opens encrypted streams. Clones are cheap and share what was read from the files.
#[derive(Clone)]
pub struct Connector(Arc<Shared>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connector").field(&self.0.settings).finish()
    }
}

/// The same settings, so the same behaviour.
impl PartialEq for Connector {
    fn eq(&self, other: &Connector) -> bool {
        self.0.settings == other.0.settings && self.0.alpn == other.0.alpn
    }
}

impl Connector {
    /// Shakes hands over `stream`. `host` is whom the certificate must be for, unless the settings name another.
    /// There is no time limit here: the caller has one for the whole way.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, trouble) = self.current().await;
        let wanted = self.0.settings.server_name.as_deref().unwrap_or(host);
        let bare = wanted.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{wanted}` cannot stand in a certificate: set server_name"),
            )
        })?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| {
            let said = in_words(wanted, e);
            match trouble {
                Some(trouble) => io::Error::new(said.kind(), format!("{said}; {trouble}")),
                None => said,
            }
        })
    }

    /// What the files say now: a certificate that was replaced needs no restart. Files that cannot be read leave
    /// the old ones in use.
    async fn current(&self) -> (Arc<ClientConfig>, Option<String>) {
        if files::none(&self.0.settings) {
            let loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            return (loaded.config.clone(), None);
        }
        let shared = self.0.clone();
        // Off the thread that sends: a file system may be slow.
        let refreshed = tokio::task::spawn_blocking(move || {
            let stamp = files::stamp(&shared.settings);
            if shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).stamp == stamp {
                return;
            }
            let read = files::load(&shared.settings, &shared.alpn);
            let mut loaded = shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok(config) => {
                    *loaded = Loaded { config: Arc::new(config), stamp, trouble: None };
                }
                Err(why) => loaded.trouble = Some(format!("the files changed and are not usable: {why}")),
            }
        });
        let _ = refreshed.await;
        let loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        (loaded.config.clone(), loaded.trouble.clone())
    }
}

#[cfg(test)]
mod tests;

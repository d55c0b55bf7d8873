//! TLS to receivers and instances.

use super::acceptor::Pair;
use super::choice::Own;
use super::kept::{Kept, Look, Settings, Trouble};
use super::names::{self, Expiry};
use super::verify::Anybody;
use super::{Pem, TlsStream, Version, files, in_words};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// How a connection that we open is encrypted and whom it trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities to trust instead of the system's.
    pub ca: Vec<Pem>,
    /// Our own certificate and its chain.
    pub certificate: Option<Pem>,
    /// Our certificate's private key.
    pub key: Option<Pem>,
    /// A second pair, for those who cannot check the first.
    pub other: Option<Pair>,
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
            ca: Vec::new(),
            certificate: None,
            key: None,
            other: None,
            server_name: None,
            verify: true,
            min_version: Version::default(),
        }
    }
}

impl ClientTls {
    /// Reads the files. An error names the file and what to do about it.
    pub fn connector(&self, alpn: &[&[u8]]) -> Result<Connector, String> {
        self.check().map_err(|trouble| trouble.to_string())?;
        let connector = self.lasting(alpn);
        connector.0.made().map_err(|trouble| trouble.to_string())?;
        Ok(connector)
    }

    /// The same for settings that were checked before: should the files not be usable now, connecting fails until
    /// they are.
    pub fn lasting(&self, alpn: &[&[u8]]) -> Connector {
        let alpn = alpn.iter().map(|p| p.to_vec()).collect();
        Connector(Arc::new(Kept::new(Wanted { tls: self.clone(), alpn })))
    }

    /// The same for a library that connects by itself; the files are read once.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.check().map_err(|trouble| trouble.to_string())?;
        let made = Wanted { tls: self.clone(), alpn: Vec::new() }.make();
        made.map(|(config, _)| Arc::new(config)).map_err(|trouble| trouble.to_string())
    }

    /// Whether the values and the files are usable.
    ///
    /// # Errors
    /// What is not, and what to do about it.
    pub fn check(&self) -> Result<(), Trouble> {
        if let Some(name) = &self.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            let words = format!("server_name `{name}` is neither a host name nor an address");
            return Err(Trouble::new("server_name", words, "write the name that stands in the certificate"));
        }
        Wanted { tls: self.clone(), alpn: Vec::new() }.make().map(drop)
    }

    /// Everything that is wrong with the files, or else with the values.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let ca = self.ca.iter().filter(|_| self.verify);
        let mut all: Vec<Trouble> = ca.filter_map(|pem| files::trouble_of_authorities(pem, "ca")).collect();
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            all.extend(files::troubles(certificate, key));
        }
        if all.is_empty() {
            all.extend(self.check().err());
        }
        all
    }
}

/// The settings, and what is spoken.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    tls: ClientTls,
    alpn: Vec<Vec<u8>>,
}

impl Settings for Wanted {
    type Made = ClientConfig;

    fn paths(&self) -> Vec<&Path> {
        let Wanted { tls: ClientTls { ca, certificate, key, other, .. }, .. } = self;
        let other = other.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        ca.iter().chain(certificate).chain(key).chain(other).filter_map(Pem::path).collect()
    }

    fn make(&self) -> Result<(ClientConfig, Vec<Expiry>), Trouble> {
        let tls = &self.tls;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let broken = |e: rustls::Error| Trouble::new("", format!("TLS cannot be set up ({e})"), "report this");
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(tls.min_version.and_later())
            .map_err(broken)?;
        let mut expiries = Vec::new();
        let builder = if tls.verify {
            builder.with_root_certificates(roots(&tls.ca, &mut expiries)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider.clone())))
        };
        let mut config = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                let mut read = |certificate: &Pem, key: &Pem| {
                    let (certified, chain) = files::pair((certificate, "certificate"), (key, "key"), &provider)?;
                    expiries.extend(names::of_chain(certificate, &chain));
                    Ok(Arc::new(certified))
                };
                let first = read(certificate, key)?;
                let other = tls.other.as_ref().map(|pair| read(&pair.certificate, &pair.key)).transpose()?;
                builder.with_client_cert_resolver(Arc::new(Own { first, other }))
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => {
                let fix = "name the PEM file of its private key";
                return Err(Trouble::new("certificate", "`certificate` needs `key`", fix));
            }
            (None, Some(_)) => {
                let fix = "name the PEM file that the key belongs to";
                return Err(Trouble::new("key", "`key` needs `certificate`", fix));
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok((config, expiries))
    }
}

fn roots(ca: &[Pem], expiries: &mut Vec<Expiry>) -> Result<Arc<RootCertStore>, Trouble> {
    if ca.is_empty() {
        return Ok(system());
    }
    let mut store = RootCertStore::empty();
    for pem in ca {
        let all = files::certificates(pem, "ca")?;
        expiries.extend(names::of_authorities(pem, &all));
        files::authorities(&mut store, all, pem, "ca")?;
    }
    Ok(Arc::new(store))
}

/// The system's authorities, read once.
pub(crate) fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        // Some of a system's certificates are always odd; only that none is left would matter.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(store)
    };
    SYSTEM.get_or_init(read).clone()
}

/// Opens encrypted streams. Clones are cheap and share what was read from the files.
#[derive(Clone)]
pub struct Connector(Arc<Kept<Wanted>>);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connector").field(&self.0.settings().tls).finish()
    }
}

/// The same settings, so the same behaviour.
impl PartialEq for Connector {
    fn eq(&self, other: &Connector) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.settings() == other.0.settings()
    }
}

impl Connector {
    /// Shakes hands over `stream`, after a look at the files: for those who connect seldom and whom nobody waits for.
    /// `host` is whom the certificate must be for, unless the settings name another. There is no time limit here: the
    /// caller has one for the whole way.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.0.settings().paths().is_empty() {
            let kept = self.0.clone();
            // Off the thread that sends: a file system may be slow.
            let _ = tokio::task::spawn_blocking(move || kept.look()).await;
        }
        self.connect_now(host, stream).await
    }

    /// The same with what was read from the files before: somebody else looks at them.
    pub async fn connect_now<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let settings = self.0.settings();
        let config = self.0.made().map_err(|trouble| io::Error::other(trouble.to_string()))?;
        let wanted = settings.tls.server_name.as_deref().unwrap_or(host);
        let bare = wanted.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{wanted}` cannot stand in a certificate: set server_name"),
            )
        })?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| {
            let said = in_words(wanted, e);
            match self.0.trouble() {
                Some(trouble) => {
                    let words = format!("{said}; the files changed and are not usable: {trouble}");
                    io::Error::new(said.kind(), words)
                }
                None => said,
            }
        })
    }

    /// Looks at the files and reads them again if they have changed; blocks as long as the file system does.
    pub fn look(&self) -> Look {
        self.0.look()
    }

    /// Whether it was made of these settings.
    pub fn is_of(&self, settings: &ClientTls) -> bool {
        self.0.settings().tls == *settings
    }

    /// When which of the files expires.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.0.expiries()
    }
}

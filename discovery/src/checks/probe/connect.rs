//! Connections of probes: a new one each time, since whether one can be made is part of the question.

use crate::model::Tls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whose certificates are trusted by checks that speak TLS.
#[derive(Clone)]
pub struct Trust {
    /// By whether the certificate is verified, then by whether HTTP/2 is spoken.
    configs: [[Arc<ClientConfig>; 2]; 2],
    /// Where we ourselves listen for those who look after us.
    own: Arc<[SocketAddr]>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Default for Trust {
    /// Trusts nobody: only checks that skip verification succeed.
    fn default() -> Self {
        Trust::new(RootCertStore::empty())
    }
}

impl Trust {
    /// Trusts these authorities.
    pub fn new(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let anybody = Arc::new(Anybody(Arc::clone(&provider)));
        let config = |verify: bool, h2: bool| {
            // The provider's own defaults hold both versions, so that this cannot fail; should it, TLS checks would.
            let built =
                ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
            let builder = match built {
                Ok(builder) => builder,
                Err(_) => ClientConfig::builder(),
            };
            let mut config = match verify {
                true => builder.with_root_certificates(Arc::clone(&roots)).with_no_client_auth(),
                false => {
                    let builder = builder.dangerous();
                    builder.with_custom_certificate_verifier(Arc::clone(&anybody) as _).with_no_client_auth()
                }
            };
            if h2 {
                config.alpn_protocols = vec![b"h2".to_vec()];
            }
            Arc::new(config)
        };
        let configs = [false, true].map(|verify| [false, true].map(|h2| config(verify, h2)));
        Trust { configs, own: Arc::default() }
    }

    /// The same, with places where nothing but how we are is asked: whoever may register a check must not give orders
    /// in our name.
    pub fn keep_off(self, own: impl IntoIterator<Item = SocketAddr>) -> Self {
        Trust { own: own.into_iter().collect(), ..self }
    }

    /// Whether a connection leads to ourselves.
    pub(super) fn is_own(&self, stream: &TcpStream) -> bool {
        let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return true };
        let (to, from) = (peer.ip().to_canonical(), local.ip().to_canonical());
        let here = to.is_loopback() || to == from;
        self.own.iter().any(|own| {
            let ip = own.ip().to_canonical();
            own.port() == peer.port() && (ip == to || (ip.is_unspecified() && here))
        })
    }

    fn config(&self, verify: bool, h2: bool) -> Arc<ClientConfig> {
        let [[any, any_h2], [known, known_h2]] = &self.configs;
        Arc::clone(match (verify, h2) {
            (false, false) => any,
            (false, true) => any_h2,
            (true, false) => known,
            (true, true) => known_h2,
        })
    }
}

/// Takes every certificate, for checks that say so.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection to `host:port`.
pub(super) async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to `host:port` with TLS.
pub(super) async fn tls(address: &str, tls: &Tls, trust: &Trust, h2: bool) -> io::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = if tls.server_name.is_empty() { host } else { &tls.server_name };
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let stream = tcp(address).await?;
    TlsConnector::from(trust.config(!tls.skip_verify, h2)).connect(name, stream).await
}

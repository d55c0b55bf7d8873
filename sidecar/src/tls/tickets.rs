//! Session tickets of a listener that asks for certificates.

use super::names;
use rustls::crypto::aws_lc_rs;
use rustls::server::ProducesTickets;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tickets that end with the caller's certificate. A ticket carries that certificate from session to session, and the
/// library looks at its time in the first one alone: who came back often enough would be let in for ever.
#[derive(Debug)]
pub(super) struct Tickets {
    all: Arc<dyn ProducesTickets>,
    now: fn() -> i64,
}

impl Tickets {
    /// Under a new key, which changes by itself.
    pub(super) fn new() -> Result<Tickets, rustls::Error> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
        Ok(Tickets { all: aws_lc_rs::Ticketer::new()?, now })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.all.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.all.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.all.encrypt(plain)
    }

    /// None makes a whole handshake of it.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.all.decrypt(cipher)?;
        names::end_within(&plain).is_none_or(|end| (self.now)() <= end).then_some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Settings as _;
    use super::super::testing::Papers;
    use super::super::{Connector, ServerTls, Version};
    use super::*;
    use rustls::{HandshakeKind, ServerConfig};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Whether a session was resumed.
    async fn meet(config: &Arc<ServerConfig>, connector: &Connector) -> bool {
        let (near, far) = tokio::io::duplex(64 << 10);
        let caller = async {
            let mut stream = connector.connect_now("server.test", far).await.unwrap();
            stream.write_all(b"a").await.unwrap();
            stream.flush().await.unwrap();
            // Tickets come with the first bytes.
            stream.read_u8().await.unwrap()
        };
        let listener = async {
            let mut stream = tokio_rustls::TlsAcceptor::from(config.clone()).accept(near).await.unwrap();
            let byte = stream.read_u8().await.unwrap();
            stream.write_all(&[byte]).await.unwrap();
            stream.flush().await.unwrap();
            stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
        };
        tokio::join!(listener, caller).0
    }

    #[tokio::test]
    async fn a_session_is_not_resumed_with_a_certificate_whose_time_is_over() {
        let papers = Papers::new();
        let (asking, after) = (Some(papers.pem("ca.pem")), || i64::MAX);
        for (client_ca, now, again) in
            [(asking.clone(), None, true), (asking, Some(after as fn() -> i64), false), (None, Some(after), true)]
        {
            let (mut config, _) = ServerTls { client_ca, ..papers.server() }.make().unwrap();
            if let Some(now) = now {
                config.ticketer = Arc::new(Tickets { now, ..Tickets::new().unwrap() });
            }
            let config = Arc::new(config);
            for version in [Version::Tls12, Version::Tls13] {
                let client = papers.client_as(&["spiffe://ours/pay"]);
                let connector = super::super::ClientTls { min_version: version, ..client }.connector(&[]).unwrap();
                assert!(!meet(&config, &connector).await);
                assert_eq!(meet(&config, &connector).await, again, "{version:?}");
            }
        }
    }
}

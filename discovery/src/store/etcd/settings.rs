//! What an operator may say about the store.

use rustls::ClientConfig;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The shortest lease: etcd grants none below that.
const LEASE_MIN: Duration = Duration::from_secs(2);
/// How long one call may take.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// Where SkyDNS's and CoreDNS's entries lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkyDns {
    /// What their `path-prefix` and `path` say, without slashes around it.
    pub prefix: String,
    /// The domain under which registered instances are told to them: `ID.SERVICE.` and this.
    pub domain: String,
}

impl Default for SkyDns {
    fn default() -> Self {
        SkyDns { prefix: "skydns".into(), domain: "skydns.local".into() }
    }
}

/// What an operator may say about the store.
#[derive(Clone)]
pub struct Settings {
    /// Where etcd is: `http://etcd-1:2379`. One that fails is left for the next.
    pub endpoints: Vec<String>,
    /// What our own keys begin with, between slashes.
    pub prefix: String,
    /// SkyDNS's entries; None neither reads nor writes any.
    pub skydns: Option<SkyDns>,
    /// Our own node, whose checks are ours to do. Only one registry can have it.
    pub node: String,
    /// How long what lives here is still told by others when we are gone without a word; at least 2 s.
    pub lease: Duration,
    /// Who we are to etcd: a name and a password.
    pub user: Option<(String, String)>,
    /// Whom we trust, and who we are, at endpoints with `https`.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long the start waits for etcd before it goes on without.
    pub wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            prefix: "fourmi".into(),
            skydns: Some(SkyDns::default()),
            node: "localhost".into(),
            lease: Duration::from_secs(15),
            user: None,
            tls: None,
            wait: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("skydns", &self.skydns)
            .field("node", &self.node)
            .field("lease", &self.lease)
            .field("user", &user)
            .finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn lease(&self) -> Duration {
        self.lease.max(LEASE_MIN)
    }

    /// How long one call may take.
    pub(super) fn patience(&self) -> Duration {
        let [least, most] = PATIENCE;
        (self.lease() / 3).clamp(least, most)
    }
}

/// Why the store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// That is no endpoint.
    Endpoint(String),
    /// The endpoint speaks TLS, and nothing says whom to trust.
    Tls(String),
    /// The prefix is empty or has characters that it cannot have.
    Prefix(String),
    /// Another registry has our node's name: what it says of itself.
    Taken(String, String),
    /// etcd refuses us.
    Refused(String),
    /// There is no thread to work in.
    Thread(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Endpoint(text) if text.is_empty() => write!(f, "etcd has no endpoint"),
            Unusable::Endpoint(text) => write!(f, "{text:?} is no endpoint of etcd; write http://host:2379"),
            Unusable::Tls(text) => write!(f, "{text} needs TLS, and no certificates to trust are given"),
            Unusable::Prefix(text) => write!(f, "{text:?} is no prefix: words of letters, digits, '-' or '_' and '/'"),
            Unusable::Taken(node, who) => write!(
                f,
                "another registry has the node {node:?} in etcd ({who}); give each its own node name, or stop that one"
            ),
            Unusable::Refused(why) => write!(f, "etcd refuses us: {why}"),
            Unusable::Thread(why) => write!(f, "no thread for etcd: {why}"),
        }
    }
}

impl std::error::Error for Unusable {}

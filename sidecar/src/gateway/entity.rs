//! What a Kong file holds. References between entities are places in the lists of [`Entities`].

use super::Id;
use ipnet::IpNet;
use serde_json::Value as Json;

/// Everything that one file says, in its order.
#[derive(Debug, Clone, Default)]
pub struct Entities {
    /// What is behind the gateway.
    pub services: Vec<Service>,
    /// Which commands go where.
    pub routes: Vec<Route>,
    /// Who calls.
    pub consumers: Vec<Consumer>,
    /// How callers prove who they are.
    pub credentials: Credentials,
    /// Groups of consumers (deck).
    pub consumer_groups: Vec<ConsumerGroup>,
    /// Middlewares and where they hold.
    pub plugins: Vec<Plugin>,
    /// Sets of instances.
    pub upstreams: Vec<Upstream>,
    /// The instances.
    pub targets: Vec<Target>,
    /// Certificates that listeners or connections to services show.
    pub certificates: Vec<Certificate>,
    /// For which names a certificate is shown.
    pub snis: Vec<Sni>,
    /// Authorities.
    pub ca_certificates: Vec<CaCertificate>,
    /// Where references are looked up.
    pub vaults: Vec<Vault>,
}

/// Every credential of every consumer.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// `keyauth_credentials`.
    pub keys: Vec<KeyAuth>,
    /// `basicauth_credentials`.
    pub basic: Vec<BasicAuth>,
    /// `hmacauth_credentials`.
    pub hmac: Vec<HmacAuth>,
    /// `jwt_secrets`.
    pub jwt: Vec<JwtSecret>,
    /// `acls`.
    pub groups: Vec<Acl>,
}

/// One of Kong's protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Http,
    Https,
    Grpc,
    Grpcs,
    Tcp,
    Tls,
    TlsPassthrough,
    Udp,
}

impl Protocol {
    /// All, in Kong's order.
    pub const ALL: [Protocol; 8] = [
        Protocol::Grpc,
        Protocol::Grpcs,
        Protocol::Http,
        Protocol::Https,
        Protocol::Tcp,
        Protocol::Tls,
        Protocol::TlsPassthrough,
        Protocol::Udp,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Grpc => "grpc",
            Protocol::Grpcs => "grpcs",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
            Protocol::TlsPassthrough => "tls_passthrough",
            Protocol::Udp => "udp",
        }
    }

    /// Reads what is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// `services`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Service {
    pub id: Id,
    pub name: Option<String>,
    pub enabled: bool,
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    pub path: Option<String>,
    pub retries: u16,
    /// Milliseconds, as the two that follow.
    pub connect_timeout: u32,
    pub write_timeout: u32,
    pub read_timeout: u32,
    pub client_certificate: Option<usize>,
    pub tls_verify: Option<bool>,
    pub tls_verify_depth: Option<u8>,
    /// None: those that hold for all.
    pub ca_certificates: Option<Vec<usize>>,
    pub tags: Vec<String>,
}

/// `routes`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Route {
    pub id: Id,
    pub name: Option<String>,
    pub service: Option<usize>,
    pub protocols: Vec<Protocol>,
    pub hosts: Vec<String>,
    /// A regular expression begins with `~`.
    pub paths: Vec<String>,
    pub methods: Vec<String>,
    /// Names as written; every name with one of its values.
    pub headers: Vec<(String, Vec<String>)>,
    pub snis: Vec<String>,
    pub sources: Vec<Peer>,
    pub destinations: Vec<Peer>,
    pub regex_priority: i32,
    pub strip_path: bool,
    pub preserve_host: bool,
    pub https_redirect_status_code: u16,
    pub path_handling: PathHandling,
    pub request_buffering: bool,
    pub response_buffering: bool,
    pub tags: Vec<String>,
    /// The place in the file.
    pub order: usize,
}

/// One end of a connection, in `sources` and `destinations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Peer {
    pub ip: Option<IpNet>,
    pub port: Option<u16>,
}

/// How the paths of a service and of a request are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum PathHandling {
    V0,
    V1,
}

/// `consumers`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Consumer {
    pub id: Id,
    pub username: Option<String>,
    pub custom_id: Option<String>,
    pub groups: Vec<usize>,
    pub tags: Vec<String>,
}

/// `consumer_groups`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "deck's fields by deck's names")]
pub struct ConsumerGroup {
    pub id: Id,
    pub name: String,
    pub tags: Vec<String>,
}

/// `keyauth_credentials`.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct KeyAuth {
    pub id: Id,
    pub consumer: usize,
    pub key: String,
    /// Seconds from the load; none: for ever.
    pub ttl: Option<u64>,
    pub tags: Vec<String>,
}

/// `basicauth_credentials`.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct BasicAuth {
    pub id: Id,
    pub consumer: usize,
    pub username: String,
    /// Lower-case hex of SHA-1 over the password and the consumer's id.
    pub hash: String,
    pub tags: Vec<String>,
}

/// `hmacauth_credentials`.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct HmacAuth {
    pub id: Id,
    pub consumer: usize,
    pub username: String,
    pub secret: String,
    pub tags: Vec<String>,
}

/// `jwt_secrets`.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct JwtSecret {
    pub id: Id,
    pub consumer: usize,
    pub key: String,
    pub secret: String,
    pub rsa_public_key: Option<String>,
    pub algorithm: String,
    pub tags: Vec<String>,
}

/// `acls`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Acl {
    pub id: Id,
    pub consumer: usize,
    pub group: String,
    pub tags: Vec<String>,
}

/// `plugins`: a middleware and where it holds.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Plugin {
    pub id: Id,
    pub name: String,
    pub instance_name: Option<String>,
    pub service: Option<usize>,
    pub route: Option<usize>,
    pub consumer: Option<usize>,
    pub consumer_group: Option<usize>,
    /// As it is in the file, references resolved; each middleware reads its own.
    pub config: Json,
    pub protocols: Vec<Protocol>,
    pub enabled: bool,
    pub tags: Vec<String>,
}

/// `upstreams`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Upstream {
    pub id: Id,
    pub name: String,
    pub algorithm: Algorithm,
    pub hash_on: HashOn,
    pub hash_fallback: HashOn,
    pub hash_on_cookie_path: String,
    pub slots: u32,
    pub healthchecks: Healthchecks,
    pub host_header: Option<String>,
    pub client_certificate: Option<usize>,
    pub use_srv_name: bool,
    pub tags: Vec<String>,
}

/// How an instance is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum Algorithm {
    RoundRobin,
    LeastConnections,
    ConsistentHashing,
    Latency,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kong's words")]
pub enum HashOn {
    None,
    Consumer,
    Ip,
    Header(String),
    Cookie(String),
    Path,
    QueryArg(String),
    UriCapture(String),
}

/// `upstreams[].healthchecks`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Healthchecks {
    pub active: Active,
    pub passive: Passive,
    /// Percent.
    pub threshold: f64,
}

/// `healthchecks.active`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Active {
    pub kind: Protocol,
    /// Seconds.
    pub timeout: f64,
    pub concurrency: u32,
    pub http_path: String,
    pub https_sni: Option<String>,
    pub https_verify_certificate: bool,
    pub headers: Vec<(String, Vec<String>)>,
    pub healthy: Good,
    pub unhealthy: Ill,
}

/// `healthchecks.passive`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Passive {
    pub kind: Protocol,
    pub healthy: Good,
    pub unhealthy: Ill,
}

/// What says that an instance is well.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Good {
    /// Seconds; only of active checks.
    pub interval: f64,
    pub http_statuses: Vec<u16>,
    pub successes: u8,
}

/// What says that it is not.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Ill {
    /// Seconds; only of active checks.
    pub interval: f64,
    pub http_statuses: Vec<u16>,
    pub tcp_failures: u8,
    pub timeouts: u8,
    pub http_failures: u8,
}

/// `targets`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Target {
    pub id: Id,
    pub upstream: usize,
    /// As written.
    pub target: String,
    pub host: String,
    pub port: u16,
    pub weight: u16,
    pub tags: Vec<String>,
}

/// `certificates`. PEM.
#[derive(Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Certificate {
    pub id: Id,
    pub cert: String,
    pub key: String,
    /// A second pair, with a key of another type.
    pub alt: Option<(String, String)>,
    pub tags: Vec<String>,
}

/// `snis`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Sni {
    pub id: Id,
    pub name: String,
    pub certificate: usize,
    pub tags: Vec<String>,
}

/// `ca_certificates`. PEM.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct CaCertificate {
    pub id: Id,
    pub cert: String,
    /// Hex of SHA-256.
    pub cert_digest: String,
    pub tags: Vec<String>,
}

/// `vaults`, all of the kind `env`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Kong's fields by Kong's names")]
pub struct Vault {
    pub id: Id,
    pub prefix: String,
    pub description: Option<String>,
    pub tags: Vec<String>,
}

/// What holds a secret tells its id alone.
macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("id", &self.id).finish_non_exhaustive()
            }
        }
    )*};
}

hidden!(KeyAuth, BasicAuth, HmacAuth, JwtSecret, Plugin, Certificate);

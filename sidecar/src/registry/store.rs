//! `discovery.store`: where registrations are kept.

use super::secret;
use crate::section::{Key, Kind, Shape, Wrong, key};
use crate::tls::ClientTls;
use crate::tls::section::KEYS as TLS_KEYS;
use fourmi_discovery::etcd::{self, SkyDns};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const TEXT: Kind = Kind::Text(Shape::Free);

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key("memory", Kind::Section(&[]), "Nowhere: what others registered is gone after a restart."),
    key("embedded", Kind::Section(EMBEDDED), "A file of this process."),
    key("etcd", Kind::Section(ETCD), "An etcd (3.4 or 3.5) that several registries share."),
];

const EMBEDDED: &[Key] =
    &[key("path", Kind::Text(Shape::File), "The file, which is SQLite.").or("./fourmi-data/registry.db")];

const ETCD: &[Key] = &[
    key("endpoints", Kind::OneOrMany(&TEXT), "Where it is, such as http://etcd-1:2379; the next one when one fails.")
        .required(),
    key("prefix", TEXT, "What our own keys begin with.").or("fourmi"),
    key("skydns", Kind::OrOff(SKYDNS), "SkyDNS's keys, read and written; `off` for neither."),
    key("user", TEXT, "Who we are there."),
    key("password", Kind::Text(Shape::Secret), "Its password."),
    key("password_file", Kind::Text(Shape::File), "A file that holds it."),
    key(
        "lease",
        Kind::Duration { min: Duration::from_secs(2), off: false },
        "How long others tell of what lives here when this registry is gone without a word; the same for all.",
    )
    .or("15s"),
    key("tls", Kind::Section(TLS_KEYS), "How `https` endpoints are spoken to.").or_words("the system's authorities"),
];

const SKYDNS: &[Key] = &[
    key("prefix", TEXT, "What SkyDNS's `path-prefix` or CoreDNS's `path` says.").or("skydns"),
    key("domain", Kind::Text(Shape::DnsName), "The domain that registered instances are told under.")
        .or("skydns.local"),
];

/// Where a registry's file is when nobody says.
const FILE: &str = "./fourmi-data/registry.db";

/// Where registrations are kept.
#[derive(Debug, Clone, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    Memory,
    /// In this file.
    File(PathBuf),
    /// In an etcd.
    Etcd(Box<etcd::Settings>, Option<ClientTls>),
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Memory, Place::Memory) => true,
            (Place::File(a), Place::File(b)) => a == b,
            (Place::Etcd(a, one), Place::Etcd(b, two)) => {
                (&a.endpoints, &a.prefix, &a.skydns, a.lease, &a.user)
                    == (&b.endpoints, &b.prefix, &b.skydns, b.lease, &b.user)
                    && one == two
            }
            _ => false,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    memory: Option<Value>,
    embedded: Option<Embedded>,
    etcd: Option<Etcd>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Embedded {
    path: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Etcd {
    endpoints: Vec<String>,
    prefix: Option<String>,
    skydns: Option<Keys>,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    lease: Option<Duration>,
    tls: Option<Value>,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        f.debug_struct("Etcd").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    prefix: Option<String>,
    domain: Option<String>,
}

/// Where it is kept; a file when others can register and nothing else is said.
pub(super) fn place(values: Option<Values>, node: &str, others: bool) -> Result<Place, Wrong> {
    match values {
        Some(Values { etcd: Some(values), .. }) => etcd(values, node),
        Some(Values { embedded: Some(embedded), .. }) => Ok(Place::File(embedded.path.unwrap_or_else(|| FILE.into()))),
        Some(Values { memory: Some(_), .. }) => Ok(Place::Memory),
        _ if others => Ok(Place::File(FILE.into())),
        _ => Ok(Place::Memory),
    }
}

fn etcd(v: Etcd, node: &str) -> Result<Place, Wrong> {
    let standard = etcd::Settings::default();
    let wrong = |message: String, fix: &str| Wrong::new(message, fix).of("store.etcd");
    let password = secret::of(v.password, v.password_file, "password").map_err(|w| w.of("store.etcd"))?;
    let user = match (v.user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(wrong("`user` needs a password".into(), "write `password` or `password_file`"));
        }
        (None, Some(_)) => return Err(wrong("a password without `user`".into(), "write `user`")),
    };
    for endpoint in &v.endpoints {
        let authority = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        if !authority.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@', ' '])) {
            return Err(wrong(format!("`{endpoint}` is no endpoint of etcd"), "write one such as http://etcd-1:2379"));
        }
    }
    let tls = match (v.tls, v.endpoints.iter().any(|e| e.starts_with("https://"))) {
        (Some(tls), _) => Some(ClientTls::of_section(tls).map_err(|w| w.of("store.etcd.tls"))?),
        (None, true) => Some(ClientTls::default()),
        (None, false) => None,
    };
    let settings = etcd::Settings {
        endpoints: v.endpoints,
        prefix: v.prefix.unwrap_or(standard.prefix),
        skydns: v.skydns.map(|keys| SkyDns {
            prefix: keys.prefix.unwrap_or_else(|| SkyDns::default().prefix),
            domain: keys.domain.unwrap_or_else(|| SkyDns::default().domain),
        }),
        node: node.into(),
        lease: v.lease.unwrap_or(standard.lease),
        user,
        ..standard
    };
    Ok(Place::Etcd(Box::new(settings), tls))
}

//! The section `tls:`: one shape for whatever opens connections, one for listeners.

use super::{ClientTls, Pair, Pem, ServerTls, Version};
use crate::section::{Key, Kind, Shape, Wrong, elsewhere, key, word};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

const MIN_VERSION: Key =
    key("min_version", Kind::Word(&[word("1.2"), word("1.3")]), "The oldest version of TLS.").or("\"1.2\"");

/// Its keys, for whatever opens connections.
pub(crate) const KEYS: &[Key] = &[
    key("ca", Kind::Text(Shape::File), "PEM file of the authorities to trust instead of the system's."),
    key("certificate", Kind::Text(Shape::File), "PEM file of our own certificate and its chain."),
    key("key", Kind::Text(Shape::File), "PEM file of its private key."),
    key("server_name", Kind::Text(Shape::Free), "Whom the other side's certificate must be for.").or_words("the host"),
    key("verify", Kind::Flag, "`false` believes whoever answers: for a test receiver only.").or("true"),
    MIN_VERSION,
    elsewhere("client_ca", "it is for listeners; whom a connection trusts is `ca`"),
    elsewhere("client_auth", "it is for listeners; our own certificate is `certificate` and `key`"),
    elsewhere("certificates", "it is for listeners; a connection has one `certificate` and `key`"),
];

/// Its keys, for listeners.
pub(crate) const LISTENER_KEYS: &[Key] = &[
    key("certificate", Kind::Text(Shape::File), "PEM file of the certificate and its chain."),
    key("key", Kind::Text(Shape::File), "PEM file of its private key."),
    key(
        "certificates",
        Kind::List(&Kind::Section(PAIR)),
        "Several, instead of `certificate` and `key`: chosen by the name that a caller asks for (SNI), the first for all \
         others.",
    ),
    key(
        "client_ca",
        Kind::Text(Shape::File),
        "PEM file of authorities: callers are asked for a certificate signed by one of them, and are believed then.",
    ),
    key(
        "client_auth",
        Kind::Word(&[word("required"), word("optional")]),
        "Whether callers without a certificate are let in; only with `client_ca`.",
    )
    .or_words("required"),
    MIN_VERSION,
    elsewhere("ca", "it is for connections; whose certificates callers must have is `client_ca`"),
    elsewhere("verify", "it is for connections; callers are verified by `client_ca`"),
    elsewhere("server_name", "it is for connections; a listener's names stand in its certificates"),
];

const PAIR: &[Key] = &[
    key("certificate", Kind::Text(Shape::File), "PEM file of the certificate and its chain.").required(),
    key("key", Kind::Text(Shape::File), "PEM file of its private key.").required(),
];

/// The values of the section; also without it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Values {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    verify: bool,
    min_version: String,
}

impl Default for Values {
    fn default() -> Values {
        Values { ca: None, certificate: None, key: None, server_name: None, verify: true, min_version: String::new() }
    }
}

impl Values {
    /// Believes whoever answers, who is asked for by this name, or by the host's.
    pub(crate) fn believing(server_name: Option<String>) -> Values {
        Values { server_name, verify: false, ..Values::default() }
    }
}

impl From<Values> for ClientTls {
    fn from(v: Values) -> ClientTls {
        ClientTls {
            ca: v.ca.map(Pem::File).into_iter().collect(),
            certificate: v.certificate.map(Pem::File),
            key: v.key.map(Pem::File),
            other: None,
            server_name: v.server_name,
            verify: v.verify,
            min_version: version(&v.min_version),
        }
    }
}

#[derive(Debug, Deserialize)]
struct PairValues {
    certificate: PathBuf,
    key: PathBuf,
}

/// The values of a listener's section.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListenerValues {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    certificates: Vec<PairValues>,
    client_ca: Option<PathBuf>,
    client_auth: Option<String>,
    min_version: String,
}

fn version(word: &str) -> Version {
    if word == "1.3" { Version::Tls13 } else { Version::Tls12 }
}

impl ClientTls {
    /// The section's values; the files are not looked at.
    pub(crate) fn of_section(values: serde_json::Value) -> Result<ClientTls, Wrong> {
        let values: Values = serde_json::from_value(values).map_err(unreadable)?;
        Ok(values.into())
    }
}

fn pair(certificate: PathBuf, key: PathBuf) -> Pair {
    Pair { certificate: certificate.into(), key: key.into() }
}

fn unreadable(error: serde_json::Error) -> Wrong {
    Wrong::new(format!("cannot be read ({error})"), "compare it with the documentation")
}

impl ServerTls {
    /// The section's values, or what of them does not go together; the files are not looked at.
    pub(crate) fn of_section(values: serde_json::Value) -> Result<ServerTls, Wrong> {
        let v: ListenerValues = serde_json::from_value(values).map_err(unreadable)?;
        let listed = !v.certificates.is_empty();
        let pairs = match (v.certificate, v.key, v.certificates.is_empty()) {
            (Some(certificate), Some(key), true) => vec![pair(certificate, key)],
            (None, None, false) => v.certificates.into_iter().map(|p| pair(p.certificate, p.key)).collect(),
            (Some(_), None, true) => {
                return Err(
                    Wrong::new("`certificate` needs `key`", "name the PEM file of its private key").of("certificate")
                );
            }
            (None, Some(_), true) => {
                return Err(
                    Wrong::new("`key` needs `certificate`", "name the PEM file that the key belongs to").of("key")
                );
            }
            // It may have those of a gateway.
            (None, None, true) => Vec::new(),
            (_, _, false) => {
                let fix = "put the pair into `certificates`, where the first is for unknown names";
                return Err(Wrong::new("`certificate` or `key` beside `certificates`", fix).of("certificates"));
            }
        };
        if v.client_auth.is_some() && v.client_ca.is_none() {
            let fix = "add `client_ca`, the authorities of callers' certificates, or remove `client_auth`";
            return Err(Wrong::new("`client_auth` without `client_ca`", fix).of("client_auth"));
        }
        Ok(ServerTls {
            pairs,
            listed,
            titled: Arc::default(),
            client_ca: v.client_ca.map(Pem::File),
            client_optional: v.client_auth.as_deref() == Some("optional"),
            min_version: version(&v.min_version),
        })
    }
}

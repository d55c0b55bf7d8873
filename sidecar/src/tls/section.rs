//! The section `tls:` of whatever opens connections: one shape everywhere.

use super::{ClientTls, Version};
use crate::section::{Key, Kind, Shape, key, word};
use serde::Deserialize;
use std::path::PathBuf;

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key("ca", Kind::Text(Shape::File), "PEM file of the authorities to trust instead of the system's."),
    key("certificate", Kind::Text(Shape::File), "PEM file of our own certificate and its chain."),
    key("key", Kind::Text(Shape::File), "PEM file of its private key."),
    key("server_name", Kind::Text(Shape::Free), "Whom the other side's certificate must be for.").or_words("the host"),
    key("verify", Kind::Flag, "`false` believes whoever answers: for a test receiver only.").or("true"),
    key("min_version", Kind::Word(&[word("1.2"), word("1.3")]), "The oldest version of TLS.").or("\"1.2\""),
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

impl From<Values> for ClientTls {
    fn from(v: Values) -> ClientTls {
        ClientTls {
            ca: v.ca,
            certificate: v.certificate,
            key: v.key,
            server_name: v.server_name,
            verify: v.verify,
            min_version: if v.min_version == "1.3" { Version::Tls13 } else { Version::Tls12 },
        }
    }
}

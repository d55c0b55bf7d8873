//! An entry of SkyDNS: what a name means, whoever wrote it.

use super::limits::{Invalid, LONG_MAX, TEXT_MAX, is_label};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// An entry of SkyDNS, in JSON as SkyDNS writes it. Unknown fields are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// An IP address or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The port of SRV records.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u16,
    /// Lower is asked first; 0 is the domain's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: u16,
    /// The share among those of the same priority; 0 is 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: u16,
    /// A TXT record.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Whether it is an MX record too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// The time to live of its records in seconds; it says nothing of the entry's own life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// So many labels are cut from the left of a name made from the entry's key.
    #[serde(rename = "targetstrip", skip_serializing_if = "is_zero")]
    pub target_strip: u16,
    /// Entries of another group than the topmost one are left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// When the entry ends by itself.
    #[serde(skip)]
    pub expires: Option<SystemTime>,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl Record {
    /// An entry that points to a host.
    pub fn host(host: impl Into<String>, port: u16) -> Self {
        Record { host: host.into(), port, ..Record::default() }
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let fits = self.host.len() <= TEXT_MAX && self.text.len() <= LONG_MAX && self.group.len() <= TEXT_MAX;
        let graphic = self.host.bytes().all(|b| b.is_ascii_graphic());
        if fits && graphic { Ok(()) } else { Err(Invalid::Record) }
    }
}

/// The key of a name: lower case, from the root on, a slash between labels. None when it is no name.
pub(crate) fn path(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels: Vec<&str> = name.split('.').rev().collect();
    let fits = name.len() <= TEXT_MAX && labels.iter().all(|label| is_label(label));
    fits.then(|| labels.join("/").to_ascii_lowercase())
}

//! An entry of SkyDNS: what a name means, whoever wrote it.

use super::limits::{Invalid, LONG_MAX, TEXT_MAX, is_label};
use crate::snapshot::Member;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
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

    /// The key under which SkyDNS's store has a name: with the prefix `skydns`, `/skydns/local/skydns/stock` for
    /// `stock.skydns.local`. None when it is no name.
    pub fn key(prefix: &str, name: &str) -> Option<String> {
        Some(format!("/{}/{}", prefix.trim_matches('/'), path(name)?))
    }

    /// The name that a key is for; the whole prefix is taken away, however many elements it has.
    pub fn name(prefix: &str, key: &str) -> Option<String> {
        let rest = key.strip_prefix('/')?.strip_prefix(prefix.trim_matches('/'))?.strip_prefix('/')?;
        let name = rest.split('/').rev().collect::<Vec<_>>().join(".");
        path(&name).map(|_| name)
    }

    /// A member of a service as an entry, so that whoever reads SkyDNS's store finds it.
    pub fn of(member: &Member) -> Self {
        Record {
            priority: member.instance.priority.unwrap_or(0),
            weight: member.weight(),
            ..Record::host(member.address().to_string(), member.instance.port)
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
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

/// An instance's id as a label of a name.
pub(crate) fn label(id: &str) -> Cow<'_, str> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if id.bytes().all(legal) && id.len() <= 63 {
        return Cow::Borrowed(id);
    }
    let lower = id.bytes().map(|b| b.to_ascii_lowercase());
    Cow::Owned(lower.map(|b| if legal(b) { char::from(b) } else { '-' }).take(63).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_lead_to_each_other() {
        for (prefix, name, key) in [
            ("mydns", "service.staging.skydns.local", "/mydns/local/skydns/staging/service"),
            ("skydns", "orders.prod.skydns.local", "/skydns/local/skydns/prod/orders"),
            ("/app1/skydns", "a.skydns.local", "/app1/skydns/local/skydns/a"),
        ] {
            assert_eq!(Record::key(prefix, name).as_deref(), Some(key));
            assert_eq!(Record::name(prefix, key).as_deref(), Some(name));
        }
        assert_eq!(Record::key("skydns", "A.Skydns.Local.").as_deref(), Some("/skydns/local/skydns/a"));
        assert_eq!(Record::name("skydns", "/skydns2/local/a"), None, "another prefix that begins the same");
        assert_eq!(Record::name("skydns", "/skydns/local//a"), None);
        assert_eq!(Record::key("skydns", "*.skydns.local"), None);
    }

    #[test]
    fn entries_are_written_as_skydns_writes_them() {
        let text =
            r#"{"host":"10.0.0.1","port":80,"priority":5,"targetstrip":1,"group":"g1","unknown":true,"key":"x"}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!((record.port, record.priority, record.target_strip, record.ttl), (80, 5, 1, None));
        let written = serde_json::to_string(&Record { ttl: Some(0), ..record }).unwrap();
        let expected = r#"{"host":"10.0.0.1","port":80,"priority":5,"ttl":0,"targetstrip":1,"group":"g1"}"#;
        assert_eq!(written, expected);
    }
}

//! Names as lists of labels.

use hickory_proto::rr::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most labels of a name: one byte and its length each, in 255 bytes.
const LABELS_MAX: usize = 127;

/// The labels of a name in lower case, from the left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Labels {
    text: String,
    ends: Vec<u8>,
}

impl Labels {
    /// The labels of a name; None when one is no text, which no name of ours is.
    pub(crate) fn of(name: &Name) -> Option<Labels> {
        let mut labels = Labels { text: String::with_capacity(name.len()), ends: Vec::with_capacity(8) };
        for label in name.iter() {
            labels.text.push_str(std::str::from_utf8(label).ok()?);
            labels.ends.push(u8::try_from(labels.text.len()).ok()?);
        }
        labels.text.make_ascii_lowercase();
        Some(labels)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&str> {
        let end = usize::from(*self.ends.get(at)?);
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |start| usize::from(*start));
        self.text.get(start..end)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        (0..self.len()).map(|at| self.get(at).unwrap_or_default())
    }

    pub(crate) fn ends_with(&self, other: &Labels) -> bool {
        self.len() >= other.len() && self.iter().rev().zip(other.iter().rev()).all(|(a, b)| a == b)
    }

    /// The labels left of a domain.
    pub(crate) fn under<'a>(&'a self, domain: &Labels) -> Vec<&'a str> {
        self.iter().take(self.len().saturating_sub(domain.len())).collect()
    }
}

/// The whole name that a text means. Labels are taken as they are: no escapes, no international names.
pub(crate) fn name_of(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let labels: Vec<&[u8]> = text.split('.').map(str::as_bytes).take(LABELS_MAX + 1).collect();
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Labels in front of a domain.
pub(crate) fn name_under<'a>(labels: impl IntoIterator<Item = &'a str>, domain: &'a Name) -> Option<Name> {
    let front = labels.into_iter().map(str::as_bytes);
    Name::from_labels(front.chain(domain.iter()).collect::<Vec<_>>()).ok()
}

/// The address in a name that lists it backwards, as `2.0.0.127.in-addr.arpa`.
pub(crate) fn reversed(labels: &Labels) -> Option<IpAddr> {
    let all: Vec<&str> = labels.iter().rev().collect();
    match all.as_slice() {
        ["arpa", "in-addr", octets @ ..] if octets.len() == 4 => {
            let mut ip = [0; 4];
            for (byte, octet) in ip.iter_mut().zip(octets) {
                *byte = octet.parse().ok()?;
            }
            Some(Ipv4Addr::from(ip).into())
        }
        ["arpa", "ip6", nibbles @ ..] if nibbles.len() == 32 => hex_address(&nibbles.concat()),
        _ => None,
    }
}

/// The address in 8 or 32 hexadecimal digits.
pub(crate) fn hex_address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(hex, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    }
}

/// An address in hexadecimal digits.
pub(crate) fn hex_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => format!("{:08x}", u32::from(v4)),
        IpAddr::V6(v6) => format!("{:032x}", u128::from(v6)),
    }
}

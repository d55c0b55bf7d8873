//! Ids of entities: UUIDs, computed from names as Kong computes them, so that logs and counters of both agree.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt;
use std::str::FromStr;

/// A UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Id([u8; 16]);

/// The namespace under which every kind of entity has its own.
const ROOT: Id = Id(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5_u128.to_be_bytes());

impl Id {
    /// The same as a number.
    #[must_use]
    pub fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Version 5: a name in a namespace.
    #[must_use]
    pub fn named(self, name: &str) -> Id {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&self.0[..], name.as_bytes()].concat());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Id(bytes)
    }

    /// The id of an entity of a list (`services`, `routes`, …) under its key.
    #[must_use]
    pub fn of(list: &str, key: &str) -> Id {
        ROOT.named(list).named(key)
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a valid UUID")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Id, NotAnId> {
        let form = text.len() == 36
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        if !form {
            return Err(NotAnId);
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16).map(|n| Id(n.to_be_bytes())).map_err(|_| NotAnId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_kong() {
        for (list, name, id) in [
            ("services", "my-service", "0855b320-0dd2-547d-891d-601e9b38647f"),
            ("consumers", "my-user", "4b1b701d-de2b-5588-9aa2-3b97061d9f52"),
            ("routes", "my-route", "481a9539-f49c-51b6-b2e2-fe99ee68866c"),
            ("services", "foo", "2933fbcc-9d7c-54a7-a984-fe2bde836cea"),
            ("services", "orders", "580c8aca-d632-5804-b307-a24326e1e2d5"),
            ("consumers", "shop-app", "4f326f44-5a37-56cf-b93b-510d2089d894"),
            ("upstreams", "up1", "85b92587-e1f9-522f-9495-6e2d3b1f379e"),
        ] {
            assert_eq!(Id::of(list, name).to_string(), id, "{list} {name}");
        }
    }

    #[test]
    fn a_text_is_an_id_or_not() {
        let text = "0855b320-0dd2-547d-891d-601e9b38647f";
        assert_eq!(text.to_uppercase().parse::<Id>().map(|i| i.to_string()).as_deref(), Ok(text));
        for bad in
            ["", "0855b3200dd2547d891d601e9b38647f", &text[1..], &text.replace('f', "g"), &text.replace('f', "é")]
        {
            assert_eq!(bad.parse::<Id>(), Err(NotAnId), "{bad}");
        }
    }
}

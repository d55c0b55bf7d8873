//! How long and how many the parts of a registration may be.

use std::collections::BTreeMap;
use std::fmt;

/// Longest service name: one DNS label (RFC 1035 2.3.4), because names are asked by DNS.
pub(crate) const NAME_MAX: usize = 63;
/// Longest id, tag, host name, node name and check name.
pub(crate) const TEXT_MAX: usize = 255;
/// Longest node name: `.node`, a datacenter and a domain still fit behind it.
pub(crate) const NODE_MAX: usize = 180;
/// Most tags of one instance.
pub(crate) const TAGS_MAX: usize = 64;
/// Most pairs of meta, most tagged addresses.
pub(crate) const META_MAX: usize = 64;
/// Longest key of a pair of meta.
pub(crate) const META_KEY_MAX: usize = 128;
/// Longest value of a pair of meta.
pub(crate) const META_VALUE_MAX: usize = 512;
/// Longest text of a SkyDNS record, longest notes, longest body and header of a check.
pub(crate) const LONG_MAX: usize = 4096;

/// What is wrong with a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The service's name is no DNS label.
    Name,
    /// The node's name cannot be a DNS name.
    Node,
    /// An id is empty, too long or holds control characters.
    Id,
    /// The address is no host name, or it is the unspecified one.
    Address,
    /// Too many tags, or an empty or long one.
    Tags,
    /// Too many pairs of meta, or a long one.
    Meta,
    /// A check's texts are too long, or its timing is impossible.
    Check(&'static str),
    /// A record's name is no DNS name, or its texts are too long.
    Record,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Name => write!(f, "a service's name is 1 to {NAME_MAX} letters, digits, '-' or '_'"),
            Invalid::Node => write!(f, "a node's name is labels of letters, digits, '-' or '_' with dots between them"),
            Invalid::Id => write!(f, "an id is 1 to {TEXT_MAX} bytes without control characters"),
            Invalid::Address => write!(f, "the address is neither an IP address that can be reached nor a host name"),
            Invalid::Tags => write!(f, "at most {TAGS_MAX} tags of 1 to {TEXT_MAX} bytes"),
            Invalid::Meta => {
                write!(f, "at most {META_MAX} pairs, keys of 1 to {META_KEY_MAX} and values of {META_VALUE_MAX} bytes")
            }
            Invalid::Check(why) => f.write_str(why),
            Invalid::Record => write!(f, "a record has a DNS name and texts of at most {LONG_MAX} bytes"),
        }
    }
}

impl std::error::Error for Invalid {}

/// Whether a text can be one label of a DNS name, as people write them.
pub(crate) fn is_label(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = text.as_bytes();
    bytes.len() <= NAME_MAX && bytes.iter().all(|b| legal(*b)) && edge(bytes.first()) && edge(bytes.last())
}

/// Whether a text is labels with dots between them, short enough for a name under one of our domains.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NODE_MAX && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// Whether a text can be an id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// Whether meta is within its limits.
pub(crate) fn is_meta(meta: &BTreeMap<String, String>) -> bool {
    let fits =
        |(key, value): (&String, &String)| (1..=META_KEY_MAX).contains(&key.len()) && value.len() <= META_VALUE_MAX;
    meta.len() <= META_MAX && meta.iter().all(fits)
}

/// As much of a text as fits into that many bytes, up to the end of a character.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// Whether the keys of a map are within their limit.
pub(crate) fn are_keys<V>(map: &BTreeMap<String, V>) -> bool {
    map.len() <= META_MAX && map.keys().all(|key| (1..=META_KEY_MAX).contains(&key.len()))
}

/// A name as it is compared: DNS knows no case.
pub(crate) fn lower(text: &str) -> std::borrow::Cow<'_, str> {
    match text.bytes().any(|b| b.is_ascii_uppercase()) {
        true => text.to_ascii_lowercase().into(),
        false => text.into(),
    }
}

//! Which of two matching rules goes first, as one number.

use super::rule::Rule;

/// Header names beyond this many count no more.
const MAX_HEADERS: usize = 255;
/// Bits of the length of a prefix.
const LENGTH_MASK: u64 = (1 << 19) - 1;

/// What stands in a rule's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The rule lists no paths.
    None,
    /// A prefix of this many bytes.
    Prefix(usize),
    /// A regular expression.
    Regex,
}

/// The rank of one path of a rule; the higher goes first. From the top: how many kinds of things the rule asks,
/// whether it has plain hosts only, how many header names, whether the path is an expression, its priority, the
/// length of the prefix.
///
/// A negative `regex_priority` stands below 0. In Kong its sign runs into all bits above, and the rule beats
/// everything.
pub(super) fn rank(rule: &Rule, path: Kind) -> u64 {
    let kinds = [
        !rule.methods.is_empty(),
        !rule.hosts.is_empty(),
        !rule.headers.is_empty(),
        !rule.snis.is_empty(),
        path != Kind::None,
    ];
    let kinds = kinds.iter().map(|asked| u64::from(*asked)).sum::<u64>();
    let plain_hosts = !rule.hosts.is_empty() && !rule.hosts.iter().any(|h| h.contains('*'));
    let headers = rule.headers.len().min(MAX_HEADERS) as u64;
    let (regex, priority, length) = match path {
        Kind::None => (false, 0, 0),
        Kind::Prefix(length) => (false, 0, length as u64 & LENGTH_MASK),
        Kind::Regex => (true, rule.regex_priority.cast_unsigned() ^ 0x8000_0000, 0),
    };
    kinds << 61
        | u64::from(plain_hosts) << 60
        | headers << 52
        | u64::from(regex) << 51
        | u64::from(priority) << 19
        | length
}

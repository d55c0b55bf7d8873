//! From rules as written to what is checked: every path of a rule becomes a part of its own, and all parts stand in
//! one list, the highest rank first.

use super::pattern::{Name, Path, TEXT_MAX, Value, host, sni};
use super::rank::{Kind, rank};
use super::rule::{Asked, Rule, Scheme, Wrong};
use regex::bytes::Regex;
use std::cmp::Reverse;

/// Values of one header name that are looked at; more than this is no honest request.
pub(super) const VALUES_MAX: usize = 100;
/// Paths times hosts, over all rules.
const PLACES_MAX: usize = 1 << 22;

/// What a rule asks beside host and path.
#[derive(Default)]
pub(super) struct Checks {
    /// Sorted.
    pub(super) methods: Box<[Box<str>]>,
    pub(super) headers: Box<[Header]>,
    /// Sorted.
    pub(super) snis: Box<[Box<str>]>,
    pub(super) wild_snis: Box<[Name]>,
}

/// One header of a rule.
pub(super) struct Header {
    /// The name with dashes, and with underscores where that differs: the two are one to Kong.
    pub(super) names: Box<[Box<str>]>,
    /// In lower case, sorted.
    pub(super) exact: Box<[Box<[u8]>]>,
    /// Numbers of expressions.
    pub(super) regexes: Box<[usize]>,
}

/// One path of a rule, or the whole rule if it has none.
pub(super) struct Part {
    pub(super) rule: usize,
    /// Which of the rule's paths.
    pub(super) path: Option<usize>,
    pub(super) by: By,
}

/// How a part's path matches, once the tree has found the bytes that it begins with.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// No path is asked.
    Nothing,
    /// The tree's answer is all: a prefix of this many bytes.
    Prefix(usize),
    /// The number of an expression.
    Regex(usize),
}

/// All rules, read.
#[derive(Default)]
pub(super) struct Compiled {
    /// One for each rule.
    pub(super) checks: Vec<Checks>,
    /// One for each rule: names and ports, 0 for any.
    pub(super) hosts: Vec<Vec<(Name, u16)>>,
    /// The highest rank first.
    pub(super) parts: Vec<Part>,
    /// One for each part: what its paths begin with.
    pub(super) beginnings: Vec<Box<[u8]>>,
    pub(super) regexes: Vec<Regex>,
}

/// Reads all rules and tells everything that is wrong with them.
pub(super) fn compile(rules: &[Rule]) -> Result<Compiled, Vec<Wrong>> {
    let mut all = Compiled::default();
    let mut ranked = Vec::new();
    let mut wrong = Vec::new();
    let mut places = 0_usize;
    for (number, rule) in rules.iter().enumerate() {
        let mut tell = |field: String, message: String| wrong.push(Wrong { rule: number, field, message });
        if let Some(message) = asks_nothing(rule) {
            tell("@entity".to_owned(), message);
        }
        let mut hosts = Vec::new();
        for (i, text) in rule.hosts.iter().enumerate() {
            match host(text) {
                Ok(read) => hosts.push(read),
                Err(message) => tell(format!("hosts[{i}]"), message),
            }
        }
        places = places.saturating_add(rule.hosts.len().max(1).saturating_mul(rule.paths.len().max(1)));
        if places > PLACES_MAX {
            tell("@entity".to_owned(), format!("hosts times paths of all rules are more than {PLACES_MAX}"));
            break;
        }
        let checks = checks(rule, &mut all.regexes, &mut tell);
        if rule.paths.is_empty() {
            let part = Part { rule: number, path: None, by: By::Nothing };
            ranked.push((rank(rule, Kind::None), part, Box::default()));
        }
        for (i, text) in rule.paths.iter().enumerate() {
            let (kind, by, beginning) = match Path::read(text) {
                Ok(Path::Prefix(prefix)) => (Kind::Prefix(prefix.len()), By::Prefix(prefix.len()), prefix),
                Ok(Path::Regex(regex, beginning)) => {
                    all.regexes.push(regex);
                    (Kind::Regex, By::Regex(all.regexes.len() - 1), beginning.into())
                }
                Err(message) => {
                    tell(format!("paths[{i}]"), message);
                    continue;
                }
            };
            ranked.push((rank(rule, kind), Part { rule: number, path: Some(i), by }, beginning));
        }
        all.hosts.push(hosts);
        all.checks.push(checks);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let order = |part: &Part| rules.get(part.rule).map_or(0, |r| r.order);
    // Stable: what is equal in all stays in the order of the file.
    ranked.sort_by_key(|(rank, part, _)| Reverse((*rank, order(part))));
    for (_, part, beginning) in ranked {
        all.parts.push(part);
        all.beginnings.push(beginning);
    }
    Ok(all)
}

/// A rule that would match everything was not meant.
fn asks_nothing(rule: &Rule) -> Option<String> {
    let has = |scheme| rule.protocols.contains(&scheme);
    let common = !rule.hosts.is_empty() || !rule.headers.is_empty() || !rule.paths.is_empty();
    let methods = !rule.methods.is_empty();
    let snis = !rule.snis.is_empty();
    let (enough, names, scheme) = if has(Scheme::Grpcs) {
        (common || snis, "'hosts', 'headers', 'paths', 'snis'", Scheme::Grpcs)
    } else if has(Scheme::Grpc) {
        (common, "'hosts', 'headers', 'paths'", Scheme::Grpc)
    } else if has(Scheme::Https) {
        (common || methods || snis, "'methods', 'hosts', 'headers', 'paths', 'snis'", Scheme::Https)
    } else {
        (common || methods, "'methods', 'hosts', 'headers', 'paths'", Scheme::Http)
    };
    (!enough).then(|| format!("must set one of {names} when 'protocols' is '{}'", scheme.as_str()))
}

fn checks(rule: &Rule, regexes: &mut Vec<Regex>, tell: &mut impl FnMut(String, String)) -> Checks {
    let mut methods: Vec<Box<str>> = Vec::new();
    for (i, method) in rule.methods.iter().enumerate() {
        if method.is_empty() || method.len() > TEXT_MAX || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            tell(format!("methods[{i}]"), format!("invalid value: {method}: only letters in upper case"));
        }
        methods.push(method.as_str().into());
    }
    methods.sort_unstable();
    let mut headers: Vec<Header> = Vec::new();
    for (name, values) in &rule.headers {
        let field = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        let dashed: Box<str> = lower.replace('_', "-").into();
        if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
            tell(field.clone(), "is no header name".to_owned());
        } else if lower == "host" {
            tell(
                field.clone(),
                "cannot contain 'host' header, which must be specified in the 'hosts' attribute".into(),
            );
        } else if headers.iter().any(|h| h.names.first() == Some(&dashed)) {
            tell(field.clone(), "is there twice; put all its values into one list".to_owned());
        }
        if values.is_empty() {
            tell(field.clone(), "has no values".to_owned());
        }
        let mut names = vec![dashed];
        if lower.contains(['_', '-']) {
            names.push(lower.replace('-', "_").into());
        }
        let mut exact: Vec<Box<[u8]>> = Vec::new();
        let mut numbers = Vec::new();
        for (i, value) in values.iter().enumerate() {
            match Value::read(value) {
                Ok(Value::Exact(text)) => exact.push(text),
                Ok(Value::Regex(regex)) => {
                    numbers.push(regexes.len());
                    regexes.push(regex);
                }
                Err(message) => tell(format!("{field}[{i}]"), message),
            }
        }
        exact.sort_unstable();
        headers.push(Header { names: names.into(), exact: exact.into(), regexes: numbers.into() });
    }
    let mut snis: Vec<Box<str>> = Vec::new();
    let mut wild = Vec::new();
    for (i, text) in rule.snis.iter().enumerate() {
        match sni(text) {
            Ok(Name::Exact(name)) => snis.push(name),
            Ok(name) => wild.push(name),
            Err(message) => tell(format!("snis[{i}]"), message),
        }
    }
    snis.sort_unstable();
    Checks { methods: methods.into(), headers: headers.into(), snis: snis.into(), wild_snis: wild.into() }
}

impl Checks {
    /// Whether a request holds what the rule asks beside host and path.
    pub(super) fn hold(&self, asked: &Asked<'_>, regexes: &[Regex]) -> bool {
        let method = || self.methods.is_empty() || has(&self.methods, asked.method);
        let sni = || {
            let asks = asked.scheme.tls() && !(self.snis.is_empty() && self.wild_snis.is_empty());
            !asks
                || asked.sni.is_some_and(|name| has(&self.snis, name) || self.wild_snis.iter().any(|w| w.matches(name)))
        };
        method() && sni() && self.headers.iter().all(|header| header.holds(asked, regexes))
    }
}

fn has(sorted: &[Box<str>], text: &str) -> bool {
    sorted.binary_search_by(|s| (**s).cmp(text)).is_ok()
}

impl Header {
    fn holds(&self, asked: &Asked<'_>, regexes: &[Regex]) -> bool {
        self.names.iter().any(|name| {
            let mut left = VALUES_MAX;
            let mut found = false;
            // Saying yes ends the search, also when there are too many values to go on.
            asked.headers.any(name, &mut |value| {
                found = self.takes(value, regexes);
                left -= 1;
                found || left == 0
            });
            found
        })
    }

    fn takes(&self, value: &[u8], regexes: &[Regex]) -> bool {
        let lower = |s: &[u8]| s.iter().copied().cmp(value.iter().map(u8::to_ascii_lowercase));
        self.exact.binary_search_by(|s| lower(s)).is_ok()
            || self.regexes.iter().any(|n| regexes.get(*n).is_some_and(|r| r.is_match(value)))
    }
}

//! The rules read literally: every rule is tried, nothing is prepared.

use super::Request;
use crate::exchange::Headers;
use crate::route::{Lookup, Rule};
use regex::bytes::RegexBuilder;
use std::cmp::Reverse;

/// Every path of every rule that matches, the winner first: the rule, which of its paths, how many bytes it matched.
pub(super) fn all(rules: &[Rule], request: &Request) -> Vec<(usize, Option<usize>, Option<usize>)> {
    let mut matching = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let others = methods(rule, request) && hosts(rule, request) && snis(rule, request) && headers(rule, request);
        if !others {
            continue;
        }
        if rule.paths.is_empty() {
            matching.push((weight(rule, None), Reverse(number), None, None));
        }
        for (i, path) in rule.paths.iter().enumerate() {
            if let Some(length) = path_matches(path, &request.path) {
                matching.push((weight(rule, Some(path)), Reverse(number), Some(Reverse(i)), Some(length)));
            }
        }
    }
    matching.sort();
    matching.into_iter().rev().map(|(_, rule, path, length)| (rule.0, path.map(|p| p.0), length)).collect()
}

/// What is compared, the most important first.
type Weight = (usize, bool, usize, bool, i32, usize, u128);

fn weight(rule: &Rule, path: Option<&String>) -> Weight {
    let mut kinds = 0;
    kinds += usize::from(!rule.methods.is_empty());
    kinds += usize::from(!rule.hosts.is_empty());
    kinds += usize::from(!rule.headers.is_empty());
    kinds += usize::from(!rule.snis.is_empty());
    kinds += usize::from(path.is_some());
    let plain = !rule.hosts.is_empty() && rule.hosts.iter().all(|h| !h.contains('*'));
    let regex = path.is_some_and(|p| p.starts_with('~'));
    let priority = if regex { rule.regex_priority } else { 0 };
    let length = path.filter(|_| !regex).map_or(0, String::len);
    (kinds, plain, rule.headers.len(), regex, priority, length, rule.order)
}

fn path_matches(path: &str, asked: &[u8]) -> Option<usize> {
    match path.strip_prefix('~') {
        None => asked.starts_with(path.as_bytes()).then_some(path.len()),
        Some(pattern) => {
            let regex = RegexBuilder::new(&format!("^(?:{pattern})")).unicode(false).build().unwrap();
            regex.find(asked).map(|m| m.end())
        }
    }
}

fn methods(rule: &Rule, request: &Request) -> bool {
    rule.methods.is_empty() || rule.methods.contains(&request.method)
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

fn hosts(rule: &Rule, request: &Request) -> bool {
    rule.hosts.is_empty()
        || rule.hosts.iter().any(|host| match host.split_once(':') {
            None => name_matches(host, &request.host),
            Some((name, port)) => name_matches(name, &request.host) && port.parse() == Ok(request.port),
        })
}

fn snis(rule: &Rule, request: &Request) -> bool {
    rule.snis.is_empty()
        || !request.scheme.tls()
        || request.sni.as_ref().is_some_and(|name| rule.snis.iter().any(|s| name_matches(s, name)))
}

fn headers(rule: &Rule, request: &Request) -> bool {
    rule.headers.iter().all(|(name, values)| values.iter().any(|v| header(&request.headers, name, v)))
}

fn header(headers: &Headers, name: &str, wanted: &str) -> bool {
    headers.any(name, &mut |value| {
        let value = String::from_utf8_lossy(value).to_lowercase();
        match wanted.strip_prefix("~*") {
            Some(pattern) => RegexBuilder::new(pattern)
                .unicode(false)
                .case_insensitive(true)
                .build()
                .unwrap()
                .is_match(value.as_bytes()),
            None => value == wanted.to_lowercase(),
        }
    })
}

//! What is accepted and does nothing, or harm.

use crate::config::problem::Problems;
use crate::config::source::Span;
use crate::config::tree::{Entry, Node};
use crate::config::value;
use crate::upstream::Policy;
use crate::upstream::balance::Algorithm;
use crate::upstream::health::Speak;

/// A service that is looked at.
struct Look<'a> {
    entry: &'a Entry,
    path: &'a str,
    problems: &'a mut Problems,
}

impl Look<'_> {
    /// Warns at the place of a key, or of the service where the key is not written.
    fn warn(&mut self, key: &str, message: &str, fix: &str) {
        let node = key.split('.').try_fold(&self.entry.value, |node, k| node.get(k));
        let written = node.map(|n| n.span).filter(|span| self.problems.sources.place(*span).is_some());
        self.warn_at(written.unwrap_or(self.entry.key_span), key, message, fix);
    }

    fn warn_at(&mut self, span: Span, key: &str, message: &str, fix: &str) {
        let path = format!("{}.{key}", self.path);
        self.problems.warning(span, "no-effect", &path, format!("`{path}`: {message}"), fix);
    }
}

pub(super) fn check(entry: &Entry, path: &str, policy: &Policy, problems: &mut Problems) {
    let mut look = Look { entry, path, problems };
    addresses(&mut look);
    health(&mut look, policy);
    if policy.balance.algorithm == Algorithm::ConsistentHashing && !policy.balance.slow_start.window.is_zero() {
        look.warn("slow_start", "it has no effect with `hash_on`: a key has its one instance", "remove one of them");
    }
}

fn addresses(look: &mut Look<'_>) {
    let nodes = look.entry.value.get("address").map(Node::items).unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    for url in nodes.iter().filter_map(|n| n.get("url")) {
        let Some(text) = url.text() else { continue };
        let Ok(target) = value::target(text) else { continue };
        let target = target.to_string();
        if seen.contains(&target) {
            look.warn_at(url.span, "address", "the same address stands here twice", "keep one; its share is `weight`");
        }
        seen.push(target);
        let host = text.split_once("://").map_or("", |(_, rest)| rest);
        if host.starts_with('_') && host.contains(':') {
            let message = "the port is not used: SRV records say the ports";
            look.warn_at(url.span, "address", message, "remove the port");
        }
    }
    if !nodes.is_empty() && nodes.iter().all(|n| n.get("weight").and_then(Node::text) == Some("0")) {
        look.warn("address", "every weight is 0, so no instance is given a command", "give one of them a weight");
    }
}

fn health(look: &mut Look<'_>, policy: &Policy) {
    let active = &policy.health.active;
    if policy.health.threshold == 100 {
        let message = "more than 100 % is never usable, so the service is always down";
        look.warn("healthchecks.threshold", message, "write 99 or less");
    }
    if active.is_off() {
        return;
    }
    if active.limits.is_off() && active.limits.successes == 0 {
        look.warn(
            "healthchecks.active",
            "it asks for ever and takes nothing out",
            "set `unhealthy: {http_failures, tcp_failures, timeouts}` and `healthy: {successes}`",
        );
    }
    let secure = match active.speak {
        Speak::Http | Speak::Grpc => false,
        Speak::Https | Speak::Grpcs => true,
        Speak::Tcp => return,
    };
    let nodes = look.entry.value.get("address").map(Node::items).unwrap_or_default();
    let targets = nodes.iter().filter_map(|n| value::target(n.get("url")?.text()?).ok());
    if targets.into_iter().any(|t| t.scheme.is_secure() != secure) {
        let (message, fix) = match secure {
            false => ("it asks without TLS where an address speaks TLS", "write `type: https`, or `grpcs`"),
            true => ("it asks over TLS where an address speaks none", "write `type: http`, or `grpc`"),
        };
        look.warn("healthchecks.active.type", message, fix);
    }
}

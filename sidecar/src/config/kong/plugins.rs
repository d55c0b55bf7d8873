//! What can be said of a plugin before its own configuration is looked at.

use super::spec::Kind;
use super::{Reader, Record};
use crate::config::near::nearest;
use crate::config::tree::{Node, Value};
use crate::middleware::plugin::find;

/// Those of Kong's open edition, and a few more that are here.
pub(super) const KNOWN: &[&str] = &[
    "acl",
    "acme",
    "ai-prompt-decorator",
    "ai-prompt-guard",
    "ai-prompt-template",
    "ai-proxy",
    "ai-request-transformer",
    "ai-response-transformer",
    "aws-lambda",
    "azure-functions",
    "basic-auth",
    "bot-detection",
    "correlation-id",
    "cors",
    "datadog",
    "file-log",
    "grpc-gateway",
    "grpc-web",
    "hmac-auth",
    "http-log",
    "ip-restriction",
    "jwt",
    "key-auth",
    "ldap-auth",
    "loggly",
    "mtls-auth",
    "oauth2",
    "opentelemetry",
    "post-function",
    "pre-function",
    "prometheus",
    "proxy-cache",
    "rate-limiting",
    "rate-shaping",
    "redirect",
    "request-size-limiting",
    "request-termination",
    "request-transformer",
    "request-validator",
    "response-ratelimiting",
    "response-transformer",
    "session",
    "standard-webhooks",
    "statsd",
    "syslog",
    "tcp-log",
    "udp-log",
    "zipkin",
];

/// Some of the other edition, so that the message can say so.
const ENTERPRISE: &[&str] = &[
    "ai-rate-limiting-advanced",
    "ai-semantic-cache",
    "application-registration",
    "canary",
    "confluent",
    "degraphql",
    "exit-transformer",
    "forward-proxy",
    "graphql-proxy-cache-advanced",
    "graphql-rate-limiting-advanced",
    "header-cert-auth",
    "jq",
    "json-threat-protection",
    "jwt-signer",
    "kafka-log",
    "kafka-upstream",
    "key-auth-enc",
    "ldap-auth-advanced",
    "mocking",
    "oas-validation",
    "oauth2-introspection",
    "opa",
    "openid-connect",
    "proxy-cache-advanced",
    "rate-limiting-advanced",
    "request-callout",
    "request-transformer-advanced",
    "response-transformer-advanced",
    "route-by-header",
    "route-transformer-advanced",
    "saml",
    "statsd-advanced",
    "tls-handshake-modifier",
    "tls-metadata-headers",
    "upstream-oauth",
    "upstream-timeout",
    "vault-auth",
    "websocket-size-limit",
    "websocket-validator",
    "xml-threat-protection",
];

/// Those that hold for everybody or for nobody: they find out who calls, or run before it is known.
pub(super) const NO_CONSUMER: &[&str] = &[
    "acl",
    "acme",
    "basic-auth",
    "bot-detection",
    "cors",
    "hmac-auth",
    "jwt",
    "key-auth",
    "ldap-auth",
    "mtls-auth",
    "oauth2",
    "session",
];

/// Names that are compared to find the one that was meant.
pub(super) const NEAR_MAX: usize = 2_000;

pub(super) fn check(reader: &mut Reader<'_>, record: &Record) {
    let Some(node) = record.node.get("name") else { return };
    let Some(name) = node.text() else { return };
    let at = format!("{}.name", record.path);
    // Some of ours are not Kong's, or belong to its other edition.
    if !KNOWN.contains(&name) && find(name).is_none() {
        let shown = reader.shown(node);
        // Kong goes on with a property of its own settings, which is none of ours.
        let words = format!("plugin '{shown}' not enabled");
        let fix = match (ENTERPRISE.contains(&name), nearest(name, KNOWN.iter().copied())) {
            (true, _) => "remove it; it belongs to Kong Enterprise".to_owned(),
            (_, Some(near)) => format!("did you mean {near}?"),
            _ => "remove it; there are no plugins of one's own".to_owned(),
        };
        return reader.wrong(node.span, &at, &words, fix);
    }
    if matches!(name, "pre-function" | "post-function") {
        let message = format!("`{at}`: {name} runs Lua, which Fourmi does not");
        let fix =
            "remove it; request-transformer, request-termination and correlation-id do what it is mostly used for";
        reader.problems.error(node.span, "not-supported", &at, message, fix);
    }
    if let Some(config) = record.node.get("config") {
        let at = format!("{}.config", record.path);
        match &config.value {
            Value::Map(_) => lua(reader, config, &at),
            Value::Bad => {}
            _ => reader.mistyped(config.span, &at, "expected a record", "write the plugin's fields".to_owned()),
        }
    }
    if NO_CONSUMER.contains(&name) {
        for key in ["consumer", "consumer_group"] {
            let nested = record.parent.iter().any(|(field, _)| *field == key);
            if let Some(entry) = record.node.entry(key).filter(|e| e.value.value != Value::Null) {
                let at = format!("{}.{key}", record.path);
                reader.wrong(
                    entry.key_span,
                    &at,
                    "value must be null",
                    format!("remove it; {name} holds for everybody"),
                );
            } else if nested {
                let at = format!("{}.{key}", record.path);
                reader.wrong(node.span, &at, "value must be null", format!("move {name} out of the {key}"));
            }
        }
    }
}

/// Pieces of Lua in a plugin's configuration.
fn lua(reader: &mut Reader<'_>, node: &Node, path: &str) {
    for entry in node.entries() {
        let at = format!("{path}.{}", entry.key);
        let empty = match &entry.value.value {
            Value::Map(entries) => entries.is_empty(),
            Value::List(items) => items.is_empty(),
            other => *other == Value::Null,
        };
        if entry.key.ends_with("_by_lua") && !empty {
            let message = format!("`{at}`: Fourmi runs no Lua");
            reader.problems.error(entry.key_span, "not-supported", &at, message, "remove it");
        } else {
            lua(reader, &entry.value, &at);
        }
    }
}

/// `anonymous` that names nobody: Kong answers 500 then.
pub(super) fn anonymous(reader: &mut Reader<'_>) {
    let records = std::mem::take(&mut reader.records);
    for record in records.iter().filter(|r| r.kind == Kind::Plugin) {
        let Some(node) = record.node.get("config").and_then(|c| c.get("anonymous")) else { continue };
        let Some(name) = node.text().filter(|n| !n.is_empty()) else { continue };
        if reader.problems.full() || reader.is_consumer(name) {
            continue;
        }
        let at = format!("{}.config.anonymous", record.path);
        let known =
            reader.names.keys().filter(|(kind, _)| *kind == Kind::Consumer).map(|(_, name)| &**name).take(NEAR_MAX);
        let fix = match nearest(name, known) {
            Some(near) => format!("write {near}"),
            None => "add the consumer, or correct the name".to_owned(),
        };
        let message = format!("`{at}`: no consumer is called '{}': who is not known gets 500", reader.shown(node));
        reader.problems.warning(node.span, "doubtful", &at, message, fix);
    }
    reader.records = records;
}

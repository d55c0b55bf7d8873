//! `docs/middlewares.md`: every plugin of a gateway's file with every field, as the code reads them.

use crate::exchange::Delivery;
use crate::gateway::entity::{Plugin, Protocol};
use crate::gateway::fields::seen::{self, Field};
use crate::gateway::{Id, sinks};
use crate::middleware::PLUGINS;
use crate::middleware::plugin::{Scope, Setup};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::path::Path;

const INTRODUCTION: &str = "\
# Middlewares: every field

<!-- Made by the code that reads the fields; a test fails when it is out of date and says how to renew it. -->

What may stand under `plugins:` of [a Kong file](kong.md), and of `outbound[].services.NAME.plugins`. They run in the order of their
priority, the highest first. Where no default stands, nothing holds without the field, or what the page of the middleware says.
An unknown field is refused with the nearest known one.
";

/// The page that explains it.
fn page(name: &str) -> &'static str {
    match name {
        "basic-auth" | "hmac-auth" | "jwt" | "key-auth" | "mtls-auth" | "acl" => "kong-auth.md",
        "rate-limiting" | "response-ratelimiting" | "rate-shaping" => "limits.md",
        "request-transformer" | "response-transformer" | "request-validator" => "kong-transform.md",
        "delivery" => "delivery.md",
        name if sinks::is_sink(name) => "kong-logs.md",
        _ => "kong-access.md",
    }
}

/// A field of some configurations only is asked for when they are read.
fn variants(name: &str) -> Vec<Json> {
    match name {
        "rate-limiting" | "response-ratelimiting" | "rate-shaping" => vec![json!({}), json!({"policy": "redis"})],
        _ => vec![json!({})],
    }
}

/// What no field says of itself: its unit, and what holds without it.
fn more(name: &str, field: &str) -> Option<(&'static str, String)> {
    let usual = Delivery::default();
    let all = |all: Vec<String>| format!("[{}]", all.join(", "));
    Some(match (name, field) {
        ("delivery", "wait") => (" (seconds)", usual.wait.as_secs().to_string()),
        ("delivery", "horizon") => (" (seconds)", usual.horizon.as_secs().to_string()),
        ("delivery", "retry_delays") => {
            (" (seconds)", all(usual.retry.delays.iter().map(|d| d.as_secs().to_string()).collect()))
        }
        ("delivery", "retry_jitter") => (" (a share)", usual.retry.jitter.to_string()),
        ("delivery", "retry_max_attempts") => ("", usual.retry.max_attempts.to_string()),
        ("delivery", "retry_max_age") => (" (seconds)", usual.retry.max_age.as_secs().to_string()),
        ("delivery", "retry_statuses") => ("", all(usual.retry.statuses.iter().map(u16::to_string).collect())),
        _ => return None,
    })
}

fn table(out: &mut String, name: &str, about: &str, fields: &[Field]) {
    let _ = write!(out, "\n## `{name}`\n\n{about}[What it does]({}).\n\n", page(name));
    if fields.is_empty() {
        out.push_str("It has no fields.\n");
        return;
    }
    out.push_str("| field | takes | default |\n|---|---|---|\n");
    for Field { path, takes, usual } in fields {
        let takes = match takes.as_str() {
            "" => "see its page",
            "an integer" => "a whole number",
            "a string" => "text",
            "a boolean" => "`true`, `false`",
            "an array" => "a list",
            other => other,
        };
        let (unit, known) = more(name, path).unwrap_or_default();
        let usual = if usual.is_empty() { &known } else { usual };
        let _ = writeln!(out, "| `{path}` | {takes}{unit} | {usual} |");
    }
}

fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut plugins: Vec<_> = PLUGINS.iter().collect();
    plugins.sort_by_key(|plugin| plugin.name);
    for plugin in plugins {
        let fields = seen::while_reading(|| {
            for config in variants(plugin.name) {
                let setup =
                    Setup { id: "p", config: &config, scope: Scope::default(), people: &std::sync::Arc::default() };
                // Whether something is missing is not the question.
                drop((plugin.build)(&setup));
            }
        });
        table(&mut out, plugin.name, &format!("Priority {}. ", plugin.priority), &fields);
    }
    out.push_str(
        "\n# Log and metric plugins: every field\n\nThese are sinks: they are told of a command when it has ended.\n",
    );
    for name in sinks::names() {
        let fields = seen::while_reading(|| drop(sinks::check(&sink(name))));
        table(&mut out, name, "", &fields);
    }
    out
}

fn sink(name: &str) -> Plugin {
    Plugin {
        id: Id::of("plugins", name),
        name: name.to_owned(),
        instance_name: None,
        service: None,
        route: None,
        consumer: None,
        consumer_group: None,
        config: json!({}),
        protocols: vec![Protocol::Http],
        enabled: true,
        tags: Vec::new(),
    }
}

#[test]
fn the_reference_page_of_middlewares_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/middlewares.md");
    let made = reference();
    if std::env::var_os("RENEW_DOCS").is_some() {
        std::fs::write(&path, &made).expect("the page is written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == made, "renew it: RENEW_DOCS=1 cargo test -p fourmi --lib reference_page");
    for plugin in PLUGINS {
        let section = made.split("\n## ").find(|s| s.starts_with(&format!("`{}`", plugin.name)));
        assert!(section.is_some_and(|s| s.contains("| `")), "{}: no fields", plugin.name);
    }
    // Of times and of what is done without a word nobody has to guess.
    let delivery = made.split("\n## ").find(|s| s.starts_with("`delivery`")).expect("its section");
    assert!(delivery.contains("(delivery.md)") && !delivery.contains("|  |"), "{delivery}");
}

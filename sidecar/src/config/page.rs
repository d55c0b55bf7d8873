//! The table for people: the reference page, the list of environment names, the starter file.

use super::keys::ROOT;
use super::overlay::{self, RESERVED};
use super::problem::CODES;
use crate::section::{Fallback, Key, Kind};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;

impl Fallback {
    fn words(&self) -> &'static str {
        match self {
            Fallback::None | Fallback::Elsewhere(_) => "",
            Fallback::Yaml(text) | Fallback::Words(text) => text,
        }
    }
}

/// The keys inside a kind, however they are wrapped.
fn inner(kind: &'static Kind) -> Option<&'static [Key]> {
    match kind {
        Kind::List(of) | Kind::OneOrMany(of) | Kind::Named(_, of) => inner(of),
        Kind::Choice(keys) => Some(*keys),
        other => other.keys(),
    }
    .filter(|keys| !keys.is_empty())
}

/// Every environment name, one a line: name, what it takes, default.
pub fn environment() -> String {
    let mut out = String::new();
    for (name, key) in overlay::names() {
        let default = match key.fallback.words() {
            "" => String::new(),
            words => format!("; default {words}"),
        };
        let _ = writeln!(out, "{name:<38} {}{default}", name_words(key));
    }
    for name in RESERVED {
        let _ = writeln!(out, "{name:<38} {}", reserved_words(name));
    }
    out
}

fn name_words(key: &Key) -> String {
    match &key.kind {
        Kind::Named(_, of) => of.words(),
        other => other.words(),
    }
}

fn reserved_words(name: &str) -> &'static str {
    match name {
        "FOURMI_CONFIG" => "the file to read, unless --config names one",
        "FOURMI_ADMIN_URL" => "the admin listener to ask, unless --admin names one",
        "FOURMI_ADMIN_TOKEN_FILE" => "a file with its token, unless the configuration's own listener is asked",
        "FOURMI_LOG_LEVEL" => "as --log-level",
        _ => "as --log-format",
    }
}

/// The same for programs.
pub fn environment_json() -> Json {
    let keys = overlay::names().into_iter().map(|(name, key)| {
        json!({ "name": name, "takes": name_words(key), "default": key.fallback.words(), "doc": key.doc })
    });
    let reserved = RESERVED.iter().map(|n| json!({ "name": n, "takes": reserved_words(n), "default": "", "doc": "" }));
    keys.chain(reserved).collect()
}

/// A file to begin with: what most need is there, the rest stands in comments with its default.
pub fn starter() -> String {
    let mut out = String::from(
        "## Fourmi: all keys are optional. Check it with `fourmi validate`; every key: docs/configuration.md\n\
         ## or `fourmi schema`. Values may hold ${NAME} or ${NAME:-default}.\n\
         ## Remove the `# ` of a key to set it; what stands there is its default or an example.\n\n\
         ## The local process that Fourmi stands beside.\n\
         worker: http://127.0.0.1:8080\n",
    );
    for key in ROOT.iter().filter(|k| k.supported && k.name != "worker") {
        let _ = write!(out, "\n## {}\n", key.doc);
        starter_key(key, 0, &mut out);
    }
    out
}

fn starter_key(key: &'static Key, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let example = match (key.name, &key.fallback) {
        ("service", _) => "payment",
        ("hostname", _) => "pay-3",
        ("tags", _) if depth == 0 => "{team: orders, region: eu}",
        ("tags", _) => "{shop: /shop}",
        ("inbound", _) => "[{listen: http://0.0.0.0:25001}]",
        ("outbound", _) => "[{listen: http://127.0.0.1:15001, services: {stock: {address: http://10.0.0.7:8080}}}]",
        ("logs", _) => "[stdout, {graylog: {to: udp://graylog:12201}}]",
        ("sinks", _) => "[prometheus, {statsd: {to: udp://statsd:8125, dialect: datadog}}]",
        ("name", _) => "/command",
        ("id", _) => "/id",
        ("discovery", _) => {
            "{dns: {listen: 127.0.0.1:8600}, services: [{name: payment, port: 25001, check: {http: /healthz}}]}"
        }
        ("codec", _) => "symfony",
        ("otlp", _) => "{endpoint: http://collector:4318}",
        (_, Fallback::Yaml(yaml)) => yaml,
        _ => "",
    };
    match key.kind.keys() {
        Some(keys) if example.is_empty() => {
            let _ = writeln!(out, "# {pad}{}:", key.name);
            keys.iter().filter(|k| k.supported).for_each(|k| starter_key(k, depth + 1, out));
        }
        _ => {
            let doc = if depth == 0 { String::new() } else { format!("  # {}", key.doc) };
            let _ = writeln!(out, "# {pad}{}: {example}{doc}", key.name);
        }
    }
}

/// `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    section("", ROOT, &mut out);
    out.push_str("\n## What a problem is called\n\nEvery problem has a code that stays the same.\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in CODES {
        let _ = writeln!(out, "| <a id=\"{code}\"></a>`config/{code}` | {meaning} |");
    }
    out
}

fn section(path: &str, keys: &'static [Key], out: &mut String) {
    let title = if path.is_empty() { "The top".to_owned() } else { format!("`{path}`") };
    let _ = write!(out, "\n## {title}\n\n| key | what it takes | default | |\n|---|---|---|---|\n");
    for key in keys.iter().filter(|k| !matches!(k.fallback, Fallback::Elsewhere(_))) {
        let (takes, default) = match (key.supported, key.required, key.fallback.words()) {
            (false, ..) => ("—".to_owned(), "*not supported yet*".to_owned()),
            (_, true, _) => (key.kind.words(), "**required**".to_owned()),
            (_, _, "") => (key.kind.words(), String::new()),
            (_, _, words) if matches!(key.fallback, Fallback::Yaml(_)) => (key.kind.words(), format!("`{words}`")),
            (_, _, words) => (key.kind.words(), words.to_owned()),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {} | {} | {} |", key.name, cell(&takes), cell(&default), cell(key.doc));
    }
    for key in keys.iter().filter(|k| k.supported) {
        if let Some(keys) = inner(&key.kind) {
            let mark = match key.kind {
                Kind::List(_) => "[]",
                Kind::Named(..) => ".NAME",
                _ => "",
            };
            let name =
                format!("{}{}{mark}", if path.is_empty() { String::new() } else { format!("{path}.") }, key.name);
            section(&name, keys, out);
        }
    }
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the table in sidecar/src/config/keys.rs; a test fails when it is out of date and says how to renew it. -->

One YAML file. Every key is optional; with nothing but `worker:` Fourmi proxies, logs to standard output and answers
`/metrics`.

```yaml
worker: http://127.0.0.1:8080
```

**Where it is looked for**, the first found wins: `--config FILE` (`-` is standard input), `FOURMI_CONFIG`,
`./fourmi.yaml`, `/etc/fourmi/fourmi.yaml`, built-in defaults.

**What opens.** `worker:` alone opens 25001 for others' commands and 9901 (loopback) for health, metrics and
administration. `inbound:` replaces the former; `outbound:` opens only when it is there; `admin: off` closes the latter.

**Variables.** `${NAME}` and `${NAME:-default}` stand in any value; `$${` is written for `${`. `FOURMI_SECTION__KEY`
overrides a key of the file, its value being YAML: `FOURMI_TIMEOUTS__ANSWER=5s`, `FOURMI_METRICS__LABELS='[team]'`,
`FOURMI_TAGS__TEAM=orders`. `fourmi env` lists all names, `fourmi config show` says for each value who gave it.

**Checking.** `fourmi validate` reports every problem in one run, each with its place, its code and what to do, and
exits with 78. `fourmi schema` prints a JSON Schema for editors. A key that belongs to Fourmi but does nothing yet is
refused as not supported, never ignored.

**Durations** have a unit: `500ms`, `10s`, `2m`, `1h`, `1d`, `1m30s`. **Sizes** are `64KiB`, `10MiB`, `1GiB` (powers of
1024), `10MB` (powers of 1000), or bytes.
";

//! `fourmi kv`: keys and values of a registry, by Consul's HTTP API.

use super::args::{Global, RegistryArgs};
use super::out;
use super::registry::{NO_FILE, Registry, USAGE, list, one_line, segment};
use super::upstreams::words;
use crate::config::LoadOptions;
use clap::Subcommand;
use fourmi_discovery::base64;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Read as _, Write as _};

/// The longest value that a registry takes; one byte more is read, so that it says so itself.
const VALUE_MAX: u64 = 512 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Print the value of a key, byte for byte; 1 when there is no such key
    Get {
        /// The key
        #[arg(required_unless_present = "recurse", default_value = "", hide_default_value = true)]
        key: String,
        /// All keys that begin so, with their values
        #[arg(short, long)]
        recurse: bool,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Set the value of a key
    Put {
        /// The key
        key: String,
        /// The value, `-` for standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Only if nobody has changed it since this number, which `get --json` shows; 0: only if it is not there
        #[arg(long, value_name = "INDEX")]
        cas: Option<u64>,
        /// A number that goes with it
        #[arg(long, value_name = "N")]
        flags: Option<u64>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Remove a key
    Delete {
        /// The key
        key: String,
        /// All keys that begin so
        #[arg(short, long, conflicts_with = "cas")]
        recurse: bool,
        /// Only if nobody has changed it since this number
        #[arg(long, value_name = "INDEX")]
        cas: Option<u64>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List keys, a line each
    List {
        /// Only those that begin so
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Up to this text behind the beginning, as folders are listed up to `/`
        #[arg(long, value_name = "TEXT")]
        separator: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

/// Does what is asked; the exit code.
pub(super) fn kv(global: &Global, load: &LoadOptions, command: &KvCommand) -> u8 {
    let done = match command {
        KvCommand::Get { key, recurse, registry } => get(global, load, registry, key, *recurse),
        KvCommand::Put { key, value, cas, flags, registry } => {
            let query = [("cas", *cas), ("flags", *flags)];
            put(global, load, registry, key, value, &query)
        }
        KvCommand::Delete { key, recurse, cas, registry } => delete(global, load, registry, key, *recurse, *cas),
        KvCommand::List { prefix, separator, registry } => keys(global, load, registry, prefix, separator.as_deref()),
    };
    done.unwrap_or_else(|code| code)
}

fn path(key: &str, query: &[String]) -> String {
    // Slashes are as good as their codes, and can be read.
    let key = segment(key).replace("%2F", "/");
    match query.is_empty() {
        true => format!("/v1/kv/{key}"),
        false => format!("/v1/kv/{key}?{}", query.join("&")),
    }
}

fn missing(what: &str) -> u8 {
    out::note(&format!("error: {what}"));
    1
}

fn parsed(bytes: &[u8]) -> Result<Value, u8> {
    serde_json::from_slice(bytes).map_err(|_| missing("the answer is no JSON; is this a registry?"))
}

fn get(global: &Global, load: &LoadOptions, args: &RegistryArgs, key: &str, recurse: bool) -> Result<u8, u8> {
    let registry = Registry::find(load, args)?;
    if recurse {
        let Some(rows) = registry.ask_bytes("GET", &path(key, &["recurse".into()]), b"")? else {
            return Err(missing(&format!("no key begins with {key:?}")));
        };
        let rows = parsed(&rows)?;
        return Ok(if global.json() { out::json(&rows) } else { out::result(&table(&rows)) });
    }
    let query = if global.json() { Vec::new() } else { vec!["raw".into()] };
    let Some(value) = registry.ask_bytes("GET", &path(key, &query), b"")? else {
        return Err(missing(&format!("there is no key {key:?}")));
    };
    if global.json() {
        return Ok(out::json(&parsed(&value)?));
    }
    Ok(written(value))
}

/// Prints a value as it is; for people with an end of the line.
fn written(mut value: Vec<u8>) -> u8 {
    let mut to = std::io::stdout().lock();
    if to.is_terminal() && !value.ends_with(b"\n") {
        value.push(b'\n');
    }
    match to.write_all(&value).and_then(|()| to.flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => missing(&format!("can't write to standard output: {error}")),
    }
}

fn table(rows: &Value) -> String {
    let mut all = vec![["KEY", "INDEX", "FLAGS", "VALUE"].map(str::to_owned)];
    for row in list(rows) {
        let value = row["Value"].as_str().and_then(base64::decode).unwrap_or_default();
        let shown = match std::str::from_utf8(&value) {
            Ok(text) => one_line(text),
            Err(_) => format!("({} bytes)", value.len()),
        };
        all.push([words(&row["Key"]).to_owned(), row["ModifyIndex"].to_string(), row["Flags"].to_string(), shown]);
    }
    out::aligned(&all)
}

fn put(
    global: &Global,
    load: &LoadOptions,
    args: &RegistryArgs,
    key: &str,
    value: &str,
    query: &[(&str, Option<u64>)],
) -> Result<u8, u8> {
    if key.is_empty() {
        out::note("error: a key has a name");
        return Err(USAGE);
    }
    let value = match value {
        "-" => {
            let mut read = Vec::new();
            std::io::stdin().take(VALUE_MAX + 1).read_to_end(&mut read).map_err(|e| {
                out::note(&format!("error: standard input: {e}"));
                NO_FILE
            })?;
            read
        }
        text => text.as_bytes().to_vec(),
    };
    let registry = Registry::find(load, args)?;
    let query: Vec<String> = query.iter().filter_map(|(name, n)| n.map(|n| format!("{name}={n}"))).collect();
    changed(global, &registry, "PUT", &path(key, &query), &value, key)
}

fn delete(
    global: &Global,
    load: &LoadOptions,
    args: &RegistryArgs,
    key: &str,
    recurse: bool,
    cas: Option<u64>,
) -> Result<u8, u8> {
    let registry = Registry::find(load, args)?;
    let query = recurse.then(|| "recurse".to_owned()).into_iter().chain(cas.map(|cas| format!("cas={cas}")));
    changed(global, &registry, "DELETE", &path(key, &query.collect::<Vec<_>>()), b"", key)
}

/// Sends a change, and says what became of it: 1 when somebody else has changed the key.
fn changed(global: &Global, registry: &Registry, method: &str, path: &str, body: &[u8], key: &str) -> Result<u8, u8> {
    let answer = registry.ask_bytes(method, path, body)?.unwrap_or_default();
    if answer.trim_ascii() != b"true" {
        return Err(missing(&format!("{key:?} is not as it was at that index; nothing is changed")));
    }
    if !global.quiet {
        let what = if method == "PUT" { "is set" } else { "is removed" };
        out::note(&format!("{key} {what} at {}", registry.place.authority));
    }
    Ok(0)
}

fn keys(
    global: &Global,
    load: &LoadOptions,
    args: &RegistryArgs,
    prefix: &str,
    separator: Option<&str>,
) -> Result<u8, u8> {
    let registry = Registry::find(load, args)?;
    let cut = separator.map(|text| format!("separator={}", segment(text)));
    let query: Vec<String> = std::iter::once("keys".to_owned()).chain(cut).collect();
    let names = match registry.ask_bytes("GET", &path(prefix, &query), b"")? {
        Some(names) => parsed(&names)?,
        // An empty list is an answer too.
        None => json!([]),
    };
    if global.json() {
        return Ok(out::json(&names));
    }
    let lines: String = list(&names).iter().filter_map(Value::as_str).map(|name| format!("{name}\n")).collect();
    Ok(out::result(&lines))
}

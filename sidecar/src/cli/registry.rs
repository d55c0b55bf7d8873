//! `fourmi services`, `members`, `resolve`, `register`, `deregister`: a registry asked by Consul's HTTP API, so that it
//! may be a Fourmi or a Consul.

use super::args::{Global, RegisterArgs, RegistryArgs};
use super::client::{self, Place};
use super::out;
use super::upstreams::{encoded, words};
use crate::config::LoadOptions;
use crate::names::port;
use crate::tls::{ClientTls, Pem};
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a registry has to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 64 << 20;
/// Bytes of a registration that are read.
const FILE_MAX: u64 = 1 << 20;
/// Nobody answered.
const UNREACHABLE: u8 = 69;
/// Wrong usage.
pub(super) const USAGE: u8 = 2;
/// No such file.
pub(super) const NO_FILE: u8 = 66;

/// A registry that can be asked.
pub(super) struct Registry {
    pub(super) place: Place,
    /// How it is spoken to, when that is not plainly.
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
}

impl Registry {
    pub(super) fn find(load: &LoadOptions, args: &RegistryArgs) -> Result<Registry, u8> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named =
            args.registry.clone().or_else(|| variable("FOURMI_REGISTRY_URL")).or_else(|| variable("CONSUL_HTTP_ADDR"));
        let url = named.unwrap_or_else(|| {
            let plan = crate::config::load(load).ok().map(|loaded| loaded.plan.clone());
            let discovery = plan.as_ref().and_then(|plan| plan.discovery.as_ref());
            let followed = discovery.and_then(|d| d.join.as_ref()?.settings.urls.first().cloned());
            // One beside us knows what lives here, and passes on what it does not.
            let own = discovery.and_then(|d| d.http.first()).map(|at| client::reachable(*at).to_string());
            own.or(followed).unwrap_or_else(|| format!("127.0.0.1:{}", port::CONSUL))
        });
        let wrong = |why: String| {
            out::note(&format!("error: {why}"));
            USAGE
        };
        let plain = url.get(..8).filter(|front| front.eq_ignore_ascii_case("https://")).and_then(|_| url.get(8..));
        let tls = plain.map(|_| encryption(args, variable)).transpose().map_err(wrong)?;
        let place = client::place(plain.unwrap_or(&url), "a registry", port::CONSUL).map_err(wrong)?;
        let file = args.token_file.clone().or_else(|| variable("CONSUL_HTTP_TOKEN_FILE").map(Into::into));
        let token = match file {
            Some(file) => Some(std::fs::read_to_string(&file).map_err(|e| {
                out::note(&format!("error: the token's file {}: {e}", file.display()));
                NO_FILE
            })?),
            None => variable("CONSUL_HTTP_TOKEN"),
        };
        let token = token.map(|token| token.trim().to_owned());
        if token.as_ref().is_some_and(|token| token.bytes().any(|b| !b.is_ascii_graphic())) {
            out::note("error: the token has characters that no header can carry");
            return Err(USAGE);
        }
        Ok(Registry { place, tls, token })
    }

    /// What it answers, or the exit code.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String, u8> {
        let answer = self.ask_bytes(method, path, body.as_bytes())?;
        let missing = || {
            out::note(&format!("error: http://{}{path} answered 404", self.place.authority));
            1
        };
        Ok(String::from_utf8_lossy(&answer.ok_or_else(missing)?).into_owned())
    }

    /// The same with bodies of any bytes; none when it says no more than that there is no such thing.
    pub(super) fn ask_bytes(&self, method: &str, path: &str, body: &[u8]) -> Result<Option<Vec<u8>>, u8> {
        // HTTP/1.0: the answer comes in one piece, whoever gives it.
        let mut lines = format!("{method} {path} HTTP/1.0\r\naccept: application/json\r\n");
        if method != "GET" {
            lines += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        if let Some(token) = &self.token {
            lines += &format!("x-consul-token: {token}\r\n");
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", self.place.authority);
        match client::send_bytes(&self.place.authority, self.tls.as_ref(), (&lines, body), ANSWER_MAX, PATIENCE) {
            Ok(Some((200..=299, body))) => Ok(Some(body)),
            // Consul says nothing more of a key that is not there.
            Ok(Some((404, body))) if body.is_empty() => Ok(None),
            Ok(Some((status, body))) => {
                let why = String::from_utf8_lossy(&body);
                out::note(&format!("error: {url} answered {status}: {}", why.trim_end()));
                Err(1)
            }
            Ok(None) => {
                out::note(&format!("error: {url}: the answer is not HTTP; is this a registry?"));
                Err(UNREACHABLE)
            }
            Err(why) => {
                out::note(&format!("error: {url}: {why}"));
                out::note("is the registry there, with `discovery.http`? name it with --registry URL");
                Err(UNREACHABLE)
            }
        }
    }

    fn get(&self, path: &str) -> Result<Value, u8> {
        let answer = self.ask("GET", path, "")?;
        serde_json::from_str(&answer).map_err(|_| {
            out::note(&format!("error: {path} answered something else than JSON; is this a registry?"));
            1
        })
    }
}

/// How a registry is spoken to over TLS.
fn encryption(args: &RegistryArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Arc<ClientConfig>, String> {
    let file = |given: &Option<PathBuf>, name: &str| {
        given.clone().or_else(|| variable(name).map(PathBuf::from)).map(Pem::File)
    };
    let tls = ClientTls {
        ca: file(&args.ca_file, "CONSUL_CACERT").into_iter().collect(),
        certificate: file(&args.client_cert, "CONSUL_CLIENT_CERT"),
        key: file(&args.client_key, "CONSUL_CLIENT_KEY"),
        ..ClientTls::default()
    };
    tls.config().map_err(|why| why.to_string())
}

/// One element of a path, or a value of a query.
pub(super) fn segment(text: &str) -> String {
    encoded(text).replace('/', "%2F")
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn joined(value: &Value) -> String {
    let all: Vec<&str> = list(value).iter().filter_map(Value::as_str).collect();
    if all.is_empty() { "-".into() } else { all.join(",") }
}

/// The worst of the states of checks, as Consul counts.
fn state(entry: &Value) -> &'static str {
    let has = |state: &str| list(&entry["Checks"]).iter().any(|check| check["Status"] == state);
    match (has("critical"), has("warning")) {
        (true, _) => "critical",
        (false, true) => "warning",
        (false, false) => "passing",
    }
}

/// Where an instance is: its own address, or else its node's.
fn place(entry: &Value) -> String {
    let own = words(&entry["Service"]["Address"]);
    let host = if own.is_empty() || own == "-" { words(&entry["Node"]["Address"]) } else { own };
    let port = entry["Service"]["Port"].as_u64().unwrap_or(0);
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Every service, or one with its instances.
pub(super) fn services(global: &Global, load: &LoadOptions, args: &RegistryArgs, name: Option<&str>) -> u8 {
    let shown = || -> Result<u8, u8> {
        let registry = Registry::find(load, args)?;
        if let Some(name) = name {
            let all = registry.get(&format!("/v1/health/service/{}", segment(name)))?;
            if list(&all).is_empty() {
                out::note(&format!("error: no service is called {name}"));
                return Err(1);
            }
            return Ok(if global.json() { out::json(&all) } else { out::result(&instances(&all)) });
        }
        let all = registry.get("/v1/catalog/services")?;
        if global.json() {
            return Ok(out::json(&all));
        }
        let mut rows = vec![["SERVICE", "INSTANCES", "PASSING", "WARNING", "CRITICAL", "TAGS"].map(str::to_owned)];
        for (name, tags) in all.as_object().into_iter().flatten() {
            // The catalog counts none: a Consul has no one question for all of them.
            let of = registry.get(&format!("/v1/health/service/{}", segment(name)))?;
            let [n, passing, warning, critical] = counts(list(&of)).map(|n| n.to_string());
            rows.push([name.clone(), n, passing, warning, critical, joined(tags)]);
        }
        Ok(out::result(&out::aligned(&rows)))
    };
    shown().unwrap_or_else(|code| code)
}

/// How many instances there are, and how many of them pass, warn and are critical.
fn counts(entries: &[Value]) -> [usize; 4] {
    let of = |word: &str| entries.iter().filter(|entry| state(entry) == word).count();
    [entries.len(), of("passing"), of("warning"), of("critical")]
}

fn instances(all: &Value) -> String {
    let mut rows = vec![["NODE", "ID", "ADDRESS", "STATE", "TAGS", "SAYS"].map(str::to_owned)];
    for entry in list(all) {
        let bad = list(&entry["Checks"]).iter().find(|c| c["Status"] == state(entry) && c["Status"] != "passing");
        let says = bad.map_or("-".into(), |c| format!("{}: {}", words(&c["CheckID"]), one_line(words(&c["Output"]))));
        rows.push([
            words(&entry["Node"]["Node"]).to_owned(),
            words(&entry["Service"]["ID"]).to_owned(),
            place(entry),
            state(entry).to_owned(),
            joined(&entry["Service"]["Tags"]),
            says,
        ]);
    }
    out::aligned(&rows)
}

pub(super) fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Every node.
pub(super) fn members(global: &Global, load: &LoadOptions, args: &RegistryArgs) -> u8 {
    let shown = || -> Result<u8, u8> {
        let registry = Registry::find(load, args)?;
        let all = registry.get("/v1/catalog/nodes")?;
        if global.json() {
            return Ok(out::json(&all));
        }
        let mut rows = vec![["NODE", "ADDRESS", "DATACENTER", "SERVICES"].map(str::to_owned)];
        for node in list(&all) {
            let name = words(&node["Node"]);
            let there = registry.get(&format!("/v1/catalog/node-services/{}", segment(name)))?;
            let mut services: Vec<&str> = list(&there["Services"]).iter().map(|s| words(&s["Service"])).collect();
            services.sort_unstable();
            services.dedup();
            rows.push([
                name.to_owned(),
                words(&node["Address"]).to_owned(),
                words(&node["Datacenter"]).to_owned(),
                if services.is_empty() { "-".into() } else { services.join(",") },
            ]);
        }
        Ok(out::result(&out::aligned(&rows)))
    };
    shown().unwrap_or_else(|code| code)
}

/// The instances that are well.
pub(super) fn resolve(global: &Global, load: &LoadOptions, args: &RegistryArgs, name: &str) -> u8 {
    let shown = || -> Result<u8, u8> {
        let registry = Registry::find(load, args)?;
        let (tag, service) = meant(name);
        let path = match tag {
            Some(tag) => format!("/v1/health/service/{}?tag={}", segment(service), segment(tag)),
            None => format!("/v1/health/service/{}", segment(service)),
        };
        let all = registry.get(&path)?;
        // As DNS tells them: those that warn still work.
        let well: Vec<&Value> = list(&all).iter().filter(|entry| state(entry) != "critical").collect();
        if global.json() {
            return Ok(out::json(&json!(well)));
        }
        if well.is_empty() {
            let known = list(&all).len();
            out::note(&match known {
                0 => format!("error: no instance of {name} is registered"),
                n => format!("error: all {n} instances of {name} are critical; see `fourmi services {service}`"),
            });
            return Err(1);
        }
        Ok(out::result(&well.iter().map(|entry| format!("{}\n", place(entry))).collect::<String>()))
    };
    shown().unwrap_or_else(|code| code)
}

/// The tag and the service of a name: `stock`, `v1.stock`, `v1.stock.service.fourmi`.
fn meant(name: &str) -> (Option<&str>, &str) {
    let name = name.split(".service.").next().unwrap_or(name).trim_end_matches(".service");
    match name.rsplit_once('.') {
        Some((tag, service)) => (Some(tag), service),
        None => (None, name),
    }
}

/// Registers an instance.
pub(super) fn register(global: &Global, load: &LoadOptions, given: &RegisterArgs) -> u8 {
    let done = || -> Result<u8, u8> {
        let registry = Registry::find(load, &given.registry)?;
        let bodies = match &given.file {
            Some(file) => unwrapped(&read(file)?)?,
            None => vec![registration(given)],
        };
        for body in &bodies {
            registry.ask("PUT", "/v1/agent/service/register", &body.to_string())?;
            if !global.quiet {
                let name = |key: &str| body[key].as_str().or_else(|| body[key.to_lowercase()].as_str());
                let what = name("ID").or_else(|| name("Name")).unwrap_or("the instance");
                out::note(&format!("{what} is registered at {}", registry.place.authority));
            }
        }
        Ok(0)
    };
    done().unwrap_or_else(|code| code)
}

fn read(file: &Path) -> Result<String, u8> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(FILE_MAX).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|opened| opened.take(FILE_MAX).read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(e) => {
            out::note(&format!("error: {}: {e}", file.display()));
            Err(NO_FILE)
        }
    }
}

/// The services of a file: one by itself, or as Consul's agent has them in its configuration.
fn unwrapped(text: &str) -> Result<Vec<Value>, u8> {
    let value: Value = serde_json::from_str(text).map_err(|e| {
        out::note(&format!("error: the file is no JSON: {e}"));
        USAGE
    })?;
    Ok(match (value.get("service"), value.get("services").and_then(Value::as_array)) {
        (Some(one @ Value::Object(_)), _) => vec![one.clone()],
        (_, Some(several)) => several.clone(),
        _ => vec![value],
    })
}

fn registration(given: &RegisterArgs) -> Value {
    let seconds = |d: Duration| format!("{}ms", d.as_millis());
    let mut body = json!({"Name": given.name, "Port": given.port});
    if let Some(id) = &given.id {
        body["ID"] = json!(id);
    }
    if let Some(address) = &given.address {
        body["Address"] = json!(address);
    }
    if !given.tags.is_empty() {
        body["Tags"] = json!(given.tags);
    }
    if !given.meta.is_empty() {
        body["Meta"] = given.meta.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>().into();
    }
    if let Some(weight) = given.weight {
        body["Weights"] = json!({"Passing": weight, "Warning": weight});
    }
    let looked = [("HTTP", &given.check_http), ("TCP", &given.check_tcp), ("GRPC", &given.check_grpc)];
    let looked = looked.into_iter().find_map(|(kind, at)| at.as_ref().map(|at| (kind, at)));
    let mut check = match (looked, given.ttl) {
        (Some((kind, at)), _) => json!({kind: at, "Interval": seconds(given.interval)}),
        (None, Some(ttl)) => json!({"TTL": seconds(ttl)}),
        (None, None) => return body,
    };
    if let Some(after) = given.deregister_after {
        check["DeregisterCriticalServiceAfter"] = json!(seconds(after));
    }
    body["Check"] = check;
    body
}

/// Takes an instance out.
pub(super) fn deregister(load: &LoadOptions, args: &RegistryArgs, id: &str) -> u8 {
    let done = || {
        let registry = Registry::find(load, args)?;
        registry.ask("PUT", &format!("/v1/agent/service/deregister/{}", segment(id)), "")?;
        out::note(&format!("{id} is deregistered at {}", registry.place.authority));
        Ok(0)
    };
    done().unwrap_or_else(|code: u8| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_form_mean_a_service() {
        for (name, tag, service) in [
            ("stock", None, "stock"),
            ("v1.stock", Some("v1"), "stock"),
            ("stock.service.fourmi", None, "stock"),
            ("v1.eu.stock.service.dc1.consul", Some("v1.eu"), "stock"),
        ] {
            assert_eq!(meant(name), (tag, service), "{name}");
        }
    }

    #[test]
    fn an_instance_is_where_it_says_or_where_its_node_is() {
        let entry =
            |address: &str| json!({"Node": {"Address": "10.0.0.1"}, "Service": {"Address": address, "Port": 80}});
        assert_eq!(place(&entry("")), "10.0.0.1:80");
        assert_eq!(place(&entry("fd00::7")), "[fd00::7]:80");
    }

    #[test]
    fn the_worst_check_counts() {
        let entry =
            |states: &[&str]| json!({"Checks": states.iter().map(|s| json!({"Status": s})).collect::<Vec<_>>()});
        assert_eq!(
            ["passing", "warning", "critical"].map(|s| state(&entry(&["passing", s]))),
            ["passing", "warning", "critical"]
        );
        assert_eq!(state(&entry(&[])), "passing");
        let all = [entry(&["passing", "warning"]), entry(&["critical"]), entry(&[]), entry(&["passing"])];
        assert_eq!((counts(&all), counts(&[])), ([4, 2, 1, 1], [0; 4]));
    }
}

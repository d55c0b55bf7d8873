//! Reads rows and calls what they call.
//!
//! A row begins with its id and title at the margin. Indented lines are `set KEY VALUE`, `bare` (our node has neither
//! check nor service), `token SECRET RULE…` (`service:NAME=write`, `service:NAME*=read`), `node NAME ADDRESS [KEY=VALUE…]`; `with NAME: VALUE`, a header of the next call; `after TIME CALL`,
//! made by itself so long after the next call begins; a call, which is a method, what comes behind `/v1/`, and a body;
//! and what is expected of its answer: `status N` (200 when not said), `empty`, `is TEXT`, `exact TEXT` (as a JSON text),
//! `begins TEXT`, `has TEXT`, `json VALUE`, `at POINTER VALUE`, `no POINTER`, `count POINTER N`, `header NAME: VALUE`,
//! `without NAME` (a header), `took LEAST MOST`, `index grew`, `index same`. The index and the hash of an answer are
//! `{index}` and `{hash}` in the next path.
//! `differs` says why we are not as the original.

mod client;

use crate::rows::Row;
use client::{Answer, ask};
use fourmi_discovery::http::{Resource, Right, Rule, Server, Settings, Token};
use fourmi_discovery::{Address, Check, Definition, Instance, Node, Probe, Registry, State};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything a row sets, and the server that answers.
struct World {
    registry: Registry,
    settings: Settings,
    bare: bool,
    server: Option<Server>,
    headers: Vec<String>,
    delayed: Vec<(Duration, String)>,
    /// What the last answer told.
    index: u64,
    hash: String,
}

/// Calls what a row calls. The error is what was wrong.
pub(crate) async fn run(row: &Row) -> Result<(), String> {
    let mut world = World {
        registry: Registry::default(),
        settings: Settings { node: "n1".into(), ..Settings::default() },
        bare: false,
        server: None,
        headers: Vec::new(),
        delayed: Vec::new(),
        index: 0,
        hash: String::new(),
    };
    let mut called: Option<(String, Vec<String>)> = None;
    for line in &row.lines {
        let word = line.split(' ').next().unwrap_or_default();
        let is_call = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD"].contains(&word);
        let is_set = ["set", "bare", "node", "with", "after", "token"].contains(&word);
        if is_call || is_set {
            check(&mut world, called.take()).await?;
        }
        if is_call {
            called = Some((line.clone(), Vec::new()));
        } else if is_set {
            world.line(line);
        } else {
            called.as_mut().expect("something is called first").1.push(line.clone());
        }
    }
    check(&mut world, called).await
}

async fn check(world: &mut World, called: Option<(String, Vec<String>)>) -> Result<(), String> {
    let Some((call, expected)) = called else { return Ok(()) };
    let answer = world.call(&call).await;
    let index = answer.header("x-consul-index").and_then(|index| index.parse().ok());
    let told = |why: String| {
        let text: String = answer.body.chars().take(3000).collect();
        format!("{call}\n  {why}\n  got {} {:?}\n  {text}", answer.status, answer.headers)
    };
    if !expected.iter().any(|line| line.starts_with("status ")) && answer.status != 200 {
        return Err(told("status 200".into()));
    }
    for line in &expected {
        if !holds(line, &answer, world.index) {
            return Err(told(line.clone()));
        }
    }
    world.index = index.unwrap_or(world.index);
    if let Some(hash) = answer.header("x-consul-contenthash") {
        world.hash = hash.to_owned();
    }
    Ok(())
}

fn holds(line: &str, answer: &Answer, last: u64) -> bool {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let read = serde_json::from_str::<Value>(&answer.body);
    if matches!(word, "json" | "at" | "no" | "count") && read.is_err() {
        return false;
    }
    let json = || read.as_ref().unwrap();
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{line}: {e}"));
    let time = |text: &str| Duration::from_millis(text.strip_suffix("ms").unwrap().parse().unwrap());
    let index = || answer.header("x-consul-index").unwrap().parse::<u64>().unwrap();
    match word {
        "status" => answer.status.to_string() == rest,
        "empty" => answer.body.is_empty(),
        "is" => answer.body == rest,
        "exact" => value(rest) == answer.body,
        "begins" => answer.body.starts_with(rest),
        "has" => answer.body.contains(rest),
        "json" => *json() == value(rest),
        "at" => {
            let (pointer, wanted) = rest.split_once(' ').unwrap();
            json().pointer(pointer) == Some(&value(wanted))
        }
        "no" => json().pointer(rest).is_none(),
        "count" => {
            let (pointer, wanted) = rest.rsplit_once(' ').unwrap_or(("", rest));
            let count = match json().pointer(pointer) {
                Some(Value::Array(items)) => items.len(),
                Some(Value::Object(map)) => map.len(),
                _ => return false,
            };
            count.to_string() == wanted
        }
        "header" => match rest.split_once(": ") {
            Some((name, wanted)) => answer.header(name) == Some(wanted),
            None => answer.header(rest).is_some(),
        },
        "without" => answer.header(rest).is_none(),
        "took" => {
            let (least, most) = rest.split_once(' ').unwrap();
            (time(least)..time(most)).contains(&answer.took)
        }
        "index" if rest == "grew" => index() > last,
        "index" if rest == "same" => index() == last,
        _ => panic!("{line}"),
    }
}

/// `service:web*=read`.
fn rule(text: &str) -> Rule {
    let (resource, rest) = text.split_once(':').unwrap();
    let (name, word) = rest.split_once('=').unwrap();
    let resource = match resource {
        "service" => Resource::Service,
        "node" => Resource::Node,
        "agent" => Resource::Agent,
        "key" => Resource::Key,
        "event" => Resource::Event,
        _ => panic!("{text}"),
    };
    let bare = name.strip_suffix('*');
    Rule { resource, name: bare.unwrap_or(name).into(), prefix: bare.is_some(), right: right(word) }
}

fn right(word: &str) -> Right {
    match word {
        "deny" => Right::Deny,
        "read" => Right::Read,
        "write" => Right::Write,
        _ => panic!("{word}"),
    }
}

impl World {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "bare" => self.bare = true,
            "with" => self.headers.push(rest.to_owned()),
            "after" => {
                let (time, call) = rest.split_once(' ').unwrap();
                let time = Duration::from_millis(time.strip_suffix("ms").unwrap().parse().unwrap());
                self.delayed.push((time, call.to_owned()));
            }
            "token" => {
                let (secret, rules) = rest.split_once(' ').unwrap_or((rest, ""));
                let rules: Vec<Rule> = rules.split(' ').filter(|rule| !rule.is_empty()).map(rule).collect();
                match secret {
                    "anonymous" => self.settings.access.anonymous = rules,
                    _ => self.settings.access.tokens.push(Token {
                        secret: secret.into(),
                        accessor: format!("{secret}-id"),
                        rules,
                    }),
                }
            }
            "node" => {
                let mut words = rest.split(' ');
                let mut node = Node::new(words.next().unwrap(), Address::parse(words.next().unwrap()));
                for pair in words {
                    let (key, value) = pair.split_once('=').unwrap();
                    node.meta.insert(key.into(), value.into());
                }
                self.registry.put_node(node).unwrap();
            }
            "set" => {
                let (key, value) = rest.split_once(' ').unwrap();
                match key {
                    "blocked_path" => self.settings.blocked_paths.push(value.into()),
                    "datacenter" => self.settings.datacenter = value.into(),
                    "default" => self.settings.access.default = right(value),
                    "body" => self.settings.limits.body = value.parse().unwrap(),
                    _ => panic!("{line}"),
                }
            }
            _ => panic!("{line}"),
        }
    }

    async fn address(&mut self) -> SocketAddr {
        if self.server.is_none() {
            if !self.bare {
                self.registry.put_node(Node::new("n1", Address::Ip(Ipv4Addr::LOCALHOST.into()))).unwrap();
                let alive = Definition::of_node("n1", "serfHealth", Probe::Manual);
                self.registry.put_check(Check::new(alive).state(State::Passing)).unwrap();
                self.registry.register(Instance::new("consul", "consul", "n1", 8300), Vec::new(), false).unwrap();
            }
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let started = Server::start(&[any], self.registry.clone(), None, self.settings.clone()).await;
            self.server = Some(started.unwrap());
        }
        self.server.as_ref().unwrap().addresses()[0]
    }

    async fn call(&mut self, call: &str) -> Answer {
        let address = self.address().await;
        let call = call.replace("{index}", &self.index.to_string()).replace("{hash}", &self.hash);
        for (time, call) in std::mem::take(&mut self.delayed) {
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                assert_eq!(ask(address, &call, &[]).await.status, 200, "{call}");
            });
        }
        ask(address, &call, &std::mem::take(&mut self.headers)).await
    }
}

//! The table against rows of expected answers, against a matcher that knows no index, and against size and malice.

mod hostile;
mod many;
mod naive;
mod random;
mod rows;
mod upstream;

use super::{Asked, Rule, Scheme, Table, form, host_and_port};
use crate::codec::normalize;
use crate::exchange::Headers;

/// A request in words: `[https|grpc|grpcs] METHOD host[:port] /path [sni=name] [h.name=value]…`. `-` is no host.
pub(super) struct Request {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) method: String,
    pub(super) path: Vec<u8>,
    pub(super) sni: Option<String>,
    pub(super) headers: Headers,
}

impl Request {
    pub(super) fn read(text: &str) -> Request {
        let mut words = text.split(' ').peekable();
        let scheme = match words.peek() {
            Some(&"https") => Scheme::Https,
            Some(&"grpc") => Scheme::Grpc,
            Some(&"grpcs") => Scheme::Grpcs,
            _ => Scheme::Http,
        };
        if scheme != Scheme::Http {
            words.next();
        }
        let method = words.next().unwrap().to_owned();
        let authority = words.next().unwrap();
        let (host, port) = host_and_port(authority, 8000);
        let host = if host == "-" { "" } else { host };
        let path = normalize::path(words.next().unwrap()).unwrap();
        let mut request = Request {
            scheme,
            host: host.to_owned(),
            port,
            method,
            path: form::matching(&path).into_owned(),
            sni: None,
            headers: Headers::default(),
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            match key.strip_prefix("h.") {
                Some(name) => {
                    assert!(request.headers.append(String::leak(name.to_owned()), value));
                }
                None => request.sni = Some(value.to_owned()),
            }
        }
        request
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            scheme: self.scheme,
            host: &self.host,
            port: self.port,
            method: &self.method,
            path: &self.path,
            sni: self.sni.as_deref(),
            headers: &self.headers,
        }
    }
}

/// Rules in words, `;` between them: `NAME key=value,value …`, keys as in a file, `h.name` for a header.
pub(super) fn rules(text: &str) -> Vec<Rule> {
    text.split("; ").enumerate().map(|(target, text)| rule(target, text)).collect()
}

fn rule(target: usize, text: &str) -> Rule {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let mut rule =
        Rule { name, protocols: vec![Scheme::Http, Scheme::Https], target, strip_path: true, ..Rule::default() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match key {
            "hosts" => rule.hosts = list(),
            "paths" => rule.paths = list(),
            "methods" => rule.methods = list(),
            "snis" => rule.snis = list(),
            "priority" => rule.regex_priority = value.parse().unwrap(),
            "order" => rule.order = value.parse().unwrap(),
            "protocols" => {
                let all = [Scheme::Http, Scheme::Https, Scheme::Grpc, Scheme::Grpcs];
                rule.protocols = list().iter().map(|n| *all.iter().find(|s| s.as_str() == n).unwrap()).collect();
            }
            _ => rule.headers.push((key.strip_prefix("h.").unwrap().to_owned(), list())),
        }
    }
    rule
}

pub(super) fn table(text: &str) -> Table {
    Table::new(rules(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

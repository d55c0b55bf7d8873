//! What a rule says and what a request asks: the two sides that the table brings together.

use crate::exchange::Headers;
use std::fmt;

/// The protocols that a rule may list and that a request comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP in clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// gRPC in clear.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl Scheme {
    /// Whether it runs over TLS.
    pub fn tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Grpcs)
    }

    /// Its name in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Grpc => "grpc",
            Scheme::Grpcs => "grpcs",
        }
    }
}

/// How the service's path and the request's path become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathHandling {
    /// Segments stay apart: exactly one slash stands between the two.
    #[default]
    V0,
    /// Plain concatenation. The default flavour of the router reads it as `V0`.
    V1,
}

/// One rule, as written. Empty lists ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Name, for people.
    pub name: String,
    /// Does not decide whether the rule matches, but what is answered when it does: see [`Rule::mismatch`].
    pub protocols: Vec<Scheme>,
    /// `name`, `*.name` or `name.*`, each with or without a port.
    pub hosts: Vec<String>,
    /// `/prefix` or `~/expression`.
    pub paths: Vec<String>,
    /// Upper case.
    pub methods: Vec<String>,
    /// Name and values: every name must be there with one of its values. `~*` begins an expression.
    pub headers: Vec<(String, Vec<String>)>,
    /// `name`, `*.name` or `name.*`. Only asked of requests over TLS.
    pub snis: Vec<String>,
    /// Among expressions, the higher goes first.
    pub regex_priority: i32,
    /// Whether the matched part of the path is cut before the request goes on.
    pub strip_path: bool,
    /// Whether the worker sees the client's `Host`.
    pub preserve_host: bool,
    /// How the upstream path is made.
    pub path_handling: PathHandling,
    /// Among rules of equal rank the higher goes first, then the one written first. Kong takes the route's UUID
    /// as a number; where creation should decide, it is `u128::MAX` minus the time of creation.
    pub order: u128,
    /// Whatever the caller wants to find again.
    pub target: usize,
}

/// The rule matches, but this is no way to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Clear text on a rule for `https` only: 426, or the redirection that the rule names.
    NeedsTls,
    /// gRPC over HTTP/1: 426.
    NeedsHttp2,
    /// Something else on a gRPC rule: 415.
    NotGrpc,
    /// gRPC in clear on a rule for `grpcs` only: `grpc-status: 1`.
    NeedsGrpcs,
}

impl Rule {
    /// Whether the request came by a protocol that the rule serves. `grpc` is whether its content type begins with
    /// `application/grpc`.
    pub fn mismatch(&self, tls: bool, http2: bool, grpc: bool) -> Option<Mismatch> {
        let has = |scheme| self.protocols.contains(&scheme);
        if has(Scheme::Https) && !has(Scheme::Http) && !tls {
            return Some(Mismatch::NeedsTls);
        }
        if !has(Scheme::Grpc) && !has(Scheme::Grpcs) {
            return None;
        }
        match (grpc, http2) {
            (false, _) => Some(Mismatch::NotGrpc),
            (true, false) => Some(Mismatch::NeedsHttp2),
            (true, true) => (!has(Scheme::Grpc) && !tls).then_some(Mismatch::NeedsGrpcs),
        }
    }
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which rule, counted from 0.
    pub rule: usize,
    /// Which field: `paths[1]`, `headers.version[0]`, `@entity` for the whole.
    pub field: String,
    /// What and, where it is known, the fix.
    pub message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Where header values are looked up.
pub trait Lookup {
    /// Whether `test` holds for any value of the header `name`, which is given in lower case.
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

impl Lookup for Headers {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.get_all(name).any(test)
    }
}

/// Takes a normalised authority apart: the host, and its port or that of the listener.
pub fn host_and_port(authority: &str, listener: u16) -> (&str, u16) {
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    let colon = authority.get(end..).and_then(|rest| rest.find(':')).map(|at| end + at);
    let port = colon.and_then(|at| authority.get(at + 1..)?.parse().ok());
    (colon.and_then(|at| authority.get(..at)).unwrap_or(authority), port.unwrap_or(listener))
}

/// What a request asks.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How it came.
    pub scheme: Scheme,
    /// The host of its authority in lower case, without the port; empty if it has none.
    pub host: &'a str,
    /// The port of its authority, else that of the listener.
    pub port: u16,
    /// As sent.
    pub method: &'a str,
    /// The path in the form of [`super::form::matching`], without the query.
    pub path: &'a [u8],
    /// The server name of the handshake, in lower case.
    pub sni: Option<&'a str>,
    /// Its headers.
    pub headers: &'a dyn Lookup,
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn an_authority_in_two() {
        for (authority, expected) in [
            ("a.test", ("a.test", 8000)),
            ("a.test:81", ("a.test", 81)),
            ("[::1]", ("[::1]", 8000)),
            ("[::1]:81", ("[::1]", 81)),
            ("", ("", 8000)),
        ] {
            assert_eq!(host_and_port(authority, 8000), expected, "{authority}");
        }
    }
}

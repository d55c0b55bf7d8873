//! What only shows when several fields of one entity are seen together.

use super::check::{shown, truth};
use super::pem;
use super::plugins;
use super::spec::Kind;
use super::{Reader, Record};
use crate::config::source::Span;
use crate::config::tree::{Node, Value};
use crate::gateway::people::{Algorithm, public_key};
use crate::tls::{Age, Pem, Role, about};

/// Protocols that can't stand in one route with those of another set.
const SETS: [&[&str]; 4] = [&["http", "https"], &["tcp", "tls", "udp"], &["tls_passthrough"], &["grpc", "grpcs"]];

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

/// Whether a key says something; what has been reported counts.
fn says(node: &Node, key: &str) -> bool {
    node.get(key).is_some()
}

/// The same, and the list or map is not empty.
fn filled(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|n| {
        !matches!(&n.value, Value::List(l) if l.is_empty()) && !matches!(&n.value, Value::Map(m) if m.is_empty())
    })
}

impl Reader<'_> {
    pub(super) fn rules(&mut self) {
        let records = std::mem::take(&mut self.records);
        for record in &records {
            match record.kind {
                Kind::Service => self.service(record),
                Kind::Route => self.route(record),
                Kind::Consumer => self.consumer(record),
                Kind::Plugin => plugins::check(self, record),
                Kind::Upstream => self.upstream(record),
                Kind::Certificate => self.certificate(record),
                Kind::CaCertificate => {
                    if let Some(node) = record.node.get("cert")
                        && let Some(cert) = node.text()
                        && let Err((words, fix)) = pem::authority(cert)
                    {
                        self.wrong(node.span, &format!("{}.cert", record.path), words, fix.to_owned());
                    }
                }
                Kind::Vault => {
                    if let Some(node) = record.node.get("name")
                        && let Some(name) = node.text()
                        && name != "env"
                    {
                        let at = format!("{}.name", record.path);
                        if super::vault::KINDS.contains(&name) {
                            let message = format!("`{at}`: the vault '{name}' is not supported yet");
                            self.problems.error(node.span, "not-supported", &at, message, "use env");
                        } else {
                            let words = format!("vault '{}' is not installed", shown(name));
                            self.wrong(node.span, &at, &words, "use env".to_owned());
                        }
                    }
                }
                Kind::Jwt => self.jwt(record),
                Kind::BasicAuth => self.basic(record),
                _ => {}
            }
        }
        self.records = records;
    }

    /// Something wrong with an entity as a whole.
    fn entity(&mut self, record: &Record, words: &str, fix: &str) {
        let span = record.node.span;
        let span = Span { end: span.end.min(span.start + 200), ..span };
        self.wrong(span, &record.path, words, fix.to_owned());
    }

    fn of_key(&mut self, record: &Record, key: &str, words: &str, fix: &str) {
        let span = record.node.entry(key).map_or(record.node.span, |e| e.key_span);
        self.wrong(span, &format!("{}.{key}", record.path), words, fix.to_owned());
    }

    fn service(&mut self, record: &Record) {
        let node = &record.node;
        let protocol = text(node, "protocol").unwrap_or("http");
        let conditional = "value must be null (failed conditional validation given value of field 'protocol')";
        if ["tcp", "tls", "udp", "grpc", "grpcs"].contains(&protocol) && says(node, "path") {
            self.of_key(record, "path", conditional, &format!("remove it; {protocol} has no path here"));
        }
        if !["https", "tls"].contains(&protocol) {
            let certificate = record.parent.iter().any(|(field, _)| *field == "client_certificate");
            if certificate {
                let words = format!("client_certificate: {conditional}");
                self.entity(record, &words, "write protocol: https");
            }
            for key in ["client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"] {
                if says(node, key) {
                    self.of_key(record, key, conditional, "remove it, or write protocol: https");
                }
            }
        }
    }

    fn route(&mut self, record: &Record) {
        let node = &record.node;
        let protocols: Vec<&str> = match node.get("protocols") {
            None => vec!["http", "https"],
            Some(list) => list.items().iter().filter_map(Node::text).collect(),
        };
        let Some(first) = protocols.first() else {
            if node.get("protocols").is_some_and(|n| n.value == Value::List(Vec::new())) {
                self.of_key(record, "protocols", "length must be at least 1", "name one, or remove the key");
            }
            return;
        };
        let set = SETS.iter().find(|s| s.contains(first)).copied().unwrap_or_default();
        if protocols.iter().any(|p| !set.contains(p)) {
            let words = "these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp'), \
                         ('tls_passthrough'), ('grpc', 'grpcs')";
            return self.of_key(record, "protocols", words, "make a route for each set");
        }
        let has = |key: &str| filled(node, key);
        let one_of = |reader: &mut Self, keys: &[&str], protocol: &str| {
            if !keys.iter().any(|k| has(k)) {
                let quoted: Vec<String> = keys.iter().map(|k| format!("'{k}'")).collect();
                let quoted = quoted.join(", ");
                let words = format!("must set one of {quoted} when 'protocols' is '{protocol}'");
                let key = keys.iter().find(|k| **k == "paths").unwrap_or(&keys[0]);
                reader.entity(record, &words, &format!("add `{key}`"));
            }
        };
        let never = |reader: &mut Self, keys: &[&str], protocols: &str| {
            for key in keys.iter().filter(|k| has(k)) {
                let words = format!("cannot set '{key}' when 'protocols' is {protocols}");
                reader.of_key(record, key, &words, "remove it");
            }
        };
        match *first {
            "http" | "https" => {
                if protocols.contains(&"http") {
                    // A route of both must do for plain HTTP, where there is no SNI; Kong takes SNIs there too.
                    let keys: &[&str] = match protocols.contains(&"https") {
                        true => &["methods", "hosts", "headers", "paths", "snis"],
                        false => &["methods", "hosts", "headers", "paths"],
                    };
                    one_of(self, keys, if keys.len() == 5 { "https" } else { "http" });
                } else {
                    one_of(self, &["methods", "hosts", "headers", "paths", "snis"], "https");
                }
                never(self, &["sources", "destinations"], "'http' or 'https'");
            }
            "grpc" | "grpcs" => {
                let keys: &[&str] = match protocols.contains(&"grpcs") {
                    true => &["hosts", "headers", "paths", "snis"],
                    false => &["hosts", "headers", "paths"],
                };
                one_of(self, keys, if keys.len() == 4 { "grpcs" } else { "grpc" });
                never(self, &["sources", "destinations", "methods"], "'grpc' or 'grpcs'");
                if text(node, "strip_path").and_then(truth) == Some(true) {
                    let words = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'";
                    self.of_key(record, "strip_path", words, "remove it");
                }
            }
            "tls_passthrough" => {
                if !has("snis") {
                    self.entity(record, "must set snis when 'protocols' is 'tls_passthrough'", "add `snis`");
                }
                never(self, &["methods", "hosts", "headers", "paths"], "'tls_passthrough'");
            }
            _ => {
                one_of(self, &["sources", "destinations", "snis"], "tcp, tls, udp");
                never(self, &["methods", "hosts", "headers", "paths"], "'tcp', 'tls' or 'udp'");
            }
        }
        if has("snis") && !protocols.iter().any(|p| ["grpcs", "https", "tls", "tls_passthrough"].contains(p)) {
            let words = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'";
            self.of_key(record, "snis", words, "remove it, or add the protocol");
        }
        for path in node.get("paths").map(Node::items).unwrap_or_default() {
            let Some(words) = path.text().filter(|t| !t.starts_with('~') && t.contains(['\\', '(', '[', '^', '$']))
            else {
                continue;
            };
            let message = format!("`{}.paths`: this path is compared letter by letter", record.path);
            let fix = format!("write ~{} if it is a regular expression", shown(words));
            self.problems.warning(path.span, "doubtful", &format!("{}.paths", record.path), message, fix);
        }
    }

    fn consumer(&mut self, record: &Record) {
        if !says(&record.node, "username") && !says(&record.node, "custom_id") {
            let words = "at least one of these fields must be non-empty: 'custom_id', 'username'";
            self.entity(record, words, "add `username`");
        }
    }

    fn upstream(&mut self, record: &Record) {
        let node = &record.node;
        let on = text(node, "hash_on").unwrap_or("none");
        let back = text(node, "hash_fallback").unwrap_or("none");
        let needs = |kind: &str, side: &str| match (kind, side) {
            ("header" | "query_arg" | "uri_capture", _) => Some(format!("{side}_{kind}")),
            // Whichever of the two asks, there is one cookie.
            ("cookie", _) => Some("hash_on_cookie".to_owned()),
            _ => None,
        };
        for (kind, side) in [(on, "hash_on"), (back, "hash_fallback")] {
            if let Some(key) = needs(kind, side).filter(|k| !says(node, k)) {
                let words =
                    format!("required field missing (failed conditional validation given value of field '{side}')");
                let fix = format!("add `{key}`");
                let span = node.entry(side).map_or(node.span, |e| e.key_span);
                let at = format!("{}.{key}", record.path);
                self.problems.error(span, "missing-key", &at, format!("`{at}`: {words}"), fix);
            }
        }
        let conditional = "failed conditional validation given value of field 'hash_on'";
        if ["none", "cookie"].contains(&on) && back != "none" {
            let words = format!("expected one of: none ({conditional})");
            self.of_key(record, "hash_fallback", &words, "remove it");
        } else if on == back && ["consumer", "ip", "path"].contains(&on) {
            self.of_key(record, "hash_fallback", &format!("expected one of: none, consumer, ip, header, cookie, path, query_arg, uri_capture, but not {on} ({conditional})"), "choose another");
        }
        for kind in ["header", "query_arg", "uri_capture"] {
            let (a, b) = (format!("hash_on_{kind}"), format!("hash_fallback_{kind}"));
            if on == kind && back == kind && text(node, &a).is_some() && text(node, &a) == text(node, &b) {
                let words = format!("values of these fields must be distinct: '{a}', '{b}'");
                self.of_key(record, &b, &words, "choose another");
            }
        }
    }

    fn certificate(&mut self, record: &Record) {
        let node = &record.node;
        if says(node, "cert_alt") != says(node, "key_alt") {
            let words = "all or none of these fields must be set: 'cert_alt', 'key_alt'";
            self.entity(record, words, "add the other one, or remove this one");
        }
        let mut kinds = Vec::new();
        for (cert, key) in [("cert", "key"), ("cert_alt", "key_alt")] {
            let (Some(cert_text), Some(key_text)) = (text(node, cert), text(node, key)) else { continue };
            match pem::pair(cert_text, key_text) {
                Ok(kind) => kinds.push(kind),
                Err((pem::Side::Cert, words, fix)) => self.of_value(record, cert, words, fix),
                Err((pem::Side::Key, words, fix)) => self.of_value(record, key, words, fix),
            }
        }
        if let [first, second] = kinds.as_slice()
            && first == second
        {
            let words = "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both of the same type";
            self.of_value(record, "cert_alt", words, "give a pair of the other type");
        }
        for key in ["cert", "cert_alt"] {
            if let Some(text) = text(node, key) {
                self.age(record, key, text);
            }
        }
    }

    /// Kong shows a certificate whose time is over; nobody believes it.
    fn age(&mut self, record: &Record, key: &str, text: &str) {
        let Ok(found) = about(&Pem::text("", text), "", Role::Shown) else { return };
        let (age, fix) = match found.age() {
            Age::Good(_) => return,
            age @ Age::Early(_) => (age, "look at this machine's clock, or use another certificate"),
            age => (age, "renew it, and reload"),
        };
        let at = format!("{}.{key}", record.path);
        let span = record.node.get(key).map_or(record.node.span, |n| n.span);
        let span = Span { end: span.end.min(span.start + 1), ..span };
        self.problems.warning(span, "certificate-time", &at, format!("`{at}`: the certificate {age}"), fix);
    }

    fn of_value(&mut self, record: &Record, key: &str, words: &str, fix: &str) {
        let span = record.node.get(key).map_or(record.node.span, |n| n.span);
        self.wrong(span, &format!("{}.{key}", record.path), words, fix.to_owned());
    }

    fn jwt(&mut self, record: &Record) {
        let node = &record.node;
        let algorithm = text(node, "algorithm").unwrap_or("HS256");
        let asymmetric = algorithm.starts_with("RS") || algorithm.starts_with("PS") || algorithm == "EdDSA";
        if asymmetric && !says(node, "rsa_public_key") {
            let at = format!("{}.rsa_public_key", record.path);
            let message = format!(
                "`{at}`: required field missing (failed conditional validation given value of field 'algorithm')"
            );
            let span = node.entry("algorithm").map_or(node.span, |e| e.key_span);
            self.problems.error(span, "missing-key", &at, message, "add the public key in PEM");
        }
        if let Some(key) = text(node, "rsa_public_key") {
            let fits = match Algorithm::parse(algorithm).filter(|a| a.is_asymmetric()) {
                Some(algorithm) => public_key(algorithm, key).is_some(),
                None => pem::public(key),
            };
            if !fits {
                let fix = "give a public key in PEM (BEGIN PUBLIC KEY) of its `algorithm`; RSA from 2048 bits on";
                self.of_value(record, "rsa_public_key", "invalid key", fix);
            }
        }
    }

    fn basic(&mut self, record: &Record) {
        let Some(password) = text(&record.node, "password").filter(|_| !self.transform) else { return };
        if password.len() != 40 || !password.bytes().all(|b| b.is_ascii_hexdigit()) {
            let words = "with `_transform: false` this must be a hash: 40 hexadecimal digits";
            self.of_value(record, "password", words, "remove `_transform`, or write the hash");
        }
    }
}

//! Which of a listener's certificates a caller is shown.

use super::names;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct Choice {
    all: Vec<Arc<CertifiedKey>>,
    /// In the order of the configuration: one name may have an RSA and an ECDSA certificate.
    exact: HashMap<String, Vec<usize>>,
    /// `*.example.com` under `example.com`.
    wild: HashMap<String, Vec<usize>>,
    /// The first certificate, and those that share a name with it.
    fallback: Vec<usize>,
}

impl Choice {
    pub(super) fn new(all: Vec<Arc<CertifiedKey>>) -> Choice {
        let mut choice = Choice { all, exact: HashMap::new(), wild: HashMap::new(), fallback: Vec::new() };
        let mut first: Vec<String> = Vec::new();
        for (i, pair) in choice.all.iter().enumerate() {
            let hosts = pair.cert.first().map(names::hosts).unwrap_or_default();
            if i == 0 {
                first.clone_from(&hosts);
            }
            if i == 0 || hosts.iter().any(|h| first.contains(h)) {
                choice.fallback.push(i);
            }
            for host in hosts {
                let under = match host.strip_prefix("*.") {
                    Some(domain) => choice.wild.entry(domain.to_owned()),
                    None => choice.exact.entry(host),
                };
                under.or_default().push(i);
            }
        }
        choice
    }

    /// Those for a host: by its name, else by a wildcard of one label, else the fallback.
    fn of(&self, host: Option<&str>) -> &[usize] {
        let Some(host) = host else { return &self.fallback };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.exact.get(&host);
        let wild = || host.split_once('.').and_then(|(_, domain)| self.wild.get(domain));
        exact.or_else(wild).unwrap_or(&self.fallback)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let fits = |i: &&usize| {
            self.all.get(**i).is_some_and(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let chosen = candidates.iter().find(fits).or(candidates.first())?;
        self.all.get(*chosen).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{authority, certified};
    use super::*;

    #[test]
    fn by_name_then_by_wildcard_then_the_first() {
        let ours = authority("ours");
        let of = |names: &[&str]| Arc::new(certified(&ours, names, &rcgen::PKCS_ECDSA_P256_SHA256));
        let choice = Choice::new(vec![
            of(&["a.test"]),
            of(&["*.b.test", "b.test"]),
            of(&["special.b.test"]),
            of(&["a.test", "other.test"]),
        ]);
        for (host, expected) in [
            (Some("a.test"), &[0, 3][..]),
            (Some("A.Test."), &[0, 3]),
            (Some("b.test"), &[1]),
            (Some("x.b.test"), &[1]),
            (Some("special.b.test"), &[2]),
            (Some("other.test"), &[3]),
            // A wildcard stands for one label.
            (Some("x.y.b.test"), &[0, 3]),
            (Some("unknown.test"), &[0, 3]),
            (None, &[0, 3]),
        ] {
            assert_eq!(choice.of(host), expected, "{host:?}");
        }
    }
}

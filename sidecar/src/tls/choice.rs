//! Which of several certificates is shown: by the name that a caller asks for, or by what the other side can check.

use super::names;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// A listener's certificates by the names that they are for.
#[derive(Debug, Default)]
pub(super) struct Choice {
    all: Vec<Arc<CertifiedKey>>,
    /// In the order of the configuration: one name may have an RSA and an ECDSA certificate.
    exact: HashMap<String, Vec<usize>>,
    /// `example.*` under `example`.
    begin: HashMap<String, Vec<usize>>,
    /// `*.example.com` under `example.com`.
    wild: HashMap<String, Vec<usize>>,
    /// The first of the certificates that were given no names, or else of all, and those that share a name with it.
    fallback: Vec<usize>,
    /// The names of the first.
    first: Vec<String>,
    /// Whether the first was given its names.
    titled: bool,
}

impl Choice {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a certificate for the names that stand in it.
    pub(super) fn add(&mut self, pair: Arc<CertifiedKey>) {
        let hosts = pair.cert.first().map(names::hosts).unwrap_or_default();
        if self.titled {
            (self.titled, self.fallback, self.first) = (false, Vec::new(), Vec::new());
        }
        self.insert(pair, &hosts);
    }

    /// Adds a certificate for these names. Those that were added before it go before it.
    pub(super) fn add_titled(&mut self, titles: &[String], pair: Arc<CertifiedKey>) {
        self.titled |= self.all.is_empty();
        self.insert(pair, titles);
    }

    fn insert(&mut self, pair: Arc<CertifiedKey>, hosts: &[String]) {
        let i = self.all.len();
        self.all.push(pair);
        if self.fallback.is_empty() {
            self.first = hosts.to_vec();
            self.fallback.push(i);
        } else if hosts.iter().any(|h| self.first.contains(h)) {
            self.fallback.push(i);
        }
        for host in hosts {
            let under = match (host.strip_prefix("*."), host.strip_suffix(".*")) {
                (Some(domain), _) => self.wild.entry(domain.to_owned()),
                (None, Some(begin)) => self.begin.entry(begin.to_owned()),
                (None, None) => self.exact.entry(host.clone()),
            };
            under.or_default().push(i);
        }
    }

    /// Those for a host: by its name, else by a wildcard of one label, else the fallback.
    fn of(&self, host: Option<&str>) -> &[usize] {
        let Some(host) = host else { return &self.fallback };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.exact.get(&host);
        let begin = || host.rsplit_once('.').and_then(|(begin, _)| self.begin.get(begin));
        let wild = || host.split_once('.').and_then(|(_, domain)| self.wild.get(domain));
        exact.or_else(begin).or_else(wild).unwrap_or(&self.fallback)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let fits = |i: &&usize| self.all.get(**i).is_some_and(|pair| fits(pair, hello.signature_schemes()));
        let chosen = candidates.iter().find(fits).or(candidates.first())?;
        self.all.get(*chosen).cloned()
    }
}

fn fits(pair: &CertifiedKey, schemes: &[SignatureScheme]) -> bool {
    pair.key.choose_scheme(schemes).is_some()
}

/// Our own certificate, for those who ask for one.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) first: Arc<CertifiedKey>,
    /// For those who cannot check the first.
    pub(super) other: Option<Arc<CertifiedKey>>,
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let other = self.other.as_ref().filter(|other| !fits(&self.first, schemes) && fits(other, schemes));
        Some(other.unwrap_or(&self.first).clone())
    }

    fn has_certs(&self) -> bool {
        true
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
        let mut choice = Choice::default();
        for names in [&["a.test"][..], &["*.b.test", "b.test"], &["special.b.test"], &["a.test", "other.test"]] {
            choice.add(of(names));
        }
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

    #[test]
    fn by_the_names_that_were_given_then_by_those_inside() {
        let ours = authority("ours");
        let of = |names: &[&str]| Arc::new(certified(&ours, names, &rcgen::PKCS_ECDSA_P256_SHA256));
        let titles = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let given: &[&[&str]] = &[&["shop.test", "*.b.test"], &["shop.*"], &["shop.test"]];
        let mut choice = Choice::default();
        given.iter().for_each(|names| choice.add_titled(&titles(names), of(&["inside.test"])));
        assert_eq!((choice.of(None), choice.of(Some("inside.test"))), (&[0, 2][..], &[0, 2][..]), "its names count");
        choice.add(of(&["own.test", "shop.test", "x.b.test", "*.b.test"]));
        for (host, expected) in [
            (Some("shop.test"), &[0, 2, 3][..]),
            (Some("shop.example"), &[1]),
            (Some("a.shop.example"), &[3]),
            (Some("y.b.test"), &[0, 3]),
            // A whole name goes before a wildcard, whoever gave it.
            (Some("x.b.test"), &[3]),
            (Some("own.test"), &[3]),
            (Some("inside.test"), &[3]),
            (None, &[3]),
        ] {
            assert_eq!(choice.of(host), expected, "{host:?}");
        }
    }
}

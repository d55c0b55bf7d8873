//! Which names can stand in a certificate: trust domains and names by the rules of SPIFFE, hosts by those of DNS.

use super::Failure;
use rustls::pki_types::DnsName;
use std::net::IpAddr;

/// The longest trust domain of the SPIFFE ID standard.
const TRUST_DOMAIN_MAX: usize = 255;
/// A name is also the certificate's common name, which X.509 ends here.
const NAME_MAX: usize = 64;

/// What stands before the trust domain.
pub(super) const SCHEME: &str = "spiffe://";

/// The SPIFFE ID standard, section 2.1.
pub(super) fn trust_domain(text: &str) -> Result<&str, Failure> {
    let bad = |why: String| Err(Failure::usage(format!("trust domain `{text}`: {why}")));
    if text.starts_with(SCHEME) {
        return bad(format!("give it without {SCHEME}"));
    }
    if text.is_empty() || text.len() > TRUST_DOMAIN_MAX {
        return bad(format!("it has 1 to {TRUST_DOMAIN_MAX} characters, such as `fourmi.local`"));
    }
    let good = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    let small = text.to_ascii_lowercase();
    match small.chars().find(|c| !good(*c)) {
        Some(c) => {
            let better = small.replace(|c| !good(c), "-");
            let better = match better.trim_matches(['-', '.']) {
                "" => "fourmi.local",
                some => some,
            };
            let wrong = c.escape_default();
            bad(format!("`{wrong}` cannot stand in it; it has a-z, 0-9, `.`, `-` and `_`, such as `{better}`"))
        }
        None if small != text => bad(format!("write `{small}`, in small letters")),
        None => Ok(text),
    }
}

/// A name is one segment of a path (the SPIFFE ID standard, section 2.2), a host name and part of a file's name.
pub(super) fn name(text: &str) -> Result<&str, Failure> {
    let bad = |why: String| Err(Failure::usage(format!("name `{}`: {why}", text.escape_default())));
    if text.is_empty() || text.len() > NAME_MAX {
        return bad(format!("it has 1 to {NAME_MAX} characters, such as `payment`"));
    }
    let wrong = text.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_'));
    if let Some(c) = wrong {
        return bad(format!(
            "`{}` cannot stand in it; it has letters, digits, `.`, `-` and `_`, and no path: give the service's name",
            c.escape_default()
        ));
    }
    if text.eq_ignore_ascii_case("ca") {
        return bad("this is what the authority's own files are called".to_owned());
    }
    if text.parse::<IpAddr>().is_ok() {
        return bad("an address is no name: give the service's name, and this with --ip".to_owned());
    }
    // A `.` at the end would be the root of DNS.
    if text.ends_with('.') || DnsName::try_from(text).is_err() {
        return bad("it must also be a host name: no `.` or `-` at its begin or end, no two `.` together, at most 63 \
             characters between them"
            .to_owned());
    }
    Ok(text)
}

/// A host name for `--dns`; its first part may be `*`.
pub(super) fn dns(text: &str) -> Result<&str, Failure> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(Failure::usage(format!("--dns {text}: this is an address, give it with --ip")));
    }
    let host = text.strip_prefix("*.").unwrap_or(text);
    match DnsName::try_from(host) {
        // A wildcard right below the top would be for nobody or for everybody.
        Ok(_) if !host.ends_with('.') && (host.len() == text.len() || host.contains('.')) => Ok(text),
        _ => Err(Failure::usage(format!(
            "--dns {}: this is no host name; give such as `stock.example.com` or `*.example.com`",
            text.escape_default()
        ))),
    }
}

/// The trust domain of a SPIFFE ID, and its path without the first `/`.
pub(super) fn parts(identity: &str) -> Option<(&str, &str)> {
    let rest = identity.strip_prefix(SCHEME)?;
    let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
    trust_domain(domain).ok().map(|domain| (domain, path))
}

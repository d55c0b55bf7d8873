//! What a renewal takes over from the certificate that it replaces.

use super::issue::{Issue, Usage};
use super::parsed::Parsed;
use super::{BACKDATED, DAY, Failure, files, name};
use std::net::IpAddr;
use std::path::Path;

/// A lifetime that differs from whole days by more seconds was cut by the authority's end; nobody asked for it.
const INEXACT: i64 = 60;

/// What an old certificate has beyond its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// More host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Who may show it.
    pub usage: Option<Usage>,
    /// How long it was made for; none when it ended with its authority.
    pub days: Option<u32>,
}

impl Kept {
    /// What of it nothing else was asked for.
    pub(super) fn without(mut self, asked: &Issue) -> Kept {
        if asked.dns.is_some() {
            self.dns.clear();
        }
        if asked.ips.is_some() {
            self.ips.clear();
        }
        self.usage = self.usage.filter(|_| asked.usage.is_none());
        self.days = self.days.filter(|_| asked.days.is_none());
        self
    }
}

/// That of the certificate in a file, if there is one. It must be one that `issue` made for this name.
pub(super) fn of_file(path: &Path, own: &str) -> Result<Option<Kept>, Failure> {
    let shown = path.display();
    match path.metadata() {
        Ok(about) if about.is_file() => {}
        Ok(_) => return Err(Failure { code: 73, message: format!("{shown} is no file: it cannot be replaced") }),
        // Also a link to nowhere.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Reading says what it is.
        Err(_) => {}
    }
    let text = files::read(path)?;
    let first = files::certificates(path, &text).and_then(|all| {
        let first = all.first().ok_or_else(|| Failure::failed("no certificate"))?;
        Parsed::of(first).map_err(Failure::failed)
    });
    let kept = first.map_err(|failure| failure.message).and_then(|parsed| of(&parsed, own));
    kept.map(Some).map_err(|why| {
        Failure::failed(format!(
            "{shown} is there and cannot be renewed: {why}\nhint: only what `fourmi cert issue {own}` has made is \
             replaced; move the file away, or name another folder with --out"
        ))
    })
}

fn of(parsed: &Parsed, own: &str) -> Result<Kept, String> {
    let identity = parsed.identity().and_then(name::parts).map(|(_, path)| path);
    if identity != Some(own) {
        return Err(format!("its identity is not spiffe://…/{own}"));
    }
    if parsed.authority || !parsed.others.is_empty() {
        return Err("it is not of the kind that `fourmi cert issue` makes".to_owned());
    }
    let usage = match (parsed.server, parsed.client) {
        (true, true) => Usage::Both,
        (false, true) => Usage::Client,
        (true, false) => Usage::Server,
        (false, false) => return Err("it is neither for clients nor for servers".to_owned()),
    };
    let service = format!("{own}.service.fourmi");
    let dns: Vec<String> = parsed.dns.iter().filter(|host| *host != own && **host != service).cloned().collect();
    if let Some(odd) = dns.iter().find(|host| name::dns(host).is_err()) {
        return Err(format!("its name {odd} is no host name"));
    }
    let ips = parsed.ips.iter().map(|ip| ip.parse().map_err(|_| format!("its address {ip} is none")));
    let lifetime = parsed.not_after.saturating_sub(parsed.not_before).saturating_sub(BACKDATED);
    // The authority may have begun some seconds after the certificate would have.
    let days = lifetime.saturating_add(INEXACT) / DAY;
    let whole = days > 0 && lifetime.saturating_sub(days.saturating_mul(DAY)).abs() <= INEXACT;
    let days = u32::try_from(days).ok().filter(|_| whole);
    Ok(Kept { dns, ips: ips.collect::<Result<_, _>>()?, usage: Some(usage), days })
}

//! The entries that a name means: written ones, and those of registered instances.

use super::{lives, ttl};
use crate::dns::context::Context;
use crate::dns::labels::{Labels, name_of};
use crate::dns::settings::{Dialect, Domain};
use crate::model::{Record as Entry, label};
use hickory_proto::rr::{Name, RecordType};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::Arc;

/// Most entries that one question looks at.
const ENTRIES_MAX: usize = 4096;
/// The branch below a domain that holds what is no service.
const RESERVED: &str = "dns";
/// The port of a stub zone's server that says none.
const DNS_PORT: u16 = 53;

/// One entry that a name means.
pub(super) struct Found<'a> {
    /// Where it lies below the domain, from the domain on.
    pub(super) path: Vec<Cow<'a, str>>,
    pub(super) entry: Cow<'a, Entry>,
    /// The host, when that is an address.
    pub(super) ip: Option<IpAddr>,
    /// The host, when that is another name.
    pub(super) host: Option<Name>,
    pub(super) ttl: u32,
    /// It is the name's own, not one below it.
    pub(super) exact: bool,
}

impl<'a> Found<'a> {
    fn new(context: &Context<'_>, path: Vec<Cow<'a, str>>, entry: Cow<'a, Entry>, exact: bool) -> Option<Self> {
        let ttl = ttl(context, &entry)?;
        let ip = entry.host.parse().ok();
        let host = (ip.is_none() && !entry.host.is_empty()).then(|| name_of(&entry.host)).flatten();
        Some(Found { path, ip, host, ttl, exact, entry })
    }
}

/// What a name means: its own entry, or else all below it. A label `*` or `any` stands for every label in its place.
pub(super) fn all<'a>(context: &Context<'a>, domain: &Domain, front: &[&str], kind: RecordType) -> Vec<Found<'a>> {
    let wanted: Vec<&str> = front.iter().rev().copied().collect();
    let found = match wanted.is_empty() && matches!(kind, RecordType::A | RecordType::AAAA) {
        // The domain's own addresses, when there are some.
        true => Some(below(context, domain, &[RESERVED, "apex"])).filter(|found| !found.is_empty()),
        false => None,
    };
    let mut found = found.unwrap_or_else(|| below(context, domain, &wanted));
    if let Some(own) = found.iter().position(|found| found.exact) {
        found = vec![found.swap_remove(own)];
    }
    merged(found)
}

/// Whether a name is there, or one below it.
pub(super) fn exists(context: &Context<'_>, domain: &Domain, front: &[&str]) -> bool {
    let base = base(domain, front.iter().rev());
    let own = context.snapshot.records.get(&*base).is_some_and(|entry| lives(entry, context.now));
    own || range(context, &format!("{base}/")).next().is_some()
}

/// The entries of a branch, with wildcards.
pub(super) fn below<'a>(context: &Context<'a>, domain: &Domain, wanted: &[&str]) -> Vec<Found<'a>> {
    let wild = |label: &str| matches!(label, "*" | "any");
    let fixed = wanted.iter().take_while(|label| !wild(label)).count();
    let reserved = wanted.first() == Some(&RESERVED);
    let matches = |path: &[Cow<'_, str>]| {
        let inside = reserved || path.first().is_none_or(|first| first != RESERVED);
        let fits = path.len() >= wanted.len() && wanted.iter().zip(path).all(|(want, is)| wild(want) || want == is);
        inside && fits
    };
    let exact = |path: &[Cow<'_, str>]| path.len() == wanted.len() && fixed == wanted.len() && !path.is_empty();
    let mut found = Vec::new();
    let skipped = domain.labels.len();
    let base = base(domain, wanted.iter().take(fixed));
    let own = context.snapshot.records.get_key_value(&*base).filter(|_| fixed > 0);
    for (path, entry) in own.into_iter().chain(range(context, &format!("{base}/"))) {
        let path: Vec<Cow<'a, str>> = path.split('/').skip(skipped).map(Cow::Borrowed).collect();
        if matches(&path) && (!entry.host.is_empty() || !entry.text.is_empty()) {
            let exact = exact(&path);
            found.extend(Found::new(context, path, Cow::Borrowed(&**entry), exact));
        }
        if found.len() >= ENTRIES_MAX {
            return found;
        }
    }
    // A registered instance is an entry below its service.
    let services = match wanted.first() {
        Some(name) if !wild(name) => context.snapshot.services.get_key_value(*name),
        _ => None,
    };
    let every = wanted.first().is_none_or(|name| wild(name));
    let all = context.snapshot.services.iter().filter(|_| every);
    for (name, service) in services.into_iter().chain(all) {
        for member in service.members.iter().filter(|member| context.shows(member)) {
            let path = vec![Cow::Borrowed(&**name), label(&member.instance.id)];
            if matches(&path) && found.len() < ENTRIES_MAX {
                let exact = exact(&path);
                found.extend(Found::new(context, path, Cow::Owned(Entry::of(member)), exact));
            }
        }
    }
    found
}

/// Entries that say the same are one.
fn merged(found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::with_capacity(found.len());
    for found in found {
        let e = &*found.entry;
        if seen.insert((e.host.clone(), e.port, e.priority, e.weight, e.text.clone(), e.mail, e.group.clone())) {
            kept.push(found);
        }
    }
    kept
}

fn base<'l>(domain: &'l Domain, labels: impl Iterator<Item = &'l &'l str>) -> String {
    let domain = domain.labels.iter().rev();
    domain.chain(labels.copied()).collect::<Vec<_>>().join("/")
}

fn range<'a>(context: &Context<'a>, prefix: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Entry>)> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    let prefix = prefix.to_owned();
    let now = context.now;
    let found = context.snapshot.records.range::<str, _>(from);
    found.take_while(move |(path, _)| path.starts_with(&prefix)).filter(move |(_, entry)| lives(entry, now))
}

/// The servers of the stub zone that a name lies in.
pub(super) fn stubs(context: &Context<'_>, labels: &Labels) -> Vec<SocketAddr> {
    let domains = context.settings.domains.iter().filter(|domain| domain.dialect == Dialect::SkyDns);
    let mut servers: Vec<(usize, SocketAddr)> = Vec::new();
    for domain in domains {
        let prefix = base(domain, [RESERVED, "stub"].iter()) + "/";
        for (path, entry) in range(context, &prefix).take(ENTRIES_MAX) {
            let zone: Vec<&str> = path.get(prefix.len()..).unwrap_or_default().split('/').collect();
            let Some((_, zone)) = zone.split_last() else { continue };
            let inside =
                labels.len() >= zone.len() && labels.iter().rev().zip(zone).all(|(label, zone)| label == *zone);
            if let Ok(ip) = entry.host.parse::<IpAddr>()
                && inside
                && !zone.is_empty()
            {
                let port = if entry.port == 0 { DNS_PORT } else { entry.port };
                servers.push((zone.len(), SocketAddr::new(ip, port)));
            }
        }
    }
    let longest = servers.iter().map(|(len, _)| *len).max();
    servers.into_iter().filter(|(len, _)| Some(*len) == longest).map(|(_, server)| server).collect()
}

//! SkyDNS's dialect.

mod answers;
mod find;
mod groups;

use super::context::Context;
use super::labels::{Labels, name_under};
use super::reply::{Reply, add_new, cname};
use super::settings::Domain;
use crate::model::Record as Entry;
use find::Found;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

/// The numbers of a SOA record that SkyDNS has fixed: refresh, retry, expire.
const SOA_NUMBERS: [i32; 3] = [28_800, 7200, 604_800];
/// The serial number changes once an hour.
const SERIAL_STEP: u64 = 3600;

/// One question within a domain.
struct Asked<'a> {
    context: &'a Context<'a>,
    domain: &'a Domain,
    name: &'a Name,
    kind: RecordType,
}

/// The answer to a question about a name in a domain of this dialect.
pub(crate) fn answer(context: &Context<'_>, domain: &Domain, name: &Name, labels: &Labels, kind: RecordType) -> Reply {
    let asked = Asked { context, domain, name, kind };
    if kind == RecordType::ANY {
        return Reply::of(ResponseCode::Refused);
    }
    let front = labels.under(&domain.labels);
    let apex = front.is_empty();
    if apex && kind == RecordType::SOA {
        return Reply::records([soa(context, domain, context.settings.skydns.ttl)]);
    }
    if apex && kind == RecordType::NS {
        return asked.or_nothing(answers::servers(&asked), true);
    }
    if let Some(local) = local(&asked, &front) {
        let mut records = context.resolve(&local, kind, &mut Vec::new());
        let first = records.first().map(|record| record.name.clone());
        records.iter_mut().filter(|record| Some(&record.name) == first.as_ref()).for_each(|r| r.name = name.clone());
        return asked.or_nothing(Reply::records(records), true);
    }
    let found = find::all(context, domain, &front, kind);
    let exists = apex || !found.is_empty() || find::exists(context, domain, &front);
    let found = if kind == RecordType::MX { found } else { groups::kept(found) };
    let reply = match kind {
        RecordType::A | RecordType::AAAA => Reply::records(chosen(&asked, &found, &mut vec![name.clone()])),
        RecordType::SRV => answers::srv(&asked, &found),
        RecordType::MX => answers::mx(&asked, &found),
        RecordType::TXT => answers::txt(&asked, &found),
        RecordType::CNAME => answers::alias(&asked, found.iter().filter(|found| found.exact)),
        _ => Reply::of(ResponseCode::NoError),
    };
    asked.or_nothing(reply, exists)
}

/// The addresses of a name in a domain of this dialect.
pub(crate) fn addresses(
    context: &Context<'_>,
    domain: &Domain,
    name: &Name,
    labels: &Labels,
    kind: RecordType,
    seen: &mut Vec<Name>,
) -> Vec<Record> {
    let front = labels.under(&domain.labels);
    let found = groups::kept(find::all(context, domain, &front, kind));
    if kind == RecordType::TXT {
        let asked = Asked { context, domain, name, kind };
        return answers::texts(&asked, &found, seen);
    }
    let families: &[RecordType] = match kind {
        RecordType::A | RecordType::AAAA => &[kind],
        _ => &[RecordType::A, RecordType::AAAA],
    };
    let mut records = Vec::new();
    for family in families {
        let asked = Asked { context, domain, name, kind: *family };
        add_new(&mut records, chosen(&asked, &found, seen));
    }
    records
}

/// The addresses among the entries; without one, the first other name that leads to an address.
fn chosen(asked: &Asked<'_>, found: &[Found<'_>], seen: &mut Vec<Name>) -> Vec<Record> {
    let Asked { context, name, kind, .. } = *asked;
    let ttl = lowest(found.iter().filter(|found| found.ip.is_some_and(|ip| of_family(ip, kind))));
    let ips: BTreeSet<IpAddr> = found.iter().filter_map(|found| found.ip).collect();
    let mut records = Vec::from_iter(ips.iter().filter_map(|ip| super::reply::address(name, ttl, *ip, kind)));
    // Another name may not stand beside an address of either family.
    if !ips.is_empty() {
        fastrand::shuffle(&mut records);
        return records;
    }
    let mut others: Vec<&Found<'_>> = found.iter().filter(|found| found.host.is_some()).collect();
    fastrand::shuffle(&mut others);
    for other in others {
        let Some(target) = &other.host else { continue };
        let mut chain = context.resolve(target, kind, seen);
        if super::reply::has_address(&chain, kind) {
            let foreign = asked.is_foreign(target);
            let most = context.settings.skydns.outside_ttl;
            chain.iter_mut().filter(|_| foreign).for_each(|record| record.ttl = record.ttl.min(most));
            let ttl = if foreign { other.ttl.min(most) } else { other.ttl };
            chain.insert(0, cname(name, ttl, target.clone()));
            return chain;
        }
    }
    Vec::new()
}

impl Asked<'_> {
    /// The reply, or that there is nothing.
    fn or_nothing(&self, reply: Reply, exists: bool) -> Reply {
        if !reply.answers.is_empty() {
            return Reply { extras_first: true, ..reply };
        }
        let soa = soa(self.context, self.domain, self.context.settings.skydns.min_ttl);
        Reply::nothing(if exists { ResponseCode::NoError } else { ResponseCode::NXDomain }, soa)
    }

    fn is_foreign(&self, name: &Name) -> bool {
        Labels::of(name).is_none_or(|labels| self.context.settings.domain(&labels).is_none())
    }
}

/// The name that `local.dns` means, when that is what is asked for.
fn local(asked: &Asked<'_>, front: &[&str]) -> Option<Name> {
    let local = asked.context.settings.skydns.local.as_deref()?;
    (front == ["local", "dns"]).then(|| super::labels::name_of(local)).flatten()
}

fn soa(context: &Context<'_>, domain: &Domain, ttl: u32) -> Record {
    let settings = &context.settings.skydns;
    let zone = &domain.name;
    let mname = name_under(["ns", "dns"], zone).unwrap_or_else(|| zone.clone());
    let mailbox = settings.hostmaster.as_deref().map(|mailbox| mailbox.replace('@', "."));
    let rname = mailbox.as_deref().and_then(super::labels::name_of);
    let rname = rname.or_else(|| name_under(["hostmaster"], zone)).unwrap_or_else(|| zone.clone());
    // Nobody copies the zone, so that a serial number of 32 bits that is only cut does no harm.
    let serial = (context.seconds() / SERIAL_STEP * SERIAL_STEP) as u32;
    let [refresh, retry, expire] = SOA_NUMBERS;
    let data = SOA::new(mname, rname, serial, refresh, retry, expire, settings.min_ttl);
    Record::from_rdata(zone.clone(), ttl, RData::SOA(data))
}

/// How long an entry's records may be kept; None when its own time is over.
pub(crate) fn ttl(context: &Context<'_>, entry: &Entry) -> Option<u32> {
    let settings = &context.settings.skydns;
    let told = entry.ttl.unwrap_or(settings.ttl).min(settings.max_ttl);
    match entry.expires {
        None => Some(told),
        Some(end) => {
            let left = end.duration_since(context.now).ok().filter(|left| !left.is_zero())?;
            Some(told.min(u32::try_from(left.as_secs()).unwrap_or(u32::MAX)))
        }
    }
}

/// Records of one name and type are kept equally long (RFC 2181 5.2).
fn lowest<'a>(found: impl Iterator<Item = &'a Found<'a>>) -> u32 {
    found.map(|found| found.ttl).min().unwrap_or(0)
}

fn of_family(ip: IpAddr, kind: RecordType) -> bool {
    ip.is_ipv4() == (kind == RecordType::A)
}

/// Where the names of a zone that others serve are asked, and of which zone that is: entries under
/// `<zone>.stub.dns` of a domain.
pub(crate) fn stub(context: &Context<'_>, labels: &Labels) -> Vec<std::net::SocketAddr> {
    if context.snapshot.records.is_empty() { Vec::new() } else { find::stubs(context, labels) }
}

/// Whether an entry is still there.
fn lives(entry: &Entry, now: SystemTime) -> bool {
    entry.expires.is_none_or(|end| end > now)
}

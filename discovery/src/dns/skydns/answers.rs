//! What entries become for each type of record.

use super::find::{self, Found};
use super::{Asked, lowest};
use crate::dns::labels::name_under;
use crate::dns::reply::{self, Answer, Reply, cname, has_address};
use hickory_proto::rr::rdata::{MX, NS, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::{BTreeMap, BTreeSet};

/// The weight of entries that say none, and the sum of those told for one priority.
const WEIGHT: u64 = 100;

/// The name made from an entry's own place.
fn made(asked: &Asked<'_>, found: &Found<'_>) -> Option<Name> {
    let strip = usize::from(found.entry.target_strip);
    // More than there are leaves the name as it is.
    let keep = found.path.len().checked_sub(strip).filter(|keep| *keep > 0).unwrap_or(found.path.len());
    let labels = found.path.iter().take(keep).rev().map(|label| &**label);
    name_under(labels, &asked.domain.name)
}

/// The name an entry points to, and its addresses.
fn target(asked: &Asked<'_>, found: &Found<'_>) -> Option<(Name, Vec<Record>)> {
    if let Some(ip) = found.ip {
        let name = made(asked, found)?;
        let address = reply::address(&name, found.ttl, ip, RecordType::ANY);
        return Some((name, address.into_iter().collect()));
    }
    let name = found.host.clone()?;
    let along = asked.context.resolve(&name, RecordType::ANY, &mut Vec::new());
    let along = if has_address(&along, RecordType::ANY) { along } else { Vec::new() };
    Some((name, along))
}

fn priority(asked: &Asked<'_>, found: &Found<'_>) -> u16 {
    match found.entry.priority {
        0 => asked.context.settings.skydns.priority,
        priority => priority,
    }
}

pub(super) fn srv(asked: &Asked<'_>, found: &[Found<'_>]) -> Reply {
    let weight = |found: &Found<'_>| match found.entry.weight {
        0 => WEIGHT,
        weight => u64::from(weight),
    };
    let hosts: Vec<&Found<'_>> = found.iter().filter(|found| found.ip.is_some() || found.host.is_some()).collect();
    let mut sums: BTreeMap<u16, u64> = BTreeMap::new();
    for found in &hosts {
        *sums.entry(priority(asked, found)).or_default() += weight(found);
    }
    let ttl = lowest(hosts.iter().copied());
    let answers = hosts.into_iter().filter_map(|found| {
        let (name, extras) = target(asked, found)?;
        let priority = priority(asked, found);
        let sum = sums.get(&priority).copied().unwrap_or(WEIGHT).max(1);
        // Nobody is left out by rounding: a weight of 0 is hardly ever chosen.
        let share = (WEIGHT * weight(found) / sum).clamp(1, WEIGHT);
        let data = SRV::new(priority, u16::try_from(share).unwrap_or(1), found.entry.port, name);
        Some(Answer { record: Record::from_rdata(asked.name.clone(), ttl, RData::SRV(data)), extras })
    });
    let mut answers: Vec<Answer> = Vec::from_iter(answers);
    fastrand::shuffle(&mut answers);
    Reply::answers(answers)
}

pub(super) fn mx(asked: &Asked<'_>, found: &[Found<'_>]) -> Reply {
    let mail: Vec<&Found<'_>> = found.iter().filter(|found| found.entry.mail).collect();
    let ttl = lowest(mail.iter().copied());
    let answers = mail.into_iter().filter_map(|found| {
        let (name, extras) = target(asked, found)?;
        let data = RData::MX(MX::new(priority(asked, found), name));
        Some(Answer { record: Record::from_rdata(asked.name.clone(), ttl, data), extras })
    });
    Reply::answers(answers.collect())
}

pub(super) fn txt(asked: &Asked<'_>, found: &[Found<'_>]) -> Reply {
    Reply::records(texts(asked, found, &mut vec![asked.name.clone()]))
}

/// The texts among the entries; without one, those of the first other name that has some.
pub(super) fn texts(asked: &Asked<'_>, found: &[Found<'_>], seen: &mut Vec<Name>) -> Vec<Record> {
    let with_text: Vec<&Found<'_>> = found.iter().filter(|found| !found.entry.text.is_empty()).collect();
    let ttl = lowest(with_text.iter().copied());
    let told: BTreeSet<&str> = with_text.iter().map(|found| found.entry.text.as_str()).collect();
    let records = Vec::from_iter(told.into_iter().map(|text| reply::text(asked.name, ttl, text)));
    if !records.is_empty() || found.iter().any(|found| found.ip.is_some()) {
        return records;
    }
    for found in found {
        let Some(host) = &found.host else { continue };
        let chain = asked.context.resolve(host, RecordType::TXT, seen);
        if chain.iter().any(|record| record.record_type() == RecordType::TXT) {
            return [cname(asked.name, found.ttl, host.clone())].into_iter().chain(chain).collect();
        }
    }
    records
}

/// The other name that a name's own entry is.
pub(super) fn alias<'a>(asked: &Asked<'_>, mut own: impl Iterator<Item = &'a Found<'a>>) -> Reply {
    let alias = own.next().and_then(|found| Some(cname(asked.name, found.ttl, found.host.clone()?)));
    Reply::records(alias)
}

/// The name servers of the domain: addresses under `ns.dns`.
pub(super) fn servers(asked: &Asked<'_>) -> Reply {
    let found = find::below(asked.context, asked.domain, &["dns", "ns"]);
    let ttl = lowest(found.iter().filter(|found| found.ip.is_some()));
    let mut answers: Vec<Answer> = Vec::new();
    for found in found.iter().filter(|found| found.ip.is_some()) {
        let Some((name, extras)) = target(asked, found) else { continue };
        let record = Record::from_rdata(asked.domain.name.clone(), ttl, RData::NS(NS(name)));
        match answers.iter_mut().find(|known| known.record.data == record.data) {
            Some(known) => known.extras.extend(extras),
            None => answers.push(Answer { record, extras }),
        }
    }
    Reply::answers(answers)
}

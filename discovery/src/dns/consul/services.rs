//! Services: who may be asked, and where.

use super::Asked;
use super::nodes::{self, meta};
use crate::dns::labels::{hex_of, name_of, name_under};
use crate::dns::reply::{self, Answer, Reply, add_new, cname};
use crate::dns::settings::Order;
use crate::model::Address;
use crate::snapshot::Member;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The priority of every SRV record whose instance has none.
const PRIORITY: u16 = 1;
/// Most records of an answer.
const ANSWERS_MAX: usize = 4096;
/// Most SRV records of an answer, which bring others along.
const SRV_MAX: usize = 1024;

/// The tagged addresses that are told instead of the plain one, the first wins, and to whom.
pub(super) const TAGGED: [(&str, &[RecordType]); 2] = [
    ("lan_ipv6", &[RecordType::AAAA, RecordType::SRV, RecordType::ANY]),
    ("lan_ipv4", &[RecordType::A, RecordType::SRV, RecordType::ANY]),
];

pub(super) fn answer(asked: &Asked<'_>, service: &str, tag: Option<&str>, seen: &mut Vec<Name>) -> Reply {
    let context = asked.context;
    let Some(service) = context.snapshot.service(service) else { return asked.nothing(ResponseCode::NXDomain) };
    let mut members: Vec<&Arc<Member>> = service.members.iter().filter(|member| context.shows(member)).collect();
    if let Some(tag) = tag {
        members = tagged(members, tag);
    }
    if members.is_empty() {
        return asked.nothing(ResponseCode::NXDomain);
    }
    sort(&mut members, context.settings.order);
    let ttl = context.settings.ttls.of(&service.name);
    let answers = match asked.kind {
        RecordType::SRV => srv(asked, &members, ttl, seen),
        RecordType::A | RecordType::AAAA | RecordType::ANY => addresses(asked, &members, ttl, asked.kind, seen),
        // What is only another name for a name is so for every type.
        RecordType::CNAME => {
            let mut found = addresses(asked, &members, ttl, RecordType::ANY, seen);
            found
                .retain(|answer| answer.record.record_type() == RecordType::CNAME && answer.record.name == *asked.name);
            found
        }
        _ => Vec::new(),
    };
    match answers.is_empty() {
        true => asked.nothing(ResponseCode::NoError),
        false => Reply::answers(answers),
    }
}

/// Those with a tag. A tag may have dots; only when nobody has that one are they tags that all must be there.
fn tagged<'a>(members: Vec<&'a Arc<Member>>, tag: &str) -> Vec<&'a Arc<Member>> {
    let has = |member: &Member, tag: &str| member.instance.tags.iter().any(|own| own.eq_ignore_ascii_case(tag));
    let whole: Vec<_> = members.iter().copied().filter(|member| has(member, tag)).collect();
    if !whole.is_empty() || !tag.contains('.') {
        return whole;
    }
    members.into_iter().filter(|member| tag.split('.').all(|tag| has(member, tag))).collect()
}

fn sort(members: &mut [&Arc<Member>], order: Order) {
    match order {
        Order::Shuffled => fastrand::shuffle(members),
        Order::Weighted => members.sort_by_cached_key(|member| {
            // The time to the first event at a rate of the weight: of two, one of twice the weight is first in two
            // of three cases. The bits of a number that is not negative have its order.
            let weight = f64::from(member.weight().max(1));
            (-(1.0 - fastrand::f64()).ln() / weight).to_bits()
        }),
    }
}

/// Where a member is for those who ask for that type.
enum Place<'a> {
    Own(&'a Address, u16),
    Node(&'a Address),
}

fn place<'a>(asked: &Asked<'_>, member: &'a Member, kind: RecordType) -> Place<'a> {
    let instance = &*member.instance;
    let mut keys = TAGGED.iter().filter(|(_, kinds)| kinds.contains(&kind)).map(|(key, _)| *key);
    let own = match keys.find_map(|key| instance.tagged.get(key)) {
        Some(tagged) => Some((&tagged.address, tagged.port)),
        None => instance.address.as_ref().map(|address| (address, instance.port)),
    };
    // An address that is the name asked for would lead in a circle.
    let circle =
        |address: &Address| matches!(address, Address::Name(n) if name_of(n).is_some_and(|n| n == *asked.name));
    match own.filter(|(address, _)| !circle(address)) {
        Some((address, port)) => Place::Own(address, if port == 0 { instance.port } else { port }),
        None => Place::Node(nodes::address(&member.node, kind)),
    }
}

fn addresses(
    asked: &Asked<'_>,
    members: &[&Arc<Member>],
    ttl: u32,
    kind: RecordType,
    seen: &mut Vec<Name>,
) -> Vec<Answer> {
    let mut ips = BTreeSet::new();
    let mut records = Vec::new();
    let mut other = None;
    for member in members {
        if asked.context.enough(records.len()) {
            break;
        }
        let (Place::Own(address, _) | Place::Node(address)) = place(asked, member, kind);
        match address {
            Address::Ip(ip) if ips.insert(*ip) => records.extend(reply::address(asked.name, ttl, *ip, kind)),
            Address::Ip(_) => {}
            Address::Name(name) => other = other.or_else(|| name_of(name).filter(|name| name != asked.name)),
        }
    }
    let most = match asked.context.settings.addresses {
        0 => ANSWERS_MAX,
        most => most,
    };
    records.truncate(most);
    // Another name may not stand beside addresses.
    if let Some(target) = other.filter(|_| ips.is_empty()) {
        records.push(cname(asked.name, ttl, target.clone()));
        add_new(&mut records, asked.context.resolve(&target, kind, seen));
    }
    records.into_iter().map(Answer::from).collect()
}

fn srv(asked: &Asked<'_>, members: &[&Arc<Member>], ttl: u32, seen: &mut Vec<Name>) -> Vec<Answer> {
    let settings = asked.context.settings;
    let mut told = BTreeSet::new();
    let mut answers: Vec<Answer> = Vec::new();
    for member in members {
        if asked.context.enough(answers.len()) {
            break;
        }
        let place = place(asked, member, RecordType::SRV);
        let port = match place {
            Place::Own(_, port) => port,
            Place::Node(_) => member.instance.port,
        };
        let (Place::Own(address, _) | Place::Node(address)) = place;
        if answers.len() >= SRV_MAX || !told.insert((&member.node.name, address.to_string(), port)) {
            continue;
        }
        let node = asked.node_name(&member.node.name);
        let target = match (address, &place) {
            (Address::Ip(_), Place::Node(_)) => node.clone(),
            (Address::Ip(ip), Place::Own(..)) => {
                name_under([&*hex_of(*ip), "addr", &settings.datacenter], &asked.domain.name)
            }
            (Address::Name(name), _) => name_of(name),
        };
        let Some(target) = target else { continue };
        let mut extras = Vec::new();
        match address {
            Address::Ip(ip) => extras.extend(reply::address(&target, ttl, *ip, RecordType::ANY)),
            Address::Name(_) => extras.extend(asked.context.resolve(&target, RecordType::ANY, seen)),
        }
        if let Some(node) = node.filter(|_| settings.node_meta) {
            extras.extend(meta(asked, &member.node, &node));
        }
        let priority = member.instance.priority.unwrap_or(PRIORITY);
        let data = RData::SRV(SRV::new(priority, member.weight(), port, target));
        answers.push(Answer { record: Record::from_rdata(asked.name.clone(), ttl, data), extras });
    }
    answers
}

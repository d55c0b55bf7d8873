//! Consul's dialect.

mod nodes;
mod question;
mod services;

use super::context::Context;
use super::labels::{Labels, hex_address, name_under};
use super::reply::{self, Reply};
use super::settings::Domain;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use question::Form;

/// Most name servers that are told.
const SERVERS_MAX: usize = 3;

/// One question within a domain.
struct Asked<'a> {
    context: &'a Context<'a>,
    domain: &'a Domain,
    name: &'a Name,
    labels: &'a Labels,
    kind: RecordType,
}

/// The answer to a question about a name in a domain of this dialect.
pub(crate) fn answer(
    context: &Context<'_>,
    domain: &Domain,
    name: &Name,
    labels: &Labels,
    kind: RecordType,
    seen: &mut Vec<Name>,
) -> Reply {
    let asked = Asked { context, domain, name, labels, kind };
    if matches!(kind, RecordType::SOA | RecordType::NS) {
        return apex(&asked);
    }
    let settings = context.settings;
    let parts = labels.under(&domain.labels);
    match question::form(&parts, kind == RecordType::SRV, &settings.datacenter) {
        Some(Form::Service { name, tag }) => services::answer(&asked, name, tag.as_deref(), seen),
        Some(Form::Node(node)) => nodes::answer(&asked, &node, seen),
        Some(Form::Address(hex)) => match hex_address(hex) {
            None => asked.nothing(ResponseCode::NXDomain),
            Some(ip) => match reply::address(name, settings.ttls.node, ip, kind) {
                Some(record) => Reply::records([record]),
                None => {
                    let along = reply::address(name, settings.ttls.node, ip, RecordType::ANY);
                    Reply { additionals: along.into_iter().collect(), ..asked.nothing(ResponseCode::NoError) }
                }
            },
        },
        None => asked.nothing(ResponseCode::NXDomain),
    }
}

impl Asked<'_> {
    /// Nothing, and for how long: no such name, or nothing of that type.
    fn nothing(&self, code: ResponseCode) -> Reply {
        Reply::nothing(code, soa(self.context, &self.context.settings.zone(self.domain, self.labels)))
    }

    /// The name of a node in our datacenter.
    fn node_name(&self, node: &str) -> Option<Name> {
        let front = node.split('.').chain(["node", &self.context.settings.datacenter]);
        name_under(front, &self.domain.name)
    }
}

/// The SOA record of a zone.
pub(crate) fn soa(context: &Context<'_>, zone: &Name) -> Record {
    let soa = &context.settings.soa;
    let under = |label| name_under([label], zone).unwrap_or_else(|| zone.clone());
    // Nobody copies the zone, so that a serial number of 32 bits that is only cut does no harm.
    let serial = context.seconds() as u32;
    let (mname, rname) = (under("ns"), under("hostmaster"));
    let data = SOA::new(mname, rname, serial, soa.refresh, soa.retry, soa.expire, soa.min_ttl);
    Record::from_rdata(zone.clone(), soa.min_ttl, RData::SOA(data))
}

/// Whose zone it is and who serves it; the answer for every name in it.
fn apex(asked: &Asked<'_>) -> Reply {
    let settings = asked.context.settings;
    let zone = settings.zone(asked.domain, asked.labels);
    let mut servers: Vec<_> = settings.servers.iter().filter_map(|name| asked.context.snapshot.node(name)).collect();
    fastrand::shuffle(&mut servers);
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for server in servers.into_iter().take(SERVERS_MAX) {
        let Some(name) = asked.node_name(&server.node.name) else { continue };
        let ip = server.node.address.ip();
        let address = ip.and_then(|ip| reply::address(&name, settings.ttls.node, ip, RecordType::ANY));
        names.push(Record::from_rdata(zone.clone(), settings.ttls.node, RData::NS(NS(name))));
        addresses.extend(address);
    }
    if asked.kind == RecordType::SOA {
        let soa = soa(asked.context, &zone);
        return Reply { authorities: names, additionals: addresses, ..Reply::records([soa]) };
    }
    match names.is_empty() {
        true => asked.nothing(ResponseCode::NoError),
        false => Reply { additionals: addresses, ..Reply::records(names) },
    }
}

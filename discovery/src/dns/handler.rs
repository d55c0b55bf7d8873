//! What becomes of one request.

#[cfg(test)]
mod tests;

use super::context::{Context, Outside};
use super::counts::Counts;
use super::fit::{Fitted, Room, fit, passed_on};
use super::forward::{Asking, Forwarder, MARK};
use super::labels::{Labels, reversed};
use super::quota::Quota;
use super::reply::{self, Reply};
use super::settings::{Dialect, Settings};
use super::{reverse, skydns};
use crate::registry::Registry;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

/// The longest answer by TCP, as Consul has it.
const TCP_SIZE: usize = 65_523;
/// The longest datagram.
const UDP_SIZE: usize = 65_467;
/// What everybody takes without saying so (RFC 1035 4.2.1).
const PLAIN_SIZE: usize = 512;
/// The names that tell what a server is.
const VERSIONS: [&str; 2] = ["version.bind", "version.server"];

/// What all requests share.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) settings: RwLock<Arc<Settings>>,
    pub(super) forwarder: Forwarder,
    pub(super) quota: Quota,
    pub(super) counts: Counts,
}

impl Shared {
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers requests.
#[derive(Clone)]
pub(super) struct Handler(pub(super) Arc<Shared>);

/// A reply with what its head says.
struct Told {
    reply: Reply,
    /// It is about our own.
    own: bool,
    /// It was cut elsewhere already.
    cut: bool,
}

impl Told {
    fn own(reply: Reply) -> Self {
        Told { reply, own: true, cut: false }
    }

    fn code(code: ResponseCode) -> Self {
        Told { reply: Reply::of(code), own: false, cut: false }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let settings = self.0.settings();
        let query = request.queries.queries().first().map(|query| query.original().clone());
        let kind = query.as_ref().map_or(RecordType::ZERO, |query| query.query_type);
        let udp = request.protocol() == Protocol::Udp;
        let edns = request.edns.as_ref().map(reply_edns);
        let size = match &edns {
            _ if !udp => TCP_SIZE,
            Some(edns) => usize::from(edns.max_payload().min(settings.udp_size)).clamp(PLAIN_SIZE, UDP_SIZE),
            None => PLAIN_SIZE,
        };
        let most = if udp && size == PLAIN_SIZE { settings.udp_answers } else { 0 };
        let Some(told) = self.told(request, query.as_ref(), &settings, most).await else {
            self.0.counts.count(kind, None);
            return head(request.metadata);
        };
        let query = query.unwrap_or_default();
        let count = if told.own && !told.reply.extras_first { most } else { 0 };
        let room = Room { query: &query, edns: edns.as_ref(), size, count };
        let code = told.reply.code;
        let mut fitted = fit(told.reply, &room);
        let mut cut = told.cut || (fitted.cut && udp && settings.truncate);
        if udp && let Some(budget) = settings.amplification {
            let excess = fitted.size.saturating_sub(request.as_slice().len());
            if !self.0.quota.allows(request.src().ip(), excess, budget, Instant::now()) {
                // As long as the question, and who really asked comes back by TCP.
                (fitted, cut) = (Fitted::default(), true);
            }
        }
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        metadata.authoritative = told.own;
        metadata.recursion_available = !settings.recursors.servers.is_empty();
        metadata.truncation = cut;
        self.0.counts.count(kind, Some(code));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let Fitted { answers, authorities, additionals, .. } = &fitted;
        let response = builder.build(metadata, answers, authorities, [], additionals);
        match to.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS answer could not be sent");
                head(metadata)
            }
        }
    }
}

impl Handler {
    /// What is told; None is nothing at all.
    async fn told(&self, request: &Request, query: Option<&Query>, settings: &Settings, most: usize) -> Option<Told> {
        if request.metadata.op_code != OpCode::Query {
            return Some(Told::code(ResponseCode::NotImp));
        }
        let Some(query) = query.filter(|_| request.queries.len() == 1) else {
            return Some(Told::code(ResponseCode::FormErr));
        };
        if let Some(edns) = &request.edns {
            if edns.version() > 0 {
                return Some(Told::code(ResponseCode::BADVERS));
            }
            // It is our own question that comes back from a stub zone.
            if edns.option(EdnsCode::Unknown(MARK)).is_some() {
                return None;
            }
        }
        let Some(labels) = Labels::of(&query.name) else { return Some(Told::code(ResponseCode::Refused)) };
        if query.query_class == DNSClass::CH {
            return Some(chaos(query, settings));
        }
        if !matches!(query.query_class, DNSClass::IN | DNSClass::ANY) {
            return Some(Told::code(ResponseCode::Refused));
        }
        let domain = settings.domain(&labels);
        if matches!(query.query_type, RecordType::AXFR | RecordType::IXFR) {
            let code = if domain.is_some() { ResponseCode::NotImp } else { ResponseCode::Refused };
            return Some(Told::code(code));
        }
        let asking = Asking {
            name: query.name.to_lowercase(),
            kind: query.query_type,
            tcp: request.protocol() != Protocol::Udp,
            dnssec: request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            marked: false,
        };
        let stubs = self.stubs(settings, &labels);
        if !stubs.is_empty() {
            let asking = Asking { marked: true, ..asking };
            let answer = self.0.forwarder.ask_stub(asking, &stubs, settings.recursors.timeout).await;
            return Some(answer.map_or_else(
                || Told::code(ResponseCode::ServFail),
                |answer| Told { own: answer.metadata.authoritative, ..passed(answer, query) },
            ));
        }
        if let Some(reply) = self.own(query, settings, most).await {
            // SkyDNS's ANY is no answer of ours.
            let own = reply.code != ResponseCode::Refused;
            return Some(Told { own, ..Told::own(reply) });
        }
        let address = reversed(&labels);
        let recursors = &settings.recursors;
        let here = address.is_some_and(|ip| reverse::is_private(ip) && !recursors.private);
        if recursors.servers.is_empty() || here {
            let snapshot = self.0.registry.snapshot();
            let outside = Outside::default();
            let context = Context { snapshot: &snapshot, settings, outside: &outside, now: SystemTime::now(), most: 0 };
            let unknown = address.and_then(|_| reverse::unknown(&context));
            return Some(unknown.map_or_else(|| Told::code(ResponseCode::Refused), Told::own));
        }
        let answer = self.0.forwarder.ask(asking, recursors).await;
        Some(answer.map_or_else(|| Told::code(ResponseCode::ServFail), |answer| passed(answer, query)))
    }

    /// The answer about our own, once everything foreign that it needs is known.
    async fn own(&self, query: &Query, settings: &Settings, most: usize) -> Option<Reply> {
        let mut outside = Outside::reachable(!settings.recursors.servers.is_empty());
        loop {
            let reply = {
                let snapshot = self.0.registry.snapshot();
                let context =
                    Context { snapshot: &snapshot, settings, outside: &outside, now: SystemTime::now(), most };
                context.answer(&query.name, query.query_type)
            };
            let wanted = outside.take_wanted();
            if wanted.is_empty() {
                return reply;
            }
            for (name, kind) in wanted {
                let found = self.0.forwarder.lookup(name.clone(), kind, &settings.recursors).await;
                outside.learn(name, kind, found);
            }
        }
    }

    fn stubs(&self, settings: &Settings, labels: &Labels) -> Vec<std::net::SocketAddr> {
        if !settings.domains.iter().any(|domain| domain.dialect == Dialect::SkyDns) {
            return Vec::new();
        }
        let snapshot = self.0.registry.snapshot();
        let outside = Outside::default();
        skydns::stub(
            &Context { snapshot: &snapshot, settings, outside: &outside, now: SystemTime::now(), most: 0 },
            labels,
        )
    }
}

/// An answer of others, with the name in the case it was asked in.
fn passed(mut answer: hickory_proto::op::Message, query: &Query) -> Told {
    let cut = answer.metadata.truncation;
    let asked = answer.answers.iter_mut().filter(|record| record.name == query.name);
    asked.for_each(|record| record.name = query.name.clone());
    for record in answer.answers.iter_mut().chain(&mut answer.authorities).chain(&mut answer.additionals) {
        // Who says more says nothing (RFC 2181 8).
        if record.ttl > i32::MAX.unsigned_abs() {
            record.ttl = 0;
        }
    }
    Told { reply: passed_on(answer), own: false, cut }
}

/// What a server is, for those who ask as one asks BIND.
fn chaos(query: &Query, settings: &Settings) -> Told {
    let name = query.name.to_lowercase().to_ascii();
    let asked = VERSIONS.iter().any(|version| name.trim_end_matches('.') == *version);
    match (&settings.version, query.query_type) {
        (None, _) if asked => Told::code(ResponseCode::Refused),
        (Some(version), RecordType::TXT | RecordType::ANY) if asked => {
            let mut record = reply::text(&query.name, 0, version);
            record.dns_class = DNSClass::CH;
            Told::own(Reply::records([record]))
        }
        _ => Told::code(ResponseCode::ServFail),
    }
}

/// The OPT record of a reply: as large as the client's, and the part of its network that mattered: none.
fn reply_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload()).set_dnssec_ok(asked.flags().dnssec_ok);
    if let Some(EdnsOption::Subnet(subnet)) = asked.option(EdnsCode::Subnet) {
        let (ip, bits) = (subnet.addr(), subnet.source_prefix());
        if bits <= if ip.is_ipv4() { 32 } else { 128 } {
            edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new(ip, bits, 0)));
        }
    }
    edns
}

fn head(metadata: Metadata) -> ResponseInfo {
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

//! Makes an answer fit into the room there is.

use super::reply::{Answer, Reply};
use foldhash::HashMap;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, emit_message_parts};
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use std::hash::BuildHasher;

/// A record is at least that long: a pointer to its name, its head, and an address.
const RECORD_MIN: usize = 16;
/// The head of a message.
const HEAD: usize = 12;
/// An OPT record with all that we may put into it.
const EDNS_MAX: usize = 64;
/// The head of a record and its name's end.
const RECORD_HEAD: usize = 12;

/// The room an answer has.
pub(crate) struct Room<'a> {
    pub(crate) query: &'a Query,
    pub(crate) edns: Option<&'a Edns>,
    /// In bytes.
    pub(crate) size: usize,
    /// In records of the answer, aliases apart; 0 is no limit.
    pub(crate) count: usize,
}

/// An answer that fits.
#[derive(Debug, Default)]
pub(crate) struct Fitted {
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    /// Answers were left out.
    pub(crate) cut: bool,
    /// It takes at most so many bytes.
    pub(crate) size: usize,
}

/// Leaves out what does not fit: first authorities, then what is only worth telling along, then answers from the end.
/// Never the last answer, and never an alias without what it leads to.
pub(crate) fn fit(mut reply: Reply, room: &Room<'_>) -> Fitted {
    let whole = reply.answers.len();
    let aliases = reply.answers.iter().take_while(|a| a.record.record_type() == RecordType::CNAME).count();
    if room.count > 0 {
        reply.answers.truncate(aliases + room.count);
    }
    // So many cannot fit, and making them would cost a lot to find that out.
    reply.answers.truncate(aliases + room.size / RECORD_MIN);
    let mut made = made(&reply, reply.answers.len(), true);
    made.cut = reply.answers.len() < whole;
    if fits(&mut made, room) {
        return made;
    }
    let cut = made.cut;
    reply.authorities.clear();
    if !reply.additionals.is_empty() {
        reply.additionals.clear();
        let mut made = Fitted { cut, ..self::made(&reply, reply.answers.len(), true) };
        if fits(&mut made, room) {
            return made;
        }
    }
    let extras = !reply.extras_first;
    let least = (aliases + 1).min(reply.answers.len());
    // The most answers that fit lies between these two.
    let (mut fitting, mut above) = (least.saturating_sub(1), reply.answers.len() + 1);
    let mut best = None;
    while fitting + 1 < above {
        let middle = fitting.midpoint(above);
        let mut tried = self::made(&reply, middle, extras);
        if fits(&mut tried, room) {
            (fitting, best) = (middle, Some(tried));
        } else {
            above = middle;
        }
    }
    let made = best.unwrap_or_else(|| Fitted { size: room.size, ..self::made(&reply, least, false) });
    Fitted { cut: made.answers.len() < whole, ..made }
}

fn made(reply: &Reply, answers: usize, extras: bool) -> Fitted {
    let told: &[Answer] = reply.answers.get(..answers).unwrap_or(&reply.answers);
    let mut additionals = reply.additionals.clone();
    if extras {
        // What several answers bring along is told once.
        let mut known: HashMap<u64, Vec<usize>> = HashMap::default();
        for record in told.iter().flat_map(|answer| &answer.extras) {
            // One node may have many addresses and texts, and one name many records.
            let data = match &record.data {
                RData::A(a) => u128::from(u32::from(a.0)),
                RData::AAAA(aaaa) => u128::from(aaaa.0),
                _ => 0,
            };
            let same = known.entry(foldhash::fast::FixedState::default().hash_one((&record.name, data))).or_default();
            let is = |at: &usize| additionals.get(*at).is_some_and(|k| k.name == record.name && k.data == record.data);
            if !same.iter().any(is) {
                same.push(additionals.len());
                additionals.push(record.clone());
            }
        }
    }
    Fitted {
        answers: told.iter().map(|answer| answer.record.clone()).collect(),
        authorities: reply.authorities.clone(),
        additionals,
        cut: false,
        size: 0,
    }
}

fn fits(made: &mut Fitted, room: &Room<'_>) -> bool {
    let all = || made.answers.iter().chain(&made.authorities).chain(&made.additionals);
    // Names are at most so long without pointers, so that most answers need no second encoding.
    let head = HEAD + room.query.name.len() + RECORD_HEAD + room.edns.map_or(0, |_| EDNS_MAX);
    let longest = all().try_fold(head, |sum, record| Some(sum + length(record)?));
    let size = longest.filter(|longest| *longest <= room.size).or_else(|| encoded(made, room));
    made.size = size.unwrap_or(usize::MAX);
    made.size <= room.size
}

/// The most bytes a record takes; None when only encoding tells.
fn length(record: &Record) -> Option<usize> {
    let data = match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::CNAME(name) => name.0.len() + 1,
        RData::NS(name) => name.0.len() + 1,
        RData::PTR(name) => name.0.len() + 1,
        RData::SRV(srv) => srv.target.len() + 7,
        RData::MX(mx) => mx.exchange.len() + 3,
        RData::SOA(soa) => soa.mname.len() + soa.rname.len() + 22,
        RData::TXT(txt) => txt.txt_data.iter().map(|piece| piece.len() + 1).sum(),
        _ => return None,
    };
    Some(record.name.len() + RECORD_HEAD + data)
}

/// How long the message is; None when it is longer than a message can be.
fn encoded(made: &Fitted, room: &Room<'_>) -> Option<usize> {
    let mut bytes = Vec::with_capacity(room.size);
    let mut encoder = BinEncoder::new(&mut bytes);
    let head = Metadata::new(0, MessageType::Response, OpCode::Query);
    let header = emit_message_parts(
        &head,
        &mut std::iter::once(room.query),
        &mut made.answers.iter(),
        &mut made.authorities.iter(),
        &mut made.additionals.iter(),
        room.edns,
        None,
        &mut encoder,
    );
    let whole = header.is_ok_and(|header| !header.metadata.truncation);
    whole.then_some(bytes.len())
}

/// A message's records as a reply, as a recursor sent them.
pub(crate) fn passed_on(message: Message) -> Reply {
    let answers = message.answers.into_iter().map(Answer::from).collect();
    Reply {
        code: message.metadata.response_code,
        authorities: message.authorities,
        additionals: message.additionals,
        ..Reply::answers(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::labels::name_of;
    use crate::dns::reply::{address, cname};
    use std::net::Ipv4Addr;

    fn many(count: u32) -> Reply {
        let owner = name_of("stock.service.consul").unwrap();
        let extra = name_of("n1.node.dc1.consul").unwrap();
        let at = |n: u32, owner| address(owner, 0, Ipv4Addr::from(0x0a00_0000 + n).into(), RecordType::A).unwrap();
        Reply::answers((0..count).map(|n| Answer { record: at(n, &owner), extras: vec![at(n, &extra)] }).collect())
    }

    fn fitted(reply: Reply, size: usize, count: usize) -> Fitted {
        let query = Query::query(name_of("stock.service.consul").unwrap(), RecordType::A);
        let room = Room { query: &query, edns: None, size, count };
        let made = fit(reply, &room);
        assert!(encoded(&made, &room).unwrap() <= size, "{size}");
        made
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_told() {
        let all = fitted(many(3), 512, 0);
        assert_eq!((all.answers.len(), all.additionals.len(), all.cut), (3, 3, false));
        let some = fitted(many(40), 512, 0);
        assert!(some.answers.len() > 10 && some.answers.len() == some.additionals.len() && some.cut);
        let more = fitted(many(40), 512 + 32, 0);
        assert_eq!(more.answers.len(), some.answers.len() + 1, "as many as fit");
        let without = fitted(Reply { extras_first: true, ..many(40) }, 512, 0);
        assert!(without.additionals.is_empty() && without.answers.len() > some.answers.len() && without.cut);
        let three = fitted(many(40), 512, 3);
        assert_eq!((three.answers.len(), three.cut), (3, true));
        let most = fitted(many(20_000), 65_523, 0);
        assert!(most.answers.len() > 900 && most.cut, "{} answers by TCP", most.answers.len());
    }

    #[test]
    fn an_alias_keeps_what_it_leads_to() {
        let mut reply = many(5);
        let alias = cname(&name_of("web.service.consul").unwrap(), 0, name_of("stock.service.consul").unwrap());
        reply.answers.insert(0, alias.into());
        let one = fitted(reply, 512, 1);
        assert_eq!((one.answers.len(), one.answers[1].record_type(), one.cut), (2, RecordType::A, true));
    }
}

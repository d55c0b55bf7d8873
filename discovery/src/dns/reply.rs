//! What is answered, before it is made to fit.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::IpAddr;

/// A string inside a TXT record is at most that long.
const TEXT_PIECE: usize = 255;

/// An answer with what is only worth telling along with it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) record: Record,
    pub(crate) extras: Vec<Record>,
}

impl From<Record> for Answer {
    fn from(record: Record) -> Self {
        Answer { record, extras: Vec::new() }
    }
}

/// What is answered, before it is made to fit.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Answer>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    /// What comes along with an answer goes before the answer does when there is no room.
    pub(crate) extras_first: bool,
}

impl Reply {
    pub(crate) fn of(code: ResponseCode) -> Self {
        Reply { code, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new(), extras_first: false }
    }

    pub(crate) fn answers(answers: Vec<Answer>) -> Self {
        Reply { answers, ..Reply::of(ResponseCode::NoError) }
    }

    pub(crate) fn records(records: impl IntoIterator<Item = Record>) -> Self {
        Reply::answers(records.into_iter().map(Answer::from).collect())
    }

    /// Nothing, with the SOA record that says for how long.
    pub(crate) fn nothing(code: ResponseCode, soa: Record) -> Self {
        Reply { authorities: vec![soa], ..Reply::of(code) }
    }
}

/// The record of an address, when it is of the family asked for.
pub(crate) fn address(owner: &Name, ttl: u32, ip: IpAddr, kind: RecordType) -> Option<Record> {
    let data = match (ip, kind) {
        (IpAddr::V4(v4), RecordType::A | RecordType::ANY) => RData::A(A(v4)),
        (IpAddr::V6(v6), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(v6)),
        _ => return None,
    };
    Some(Record::from_rdata(owner.clone(), ttl, data))
}

pub(crate) fn cname(owner: &Name, ttl: u32, target: Name) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target)))
}

/// A text in as many strings as it needs.
pub(crate) fn text(owner: &Name, ttl: u32, text: &str) -> Record {
    let pieces: Vec<&[u8]> = match text.is_empty() {
        true => vec![b""],
        false => text.as_bytes().chunks(TEXT_PIECE).collect(),
    };
    Record::from_rdata(owner.clone(), ttl, RData::TXT(TXT::from_bytes(pieces)))
}

/// Whether records tell an address of the family.
pub(crate) fn has_address(records: &[Record], kind: RecordType) -> bool {
    records.iter().any(|record| match record.record_type() {
        RecordType::A => kind != RecordType::AAAA,
        RecordType::AAAA => kind != RecordType::A,
        _ => false,
    })
}

/// Adds what is not there yet.
pub(crate) fn add_new(records: &mut Vec<Record>, more: impl IntoIterator<Item = Record>) {
    for record in more {
        if !records.iter().any(|known| known.name == record.name && known.data == record.data) {
            records.push(record);
        }
    }
}

//! How many questions there were, by type and by how they were answered.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::sync::atomic::{AtomicU64, Ordering};

const TYPES: [&str; 12] = ["A", "AAAA", "SRV", "TXT", "PTR", "SOA", "NS", "MX", "CNAME", "ANY", "HTTPS", "other"];
const CODES: [&str; 8] = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused", "badvers", "dropped"];

/// Counters of questions.
#[derive(Debug, Default)]
pub(super) struct Counts([[AtomicU64; CODES.len()]; TYPES.len()]);

impl Counts {
    /// One question of that type; no code is no answer.
    pub(super) fn count(&self, kind: RecordType, code: Option<ResponseCode>) {
        let kind = match kind {
            RecordType::A => 0,
            RecordType::AAAA => 1,
            RecordType::SRV => 2,
            RecordType::TXT => 3,
            RecordType::PTR => 4,
            RecordType::SOA => 5,
            RecordType::NS => 6,
            RecordType::MX => 7,
            RecordType::CNAME => 8,
            RecordType::ANY => 9,
            RecordType::HTTPS => 10,
            _ => 11,
        };
        let code = match code {
            Some(ResponseCode::NoError) => 0,
            Some(ResponseCode::FormErr) => 1,
            Some(ResponseCode::NXDomain) => 3,
            Some(ResponseCode::NotImp) => 4,
            Some(ResponseCode::Refused) => 5,
            Some(ResponseCode::BADVERS) => 6,
            Some(_) => 2,
            None => 7,
        };
        if let Some(counter) = self.0.get(kind).and_then(|codes: &[AtomicU64; CODES.len()]| codes.get(code)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Type, answer, and how many, for all that happened.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let rows = TYPES.iter().zip(&self.0);
        rows.flat_map(|(kind, codes)| {
            let cells = CODES.iter().zip(codes);
            cells.map(move |(code, count)| (*kind, *code, count.load(Ordering::Relaxed)))
        })
        .filter(|(_, _, count)| *count > 0)
    }
}

//! What the demo reads of GELF 1.1: enough to count and to show.

use super::system::{Kind, kind};
use crate::exchange::{Direction, Outcome};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Durations kept for the quantile: the newest.
const RECENT: usize = 512;
/// Messages of which some chunks have come; more are given up, oldest id first is not worth knowing here.
const PARTIAL: usize = 1024;
/// Most chunks of a message (GELF 1.1).
const CHUNKS: usize = 128;

/// The fields that count.
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "_direction")]
    direction: String,
    #[serde(rename = "_command", default)]
    command: String,
    #[serde(rename = "_outcome")]
    outcome: String,
    #[serde(rename = "_duration_ms", default)]
    duration_ms: f64,
}

/// What one Fourmi's records say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Records {
    /// Commands to the worker.
    pub(super) inbound: u64,
    /// Commands of the worker.
    pub(super) outbound: u64,
    /// Of those, the refused ones.
    pub(super) outbound_refused: u64,
    /// Commands that nobody of the demo sends: somebody tries something by hand.
    pub(super) strange: u64,
    /// Datagrams that are no record.
    pub(super) odd: u64,
    /// Inbound ones by outcome.
    pub(super) outcomes: BTreeMap<String, u64>,
    recent: VecDeque<f64>,
}

impl Records {
    /// Counts one message. `own` is the command that the service is asked.
    fn add(&mut self, bytes: &[u8], own: &str) {
        let Ok(record) = serde_json::from_slice::<Record>(bytes) else {
            self.odd += 1;
            return;
        };
        let outbound = record.direction == Direction::Outbound.as_str();
        match kind(&record.command, own) {
            Kind::Own if !outbound => self.inbound += 1,
            Kind::Other if outbound => {
                self.outbound += 1;
                self.outbound_refused += u64::from(record.outcome == Outcome::Rejected.as_str());
                return;
            }
            _ => {
                self.strange += 1;
                return;
            }
        }
        // Eleven words at most, whatever comes.
        let known = Outcome::ALL.iter().any(|o| o.as_str() == record.outcome);
        let outcome = if known { record.outcome } else { crate::names::OTHER.to_owned() };
        *self.outcomes.entry(outcome).or_default() += 1;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record.duration_ms);
    }

    /// Inbound commands that went well.
    pub(super) fn success(&self) -> u64 {
        self.outcomes.get(Outcome::Success.as_str()).copied().unwrap_or(0)
    }

    /// Inbound commands that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.outcomes.get(Outcome::Rejected.as_str()).copied().unwrap_or(0)
    }

    /// The duration, in ms, that 95 of 100 recent inbound commands stayed below.
    pub(super) fn p95(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() * 95).div_ceil(100).max(1) - 1).copied()
    }
}

/// Puts chunked messages together again.
#[derive(Default)]
pub(super) struct Chunks(HashMap<[u8; 8], Vec<Option<Vec<u8>>>>);

impl Chunks {
    /// Takes one datagram; counts the message that it is or completes.
    pub(super) fn take(&mut self, datagram: &[u8], own: &str, records: &mut Records) {
        let &[0x1e, 0x0f, a, b, c, d, e, f, g, h, number, count, ref rest @ ..] = datagram else {
            records.add(datagram, own);
            return;
        };
        let (id, number, count) = ([a, b, c, d, e, f, g, h], usize::from(number), usize::from(count));
        if number >= count || count > CHUNKS || (self.0.len() >= PARTIAL && !self.0.contains_key(&id)) {
            records.odd += 1;
            return;
        }
        let parts = self.0.entry(id).or_insert_with(|| vec![None; count]);
        match parts.get_mut(number) {
            Some(part) => *part = Some(rest.to_vec()),
            None => records.odd += 1,
        }
        if parts.iter().all(Option::is_some) {
            let whole: Vec<u8> = parts.iter().flatten().flatten().copied().collect();
            self.0.remove(&id);
            records.add(&whole, own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_whole_and_in_chunks() {
        let (mut chunks, mut records) = (Chunks::default(), Records::default());
        let inbound = br#"{"version":"1.1","_command":"PlaceOrder","_direction":"inbound","_outcome":"success","_duration_ms":2.5}"#;
        chunks.take(inbound, "PlaceOrder", &mut records);
        chunks.take(
            br#"{"_command":"SendMail","_direction":"outbound","_outcome":"success"}"#,
            "PlaceOrder",
            &mut records,
        );
        chunks.take(
            br#"{"_command":"PlaceOrder","_direction":"inbound","_outcome":"unreachable"}"#,
            "PlaceOrder",
            &mut records,
        );
        let (left, right) = inbound.split_at(20);
        let chunk = |n: u8, body: &[u8]| [&[0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, n, 2], body].concat();
        chunks.take(&chunk(1, right), "PlaceOrder", &mut records);
        assert_eq!(records.inbound, 2, "not before the last chunk");
        chunks.take(&chunk(0, left), "PlaceOrder", &mut records);
        assert_eq!((records.inbound, records.outbound, records.success()), (3, 1, 2));
        assert_eq!(records.outcomes.get("unreachable"), Some(&1));
        for odd in [&b"\x1e\x0f12345678\x02\x02x"[..], b"{}", b"", b"\x1e\x0f"] {
            chunks.take(odd, "PlaceOrder", &mut records);
        }
        assert_eq!(records.odd, 4);
        assert!(chunks.0.is_empty());
        let by_hand = br#"{"_command":"Ping","_direction":"inbound","_outcome":"success"}"#;
        chunks.take(by_hand, "PlaceOrder", &mut records);
        assert_eq!((records.inbound, records.strange), (3, 1));
    }

    #[test]
    fn the_95th_of_the_recent() {
        let mut records = Records::default();
        assert_eq!(records.p95(), None);
        for ms in (1..=1000).rev() {
            records.add(
                format!(
                    r#"{{"_command":"PlaceOrder","_direction":"inbound","_outcome":"success","_duration_ms":{ms}}}"#
                )
                .as_bytes(),
                "PlaceOrder",
            );
        }
        assert_eq!(records.p95(), Some(487.0), "of the newest 512");
    }
}

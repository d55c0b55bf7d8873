//! What the collector answers, and what it says later of what it took.
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck>

use crate::sink::batch::post::Post;
use crate::sink::batch::{BatchMax, BoxFuture, Deliver, Settled, Verdict};
use crate::sink::transport::{Backoff, HttpAnswer};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::Instant;

/// Where events go.
pub(super) const EVENT_PATH: &str = "/services/collector/event";
const ACK_PATH: &str = "/services/collector/ack";
const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

/// One million bytes was the collector's own limit for long; it is settable.
const BATCH: BatchMax = BatchMax { records: 1000, bytes: 1_000_000, linger: Duration::from_secs(1) };
/// How often a batch may be found not indexed before it is sent again, and then given up.
const POLLS_MAX: u32 = 30;
/// Batches that wait for their acknowledgement, and their bytes.
const PENDING_MAX: usize = 64;
const PENDING_BYTES: usize = 8 << 20;

/// A batch that was taken and is not known to be indexed.
struct Pending {
    /// None: to be sent again.
    id: Option<u64>,
    body: Bytes,
    records: u64,
    polls: u32,
    again: bool,
}

/// The collector.
pub(super) struct Collector {
    post: Post,
    /// How often to ask; none when acknowledgement is not wanted.
    interval: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
    pending: Vec<Pending>,
    bytes: usize,
    due: Option<Instant>,
    backoff: Backoff,
}

#[derive(Deserialize)]
struct Reply {
    code: Option<u32>,
    #[serde(rename = "invalid-event-number")]
    invalid: Option<usize>,
    #[serde(rename = "ackId")]
    ack: Option<u64>,
}

#[derive(Deserialize)]
struct Acks {
    acks: HashMap<String, bool>,
}

impl Collector {
    pub(super) fn new(post: Post, interval: Option<Duration>) -> Collector {
        // A channel of our own: acknowledgements are counted by channel.
        let channel = HeaderValue::from_str(&channel()).map(|value| (CHANNEL, value));
        Collector {
            post,
            interval,
            headers: interval.and(channel.ok()).into_iter().collect(),
            pending: Vec::new(),
            bytes: 0,
            due: None,
            backoff: Backoff::default(),
        }
    }

    /// Sends a batch; with the verdict comes its number, if it is to be asked for.
    async fn post(&mut self, body: Bytes) -> (Verdict, Option<u64>) {
        match self.post.send(&self.headers, body).await {
            Ok(answer) => {
                let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok();
                let ack = reply.as_ref().and_then(|r| r.ack).filter(|_| self.interval.is_some());
                (self.verdict(&answer, reply), ack)
            }
            Err(e) => (Verdict::away(&e), None),
        }
    }

    /// By Splunk's own codes where there is one.
    fn verdict(&self, answer: &HttpAnswer, reply: Option<Reply>) -> Verdict {
        let why = self.post.words(answer);
        let Some(Reply { code: Some(code), invalid, .. }) = reply else { return self.post.usual(answer) };
        match (code, invalid) {
            (0 | 17, _) if answer.status < 300 => Verdict::Taken,
            // Of the event itself: no data, no JSON, no event, a blank one, fields that are not flat.
            (5 | 6 | 12 | 13 | 15, Some(index)) => Verdict::Bad { index, why },
            // Of the token, the index or the channel: nothing is wrong with the events.
            (1..=4 | 7 | 10 | 11, _) => Verdict::Parked(why),
            (8 | 9 | 18, _) => Verdict::Later(answer.retry_after, why),
            (27, _) => Verdict::Halve(why),
            _ => self.post.usual(answer),
        }
    }

    fn forget(&mut self, at: usize) -> u64 {
        let gone = self.pending.swap_remove(at);
        self.bytes -= gone.body.len();
        gone.records
    }

    /// Asks for all that have a number. An error says why that could not be done.
    async fn poll(&mut self, settled: &mut Settled) -> Result<(), String> {
        let mut question = String::from("{\"acks\":[");
        for id in self.pending.iter().filter_map(|p| p.id) {
            let comma = if question.ends_with('[') { "" } else { "," };
            // Into memory: it cannot fail.
            let _ = write!(question, "{comma}{id}");
        }
        if question.ends_with('[') {
            return Ok(());
        }
        question.push_str("]}");
        let headers = self.headers.clone();
        let answer = self.post.ask(ACK_PATH, &headers, question.into()).await.map_err(|e| e.to_string())?;
        let why = self.post.words(&answer);
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok();
        if reply.and_then(|r| r.code) == Some(14) {
            // The token does not do it: what it took is as sure as it gets.
            settled.taken += self.pending.iter().filter(|p| p.id.is_some()).map(|p| p.records).sum::<u64>();
            self.pending.retain(|p| p.id.is_none());
            self.bytes = self.pending.iter().map(|p| p.body.len()).sum();
            settled.why = Some(format!("{why}; set `ack: false`, or switch it on for this token"));
            return Ok(());
        }
        let said: Acks = match serde_json::from_slice(&answer.body) {
            Ok(acks) if answer.status == 200 => acks,
            _ => return Err(why),
        };
        for at in (0..self.pending.len()).rev() {
            let Some(id) = self.pending[at].id else { continue };
            if said.acks.get(&id.to_string()) == Some(&true) {
                settled.taken += self.forget(at);
                continue;
            }
            let pending = &mut self.pending[at];
            pending.polls += 1;
            if pending.polls < POLLS_MAX {
                continue;
            }
            if pending.again {
                settled.lost += self.forget(at);
                settled.why = Some("Splunk took a batch twice and never said that it is indexed".to_owned());
            } else {
                pending.id = None;
            }
        }
        Ok(())
    }

    /// Sends again what was never acknowledged, once.
    async fn resend(&mut self, settled: &mut Settled) {
        for at in (0..self.pending.len()).rev() {
            if self.pending[at].id.is_some() {
                continue;
            }
            let body = self.pending[at].body.clone();
            match self.post(body).await {
                (Verdict::Taken, Some(id)) => {
                    let pending = &mut self.pending[at];
                    (pending.id, pending.polls, pending.again) = (Some(id), 0, true);
                }
                (Verdict::Taken, None) => settled.taken += self.forget(at),
                (Verdict::Later(_, why) | Verdict::Away(_, why) | Verdict::Parked(why), _) => {
                    settled.why = Some(why);
                    self.due = Some(Instant::now() + self.backoff.next().max(self.interval.unwrap_or_default()));
                    return;
                }
                (Verdict::Refused(why) | Verdict::Halve(why) | Verdict::Bad { why, .. }, _) => {
                    settled.lost += self.forget(at);
                    settled.why = Some(why);
                }
                // The collector answers nothing else.
                (Verdict::Held | Verdict::Rejected { .. } | Verdict::Each(..), _) => settled.lost += self.forget(at),
            }
        }
    }
}

impl Deliver for Collector {
    fn limits(&self) -> BatchMax {
        BATCH
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let body = Bytes::from(records.join(&b'\n'));
            match self.post(body.clone()).await {
                (Verdict::Taken, Some(id)) => {
                    self.bytes += body.len();
                    let records = records.len() as u64;
                    self.pending.push(Pending { id: Some(id), body, records, polls: 0, again: false });
                    if self.due.is_none() {
                        self.due = self.interval.map(|interval| Instant::now() + interval);
                    }
                    Verdict::Held
                }
                (verdict, _) => verdict,
            }
        })
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn tend(&mut self) -> BoxFuture<'_, Settled> {
        Box::pin(async move {
            let mut settled = Settled::default();
            let interval = self.interval.unwrap_or_default();
            self.due = Some(Instant::now() + interval);
            match self.poll(&mut settled).await {
                Ok(()) => {
                    self.backoff.reset();
                    self.resend(&mut settled).await;
                }
                // Nobody was there to say no: that is no answer to count.
                Err(why) => {
                    settled.why = Some(why);
                    self.due = Some(Instant::now() + self.backoff.next().max(interval));
                }
            }
            if self.pending.is_empty() {
                self.due = None;
            }
            settled
        })
    }

    fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX && self.bytes < PENDING_BYTES
    }

    fn abandon(&mut self) -> u64 {
        self.bytes = 0;
        self.pending.drain(..).map(|p| p.records).sum()
    }
}

/// A random UUID (RFC 9562, section 5.4).
fn channel() -> String {
    let n = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        n >> 96,
        n >> 80 & 0xffff,
        n >> 64 & 0xffff,
        n >> 48 & 0xffff,
        n & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_uuids_of_version_4() {
        let (one, two) = (channel(), channel());
        assert_ne!(one, two);
        let parts: Vec<&str> = one.split('-').collect();
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{one}");
    }
}

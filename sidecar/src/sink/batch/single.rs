//! Receivers that take one record in a request: a few connections at a time, so that a burst does not wait for one
//! answer after the other.

use super::post::Post;
use super::{BatchMax, BoxFuture, Deliver, Fate, Verdict};
use crate::section::Wrong;
use crate::sink::transport::HttpAnswer;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// Connections, each opened when more records wait than the ones before it take.
const LANES: usize = 4;
/// Records that are in hand at a time, and their bytes.
const RECORDS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;

/// What an answer to one record means.
pub(crate) type Judge = fn(&Post, &HttpAnswer) -> Verdict;

/// The connections.
pub(crate) struct Singles {
    lanes: [Post; LANES],
    headers: Vec<(HeaderName, HeaderValue)>,
    judge: Judge,
}

impl Singles {
    /// Over ways that this opens.
    pub(crate) fn new(
        open: impl Fn() -> Result<Post, Wrong>,
        headers: Vec<(HeaderName, HeaderValue)>,
        judge: Judge,
    ) -> Result<Singles, Wrong> {
        Ok(Singles { lanes: [open()?, open()?, open()?, open()?], headers, judge })
    }
}

impl Deliver for Singles {
    fn limits(&self) -> BatchMax {
        BatchMax { records: RECORDS_MAX, bytes: BYTES_MAX, linger: Duration::ZERO }
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let (headers, judge) = (&self.headers, self.judge);
            let go = |lane, first| Box::pin(run(lane, records, first, headers, judge));
            let [a, b, c, d] = &mut self.lanes;
            let (a, b, c, d) = tokio::join!(go(a, 0), go(b, 1), go(c, 2), go(d, 3));
            let mut fates = vec![Fate::Again; records.len()];
            let mut why: Option<Verdict> = None;
            for (told, reason) in [a, b, c, d] {
                for (at, fate) in told {
                    if let Some(place) = fates.get_mut(at) {
                        *place = fate;
                    }
                }
                // Why we have to wait says more than why one was lost.
                let graver = matches!(why, None | Some(Verdict::Refused(_) | Verdict::Halve(_)));
                if reason.is_some() && graver {
                    why = reason;
                }
            }
            Verdict::Each(fates, why.map(Box::new))
        })
    }
}

/// Sends every fourth record, until one is to be sent again.
async fn run(
    post: &mut Post,
    records: &[&[u8]],
    first: usize,
    headers: &[(HeaderName, HeaderValue)],
    judge: Judge,
) -> (Vec<(usize, Fate)>, Option<Verdict>) {
    let mut told = Vec::new();
    let mut why = None;
    for (at, record) in records.iter().enumerate().skip(first).step_by(LANES) {
        let verdict = match post.send(headers, Bytes::copy_from_slice(record)).await {
            Ok(answer) => judge(post, &answer),
            Err(e) => Verdict::away(&e),
        };
        match verdict {
            Verdict::Taken => told.push((at, Fate::Taken)),
            Verdict::Refused(_) => {
                told.push((at, Fate::Lost));
                why = Some(verdict);
            }
            Verdict::Halve(_) => {
                told.push((at, Fate::Oversize));
                why = Some(verdict);
            }
            other => return (told, Some(other)),
        }
    }
    (told, why)
}

//! Empties a ring into a receiver that takes batches: what it takes, what it refuses and what it never got are counted,
//! each record once.

use crate::sink::drain::{Inbox, Outlet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long records gather, at most, so that a request is worth its head.
const GATHER: Duration = Duration::from_millis(200);
/// How often it is looked whether they are enough meanwhile.
const GATHER_STEP: Duration = Duration::from_millis(20);
/// Bytes that are enough.
const GATHER_BYTES: usize = 256 << 10;
/// Failures in a row after which a sink that is no longer configured gives up.
const RETIRED_TRIES: u32 = 5;
/// The pause when nobody says how long.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause when Fourmi ends: what cannot be sent in the time that is left is lost.
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// How often a request on its way looks for the end.
const LATE_POLL: Duration = Duration::from_millis(10);
/// Memory that is kept for the next batch.
const KEPT: usize = 256 << 10;

/// How large a batch may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of its records.
    pub(super) bytes: usize,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it was taken.
    Taken,
    /// It was taken but for so many records.
    Rejected { lost: u64, why: String },
    /// None of it was taken, and none ever will be.
    Refused(String),
    /// Not now; perhaps after this long.
    Later(Option<Duration>, String),
    /// Too large.
    Halve(String),
}

/// A receiver of batches.
pub(super) trait Deliver: Send {
    /// How large they may be.
    fn limits(&self) -> Limits;
    /// Hands one over.
    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// Records that are not delivered yet, in order.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Batch {
    fn fill(&mut self, inbox: &mut Inbox, limit: usize) {
        while self.bytes.len() < limit {
            let Some(length) = inbox.pop(&mut self.bytes) else { break };
            self.lengths.push(length);
        }
    }

    /// The records at the front that fit, at least one.
    fn front(&self, limit: usize, count: usize) -> Vec<&[u8]> {
        let (mut records, mut at) = (Vec::new(), 0);
        for length in self.lengths.iter().take(count.max(1)) {
            if at + length > limit && !records.is_empty() {
                break;
            }
            records.push(self.bytes.get(at..at + length).unwrap_or_default());
            at += length;
        }
        records
    }

    fn remove(&mut self, count: usize) {
        let count = count.min(self.lengths.len());
        let bytes: usize = self.lengths.drain(..count).sum();
        self.bytes.drain(..bytes.min(self.bytes.len()));
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    fn len(&self) -> usize {
        self.lengths.len()
    }
}

/// Delivers until the outlet ends.
pub(super) async fn run(outlet: Arc<Outlet>, mut inbox: Inbox, mut to: impl Deliver) {
    let mut batch = Batch::default();
    while inbox.wait().await {
        gather(&outlet, &mut inbox).await;
        batch.fill(&mut inbox, to.limits().bytes);
        if let Err(why) = empty(&outlet, &mut batch, &mut to).await {
            // What is still in the ring is counted by the next wait, or tried once more.
            outlet.counts.error(batch.len() as u64, &why);
            batch = Batch::default();
        }
    }
}

/// Counts everything as lost until the outlet ends: there is no way to send.
pub(super) async fn refuse(outlet: &Outlet, mut inbox: Inbox, why: &str) {
    while inbox.wait().await {
        let mut batch = Batch::default();
        batch.fill(&mut inbox, super::REQUEST_MAX);
        outlet.counts.error(batch.len() as u64, &why);
    }
}

async fn gather(outlet: &Outlet, inbox: &mut Inbox) {
    let until = Instant::now() + GATHER;
    while !outlet.is_ending() && inbox.backlog() < GATHER_BYTES && Instant::now() < until {
        outlet.rest(GATHER_STEP).await;
    }
}

/// Delivers a batch whole, in as many requests as it takes. An error: there is no time or no sense in going on.
async fn empty(outlet: &Outlet, batch: &mut Batch, to: &mut impl Deliver) -> Result<(), String> {
    let mut most = usize::MAX;
    let mut failures = 0;
    while batch.len() > 0 {
        let limit = to.limits().bytes;
        let records = batch.front(limit, most);
        let n = records.len();
        if n == 1 && records[0].len() > limit {
            outlet.counts.oversize(1);
            batch.remove(1);
            continue;
        }
        let verdict = before_the_end(outlet, to.deliver(&records)).await?;
        match verdict {
            Verdict::Taken => outlet.counts.sent(n as u64),
            Verdict::Rejected { lost, why } => {
                let lost = lost.min(n as u64);
                outlet.counts.sent(n as u64 - lost);
                outlet.counts.error(lost, &why);
            }
            Verdict::Refused(why) => outlet.counts.error(n as u64, &why),
            Verdict::Halve(why) if n == 1 => {
                outlet.counts.oversize(1);
                outlet.counts.note(&why);
            }
            Verdict::Halve(_) => {
                most = n / 2;
                continue;
            }
            Verdict::Later(pause, why) => {
                outlet.counts.note(&why);
                failures += 1;
                rest(outlet, pause.unwrap_or(PAUSE), failures).await.map_err(|()| why)?;
                continue;
            }
        }
        failures = 0;
        batch.remove(n);
    }
    Ok(())
}

/// The result, or an error when there is no time left before it comes.
pub(super) async fn before_the_end<T>(outlet: &Outlet, work: impl Future<Output = T>) -> Result<T, String> {
    let late = async {
        while !outlet.is_late() {
            tokio::time::sleep(LATE_POLL).await;
        }
    };
    // The clock ticks only while a request is on its way.
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = late => Err("no time left at the end".to_owned()),
    }
}

/// Leaves the receiver alone for this long; false when it is not worth trying again.
pub(super) async fn rest(outlet: &Outlet, pause: Duration, failures: u32) -> Result<(), ()> {
    let begun = Instant::now();
    loop {
        let pause = if outlet.is_stopping() { pause.min(LAST_PAUSE) } else { pause };
        let given_up = outlet.is_ending() && !outlet.is_stopping() && failures >= RETIRED_TRIES;
        if outlet.is_late() || given_up {
            return Err(());
        }
        let left = pause.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        outlet.rest(left).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::ring::{Writer, begin};
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Answers from a list, and remembers what it was given.
    struct Scripted {
        verdicts: VecDeque<Verdict>,
        got: Arc<Mutex<Vec<Vec<usize>>>>,
        limit: usize,
    }

    impl Deliver for Scripted {
        fn limits(&self) -> Limits {
            Limits { bytes: self.limit }
        }
        fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
            self.got.lock().unwrap().push(records.iter().map(|r| r.len()).collect());
            let verdict = self.verdicts.pop_front();
            Box::pin(async move {
                match verdict {
                    Some(verdict) => verdict,
                    None => std::future::pending().await,
                }
            })
        }
    }

    fn push(ring: &mut Writer, length: usize) {
        let mut scratch = Vec::new();
        begin(&mut scratch);
        scratch.resize(scratch.len() + length, 7);
        assert!(ring.push(&mut scratch));
    }

    async fn told(
        lengths: &[usize],
        limit: usize,
        verdicts: Vec<Verdict>,
    ) -> (Vec<Vec<usize>>, [u64; 3], Option<String>) {
        let outlet = Outlet::new("otlp", String::new());
        let mut ring = outlet.connect(1 << 20, &Arc::default());
        lengths.iter().for_each(|n| push(&mut ring, *n));
        let got = Arc::new(Mutex::new(Vec::new()));
        let to = Scripted { verdicts: verdicts.into(), got: got.clone(), limit };
        outlet.stop(Instant::now() + Duration::from_millis(300));
        run(outlet.clone(), Inbox::new(outlet.clone()), to).await;
        let totals = outlet.counts.totals();
        let got = got.lock().unwrap().clone();
        (got, [totals.sent, totals.error, totals.oversize], outlet.counts.last_error())
    }

    #[tokio::test]
    async fn every_record_is_counted_once_whatever_the_receiver_says() {
        use Verdict::*;
        let why = || "why".to_owned();
        let (got, counts, _) = told(&[10, 20, 30, 40], 60, vec![Taken, Taken]).await;
        assert_eq!((got, counts), (vec![vec![10, 20, 30], vec![40]], [4, 0, 0]));
        let (_, counts, last) = told(&[1, 1, 1, 1], 60, vec![Rejected { lost: 3, why: why() }]).await;
        assert_eq!((counts, last.as_deref()), ([1, 3, 0], Some("why")));
        let (_, counts, _) = told(&[1, 1], 60, vec![Rejected { lost: 9, why: why() }]).await;
        assert_eq!(counts, [0, 2, 0], "never more than there were");
        let (got, counts, _) = told(&[1, 1], 60, vec![Refused(why())]).await;
        assert_eq!((got.len(), counts), (1, [0, 2, 0]));
        let soon = Some(Duration::from_millis(1));
        let (got, counts, _) = told(&[1, 1], 60, vec![Later(soon, why()), Later(soon, why()), Taken]).await;
        assert_eq!((got, counts), (vec![vec![1, 1]; 3], [2, 0, 0]), "the same batch again");
        let (got, counts, _) =
            told(&[1, 2, 3, 4], 60, vec![Halve(why()), Taken, Halve(why()), Taken, Halve(why())]).await;
        assert_eq!(got, [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![3], vec![4]]);
        assert_eq!(counts, [3, 0, 1], "one record that is too large by itself is given up");
        let (got, counts, _) = told(&[5, 70, 5], 60, vec![Taken, Taken]).await;
        assert_eq!((got, counts), (vec![vec![5], vec![5]], [2, 0, 1]), "nor is it sent");
    }

    #[tokio::test]
    async fn the_end_counts_what_never_left() {
        let (_, counts, last) = told(&[1, 1], 60, vec![Verdict::Later(None, "away".into()); 100]).await;
        assert_eq!((counts, last.as_deref()), ([0, 2, 0], Some("away")));
        let (_, counts, last) = told(&[1, 1, 1], 60, Vec::new()).await;
        assert_eq!((counts, last.as_deref()), ([0, 3, 0], Some("no time left at the end")));
    }

    #[tokio::test]
    async fn a_sink_that_left_the_configuration_gives_up_after_some_tries() {
        let outlet = Outlet::new("otlp", String::new());
        let mut ring = outlet.connect(4096, &Arc::default());
        push(&mut ring, 9);
        drop(ring);
        outlet.retire();
        let later = Verdict::Later(Some(Duration::from_millis(1)), "away".into());
        let got = Arc::new(Mutex::new(Vec::new()));
        let to = Scripted { verdicts: vec![later; 50].into(), got: got.clone(), limit: 60 };
        run(outlet.clone(), Inbox::new(outlet.clone()), to).await;
        assert_eq!((got.lock().unwrap().len(), outlet.counts.totals().error), (RETIRED_TRIES as usize, 1));
    }
}

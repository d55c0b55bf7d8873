use super::*;
use crate::sink::counts::Totals;
use crate::sink::ring::{Writer, begin};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

type Seen = Arc<Mutex<Vec<Vec<String>>>>;

/// Answers with the next of its verdicts, then takes everything; remembers what it was asked.
struct Script {
    max: BatchMax,
    verdicts: VecDeque<Option<Verdict>>,
    seen: Seen,
    held: u64,
    polls: u32,
    due: Option<Instant>,
}

impl Deliver for Script {
    fn limits(&self) -> BatchMax {
        self.max
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let texts = records.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(texts);
            match self.verdicts.pop_front() {
                // It never answers.
                Some(None) => pending().await,
                Some(Some(Verdict::Held)) => {
                    self.held += records.len() as u64;
                    self.due = Some(Instant::now());
                    Verdict::Held
                }
                Some(Some(verdict)) => verdict,
                None => Verdict::Taken,
            }
        })
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn tend(&mut self) -> BoxFuture<'_, Settled> {
        Box::pin(async {
            self.polls += 1;
            self.due = Some(Instant::now() + Duration::from_millis(5));
            if self.polls < 3 {
                return Settled::default();
            }
            self.due = None;
            Settled { taken: std::mem::take(&mut self.held), ..Settled::default() }
        })
    }

    fn has_room(&self) -> bool {
        self.held < 2
    }

    fn abandon(&mut self) -> u64 {
        std::mem::take(&mut self.held)
    }
}

struct Rig {
    outlet: Arc<Outlet>,
    ring: Option<Writer>,
    seen: Seen,
    task: tokio::task::JoinHandle<()>,
}

const MAX: BatchMax = BatchMax { records: 5, bytes: 1000, linger: Duration::from_secs(3600) };

fn rig(max: BatchMax, verdicts: impl IntoIterator<Item = Option<Verdict>>) -> Rig {
    let outlet = Outlet::new("test", String::new());
    let ring = Some(outlet.connect(4096, &Arc::default()));
    let seen = Seen::default();
    let script =
        Script { max, verdicts: verdicts.into_iter().collect(), seen: seen.clone(), held: 0, polls: 0, due: None };
    let task = tokio::spawn(run(outlet.clone(), Inbox::new(outlet.clone()), script));
    Rig { outlet, ring, seen, task }
}

impl Rig {
    fn push(&mut self, records: &[&str]) {
        for record in records {
            let mut scratch = Vec::new();
            begin(&mut scratch);
            scratch.extend_from_slice(record.as_bytes());
            if !self.ring.as_mut().is_some_and(|ring| ring.push(&mut scratch)) {
                self.outlet.counts.full(1);
            }
        }
        self.outlet.ring();
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|batch| batch.join(" ")).collect()
    }

    async fn until(&self, done: impl Fn(Totals) -> bool) -> Totals {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self.outlet.counts.totals()) {
            assert!(Instant::now() < end, "{:?} {:?}", self.outlet.counts.totals(), self.seen());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.outlet.counts.totals()
    }

    async fn stop(self, within: Duration) -> Totals {
        self.outlet.stop(Instant::now() + within);
        tokio::time::timeout(Duration::from_secs(20), self.task).await.unwrap().unwrap();
        self.outlet.counts.totals()
    }
}

fn totals(sent: u64, full: u64, error: u64, oversize: u64) -> Totals {
    Totals { sent, full, error, oversize, ..Totals::default() }
}

#[tokio::test]
async fn a_full_batch_leaves_at_once_and_a_small_one_when_it_has_waited() {
    // An hour would be too long for this test: the first batch is full by count.
    let mut by_count = rig(MAX, []);
    by_count.push(&["a", "b", "c", "d", "e", "f"]);
    by_count.until(|t| t.sent == 5).await;
    assert_eq!(by_count.seen(), ["a b c d e"]);
    assert_eq!(by_count.stop(Duration::from_secs(5)).await, totals(6, 0, 0, 0), "the rest leaves at the end");

    // By bytes: what is like the longest so far would not fit any more. One that is larger than a batch goes alone.
    let long = "x".repeat(60);
    let mut by_bytes = rig(BatchMax { bytes: 100, ..MAX }, []);
    by_bytes.push(&[&long, "b", &"y".repeat(200), "d"]);
    by_bytes.until(|t| t.sent >= 3).await;
    assert_eq!(by_bytes.seen()[0], format!("{long}"));
    assert!(by_bytes.seen().iter().all(|b| b.len() <= 100 || !b.contains(' ')), "{:?}", by_bytes.seen());
    assert_eq!(by_bytes.stop(Duration::from_secs(5)).await, totals(4, 0, 0, 0));

    let mut by_time = rig(BatchMax { linger: Duration::from_millis(30), ..MAX }, []);
    by_time.push(&["a"]);
    by_time.push(&["b"]);
    by_time.until(|t| t.sent == 2).await;
    by_time.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn every_verdict_has_its_count() {
    let later = |why: &str| Some(Verdict::Later(None, why.to_owned()));
    let words = ["a", "b", "c", "d", "e"];
    let cases = [
        (
            vec![later("busy"), Some(Verdict::Away(io::ErrorKind::ConnectionRefused, "nobody".into()))],
            totals(5, 0, 0, 0),
            vec!["a b c d e", "a b c d e", "a b c d e"],
        ),
        (vec![Some(Verdict::Bad { index: 1, why: "bad".into() })], totals(4, 0, 1, 0), vec!["a b c d e", "c d e"]),
        (vec![Some(Verdict::Bad { index: 5, why: "no such event".into() })], totals(0, 0, 5, 0), vec!["a b c d e"]),
        (vec![Some(Verdict::Refused("no".into()))], totals(0, 0, 5, 0), vec!["a b c d e"]),
        (vec![Some(Verdict::Rejected { lost: 2, why: "old".into() })], totals(3, 0, 2, 0), vec!["a b c d e"]),
        (vec![Some(Verdict::Parked("token".into()))], totals(5, 0, 0, 0), vec!["a b c d e", "a b c d e"]),
        (
            vec![Some(Verdict::Each(
                vec![Fate::Taken, Fate::Again, Fate::Lost, Fate::Oversize, Fate::Again],
                Some(Box::new(Verdict::Later(None, "busy".into()))),
            ))],
            totals(3, 0, 1, 1),
            vec!["a b c d e", "b e"],
        ),
        (vec![Some(Verdict::Held), Some(Verdict::Taken)], totals(5, 0, 0, 0), vec!["a b c d e"]),
    ];
    for (verdicts, expected, seen) in cases {
        let told = format!("{verdicts:?}");
        let mut rig = rig(MAX, verdicts);
        rig.push(&words);
        let got = rig.until(|t| t.sent + t.error + t.oversize == 5).await;
        let got = Totals { troubles: Totals::default().troubles, ..got };
        assert_eq!((got, rig.seen()), (expected, seen.iter().map(|s| s.to_string()).collect()), "{told}");
        // Then well again.
        rig.push(&words);
        rig.until(|t| t.sent == expected.sent + 5).await;
        rig.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn too_large_a_body_is_halved_down_to_the_one_that_is_too_large() {
    let halve = || Some(Verdict::Halve("413".into()));
    // a-e, then a b, then a: the last one is given up alone.
    let mut rig = rig(MAX, [halve(), halve(), halve()]);
    rig.push(&["aaaa", "bbbb", "cccc", "dddd", "eeee"]);
    let got = rig.until(|t| t.sent + t.oversize == 5).await;
    assert_eq!(got, totals(4, 0, 0, 1));
    let seen = rig.seen();
    assert!(seen[1].len() < seen[0].len() && seen[2] == "aaaa", "{seen:?}");
    assert_eq!(rig.outlet.counts.last_error().as_deref(), Some("413"));
    rig.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn while_a_receiver_says_nothing_a_batch_gathers_and_the_ring_counts_the_rest() {
    let mut rig = rig(MAX, [None]);
    let mut told = 0;
    let end = Instant::now() + Duration::from_secs(20);
    while rig.outlet.counts.totals().full < 10 {
        assert!(Instant::now() < end);
        rig.push(&["0123456789012345678901234567890123456789"; 20]);
        told += 20;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let got = rig.stop(Duration::from_millis(100)).await;
    assert_eq!((got.sent, got.full + got.error), (0, told), "each is counted once");
}

#[tokio::test]
async fn the_end_is_hurried_but_tries_once_more() {
    let hour = Duration::from_secs(3600);
    let mut patient = rig(MAX, [Some(Verdict::Later(Some(hour), "come back".into()))]);
    patient.push(&["a"; 5]);
    while patient.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(patient.stop(Duration::from_secs(15)).await, totals(5, 0, 0, 0));
    // What is held and never confirmed is not called sent.
    let mut held = rig(MAX, [Some(Verdict::Held), Some(Verdict::Later(Some(hour), "away".into()))]);
    held.push(&["a"; 5]);
    held.until(|t| t.sent == 5).await;
    held.push(&["b"; 4]);
    held.stop(Duration::from_millis(1)).await;
    // A sink that left the configuration sends what its writers still bring.
    let mut retired = rig(MAX, []);
    retired.push(&["a", "b"]);
    retired.outlet.retire();
    retired.ring = None;
    retired.until(|t| t.sent == 2).await;
    tokio::time::timeout(Duration::from_secs(20), retired.task).await.unwrap().unwrap();
}

//! One driver for every receiver that is sent many records in one request and answers whether it took them.
//!
//! Every record ends in exactly one count: taken (`sent`), refused (`dropped_error`), larger than the receiver takes
//! (`oversize`), or, in the ring behind this, without room (`dropped_full`). A request whose answer never came is
//! sent again: a receiver may get records twice but never loses one for that; `command_id` tells twins.
//!
//! While a request is on its way the next batch gathers, one batch at most; everything else waits in the ring.

pub(crate) mod event;
pub(crate) mod post;
mod queue;
pub(crate) mod secret;
pub(crate) mod single;

use super::drain::{Inbox, Outlet};
use super::transport::Backoff;
use queue::Queue;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How often a waiting driver looks whether it is to end, and how often when it is.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_ENDING: Duration = Duration::from_millis(10);
/// The longest pause between attempts when Fourmi ends.
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// A receiver that refuses us, and not what we send, is asked again after pauses that grow to this.
const PARKED_LOW: Duration = Duration::from_secs(1);
const PARKED_HIGH: Duration = Duration::from_secs(60);
/// How long a sink that left the configuration goes on without any success.
const LEAVING: Duration = Duration::from_secs(30);
/// After a body that was too large the next ones grow again by this part.
const GROWTH: usize = 16;
/// A body that took too long is halved too, for a slow way, but not below this: a receiver may just be silent.
const SLOW_LEAST: usize = 64 << 10;

/// A boxed future.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How much goes into one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchMax {
    /// Records.
    pub(crate) records: usize,
    /// Bytes of all records, a separator for each included. A record that is larger by itself goes alone.
    pub(crate) bytes: usize,
    /// How long a record may wait for others. A full batch leaves at once.
    pub(crate) linger: Duration,
}

/// What became of one record of a request that was not decided as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The receiver has it.
    Taken,
    /// Refused for good.
    Lost,
    /// Larger than the receiver takes.
    Oversize,
    /// To be sent again.
    Again,
}

/// What became of the records of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All taken.
    Taken,
    /// Taken for the time being: [`Deliver::tend`] will tell, and the deliverer keeps what it may have to send again.
    Held,
    /// All taken but for some, which are lost.
    Rejected {
        /// How many.
        lost: u64,
        /// Why.
        why: String,
    },
    /// Those before this one are taken, this one is lost, those after it are sent again.
    Bad {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        why: String,
    },
    /// All lost: these records will never be taken.
    Refused(String),
    /// We are refused, not the records (a wrong token): they are kept, and the receiver is asked again, rarely.
    Parked(String),
    /// Not now: sent again after a growing pause, or after the one that the receiver asks for if that is longer.
    Later(Option<Duration>, String),
    /// No answer at all: like `Later`.
    Away(io::ErrorKind, String),
    /// Too large: sent again in halves. A single record is given up as `oversize`.
    Halve(String),
    /// One by one. Why some are to be sent again stands behind: `Parked`, `Later` or `Away`.
    Each(Vec<Fate>, Option<Box<Verdict>>),
}

impl Verdict {
    /// The receiver could not be reached, or hung up, or its answer is none.
    pub(crate) fn away(error: &io::Error) -> Verdict {
        Verdict::Away(error.kind(), error.to_string())
    }
}

/// What became of records that were [`Verdict::Held`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Confirmed.
    pub(crate) taken: u64,
    /// Given up.
    pub(crate) lost: u64,
    /// What is wrong, if anything is.
    pub(crate) why: Option<String>,
}

/// One way to a receiver.
pub(crate) trait Deliver: Send {
    /// How much it takes in one request.
    fn limits(&self) -> BatchMax;

    /// Sends records, at least one. Must end by itself in some seconds; it is dropped only at the deadline of a stop.
    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict>;

    /// When it wants [`Deliver::tend`]; none when nothing is held.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Finds out about held records. Like `deliver` it must end by itself.
    fn tend(&mut self) -> BoxFuture<'_, Settled> {
        Box::pin(async { Settled::default() })
    }

    /// Whether more may be held.
    fn has_room(&self) -> bool {
        true
    }

    /// The end: how many held records were never confirmed.
    fn abandon(&mut self) -> u64 {
        0
    }
}

/// Sends records in batches until the outlet ends.
pub(crate) async fn run(outlet: Arc<Outlet>, inbox: Inbox, deliver: impl Deliver) {
    let room = deliver.limits().bytes;
    let driver = Driver {
        outlet,
        inbox,
        open: true,
        deliver,
        now: Queue::default(),
        next: Queue::default(),
        room,
        backoff: Backoff::default(),
        parked: Backoff::new(PARKED_LOW, PARKED_HIGH),
        leaving: None,
    };
    driver.run().await;
}

struct Driver<D> {
    outlet: Arc<Outlet>,
    inbox: Inbox,
    /// Whether records may still come.
    open: bool,
    deliver: D,
    /// What is being sent, and what gathers meanwhile.
    now: Queue,
    next: Queue,
    /// Bytes of a request: the limit, or less for a while after one was too large.
    room: usize,
    backoff: Backoff,
    parked: Backoff,
    /// When a sink that is to end last had a success.
    leaving: Option<Instant>,
}

impl<D: Deliver> Driver<D> {
    async fn run(mut self) {
        loop {
            self.gather().await;
            if self.next.is_empty() && !self.open {
                break;
            }
            std::mem::swap(&mut self.now, &mut self.next);
            while !self.now.is_empty() && !self.is_over() {
                self.one().await;
            }
            if self.is_over() {
                break;
            }
        }
        while let Some(due) = self.deliver.due()
            && !self.is_over()
        {
            self.pause(due).await;
            self.tend().await;
        }
        let why = if self.outlet.is_stopping() {
            "no time left at the end"
        } else {
            "the sink left the configuration and its receiver takes nothing"
        };
        let lost = (self.now.len() + self.next.len()) as u64 + self.deliver.abandon();
        if lost > 0 {
            self.outlet.counts.error(lost, &why);
        }
        self.inbox.discard(&why);
    }

    /// Fills the next batch: until it is full, or its first record has waited long enough.
    async fn gather(&mut self) {
        let max = self.deliver.limits();
        let mut until: Option<Instant> = None;
        loop {
            self.next.fill(&mut self.inbox, max);
            if !self.next.is_empty() && until.is_none() {
                until = Some(Instant::now() + max.linger);
            }
            let now = Instant::now();
            if self.deliver.due().is_some_and(|due| due <= now) {
                self.tend().await;
                continue;
            }
            if !self.open || self.outlet.is_ending() && !self.next.is_empty() {
                return;
            }
            if self.next.is_full(max) || until.is_some_and(|until| until <= now) {
                return;
            }
            let wake = match (until, self.deliver.due()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let news = match wake {
                Some(wake) => timeout_at(wake, self.inbox.wait()).await.ok(),
                None => Some(self.inbox.wait().await),
            };
            if news == Some(false) {
                self.open = false;
            }
        }
    }

    /// One request and what follows from its answer.
    async fn one(&mut self) {
        while !self.deliver.has_room() && !self.is_over() {
            let due = self.deliver.due().unwrap_or_else(|| Instant::now() + LAST_PAUSE);
            self.pause(due).await;
            self.tend().await;
        }
        let limits = self.deliver.limits();
        let max = BatchMax { bytes: self.room.min(limits.bytes), ..limits };
        let Driver { outlet, inbox, open, deliver, now, next, .. } = self;
        let head = now.head(max);
        let n = head.len();
        let size = head.iter().map(|r| r.len() + queue::BETWEEN).sum::<usize>();
        let verdict = tokio::select! {
            biased;
            verdict = deliver.deliver(&head) => verdict,
            () = over(outlet) => return,
            never = ahead(inbox, next, limits, open) => match never {},
        };
        drop(head);
        if let Some(pause) = self.follow(verdict, n, size) {
            self.pause(Instant::now() + pause).await;
        }
    }

    /// Counts; the pause before the next attempt if there is to be one.
    fn follow(&mut self, verdict: Verdict, n: usize, size: usize) -> Option<Duration> {
        let counts = &self.outlet.counts;
        match verdict {
            Verdict::Taken => self.took(n, n as u64, 0, None),
            Verdict::Held => self.took(n, 0, 0, None),
            Verdict::Rejected { lost, why } => {
                let lost = lost.min(n as u64);
                self.took(n, n as u64 - lost, lost, Some(why));
            }
            Verdict::Bad { index, why } if index < n => self.took(index + 1, index as u64, 1, Some(why)),
            Verdict::Bad { why, .. } | Verdict::Refused(why) => self.took(n, 0, n as u64, Some(why)),
            Verdict::Parked(why) => {
                counts.note(&why);
                return Some(self.parked.next());
            }
            Verdict::Later(asked, why) => {
                counts.note(&why);
                return Some(self.backoff.next().max(asked.unwrap_or_default()));
            }
            Verdict::Away(kind, why) => {
                counts.trouble(&io::Error::new(kind, why));
                if kind == io::ErrorKind::TimedOut {
                    self.room = self.room.min((size / 2).max(SLOW_LEAST));
                }
                return Some(self.backoff.next());
            }
            Verdict::Halve(why) if n <= 1 => {
                counts.oversize(n as u64);
                counts.note(&why);
                self.now.remove(n);
            }
            Verdict::Halve(why) => {
                counts.note(&why);
                self.room = (size / 2).max(1);
            }
            Verdict::Each(fates, again) => return self.each(&fates, again, n),
        }
        None
    }

    /// The oldest `n` are done with.
    fn took(&mut self, n: usize, taken: u64, lost: u64, why: Option<String>) {
        self.now.remove(n);
        self.backoff.reset();
        self.parked.reset();
        self.room = self.room.saturating_add(self.room / GROWTH + 1).min(self.deliver.limits().bytes);
        self.leaving = self.leaving.map(|_| Instant::now());
        let counts = &self.outlet.counts;
        counts.sent(taken);
        if let Some(why) = why {
            counts.error(lost, &why);
        }
    }

    fn each(&mut self, fates: &[Fate], again: Option<Box<Verdict>>, n: usize) -> Option<Duration> {
        let fates = &fates[..fates.len().min(n)];
        let of = |fate| fates.iter().filter(|f| **f == fate).count();
        let (taken, lost, oversize) = (of(Fate::Taken), of(Fate::Lost), of(Fate::Oversize));
        self.now.keep(fates);
        if taken + lost + oversize > 0 {
            self.backoff.reset();
            self.parked.reset();
            self.leaving = self.leaving.map(|_| Instant::now());
        }
        let counts = &self.outlet.counts;
        counts.sent(taken as u64);
        counts.oversize(oversize as u64);
        let (why, pause) = match again.map(|verdict| *verdict) {
            Some(Verdict::Parked(why)) => (why, Some(self.parked.next())),
            Some(Verdict::Later(asked, why)) => (why, Some(self.backoff.next().max(asked.unwrap_or_default()))),
            Some(Verdict::Away(kind, why)) => {
                counts.trouble(&io::Error::new(kind, why.as_str()));
                (why, Some(self.backoff.next()))
            }
            Some(Verdict::Refused(why) | Verdict::Halve(why)) => (why, None),
            _ => ("refused by the receiver".to_owned(), None),
        };
        if lost > 0 {
            counts.error(lost as u64, &why);
        } else if taken < fates.len() {
            counts.note(&why);
        }
        // Whatever the reason is, what is to be sent again is not sent again at once.
        pause.or_else(|| (taken + lost + oversize < n).then(|| self.backoff.next()))
    }

    async fn tend(&mut self) {
        let limits = self.deliver.limits();
        let Driver { outlet, inbox, open, deliver, next, .. } = self;
        let settled = tokio::select! {
            biased;
            settled = deliver.tend() => settled,
            () = over(outlet) => return,
            never = ahead(inbox, next, limits, open) => match never {},
        };
        if settled.taken + settled.lost > 0 {
            self.leaving = self.leaving.map(|_| Instant::now());
        }
        self.outlet.counts.sent(settled.taken);
        match settled.why {
            Some(why) if settled.lost > 0 => self.outlet.counts.error(settled.lost, &why),
            Some(why) => self.outlet.counts.note(&why),
            None if settled.lost > 0 => self.outlet.counts.error(settled.lost, &"never confirmed"),
            None => {}
        }
    }

    /// Waits, but when Fourmi ends only for a moment.
    async fn pause(&mut self, until: Instant) {
        let limits = self.deliver.limits();
        let Driver { outlet, inbox, open, next, .. } = self;
        let waits = async {
            let begun = Instant::now();
            let mut until = until;
            let mut hurried = false;
            while Instant::now() < until && !outlet.is_late() {
                let stopping = outlet.is_stopping();
                if stopping && !hurried {
                    hurried = true;
                    until = until.min(Instant::now() + LAST_PAUSE);
                } else if outlet.is_ending() {
                    // However long the receiver wants to be left alone.
                    until = until.min(begun + LEAVING);
                }
                let look = if stopping { LOOK_ENDING } else { LOOK };
                sleep_until(until.min(Instant::now() + look)).await;
            }
        };
        tokio::select! {
            biased;
            () = waits => {}
            never = ahead(inbox, next, limits, open) => match never {},
        }
    }

    /// Whether nothing more can be done for what is left.
    fn is_over(&mut self) -> bool {
        if self.outlet.is_stopping() {
            return self.outlet.is_late();
        }
        if !self.outlet.is_ending() {
            self.leaving = None;
            return false;
        }
        self.leaving.get_or_insert_with(Instant::now).elapsed() > LEAVING
    }
}

/// Fills the next batch meanwhile.
async fn ahead(inbox: &mut Inbox, next: &mut Queue, max: BatchMax, open: &mut bool) -> Infallible {
    loop {
        next.fill(inbox, max);
        if next.is_full(max) || !*open {
            return pending().await;
        }
        if !inbox.wait().await {
            *open = false;
        }
    }
}

/// The end of the time that a stop gives. The outlet's bell is the inbox's, so this looks by the clock.
async fn over(outlet: &Outlet) {
    while !outlet.is_late() {
        sleep(if outlet.is_stopping() { LOOK_ENDING } else { LOOK }).await;
    }
}

#[cfg(test)]
mod tests;

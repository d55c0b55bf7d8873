//! One who follows the commands: a bounded queue that loses rather than waits, and says how much.

use super::super::entry::Entry;
use super::super::fields::Who;
use super::shown::shown;
use super::{Eyes, Wanted, drawn, lot};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that wait for somebody who reads slowly.
const BYTES_MAX: usize = 1 << 20;
/// Over this time the rate is kept.
const WINDOW: Duration = Duration::from_secs(1);

/// The control thread's end.
pub(super) struct Queue {
    wanted: Wanted,
    inner: Mutex<Inner>,
}

struct Inner {
    waiting: VecDeque<String>,
    bytes: usize,
    /// Not told, since it was last asked.
    skipped: u64,
    /// When this window began; what was told in it, and what came.
    began: Instant,
    told: u32,
    came: u64,
    /// One in two to the power of this is told, when more come than may be told.
    level: u32,
}

impl Queue {
    pub(super) fn new(wanted: Wanted) -> Self {
        let inner =
            Inner { waiting: VecDeque::new(), bytes: 0, skipped: 0, began: Instant::now(), told: 0, came: 0, level: 0 };
        Queue { wanted, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command has ended; whether its journey can be asked for.
    pub(super) fn tell(&self, entry: &Entry<'_>, who: &Who, kept: bool) {
        if !self.wanted.is(entry, who) {
            return;
        }
        let mut inner = self.inner();
        let age = inner.began.elapsed();
        if age >= WINDOW {
            inner.turn(age, self.wanted.rate);
        }
        inner.came += 1;
        if inner.told >= self.wanted.rate || !drawn(lot(entry), inner.level) || inner.bytes >= BYTES_MAX {
            inner.skipped += 1;
            return;
        }
        inner.told += 1;
        let mut object = shown(entry, who);
        object.insert("kept".into(), kept.into());
        let text = Value::Object(object).to_string();
        inner.bytes += text.len();
        inner.waiting.push_back(text);
    }
}

impl Inner {
    /// The next window: of so many commands as came, how many fit?
    fn turn(&mut self, age: Duration, rate: u32) {
        let came = self.came as f64 / age.as_secs_f64();
        let mut level = 0;
        while came / f64::from(1u32 << level) > f64::from(rate) && level < 20 {
            level += 1;
        }
        (self.level, self.told, self.came, self.began) = (level, 0, 0, Instant::now());
    }
}

/// What has come since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Commands, each a JSON object.
    pub commands: Vec<String>,
    /// Commands that were asked for and not told, as there were too many.
    pub skipped: u64,
}

/// The end of who follows. Gone when dropped.
pub struct Tail {
    queue: Arc<Queue>,
    eyes: Eyes,
    /// Commands that had been lost on the way here when it was last asked.
    lost: u64,
}

impl Tail {
    pub(super) fn new(queue: Arc<Queue>, eyes: Eyes) -> Self {
        let lost = eyes.lost();
        Tail { queue, eyes, lost }
    }

    /// Takes what has come, be it nothing.
    pub fn take(&mut self) -> Batch {
        let mut batch = self.queue.inner().take();
        // What found no room on its way here may have been asked for.
        let lost = self.eyes.lost();
        batch.skipped += lost - self.lost;
        self.lost = lost;
        batch
    }
}

impl Inner {
    fn take(&mut self) -> Batch {
        self.bytes = 0;
        Batch { commands: self.waiting.drain(..).collect(), skipped: std::mem::take(&mut self.skipped) }
    }
}

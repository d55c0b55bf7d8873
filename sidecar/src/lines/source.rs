//! One place where lines come from: its rate, and lines that belong together.

use super::parse::{LINE_MAX, Parsed, cut, goes_on, parse};
use super::settings::Format;
use crate::sink::{Hub, Line, Place, Redactor};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lines a second that are taken of one source; the same number may come at once.
pub(super) const RATE: u32 = 10_000;
/// How long a line of text may wait for what goes on with it.
const JOIN_FOR: Duration = Duration::from_millis(30);
/// How far from now the time in a line may be to be believed: a day, in microseconds.
const TIME_MAX: u64 = 86_400_000_000;
/// The severity of what says none.
const INFO: u8 = 6;

/// What all sources share: where lines go and how they are read.
pub(super) struct Shared {
    pub(super) hub: Rc<Hub>,
    pub(super) format: Cell<Format>,
    /// Whether there is a sink.
    pub(super) told: Cell<bool>,
    /// Whether what is captured also goes on to our own output.
    pub(super) passed: Cell<bool>,
    pub(super) redactor: RefCell<Redactor>,
}

/// A place where lines come from.
pub(super) struct Source {
    shared: Rc<Shared>,
    name: &'static str,
    /// Lines that may come now.
    credit: f64,
    since: Instant,
    dropping: bool,
    /// Lines that came too fast; a flood should cost as little as can be.
    dropped: Arc<AtomicU64>,
    waiting: Option<Waiting>,
}

struct Waiting {
    parsed: Parsed,
    wall: u64,
    place: Place,
    until: Instant,
}

impl Source {
    /// The source of this name.
    pub(super) fn new(shared: &Rc<Shared>, name: &'static str) -> Source {
        Source {
            shared: shared.clone(),
            name,
            credit: f64::from(RATE),
            since: Instant::now(),
            dropping: false,
            dropped: shared.hub.line_counter("dropped_rate"),
            waiting: None,
        }
    }

    /// Whether a line may come now.
    fn allows(&mut self, now: Instant) -> bool {
        let rate = f64::from(RATE);
        self.credit = (self.credit + now.duration_since(self.since).as_secs_f64() * rate).min(rate);
        self.since = now;
        if self.credit < 1.0 {
            if !std::mem::replace(&mut self.dropping, true) {
                tracing::warn!(
                    source = self.name,
                    "the worker writes more than {RATE} lines a second: the rest is dropped and counted"
                );
            }
            return false;
        }
        if self.dropping && self.credit > rate / 2.0 {
            self.dropping = false;
        }
        self.credit -= 1.0;
        true
    }

    /// Takes a line.
    pub(super) fn take(&mut self, bytes: &[u8], place: Place, is_cut: bool) {
        let hub = &self.shared.hub;
        if !self.shared.told.get() {
            return hub.count_lines("passed", 1);
        }
        if bytes.trim_ascii().is_empty() {
            return hub.count_lines("empty", 1);
        }
        let now = Instant::now();
        if !self.allows(now) {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let format = self.shared.format.get();
        if let Some(waiting) = self.waiting.as_mut().filter(|w| now < w.until)
            && goes_on(bytes)
            && waiting.parsed.message.len() + bytes.len() < LINE_MAX
        {
            let more = parse(Format::Text, bytes);
            waiting.parsed.message.push('\n');
            waiting.parsed.message.push_str(&more.message);
            cut(&mut waiting.parsed.message, LINE_MAX);
            waiting.place = joined(waiting.place, place);
            waiting.until = now + JOIN_FOR;
            return self.shared.hub.count_lines("joined", 1);
        }
        self.flush();
        let mut parsed = parse(format, bytes);
        if is_cut {
            parsed.fields.push(("truncated".into(), "true".into()));
        }
        let line = Waiting { wall: self::now(), parsed, place, until: now + JOIN_FOR };
        if line.parsed.is_text {
            self.waiting = Some(line);
        } else {
            self.tell(line);
        }
    }

    /// When what waits must be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|w| w.until)
    }

    /// Tells what waits.
    pub(super) fn flush(&mut self) {
        if let Some(line) = self.waiting.take() {
            self.tell(line);
        }
    }

    fn tell(&self, line: Waiting) {
        let Waiting { mut parsed, wall, place, .. } = line;
        parsed.fields.insert(0, ("line_source".into(), self.name.into()));
        let own = parsed.time.filter(|t| t.abs_diff(wall) < TIME_MAX);
        self.shared.hub.line(&Line {
            level: parsed.level.unwrap_or(INFO),
            wall: own.unwrap_or(wall),
            own_time: parsed.time.unwrap_or(0),
            message: &parsed.message,
            fields: &parsed.fields,
            place,
            redactor: &self.shared.redactor.borrow(),
        });
    }
}

/// A record of several lines belongs to whom all of them belong.
fn joined(first: Place, next: Place) -> Place {
    match (first, next) {
        (Place::Bytes(a, from, _), Place::Bytes(b, _, to)) if a == b => Place::Bytes(a, from, to),
        (Place::Between(from, _), Place::Between(_, to)) => Place::Between(from, to),
        _ => Place::Unknown,
    }
}

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
}

impl Drop for Source {
    fn drop(&mut self) {
        self.flush();
    }
}

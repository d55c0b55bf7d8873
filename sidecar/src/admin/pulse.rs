//! How it goes just now: rates and quantiles of the last seconds, out of two states of the metrics. States are only
//! taken when somebody asks, so nothing is done while nobody does.

use super::Control;
use super::numbers::{Numbers, Row};
use crate::spool::{State, Summary};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Between two states at least.
const APART: Duration = Duration::from_millis(900);
/// Rates are of about this time, and never of more than that.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOW_MAX: Duration = Duration::from_secs(30);
/// Points of the curve that a page begins with.
const POINTS_MAX: usize = 120;
/// Rows that one answer has; `/metrics` has them all.
const ROWS_MAX: usize = 200;

/// The states of the last seconds.
#[derive(Default)]
pub(super) struct Pulse(RefCell<States>);

#[derive(Default)]
struct States {
    last: VecDeque<(Instant, Numbers)>,
    curve: VecDeque<Point>,
}

/// Commands to the worker, or from it where there are no others, a second.
#[derive(Clone, Copy)]
struct Point {
    at: Instant,
    rate: f64,
    failed: f64,
}

/// The state of now, and one to compare it with.
pub(super) struct Beat {
    pub(super) now: Numbers,
    /// What has come since, and how long that is.
    pub(super) since: Option<(Numbers, Duration)>,
}

impl Pulse {
    /// Takes the state of now.
    pub(super) fn beat(&self, control: &dyn Control) -> Beat {
        let at = Instant::now();
        let mut states = self.0.borrow_mut();
        states.last.retain(|(then, _)| at.duration_since(*then) <= WINDOW_MAX);
        let fresh = states.last.back().filter(|(then, _)| at.duration_since(*then) < APART);
        let (at, now) = match fresh {
            Some((then, numbers)) => (*then, numbers.clone()),
            None => {
                let mut text = String::with_capacity(16 << 10);
                control.metrics(&mut text);
                let numbers = Numbers::read(&text);
                states.note(at, &numbers);
                (at, numbers)
            }
        };
        // The youngest that is old enough, or the oldest there is.
        while states.last.len() > 2 && states.last.get(1).is_some_and(|(then, _)| at.duration_since(*then) >= WINDOW) {
            states.last.pop_front();
        }
        let since = states
            .last
            .front()
            .filter(|(then, _)| *then < at)
            .map(|(then, before)| (difference(&now, before), at.duration_since(*then)));
        Beat { now, since }
    }

    /// All that is known of now, as JSON.
    pub(super) fn overview(&self, control: &dyn Control) -> Value {
        let beat = self.beat(control);
        let curve: Vec<Value> = {
            let states = self.0.borrow();
            let ago = |p: &Point| (p.at.elapsed().as_secs_f64() * 10.0).round() / 10.0;
            states.curve.iter().map(|p| json!([ago(p), round(p.rate), round(p.failed)])).collect()
        };
        let mut shown = control.status();
        let parts = control.ready();
        let window = beat.since.as_ref().map(|(_, time)| time.as_secs_f64());
        let mut rows: Vec<_> = beat.now.commands.iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.total.total_cmp(&a.total));
        let more = rows.len().saturating_sub(ROWS_MAX);
        let rows: Vec<Value> = rows
            .into_iter()
            .take(ROWS_MAX)
            .map(|(key, all)| {
                let lately = beat.since.as_ref().map(|(numbers, time)| (numbers.commands.get(key), *time));
                row(key, all, lately)
            })
            .collect();
        let more_of = json!({
            "ready": parts.iter().all(|p| p.ready),
            "parts": parts.iter().map(|p| json!({"name": p.name, "ready": p.ready, "detail": p.detail})).collect::<Vec<_>>(),
            "window_seconds": window.map(round),
            "in_flight_by": beat.now.in_flight,
            "lost": beat.now.lost(),
            "untold": control.eyes().lost(),
            "inbound": whole(&beat, "inbound"),
            "outbound": whole(&beat, "outbound"),
            "curve": curve,
            "rows": rows,
            "more_rows": more,
            "instances": instances(&beat.now),
            "gateway": control.has_gateway(),
            "spool": control.spool().map(|spool| stored(&spool.summary())),
            "read_only": control.settings().read_only,
        });
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more_of) {
            shown.extend(more);
        }
        shown
    }
}

/// What is said of the spool in a word.
fn stored(summary: &Summary) -> Value {
    let of = |states: &[State]| states.iter().map(|state| summary.of(*state)).sum::<i64>();
    json!({
        "waiting": of(&[State::Ready, State::Running, State::Retrying]), "dead": of(&[State::Dead, State::Unknown]),
        "paused": summary.paused, "trouble": summary.trouble,
    })
}

impl States {
    fn note(&mut self, at: Instant, numbers: &Numbers) {
        if let Some((then, before)) = self.last.back() {
            let seconds = at.duration_since(*then).as_secs_f64();
            let lately = difference(numbers, before);
            let of = |direction: &str| {
                let rows = lately.commands.iter().filter(|((d, ..), _)| d == direction).map(|(_, row)| row);
                rows.fold((0.0, 0.0), |(all, failed), row| (all + row.total, failed + row.total - row.success()))
            };
            let inbound = numbers.commands.keys().any(|(d, ..)| d == "inbound");
            let (all, failed) = of(if inbound { "inbound" } else { "outbound" });
            if self.curve.len() >= POINTS_MAX {
                self.curve.pop_front();
            }
            self.curve.push_back(Point { at, rate: all / seconds, failed: failed / seconds });
        }
        self.last.push_back((at, numbers.clone()));
    }
}

fn difference(now: &Numbers, before: &Numbers) -> Numbers {
    let none = Row::default();
    let rows =
        now.commands.iter().map(|(key, row)| (key.clone(), row.since(before.commands.get(key).unwrap_or(&none))));
    Numbers { commands: rows.collect(), ..Numbers::default() }
}

/// Enough digits for an eye.
fn round(n: f64) -> f64 {
    (n * 1e3).round() / 1e3
}

fn of(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (1e4 * part / whole).round() / 1e4)
}

/// What rows have in common.
fn told(row: &Row, time: Duration) -> Value {
    let seconds = time.as_secs_f64();
    let ms = |q: f64| row.buckets.quantile(q).map(|s| round(s * 1e3));
    json!({
        "rate": round(row.total / seconds),
        "success": of(row.success(), row.total),
        "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p99_ms": ms(0.99),
        // Little's law: what ended in this time took so much of it altogether.
        "busy": round(row.seconds / seconds),
    })
}

fn row(
    (direction, service, command): &super::numbers::Key,
    all: &Row,
    lately: Option<(Option<&Row>, Duration)>,
) -> Value {
    json!({
        "direction": direction, "service": service, "command": command,
        "total": all.total, "success": of(all.success(), all.total), "outcomes": all.outcomes,
        "lately": lately.and_then(|(row, time)| Some(told(row?, time))),
    })
}

/// How many instances of each service are in which state.
fn instances(numbers: &Numbers) -> Value {
    let mut all: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for (service, state, n) in &numbers.instances {
        *all.entry(service).or_default().entry(state).or_default() += n;
    }
    json!(all)
}

/// A direction as a whole.
fn whole(beat: &Beat, direction: &str) -> Value {
    let sum = |numbers: &Numbers| {
        let mut sum = Row::default();
        for (_, row) in numbers.commands.iter().filter(|((d, ..), _)| d == direction) {
            sum.add(row);
        }
        sum
    };
    let all = sum(&beat.now);
    json!({
        "total": all.total,
        "success": of(all.success(), all.total),
        "lately": beat.since.as_ref().map(|(numbers, time)| told(&sum(numbers), *time)),
    })
}

//! Which commands a tail is told of.

use super::super::entry::Entry;
use super::super::fields::Who;
use crate::exchange::{Direction, Outcome};
use std::time::Duration;

/// Commands a second that a tail is told of when it does not say.
const RATE: u32 = 100;
/// The most that it may ask for.
const RATE_MAX: u32 = 1_000;
/// Tags that are asked for at once.
const TAGS_MAX: usize = 8;

/// What a tail asks for; everything that is none is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    service: Option<String>,
    command: Option<String>,
    id: Option<String>,
    trace: Option<u128>,
    consumer: Option<String>,
    direction: Option<Direction>,
    results: Vec<Outcome>,
    failed: bool,
    tags: Vec<(String, String)>,
    least: Duration,
    /// Commands a second at most.
    pub(super) rate: u32,
}

/// Why something cannot be asked for.
pub type Unclear = String;

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            service: None,
            command: None,
            id: None,
            trace: None,
            consumer: None,
            direction: None,
            results: Vec::new(),
            failed: false,
            tags: Vec::new(),
            least: Duration::ZERO,
            rate: RATE,
        }
    }
}

impl Wanted {
    /// From names and values: `service command id trace consumer direction result tag min-latency max-rps`. A value
    /// that is empty asks for nothing; a word that is unknown is somebody else's.
    ///
    /// # Errors
    /// When a value makes no sense: what to write instead.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Wanted, Unclear> {
        let mut wanted = Wanted::default();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            wanted.take(name, value)?;
        }
        Ok(wanted)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Unclear> {
        let some = || Some(value.to_owned());
        match name {
            "service" => self.service = some(),
            "command" => self.command = some(),
            "id" => self.id = some(),
            "consumer" => self.consumer = some(),
            "trace" => {
                let id = u128::from_str_radix(value, 16).ok().filter(|_| value.len() <= 32);
                self.trace = Some(id.ok_or("trace: write the trace's id, 32 hexadecimal digits")?);
            }
            "direction" => {
                self.direction = Some(match value {
                    "inbound" => Direction::Inbound,
                    "outbound" => Direction::Outbound,
                    _ => return Err(format!("direction: {value:?} is neither inbound nor outbound")),
                });
            }
            "result" if value == "failed" => self.failed = true,
            "result" => {
                let known = Outcome::ALL.into_iter().find(|o| o.as_str() == value);
                let words = || Outcome::ALL.map(Outcome::as_str).join(", ");
                self.results.push(known.ok_or_else(|| format!("result: {value:?} is none of failed, {}", words()))?);
            }
            "tag" => {
                let (key, of) = value.split_once('=').ok_or("tag: write KEY=VALUE, or KEY= for any value")?;
                if self.tags.len() >= TAGS_MAX {
                    return Err(format!("tag: no more than {TAGS_MAX} can be asked for at once"));
                }
                self.tags.push((key.to_owned(), of.to_owned()));
            }
            "min-latency" => {
                let ms = value.strip_suffix("ms").unwrap_or(value).trim().parse::<f64>().ok();
                let ms = ms.filter(|ms| ms.is_finite() && (0.0..=86_400_000.0).contains(ms));
                let ms = ms.ok_or("min-latency: write milliseconds, such as 250 or 250ms")?;
                self.least = Duration::from_secs_f64(ms / 1e3);
            }
            "max-rps" => {
                let rate = value.parse::<u32>().ok().filter(|n| (1..=RATE_MAX).contains(n));
                self.rate = rate.ok_or(format!("max-rps: write a number from 1 to {RATE_MAX}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it is told of this command.
    pub(super) fn is(&self, entry: &Entry<'_>, who: &Who) -> bool {
        let text = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| matches(wanted, is));
        self.least <= entry.total.duration()
            && self.direction.is_none_or(|d| entry.direction == Some(d))
            && (!self.failed || entry.level < 5)
            && (self.results.is_empty() || entry.outcome.is_some_and(|o| self.results.contains(&o)))
            && self.trace.is_none_or(|trace| entry.trace_id == trace)
            && text(&self.service, entry.service)
            && text(&self.command, entry.command)
            && text(&self.consumer, entry.consumer)
            && self.id.as_ref().is_none_or(|id| entry.id == id)
            && self.tags.iter().all(|(key, value)| {
                let is = |k: &str, v: &str| k == key && (value.is_empty() || matches(value, v));
                entry.tags.iter().any(|(k, v)| is(k, v)) || who.tag(key).is_some_and(|v| is(key, v))
            })
    }
}

/// The same text; a `*` at the end stands for any rest.
fn matches(wanted: &str, is: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(begin) => is.starts_with(begin),
        None => wanted == is,
    }
}

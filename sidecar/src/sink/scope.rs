//! The scope of a command: which commands the worker has in its hands, so that what it logs meanwhile gets their
//! name, id and tags, and nothing of it stays behind when they have ended.
//!
//! A wrong tag is worse than none. A line belongs to the command that it names; or else to the only one that the
//! worker had in its hands when it wrote the line; or else, when it had none, to the only one that had just ended.

use super::entry::{Entry, Moment, Pairs, Stretch, What};
use super::generation::Generation;
use super::metric::Registry;
use super::watch::Watch;
use crate::names::metric;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Commands in the worker's hands that are known at once.
const ACTIVE_MAX: usize = 16 << 10;
/// Commands that are remembered after their end, for how long, and how many bytes they may take.
const ENDED_MAX: usize = 4096;
const ENDED_FOR: u64 = 30_000_000;
const ENDED_BYTES: usize = 8 << 20;
/// Commands whose places are made more certain by later ones.
const LOOSE_MAX: usize = 64;
/// How long after a command's end an idle worker's line may still be about it, in microseconds.
const AFTERGLOW: u64 = 50_000;
/// How far the clock of an end may be from its place in the output, for the order of ends: a thread that noted the
/// one may have to wait before it notes the other.
const SKEW: u64 = 100_000;
/// How much earlier than a command's begin the time in its line may be: many loggers write whole seconds.
const OWN_TIME_SLACK: u64 = 1_100_000;
/// An id in free text counts from this length on, if it has a digit: a number or word is no id of ours by chance.
const TOKEN_MIN: usize = 12;
/// The longest.
const TOKEN_MAX: usize = 128;
/// Words of one line that are looked at.
const TOKENS_MAX: usize = 4096;

/// Fields that are the id of a command and nothing else, without separators and in lower case.
const ID_FIELDS: [&str; 4] = ["commandid", "fourmiid", "cmdid", "fourmicommandid"];
/// Fields that name the trace.
const TRACE_FIELDS: [&str; 3] = ["traceid", "traceparent", "oteltraceid"];

/// One command.
struct Scope {
    /// What was told of it last, as it came from the data thread.
    entry: Box<[u8]>,
    id: Box<str>,
    trace: u128,
    begun: Moment,
    ended: Option<Moment>,
}

/// What a line says itself about its command.
#[derive(Default, PartialEq, Eq, Debug)]
enum Named {
    /// Nothing.
    #[default]
    Nobody,
    /// One that is known, by our span.
    One(u64),
    /// One that is not known, or several.
    Others,
}

/// The commands that lines may belong to. Only the control thread has it.
pub(crate) struct Scopes {
    watch: Arc<Watch>,
    registry: Arc<Registry>,
    told: Arc<AtomicU64>,
    /// By our span, which no two have in common.
    all: HashMap<u64, Scope, foldhash::fast::RandomState>,
    by_id: HashMap<Box<str>, Vec<u64>, foldhash::fast::RandomState>,
    by_trace: HashMap<u128, Vec<u64>, foldhash::fast::RandomState>,
    /// In the worker's hands.
    active: Vec<u64>,
    /// In the order of their ends.
    ended: VecDeque<(u64, u64)>,
    ended_bytes: usize,
    /// Of those, some began or ended while the output was being read, at a place that is not quite known.
    loose: VecDeque<u64>,
}

impl Scopes {
    /// None yet.
    pub(crate) fn new(watch: Arc<Watch>, registry: Arc<Registry>) -> Scopes {
        let told = registry.reason(metric::WORKER_LINES, "told");
        Scopes {
            watch,
            registry,
            told,
            all: HashMap::default(),
            by_id: HashMap::default(),
            by_trace: HashMap::default(),
            active: Vec::new(),
            ended: VecDeque::new(),
            ended_bytes: 0,
            loose: VecDeque::new(),
        }
    }

    /// A command has begun or ended.
    pub(crate) fn see(&mut self, entry: &Entry<'_>, bytes: &[u8]) {
        if entry.moment.at == 0 {
            return;
        }
        self.tighten(&entry.moment);
        match entry.what {
            What::Begun => self.begin(entry, bytes),
            What::Command => self.end(entry, bytes),
            What::Line => {}
        }
        let is_loose = entry.moment.outputs.iter().any(|o| o.from != o.to);
        if is_loose && !self.loose.contains(&entry.span_id) {
            if self.loose.len() >= LOOSE_MAX {
                self.loose.pop_front();
            }
            self.loose.push_back(entry.span_id);
        }
    }

    /// Nothing was farther in the output than something later: makes uncertain places less so.
    fn tighten(&mut self, later: &Moment) {
        let all = &mut self.all;
        self.loose.retain(|span| {
            let Some(scope) = all.get_mut(span) else { return false };
            let mut is_loose = false;
            for moment in [Some(&mut scope.begun), scope.ended.as_mut()].into_iter().flatten() {
                for (own, other) in moment.outputs.iter_mut().zip(&later.outputs) {
                    if moment.at < later.since {
                        own.to = own.to.min(other.to).max(own.from);
                    }
                    is_loose |= own.from != own.to;
                }
            }
            is_loose
        });
    }

    fn begin(&mut self, entry: &Entry<'_>, bytes: &[u8]) {
        let span = entry.span_id;
        if self.active.len() >= ACTIVE_MAX || self.all.contains_key(&span) {
            return self.watch.missed();
        }
        let scope =
            Scope { entry: bytes.into(), id: entry.id.into(), trace: entry.trace_id, begun: entry.moment, ended: None };
        self.by_id.entry(scope.id.clone()).or_default().push(span);
        self.by_trace.entry(scope.trace).or_default().push(span);
        self.all.insert(span, scope);
        self.active.push(span);
    }

    fn end(&mut self, entry: &Entry<'_>, bytes: &[u8]) {
        let span = entry.span_id;
        let Some(scope) = self.all.get_mut(&span).filter(|s| s.ended.is_none()) else { return };
        // Its answer may have brought tags.
        scope.entry = bytes.into();
        self.ended_bytes += scope.entry.len();
        self.close(span, entry.moment);
        while let Some((at, span)) = self.ended.front().copied()
            && (self.ended.len() > ENDED_MAX
                || self.ended_bytes > ENDED_BYTES
                || at.saturating_add(ENDED_FOR) < entry.moment.at)
        {
            self.ended.pop_front();
            self.forget(span);
        }
    }

    fn close(&mut self, span: u64, moment: Moment) {
        if let Some(scope) = self.all.get_mut(&span) {
            scope.ended = Some(moment);
        }
        if let Some(i) = self.active.iter().position(|s| *s == span) {
            self.active.swap_remove(i);
        }
        let place = self.ended.iter().rposition(|(at, _)| *at <= moment.at).map_or(0, |i| i + 1);
        self.ended.insert(place, (moment.at, span));
    }

    fn forget(&mut self, span: u64) {
        let Some(scope) = self.all.remove(&span) else { return };
        self.ended_bytes = self.ended_bytes.saturating_sub(scope.entry.len());
        if let Some(spans) = self.by_id.get_mut(&scope.id) {
            spans.retain(|s| *s != span);
            if spans.is_empty() {
                self.by_id.remove(&scope.id);
            }
        }
        if let Some(spans) = self.by_trace.get_mut(&scope.trace) {
            spans.retain(|s| *s != span);
            if spans.is_empty() {
                self.by_trace.remove(&scope.trace);
            }
        }
    }

    /// Tells a line to every sink, as a line of its command if it has one. `current`: whether everything is known that
    /// the worker was given before it wrote the line.
    pub(crate) fn tell(&mut self, bytes: &[u8], current: bool, to: &Generation, scratch: &mut Vec<u8>) {
        let Some(line) = Entry::read(bytes) else { return };
        let of = self.find(&line, current).and_then(|span| self.all.get(&span));
        match of.and_then(|scope| Entry::read(&scope.entry)) {
            None => to.tell(&line, scratch),
            Some(of) => {
                let shown = line.shown.iter().filter(|(key, value)| !is_repeated(key, value, &of)).collect();
                let scoped = Entry {
                    command: of.command,
                    id: of.id,
                    tags: of.tags.clone(),
                    direction: of.direction,
                    trace_id: of.trace_id,
                    span_id: of.span_id,
                    parent_span: of.parent_span,
                    trace_flags: of.trace_flags,
                    shown: Pairs::Read(shown),
                    ..line.clone()
                };
                to.tell(&scoped, scratch);
            }
        }
        self.told.fetch_add(1, Relaxed);
    }

    /// The command of a line, by our span.
    fn find(&mut self, line: &Entry<'_>, current: bool) -> Option<u64> {
        let blind = !current || self.is_blind();
        match self.named(line, blind) {
            Named::One(span) => return Some(span),
            Named::Others => return None,
            Named::Nobody => {}
        }
        let said = self.in_text(line);
        match (said, self.in_hands(&line.moment)) {
            (Named::One(span), _) => Some(span),
            _ if blind => None,
            (_, InHands::One(span)) if self.may_be(span, &line.moment) => Some(span),
            (Named::Nobody, InHands::None) => self.just_ended(&line.moment),
            _ => None,
        }
    }

    /// By a field that says so. A trace alone says little when not all commands are known.
    fn named(&self, line: &Entry<'_>, blind: bool) -> Named {
        let mut found = Named::Nobody;
        for (key, value) in line.shown.iter() {
            if is_field(key, &ID_FIELDS) {
                return self.by_id(value.trim()).map_or(Named::Others, Named::One);
            }
            if found == Named::Nobody && !blind && is_field(key, &TRACE_FIELDS) {
                found = self.by_trace(value.trim());
            }
        }
        found
    }

    /// The one of this id: among those in the worker's hands, else the last that ended.
    fn by_id(&self, id: &str) -> Option<u64> {
        let spans = self.by_id.get(id)?;
        let mut active = spans.iter().filter(|s| self.all.get(s).is_some_and(|s| s.ended.is_none()));
        match (active.next(), active.next()) {
            (Some(one), None) => Some(*one),
            // Two callers that chose the same id.
            (Some(_), Some(_)) => None,
            (None, _) => spans.iter().max_by_key(|s| self.all.get(s).and_then(|s| s.ended).map(|m| m.at)).copied(),
        }
    }

    /// By a trace id, or by the `traceparent` that the worker was given, which has our span.
    fn by_trace(&self, text: &str) -> Named {
        let mut parts = text.split('-');
        let (trace, span) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(trace), None, ..) => (trace, None),
            (Some(_), Some(trace), Some(span), _) => (trace, u64::from_str_radix(span, 16).ok()),
            _ => return Named::Nobody,
        };
        if let Some(span) = span.filter(|s| self.all.contains_key(s)) {
            return Named::One(span);
        }
        let trace = Some(trace).filter(|t| t.len() == 32).and_then(|t| u128::from_str_radix(t, 16).ok());
        // A worker that made a trace of its own says nothing with it.
        match trace.and_then(|t| self.by_trace.get(&t)).map(Vec::as_slice) {
            Some([one]) => Named::One(*one),
            _ => Named::Nobody,
        }
    }

    /// By an id that stands in the text or in any field.
    fn in_text(&self, line: &Entry<'_>) -> Named {
        let mut found = Named::Nobody;
        let mut left = TOKENS_MAX;
        let texts = std::iter::once(line.message).chain(line.shown.iter().map(|(_, v)| v));
        for text in texts {
            for token in tokens(text) {
                if left == 0 {
                    return found;
                }
                left -= 1;
                match (self.by_token(token), &found) {
                    (Some(span), Named::Nobody) => found = Named::One(span),
                    (Some(span), Named::One(other)) if span != *other => return Named::Others,
                    _ => {}
                }
            }
        }
        found
    }

    fn by_token(&self, token: &str) -> Option<u64> {
        if token.len() == 55 && token.starts_with("00-") {
            return match self.by_trace(token) {
                Named::One(span) => Some(span),
                _ => None,
            };
        }
        let plain = token.trim_matches(['.', ':', '#', '-']);
        [token, plain]
            .into_iter()
            .filter(|t| t.len() >= TOKEN_MIN && t.len() <= TOKEN_MAX && t.bytes().any(|b| b.is_ascii_digit()))
            .find_map(|t| self.by_id(t))
    }

    /// Whether commands may be in the worker's hands that are not known here: their entries found no room.
    fn is_blind(&mut self) -> bool {
        if !self.watch.has_missed() {
            return false;
        }
        // Every command on its way that is not known may be such a one. Those that began since the levels were read
        // are known, for their entries were read before.
        let on_their_way = usize::try_from(self.registry.levels().in_flight[0]).unwrap_or(0);
        if on_their_way == 0 {
            let mut now = self.watch.now();
            // At some time until now.
            now.outputs.iter_mut().for_each(|o| o.from = 0);
            for span in std::mem::take(&mut self.active) {
                self.ended_bytes += self.all.get(&span).map_or(0, |s| s.entry.len());
                self.close(span, now);
            }
        }
        if on_their_way == self.active.len() {
            self.watch.caught_up();
            return false;
        }
        true
    }

    /// Those that the worker may have had in its hands at some time while it wrote the line.
    fn in_hands(&self, line: &Moment) -> InHands {
        let mut found = InHands::None;
        if line.at == 0 {
            return InHands::Several;
        }
        let mut last_before = None;
        for span in self.active.iter().chain(self.ended.iter().rev().map(|(_, span)| span)) {
            let Some(scope) = self.all.get(span) else { continue };
            if scope.was_in_hands(line) {
                match found {
                    InHands::None => found = InHands::One(*span),
                    _ => return InHands::Several,
                }
            } else if let Some(ended) = scope.ended.filter(|_| scope.is_before(line)) {
                match last_before {
                    None => last_before = Some(ended.at),
                    Some(at) if ended.at.saturating_add(SKEW) < at => break,
                    Some(_) => {}
                }
            }
        }
        found
    }

    /// Whether the whole line was written while the worker had it.
    fn may_be(&self, span: u64, line: &Moment) -> bool {
        let Some(scope) = self.all.get(&span) else { return false };
        match line.stretch() {
            None => true,
            Some((which, stretch)) => {
                let inside = stretch.from >= scope.begun.outputs[which].to
                    && scope.ended.is_none_or(|e| stretch.to <= e.outputs[which].from);
                let own = line.since == 0 || line.since.saturating_add(OWN_TIME_SLACK) >= scope.begun.at;
                inside && own
            }
        }
    }

    /// The one that ended last, if it was just before the line and the only one.
    fn just_ended(&self, line: &Moment) -> Option<u64> {
        let mut last = self
            .ended
            .iter()
            .rev()
            .skip_while(|(at, _)| *at > line.at)
            .take_while(|(at, _)| at.saturating_add(AFTERGLOW) >= line.at);
        let (_, span) = last.next()?;
        let scope = self.all.get(span)?;
        let after = match line.stretch() {
            None => true,
            Some((which, stretch)) => {
                scope.ended.is_some_and(|e| stretch.from >= e.outputs[which].to)
                    && (line.since == 0 || line.since.saturating_add(OWN_TIME_SLACK) >= scope.begun.at)
            }
        };
        (after && last.next().is_none()).then_some(*span)
    }
}

/// Who was in the worker's hands.
#[derive(Debug, PartialEq, Eq)]
enum InHands {
    None,
    One(u64),
    Several,
}

impl Scope {
    fn was_in_hands(&self, line: &Moment) -> bool {
        match line.stretch() {
            Some((which, stretch)) => {
                stretch.to > self.begun.outputs[which].from
                    && self.ended.is_none_or(|e| stretch.from < e.outputs[which].to)
            }
            None => self.begun.at <= line.at && self.ended.is_none_or(|e| e.at >= line.since),
        }
    }

    /// Whether it had ended before the line was begun.
    fn is_before(&self, line: &Moment) -> bool {
        self.ended.is_some_and(|e| match line.stretch() {
            Some((which, stretch)) => stretch.from >= e.outputs[which].to,
            None => e.at < line.since,
        })
    }
}

impl Moment {
    /// Which output a line was written to, and where.
    fn stretch(&self) -> Option<(usize, Stretch)> {
        self.outputs.iter().enumerate().find(|(_, s)| s.to > s.from).map(|(i, s)| (i, *s))
    }
}

/// A field's last part without separators, compared with these.
fn is_field(key: &str, names: &[&str]) -> bool {
    let plain =
        |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
    if key.len() > 64 {
        return false;
    }
    let last = key.rsplit('.').next().unwrap_or(key);
    let (whole, last) = (plain(key), plain(last));
    names.iter().any(|n| n.as_bytes() == whole || n.as_bytes() == last)
}

/// Whether a field of this name says to which command a line belongs.
pub(crate) fn names_command(key: &str) -> bool {
    is_field(key, &ID_FIELDS) || is_field(key, &TRACE_FIELDS)
}

/// Whether a field only says what the record says anyway.
fn is_repeated(key: &str, value: &str, of: &Entry<'_>) -> bool {
    (is_field(key, &ID_FIELDS) && value.trim() == of.id)
        || (is_field(key, &TRACE_FIELDS) && u128::from_str_radix(value.trim(), 16).is_ok_and(|t| t == of.trace_id))
}

/// Words that could be an id.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '#' | '-')))
        .filter(|t| t.len() >= TOKEN_MIN)
}

#[cfg(test)]
mod tests;

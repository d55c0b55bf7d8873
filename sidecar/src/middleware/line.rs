//! The middlewares of one route of a gateway, in their order. Which configuration of a middleware holds for a command
//! is decided when its turn comes, since only then it is known who calls.

use super::{After, Middleware, Verdict};
use crate::exchange::{AnswerHead, Exchange, Tell};
use std::collections::HashMap;
use std::sync::Arc;

/// The middlewares of one route.
#[derive(Default)]
pub struct Line {
    slots: Box<[Slot]>,
    /// Those of the slots that have something to do with answers.
    answers: Box<[u16]>,
    /// Those that want to know when it is over.
    done: Box<[u16]>,
}

/// One configuration of a middleware, and how much it is bound to.
#[derive(Clone)]
pub struct Held {
    /// Of all that hold, the one with the lowest counts.
    pub rank: u8,
    /// The middleware.
    pub middleware: Arc<dyn Middleware>,
}

/// One middleware, with the configurations that may hold.
#[derive(Default)]
pub struct Slot {
    /// For everybody who has none of their own.
    usual: Option<Held>,
    /// By the consumer's place.
    consumers: HashMap<u32, Held>,
    /// By the place of a consumer group, the one that goes first at the front.
    groups: Vec<(u32, Held)>,
}

impl Slot {
    /// Holds for everybody.
    pub fn of_all(&mut self, held: Held) {
        lower(&mut self.usual, held);
    }

    /// Holds for one consumer.
    pub fn of_consumer(&mut self, place: u32, held: Held) {
        match self.consumers.get_mut(&place) {
            Some(known) if known.rank <= held.rank => {}
            _ => drop(self.consumers.insert(place, held)),
        }
    }

    /// Holds for the consumers of a group.
    pub fn of_group(&mut self, place: u32, held: Held) {
        match self.groups.iter_mut().find(|(group, _)| *group == place) {
            Some((_, known)) if known.rank <= held.rank => {}
            Some((_, known)) => *known = held,
            None => self.groups.push((place, held)),
        }
    }

    /// Who is in several groups has what the first of them has.
    pub fn sort_groups(&mut self, order: &[u32]) {
        self.groups.sort_by_key(|(group, held)| (held.rank, order.iter().position(|g| g == group)));
    }

    fn all(&self) -> impl Iterator<Item = &Held> {
        self.usual.iter().chain(self.consumers.values()).chain(self.groups.iter().map(|(_, held)| held))
    }

    /// The configuration that holds for who calls.
    fn of(&self, exchange: &Exchange) -> Option<&dyn Middleware> {
        let held = if self.consumers.is_empty() && self.groups.is_empty() {
            self.usual.as_ref()
        } else {
            let consumer = exchange.caller.consumer.as_ref();
            let own = consumer.and_then(|c| self.consumers.get(&c.place));
            let group = consumer.and_then(|c| self.groups.iter().find(|(g, _)| c.groups.contains(g)));
            own.into_iter().chain(group.map(|(_, held)| held)).chain(&self.usual).min_by_key(|held| held.rank)
        };
        held.map(|held| &*held.middleware)
    }
}

fn lower(known: &mut Option<Held>, held: Held) {
    if known.as_ref().is_none_or(|known| held.rank < known.rank) {
        *known = Some(held);
    }
}

/// Where a command stands in the line, when a middleware wants more than the head says.
pub struct Stop {
    /// The slot whose middleware wants it.
    pub at: usize,
    /// What it wants.
    pub wants: Verdict,
}

/// The same on the way back.
pub struct Halt {
    /// Its place among those that look at answers.
    pub at: usize,
    /// What it wants.
    pub wants: After,
}

impl Line {
    /// In this order.
    pub fn new(slots: Vec<Slot>) -> Line {
        let with = |wanted: fn(&dyn Middleware) -> bool| {
            let has = |(at, slot): (usize, &Slot)| {
                slot.all().any(|held| wanted(&*held.middleware)).then(|| u16::try_from(at).ok()).flatten()
            };
            slots.iter().enumerate().filter_map(has).collect()
        };
        let (answers, done) = (with(|m| m.hooks().answer), with(|m| m.hooks().done));
        Line { answers, done, slots: slots.into() }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether anything is to be done with answers.
    pub fn looks_at_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Asks each from `at` on, until one wants more than the head.
    pub fn on_request(&self, at: usize, exchange: &mut Exchange, tell: &dyn Tell) -> Option<Stop> {
        for (at, slot) in self.slots.iter().enumerate().skip(at) {
            let Some(middleware) = slot.of(exchange).filter(|m| m.hooks().request) else { continue };
            match middleware.on_request(exchange, tell) {
                Verdict::Next => {}
                wants => return Some(Stop { at, wants }),
            }
        }
        None
    }

    /// Hands each from `at` on the head of the answer, until one wants more.
    pub fn on_answer(&self, at: usize, exchange: &mut Exchange, answer: &mut AnswerHead) -> Option<Halt> {
        for (at, slot) in self.answers.iter().enumerate().skip(at) {
            let middleware = self.slots.get(usize::from(*slot)).and_then(|s| s.of(exchange));
            let Some(middleware) = middleware.filter(|m| m.hooks().answer) else { continue };
            match middleware.on_answer(exchange, answer) {
                After::Next => {}
                wants => return Some(Halt { at, wants }),
            }
        }
        None
    }

    /// Hands the one that asked for it the body of the answer.
    pub fn on_answer_body(
        &self,
        at: usize,
        exchange: &mut Exchange,
        answer: &mut AnswerHead,
        body: bytes::Bytes,
    ) -> bytes::Bytes {
        let slot = self.answers.get(at).and_then(|slot| self.slots.get(usize::from(*slot)));
        match slot.and_then(|s| s.of(exchange)) {
            Some(middleware) => middleware.on_answer_body(exchange, answer, body),
            None => body,
        }
    }

    /// Tells each that it is over.
    pub fn on_done(&self, exchange: &Exchange, tell: &dyn Tell) {
        for slot in &self.done {
            let middleware = self.slots.get(usize::from(*slot)).and_then(|s| s.of(exchange));
            if let Some(middleware) = middleware.filter(|m| m.hooks().done) {
                middleware.on_done(exchange, tell);
            }
        }
    }

    /// Whether one of them wants to know what the groups of the route's expression matched.
    pub fn wants_captures(&self) -> bool {
        self.slots.iter().flat_map(Slot::all).any(|held| held.middleware.wants_captures())
    }

    /// The names of all, in the order in which they are asked, and whether each holds for everybody.
    pub fn all_names(&self) -> Vec<(&'static str, bool)> {
        let name = |slot: &Slot| Some((slot.all().next()?.middleware.name(), slot.usual.is_some()));
        self.slots.iter().filter_map(name).collect()
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The middleware of a slot, in the configuration that holds for this exchange; none when it holds for others.
    pub fn at(&self, at: usize, exchange: &Exchange) -> Option<&dyn Middleware> {
        self.slots.get(at).and_then(|slot| slot.of(exchange))
    }

    /// Asks the slot `at` alone.
    pub fn only(&self, at: usize, exchange: &mut Exchange, tell: &dyn Tell) -> Option<Stop> {
        let middleware = self.slots.get(at)?.of(exchange).filter(|m| m.hooks().request)?;
        match middleware.on_request(exchange, tell) {
            Verdict::Next => None,
            wants => Some(Stop { at, wants }),
        }
    }
}

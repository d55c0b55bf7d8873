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

/// One middleware, with the configurations that may hold.
pub struct Slot {
    /// For everybody who has none of their own.
    pub usual: Option<Arc<dyn Middleware>>,
    /// By the consumer's place.
    pub consumers: HashMap<u32, Arc<dyn Middleware>>,
    /// By the place of a consumer group, the one that goes first at the front.
    pub groups: Vec<(u32, Arc<dyn Middleware>)>,
}

impl Slot {
    /// One configuration for everybody.
    pub fn usual(middleware: Arc<dyn Middleware>) -> Slot {
        Slot { usual: Some(middleware), consumers: HashMap::new(), groups: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Middleware>> {
        self.usual.iter().chain(self.consumers.values()).chain(self.groups.iter().map(|(_, m)| m))
    }

    /// The configuration that holds for who calls.
    fn of(&self, exchange: &Exchange) -> Option<&dyn Middleware> {
        if self.consumers.is_empty() && self.groups.is_empty() {
            return self.usual.as_deref();
        }
        let Some(consumer) = &exchange.caller.consumer else { return self.usual.as_deref() };
        let group = || self.groups.iter().find(|(g, _)| consumer.groups.contains(g)).map(|(_, m)| m);
        self.consumers.get(&consumer.place).or_else(group).or(self.usual.as_ref()).map(|m| &**m)
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
            let has =
                |(at, slot): (usize, &Slot)| slot.all().any(|m| wanted(&**m)).then(|| u16::try_from(at).ok()).flatten();
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

    /// The names of those that would be asked for this exchange, in order.
    pub fn names(&self, exchange: &Exchange) -> Vec<&'static str> {
        self.slots.iter().filter_map(|s| s.of(exchange)).map(Middleware::name).collect()
    }

    /// Those that would be asked for this exchange, in order.
    pub fn each<'a>(&'a self, exchange: &'a Exchange) -> impl Iterator<Item = &'a dyn Middleware> {
        self.slots.iter().filter_map(|s| s.of(exchange))
    }
}

//! A thread's way to the sinks, exchangeable when the plan changes.

use crate::exchange::{ConnectionSide, Direction, Exchange, Tell};
use crate::sink::Teller;
use std::cell::RefCell;

/// The teller of now.
pub(super) struct Swap(RefCell<Teller>);

impl Swap {
    pub(super) fn new(teller: Teller) -> Self {
        Swap(RefCell::new(teller))
    }

    /// From now on this one is told.
    pub(super) fn swap(&self, teller: Teller) {
        *self.0.borrow_mut() = teller;
    }
}

impl Tell for Swap {
    fn in_flight(&self, direction: Direction, delta: i64) {
        self.0.borrow_mut().in_flight(direction, delta);
    }
    fn begun(&self, exchange: &Exchange) {
        self.0.borrow_mut().begun(exchange);
    }
    fn log(&self, exchange: &Exchange) {
        self.0.borrow_mut().log(exchange);
    }
    fn count(&self, exchange: &Exchange) {
        self.0.borrow_mut().count(exchange);
    }
    fn rejected(&self, reason: &'static str) {
        self.0.borrow_mut().rejected(reason);
    }
    fn retried(&self, reason: &'static str) {
        self.0.borrow_mut().retried(reason);
    }
    fn retry_skipped(&self, reason: &'static str) {
        self.0.borrow_mut().retry_skipped(reason);
    }
    fn limit_fallback(&self, reason: &'static str) {
        self.0.borrow_mut().limit_fallback(reason);
    }
    fn answer_dropped(&self, reason: &'static str) {
        self.0.borrow_mut().answer_dropped(reason);
    }
    fn connection(&self, side: ConnectionSide, delta: i64) {
        self.0.borrow_mut().connection(side, delta);
    }
}

//! Commands that wait for room at an instance, in the order of their coming.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

/// How many commands an instance is given at once, and what those beyond do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Commands at one instance at once.
    pub max: u32,
    /// Commands that may wait, for each instance.
    pub queue: u32,
    /// How long one may wait.
    pub wait: Duration,
}

struct Ticket {
    /// Who came first has the lowest.
    number: u64,
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One thread's queue for one service: whichever instance has room first takes the first.
#[derive(Default)]
pub struct Queue {
    tickets: RefCell<VecDeque<Rc<Ticket>>>,
    /// Those that were called and have not come yet, in the order of their coming. Neither who comes now overtakes them, nor
    /// one of them another: they may also be woken by the time that they look again at, which knows no order.
    called: RefCell<VecDeque<Rc<Ticket>>>,
    next: Cell<u64>,
    /// How many wait on all threads, for people.
    waiting: Arc<AtomicU32>,
}

/// A place in the queue; who leaves before being called gives it up, who leaves after it calls the next one.
pub struct Waiting {
    queue: Rc<Queue>,
    ticket: Rc<Ticket>,
}

impl Queue {
    /// An empty one, whose length is added to `waiting`.
    pub fn new(waiting: Arc<AtomicU32>) -> Rc<Self> {
        Rc::new(Queue { tickets: RefCell::default(), called: RefCell::default(), next: Cell::new(0), waiting })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tickets.borrow().len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.called.borrow().is_empty() && self.tickets.borrow().is_empty()
    }

    /// The number of one that comes now: where it waits, whenever it has to.
    pub fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        number
    }

    /// Takes the place of this number: behind those that came before.
    pub fn join(self: &Rc<Self>, number: u64) -> Waiting {
        let ticket = Rc::new(Ticket { number, called: Cell::new(false), waker: RefCell::default() });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        place(&mut self.tickets.borrow_mut(), ticket.clone());
        Waiting { queue: self.clone(), ticket }
    }

    /// Calls the next one, if there is room and nobody is on the way to it.
    pub fn call_more(&self) {
        if self.called.borrow().is_empty() {
            self.call();
        }
    }

    /// There is room for one: the first is called.
    pub fn call(&self) {
        let Some(first) = self.tickets.borrow_mut().pop_front() else { return };
        first.called.set(true);
        let waker = first.waker.borrow_mut().take();
        place(&mut self.called.borrow_mut(), first);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Puts a ticket where those before it came before.
fn place(all: &mut VecDeque<Rc<Ticket>>, ticket: Rc<Ticket>) {
    let at = all.iter().rposition(|t| t.number < ticket.number).map_or(0, |at| at + 1);
    all.insert(at, ticket);
}

impl Waiting {
    /// Whether it was called.
    pub fn is_called(&self) -> bool {
        self.ticket.called.get()
    }

    /// Whether it may look for room: nobody is before it.
    pub fn is_next(&self) -> bool {
        let (called, tickets) = (self.queue.called.borrow(), self.queue.tickets.borrow());
        let before = |first: &Rc<Ticket>| first.number < self.ticket.number;
        !called.front().is_some_and(before) && !tickets.front().is_some_and(before)
    }

    /// Resolves when it is called, and nobody who came before it is still on the way.
    pub async fn called(&self) {
        poll_fn(|cx| {
            if self.is_called() && self.is_next() {
                return Poll::Ready(());
            }
            *self.ticket.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// It was called and found the room taken: it waits on, in the place that it had.
    pub fn again(&self) {
        if self.heard() {
            place(&mut self.queue.tickets.borrow_mut(), self.ticket.clone());
        }
    }

    /// It has what it waited for: the call was used.
    pub fn served(self) {
        self.heard();
    }

    /// Whether it was called; it is not any more.
    fn heard(&self) -> bool {
        let called = self.ticket.called.replace(false);
        if called {
            let mut all = self.queue.called.borrow_mut();
            all.retain(|t| !Rc::ptr_eq(t, &self.ticket));
            // It may have come too early, and gone to sleep again.
            if let Some(waker) = all.front().and_then(|next| next.waker.borrow_mut().take()) {
                waker.wake();
            }
        }
        called
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.heard() {
            self.queue.call();
        } else {
            self.queue.tickets.borrow_mut().retain(|t| !Rc::ptr_eq(t, &self.ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn in_order_and_a_call_is_never_lost() {
        let queue = Rc::new(Queue::default());
        let (a, b, c) = (queue.join(queue.number()), queue.join(queue.number()), queue.join(queue.number()));
        let mut cx = Context::from_waker(Waker::noop());
        queue.call();
        assert!(pin!(a.called()).poll(&mut cx).is_ready());
        assert!(pin!(b.called()).poll(&mut cx).is_pending());
        drop(a);
        assert!(pin!(b.called()).poll(&mut cx).is_ready(), "a left with its call, which is b's now");
        b.served();
        assert_eq!(queue.len(), 1);
        drop(c);
        assert!(queue.is_empty());

        // Those that found the room taken wait on in their order.
        let (a, b, c) = (queue.join(queue.number()), queue.join(queue.number()), queue.join(queue.number()));
        queue.call();
        queue.call();
        a.again();
        b.again();
        for next in [&a, &b, &c] {
            queue.call();
            assert!(next.is_called());
        }
        drop((a, b, c));
        assert!(queue.is_empty());

        // Of those that were called, the first one comes first, whoever is woken first.
        let (a, b) = (queue.join(queue.number()), queue.join(queue.number()));
        queue.call();
        queue.call();
        assert!(b.is_called() && !b.is_next() && a.is_next());
        assert!(pin!(b.called()).poll(&mut cx).is_pending());
        a.served();
        assert!(pin!(b.called()).poll(&mut cx).is_ready());
        b.served();

        // Nobody overtakes one that was called and has not come yet.
        let first = queue.join(queue.number());
        queue.call();
        assert!(!queue.is_empty(), "though none of them waits to be called");
        let second = queue.join(queue.number());
        assert!(first.is_next() && !second.is_next());
        first.served();
        assert!(second.is_next());
        drop(second);
        assert!(queue.is_empty());
    }
}

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
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One thread's queue for one service: whichever instance has room first takes the first.
#[derive(Default)]
pub struct Queue {
    tickets: RefCell<VecDeque<Rc<Ticket>>>,
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
        Rc::new(Queue { tickets: RefCell::default(), waiting })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tickets.borrow().len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.tickets.borrow().is_empty()
    }

    /// Takes a place at the end, or at the front for one that was called and found the room taken.
    pub fn join(self: &Rc<Self>, front: bool) -> Waiting {
        let ticket = Rc::new(Ticket { called: Cell::new(false), waker: RefCell::default() });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut all = self.tickets.borrow_mut();
        if front {
            all.push_front(ticket.clone());
        } else {
            all.push_back(ticket.clone());
        }
        Waiting { queue: self.clone(), ticket }
    }

    /// There is room for one: the first is called.
    pub fn call(&self) {
        let Some(first) = self.tickets.borrow_mut().pop_front() else { return };
        first.called.set(true);
        let waker = first.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Waiting {
    /// Whether it was called.
    pub fn is_called(&self) -> bool {
        self.ticket.called.get()
    }

    /// Whether it may look for room: it was called, or nobody is before it.
    pub fn is_next(&self) -> bool {
        self.is_called() || self.queue.tickets.borrow().front().is_some_and(|t| Rc::ptr_eq(t, &self.ticket))
    }

    /// Resolves when it is called.
    pub async fn called(&self) {
        poll_fn(|cx| {
            if self.ticket.called.get() {
                return Poll::Ready(());
            }
            *self.ticket.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// It has what it waited for: the call was used.
    pub fn served(self) {
        self.ticket.called.set(false);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.ticket.called.get() {
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
        let (a, b, c) = (queue.join(false), queue.join(false), queue.join(false));
        let mut cx = Context::from_waker(Waker::noop());
        queue.call();
        assert!(pin!(a.called()).poll(&mut cx).is_ready());
        assert!(pin!(b.called()).poll(&mut cx).is_pending());
        drop(a);
        assert!(pin!(b.called()).poll(&mut cx).is_ready(), "a left with its call, which is b's now");
        b.served();
        assert_eq!(queue.len(), 1);
        let again = queue.join(true);
        queue.call();
        assert!(pin!(again.called()).poll(&mut cx).is_ready());
        again.served();
        drop(c);
        assert!(queue.is_empty());
    }
}

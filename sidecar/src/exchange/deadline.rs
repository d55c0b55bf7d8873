//! Coarse deadlines for one worker thread: one ticker for all of them, no timer per command.

use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How late a deadline may fire.
pub const TICK: Duration = Duration::from_millis(20);

struct Entry {
    at: Instant,
    waker: Waker,
    fired: bool,
}

#[derive(Default)]
struct Deadlines {
    entries: RefCell<Slab<Entry>>,
    /// Wakes the ticker when it sleeps because there is nothing to watch.
    ticker: RefCell<Option<Waker>>,
    asleep: Cell<bool>,
}

thread_local! {
    static DEADLINES: Deadlines = Deadlines::default();
}

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

struct Watch(Option<usize>);

impl Watch {
    /// Whether the deadline has passed; remembers whom to wake.
    fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        DEADLINES.with(|d| {
            let mut entries = d.entries.borrow_mut();
            match self.0.and_then(|key| entries.get_mut(key)) {
                Some(entry) => {
                    if !entry.waker.will_wake(cx.waker()) {
                        entry.waker = cx.waker().clone();
                    }
                    entry.fired
                }
                None => {
                    self.0 = Some(entries.insert(Entry { at, waker: cx.waker().clone(), fired: false }));
                    drop(entries);
                    if d.asleep.replace(false)
                        && let Some(w) = d.ticker.borrow_mut().take()
                    {
                        w.wake();
                    }
                    false
                }
            }
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            // The thread's storage may be gone already when the thread ends.
            let _ = DEADLINES.try_with(|d| d.entries.borrow_mut().try_remove(key));
        }
    }
}

/// Runs a future until a moment; needs [`tick`] running on the same thread.
pub fn until<F: Future>(at: Instant, future: F) -> Until<F> {
    Until { future, at, watch: Watch(None) }
}

pin_project_lite::pin_project! {
    /// See [`until`]. Not an async function: that would hold the future twice.
    pub struct Until<F> {
        #[pin]
        future: F,
        at: Instant,
        watch: Watch,
    }
}

impl<F: Future> Future for Until<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.poll(cx) {
            Poll::Ready(v) => Poll::Ready(Ok(v)),
            Poll::Pending if this.watch.poll(*this.at, cx) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A deadline that is asked by hand, for bodies.
pub struct Deadline {
    at: Instant,
    watch: Watch,
}

impl Deadline {
    /// One that passes at `at`.
    pub fn new(at: Instant) -> Self {
        Deadline { at, watch: Watch(None) }
    }
    /// Whether it has passed; else the task is woken when it does.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> bool {
        self.watch.poll(self.at, cx)
    }
}

struct Asleep;

impl Future for Asleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        DEADLINES.with(|d| {
            if !d.entries.borrow().is_empty() {
                d.asleep.set(false);
                return Poll::Ready(());
            }
            d.asleep.set(true);
            *d.ticker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// The ticker of this thread: run it once, for ever.
pub async fn tick() {
    loop {
        Asleep.await;
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        DEADLINES.with(|d| {
            for (_, entry) in d.entries.borrow_mut().iter_mut() {
                if !entry.fired && entry.at <= now {
                    entry.fired = true;
                    entry.waker.wake_by_ref();
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_after_its_time_and_forgets_what_ended() {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&rt, async {
            tokio::task::spawn_local(tick());
            let start = Instant::now();
            let never = until(start + Duration::from_millis(50), std::future::pending::<()>()).await;
            assert_eq!(never, Err(Elapsed));
            assert!(start.elapsed() >= Duration::from_millis(50));
            assert_eq!(until(Instant::now() + Duration::from_secs(5), async { 7 }).await, Ok(7));
            assert!(DEADLINES.with(|d| d.entries.borrow().is_empty()));
        });
    }
}

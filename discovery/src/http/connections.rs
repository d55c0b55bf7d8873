//! Connections within their limits. When all are taken, the one that rests for the longest time makes room for the next.

use foldhash::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A connection at work.
const AT_WORK: u64 = u64::MAX;

#[derive(Debug)]
struct Open {
    /// When it began to rest, as a number that grows; [`AT_WORK`] while a request is answered.
    rests: AtomicU64,
    close: Notify,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Arc<Open>>,
    /// How many each client has.
    clients: HashMap<IpAddr, usize>,
    next: u64,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    table: Mutex<Table>,
    clock: AtomicU64,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    all: Arc<Connections>,
    open: Arc<Open>,
    number: u64,
    ip: IpAddr,
    _place: OwnedSemaphorePermit,
}

/// A request that is answered, until it is dropped.
pub(super) struct Working<'a>(&'a Counted);

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Connections { places: Arc::new(Semaphore::new(most)), table: Mutex::default(), clock: AtomicU64::new(0) }
    }

    /// Waits for a place for one more; one that rests is closed for it. None when the client has enough: all clients of
    /// this machine share an address, so they have no limit.
    pub(super) async fn count(self: &Arc<Self>, ip: IpAddr, most: usize) -> Option<Counted> {
        if self.table().clients.get(&ip).is_some_and(|count| *count >= most) && !ip.is_loopback() {
            return None;
        }
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.close_one();
                Arc::clone(&self.places).acquire_owned().await.ok()?
            }
        };
        let open = Arc::new(Open { rests: AtomicU64::new(self.now()), close: Notify::new() });
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.open.insert(number, Arc::clone(&open));
        *table.clients.entry(ip).or_default() += 1;
        drop(table);
        Some(Counted { all: Arc::clone(self), open, number, ip, _place: place })
    }

    fn close_one(&self) {
        let table = self.table();
        let resting = table.open.values().map(|open| (open.rests.load(Ordering::Relaxed), open));
        if let Some((_, open)) = resting.filter(|(rests, _)| *rests != AT_WORK).min_by_key(|(rests, _)| *rests) {
            // It is not chosen twice, while it takes its time to end.
            open.rests.store(AT_WORK, Ordering::Relaxed);
            open.close.notify_one();
        }
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Is at work until what it gives is dropped.
    pub(super) fn work(&self) -> Working<'_> {
        self.open.rests.store(AT_WORK, Ordering::Relaxed);
        Working(self)
    }

    /// Ends when the connection is to make room for another.
    pub(super) async fn closed(&self) {
        self.open.close.notified().await;
    }
}

impl Working<'_> {
    /// It goes on for as long as there is the connection.
    pub(super) fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.open.rests.store(self.0.all.now(), Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut table = self.all.table();
        table.open.remove(&self.number);
        if let Some(count) = table.clients.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                table.clients.remove(&self.ip);
            }
        }
    }
}

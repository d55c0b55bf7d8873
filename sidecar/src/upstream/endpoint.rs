//! One instance as one worker thread sees it: its free connections, its load, whether it answers.

mod peer;
mod presence;

pub(super) use presence::Awaited;
pub use presence::InFlight;

use super::balance::{Ewma, Peer as _, SlowStart};
use super::connect::{self, secure};
use super::health::{Change, Passive, Report, Standing};
use super::pool::{Load, Loads, Member, Pool};
use super::queue::Queue;
use super::target::{Place, Scheme, Target};
use crate::codec::Socket;
use crate::codec::client::{Home, Http1, Http2};
use crate::codec::zmtp::client::Zmtp;
use crate::exchange::frames::Outlet;
use crate::exchange::{ConnectionSide, Counted, Tell, Timeouts};
use crate::tls::Connector;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Free connections kept to one instance by one thread.
const IDLE_MAX: usize = 512;
/// A connection that was free this long may have been closed since the event loop last looked.
const RESTED: Duration = Duration::from_millis(100);
/// A name is resolved again after this long.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);
/// How long an instance that refused is left alone: doubles from the first to the last.
const DOWN_FIRST: Duration = Duration::from_millis(50);
const DOWN_LAST: Duration = Duration::from_secs(2);
const ZMQ_DOWN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// How long an instance that may prove itself again is only given commands that may run twice.
const TRIALS_OF_ALL: Duration = Duration::from_secs(10);

/// What one answers whose time is over: that of the caller, maybe.
pub(super) const TIMEOUT: u16 = 504;

#[derive(Debug, Clone, Copy)]
struct Down {
    until: Instant,
    fails: u32,
}

/// One instance.
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// The same as text, for records.
    pub label: Arc<str>,
    standing: Arc<Standing>,
    /// How its sessions are made, when its scheme wants them.
    pub(super) tls: Option<Connector>,
    /// What a balancer weighs: share, priority, and whether it is near.
    weight: Cell<u32>,
    rank: Cell<u32>,
    near: Cell<bool>,
    ewma: Ewma,
    /// Commands whose answer has not begun, and since when none of them has had one.
    awaited: Cell<u32>,
    asked: Cell<Option<Instant>>,
    /// When its last answer began.
    answered: Cell<Option<Instant>>,
    loads: Arc<Loads>,
    /// This thread's part of them.
    load: Arc<Load>,
    /// When it was last given a command; the age of free connections counts from there.
    used: Cell<Instant>,
    idle: RefCell<Vec<(Box<Http1>, Instant)>>,
    two: RefCell<Option<(Http2, Instant)>>,
    /// The shared connection of ZeroMQ, and what it was made with.
    zmq: RefCell<Option<(Zmtp, Arc<Outlet>)>>,
    down: Cell<Option<Down>>,
    addresses: RefCell<Addresses>,
    around: Rc<Around>,
    /// One HTTP/2 connection at a time is being made; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

/// What the instances of one service have in common on one thread.
pub struct Around {
    /// The service.
    name: Arc<str>,
    /// Commands that wait for room.
    pub queue: Rc<Queue>,
    pool: Arc<Pool>,
    /// How an instance that has just come is spared.
    pub(super) slow_start: Cell<SlowStart>,
    /// Instances whose last connection failed.
    pub(super) suspects: Cell<u32>,
    /// How old a connection may get.
    pub(super) age: Cell<Duration>,
    /// How those of ZeroMQ are spoken to.
    pub(super) outlet: RefCell<Arc<Outlet>>,
    /// Where this process listens, which an instance may not turn out to be: commands would go round.
    pub(super) own: RefCell<Rc<[SocketAddr]>>,
    tell: Rc<dyn Tell>,
}

impl Around {
    /// A service without instances.
    pub fn new(name: Arc<str>, pool: Arc<Pool>, tell: Rc<dyn Tell>) -> Rc<Self> {
        Rc::new(Around {
            name,
            queue: Queue::new(pool.counter()),
            pool,
            slow_start: Cell::default(),
            suspects: Cell::new(0),
            age: Cell::new(Timeouts::default().upstream_age),
            outlet: RefCell::default(),
            own: RefCell::new(Rc::new([])),
            tell,
        })
    }
}

/// Where connections go.
#[derive(Default)]
struct Addresses {
    known: Arc<[SocketAddr]>,
    /// When they were looked up here; never, if they are given.
    looked_up: Option<Instant>,
    given: bool,
}

impl Endpoint {
    /// This thread's view of an instance.
    pub fn new(member: &Member, around: Rc<Around>) -> Rc<Self> {
        let endpoint = Endpoint {
            target: member.target.clone(),
            label: member.label.clone(),
            standing: member.standing.clone(),
            tls: member.tls.clone(),
            weight: Cell::default(),
            rank: Cell::default(),
            near: Cell::default(),
            ewma: Ewma::new(),
            awaited: Cell::default(),
            asked: Cell::default(),
            answered: Cell::default(),
            loads: member.load.clone(),
            load: member.load.join(),
            used: Cell::new(Instant::now()),
            idle: RefCell::default(),
            two: RefCell::default(),
            zmq: RefCell::default(),
            down: Cell::new(None),
            addresses: RefCell::default(),
            around,
            connecting: tokio::sync::Mutex::new(()),
        };
        endpoint.moved(member);
        Rc::new(endpoint)
    }

    /// Takes over what a new set says of it.
    pub(super) fn moved(&self, member: &Member) {
        self.weight.set(member.weight);
        self.rank.set(member.priority.into());
        self.near.set(member.near);
        if !member.addresses.is_empty() {
            *self.addresses.borrow_mut() = Addresses { known: member.addresses.clone(), looked_up: None, given: true };
        }
    }

    /// What all threads know of it.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// Commands that it holds now, of this thread.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a place for a command that is sent at once, if one of `max` is free; one at a time at an instance that has
    /// to prove itself.
    pub fn enter(self: &Rc<Self>, max: Option<u32>) -> Option<InFlight> {
        let max = self.places(max);
        if max.is_some_and(|max| !self.loads.take(max)) {
            return None;
        }
        let mut in_flight = InFlight::new(self, max.is_some());
        in_flight.trial = Some(self.standing.admit()?);
        Some(in_flight)
    }

    /// How many commands it may hold: one that takes one at a time is given no second, which would only lie there, unless
    /// that is wished.
    fn places(&self, max: Option<u32>) -> Option<u32> {
        if self.speaks_zmq() { self.loads.places(max, self.around.outlet.borrow().ahead) } else { max }
    }

    /// Whether one of `max` places is free.
    pub fn has_room(&self, max: Option<u32>) -> bool {
        self.places(max).is_none_or(|max| self.loads.has_room(max))
    }

    /// Whether it may be given a command now.
    pub fn available(&self, now: Instant) -> bool {
        self.standing.usable() && self.down.get().is_none_or(|d| d.until <= now)
    }

    /// Whether a command that is given to it now would have to prove it; those that may run twice do that, and after a
    /// while any.
    pub(super) fn is_trial(&self, now: Instant) -> bool {
        self.standing.next_try().is_some_and(|since| now < since + TRIALS_OF_ALL)
    }

    /// Whether its last connection failed.
    pub fn suspect(&self) -> bool {
        self.down.get().is_some()
    }

    /// When it may be tried next; none when it may not be before its check succeeds.
    pub fn next_try(&self) -> Option<Instant> {
        match self.down.get() {
            Some(down) => Some(down.until),
            None => self.standing.next_try(),
        }
    }

    /// It was reached.
    pub fn reached(&self) {
        if self.down.take().is_some() {
            self.around.suspects.set(self.around.suspects.get().saturating_sub(1));
        }
        self.standing.set_reached(true);
    }

    /// A connection to it failed.
    pub fn failed(&self, now: Instant) {
        let fails = self.down.get().map_or(0, |d| d.fails);
        // A REQ that waits has little patience, and a worker of ZeroMQ is beside us.
        let (first, last) = if self.speaks_zmq() { ZMQ_DOWN } else { (DOWN_FIRST, DOWN_LAST) };
        let pause = first.saturating_mul(1 << fails.min(6)).min(last);
        if self.down.replace(Some(Down { until: now + pause, fails: fails.saturating_add(1) })).is_none() {
            self.around.suspects.set(self.around.suspects.get().saturating_add(1));
        }
        self.standing.set_reached(false);
        // What was connected before belongs to the process that is gone.
        self.leave_connections();
        self.addresses.borrow_mut().looked_up = None;
    }

    /// It answered with this status, which says nothing of it if it is `excused`.
    pub fn answered(&self, passive: &Passive, status: u16, excused: bool, (sent, now): (Instant, Instant)) {
        self.asked.set((self.awaited.get() > 0).then_some(now));
        if status != TIMEOUT {
            self.answered.set(Some(now));
        }
        let took = now.saturating_duration_since(sent);
        // One that fails fast must not look fast.
        if status < 500 || self.ewma.get(now).is_none_or(|usual| took.as_secs_f64() > usual) {
            self.observe(took, now);
        }
        self.report(passive, if excused { Report::Nothing } else { Report::Status(status) });
    }

    /// Whether it has answered a command since then, by more than that its own time was over.
    pub fn has_answered_since(&self, then: Instant) -> bool {
        self.answered.get().is_some_and(|at| at >= then)
    }

    /// It took longer than this, and was not waited for.
    pub fn slower_than(&self, took: Duration, now: Instant) {
        if self.ewma.get(now).is_none_or(|usual| took.as_secs_f64() > usual) {
            self.observe(took, now);
        }
    }

    fn observe(&self, took: Duration, now: Instant) {
        let shown = self.ewma.observe(took, now) * 1e6;
        self.load.latency.store((shown as u32).max(1), Ordering::Relaxed);
    }

    /// Tells all threads what went wrong with a command.
    pub fn went_wrong(&self, passive: &Passive, report: Report, why: &str) {
        self.standing.say(why);
        self.report(passive, report);
    }

    /// Tells all threads what came of a command.
    pub fn report(&self, passive: &Passive, report: Report) {
        let service = &*self.around.name;
        match self.standing.report(passive, report, self.around.pool.floor()) {
            Change::Ejected(time) => {
                tracing::warn!(service, instance = &*self.label, "ejected for {time:?}: {report}");
                // Its connections may be as sick as it is.
                self.leave_connections();
            }
            Change::Spared => {
                tracing::warn!(service, instance = &*self.label, "not ejected, too few would be left: {report}");
            }
            Change::Back => tracing::info!(service, instance = &*self.label, "proved itself and is back"),
            Change::None | Change::Down => {}
        }
    }

    /// It is given a command; lets one exchange try a suspect instance while the others keep away.
    pub fn reserve(&self, now: Instant, until: Instant) {
        self.used.set(now);
        // Only this thread writes them.
        self.load.commands.store(self.load.commands.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if let Some(d) = self.down.get() {
            self.down.set(Some(Down { until, ..d }));
        }
    }

    /// A free connection that still stands, the one used last first.
    pub fn free(&self) -> Option<Box<Http1>> {
        loop {
            let (mut conn, since) = {
                let mut idle = self.idle.borrow_mut();
                let last = idle.pop()?;
                self.count_idle(idle.len());
                last
            };
            let now = self.used.get();
            let rested = now.saturating_duration_since(since);
            if conn.is_over(now, rested) {
                continue;
            }
            if conn.is_usable() && (rested <= RESTED || conn.is_silent()) {
                return Some(conn);
            }
        }
    }

    /// The shared HTTP/2 connection, if it stands.
    pub fn shared(&self) -> Option<Http2> {
        let mut two = self.two.borrow_mut();
        // What runs over one that is too old goes on: it ends with its last stream.
        if two.as_ref().is_some_and(|(conn, expires)| conn.is_closed() || *expires <= self.used.get()) {
            *two = None;
        }
        two.as_ref().map(|(conn, _)| conn.clone())
    }

    /// A new connection as its scheme says: its bytes, or those of a session over it.
    async fn connected(&self) -> io::Result<Socket> {
        let socket = self.open().await?;
        match &self.tls {
            None => Ok(socket),
            // Rare beside reuse, and large.
            Some(connector) => Box::pin(secure(socket, &self.target, connector)).await,
        }
    }

    /// A new connection's bytes, whatever its scheme is.
    pub async fn open(&self) -> io::Result<Socket> {
        let place = &self.target.place;
        if let Place::Tcp(host, port) = place {
            let stale = {
                let a = self.addresses.borrow();
                !a.given && a.looked_up.is_none_or(|at| at.elapsed() > RESOLVE_AGAIN)
            };
            if stale {
                match connect::resolve(host, *port).await {
                    Ok(found) => {
                        *self.addresses.borrow_mut() =
                            Addresses { known: found.into(), looked_up: Some(Instant::now()), given: false };
                    }
                    // The last good addresses are better than none.
                    Err(e) if self.addresses.borrow().known.is_empty() => return Err(e),
                    Err(_) => {}
                }
            }
        }
        let addresses = self.addresses.borrow().known.clone();
        if connect::reaches(&addresses, &self.around.own.borrow()) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "that is this Fourmi itself"));
        }
        connect::connect(place, &addresses).await
    }

    /// A new HTTP/1 connection.
    pub async fn fresh(&self) -> io::Result<Box<Http1>> {
        let mut conn = Http1::new(self.connected().await?, self.counted());
        conn.expire(self.expiry());
        Ok(conn)
    }

    /// A new HTTP/2 connection, shared from now on.
    pub async fn fresh_shared(&self) -> io::Result<Http2> {
        let _one = self.connecting.lock().await;
        if let Some(conn) = self.shared() {
            return Ok(conn);
        }
        let conn = Http2::handshake(self.connected().await?, self.counted()).await?;
        *self.two.borrow_mut() = Some((conn.clone(), self.expiry()));
        Ok(conn)
    }

    /// How it is spoken to in ZeroMQ.
    pub fn outlet(&self) -> Arc<Outlet> {
        self.around.outlet.borrow().clone()
    }

    /// Whether it gets the frames of a message and nothing else.
    pub fn takes_bare_messages(&self) -> bool {
        self.speaks_zmq() && self.around.outlet.borrow().frames.is_none()
    }

    /// The connection of ZeroMQ that its commands share, if it stands and was made as is wanted now.
    pub fn messages(&self, outlet: &Arc<Outlet>) -> Option<Zmtp> {
        let mut zmq = self.zmq.borrow_mut();
        let is_over = |(conn, known): &(Zmtp, Arc<Outlet>)| {
            conn.is_closed() || !(Arc::ptr_eq(known, outlet) || **known == **outlet)
        };
        if zmq.as_ref().is_some_and(is_over) {
            *zmq = None;
            // Whoever is there next may take one at a time.
            self.loads.takes_many(false);
        }
        zmq.as_ref().map(|(conn, _)| conn.clone())
    }

    /// A new one, shared from now on.
    pub async fn fresh_messages(&self, outlet: &Arc<Outlet>) -> io::Result<Zmtp> {
        let _one = self.connecting.lock().await;
        if let Some(conn) = self.messages(outlet) {
            return Ok(conn);
        }
        let conn = Zmtp::handshake(self.open().await?, outlet, self.counted()).await?;
        self.loads.takes_many(conn.takes_many());
        *self.zmq.borrow_mut() = Some((conn.clone(), outlet.clone()));
        Ok(conn)
    }

    /// When a connection made now is too old: a tenth sooner or later, so that not all end at once.
    fn expiry(&self) -> Instant {
        Instant::now() + self.around.age.get().mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    fn counted(&self) -> Counted {
        Counted::new(self.around.tell.clone(), ConnectionSide::Upstream)
    }

    /// Closes connections unused for longer than `age`.
    pub fn sweep(&self, now: Instant, age: Duration) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|(conn, since)| {
            let rested = now.saturating_duration_since(*since);
            rested <= age && !conn.is_over(now, rested)
        });
        if idle.is_empty() && idle.capacity() > 8 {
            idle.shrink_to_fit();
        }
        self.count_idle(idle.len());
        // What is shown of it forgets as the balancer does, and grows with its silence.
        if let Some(cost) = self.cost(now) {
            self.load.latency.store(((cost * 1e6) as u32).max(1), Ordering::Relaxed);
        }
    }

    fn count_idle(&self, n: usize) {
        self.load.idle.store(u32::try_from(n).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// No further command goes over a connection of before; what runs over a shared one goes on.
    fn leave_connections(&self) {
        self.idle.borrow_mut().clear();
        self.count_idle(0);
        *self.two.borrow_mut() = None;
        *self.zmq.borrow_mut() = None;
    }

    /// Whether it is spoken to in ZeroMQ.
    pub fn speaks_zmq(&self) -> bool {
        self.target.scheme == Scheme::Zmq
    }

    /// Whether it is spoken to in HTTP/2.
    pub fn speaks_two(&self) -> bool {
        self.target.scheme.is_two()
    }
}

impl Home for Endpoint {
    fn give_back(&self, conn: Box<Http1>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push((conn, self.used.get()));
        }
        self.count_idle(idle.len());
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.suspect() {
            self.around.suspects.set(self.around.suspects.get().saturating_sub(1));
        }
    }
}

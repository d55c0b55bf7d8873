//! One instance as one worker thread sees it: its free connections, its load, whether it answers.

use super::connect::{self, secure};
use super::target::{Place, Target};
use crate::codec::Socket;
use crate::codec::client::{Home, Http1, Http2};
use crate::exchange::{ConnectionSide, Counted, Tell};
use crate::tls::Connector;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

#[derive(Debug, Clone, Copy)]
struct Down {
    until: Instant,
    fails: u32,
}

/// What all threads know of an instance. Written when it changes, not per command.
#[derive(Debug)]
pub struct Standing {
    /// Whether its check lets commands through; always so without a check.
    pub ready: AtomicBool,
    /// Whether the last connection to it succeeded.
    pub reached: AtomicBool,
}

impl Standing {
    /// An instance that nobody has reached yet; `ready` is false when a check decides.
    pub fn new(ready: bool) -> Arc<Self> {
        Arc::new(Standing { ready: AtomicBool::new(ready), reached: AtomicBool::new(false) })
    }

    fn reached(&self, now: bool) {
        if self.reached.load(Ordering::Relaxed) != now {
            self.reached.store(now, Ordering::Relaxed);
        }
    }

    /// Whether commands may go to it.
    pub fn up(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && self.reached.load(Ordering::Relaxed)
    }
}

/// One instance.
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// The same as text, for records.
    pub label: Arc<str>,
    standing: Arc<Standing>,
    /// How its sessions are made, when its scheme wants them.
    pub(crate) tls: Option<Connector>,
    in_flight: Cell<u32>,
    /// When it was last given a command; the age of free connections counts from there.
    used: Cell<Instant>,
    idle: RefCell<Vec<(Box<Http1>, Instant)>>,
    two: RefCell<Option<Http2>>,
    down: Cell<Option<Down>>,
    addresses: RefCell<(Vec<SocketAddr>, Option<Instant>)>,
    /// Ports of this process, which a host that a caller merely names may not turn out to be.
    own: Rc<[u16]>,
    /// One HTTP/2 connection at a time is being made; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    tell: Rc<dyn Tell>,
}

impl Endpoint {
    /// `standing` is shared with the other threads and the checks.
    pub fn new(target: Target, standing: Arc<Standing>, tls: Option<Connector>, tell: Rc<dyn Tell>) -> Rc<Self> {
        Self::made(target, standing, tls, tell, Rc::new([]))
    }

    /// A host that a caller named: it may be any but this process.
    pub fn stranger(target: Target, standing: Arc<Standing>, tell: Rc<dyn Tell>, own: Rc<[u16]>) -> Rc<Self> {
        Self::made(target, standing, None, tell, own)
    }

    fn made(
        target: Target,
        standing: Arc<Standing>,
        tls: Option<Connector>,
        tell: Rc<dyn Tell>,
        own: Rc<[u16]>,
    ) -> Rc<Self> {
        let label: Arc<str> = target.to_string().into();
        Rc::new(Endpoint {
            target,
            label,
            standing,
            tls,
            in_flight: Cell::new(0),
            used: Cell::new(Instant::now()),
            idle: RefCell::default(),
            two: RefCell::default(),
            down: Cell::new(None),
            addresses: RefCell::default(),
            own,
            connecting: tokio::sync::Mutex::new(()),
            tell,
        })
    }

    /// Commands that it holds now, of this thread.
    pub fn load(&self) -> u32 {
        self.in_flight.get()
    }

    /// Whether it may be given a command now.
    pub fn available(&self, now: Instant) -> bool {
        self.standing.ready.load(Ordering::Relaxed) && self.down.get().is_none_or(|d| d.until <= now)
    }

    /// Whether its last connection failed.
    pub fn suspect(&self) -> bool {
        self.down.get().is_some()
    }

    /// When it may be tried next; none when it may not be before its check succeeds.
    pub fn next_try(&self) -> Option<Instant> {
        if self.standing.ready.load(Ordering::Relaxed) { self.down.get().map(|d| d.until) } else { None }
    }

    /// It was reached.
    pub fn reached(&self) {
        self.down.set(None);
        self.standing.reached(true);
    }

    /// A connection to it failed.
    pub fn failed(&self, now: Instant) {
        let fails = self.down.get().map_or(0, |d| d.fails);
        let pause = DOWN_FIRST.saturating_mul(1 << fails.min(6)).min(DOWN_LAST);
        self.down.set(Some(Down { until: now + pause, fails: fails.saturating_add(1) }));
        self.standing.reached(false);
        // What was connected before belongs to the process that is gone.
        self.close_idle();
        self.addresses.borrow_mut().1 = None;
    }

    /// It is given a command; lets one exchange try a suspect instance while the others keep away.
    pub fn reserve(&self, now: Instant, until: Instant) {
        self.used.set(now);
        if let Some(d) = self.down.get() {
            self.down.set(Some(Down { until, ..d }));
        }
    }

    /// A free connection that still stands, the one used last first.
    pub fn free(&self) -> Option<Box<Http1>> {
        loop {
            let (mut conn, since) = self.idle.borrow_mut().pop()?;
            let rested = self.used.get().saturating_duration_since(since) > RESTED;
            if conn.is_usable() && (!rested || conn.is_silent()) {
                return Some(conn);
            }
        }
    }

    /// The shared HTTP/2 connection, if it stands.
    pub fn shared(&self) -> Option<Http2> {
        let mut two = self.two.borrow_mut();
        if two.as_ref().is_some_and(Http2::is_closed) {
            *two = None;
        }
        two.clone()
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
            let stale = self.addresses.borrow().1.is_none_or(|at| at.elapsed() > RESOLVE_AGAIN);
            if stale {
                match connect::resolve(host, *port).await {
                    Ok(found) => *self.addresses.borrow_mut() = (found, Some(Instant::now())),
                    // The last good addresses are better than none.
                    Err(e) if self.addresses.borrow().0.is_empty() => return Err(e),
                    Err(_) => {}
                }
            }
        }
        let addresses = self.addresses.borrow().0.clone();
        if let Place::Tcp(_, port) = place
            && self.own.contains(port)
            && addresses.iter().any(|a| connect::is_this_machine(a.ip()))
        {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "that is this Fourmi itself"));
        }
        connect::connect(place, &addresses).await
    }

    /// A new HTTP/1 connection.
    pub async fn fresh(&self) -> io::Result<Box<Http1>> {
        Ok(Http1::new(self.connected().await?, self.counted()))
    }

    /// A new HTTP/2 connection, shared from now on.
    pub async fn fresh_shared(&self) -> io::Result<Http2> {
        let _one = self.connecting.lock().await;
        if let Some(conn) = self.shared() {
            return Ok(conn);
        }
        let conn = Http2::handshake(self.connected().await?, self.counted()).await?;
        *self.two.borrow_mut() = Some(conn.clone());
        Ok(conn)
    }

    fn counted(&self) -> Counted {
        Counted::new(self.tell.clone(), ConnectionSide::Upstream)
    }

    /// Closes connections unused for longer than `age`.
    pub fn sweep(&self, now: Instant, age: Duration) {
        let mut idle = self.idle.borrow_mut();
        // The oldest are first, since the last used is taken first.
        let stale = idle.iter().take_while(|(_, since)| now.saturating_duration_since(*since) > age).count();
        idle.drain(..stale);
        if idle.is_empty() && idle.capacity() > 8 {
            idle.shrink_to_fit();
        }
    }

    fn close_idle(&self) {
        self.idle.borrow_mut().clear();
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
    }
}

/// Counts one command at an instance for as long as it lives.
pub struct InFlight(Rc<Endpoint>);

impl InFlight {
    /// One more.
    pub fn new(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        InFlight(endpoint.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

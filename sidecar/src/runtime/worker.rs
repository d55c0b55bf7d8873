//! One worker thread: its runtime, its listeners, its connections. It shares nothing on the road.

mod first;
mod handshake;

use self::first::{First, read_first};
use self::handshake::Handshakes;
use super::listen::Bound;
use super::quiet::Quiet;
use crate::codec::server::{self, Ended, Life};
use crate::codec::{self, Socket, forwarded, zmtp};
use crate::config::Listener;
use crate::exchange::{ConnectionSide, Counted, Direction, FaultKind, deadline};
use crate::pipeline::{self, Blueprint, Door, Lane};
use crate::sink::Teller;
use crate::tls::Acceptor;
use slab::Slab;
use socket2::{SockRef, TcpKeepalive};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How often connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How long a connection may be silent before its caller is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a draining connection may send nothing.
const SILENT: Duration = Duration::from_secs(1);
/// How long accepting rests when the process is out of descriptors.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);
/// Callers over `limits.connections` that are given time to read their answer.
const LEAVING_MAX: usize = 64;

/// Of so many that cannot log in is told apart how often it was said.
const TOLD_APART: usize = 64;

/// What the control thread tells a worker thread. Each is answered when it has taken effect.
pub(super) enum Order {
    /// New exchanges take another road and tell other sinks.
    Follow(Arc<Blueprint>, Teller, oneshot::Sender<()>),
    /// Listen there too.
    Listen(Listener, Bound, Option<Acceptor>),
    /// Take messages there as this says, over the connections that there are as well.
    Take(Listener, oneshot::Sender<()>),
    /// Stop listening there; connections stay.
    Close(Listener, oneshot::Sender<()>),
    /// Stop listening and end connections of this direction when what runs has ended.
    Drain(Direction, oneshot::Sender<()>),
    /// End now.
    Stop,
}

/// Counts of the whole process.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) connections: AtomicUsize,
    pub(super) connections_max: AtomicUsize,
}

struct Worker {
    lane: Rc<Lane>,
    teller: Rc<super::teller::Swap>,
    shared: Arc<Shared>,
    connections: RefCell<Slab<(Rc<Gate>, Rc<Life>)>>,
    listeners: RefCell<Vec<(Rc<Gate>, JoinHandle<()>)>>,
    /// Handshakes that are not over, the oldest first.
    handshakes: Handshakes,
    trusted: RefCell<Arc<[ipnet::IpNet]>>,
    /// For what callers do wrong.
    quiet: Quiet,
    /// The same for those who cannot log in, by what is said of them.
    quiet_logins: RefCell<HashMap<String, Quiet>>,
    /// The same for handshakes.
    quiet_handshakes: Quiet,
    /// Callers that are turned away and still have to read it.
    leaving: Cell<usize>,
}

/// Runs a worker thread until it is told to stop.
pub(super) fn run(
    blueprint: Arc<Blueprint>,
    teller: Teller,
    listeners: Vec<(Listener, Bound, Option<Acceptor>)>,
    shared: Arc<Shared>,
    mut orders: mpsc::Receiver<Order>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async move {
        let teller = Rc::new(super::teller::Swap::new(teller));
        let worker = Rc::new(Worker {
            lane: Lane::new(&blueprint, teller.clone()),
            teller,
            shared,
            connections: RefCell::default(),
            listeners: RefCell::default(),
            handshakes: Handshakes::default(),
            trusted: RefCell::new(blueprint.trusted.clone()),
            quiet: Quiet::default(),
            quiet_logins: RefCell::default(),
            quiet_handshakes: Quiet::default(),
            leaving: Cell::new(0),
        });
        tokio::task::spawn_local(deadline::tick());
        tokio::task::spawn_local(sweep(worker.clone()));
        if let Some(spool) = &blueprint.spool {
            tokio::task::spawn_local(pipeline::pump(worker.lane.clone(), spool.clone()));
        }
        for (listener, bound, acceptor) in listeners {
            worker.listen(listener, bound, acceptor)?;
        }
        while let Some(order) = orders.recv().await {
            match order {
                Order::Follow(blueprint, teller, done) => {
                    *worker.trusted.borrow_mut() = blueprint.trusted.clone();
                    worker.lane.follow(&blueprint);
                    worker.teller.swap(teller);
                    let _ = done.send(());
                }
                Order::Listen(listener, bound, acceptor) => worker.listen(listener, bound, acceptor)?,
                Order::Take(listener, done) => {
                    worker.take(&listener);
                    let _ = done.send(());
                }
                Order::Close(listener, done) => {
                    worker.close(|l| l.is_at(&listener)).await;
                    let _ = done.send(());
                }
                Order::Drain(direction, done) => {
                    tokio::task::spawn_local(drain(worker.clone(), direction, done));
                }
                Order::Stop => break,
            }
        }
        Ok(())
    })
}

async fn sweep(worker: Rc<Worker>) {
    let mut burst = Burst::default();
    loop {
        tokio::time::sleep(SWEEP).await;
        if burst.is_over(worker.connections.borrow().len()) || zmtp::room::is_over() {
            codec::shed();
            fourmi_trim::give_back();
        }
        let now = Instant::now();
        let timeouts = worker.lane.road().timeouts.clone();
        for (_, (_, life)) in worker.connections.borrow().iter() {
            life.check(now, &timeouts);
        }
        worker.lane.sweep(now);
    }
}

/// Notices that many connections came and went.
#[derive(Default)]
struct Burst {
    most: usize,
    calm: u32,
}

impl Burst {
    /// Connections that are a burst.
    const MANY: usize = 100;
    /// Looks in a row that found few left.
    const CALM: u32 = 4;

    fn is_over(&mut self, now: usize) -> bool {
        self.most = self.most.max(now);
        if self.most < Self::MANY || now > self.most / 4 {
            self.calm = 0;
            return false;
        }
        self.calm += 1;
        let over = self.calm >= Self::CALM;
        if over {
            *self = Burst { most: now, calm: 0 };
        }
        over
    }
}

async fn drain(worker: Rc<Worker>, direction: Direction, done: oneshot::Sender<()>) {
    worker.close(|l| l.direction == direction).await;
    let began = Instant::now();
    loop {
        let mut left = 0;
        for (_, (gate, life)) in worker.connections.borrow().iter() {
            if gate.listener.direction == direction {
                life.drain();
                // Half a head, or none at all, is nothing to wait for.
                if life.is_idle() && began.elapsed() > SILENT {
                    life.close();
                }
                left += 1;
            }
        }
        if left == 0 {
            let _ = done.send(());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Worker {
    /// Says why a message was refused that never became a command; the caller is told in its answer.
    fn tell_refused(&self, peer: Option<SocketAddr>, why: &str) {
        let Some(more) = self.quiet.may_speak(Instant::now()) else { return };
        let peer = shown(peer);
        tracing::warn!(peer, kept_back = more, "refused a message: {why}");
    }

    /// Says who was not let in.
    fn tell_login(&self, peer: Option<SocketAddr>, why: &str) {
        let mut quiet = self.quiet_logins.borrow_mut();
        // One that comes again and again hides nobody else.
        if quiet.len() >= TOLD_APART && !quiet.contains_key(why) {
            quiet.clear();
        }
        let Some(more) = quiet.entry(why.to_owned()).or_default().may_speak(Instant::now()) else { return };
        let peer = shown(peer);
        tracing::warn!(peer, kept_back = more, "refused a client of ZeroMQ: {why}");
    }

    /// Counts a handshake that failed, and says why.
    fn handshake_failed(&self, peer: Option<SocketAddr>, why: &str) {
        self.lane.rejected("tls");
        let Some(more) = self.quiet_handshakes.may_speak(Instant::now()) else { return };
        let peer = shown(peer);
        tracing::warn!(peer, kept_back = more, "no TLS with a caller: {why}");
    }

    fn listen(self: &Rc<Self>, listener: Listener, bound: Bound, acceptor: Option<Acceptor>) -> io::Result<()> {
        let messages = zmtp::server::Terms::new(&listener.inlet);
        let gate = Rc::new(Gate { local: bound.local(), listener, acceptor, messages });
        let open = match bound {
            Bound::Tcp(l) => Open::Tcp(TcpListener::from_std(l)?),
            Bound::Unix(l) => Open::Unix(UnixListener::from_std(l)?),
        };
        let accepting = tokio::task::spawn_local(accept(self.clone(), gate.clone(), open));
        self.listeners.borrow_mut().push((gate, accepting));
        Ok(())
    }

    /// Takes messages in another way from now on.
    fn take(&self, listener: &Listener) {
        for (gate, _) in self.listeners.borrow().iter().filter(|(gate, _)| gate.listener.is_at(listener)) {
            gate.messages.change(&listener.inlet);
            for (_, (_, life)) in self.connections.borrow().iter().filter(|(_, (at, _))| Rc::ptr_eq(at, gate)) {
                life.nudge();
            }
        }
    }

    /// Stops listening; resolves when the sockets are closed.
    async fn close(&self, which: impl Fn(&Listener) -> bool) {
        let mut ended = Vec::new();
        self.listeners.borrow_mut().retain_mut(|(gate, accepting)| {
            let gone = which(&gate.listener);
            if gone {
                ended.push(std::mem::replace(accepting, tokio::task::spawn_local(async {})));
            }
            !gone
        });
        for accepting in ended {
            accepting.abort();
            let _ = accepting.await;
        }
    }
}

/// A listener as its connections know it.
struct Gate {
    listener: Listener,
    /// Its own address, when it is TCP.
    local: Option<SocketAddr>,
    /// What it shakes hands with, when it encrypts.
    acceptor: Option<Acceptor>,
    /// How it speaks ZeroMQ now.
    messages: Rc<zmtp::server::Terms>,
}

fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a unix socket".to_owned(), |p| p.to_string())
}

enum Open {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Open {
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Open::Tcp(l) => {
                let (stream, peer) = l.accept().await?;
                stream.set_nodelay(true)?;
                // A caller that vanished without a word is noticed in half a minute.
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Socket::Tcp(stream), Some(peer)))
            }
            Open::Unix(l) => Ok((Socket::Unix(l.accept().await?.0), None)),
        }
    }
}

async fn accept(worker: Rc<Worker>, gate: Rc<Gate>, open: Open) {
    // Kept to be given up when descriptors run out, so that a caller can be turned away rather than left hanging.
    let mut spare = std::fs::File::open("/dev/null").ok();
    loop {
        match open.accept().await {
            Ok((socket, peer)) => {
                let taken = worker.shared.connections.fetch_add(1, Ordering::Relaxed);
                if taken >= worker.shared.connections_max.load(Ordering::Relaxed) {
                    worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
                    worker.lane.rejected(FaultKind::Overloaded.code());
                    // Before a handshake there is nothing that a caller would understand.
                    if gate.acceptor.is_none() {
                        tokio::task::spawn_local(turn_away(worker.clone(), socket));
                    }
                    continue;
                }
                tokio::task::spawn_local(connection(worker.clone(), gate.clone(), socket, peer));
            }
            Err(e) if e.raw_os_error().is_some_and(|n| n == nix::libc::EMFILE || n == nix::libc::ENFILE) => {
                worker.lane.rejected("descriptors");
                drop(spare.take());
                let _ = tokio::time::timeout(Duration::from_millis(1), open.accept()).await;
                spare = std::fs::File::open("/dev/null").ok();
                tracing::warn!("out of file descriptors; raise `ulimit -n` or lower limits.connections");
                tokio::time::sleep(NO_DESCRIPTORS).await;
            }
            // The caller was gone before we took it; others may be fine.
            Err(e) => tracing::debug!("accept: {e}"),
        }
    }
}

async fn turn_away(worker: Rc<Worker>, socket: Socket) {
    let problem = r#"{"type":"urn:fourmi:error:overloaded","title":"Too much at once","status":503,"detail":"limits.connections","fault":"fourmi"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         server: fourmi\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    part(&worker, socket, &answer).await;
}

/// Gives a last answer and closes.
async fn part(worker: &Worker, mut socket: Socket, answer: &str) {
    let told = async {
        socket.write_all(answer.as_bytes()).await?;
        if worker.leaving.get() < LEAVING_MAX {
            // What it has sent is read, or the system would take the answer back with a reset.
            let _here = Leaving::new(&worker.leaving);
            socket.shutdown().await?;
            let mut rest = [0; 1024];
            while socket.read(&mut rest).await? > 0 {}
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}

/// One of those that are leaving.
struct Leaving<'a>(&'a Cell<usize>);

impl<'a> Leaving<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Leaving(count)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Takes itself out of every count when the connection ends, however it ends; a tunnel holds it by its door.
struct Present {
    worker: Rc<Worker>,
    key: usize,
    _counted: Counted,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().remove(self.key);
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connection(worker: Rc<Worker>, gate: Rc<Gate>, mut socket: Socket, mut peer: Option<SocketAddr>) {
    let life = Life::new();
    let listener = &gate.listener;
    let key = worker.connections.borrow_mut().insert((gate.clone(), life.clone()));
    let counted = Counted::new(worker.lane.tell.clone(), ConnectionSide::Client);
    let present = Present { worker: worker.clone(), key, _counted: counted };
    let trusted_net = worker.trusted.borrow().clone();
    // A unix socket's peer is on this machine.
    let mut trusted = peer.is_none_or(|p| forwarded::is_trusted(p.ip(), &trusted_net));
    let road = worker.lane.road();
    let by = Instant::now() + road.timeouts.head;
    let begin = read_first(&mut socket, listener.proxy_protocol && trusted, gate.acceptor.is_some());
    let begun = tokio::select! {
        begun = deadline::until(by, begin) => begun,
        () = life.ending() => return,
    };
    let mut first = match begun {
        Ok(Ok(First { bytes, source })) => {
            if let Some(source) = source {
                peer = Some(source);
                trusted = forwarded::is_trusted(source.ip(), &trusted_net);
            }
            bytes
        }
        Ok(Err(why)) => {
            if let Some(why) = why {
                worker.lane.rejected("proxy-protocol");
                tracing::warn!(peer = ?peer, "refused a connection: {why}");
            }
            return;
        }
        Err(deadline::Elapsed) => return,
    };
    if first.is_empty() {
        return;
    }
    let (mut identity, mut names, mut sni, mut session) = (None, None, None, None);
    if let Some(acceptor) = &gate.acceptor {
        // Large, and once a connection.
        let encrypted = Box::pin(handshake::encrypt(&worker, acceptor, socket, first, peer, (&life, by))).await;
        let Some(encrypted) = encrypted else { return };
        (socket, first) = encrypted;
        (sni, session) = (socket.server_name(), socket.session());
        if let Some(proved) = socket.peer() {
            trusted = true;
            (identity, names) = (proved.identity, Some(proved.names));
        }
    }
    let limits = road.limits.clone();
    drop(road);
    let message = gate.acceptor.is_none() && first.first() == Some(&zmtp::server::FIRST);
    if listener.messages && !message {
        worker.lane.rejected(FaultKind::BadRequest.code());
        worker.tell_refused(peer, "what it sent is not ZeroMQ's, and nothing else is spoken there");
        return;
    }
    let door = Rc::new(Door {
        direction: listener.direction,
        local: gate.local,
        peer,
        trusted,
        secure: gate.acceptor.is_some(),
        session,
        sni,
        identity,
        names,
        life: life.clone(),
        _present: Box::new(present),
    });
    let lane = worker.lane.clone();
    let travel = move |incoming| pipeline::travel(lane.clone(), door.clone(), incoming);
    let ended = match message {
        true => {
            let terms = gate.messages.clone();
            Box::pin(zmtp::server::serve((socket, first), terms, life, travel)).await
        }
        false => server::serve(socket, first, &limits, life, travel).await,
    };
    match ended {
        Ended::Malformed(why) => {
            worker.lane.rejected(FaultKind::BadRequest.code());
            worker.tell_refused(peer, why);
        }
        Ended::HeadTooLarge => {
            worker.lane.rejected(FaultKind::HeadTooLarge.code());
            worker.tell_refused(peer, "its head is over limits.head or limits.headers");
        }
        Ended::Refused(why) => {
            worker.lane.rejected(FaultKind::BadRequest.code());
            worker.tell_refused(peer, &why);
        }
        Ended::Login(who) => {
            worker.lane.rejected("login");
            worker.tell_login(peer, &who);
        }
        Ended::Well | Ended::Broken => {}
    }
}

//! From a plan to running threads, and back to nothing: start, reload, drain, stop.
//!
//! The main thread is the control thread (signals, admin, sinks' senders, checks, the worker process); every data
//! thread runs [`worker::run`].

mod blueprint;
mod certificates;
mod child;
mod gateway;
mod keeper;
mod limits;
mod listen;
mod losses;
mod quiet;
mod registry;
mod said;
mod service;
mod services;
mod signals;
mod spool;
mod targets;
mod teller;
mod upstreams;
mod worker;

pub(crate) use limits::possible as possible_connections;
pub(crate) use listen::is_free;

use crate::config::{self, Listener, LoadOptions, Loaded, Plan};
use crate::exchange::Direction;
use crate::lines::Lines;
use crate::sink::{EventKind, Hub};
use keeper::Keeper;
use std::ffi::OsString;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use worker::Order;

/// What `fourmi run` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the configuration comes from.
    pub load: LoadOptions,
    /// The worker to start and watch, after `--`.
    pub command: Vec<OsString>,
    /// No banner.
    pub quiet: bool,
    /// Who knows what the command line says, for the admin listener.
    pub said: Said,
}

/// Says what would happen to a command, method and URL and header lines, by a plan; the error says what makes no sense.
pub type Explain = fn(&Plan, &[String], &[String]) -> Result<serde_json::Value, String>;

/// What the command line would say, asked from inside: whoever runs Fourmi lends its words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// `fourmi check`, of this configuration and this process.
    pub check: Option<fn(&LoadOptions, &crate::admin::Inside<'_>) -> serde_json::Value>,
    /// `fourmi explain`.
    pub explain: Option<Explain>,
}

/// Exit codes (sysexits where they fit).
mod code {
    pub(super) const OK: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const CANNOT_LISTEN: u8 = 1;
    pub(super) const PERMISSION: u8 = 77;
    pub(super) const FORCED: u8 = 130;
}

/// Orders a worker thread may have waiting.
const ORDERS: usize = 16;
/// How long the last records and sums may take to leave.
const FLUSH: Duration = Duration::from_secs(2);
/// What the last parts of a stop get at least, when the grace is used up.
const LAST: Duration = Duration::from_secs(1);
/// When what only the start needed may leave memory.
const STARTED: Duration = Duration::from_millis(200);
/// How long a worker gets to end after SIGQUIT.
const QUIT: Duration = Duration::from_secs(1);

/// Runs until a signal or the worker's end; returns the exit code.
pub fn run(options: Options) -> u8 {
    let loaded = match config::load(&options.load) {
        Ok(loaded) => loaded,
        Err(report) => {
            tracing::error!("{report}");
            return report.exit();
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.plain().trim_end());
    }
    let files = limits::raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
        Ok(runtime) => runtime,
        Err(e) => {
            tracing::error!("cannot start: {e}");
            return code::FAILED;
        }
    };
    let code = runtime.block_on(live(options, loaded, files));
    // A write to a pipe that nobody reads must not keep the process.
    runtime.shutdown_background();
    code
}

async fn live(options: Options, loaded: Loaded, files: u64) -> u8 {
    let plan = loaded.plan.clone();
    let spool = match spool::open(&plan) {
        Ok(spool) => spool,
        Err((why, code)) => {
            tracing::error!("{why}");
            return code;
        }
    };
    let (hub, tellers) = Hub::new(&plan.identity, &plan.told(), &plan.metrics, plan.threads);
    let hub = Rc::new(hub);
    let lines = Lines::new(hub.clone());
    let keeper =
        Rc::new(Keeper::new(options.load.clone(), loaded, hub.clone(), lines, files, spool).saying(options.said));
    keeper.allow_connections(&plan);

    // Listen first: a port that is taken ends the start before anything else has begun.
    let mut bound = Vec::new();
    for listener in &plan.listeners {
        match listen::bind(&listener.bind, plan.threads) {
            Ok(sockets) => match keeper.certificates.open(listener) {
                Ok(acceptor) => bound.push((listener.clone(), sockets, acceptor)),
                Err(why) => {
                    tracing::error!("cannot listen on {}: {why}", listener.url());
                    return code::FAILED;
                }
            },
            Err(e) => {
                tracing::error!("{}", listen::explain(&listener.bind, &e));
                return cannot_listen(&e);
            }
        }
    }
    let admin = match &plan.admin {
        None => None,
        Some(admin) => {
            let bind = config::Bind::Tcp(admin.listen);
            match tokio::net::TcpListener::bind(admin.listen).await {
                Ok(listener) => Some(listener),
                Err(e) => {
                    tracing::error!("{} (admin.listen)", listen::explain(&bind, &e));
                    return cannot_listen(&e);
                }
            }
        }
    };

    if let Err((message, e)) = keeper.lines.follow(&plan.worker_logs, &plan.logs, &plan.show.redactor) {
        tracing::error!("{message}");
        return cannot_listen(&e);
    }

    if let Err(e) = keeper.discover(&plan).await {
        tracing::error!("{e}");
        return cannot_listen(&e);
    }
    hub.start();
    let drawing = Arc::new(keeper.draw(&plan));
    let mut threads = Vec::new();
    for (n, teller) in tellers.into_iter().enumerate() {
        let one = |(l, s, a): &mut (Listener, Vec<_>, Option<_>)| s.pop().map(|s| (l.clone(), s, a.clone()));
        let mine = bound.iter_mut().filter_map(one).collect::<Vec<_>>();
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (drawing, shared) = (drawing.clone(), keeper.shared.clone());
        let (ended, has_ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("fourmi-{n}")).spawn(move || {
            let result = worker::run(drawing, teller, mine, shared, inbox);
            let _ = ended.send(result);
        });
        match thread {
            Ok(_) => threads.push((orders, has_ended)),
            Err(e) => {
                tracing::error!("cannot start a thread: {e}");
                return code::FAILED;
            }
        }
    }
    let (orders, ends): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
    keeper.begin(orders);
    keeper.watch_spool();
    keeper.check();
    keeper.publish(&keeper.changed());
    tokio::task::spawn_local(registry::watch(keeper.clone(), keeper.changed()));
    tokio::task::spawn_local(losses::watch_sinks(keeper.clone()));
    tokio::task::spawn_local(certificates::watch(keeper.clone()));
    tokio::task::spawn_local(spool::schedule(keeper.clone()));
    if let Some(listener) = admin {
        tokio::task::spawn_local(crate::admin::serve(listener, Rc::new(keeper.clone())));
    }
    if !options.quiet {
        banner(&plan, &options.load);
    }
    let version = concat!("version ", env!("CARGO_PKG_VERSION")).to_owned();
    keeper.event(format!("{}: fourmi is up", keeper.service()), version, EventKind::Success, None);
    tokio::task::spawn_local(async {
        tokio::time::sleep(STARTED).await;
        fourmi_trim::forget_start();
        fourmi_trim::give_back();
    });
    let mut ends = ends;
    let code = serve(&keeper, &options, &mut ends).await;
    keeper.order(|| Order::Stop).await;
    // What is cut now is told as cancelled by the threads as they end; only then the sinks are emptied.
    let _ = tokio::time::timeout(LAST, all(&mut ends)).await;
    keeper.close_spool();
    keeper.lines.finish().await;
    let kind = if code == code::OK { EventKind::Info } else { EventKind::Error };
    keeper.event(format!("{}: fourmi stops", keeper.service()), format!("exit code {code}"), kind, None);
    hub.shutdown(FLUSH).await;
    keeper.undiscover().await;
    keeper.tell_losses();
    keeper.remove_sockets();
    tracing::info!(code, "stopped");
    code
}

fn cannot_listen(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::PermissionDenied { code::PERMISSION } else { code::CANNOT_LISTEN }
}

/// Serves until a signal, a stop, or the end of the worker process.
async fn serve(keeper: &Rc<Keeper>, options: &Options, ends: &mut Ends) -> u8 {
    let mut signals = match signals::Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            tracing::error!("cannot listen to signals: {e}");
            return code::FAILED;
        }
    };
    let captured = match options.command.is_empty() {
        true => Ok(None),
        false => keeper.lines.capture(&keeper.plan().worker_logs),
    };
    let captured = captured.unwrap_or_else(|e| {
        tracing::warn!("the worker's output cannot be captured and stays as it is: {e}");
        None
    });
    let mut child = match child::Child::start(&options.command, captured) {
        Ok(child) => child,
        Err((e, code)) => {
            tracing::error!("{e}");
            return code;
        }
    };
    if std::process::id() == 1 {
        tokio::task::spawn_local(child::reap_orphans(child.id()));
    }
    let mut thread_ended = std::pin::pin!(any(ends));
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                signals::Signal::Reload => {
                    let keeper = keeper.clone();
                    tokio::task::spawn_local(async move { let _ = keeper.reload().await; });
                }
                signals::Signal::Dump => tracing::info!(state = %keeper.state(), "asked by SIGUSR2"),
                signals::Signal::User(n) => child.signal(n),
                signals::Signal::Quit => {
                    child.signal(nix::libc::SIGTERM);
                    let code = tokio::time::timeout(QUIT, child.ended_if_any()).await;
                    return code.ok().flatten().unwrap_or(code::OK);
                }
                signals::Signal::Stop(name) => {
                    tracing::info!("{name}: draining; a second signal stops at once");
                    break;
                }
            },
            () = keeper.stop_asked() => {
                tracing::info!("stop asked by the admin API: draining");
                break;
            }
            code = child.ended() => {
                tracing::info!(code, "the worker ended");
                drain(keeper, Direction::Outbound, LAST).await;
                return code;
            }
            result = &mut thread_ended => {
                if let Some(e) = result {
                    tracing::error!("a worker thread ended: {e}");
                }
                return code::FAILED;
            }
        }
    }
    keeper.stopping();
    keeper.rest();
    let grace = keeper.plan().timeouts.drain;
    let graceful = async {
        // What others send ends first; the worker may still need others while it finishes.
        let by = Instant::now() + grace;
        // Who looks us up must have noticed before nobody listens any more.
        if let Some(unnoticed) = keeper.leave() {
            tokio::time::sleep(unnoticed.min(grace / 2)).await;
        }
        drain(keeper, Direction::Inbound, by.saturating_duration_since(Instant::now())).await;
        keeper.drain_spool(by).await;
        child.signal(nix::libc::SIGTERM);
        let left = by.saturating_duration_since(Instant::now()).max(LAST);
        let code = match tokio::time::timeout(left, child.ended_if_any()).await {
            Ok(code) => code,
            Err(_) => {
                tracing::warn!("the worker did not end in time (timeouts.drain) and is killed");
                child.signal(nix::libc::SIGKILL);
                child.ended_if_any().await
            }
        };
        drain(keeper, Direction::Outbound, by.saturating_duration_since(Instant::now()).max(LAST)).await;
        code
    };
    let second = async {
        loop {
            if let signals::Signal::Stop(_) | signals::Signal::Quit = signals.next().await {
                return;
            }
        }
    };
    let forced = {
        let mut graceful = std::pin::pin!(graceful);
        tokio::select! {
            code = &mut graceful => Ok(code),
            () = second => Err(()),
        }
    };
    match forced {
        Ok(code) => code.unwrap_or_else(|| child.ended_or(code::OK)),
        Err(()) => {
            tracing::warn!("second signal: stopped at once");
            child.signal(nix::libc::SIGKILL);
            code::FORCED
        }
    }
}

async fn drain(keeper: &Keeper, direction: Direction, grace: Duration) {
    let all = keeper.drain_all(direction);
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!(direction = direction.as_str(), "not everything ended within {grace:?} (timeouts.drain)");
    }
}

/// How each worker thread ended, once it has.
type Ends = Vec<oneshot::Receiver<std::io::Result<()>>>;

/// Waits for every thread.
async fn all(ends: &mut Ends) {
    for end in ends {
        let _ = end.await;
    }
}

/// The first of the threads to end.
async fn any(ends: &mut Ends) -> Option<std::io::Error> {
    std::future::poll_fn(|cx| {
        for i in 0..ends.len() {
            if let std::task::Poll::Ready(result) = std::pin::Pin::new(&mut ends[i]).poll(cx) {
                // It must not be asked again.
                ends.swap_remove(i);
                return std::task::Poll::Ready(match result {
                    Ok(Err(e)) => Some(e),
                    Ok(Ok(())) => None,
                    Err(_) => Some(std::io::Error::other("it panicked")),
                });
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Where the configuration came from, for people.
fn origin(plan: &Plan, load: &LoadOptions) -> String {
    match (&plan.origin, &load.path) {
        (Some(file), _) => file.display().to_string(),
        (None, Some(_)) => "standard input".into(),
        (None, None) => "built-in defaults: no file was found".into(),
    }
}

fn banner(plan: &Plan, load: &LoadOptions) {
    let listeners: Vec<String> =
        plan.listeners.iter().map(|l| format!("{} {}", l.direction.as_str(), l.url())).collect();
    let origin = origin(plan, load);
    let admin = plan.admin.as_ref().map_or("off".into(), |a| format!("http://{}/", a.listen));
    tracing::info!(
        service = &*plan.identity.service,
        version = env!("CARGO_PKG_VERSION"),
        config = origin,
        listeners = listeners.join(", "),
        admin,
        "fourmi is up"
    );
    for (what, all) in plan.discovery.iter().flat_map(|d| [("DNS", &d.dns), ("Consul's HTTP API", &d.http)]) {
        all.iter().for_each(|at| tracing::info!("{what} at {at}"));
    }
    if plan.listeners.is_empty() && plan.discovery.is_none() {
        tracing::warn!("no `worker:` and no `outbound:`: nothing will be proxied");
    }
}

//! The thread: names, the API, checks, and following another registry.

use super::ORDERS;
use crate::registry::{Other, Place, Settings};
use crate::sink::Queries;
use crate::tls::{Acceptor, system};
use fourmi_discovery::join::{self, Joined, Status};
use fourmi_discovery::{Limits, Registry, Store, checks, dns, etcd, http};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// What the thread is told.
pub(super) enum Order {
    Answer(Arc<Settings>),
    Stop,
}

/// What it says when it has begun.
pub(super) struct Begun {
    pub(super) counts: Queries,
    /// Our own instances, when another registry is followed, and how that goes.
    pub(super) joined: Option<(Registry, watch::Receiver<Status>)>,
}

/// Begins it; when this returns, names are answered. Also returns what says that it has ended.
pub(super) async fn begin(
    registry: Registry,
    store: Option<Arc<Store>>,
    settings: Arc<Settings>,
    (own, tls): (Vec<SocketAddr>, Option<Acceptor>),
) -> io::Result<(Begun, mpsc::Sender<Order>, oneshot::Receiver<()>)> {
    let (orders, inbox) = mpsc::channel(ORDERS);
    let (started, has_started) = oneshot::channel();
    let (ended, has_ended) = oneshot::channel();
    std::thread::Builder::new().name("discovery".into()).spawn(move || {
        let looks = checks::Options {
            trust: checks::Trust::new((*system()).clone()).keep_off(own),
            ..checks::Options::default()
        };
        let tls = tls.map(|tls| http::Tls::new(move || tls.for_http1()));
        live(registry, store.clone(), (&settings, looks, tls), started, inbox);
        // What is not written yet is written now.
        drop(store);
        let _ = ended.send(());
    })?;
    let begun = has_started.await.map_err(|_| io::Error::other("the registry's thread ended"))??;
    Ok((begun, orders, has_ended))
}

/// Opens what registrations are kept in.
pub(super) async fn open(place: &Place) -> io::Result<Option<Store>> {
    match place {
        Place::Memory => Ok(None),
        Place::File(path) => {
            make_folder(path)?;
            Store::open(path, Limits::default()).map(Some).map_err(io::Error::other)
        }
        Place::Etcd(settings, tls) => {
            let tls = tls.as_ref().map(|tls| tls.config()).transpose().map_err(io::Error::other)?;
            let settings = etcd::Settings { tls, ..(**settings).clone() };
            Store::etcd(settings, Limits::default()).await.map(Some).map_err(io::Error::other)
        }
    }
}

fn make_folder(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|e| {
        let what = format!("cannot create the registry's folder {}: {e} (discovery.store)", folder.display());
        io::Error::new(e.kind(), what)
    })
}

fn live(
    registry: Registry,
    store: Option<Arc<Store>>,
    (settings, looks, tls): (&Settings, checks::Options, Option<http::Tls>),
    started: oneshot::Sender<io::Result<Begun>>,
    mut orders: mpsc::Receiver<Order>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return drop(started.send(Err(e))),
    };
    runtime.block_on(async {
        let answering = match Answering::begin(registry, store, settings, (looks, tls)).await {
            Ok(answering) => answering,
            Err(e) => return drop(started.send(Err(e))),
        };
        if started.send(Ok(answering.begun())).is_err() {
            return;
        }
        while let Some(order) = orders.recv().await {
            match order {
                Order::Answer(settings) => answering.follow(&settings),
                Order::Stop => break,
            }
        }
        if let Some(joined) = answering.joined {
            joined.stop().await;
        }
    });
    runtime.shutdown_background();
}

/// Everything that the thread does.
struct Answering {
    names: dns::Server,
    api: Option<http::Server>,
    joined: Option<Joined>,
    tls: Option<http::Tls>,
}

impl Answering {
    async fn begin(
        registry: Registry,
        store: Option<Arc<Store>>,
        settings: &Settings,
        (looks, tls): (checks::Options, Option<http::Tls>),
    ) -> io::Result<Answering> {
        let joined = match &settings.join {
            Some(other) => Some(join_in(other, settings, looks, &registry)?),
            None => {
                tokio::spawn(checks::run(registry.clone(), looks));
                None
            }
        };
        let names = dns::Server::bind(&settings.dns, registry.clone(), settings.answers.clone()).await?;
        let said = http::Settings { tls: tls.clone(), ..settings.api.clone() };
        let api = match &joined {
            _ if settings.http.is_empty() => None,
            Some(joined) => Some(http::Server::start_joined(&settings.http, joined, said).await?),
            None => Some(http::Server::start(&settings.http, registry, store, said).await?),
        };
        Ok(Answering { names, api, joined, tls })
    }

    fn begun(&self) -> Begun {
        let counter = self.names.counter();
        Begun {
            counts: Arc::new(move || counter.all().collect()),
            joined: self.joined.as_ref().map(|joined| (joined.own().clone(), joined.watch())),
        }
    }

    fn follow(&self, settings: &Settings) {
        self.names.reload(settings.answers.clone());
        if let Some(api) = &self.api {
            api.reload(http::Settings { tls: self.tls.clone(), ..settings.api.clone() });
        }
    }
}

fn join_in(other: &Other, settings: &Settings, checks: checks::Options, registry: &Registry) -> io::Result<Joined> {
    let tls = other.tls.as_ref().map(|tls| tls.config()).transpose().map_err(io::Error::other)?;
    let mut register = settings.services.clone();
    // There it lives on another node, which is not where this one is.
    if let Some(zone) = settings.node.meta.get("zone") {
        for (instance, _) in &mut register {
            instance.meta.entry("zone".into()).or_insert_with(|| zone.clone());
        }
    }
    let own = join::Settings { tls, register, checks, ..other.settings.clone() };
    Joined::start(own, registry.clone()).map_err(io::Error::other)
}

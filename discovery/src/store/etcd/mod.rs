//! Shares a registry through etcd (3.4 and later), by its JSON gateway.
//!
//! The registry in memory is all that is read; what others write comes by watch. What is registered is kept for good.
//! How things are is told by the registry of each node under its lease, so that what lives on a node whose registry is
//! gone is critical for all. While etcd is away nobody is judged, and nothing is registered. The keys, and what happens
//! when, are in `docs/etcd.md`.

mod client;
mod keys;
mod leased;
mod pairs;
mod read;
mod rows;
mod settings;
mod ttl;
mod view;
mod wire;
mod work;
mod write;

use super::Standing;
use crate::registry::{Limits, Owners, Registry};
use client::Client;
use keys::Layout;
pub use settings::{Settings, SkyDns, Unusable};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use work::{Report, Work};

/// Orders of keys and values that may wait; further ones wait before.
const ORDERS: usize = 64;

/// A registry that is shared through etcd.
#[derive(Debug)]
pub(crate) struct Store {
    registry: Registry,
    report: watch::Receiver<Report>,
    stop: Option<watch::Sender<()>>,
    worker: Option<JoinHandle<()>>,
}

impl Store {
    pub(crate) async fn start(settings: Settings, limits: Limits) -> Result<Self, Unusable> {
        let layout = Layout::new(&settings)?;
        let client = Client::new(&settings)?;
        // Keys and values have etcd's numbers.
        let registry = Registry::counting_both(limits, super::now(), 0);
        let own = settings.node.to_ascii_lowercase();
        registry.share(Owners { own, ..Owners::default() });
        registry.keep_unsaved();
        let beginning = Report { beginning: true, ..Report::default() };
        let (told, mut report) = watch::channel(beginning);
        let (stop, stopped) = watch::channel(());
        let (first, mut begun) = oneshot::channel();
        let wait = settings.wait;
        let (orders, jobs) = mpsc::channel(ORDERS);
        registry.keys().send_to(orders);
        let work = Work::new(registry.clone(), settings, layout, client, (told, jobs), first);
        let worker = std::thread::Builder::new().name("registry".into()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(work.run(stopped)),
                Err(error) => tracing::error!(%error, "the registry is not shared"),
            }
        });
        let worker = worker.map_err(|error| Unusable::Thread(error.to_string()))?;
        let store = Store { registry, report: report.clone(), stop: Some(stop), worker: Some(worker) };
        let begun = tokio::select! {
            // Who has ended has said why before.
            biased;
            begun = &mut begun => begun,
            claiming = waited(wait, &mut report) => match claiming {
                // How long that takes has an end of its own.
                true => begun.await,
                false => Ok(Ok(())),
            },
        };
        begun.unwrap_or_else(|_| Err(Unusable::Thread("it has ended".into())))?;
        Ok(store)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) async fn settled(&self) -> Result<(), String> {
        let target = *self.registry.watch().borrow();
        let mut report = self.report.clone();
        let decided = |report: &Report| report.changes >= target || refusal(report).is_some();
        match report.wait_for(decided).await {
            Ok(report) if report.changes >= target => Ok(()),
            Ok(report) => Err(refusal(&report).unwrap_or_default()),
            Err(_) => Err("the registry is not shared any more".into()),
        }
    }

    pub(crate) fn refuses(&self) -> Option<String> {
        refusal(&self.report.borrow())
    }

    pub(crate) fn standing(&self) -> Standing {
        self.report.borrow().standing.clone()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the registry was not shared to the end");
        }
    }
}

/// Waits for that long, or until our node's name is waited for: which of the two it was.
async fn waited(most: Duration, report: &mut watch::Receiver<Report>) -> bool {
    let claiming = report.wait_for(|report| report.claiming);
    tokio::time::timeout(most, claiming).await.is_ok_and(|claiming| claiming.is_ok())
}

/// Why nothing can be registered.
fn refusal(report: &Report) -> Option<String> {
    let standing = &report.standing;
    let why = standing.error.as_deref();
    match standing.away_since {
        None if report.beginning => Some("etcd has not been reached yet; come again".into()),
        None => why.map(|why| format!("etcd takes no registrations: {why}")),
        Some(_) => Some(format!(
            "etcd cannot be reached ({}); what was known last is told, and nothing can be registered",
            why.unwrap_or("no answer")
        )),
    }
}

//! Following by Consul's reads that wait: one for who is there, one for the nodes, one for each service.
//!
//! So many services as there are connections are waited for at once; with more, each connection takes one service after
//! the other and waits only a moment for each.

use super::client::{Client, Failed, Place, encoded};
use super::rows::{NodeRow, Row};
use super::{Mode, Shared};
use crate::model::lower;
use crate::registry::Mirrored;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// So many services are read at once, each by a connection of its own. Consul allows a client 200 connections.
const AT_ONCE: usize = 96;
/// How long a read waits for a change.
const WAIT: Duration = Duration::from_secs(30);
/// How long it does when there are more services than connections.
const WAIT_SHORT: Duration = Duration::from_secs(1);
/// What answers at once though nothing changed is asked that much later.
const CALM: Duration = Duration::from_millis(500);
/// A service that may not be read is tried again that much later.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// The header of the number.
const INDEX: &str = "x-consul-index";

#[derive(Default)]
struct Table {
    /// The number each service was read with last.
    services: BTreeMap<String, Option<u64>>,
    /// Those that are not being read now.
    queue: VecDeque<String>,
    workers: usize,
    listed: bool,
}

/// One round of following.
struct Round {
    shared: Arc<Shared>,
    place: Place,
    table: Mutex<Table>,
    /// There are services, and maybe nobody for them.
    more: Notify,
    /// There is something to do for one who has nothing.
    idle: Notify,
    /// Until then what is not there stays: the other side may not know of everybody yet.
    young_until: Option<Instant>,
}

/// Follows until it fails.
pub(super) async fn follow(shared: &Arc<Shared>, place: &Place) -> Failed {
    // Only who was cut off has anything to lose.
    let mut young_until = shared.status.borrow().complete.then(|| Instant::now() + shared.settings.grace);
    loop {
        let round = Arc::new(Round {
            shared: Arc::clone(shared),
            place: place.clone(),
            table: Mutex::default(),
            more: Notify::new(),
            idle: Notify::new(),
            young_until,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(nodes(Arc::clone(&round)));
        tasks.spawn(services(Arc::clone(&round)));
        let failed = loop {
            let more = async {
                round.more.notified().await;
                // Whoever comes is looked after by one more, up to the limit.
                let mut table = round.table();
                let room = AT_ONCE.saturating_sub(table.workers).min(table.queue.len());
                table.workers += room;
                room
            };
            let again = async {
                match young_until {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                room = more => (0..room).for_each(|_| drop(tasks.spawn(worker(Arc::clone(&round))))),
                Some(ended) = tasks.join_next() => {
                    if let Ok(Some(failed)) = ended {
                        break Some(failed);
                    }
                }
                () = again => break None,
            }
        };
        match failed {
            Some(failed) => return failed,
            // By now everybody is back who comes back: all is read once more, and what is not there goes.
            None => young_until = None,
        }
    }
}

/// Follows who is there.
async fn services(round: Arc<Round>) -> Option<Failed> {
    let mut client = Client::new(&round.shared.settings, &round.place);
    let mut index = 0;
    loop {
        let began = Instant::now();
        let read = round.read::<BTreeMap<String, Value>>(&mut client, "catalog/services", index, WAIT).await;
        let (next, names) = match read {
            Ok(read) => read,
            Err(failed) => return Some(failed),
        };
        if next != index || index == 0 {
            round.list(names.into_keys().map(|name| lower(&name).into_owned()).collect());
        }
        round.told(next);
        index = calm(index, next, began).await;
    }
}

/// Follows the nodes, those too on which nothing lives. How they are comes with what lives on them.
async fn nodes(round: Arc<Round>) -> Option<Failed> {
    let mut client = Client::new(&round.shared.settings, &round.place);
    let mut index = 0;
    loop {
        let began = Instant::now();
        let (next, rows) = match round.read::<Vec<NodeRow>>(&mut client, "catalog/nodes", index, WAIT).await {
            Ok(read) => read,
            // A token may be for services alone.
            Err(failed) if failed.status.is_some() => return None,
            Err(failed) => return Some(failed),
        };
        if let Some(Err(failed)) = rows.first().map(|row| round.shared.agree(&row.datacenter)) {
            return Some(failed);
        }
        let named: BTreeSet<String> = rows.iter().map(|row| lower(&row.node).into_owned()).collect();
        let mut things: Vec<Mirrored> = rows.into_iter().map(|row| Mirrored::NodeAlone(row.node())).collect();
        if !round.is_young() {
            let known = round.shared.replica().nodes();
            things.extend(known.into_iter().filter(|node| !named.contains(node)).map(Mirrored::NoNode));
        }
        round.shared.apply(things);
        index = calm(index, next, began).await;
    }
}

/// Reads one service after the other.
async fn worker(round: Arc<Round>) -> Option<Failed> {
    let mut client = Client::new(&round.shared.settings, &round.place);
    loop {
        let (name, index, wait) = round.take().await;
        let began = Instant::now();
        let path = format!("health/service/{}", encoded(&name));
        let (next, rows) = match round.read::<Vec<Row>>(&mut client, &path, index, wait).await {
            Ok(read) => read,
            // The others are followed even when one may not be read.
            Err(failed) if failed.is_refusal() => {
                tracing::debug!(name, %failed, "a service is not read");
                sleep(REFUSED_FOR).await;
                round.give_back(name, 0);
                round.told(0);
                continue;
            }
            Err(failed) => return Some(failed),
        };
        if next != index || index == 0 {
            round.take_over(&name, rows);
        }
        let next = calm(index, next, began).await;
        round.give_back(name, next);
        round.told(next);
    }
}

impl Round {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_young(&self) -> bool {
        self.young_until.is_some()
    }

    async fn read<T: DeserializeOwned>(
        &self,
        client: &mut Client,
        path: &str,
        index: u64,
        wait: Duration,
    ) -> Result<(u64, T), Failed> {
        let path = match index {
            0 => format!("/v1/{path}"),
            _ => format!("/v1/{path}?index={index}&wait={}ms", wait.as_millis()),
        };
        // The other side adds a sixteenth by chance.
        let wait = if index > 0 { wait + wait / 8 } else { Duration::ZERO };
        let (headers, body) = client.whole(Method::GET, &path, Bytes::new(), wait).await?;
        let read = serde_json::from_slice(&body);
        let read = read.map_err(|error| Failed::new(format!("{path} answers what cannot be understood: {error}")))?;
        Ok((number(&headers), read))
    }

    /// Takes up new services, and lets go of those that are gone.
    fn list(&self, names: BTreeSet<String>) {
        let mut table = self.table();
        table.services.retain(|name, _| names.contains(name));
        table.queue.retain(|name| names.contains(name));
        if !self.is_young() {
            let gone = self.shared.replica().instances(|service| !names.contains(service));
            self.shared.apply(gone.into_iter().map(|(node, id)| Mirrored::NoInstance(node, id)).collect());
        }
        for name in names {
            if !table.services.contains_key(&name) {
                table.services.insert(name.clone(), None);
                table.queue.push_back(name);
            }
        }
        table.listed = true;
        drop(table);
        self.more.notify_one();
        self.idle.notify_one();
    }

    fn take_over(&self, name: &str, rows: Vec<Row>) {
        // Held to the end, so that what one service loses to another is not taken away from it.
        let table = self.table();
        if !table.services.contains_key(name) {
            return;
        }
        let key = |row: &Row| (lower(&row.node.node).into_owned(), row.service.id.clone());
        let named: BTreeSet<(String, String)> = rows.iter().map(key).collect();
        let young = self.is_young();
        let mut things: Vec<Mirrored> = rows.into_iter().flat_map(|row| row.things(young)).collect();
        if !young {
            let known = self.shared.replica().instances(|service| service == name);
            let gone = known.into_iter().filter(|instance| !named.contains(instance));
            things.extend(gone.map(|(node, id)| Mirrored::NoInstance(node, id)));
        }
        self.shared.apply(things);
    }

    /// The next service to read, and how.
    async fn take(&self) -> (String, u64, Duration) {
        loop {
            {
                let mut table = self.table();
                let wait = if table.services.len() > AT_ONCE { WAIT_SHORT } else { WAIT };
                if let Some(name) = table.queue.pop_front() {
                    let index = table.services.get(&name).copied().flatten().unwrap_or(0);
                    if !table.queue.is_empty() {
                        self.idle.notify_one();
                    }
                    return (name, index, wait);
                }
            }
            self.idle.notified().await;
        }
    }

    fn give_back(&self, name: String, index: u64) {
        let mut table = self.table();
        let Some(known) = table.services.get_mut(&name) else { return };
        *known = Some(index);
        // One that went and came again meanwhile is there already.
        if !table.queue.contains(&name) {
            table.queue.push_back(name);
        }
        drop(table);
        self.idle.notify_one();
    }

    /// Says that the replica is complete, once every service was read.
    fn told(&self, number: u64) {
        let is_complete = {
            let table = self.table();
            table.listed && table.services.values().all(Option::is_some)
        };
        if is_complete {
            let number = number.max(self.shared.status.borrow().number);
            self.shared.connected(&self.place, Mode::Queries, number);
        }
    }
}

/// The number to go on from. One that went back is of another registry: all is read again.
async fn calm(index: u64, next: u64, began: Instant) -> u64 {
    if next == 0 || (next == index && began.elapsed() < CALM) {
        // Nothing to wait by, or somebody who does not wait.
        sleep(CALM).await;
    }
    if next < index { 0 } else { next }
}

fn number(headers: &HeaderMap) -> u64 {
    headers.get(INDEX).and_then(|index| index.to_str().ok()).and_then(|index| index.parse().ok()).unwrap_or(0)
}

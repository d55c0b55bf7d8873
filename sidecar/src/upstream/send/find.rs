//! Waiting for an instance: until one can be reached, or until one has room.

use super::{Failure, LOOK_AGAIN, Patience};
use crate::exchange::deadline::until;
use crate::exchange::{Fault, FaultKind, Retry};
use crate::upstream::queue::Waiting;
use crate::upstream::{Choice, Cluster, Endpoint, InFlight, Pick};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What bounds the search.
pub(super) struct Search<'a> {
    /// What the choice looks at.
    pub(super) choice: &'a Choice,
    /// When the command came.
    pub(super) start: Instant,
    /// When its answer must be there.
    pub(super) by: Instant,
    /// How long it may wait for an instance that can be reached.
    pub(super) hold: Duration,
    /// Why the last instance was left.
    pub(super) last: Option<&'a Fault>,
    /// Its number in the queue.
    pub(super) number: u64,
    /// Whether it waits for room. One that has an answer already holds a place itself, maybe the one it waits for.
    pub(super) waits: bool,
}

/// Finds an instance and takes a place there.
pub(super) async fn find(
    cluster: &Cluster,
    tried: &mut Vec<Rc<Endpoint>>,
    search: Search<'_>,
) -> Result<(Rc<Endpoint>, InFlight), Failure> {
    let most = cluster.most();
    let mut waiting: Option<Waiting> = None;
    let mut since: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if now >= search.by {
            return Err(Failure::Late(Patience::Ours));
        }
        // Who comes later does not overtake.
        let turn = match &waiting {
            Some(waiting) => waiting.is_next(),
            None => cluster.queue().is_empty(),
        };
        let pick = match cluster.pick(now, search.choice, tried) {
            Pick::One(_) if !turn => Pick::Full,
            pick => pick,
        };
        match pick {
            Pick::One(endpoint) => {
                if let Some(in_flight) = endpoint.enter(most) {
                    if let Some(waiting) = waiting.take() {
                        waiting.served();
                    }
                    // Who came meanwhile may have waited for this one only.
                    if endpoint.has_room(most) {
                        cluster.queue().call_more();
                    }
                    return Ok((endpoint, in_flight));
                }
            }
            Pick::Full if !search.waits => return Err(overloaded("no instance has room".into()).into()),
            Pick::Full => {}
            Pick::None => {
                // When there is one again, who came first goes first.
                if waiting.is_none()
                    && let Some(limit) = cluster.limit()
                    && cluster.queue().len() < room(cluster, limit.queue)
                {
                    waiting = Some(cluster.queue().join(search.number));
                }
                wait_for_one(cluster, &search, now).await?;
                tried.clear();
                continue;
            }
        }
        let Some(limit) = cluster.limit() else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        let since = *since.get_or_insert(now);
        if now >= since + limit.wait {
            let detail = format!("no instance had room within {:?} (concurrency.wait)", limit.wait);
            return Err(overloaded(detail).into());
        }
        match &waiting {
            // It was called, and somebody else was faster.
            Some(place) if turn && place.is_called() => place.again(),
            Some(_) => {}
            None => {
                let room = room(cluster, limit.queue);
                if cluster.queue().len() >= room {
                    return Err(overloaded(format!("{room} commands wait already (concurrency.queue)")).into());
                }
                waiting = Some(cluster.queue().join(search.number));
            }
        }
        if let Some(place) = &waiting {
            // Another thread may make room, and calls nobody here.
            let look = (since + limit.wait).min(search.by).min(now + LOOK_AGAIN);
            let _ = until(look, place.called()).await;
        }
    }
}

/// How many may wait, with so many for each instance.
fn room(cluster: &Cluster, each: u32) -> usize {
    (each as usize).saturating_mul(cluster.set().endpoints.len().max(1))
}

fn overloaded(detail: String) -> Fault {
    Fault::new(FaultKind::Overloaded, detail).retry(Retry::Safe).retry_after(1)
}

async fn wait_for_one(cluster: &Cluster, search: &Search<'_>, now: Instant) -> Result<(), Failure> {
    let give_up = search.start + search.hold;
    if !cluster.holds || now >= give_up {
        let why = search.last.map(|f| f.detail.clone());
        if !cluster.holds {
            return Err(match why {
                Some(why) => Fault::new(FaultKind::Unreachable, why),
                None => Fault::new(FaultKind::NotReady, "no instance can be used"),
            }
            .into());
        }
        let detail = why.unwrap_or_else(|| {
            let set = cluster.set();
            let all: Vec<&str> = set.endpoints.iter().map(|e| &*e.label).collect();
            match all.is_empty() {
                true => "the service has no instance now".into(),
                false => format!("no instance is ready: {}", all.join(", ")).into(),
            }
        });
        return Err(Fault::new(FaultKind::NotReady, detail).retry(Retry::Safe).retry_after(1).into());
    }
    let next = cluster.next_try().map_or(LOOK_AGAIN, |at| at.saturating_duration_since(now));
    let left = give_up.min(search.by).saturating_duration_since(now);
    tokio::time::sleep(next.clamp(Duration::from_millis(1), LOOK_AGAIN).min(left)).await;
    Ok(())
}

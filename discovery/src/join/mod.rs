//! Following another registry: another Fourmi, or anything that speaks Consul's HTTP API.
//!
//! A registry here becomes a replica of the one there, and DNS and balancing answer from it as ever. Another Fourmi is
//! followed by its stream of changes, which goes on where it broke off; others by reads that wait. When the other side is
//! away the replica stays as it was: nothing of it ends because we do not see it.
//!
//! Our own instances live in a private registry, [`Joined::own`], where their checks are done. They are registered at
//! the other side with a check that runs out when we are no more, and come back from there; until they do the replica
//! shows them as they are here, so that one that is alone works. See `docs/join.md`.

mod behind;
mod client;
mod own;
mod polls;
mod replica;
mod rows;
mod settings;
mod stream;

pub use settings::{Settings, Unusable};

pub(crate) use behind::{As, Behind, Unreached};

use crate::checks;
use crate::model::{Check, Instance, Node};
use crate::registry::{Mirrored, Registry};
use behind::Told;
use client::{Failed, Place};
use replica::Replica;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use stream::Ended;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// The first pause after a failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long it may take to deregister everything.
const LEAVING: Duration = Duration::from_secs(3);

/// How the other side is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By the stream of changes of another Fourmi.
    Stream,
    /// By Consul's reads that wait.
    Queries,
}

/// How it is going.
#[derive(Debug, Clone)]
pub struct Status {
    /// Host and port of the registry that is followed, or tried.
    pub registry: String,
    /// How it is followed, or was last.
    pub mode: Option<Mode>,
    /// Whether it is followed now.
    pub connected: bool,
    /// Since when it is so.
    pub since: Instant,
    /// Whether the replica was complete at some time.
    pub complete: bool,
    /// The last change that was taken over, in the other side's numbers.
    pub number: u64,
    /// What was wrong last with following; none while it is followed.
    pub error: Option<String>,
    /// How many of our own instances the other side has.
    pub registered: usize,
    /// What was wrong last with registering; none when all are registered.
    pub registering: Option<String>,
    /// How many things were not taken over because they are invalid here, or the replica is full.
    pub refused: u64,
}

/// What the tasks share.
struct Shared {
    settings: Settings,
    places: Vec<Place>,
    /// Which of them is followed.
    place: AtomicUsize,
    replica: Mutex<Replica>,
    own: Registry,
    /// Epoch and number of the stream.
    seen: Mutex<Option<(String, u64)>>,
    status: watch::Sender<Status>,
    /// The other side is there again.
    back: Notify,
    /// Our own instances are to be deregistered.
    leave: watch::Sender<bool>,
    /// How far registering them has come.
    told: watch::Sender<Told>,
}

/// A registry that follows another one, until it is dropped.
pub struct Joined {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    registering: JoinSet<()>,
}

impl Joined {
    /// Begins to follow, in this runtime. The registry becomes the replica; what else is in it stays.
    pub fn start(settings: Settings, registry: Registry) -> Result<Self, Unusable> {
        let places = settings.places()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Unusable::new("there is no runtime to follow in"));
        }
        let own = Registry::default();
        let node = Node::new(&*settings.node, settings.address.clone());
        own.put_node(node.clone()).map_err(|why| Unusable::refused(&settings.node, &why))?;
        let mut settings = settings;
        own::take_over(&own, &settings.node, std::mem::take(&mut settings.register))?;
        let status = Status {
            registry: places.first().map(|place| place.name.clone()).unwrap_or_default(),
            mode: None,
            connected: false,
            since: Instant::now(),
            complete: false,
            number: 0,
            error: None,
            registered: 0,
            registering: None,
            refused: 0,
        };
        let mut replica = Replica::new(registry, own.clone(), node);
        replica.show_own();
        let shared = Arc::new(Shared {
            settings,
            places,
            place: AtomicUsize::new(0),
            replica: Mutex::new(replica),
            own: own.clone(),
            seen: Mutex::new(None),
            status: watch::Sender::new(status),
            back: Notify::new(),
            leave: watch::Sender::new(false),
            told: watch::Sender::default(),
        });
        let (mut tasks, mut registering) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(checks::run(own, shared.settings.checks.clone()));
        tasks.spawn(show(Arc::clone(&shared)));
        tasks.spawn(follow(Arc::clone(&shared)));
        registering.spawn(own::register(Arc::clone(&shared)));
        Ok(Joined { shared, tasks, registering })
    }

    /// Our own instances, on our own node, with the checks that are done here. What is registered, drained, reported or
    /// removed in it is so at the other side too.
    pub fn own(&self) -> &Registry {
        &self.shared.own
    }

    /// The other side, for an API of ours.
    pub(crate) fn behind(&self) -> Behind {
        Behind::new(Arc::clone(&self.shared))
    }

    /// The registry as it is there.
    pub(crate) fn replica(&self) -> Registry {
        self.shared.replica().registry().clone()
    }

    /// From now on these are our own instances: those that are not among them go, here and there.
    pub fn set_own(&self, register: Vec<(Instance, Vec<Check>)>) -> Result<(), Unusable> {
        own::take_over(&self.shared.own, &self.shared.settings.node, register)
    }

    /// How it is going.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Tells whenever it goes otherwise.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Nobody is sent to our own instances any more, here and there; what they have goes on. Returns how many there are.
    pub fn drain(&self) -> usize {
        let snapshot = self.shared.own.snapshot();
        let members = snapshot.nodes().flat_map(|node| node.instances.iter());
        members.filter(|member| self.shared.own.drain(&member.node.name, &member.instance.id, true)).count()
    }

    /// Deregisters our own instances, as far as the other side is there, and ends.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.shared.leave.send_replace(true);
        if tokio::time::timeout(LEAVING, self.registering.join_next()).await.is_err() {
            tracing::warn!("our instances are not deregistered within {LEAVING:?}; they run out");
        }
    }
}

impl Shared {
    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> (usize, Option<&Place>) {
        let at = self.place.load(Ordering::Relaxed);
        (at, self.places.get(at))
    }

    fn status_now(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    fn seen(&self) -> Option<(String, u64)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget_seen(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn saw(&self, epoch: &str, at: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *seen {
            Some((known, number)) if known == epoch => *number = at,
            other => *other = Some((epoch.to_owned(), at)),
        }
    }

    /// Refuses a registry of another datacenter than ours: its names would be answered under a wrong one.
    fn agree(&self, datacenter: &str) -> Result<(), Failed> {
        let ours = &self.settings.datacenter;
        match ours.is_empty() || ours.eq_ignore_ascii_case(datacenter) {
            true => Ok(()),
            false => Err(Failed::new(format!("it is of the datacenter {datacenter:?}, we are of {ours:?}"))),
        }
    }

    fn apply(&self, things: Vec<Mirrored>) {
        let refused = self.replica().apply(things);
        if refused > 0 {
            self.status.send_modify(|status| status.refused += refused as u64);
        }
    }

    /// The replica is as the other side.
    fn connected(&self, place: &Place, mode: Mode, number: u64) {
        let mut is_new = false;
        self.status.send_if_modified(|status| {
            is_new = !status.connected || status.registry != place.name;
            if !is_new && status.number == number {
                return false;
            }
            if is_new {
                status.registry.clone_from(&place.name);
                (status.connected, status.since, status.error) = (true, Instant::now(), None);
            }
            (status.mode, status.complete, status.number) = (Some(mode), true, number);
            true
        });
        if is_new {
            tracing::info!(registry = place.name, ?mode, "the registry is followed");
            self.replica().place.clone_from(&place.name);
            self.back.notify_one();
        }
    }

    fn cut_off(&self, place: &Place, why: &Failed) {
        self.status.send_modify(|status| {
            let why = why.to_string();
            if status.connected || status.error.as_ref() != Some(&why) {
                tracing::warn!(registry = place.name, why, "the registry is not followed; what was known holds");
            }
            if status.connected {
                (status.connected, status.since) = (false, Instant::now());
            }
            status.registry.clone_from(&place.name);
            status.error = Some(why);
        });
    }
}

/// What one of our own instances is called at the other side. One that has the name of its service, as it does when
/// nobody gave it an id, is told from those of other machines by the node.
fn remote_id(node: &str, instance: &Instance) -> String {
    match instance.id.eq_ignore_ascii_case(&instance.service) {
        true => format!("{node}-{}", instance.id),
        false => instance.id.clone(),
    }
}

/// Shows what changes of our own instances.
async fn show(shared: Arc<Shared>) {
    let mut changes = shared.own.watch();
    while changes.changed().await.is_ok() {
        shared.replica().show_own();
    }
}

/// Follows for ever: the next registry when one fails.
async fn follow(shared: Arc<Shared>) {
    let mut pause = Pause::new(PAUSE.1);
    loop {
        let (at, Some(place)) = shared.place() else { return };
        let began = shared.status.borrow().since;
        let ended = match shared.settings.stream {
            true => stream::follow(&shared, place).await,
            false => Ended::NoStream,
        };
        let failed = match ended {
            Ended::Failed(failed) => failed,
            Ended::NoStream => {
                // Numbers of the stream say nothing of what is read otherwise.
                shared.forget_seen();
                polls::follow(&shared, place).await
            }
        };
        // It was connected meanwhile.
        if shared.status.borrow().since != began {
            pause = Pause::new(PAUSE.1);
        }
        shared.cut_off(place, &failed);
        shared.place.store((at + 1) % shared.places.len().max(1), Ordering::Relaxed);
        tokio::time::sleep(pause.next()).await;
    }
}

/// Pauses that grow, with a part by chance, so that not all come back at once.
struct Pause {
    next: Duration,
    most: Duration,
}

impl Pause {
    fn new(most: Duration) -> Self {
        Pause { next: PAUSE.0.min(most), most }
    }

    fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        now.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

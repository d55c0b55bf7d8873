//! What is done all the time: one task holds the session with etcd, reads what others write, and writes what changes.

use super::client::{Client, Failed, Lines};
use super::keys::Layout;
use super::rows::{self, Row};
use super::settings::{Settings, Unusable};
use super::ttl::Leases;
use super::view::{Entry, View};
use super::wire::{self, Lease, Line, Range, Watched};
use crate::registry::{Key, Registry, Told};
use crate::store::Standing;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::{Duration, SystemTime};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// Between two tries at a write that etcd refuses.
const AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest pause between two rounds of all endpoints.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// All is read again for what had no room, but not more often than that.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// How long the end may take: what is unwritten, and the lease that is given back.
const FAREWELL: Duration = Duration::from_secs(3);

/// How far the work has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) standing: Standing,
    /// Written up to that change.
    pub(super) changes: u64,
    /// Before the first session.
    pub(super) beginning: bool,
    /// Another registry had our node's name, and it is waited for whether it comes back.
    pub(super) claiming: bool,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    Away(String),
    /// Only an operator can mend that.
    Unusable(Unusable),
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused { message, .. } => Ended::Unusable(Unusable::Refused(message)),
            other => Ended::Away(other.to_string()),
        }
    }
}

/// Our lease.
pub(super) struct Ours {
    pub(super) id: i64,
    pub(super) renew: Instant,
    pub(super) every: Duration,
}

pub(super) struct Work {
    pub(super) registry: Registry,
    pub(super) settings: Settings,
    pub(super) layout: Layout,
    pub(super) client: Client,
    pub(super) view: View,
    pub(super) leases: Leases,
    pub(super) identity: String,
    pub(super) lease: Option<Ours>,
    /// The key of our node is under our lease.
    pub(super) claimed: bool,
    /// And says that all else is told.
    pub(super) ready: bool,
    /// What we have told under our lease.
    pub(super) told: BTreeMap<String, String>,
    /// The changes of our own node, and of all, when that was.
    pub(super) told_at: (u64, u64),
    /// From where on each prefix is watched; None before all was read.
    next: Option<Vec<i64>>,
    /// The newest revision that is known.
    pub(super) revision: i64,
    /// What we wrote and have not seen in the watch yet.
    pub(super) written: HashMap<String, i64>,
    /// What may or may not have been written: later than that revision, and how.
    pub(super) doubt: BTreeMap<Key, (i64, Row)>,
    /// What is being written.
    pub(super) pending: Vec<(Key, Row)>,
    /// Why etcd does not take what is to be written.
    pub(super) refusal: Option<String>,
    pub(super) report: watch::Sender<Report>,
    first: Option<oneshot::Sender<Result<(), Unusable>>>,
    contact: SystemTime,
    read_at: Instant,
    /// All was read as it was then.
    read_revision: i64,
}

impl Work {
    pub(super) fn new(
        registry: Registry,
        settings: Settings,
        layout: Layout,
        client: Client,
        report: watch::Sender<Report>,
        first: oneshot::Sender<Result<(), Unusable>>,
    ) -> Self {
        let identity = format!("{:016x}", fastrand::u64(..));
        let own = settings.node.to_ascii_lowercase();
        Work {
            view: View::new(layout.clone(), own, identity.clone()),
            registry,
            settings,
            layout,
            client,
            leases: Leases::default(),
            identity,
            lease: None,
            claimed: false,
            ready: false,
            told: BTreeMap::new(),
            told_at: (0, 0),
            next: None,
            revision: 0,
            written: HashMap::new(),
            doubt: BTreeMap::new(),
            pending: Vec::new(),
            refusal: None,
            report,
            first: Some(first),
            contact: SystemTime::now(),
            read_at: Instant::now(),
            read_revision: 0,
        }
    }

    pub(super) fn is_first(&self) -> bool {
        self.first.is_some()
    }

    /// Works until whoever holds the other end lets go of it.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<()>) {
        let mut tries = 0;
        loop {
            let ended = tokio::select! {
                biased;
                _ = stopped.changed() => break,
                ended = self.session(&mut tries) => ended,
            };
            let Err(ended) = ended;
            // Once the start is over, an operator may still mend it.
            if let Ended::Unusable(why) = &ended
                && let Some(first) = self.first.take_if(|first| !first.is_closed())
            {
                let _ = first.send(Err(why.clone()));
                return;
            }
            self.client.move_on();
            tries += 1;
            if tries < self.client.len() {
                continue;
            }
            self.away(ended);
            let [least, most] = PAUSE;
            let doublings = u32::try_from(tries / self.client.len()).unwrap_or(u32::MAX).min(8);
            let pause = (least * 2_u32.pow(doublings)).min(most).min(self.settings.lease() / 4);
            let end = Instant::now() + pause.mul_f64(0.5 + fastrand::f64());
            tokio::select! {
                _ = stopped.changed() => break,
                () = tokio::time::sleep_until(end) => self.leases.hold(&self.registry),
            }
        }
        if tokio::time::timeout(FAREWELL, self.farewell()).await.is_err() {
            tracing::warn!("etcd did not answer at the end; others see us go when our lease is over");
        }
    }

    fn away(&mut self, ended: Ended) {
        let why = match ended {
            Ended::Away(why) => why,
            Ended::Unusable(why) => why.to_string(),
        };
        let since = self.contact;
        self.report.send_modify(|report| {
            if report.standing.away_since.is_none() {
                tracing::warn!(error = why, "etcd is away; what was known last is told, and nothing is registered");
            }
            report.standing.away_since.get_or_insert(since);
            report.standing.error = Some(why);
        });
    }

    /// One session, from the connection to its end.
    async fn session(&mut self, tries: &mut usize) -> Result<Infallible, Ended> {
        let now: Range = self.client.call("kv/range", &wire::get(&self.layout.alive(&self.view.own))).await?;
        if now.header.revision < self.revision {
            self.forget_all();
        }
        self.resolve().await?;
        if self.next.is_none() {
            self.read_all().await?;
        }
        let mut lines = self.watch().await?;
        self.keep_lease().await?;
        let away = SystemTime::now().duration_since(self.contact).unwrap_or_default();
        if !self.is_first() && away > self.settings.lease() / 3 {
            // The leases of others may be over for no other reason than etcd's absence.
            self.view.be_patient(self.settings.lease());
        }
        let mut changes = self.registry.watch();
        loop {
            changes.mark_unchanged();
            if !self.claimed {
                self.keep_lease().await?;
            }
            let snapshot = self.write().await?;
            self.tell(&snapshot).await?;
            if self.refusal.is_none() {
                self.done(snapshot.changes());
            }
            self.here(tries);
            if self.view.crowded && self.view.roomier && self.read_at.elapsed() > READ_AGAIN {
                self.read_all().await?;
            }
            let far = Instant::now() + self.settings.lease();
            let renew = self.lease.as_ref().map_or(far, |lease| lease.renew);
            let again = self.refusal.as_ref().map_or(far, |_| Instant::now() + AGAIN);
            let judge = self.view.patient_until().unwrap_or(far);
            let ask = self.leases.due();
            tokio::select! {
                line = lines.next::<Watched>() => self.watched(line, &mut lines).await?,
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(renew) => self.keep_lease().await?,
                () = tokio::time::sleep_until(again) => {}
                () = tokio::time::sleep_until(judge) => self.view.judge(&self.registry),
                () = tokio::time::sleep_until(ask.map_or(far, |(due, _)| due)) => {
                    if let Some((_, lease)) = ask.filter(|(due, _)| *due <= Instant::now()) {
                        self.ask_lease(lease).await?;
                    }
                }
            }
        }
    }

    /// All is well.
    fn here(&mut self, tries: &mut usize) {
        *tries = 0;
        self.contact = SystemTime::now();
        let (view, revision, error) = (&self.view, self.revision, self.refusal.clone());
        let endpoint = self.client.endpoint();
        self.report.send_if_modified(|report| {
            let standing = &mut report.standing;
            if standing.away_since.is_some() {
                tracing::info!(endpoint, "etcd is back");
            }
            let now = Standing {
                away_since: None,
                error,
                endpoint: endpoint.to_owned(),
                revision,
                unreadable: view.unreadable,
                left_out: view.left_out,
            };
            let changed = *standing != now || report.beginning;
            *standing = now;
            report.beginning = false;
            changed
        });
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
    }

    async fn watch(&mut self) -> Result<Lines, Ended> {
        let from = self.next.clone().unwrap_or_default();
        let requests: Vec<_> =
            self.layout.prefixes().zip(&from).map(|(prefix, from)| wire::watch(prefix, *from)).collect();
        Ok(self.client.watch(&requests).await?)
    }

    /// One line of the watch, and those that have come with it.
    async fn watched(&mut self, line: Result<Watched, Failed>, lines: &mut Lines) -> Result<(), Ended> {
        let mut entries = Vec::new();
        let mut line = Some(line);
        while let Some(watched) = line {
            let watched = watched?;
            if watched.canceled {
                if watched.compact_revision > 0 {
                    // What was between is not known any more, so all is read again.
                    self.next = None;
                    return Err(Ended::Away("etcd has compacted what was not read yet; all is read again".into()));
                }
                return Err(Ended::Away(format!("etcd has ended the watch: {}", watched.cancel_reason)));
            }
            if !watched.created {
                self.revision = self.revision.max(watched.header.revision);
            }
            for event in &watched.events {
                let place = usize::try_from(watched.watch_id).unwrap_or(usize::MAX);
                if let Some(next) = self.next.as_mut().and_then(|next| next.get_mut(place)) {
                    // What follows may be of the same revision.
                    *next = (*next).max(event.kv.mod_revision + i64::from(!watched.fragment));
                }
                if event.kv.mod_revision > self.read_revision {
                    entries.extend(self.view.entry(&event.kv, event.is_gone()));
                }
            }
            line = lines.ready();
        }
        self.take(entries).await
    }

    /// Takes over what has changed, but for what we have changed ourselves since.
    async fn take(&mut self, entries: Vec<Entry>) -> Result<(), Ended> {
        let entries = self.without_own(entries);
        for lease in entries.iter().map(|entry| entry.lease).collect::<std::collections::BTreeSet<_>>() {
            let of_record =
                |entry: &Entry| matches!(entry.place, super::keys::Place::Kept(Key::Record(_))) && entry.lease == lease;
            if self.leases.is_new(lease) && entries.iter().any(of_record) {
                self.ask_lease(lease).await?;
            }
        }
        self.view.take(&self.registry, &mut self.leases, entries);
        Ok(())
    }

    async fn ask_lease(&mut self, lease: i64) -> Result<(), Ended> {
        let left: Lease = self.client.call("lease/timetolive", &json!({"ID": lease.to_string()})).await?;
        self.leases.set(&self.registry, lease, left.ttl);
        Ok(())
    }

    /// Reads all, and forgets what is not there.
    async fn read_all(&mut self) -> Result<(), Ended> {
        let beginning = self.next.is_none() && self.revision == 0;
        let mut missing = self.registry.read(|catalog| catalog.keys());
        self.view.begin();
        let mut revision = 0;
        for part in self.layout.parts() {
            let mut from = part.clone().into_bytes();
            let mut limit = super::PAGE;
            loop {
                let asked = wire::page(&from, &part, revision, limit);
                let range: Range = match self.client.call("kv/range", &asked).await {
                    Err(Failed::TooLong) if limit > 1 => {
                        limit = (limit / 8).max(1);
                        continue;
                    }
                    // It is begun again.
                    Err(failed) if failed.is_compacted() => return Err(Ended::Away(failed.to_string())),
                    result => result?,
                };
                if revision == 0 {
                    revision = range.header.revision;
                }
                let entries: Vec<Entry> = range.kvs.iter().filter_map(|kv| self.view.entry(kv, false)).collect();
                for entry in &entries {
                    if let (super::keys::Place::Kept(key), true) = (&entry.place, entry.value.is_some()) {
                        missing.remove(key);
                    }
                }
                self.take(entries).await?;
                match range.kvs.last().and_then(wire::Kv::raw_key).filter(|_| range.more) {
                    // The next key there can be.
                    Some(last) => from = [last, vec![0]].concat(),
                    None => break,
                }
            }
        }
        self.view.missing(&self.registry, missing, &mut self.leases);
        self.revision = self.revision.max(revision);
        if self.next.is_none() {
            self.next = Some(self.layout.prefixes().map(|_| revision + 1).collect());
        }
        (self.read_at, self.read_revision) = (Instant::now(), revision);
        if beginning {
            self.registry.follow(rows::returned(&self.registry.snapshot(), &self.view.own).collect::<Vec<Told>>());
        }
        Ok(())
    }

    /// etcd has lost what it had. What we have is written again, as all others do.
    fn forget_all(&mut self) {
        tracing::warn!("etcd knows less than before; what is known here is written again");
        self.registry.put_back(self.registry.read(|catalog| catalog.keys()).into_iter());
        self.let_lease_go();
        (self.next, self.revision, self.read_revision) = (None, 0, 0);
        self.written.clear();
        self.doubt.clear();
    }

    pub(super) fn let_lease_go(&mut self) {
        (self.lease, self.claimed, self.ready) = (None, false, false);
        self.told.clear();
    }

    pub(super) async fn keep_lease(&mut self) -> Result<(), Ended> {
        if let Some(lease) = &self.lease {
            let asked = json!({"ID": lease.id.to_string()});
            let kept: Line<Lease> = self.client.call("lease/keepalive", &asked).await?;
            if kept.result.is_some_and(|kept| kept.ttl > 0) {
                if let Some(lease) = &mut self.lease {
                    lease.renew = Instant::now() + lease.every;
                }
            } else {
                self.let_lease_go();
            }
        }
        if self.lease.is_none() {
            let asked = json!({"TTL": self.settings.lease().as_secs().to_string()});
            let granted: Lease = self.client.call("lease/grant", &asked).await?;
            let every = Duration::from_secs(u64::try_from(granted.ttl).unwrap_or(1)) / 3;
            self.revision = self.revision.max(granted.header.revision);
            self.lease = Some(Ours { id: granted.id, renew: Instant::now() + every, every });
        }
        if !self.claimed {
            self.claim().await?;
        }
        Ok(())
    }
}

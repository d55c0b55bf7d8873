//! What is done all the time: one task holds the session with etcd, reads what others write, and writes what changes.

use super::client::{Client, Failed};
use super::keys::Layout;
use super::pairs::Unseen;
use super::rows::Row;
use super::settings::{Settings, Unusable};
use super::ttl::Leases;
use super::view::View;
use super::wire::{self, Lease, Line, Range, Watched};
use crate::keys::Job;
use crate::registry::{Key, Registry};
use crate::store::Standing;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Between two tries at a write that etcd refuses.
const AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest pause between two rounds of all endpoints.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// All is read again for what had no room, but not more often than that.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// A watch that was silent for so long is begun anew: nobody tells that a connection is forgotten on its way.
const QUIET: Duration = Duration::from_secs(60);
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
    /// What was not read yet is not there any more.
    Compacted,
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
    pub(super) next: Option<Vec<i64>>,
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
    /// Keys and values that are to be changed.
    jobs: mpsc::Receiver<Job>,
    /// Changes of them that are done, and not seen in the watch yet.
    pub(super) unseen: Vec<Unseen>,
    first: Option<oneshot::Sender<Result<(), Unusable>>>,
    contact: SystemTime,
    /// When the watch said something last.
    pub(super) heard_at: Instant,
    pub(super) read_at: Instant,
    /// All was read as it was then.
    pub(super) read_revision: i64,
}

impl Work {
    pub(super) fn new(
        registry: Registry,
        settings: Settings,
        layout: Layout,
        client: Client,
        (report, jobs): (watch::Sender<Report>, mpsc::Receiver<Job>),
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
            jobs,
            unseen: Vec::new(),
            first: Some(first),
            contact: SystemTime::now(),
            heard_at: Instant::now(),
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
            // One who has only lost a connection finds the next, or the same again.
            let silent = SystemTime::now().duration_since(self.contact).unwrap_or_default();
            if tries > self.client.len() || silent > self.settings.patience() * 2 {
                self.away(ended);
            }
            if tries <= self.client.len() {
                continue;
            }
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
            Ended::Compacted => "what was not read yet is compacted; all is read again".into(),
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
        let base = self.base().await?;
        // Who counts from elsewhere is another etcd, however much it knows.
        if now.header.revision < self.revision || self.view.base != 0 && self.view.base != base {
            self.forget_all();
            self.write_pairs_again().await?;
        }
        self.view.base = base;
        self.resolve().await?;
        if self.next.is_none() {
            self.read_all().await?;
        }
        let mut lines = self.watch().await?;
        self.keep_lease().await?;
        let away = SystemTime::now().duration_since(self.contact).unwrap_or_default();
        if !self.is_first() && away > self.settings.lease() / 2 {
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
            self.told_pairs();
            if self.view.crowded && self.view.roomier && self.read_at.elapsed() > READ_AGAIN {
                self.read_all().await?;
            }
            let far = Instant::now() + self.settings.lease();
            let renew = self.lease.as_ref().map_or(far, |lease| lease.renew);
            let again = self.refusal.as_ref().map_or(far, |_| Instant::now() + AGAIN);
            let judge = self.view.patient_until().unwrap_or(far);
            let ask = self.leases.due();
            let quiet = self.heard_at + QUIET;
            tokio::select! {
                line = lines.next::<Watched>() => self.watched(line, &mut lines).await?,
                _ = changes.changed() => {}
                Some(job) = self.jobs.recv() => self.order(job).await?,
                () = tokio::time::sleep_until(renew) => self.keep_lease().await?,
                () = tokio::time::sleep_until(again) => {}
                () = tokio::time::sleep_until(quiet) => lines = self.watch().await?,
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

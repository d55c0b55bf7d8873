//! Numbers by OTLP: at each interval everything that is counted, as data points.

use super::points::{Part, Report};
use super::post::Post;
use super::resource::{self, Said};
use super::settings::{BASIC, Remote};
use super::since::{Begun, Since};
use super::wait::{before_the_end, rest};
use super::{REQUEST_MAX, Signal};
use crate::exchange::Identity;
use crate::section::{Key, Kind, Wrong, key, word};
use crate::sink::batch::Verdict;
use crate::sink::counts::Totals as SinkTotals;
use crate::sink::drain::Outlet;
use crate::sink::logs::read;
use crate::sink::metric::Registry;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) use super::points::Sums;

/// What a request has beside its data points.
const AROUND_MAX: usize = 64 << 10;
/// A request is never made smaller than this.
const REQUEST_MIN: usize = 64 << 10;
/// The pause when nobody says how long, and the shortest one.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The section `metrics.sinks[].otlp`.
pub(crate) const KEYS: &[Key] = &{
    let [endpoint, headers, compress, timeout, tls] = BASIC;
    [
        endpoint,
        headers,
        compress,
        timeout,
        tls,
        key("interval", Kind::Duration { min: Duration::from_millis(100), off: false }, "How often numbers leave.")
            .or("10s"),
        key(
            "temporality",
            Kind::Word(&[word("cumulative"), word("delta")]),
            "Whether sums count from Fourmi's start, or from what was sent before.",
        )
        .or("cumulative"),
    ]
};

#[derive(Deserialize)]
struct Raw {
    interval: Duration,
    temporality: String,
}

/// One `otlp` sink of `metrics:`. Two that are equal are the same sink.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpMetrics(Json);

impl fmt::Debug for OtlpMetrics {
    // The values may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtlpMetrics")
    }
}

impl OtlpMetrics {
    /// With the values of its section, defaults included.
    ///
    /// # Errors
    /// What is wrong, and with which key.
    pub(crate) fn new(values: Json) -> Result<OtlpMetrics, Wrong> {
        read::<Raw>(&values)?;
        Remote::new(&values)?;
        Ok(OtlpMetrics(values))
    }

    /// Where it sends, for people.
    pub(crate) fn target(&self) -> String {
        Remote::new(&self.0).map(|r| r.target(Signal::Metrics)).unwrap_or_default()
    }
}

/// Where one sink of deltas ends and its successor begins, when a reload replaced it: nothing is told twice or never.
pub(crate) type Border = Arc<Mutex<Option<Arc<Sums>>>>;

/// How every sink stands.
pub(crate) type Sinks = Arc<dyn Fn() -> BTreeMap<&'static str, SinkTotals> + Send + Sync>;

/// The sender of one sink.
pub(crate) struct Sender {
    outlet: Arc<Outlet>,
    reading: Reading,
    sinks: Sinks,
    post: Result<Post, String>,
    resource: Resource,
    scope: InstrumentationScope,
    interval: Duration,
    since: Since,
    until: Border,
    limit: usize,
}

/// A sink that takes the registry's sums: as long as it is there, nothing is forgotten that it has not taken.
struct Reading {
    registry: Arc<Registry>,
    /// The sink's number.
    sink: u64,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.registry.remove_reader(self.sink);
    }
}

/// A request that has not been taken yet.
struct Waiting {
    body: Vec<u8>,
    points: u64,
}

impl Sender {
    /// A sender that tells, as deltas, what is counted after `border`.
    pub(crate) fn new(
        settings: &OtlpMetrics,
        outlet: Arc<Outlet>,
        (registry, sinks, id): (Arc<Registry>, Sinks, u64),
        identity: &Identity,
        start: f64,
        border: &Sums,
        until: Border,
    ) -> Option<Sender> {
        let Raw { interval, temporality } = read(&settings.0).ok()?;
        let remote = Remote::new(&settings.0).ok()?;
        registry.add_reader(id);
        Some(Sender {
            outlet,
            reading: Reading { registry, sink: id },
            sinks,
            post: remote.post(Signal::Metrics),
            resource: resource::resource(Said {
                service: &identity.service,
                version: identity.tags.iter().find(|(k, _)| &**k == "version").map(|(_, v)| &**v),
                env: &identity.env,
                hostname: &identity.hostname,
                more: &[],
            }),
            scope: resource::scope(),
            interval: interval.max(Duration::from_millis(100)),
            since: match temporality.as_str() {
                "delta" => Since::Last(border.told()),
                _ => Since::Begin(Begun::at((start.max(0.0) * 1e9) as u64)),
            },
            until,
            limit: REQUEST_MAX - AROUND_MAX,
        })
    }

    /// Sends until the outlet ends, and what is left then.
    pub(crate) async fn run(mut self) {
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut failures = 0;
        let mut next = Instant::now() + self.interval;
        let mut collected_last = false;
        loop {
            let due = if waiting.is_empty() { next } else { Instant::now() };
            while !self.outlet.is_ending() && Instant::now() < due {
                self.outlet.rest(due - Instant::now()).await;
            }
            let last = self.outlet.is_ending();
            // Nothing new is taken before the receiver has the old: the registry may forget what was taken.
            if !collected_last && waiting.is_empty() {
                waiting = self.collect();
                collected_last = last;
                next = (next + self.interval).max(Instant::now());
            }
            match self.send(&mut waiting).await {
                Ok(()) if last && collected_last => return,
                Ok(()) => failures = 0,
                Err(pause) => {
                    failures += 1;
                    if rest(&self.outlet, pause, failures).await.is_err() {
                        let lost = waiting.iter().map(|w| w.points).sum();
                        self.outlet.counts.error(lost, &"the receiver was away at the end");
                        return;
                    }
                }
            }
        }
    }

    /// Everything that is to be told now, as requests.
    fn collect(&mut self) -> VecDeque<Waiting> {
        let border = self.until.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Reading { registry, sink } = &self.reading;
        let sums = border.unwrap_or_else(|| Arc::new(Sums::now(registry, (self.sinks)(), Some(*sink))));
        self.since.meet(&sums);
        let parts = Report::new(&self.since, self.limit).of(&sums);
        self.since.tell(&sums);
        parts.into_iter().map(|part| self.request(part)).collect()
    }

    fn request(&self, part: Part) -> Waiting {
        let scope = ScopeMetrics { scope: Some(self.scope.clone()), metrics: part.metrics, ..ScopeMetrics::default() };
        let resource = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        };
        let body = ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec();
        Waiting { body, points: part.points }
    }

    /// Sends what waits, in order. An error: not now, but after this pause.
    async fn send(&mut self, waiting: &mut VecDeque<Waiting>) -> Result<(), Duration> {
        while let Some(first) = waiting.front() {
            let counts = &self.outlet.counts;
            let verdict = match &mut self.post {
                Ok(post) => before_the_end(&self.outlet, post.send(first.body.clone(), first.points)).await,
                Err(why) => Ok(Verdict::Refused(why.clone())),
            };
            match verdict {
                Ok(Verdict::Taken) => counts.sent(first.points),
                Ok(Verdict::Rejected { lost, why }) => {
                    let lost = lost.min(first.points);
                    counts.sent(first.points - lost);
                    counts.error(lost, &why);
                }
                Ok(Verdict::Refused(why)) => counts.error(first.points, &why),
                // It cannot be cut any more; the next ones are smaller.
                Ok(Verdict::Halve(why)) => {
                    self.limit = (self.limit / 2).max(REQUEST_MIN);
                    counts.error(first.points, &why);
                }
                Ok(Verdict::Away(kind, why)) => {
                    counts.trouble(&io::Error::new(kind, why));
                    return Err(self.pause());
                }
                Ok(Verdict::Later(asked, why)) => {
                    counts.note(&why);
                    return Err(asked.unwrap_or_default().max(self.pause()));
                }
                // A receiver of numbers says nothing else.
                Ok(_) => return Err(self.pause()),
                Err(_) => return Err(Duration::ZERO),
            }
            waiting.pop_front();
        }
        Ok(())
    }

    /// After a failure: longer each time.
    fn pause(&self) -> Duration {
        self.post.as_ref().map_or(PAUSE, |post| post.http.pause().max(PAUSE_MIN))
    }
}

//! The edge: what stands between a connection and the handlers, and how a request is answered.

use super::access::Rights;
use super::answers::{Answer, Answers};
use super::asked::{self, Asked};
use super::call::{Call, Query, decoded};
use super::changes::{self, Changes};
use super::counts::Counts;
use super::events::{self, Events};
use super::failure::Failure;
use super::guard::{self, From};
use super::passed;
use super::reply::{Body, Outgoing, Reply, text};
use super::routes::{self, Action};
use super::settings::Settings;
use super::waiting::{Scope, Waiting};
use crate::join::Behind;
use crate::registry::Registry;
use crate::snapshot::Snapshot;
use crate::store::Store;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

/// Says that an answer is what was known last, and how many seconds ago that was.
const REGISTRY: &str = "fourmi-registry";

type Stack = BoxCloneSyncService<Job, Reply, BoxError>;

/// What every request needs.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) store: Option<Arc<Store>>,
    /// Another registry that is followed: what lives on our own node is ours, and the rest a replica.
    behind: Option<Behind>,
    pub(super) waiting: Waiting,
    /// Those who wait for what lives on our own node, when that is another registry's.
    pub(super) waiting_here: Option<Waiting>,
    pub(super) counts: Counts,
    events: Arc<Events>,
    pub(super) changes: Changes,
    current: RwLock<Arc<Current>>,
}

/// The settings and the limits made of them.
pub(super) struct Current {
    pub(super) settings: Arc<Settings>,
    answers: Arc<Answers>,
    /// What numbers of changes are told from others by.
    epoch: u64,
    quick: Stack,
    slow: Stack,
}

/// One request on its way to its handler.
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

struct Job {
    shared: Arc<Shared>,
    answers: Arc<Answers>,
    epoch: u64,
    place: usize,
    action: Action,
    /// How it is asked for at the registry that is followed.
    passed: Option<(Method, String)>,
    call: Call,
}

impl Current {
    fn new(settings: Settings) -> Arc<Self> {
        let limits = settings.limits.clone();
        let quick = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(limits.at_once)
            .timeout(limits.request_time)
            .service(service_fn(run));
        // These wait as long as they asked for, so only their number has a limit.
        let slow = ServiceBuilder::new().load_shed().concurrency_limit(limits.blocked).service(service_fn(run));
        let (quick, slow) = (BoxCloneSyncService::new(quick), BoxCloneSyncService::new(slow));
        Arc::new(Current {
            settings: Arc::new(settings),
            answers: Arc::default(),
            epoch: fastrand::u64(..),
            quick,
            slow,
        })
    }
}

impl Shared {
    pub(super) fn new(
        registry: Registry,
        (store, behind): (Option<Arc<Store>>, Option<Behind>),
        settings: Settings,
    ) -> Self {
        Shared {
            waiting: Waiting::new(registry.clone()),
            waiting_here: behind.as_ref().map(|behind| Waiting::new(behind.own().clone())),
            behind,
            changes: Changes::new(registry.clone()),
            registry,
            store,
            counts: Counts::default(),
            events: Arc::new(Events::new()),
            current: RwLock::new(Current::new(settings)),
        }
    }

    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long the store has been away.
    fn away(&self) -> Option<Duration> {
        if let Some(behind) = &self.behind {
            let status = behind.status();
            return (!status.connected).then(|| status.since.elapsed());
        }
        let since = self.store.as_ref()?.standing().away_since?;
        Some(SystemTime::now().duration_since(since).unwrap_or_default())
    }

    /// Refuses, before anything is changed here that others would not see.
    fn takes_changes(&self) -> Result<(), Failure> {
        match self.store.as_ref().and_then(|store| store.refuses()) {
            Some(why) => Err(Failure::unavailable(why)),
            None => Ok(()),
        }
    }

    /// Waits until what was changed would survive a crash.
    async fn settled(&self, call: &Call) -> Result<(), Failure> {
        if let Some(behind) = &self.behind {
            let refused = |why| Failure::unavailable(format!("it is here, and the registry does not take it: {why}"));
            return behind.settled(call.about.get().map(String::as_str)).await.map_err(refused);
        }
        let Some(store) = &self.store else { return Ok(()) };
        store.settled().await.map_err(lost)
    }

    pub(super) fn reload(&self, settings: Settings) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current::new(settings);
        self.changes.judge();
    }
}

/// Answers one request.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>, from: From) -> Response<Outgoing> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let pretty = query.has("pretty");
    let policy = shared.current().settings.access.default;
    let (place, result) = directed(&shared, request, query, from).await;
    let reply = result.unwrap_or_else(Reply::from);
    shared.counts.count(place, reply.status);
    reply.written(pretty, policy)
}

async fn directed(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    query: Query,
    from: From,
) -> (Option<usize>, Result<Reply, Failure>) {
    let current = shared.current();
    let settings = &current.settings;
    let (head, body) = request.into_parts();
    if let Err(failure) = guard::check(settings, from, &head.method, &head.uri, &head.headers) {
        return (None, Err(failure));
    }
    let path = decoded(head.uri.path(), false);
    if path.chars().any(char::is_control) {
        return (None, Err(Failure::bad("the path has characters that cannot be printed")));
    }
    if let Err(failure) = guard::open(settings, &path) {
        return (None, Err(failure));
    }
    let Some(found) = routes::find(&path) else {
        return (None, Err(Failure::missing("Invalid URL path: not a recognized HTTP API endpoint")));
    };
    let place = Some(found.place);
    let Some(route) = found.routes.iter().find(|route| route.method == head.method) else {
        let refused = Some(&head.method).filter(|method| **method != Method::OPTIONS);
        return (place, Ok(Reply::methods(&found.allowed(), refused)));
    };
    let waits = match route.action {
        Action::Read(..) | Action::Pair(..) | Action::Events => {
            query.get("index").is_some_and(|index| !matches!(index, "" | "0"))
        }
        Action::Hashed(_) => query.has("hash"),
        Action::Now(_) | Action::Write(_) | Action::Order(_) | Action::Fire | Action::Follow => false,
    };
    let rights = match Rights::of(settings, &query, &head.headers) {
        Ok(rights) => Arc::new(rights),
        Err(failure) => return (place, Err(failure)),
    };
    // What lives here is registered here, and told there.
    let here = shared.behind.as_ref().filter(|_| route.path.starts_with("agent/"));
    let call = Call {
        registry: here.map_or(&shared.registry, |behind| behind.own()).clone(),
        settings: Arc::clone(settings),
        rest: found.rest.to_owned(),
        query,
        headers: head.headers,
        rights: Arc::clone(&rights),
        body: Bytes::new(),
        from: from.client,
        events: Arc::clone(&shared.events),
        about: OnceLock::new(),
    };
    let passed = shared.behind.as_ref().filter(|_| passed::is_passed(route.path, &route.method));
    let passed = passed.map(|_| (head.method.clone(), passed::path(&head.uri)));
    let mut call = call;
    if let Action::Write(_) | Action::Order(_) | Action::Fire = route.action {
        // Outside the limits: who is slow takes nobody's place.
        call.body = match read(body, settings.limits.body).await {
            Ok(body) => body,
            Err(failure) => return (place, Err(failure)),
        };
    }
    let answers = Arc::clone(&current.answers);
    let job = Job {
        shared: Arc::clone(shared),
        answers,
        epoch: current.epoch,
        place: found.place,
        action: route.action,
        passed,
        call,
    };
    let stack = if waits { current.slow.clone() } else { current.quick.clone() };
    let reply = stack.oneshot(job).await.map_err(|error| shed(&error)).map(|reply| dated(shared, reply));
    let partial = |reply: Reply| reply.header("x-consul-results-filtered-by-acls", "true");
    (place, reply.map(|reply| if rights.is_partial() { partial(reply) } else { reply }))
}

/// What was done here, and may not outlive us.
fn lost(why: String) -> Failure {
    Failure::unavailable(format!("done, but a crash now would undo it: {why}"))
}

/// With how old it is, while the store is away.
fn dated(shared: &Shared, reply: Reply) -> Reply {
    match shared.away() {
        None => reply,
        Some(away) => reply.header(REGISTRY, &format!("stale; age={}", away.as_secs())),
    }
}

/// What a limit has to say.
fn shed(error: &BoxError) -> Failure {
    if error.is::<tower::timeout::error::Elapsed>() {
        return Failure::unavailable("the request took too long");
    }
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once, come again")
}

async fn run(job: Job) -> Result<Reply, BoxError> {
    Ok(Box::pin(done(job)).await.unwrap_or_else(Reply::from))
}

async fn done(job: Job) -> Result<Reply, Failure> {
    let Job { shared, answers, epoch, place, action, passed, call } = job;
    if let Some(((method, path), behind)) = passed.zip(shared.behind.as_ref()) {
        return passed::pass(behind, &call, method, &path).await;
    }
    match action {
        // Two that follow each other would never forget anything.
        Action::Follow if shared.behind.is_some() => {
            Err(Failure::missing("this registry follows another one; follow that"))
        }
        Action::Now(now) => now(&call),
        Action::Fire => events::fire(&call),
        Action::Events => events::list(&call).await,
        Action::Follow => changes::start(&shared, &call, epoch),
        Action::Write(write) => {
            shared.takes_changes()?;
            let reply = write(&call)?;
            shared.settled(&call).await?;
            Ok(reply)
        }
        Action::Order(order) => {
            shared.takes_changes()?;
            let order = order(&call)?;
            let done = call.keys().order(order).await.map_err(|why| Failure::unavailable(why.to_string()))?;
            if let Some(store) = &shared.store {
                store.keys_settled().await.map_err(lost)?;
            }
            Ok(Reply::json(done.into()))
        }
        Action::Hashed(show) => hashed(&shared, &call, show).await,
        Action::Read(scope, show) => {
            let asked = Asked::of(&call)?;
            let scope = scope(&call)?;
            let snapshot = moved(&shared, &call, &asked, &scope).await?;
            let index = scope.index(&snapshot, call.keys());
            let key = Answers::key(place, &call);
            if let Some(answer) = key.as_ref().and_then(|key| answers.get(key, index)) {
                if answer.partial {
                    call.rights.hide();
                }
                return Ok(fresh(&shared, Reply { body: Body::Written(answer.body), ..Reply::done() }, &asked, index));
            }
            let value = show(&call, &asked, &snapshot)?;
            let body = match key {
                None => Body::Json(value),
                Some(key) => {
                    let body = Bytes::from(text(&value, false));
                    answers.put(key, Answer { index, body: body.clone(), partial: call.rights.hides() });
                    Body::Written(body)
                }
            };
            Ok(fresh(&shared, Reply { body, ..Reply::done() }, &asked, index))
        }
        Action::Pair(scope, show) => {
            let asked = Asked::of(&call)?;
            let scope = scope(&call)?;
            let snapshot = moved(&shared, &call, &asked, &scope).await?;
            // Before it is read: a later number would hide a change in between.
            let index = scope.index(&snapshot, call.keys());
            Ok(fresh(&shared, show(&call)?, &asked, index))
        }
    }
}

/// What the registry holds when the scope has changed since the number the client has seen, or when the wait is over.
async fn moved(shared: &Shared, call: &Call, asked: &Asked, scope: &Scope) -> Result<Arc<Snapshot>, Failure> {
    call.here()?;
    // Who has a number that nobody here can have told has it from before a restart, and what he has seen with it.
    if asked.waits() && asked.index <= scope.newest(&call.snapshot(), call.keys()) {
        shared.waiting.until(scope, asked.index, asked.wait).await;
    }
    Ok(call.snapshot())
}

/// With the headers that say how new an answer is.
fn fresh(shared: &Shared, reply: Reply, asked: &Asked, index: u64) -> Reply {
    let away = shared.away();
    let reply = reply
        .header("x-consul-index", &index.to_string())
        .header("x-consul-knownleader", if away.is_none() { "true" } else { "false" })
        .header("x-consul-lastcontact", &away.unwrap_or_default().as_millis().to_string())
        .header("x-consul-effective-consistency", asked.consistency)
        .header("x-consul-query-backend", "blocking-query");
    // Every answer is made from memory, and is as new as is known.
    if asked.cached { reply.header("x-cache", "HIT").header("age", "0") } else { reply }
}

async fn read(body: Incoming, most: usize) -> Result<Bytes, Failure> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect()).await;
    match whole.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took too long"))? {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {most} bytes")))
        }
        Err(_) => Err(Failure::bad("the body did not come whole")),
    }
}

/// Waits until what is shown has another hash than the client has seen.
async fn hashed(
    shared: &Shared,
    call: &Call,
    show: fn(&Call, &Snapshot) -> Result<Value, Failure>,
) -> Result<Reply, Failure> {
    let seen = call.query.get("hash").unwrap_or_default();
    let end = tokio::time::Instant::now() + asked::wait(call.query.get("wait").filter(|wait| !wait.is_empty()))?;
    let scope = Scope::node(&call.settings.node);
    loop {
        let snapshot = call.snapshot();
        let mut value = show(call, &snapshot)?;
        let hash = foldhash::quality::FixedState::default().hash_one(value.to_string());
        let hash = format!("{hash:016x}");
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if hash == seen && !left.is_zero() {
            let waiting = shared.waiting_here.as_ref().unwrap_or(&shared.waiting);
            waiting.until(&scope, scope.index(&snapshot, call.keys()), left).await;
            continue;
        }
        if let Some(map) = value.as_object_mut() {
            map.insert("ContentHash".into(), hash.clone().into());
        }
        return Ok(Reply::json(value).header("x-consul-contenthash", &hash));
    }
}

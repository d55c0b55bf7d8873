//! Which path is answered by what.

use super::asked::Asked;
use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::waiting::Scope;
use super::{acl, agent, catalog, health, kv, status};
use crate::State;
use crate::keys::Order;
use crate::snapshot::Snapshot;
use http::Method;
use serde_json::Value;

/// How a request is answered.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// From a snapshot; it may wait until the scope has changed.
    Read(fn(&Call) -> Result<Scope, Failure>, fn(&Call, &Asked, &Snapshot) -> Result<Value, Failure>),
    /// From a snapshot; it may wait until the answer is another one, of something on our own node.
    Hashed(fn(&Call, &Snapshot) -> Result<Value, Failure>),
    /// The same of the key-value store.
    Pair(fn(&Call) -> Result<Scope, Failure>, fn(&Call) -> Result<Reply, Failure>),
    /// An event, told to those who watch.
    Fire,
    /// The last events; it may wait for one.
    Events,
    /// At once.
    Now(fn(&Call) -> Result<Reply, Failure>),
    /// All that changes, for as long as the client reads.
    Follow,
    /// It changes keys and values, and is answered with whether its condition was so.
    Order(fn(&Call) -> Result<Order, Failure>),
    /// It changes the registry, and is answered when the change would survive a crash.
    Write(fn(&Call) -> Result<Reply, Failure>),
}

/// One path and one method.
pub(super) struct Route {
    /// Behind `/v1/`. One that ends in a slash takes everything that comes behind it.
    pub(super) path: &'static str,
    pub(super) method: Method,
    pub(super) action: Action,
}

const fn get(path: &'static str, action: Action) -> Route {
    Route { path, method: Method::GET, action }
}

const fn put(path: &'static str, write: fn(&Call) -> Result<Reply, Failure>) -> Route {
    Route { path, method: Method::PUT, action: Action::Write(write) }
}

use Action::{Hashed, Now, Pair, Read};

pub(super) static ROUTES: [Route; 39] = [
    put("agent/service/register", agent::register),
    put("agent/service/deregister/", agent::deregister),
    put("agent/service/maintenance/", agent::of_service),
    put("agent/maintenance", agent::of_node),
    put("agent/check/register", agent::register_check),
    put("agent/check/deregister/", agent::deregister_check),
    put("agent/check/pass/", |call| agent::report(call, State::Passing)),
    put("agent/check/warn/", |call| agent::report(call, State::Warning)),
    put("agent/check/fail/", |call| agent::report(call, State::Critical)),
    put("agent/check/update/", agent::update),
    get("agent/services", Now(agent::services)),
    get("agent/service/", Hashed(agent::service)),
    get("agent/checks", Now(agent::checks)),
    get("agent/health/service/id/", Now(agent::by_id)),
    get("agent/health/service/name/", Now(agent::by_name)),
    get("agent/self", Now(agent::myself)),
    get("agent/members", Now(agent::members)),
    put("catalog/register", catalog::register),
    put("catalog/deregister", catalog::deregister),
    get("catalog/datacenters", Now(catalog::datacenters)),
    get("catalog/nodes", Read(|_| Ok(Scope::Registered), catalog::nodes)),
    get("catalog/services", Read(|_| Ok(Scope::Registered), catalog::services)),
    get("catalog/service/", Read(service, catalog::service)),
    get("catalog/node/", Read(node, catalog::node)),
    get("catalog/node-services/", Read(node, catalog::node_services)),
    get("health/service/", Read(service, health::service)),
    get("health/node/", Read(node, health::node)),
    get("health/checks/", Read(service, health::checks)),
    get("health/state/", Read(state, health::state)),
    get("status/leader", Now(status::leader)),
    get("status/peers", Now(status::peers)),
    get("acl/token/self", Now(acl::myself)),
    Route { path: "acl/bootstrap", method: Method::PUT, action: Now(acl::bootstrap) },
    Route { path: "event/fire/", method: Method::PUT, action: Action::Fire },
    get("event/list", Action::Events),
    get(crate::wire::PATH, Action::Follow),
    get("kv/", Pair(kv::scope, kv::get)),
    Route { path: "kv/", method: Method::PUT, action: Action::Order(kv::put) },
    Route { path: "kv/", method: Method::DELETE, action: Action::Order(kv::delete) },
];

fn service(call: &Call) -> Result<Scope, Failure> {
    call.named("Missing service name").map(Scope::service)
}

fn node(call: &Call) -> Result<Scope, Failure> {
    call.named("Missing node name").map(Scope::node)
}

fn state(call: &Call) -> Result<Scope, Failure> {
    call.named("Missing check state").map(|_| Scope::All)
}

/// What a decoded path leads to.
pub(super) struct Found<'a> {
    /// The place of its first route in the table.
    pub(super) place: usize,
    /// One for each method.
    pub(super) routes: Vec<&'static Route>,
    /// What the path has behind.
    pub(super) rest: &'a str,
}

impl Found<'_> {
    /// The methods, as `Allow` lists them.
    pub(super) fn allowed(&self) -> String {
        let methods = self.routes.iter().map(|route| route.method.as_str());
        ["OPTIONS"].into_iter().chain(methods).collect::<Vec<_>>().join(",")
    }
}

/// What a decoded path leads to.
pub(super) fn find(path: &str) -> Option<Found<'_>> {
    let path = path.strip_prefix("/v1/")?;
    let fits = |route: &Route| match route.path.strip_suffix('/') {
        Some(front) => path.strip_prefix(front).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        None => path.strip_prefix(route.path).filter(|rest| rest.is_empty()),
    };
    // The longest counts: `agent/service/register` is no service of that name.
    let longest = ROUTES.iter().filter(|route| fits(route).is_some()).max_by_key(|route| route.path.len())?;
    let rest = fits(longest)?;
    let is_it = |route: &&Route| route.path == longest.path;
    Some(Found {
        place: ROUTES.iter().position(|route| is_it(&route))?,
        routes: ROUTES.iter().filter(is_it).collect(),
        rest: rest.strip_prefix('/').unwrap_or(rest),
    })
}

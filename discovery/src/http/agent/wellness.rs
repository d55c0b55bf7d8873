//! How instances on our own node are, in one word; load balancers ask for the status alone.

use super::own;
use crate::http::access::{Resource, Right};
use crate::http::call::Call;
use crate::http::failure::Failure;
use crate::http::reply::{Body, Reply};
use crate::http::shape;
use crate::snapshot::Member;
use http::StatusCode;
use http::header::ACCEPT;
use serde_json::{Value, json};
use std::sync::Arc;

/// How an instance is; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wellness {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Wellness {
    fn of(member: &Member) -> Self {
        let checks = member.checks.iter().chain(&*member.node_checks);
        let each = checks.map(|check| match check.state {
            _ if shape::is_maintenance(&check.definition.id) => Wellness::Maintenance,
            crate::State::Passing => Wellness::Passing,
            crate::State::Warning => Wellness::Warning,
            crate::State::Critical => Wellness::Critical,
        });
        each.max().unwrap_or(Wellness::Passing)
    }

    fn word(self) -> &'static str {
        match self {
            Wellness::Passing => "passing",
            Wellness::Warning => "warning",
            Wellness::Critical => "critical",
            Wellness::Maintenance => "maintenance",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Wellness::Passing => StatusCode::OK,
            Wellness::Warning => StatusCode::TOO_MANY_REQUESTS,
            Wellness::Critical | Wellness::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// `GET agent/health/service/id/ID`.
pub(in crate::http) fn by_id(call: &Call) -> Result<Reply, Failure> {
    let id = call.named("Missing serviceID")?;
    let snapshot = call.snapshot();
    let members = own(call, &snapshot).map(|entry| &*entry.instances).unwrap_or_default();
    let member = members.iter().find(|member| member.instance.id == id);
    let member = member.ok_or_else(|| Failure::missing(format!("ServiceId {id} not found")))?;
    call.rights.need(Resource::Service, &member.instance.service, Right::Read)?;
    Ok(answer(call, Wellness::of(member), || row(call, member)))
}

/// `GET agent/health/service/name/NAME`: the worst instance counts.
pub(in crate::http) fn by_name(call: &Call) -> Result<Reply, Failure> {
    let name = call.named("Missing service Name")?;
    call.rights.need(Resource::Service, name, Right::Read)?;
    let snapshot = call.snapshot();
    let members = own(call, &snapshot).map(|entry| &*entry.instances).unwrap_or_default();
    let members = members.iter().filter(|member| member.instance.service.eq_ignore_ascii_case(name));
    let members: Vec<&Arc<Member>> = members.collect();
    let worst = members.iter().map(|member| Wellness::of(member)).max();
    let worst = worst.ok_or_else(|| Failure::missing(format!("ServiceName {name} Not Found")))?;
    Ok(answer(call, worst, || members.iter().map(|member| row(call, member)).collect()))
}

fn row(call: &Call, member: &Member) -> Value {
    json!({
        "AggregatedStatus": Wellness::of(member).word(),
        "Service": shape::local(&member.instance, &call.settings.datacenter),
        "Checks": shape::checks(member, 0),
    })
}

fn answer(call: &Call, wellness: Wellness, rows: impl FnOnce() -> Value) -> Reply {
    let accepts = call.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let as_text = match call.query.get("format") {
        Some(format) => format == "text",
        None => accepts.is_some_and(|accept| accept.starts_with("text/plain")),
    };
    let body = if as_text { Body::Text(wellness.word().into()) } else { Body::Json(rows()) };
    let reply = Reply { status: wellness.status(), body, ..Reply::done() };
    reply.header("x-consul-reason", wellness.word())
}

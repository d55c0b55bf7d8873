//! What a gateway would do with a command, for people who ask: its middlewares are asked in this very process, with
//! counters of its own, and nothing is sent.

use super::gateway::{Gate, Gateway, Leads};
use crate::codec::plain;
use crate::exchange::{Delivery, Direction, Exchange, Head, Identity, Protocol, Silent};
use crate::gateway::Id;
use crate::middleware::Verdict;
use crate::middleware::line::Stop;
use crate::route::{Asked, PathHandling, Scheme, form, host_and_port, upstream_path};
use std::net::IpAddr;
use std::sync::Arc;

/// A command that is only spoken of.
pub struct Spoken {
    /// Method, target and header lines; the path in its normal form.
    pub head: Head,
    /// Whether it comes over TLS.
    pub tls: bool,
    /// Who sends it.
    pub client: IpAddr,
}

/// What a gateway would do with it.
#[derive(Debug, Default)]
pub struct Dry {
    /// The route, and which of its paths matched.
    pub route: Option<(String, Option<String>)>,
    /// Others that would take it.
    pub also: Vec<String>,
    /// The service.
    pub service: Option<String>,
    /// Where the route leads.
    pub leads: Option<Leads>,
    /// The path that the instance is asked for, and its host.
    pub upstream: (String, Option<String>),
    /// Who calls, as far as middlewares found out.
    pub consumer: Option<String>,
    /// Each middleware that is asked, and what it says.
    pub steps: Vec<(&'static str, String)>,
    /// Middlewares that are not reached.
    pub unreached: Vec<&'static str>,
    /// What is answered without a service.
    pub answer: Option<(u16, String)>,
    /// How it is delivered, if a middleware says so.
    pub delivery: Option<Arc<Delivery>>,
}

/// Asks a gateway.
pub fn dry(gateway: &Gateway, identity: &Arc<Identity>, spoken: Spoken) -> Dry {
    let Spoken { head, tls, client } = spoken;
    let grpc = head.headers.get_bytes("content-type").is_some_and(|t| t.starts_with(b"application/grpc"));
    let protocol = if grpc { Protocol::Grpc } else { Protocol::Http11 };
    let mut ex = Exchange::begin(identity, Direction::Inbound, protocol, head, &"".into());
    ex.client = Some(client);
    ex.trace.trace_id = u128::from_be_bytes(*Id::default().bytes());
    let mut out = Dry::default();
    let path = form::matching(ex.request.path()).into_owned();
    let gate = match gateway.implicit() {
        Some(gate) => {
            out.route = Some(("worker".to_owned(), None));
            out.upstream.0 = ex.request.path().to_owned();
            gate
        }
        None => {
            let scheme = match (grpc, tls) {
                (false, false) => Scheme::Http,
                (false, true) => Scheme::Https,
                (true, false) => Scheme::Grpc,
                (true, true) => Scheme::Grpcs,
            };
            let (host, port) = host_and_port(&ex.request.authority, if tls { 443 } else { 80 });
            let asked = Asked {
                scheme,
                host,
                port,
                method: ex.request.method.as_str(),
                path: &path,
                sni: tls.then_some(host),
                headers: &ex.request.headers,
            };
            let found = gateway.table().all(&asked);
            let name = |rule: usize| gateway.table().rule(rule).map_or(String::new(), |r| r.name.clone());
            let taken = found.first().and_then(|f| Some((f, gateway.gates().get(f.target)?)));
            let Some((first, gate)) = taken else {
                out.answer = Some((404, "no Route matched with those values".to_owned()));
                return out;
            };
            out.route = Some((name(first.rule), first.path.map(str::to_owned)));
            out.also = found.iter().skip(1).map(|f| name(f.rule)).filter(|n| *n != name(first.rule)).collect();
            out.also.dedup();
            out.upstream.0 = upstream_path(&gate.path, first.matched, gate.strip, PathHandling::V0, &path).into_owned();
            let wrong = gateway.table().rule(first.rule).and_then(|r| r.mismatch(tls, grpc, grpc));
            if let Some(wrong) = wrong {
                let reply = super::gated::mismatched(wrong, gate, &ex.request);
                out.answer = Some((reply.status, reply.why.into_owned()));
            }
            gate
        }
    };
    out.leads = Some(gate.leads);
    out.upstream.1.clone_from(&gate.host);
    out.service = gate.via.service.as_ref().map(|s| s.label.to_string());
    ex.via = Some(gate.via.clone());
    if out.answer.is_none() {
        steps(gate, &mut ex, &mut out);
    }
    // What middlewares have made of it.
    if let Some(path) = ex.path_instead.take() {
        out.upstream.0 = path;
    }
    if let Some(host) = ex.host_instead.take() {
        out.upstream.1 = Some(host);
    }
    if let Some(query) = ex.request.query() {
        out.upstream.0.push('?');
        out.upstream.0.push_str(query);
    }
    if out.answer.is_none() && gate.leads == Leads::Nowhere {
        out.answer = Some((503, "no Service found with those values".to_owned()));
    }
    out.consumer = ex.consumer.as_deref().map(str::to_owned);
    out.delivery = ex.delivery.take();
    out
}

/// Asks the middlewares of a service that the worker sends to.
pub fn dry_outbound(gate: &Gate, identity: &Arc<Identity>, spoken: Spoken) -> Dry {
    let mut ex = Exchange::begin(identity, Direction::Outbound, Protocol::Http11, spoken.head, &"".into());
    ex.client = Some(spoken.client);
    ex.via = Some(gate.via.clone());
    let mut out = Dry::default();
    steps(gate, &mut ex, &mut out);
    out.delivery = ex.delivery.take();
    out
}

/// Asks one middleware after the other.
fn steps(gate: &Gate, ex: &mut Exchange, out: &mut Dry) {
    for at in 0..gate.line.len() {
        let Some((name, explained)) = gate.line.at(at, ex).map(|m| (m.name(), m.explain(ex))) else { continue };
        if out.answer.is_some() {
            out.unreached.push(name);
            continue;
        }
        let said = match gate.line.only(at, ex, &Silent) {
            None => "passes".to_owned(),
            Some(Stop { wants, .. }) => match wants {
                Verdict::Next => "passes".to_owned(),
                Verdict::Reply(reply) => {
                    out.answer = Some((reply.status, reply.why.clone().into_owned()));
                    format!("answers {}: {}", reply.status, reply.why)
                }
                Verdict::Refuse(fault) => {
                    let reply = plain::reply(&fault);
                    out.answer = Some((reply.status, fault.detail.clone().into_owned()));
                    format!("answers {}: {}", reply.status, fault.detail)
                }
                Verdict::Body(_) => "looks at the body".to_owned(),
                Verdict::Wait(_) => "asks outside, or waits".to_owned(),
            },
        };
        out.steps.push((name, if explained.is_empty() { said } else { format!("{said} ({explained})") }));
    }
}

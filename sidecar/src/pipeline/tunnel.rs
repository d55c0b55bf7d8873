//! Connections that stop being HTTP: WebSocket and other upgrades, and CONNECT.

use super::refuse;
use super::told::Told;
use crate::codec::server::{Carried, Upgrade, relay};
use crate::codec::{Stream, hop};
use crate::command;
use crate::exchange::deadline::{Elapsed, until};
use crate::exchange::{Answer, Body, Counted, Fault, FaultKind, Head, Headers, Protocol};
use crate::route::Way;
use crate::upstream::{Choice, InFlight, Pick, Sent};
use std::time::Instant;

/// Whether a request asks for another protocol (RFC 9110, 7.8).
pub(super) fn asked(head: &Head) -> bool {
    head.headers.contains("upgrade")
        && head
            .headers
            .get_all("connection")
            .flat_map(|line| line.split(|b| *b == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// The instance has switched: answer 101 and relay bytes until both sides have ended.
pub(super) fn switch(mut told: Told, sent: Sent, upgrade: Option<Upgrade>) -> Answer {
    let (mut headers, far, in_flight) = sent.into_stream();
    let (Some(near), Some((far, counted))) = (upgrade, far) else {
        return refuse::refuse(
            told,
            Fault::new(FaultKind::BadAnswer, "101 to a request that asked for no upgrade"),
            Body::Empty,
        );
    };
    told.ex.protocol = Protocol::WebSocket;
    told.ex.status = 101;
    command::from_answer(&mut told.ex, &mut headers);
    hop::hop_by_hop(&mut headers, true);
    told.answered(&headers, false);
    tokio::task::spawn_local(carry(told, near, far, (in_flight, Some(counted))));
    Answer { status: 101, headers, body: Body::Empty }
}

/// CONNECT: a connection to the named place, bytes both ways.
pub(super) async fn connect(mut told: Told, way: Way, upgrade: Option<Upgrade>, body: Body) -> Answer {
    let Some(near) = upgrade else {
        return refuse::refuse(told, Fault::new(FaultKind::BadRequest, "CONNECT is for HTTP/1.1 here"), body);
    };
    let picked = match way.cluster.pick(Instant::now(), &Choice::default(), &[]) {
        Pick::One(endpoint) => endpoint.enter(way.cluster.most()).map(|in_flight| (endpoint, in_flight)),
        Pick::Full | Pick::None => None,
    };
    let Some((endpoint, in_flight)) = picked else {
        let fault = Fault::new(FaultKind::NotReady, "no instance is ready, or has room").retry_after(1);
        return refuse::refuse(told, fault, body);
    };
    told.ex.upstream = Some(endpoint.label.clone());
    told.ex.timings.sent = Some(Instant::now());
    let limit = told.road.timeouts.connect;
    let detail = match until(Instant::now() + limit, endpoint.open()).await {
        Ok(Ok(socket)) => {
            endpoint.reached();
            told.ex.timings.answered = Some(Instant::now());
            told.ex.status = 200;
            let far = Stream::new(socket, Vec::new());
            tokio::task::spawn_local(carry(told, near, far, (in_flight, None)));
            return Answer { status: 200, headers: Headers::default(), body: Body::Empty };
        }
        Ok(Err(e)) => format!("{}: {e}", endpoint.label),
        Err(Elapsed) => format!("{}: no connection within {limit:?} (timeouts.connect)", endpoint.label),
    };
    endpoint.failed(Instant::now());
    refuse::refuse(told, Fault::new(FaultKind::Unreachable, detail), body)
}

async fn carry(mut told: Told, near: Upgrade, far: Stream, counted: (InFlight, Option<Counted>)) {
    let carried = Carried::default();
    told.body_in = Some(carried.inward.clone());
    told.tunnel_out = Some(carried.outward.clone());
    if let Err(e) = relay(near, far, &carried).await {
        // One side ended without a goodbye, as WebSocket clients do; the exchange itself went well.
        tracing::debug!("a tunnel ended: {e}");
    }
    drop(counted);
    told.finish();
}

//! Other Fourmis, as this one's page sees them: what passes between them, and the hops of one command through all.
//!
//! All are asked at once, briefly, and whoever does not answer is named; nobody is waited for.

use super::Control;
use crate::config::Fellow;
use crate::sink::Which;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long one may take.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Bytes of its answer.
const ANSWER_MAX: usize = 1 << 20;
/// Hops of one command.
const HOPS_MAX: usize = 200;

/// What each says of itself: `nodes`, of which the first is this one, and `unanswered`.
pub(super) async fn topology(peers: &[Fellow], own: Value) -> Value {
    let (mut nodes, mut unanswered) = (vec![own], Vec::new());
    for (address, answer) in ask_all(peers, "/api/v1/overview").await {
        match answer {
            Ok(mut node) => {
                node["address"] = address.into();
                nodes.push(node);
            }
            Err(why) => unanswered.push(json!({"address": address, "why": why})),
        }
    }
    json!({"nodes": nodes, "unanswered": unanswered})
}

/// The registry of the first peer that has one.
pub(super) async fn registry(peers: &[Fellow]) -> Value {
    for (address, answer) in ask_all(peers, "/api/v1/registry?own").await {
        if let Ok(mut known) = answer
            && known["services"].is_array()
        {
            known["from"] = format!("http://{address}").into();
            return known;
        }
    }
    json!({"none": true})
}

/// Every hop of a command that is known here and elsewhere: by its trace, or by its id and then by its trace.
pub(super) async fn journey(peers: &[Fellow], which: &Which, control: &dyn Control) -> Value {
    let mut which = which.clone();
    let mut hops = Hops::default();
    hops.add(control.eyes().recent(&which, HOPS_MAX));
    let mut unanswered = hops.ask(peers, &which).await;
    // An id is one hop's; what it caused has ids of its own and the same trace.
    if which.trace.is_none()
        && let Some(trace) = hops.trace()
    {
        which = Which { trace: Some(trace), id: None };
        hops.add(control.eyes().recent(&which, HOPS_MAX));
        unanswered = hops.ask(peers, &which).await;
    }
    hops.shown(unanswered)
}

/// Hops of one command, each once.
#[derive(Default)]
struct Hops {
    all: Vec<Value>,
    more: bool,
}

impl Hops {
    fn add(&mut self, mut answer: Value) {
        let new = answer.get_mut("commands").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        self.more |= answer["more"].as_u64() > Some(0);
        for hop in new {
            // A span is one hop's; a try that was told by itself has one of its own.
            let same =
                |known: &Value| ["span_id", "service", "direction", "timestamp"].iter().all(|k| known[*k] == hop[*k]);
            if self.all.iter().any(same) {
                continue;
            }
            match self.all.len() < HOPS_MAX {
                true => self.all.push(hop),
                false => self.more = true,
            }
        }
    }

    async fn ask(&mut self, peers: &[Fellow], which: &Which) -> Vec<Value> {
        let mut query = format!("/api/v1/recent?limit={HOPS_MAX}");
        if let Some(trace) = which.trace {
            query.push_str(&format!("&trace={trace:032x}"));
        }
        if let Some(id) = &which.id {
            query.push_str("&id=");
            query.extend(id.bytes().map(|b| match b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                true => char::from(b).to_string(),
                false => format!("%{b:02X}"),
            }));
        }
        let mut unanswered = Vec::new();
        for (address, answer) in ask_all(peers, &query).await {
            match answer {
                Ok(answer) => self.add(answer),
                Err(why) => unanswered.push(json!({"address": address, "why": why})),
            }
        }
        unanswered
    }

    /// The trace of what was found.
    fn trace(&self) -> Option<u128> {
        self.all.iter().find_map(|hop| u128::from_str_radix(hop["trace_id"].as_str()?, 16).ok())
    }

    fn shown(mut self, unanswered: Vec<Value>) -> Value {
        let begin = |hop: &Value| hop["timestamp"].as_f64().unwrap_or(0.0);
        self.all.sort_by(|a, b| begin(a).total_cmp(&begin(b)));
        json!({
            "trace_id": self.trace().map(|trace| format!("{trace:032x}")),
            "hops": self.all,
            "more": self.more,
            "unanswered": unanswered,
        })
    }
}

/// Asks all at once; what each answered, in their order.
async fn ask_all(peers: &[Fellow], path: &str) -> Vec<(String, Result<Value, String>)> {
    let mut asking = JoinSet::new();
    for (at, peer) in peers.iter().enumerate() {
        let (peer, path) = (peer.clone(), path.to_owned());
        asking.spawn_local(async move {
            let answer = tokio::time::timeout(PATIENCE, ask(&peer, &path)).await;
            (at, peer.authority, answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))))
        });
    }
    let mut answers = Vec::with_capacity(peers.len());
    while let Some(asked) = asking.join_next().await {
        answers.extend(asked.ok());
    }
    answers.sort_by_key(|(at, ..)| *at);
    answers.into_iter().map(|(_, address, answer)| (address, answer)).collect()
}

async fn ask(peer: &Fellow, path: &str) -> Result<Value, String> {
    let token = match &peer.token_file {
        None => None,
        Some(file) => Some(crate::token::read(file).map_err(|e| format!("{}: {e}", file.display()))?),
    };
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let stream = TcpStream::connect(&peer.authority).await.map_err(|e| text(&e))?;
    // By its address: whatever it is called here, it need not know that name.
    let host = stream.peer_addr().map_err(|e| text(&e))?.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| text(&e))?;
    // One that never answers is let go of, or its connections would add up.
    tokio::task::spawn_local(tokio::time::timeout(PATIENCE, connection));
    let mut request = http::Request::get(path).header("host", host).header("accept", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| text(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|e| text(&e))?.to_bytes();
    let value: Value = serde_json::from_slice(&body).map_err(|_| format!("{status}, and nothing that is JSON"))?;
    match status.is_success() {
        true if value.as_object().is_some_and(|o: &Map<String, Value>| !o.is_empty()) => Ok(value),
        true => Err("it is no Fourmi".into()),
        false => Err(format!("{status}: {}", value["detail"].as_str().unwrap_or_default())),
    }
}

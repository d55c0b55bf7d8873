//! The workers: what a real service would be, with its failures and without its database.

use super::caller::{CallError, Caller, Tally};
use super::system::{QUOTA, SERVICES};
use super::tell;

use crate::names::header;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

#[cfg(test)]
mod tests;

/// Bytes of a command's body.
const BODY: usize = 64 << 10;

/// What a worker process is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    name: String,
    port: u16,
    proxy: Option<SocketAddr>,
}

/// `NAME --port P [--proxy http://HOST:PORT]`.
pub(super) fn parse(args: &[String]) -> Result<Job, String> {
    let mut args = args.iter();
    let name = args.next().ok_or("which worker?")?.clone();
    if !SERVICES.iter().any(|service| service.name == name) {
        let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
        return Err(format!("there is no worker `{name}`; there are {}", names.join(", ")));
    }
    let (mut port, mut proxy) = (None, None);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--port" => port = Some(value.parse().map_err(|_| format!("`{value}` is no port"))?),
            "--proxy" => {
                let at = value.strip_prefix("http://").unwrap_or(value).trim_end_matches('/');
                proxy = Some(at.parse().map_err(|_| format!("`{value}` is not http://ADDRESS:PORT"))?);
            }
            _ => return Err(format!("there is no flag `{flag}`")),
        }
    }
    let port = port.ok_or("--port is needed")?;
    if name == SERVICES[0].name && proxy.is_none() {
        return Err(format!("{name} calls the others: --proxy http://127.0.0.1:PORT is needed"));
    }
    Ok(Job { name, port, proxy })
}

/// Serves until the process is ended.
pub(super) async fn serve(job: Job) -> u8 {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, job.port)).await {
        Ok(listener) => listener,
        Err(error) => {
            tell(format_args!("{}: port {}: {error}", job.name, job.port));
            return 1;
        }
    };
    accept(listener, Rc::new(Worker::new(&job))).await;
    0
}

async fn accept(listener: TcpListener, worker: Rc<Worker>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let worker = Rc::clone(&worker);
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                // A task of its own: when the caller leaves, what was begun still ends and is counted.
                let task = tokio::task::spawn_local(answer(Rc::clone(&worker), request));
                async move { Ok::<_, Infallible>(task.await.unwrap_or_else(|_| reply(500, json!({})))) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// One worker's state.
struct Worker {
    name: String,
    handled: Cell<u64>,
    /// When the mails of the last second came.
    mails: RefCell<VecDeque<Instant>>,
    /// The most that ever came within one second.
    most_mails: Cell<usize>,
    proxy: Option<Caller>,
    /// One for each service that it calls, in the order of [`SERVICES`].
    calls: [Tally; SERVICES.len()],
}

impl Worker {
    fn new(job: &Job) -> Self {
        Worker {
            name: job.name.clone(),
            handled: Cell::new(0),
            mails: RefCell::default(),
            most_mails: Cell::new(0),
            proxy: job.proxy.map(|at| Caller::new(at, Duration::from_secs(10))),
            calls: Default::default(),
        }
    }

    /// What it has done, for the sums: asked directly, not through Fourmi.
    fn stats(&self) -> Value {
        let calls: serde_json::Map<_, _> = SERVICES
            .iter()
            .zip(&self.calls)
            .map(|(service, t)| {
                let numbers = json!({
                    "sent": t.sent.get(), "answered": t.answered.get(), "refused": t.refused.get(), "unsent": t.unsent.get(),
                });
                (service.name.to_owned(), numbers)
            })
            .collect();
        json!({"handled": self.handled.get(), "calls": calls, "most_mails": self.most_mails.get()})
    }
}

type Reply = Response<Full<Bytes>>;

async fn answer(worker: Rc<Worker>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/healthz") => return reply(200, json!({"ready": true})),
        (&Method::GET, "/stats") => return reply(200, worker.stats()),
        (&Method::POST, _) => {}
        _ => return reply(404, json!({"error": "commands are posted"})),
    }
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return reply(400, json!({"error": "the command did not come whole"}));
    };
    worker.handled.set(worker.handled.get() + 1);
    match worker.name.as_str() {
        "order" => order(&worker, &head.headers, body.to_bytes()).await,
        "mail" => mail(&worker),
        name => {
            let (least, most) = if name == "payment" { (2, 8) } else { (1, 3) };
            tokio::time::sleep(Duration::from_millis(fastrand::u64(least..=most))).await;
            side(name, fastrand::f32())
        }
    }
}

/// Stock, payment, invoice: mostly well. `luck` is 0 to 1.
fn side(name: &str, luck: f32) -> Reply {
    match name {
        "stock" if luck < 0.03 => reply(409, json!({"error": "out of stock"})),
        "payment" if luck < 0.04 => reply(402, json!({"error": "card declined"})),
        "payment" if luck < 0.05 => tagged(reply(503, json!({"error": "the bank is away"})), "retry-after", "1"),
        // A worker may say more about its command than the caller knew.
        "payment" => tagged(reply(200, json!({"charged": true})), header::TAGS, "method=card"),
        "invoice" if luck < 0.005 => reply(500, json!({"error": "no paper"})),
        _ => reply(200, json!({"done": true})),
    }
}

/// Takes so many in any second and no more; beyond it says 429, as real providers do.
fn mail(worker: &Worker) -> Reply {
    let now = Instant::now();
    let mut mails = worker.mails.borrow_mut();
    while mails.front().is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1)) {
        mails.pop_front();
    }
    worker.most_mails.set(worker.most_mails.get().max(mails.len() + 1));
    if mails.len() >= QUOTA as usize {
        return tagged(reply(429, json!({"error": "quota"})), "retry-after", "1");
    }
    mails.push_back(now);
    reply(202, json!({"queued": true}))
}

/// Reserve, charge, then invoice and mail at the same time. A mail may wait, the rest may not fail.
async fn order(worker: &Worker, head: &HeaderMap, body: Bytes) -> Reply {
    for at in [1, 2] {
        let status = ask(worker, at, head, &body).await;
        if status >= 400 {
            return reply(if status >= 500 { 502 } else { status }, json!({"refused by": SERVICES[at].name}));
        }
    }
    let (invoice, mail) = tokio::join!(ask(worker, 3, head, &body), ask(worker, 4, head, &body));
    if invoice >= 400 {
        return reply(502, json!({"refused by": SERVICES[3].name}));
    }
    reply(201, json!({"order": "placed", "mail": if mail < 400 { "sent" } else { "later" }}))
}

/// Sends a command through the own Fourmi to another service, by name, and returns the status of its answer.
async fn ask(worker: &Worker, at: usize, head: &HeaderMap, body: &Bytes) -> u16 {
    let Some(proxy) = &worker.proxy else { return 500 };
    let service = SERVICES[at];
    let mut request = Request::post(format!("/{}", service.command))
        .header("host", service.name)
        .header("content-type", "application/json")
        .header(header::COMMAND, service.command);
    // What a service must pass on so that its own commands are known as children of the one it handles.
    for name in [header::TRACEPARENT, header::TRACESTATE, header::TAGS] {
        if let Some(value) = head.get(name) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(Full::new(body.clone())) else { return 500 };
    match proxy.call(request, &worker.calls[at]).await {
        Ok(answer) => answer.status().as_u16(),
        Err(error @ (CallError::Unsent(_) | CallError::Unanswered(_))) => {
            tell(format_args!("{}: {}: {error}", worker.name, service.name));
            502
        }
    }
}

fn reply(status: u16, body: Value) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body.to_string())));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    tagged(reply, "content-type", "application/json")
}

fn tagged(mut reply: Reply, name: &'static str, value: &'static str) -> Reply {
    reply.headers_mut().insert(name, http::HeaderValue::from_static(value));
    reply
}

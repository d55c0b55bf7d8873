//! Datadog's intake of logs as a strict stub.
//! <https://docs.datadoghq.com/api/latest/logs/#send-logs>

use super::http_sink::{Answer, Heard, HttpSink};
use crate::net::free_port;
use crate::patience::eventually;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// The longest request, unpacked bytes.
pub const REQUEST_LIMIT: usize = 5_000_000;
/// The longest log, bytes; a longer one is cut without a word.
pub const LOG_LIMIT: usize = 1_000_000;
/// The most logs in a request.
pub const ENTRY_LIMIT: usize = 1000;

const KEY: &str = "b7d1c2e3f4a5968778695a4b3c2d1e0f";

/// The receiver.
pub struct DatadogLogs {
    /// What it heard, and what befalls it.
    pub sink: HttpSink,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    logs: Vec<Value>,
    cut: usize,
}

impl DatadogLogs {
    /// Over HTTP.
    pub fn start() -> Self {
        Self::with(None)
    }
    /// Over HTTPS if there is a server for it.
    pub fn with(tls: Option<Arc<ServerConfig>>) -> Self {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let all = taken.clone();
        let sink = HttpSink::start_on(free_port(), tls, move |heard| match take(heard) {
            Ok(logs) => {
                let mut taken = all.lock().unwrap();
                taken.cut += logs.iter().filter(|l| l.to_string().len() > LOG_LIMIT).count();
                taken.logs.extend(logs);
                Answer::json(202, &json!({}))
            }
            Err((status, why)) => {
                let error = json!({"status": status.to_string(), "title": why, "detail": why});
                Answer::json(status, &json!({"errors": [error]}))
            }
        });
        DatadogLogs { sink, taken }
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.sink.port()
    }
    /// The API key that it takes.
    pub fn key(&self) -> &str {
        KEY
    }
    /// Every log that it took, in order.
    pub fn logs(&self) -> Vec<Value> {
        self.taken.lock().unwrap().logs.clone()
    }
    /// How many of them Datadog would have cut, since they are longer than [`LOG_LIMIT`].
    pub fn cut(&self) -> usize {
        self.taken.lock().unwrap().cut
    }
    /// Waits until it took so many logs.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("Datadog took {count} logs, it has {}", self.logs().len()), || {
            Some(self.logs()).filter(|l| l.len() >= count)
        })
    }
}

type Refused = (u16, &'static str);

fn take(heard: &Heard) -> Result<Vec<Value>, Refused> {
    if heard.path != "/api/v2/logs" {
        return Err((404, "Not Found"));
    }
    if heard.method != "POST" {
        return Err((405, "Method Not Allowed"));
    }
    match heard.header("dd-api-key") {
        None | Some("") => return Err((401, "Unauthorized")),
        Some(KEY) => (),
        Some(_) => return Err((403, "Forbidden")),
    }
    let kind = heard.header("content-type").unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err((415, "Unsupported Media Type"));
    }
    let body = heard.plain().ok_or((400, "Bad Request: the content coding is a lie"))?;
    if body.len() > REQUEST_LIMIT {
        return Err((413, "Payload Too Large"));
    }
    let logs = match serde_json::from_slice(&body) {
        Ok(Value::Array(logs)) => logs,
        Ok(log @ Value::Object(_)) => vec![log],
        _ => return Err((400, "Bad Request: neither an array nor an object")),
    };
    if logs.len() > ENTRY_LIMIT {
        return Err((413, "Payload Too Large: too many entries"));
    }
    let texts = ["ddsource", "ddtags", "hostname", "service"];
    let good = |log: &Value| {
        log.as_object().is_some_and(|o| {
            o.get("message").is_some_and(Value::is_string)
                && texts.iter().all(|k| o.get(*k).is_none_or(Value::is_string))
        })
    };
    if logs.iter().all(good) { Ok(logs) } else { Err((400, "Bad Request: a log without message, or not of texts")) }
}

//! Splunk's HTTP Event Collector as a strict stub: it refuses what Splunk refuses, with Splunk's codes.
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector>

use super::http_sink::{Answer, Heard, HttpSink};
use crate::net::free_port;
use crate::patience::eventually;
use rustls::ServerConfig;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// How its administrator set it up.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The token.
    pub token: String,
    /// The token is switched off: code 1.
    pub disabled: bool,
    /// Indexer acknowledgement is on: a channel is a must, and answers carry an `ackId`.
    pub ack: bool,
    /// The indexes that the token may write to; empty: all.
    pub indexes: Vec<String>,
    /// The longest unpacked body, bytes.
    pub max_content: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            token: "8a3f1f4e-5c1d-4f0b-9a51-2f4c3b7d9e10".to_owned(),
            disabled: false,
            ack: false,
            indexes: Vec::new(),
            max_content: 838_860_800,
        }
    }
}

/// When a batch is said to be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// When first asked.
    AtOnce,
    /// When asked so often.
    After(usize),
    /// Never.
    Never,
}

struct Batch {
    polls: usize,
}

struct Taken {
    events: Vec<Value>,
    raw: Vec<String>,
    next_ack: HashMap<String, u64>,
    waiting: HashMap<(String, u64), Batch>,
    acks: Acks,
    polls: usize,
    bad_event: Option<usize>,
}

/// The collector.
pub struct Splunk {
    /// What it heard, and what befalls it.
    pub sink: HttpSink,
    rules: Rules,
    taken: Arc<Mutex<Taken>>,
}

fn says(status: u16, code: u32, text: &str) -> Answer {
    Answer::json(status, &json!({"text": text, "code": code}))
}

fn says_of(status: u16, code: u32, text: &str, event: usize) -> Answer {
    Answer::json(status, &json!({"text": text, "code": code, "invalid-event-number": event}))
}

impl Splunk {
    /// With the rules of most, over HTTP.
    pub fn start() -> Self {
        Self::with(Rules::default(), None)
    }
    /// With these rules; over HTTPS if there is a server for it.
    pub fn with(rules: Rules, tls: Option<Arc<ServerConfig>>) -> Self {
        let taken = Arc::new(Mutex::new(Taken {
            events: Vec::new(),
            raw: Vec::new(),
            next_ack: HashMap::new(),
            waiting: HashMap::new(),
            acks: Acks::AtOnce,
            polls: 0,
            bad_event: None,
        }));
        let (theirs, all) = (rules.clone(), taken.clone());
        let sink = HttpSink::start_on(free_port(), tls, move |heard| {
            answer(heard, &theirs, &mut all.lock().unwrap()).unwrap_or_else(|refused| refused)
        });
        Splunk { sink, rules, taken }
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.sink.port()
    }
    /// The token that it takes.
    pub fn token(&self) -> &str {
        &self.rules.token
    }
    /// Every event that it took, whole (`time`, `host`, `event`, `fields`, …), in order; one that was sent twice is there
    /// twice.
    pub fn events(&self) -> Vec<Value> {
        self.taken.lock().unwrap().events.clone()
    }
    /// What came to the raw endpoint, line by line.
    pub fn raw(&self) -> Vec<String> {
        self.taken.lock().unwrap().raw.clone()
    }
    /// Waits until it took so many events.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("Splunk took {count} events, it has {}", self.events().len()), || {
            Some(self.events()).filter(|e| e.len() >= count)
        })
    }
    /// Of the next batch it takes the events before this one (counted from 0) and refuses with code 6.
    pub fn refuse_event(&self, number: usize) {
        self.taken.lock().unwrap().bad_event = Some(number);
    }
    /// When it says from now on that a batch is indexed.
    pub fn acks(&self, acks: Acks) {
        self.taken.lock().unwrap().acks = acks;
    }
    /// How often it was asked for acknowledgements.
    pub fn polls(&self) -> usize {
        self.taken.lock().unwrap().polls
    }
}

fn answer(heard: &Heard, rules: &Rules, taken: &mut Taken) -> Result<Answer, Answer> {
    let path = heard.path.trim_end_matches('/').trim_end_matches("/1.0");
    let method = if path == "/services/collector/health" { "GET" } else { "POST" };
    let known = ["/services/collector", "/services/collector/event", "/services/collector/raw"].contains(&path)
        || path == "/services/collector/ack"
        || method == "GET";
    if !known {
        return Err(says(404, 404, "The requested URL was not found on this server."));
    }
    if heard.method != method {
        return Err(says(405, 405, "Method Not Allowed"));
    }
    if method == "GET" {
        return Ok(says(200, 17, "HEC is healthy"));
    }
    authorized(heard, rules)?;
    let channel = channel(heard, rules, path)?;
    let body = heard.plain().ok_or_else(|| says(400, 6, "Invalid data format"))?;
    if body.len() > rules.max_content {
        return Err(says(413, 27, "Request entity too large"));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(says(400, 5, "No data"));
    }
    match path {
        "/services/collector/ack" => return acknowledge(&body, rules, channel, taken),
        "/services/collector/raw" => {
            taken.raw.extend(String::from_utf8_lossy(&body).lines().map(str::to_owned));
        }
        _ => take(&body, rules, taken)?,
    }
    if !rules.ack {
        return Ok(says(200, 0, "Success"));
    }
    let channel = channel.unwrap_or_default();
    let id = taken.next_ack.entry(channel.clone()).or_default();
    let this = *id;
    *id += 1;
    taken.waiting.insert((channel, this), Batch { polls: 0 });
    Ok(Answer::json(200, &json!({"text": "Success", "code": 0, "ackId": this})))
}

fn authorized(heard: &Heard, rules: &Rules) -> Result<(), Answer> {
    let Some(given) = heard.header("authorization") else {
        return Err(says(401, 2, "Token is required"));
    };
    let Some(token) = given.strip_prefix("Splunk ").filter(|t| !t.is_empty()) else {
        return Err(says(401, 3, "Invalid authorization"));
    };
    if token != rules.token {
        return Err(says(403, 4, "Invalid token"));
    }
    if rules.disabled {
        return Err(says(403, 1, "Token disabled"));
    }
    Ok(())
}

fn channel(heard: &Heard, rules: &Rules, path: &str) -> Result<Option<String>, Answer> {
    let given = heard.header("x-splunk-request-channel").or_else(|| heard.parameter("channel"));
    let must = rules.ack || path.ends_with("/raw") || path.ends_with("/ack");
    let Some(channel) = given else {
        return if must { Err(says(400, 10, "Data channel is missing")) } else { Ok(None) };
    };
    // A UUID, with its four dashes or without.
    let shape: Vec<usize> = channel.split('-').map(str::len).collect();
    let digits = channel.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !digits || !matches!(shape.as_slice(), [8, 4, 4, 4, 12] | [32]) {
        return Err(says(400, 11, "Invalid data channel"));
    }
    Ok(Some(channel.to_ascii_lowercase()))
}

/// Objects one after the other, not an array; those before a bad one are taken.
fn take(body: &[u8], rules: &Rules, taken: &mut Taken) -> Result<(), Answer> {
    let refused = taken.bad_event.take();
    for (number, event) in serde_json::Deserializer::from_slice(body).into_iter::<Value>().enumerate() {
        let format = || says_of(400, 6, "Invalid data format", number);
        let event = event.map_err(|_| format())?;
        let Some(object) = event.as_object().filter(|_| refused != Some(number)) else { return Err(format()) };
        match object.get("event") {
            None => return Err(says_of(400, 12, "Event field is required", number)),
            Some(Value::Null) => return Err(says_of(400, 13, "Event field cannot be blank", number)),
            Some(Value::String(text)) if text.trim().is_empty() => {
                return Err(says_of(400, 13, "Event field cannot be blank", number));
            }
            Some(_) => (),
        }
        let seconds = match object.get("time") {
            None => true,
            Some(Value::String(text)) => text.parse::<f64>().is_ok(),
            Some(other) => other.is_number(),
        };
        let texts =
            ["host", "source", "sourcetype", "index"].iter().all(|k| object.get(*k).is_none_or(Value::is_string));
        let unknown = object
            .keys()
            .any(|k| !["event", "time", "host", "source", "sourcetype", "index", "fields"].contains(&k.as_str()));
        if !seconds || !texts || unknown {
            return Err(format());
        }
        let index = object.get("index").and_then(Value::as_str);
        if index.is_some_and(|i| !rules.indexes.is_empty() && !rules.indexes.iter().any(|known| known == i)) {
            return Err(says_of(400, 7, "Incorrect index", number));
        }
        if !object.get("fields").is_none_or(flat) {
            return Err(says_of(400, 15, "Error in handling indexed fields", number));
        }
        taken.events.push(event);
    }
    Ok(())
}

/// Indexed fields are texts, numbers, or lists of texts; nothing deeper.
fn flat(fields: &Value) -> bool {
    let simple = |v: &Value| match v {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => true,
        Value::Array(list) => list.iter().all(Value::is_string),
        _ => false,
    };
    fields.as_object().is_some_and(|o| o.values().all(simple))
}

fn acknowledge(body: &[u8], rules: &Rules, channel: Option<String>, taken: &mut Taken) -> Result<Answer, Answer> {
    if !rules.ack {
        return Err(says(400, 14, "ACK is disabled"));
    }
    let question: Value = serde_json::from_slice(body).map_err(|_| says(400, 6, "Invalid data format"))?;
    let Some(ids) = question["acks"].as_array().filter(|ids| ids.iter().all(Value::is_u64)) else {
        return Err(says(400, 6, "Invalid data format"));
    };
    let (channel, acks) = (channel.unwrap_or_default(), taken.acks);
    taken.polls += 1;
    let mut indexed = serde_json::Map::new();
    for id in ids.iter().filter_map(Value::as_u64).collect::<HashSet<_>>() {
        let key = (channel.clone(), id);
        let done = taken.waiting.get_mut(&key).is_some_and(|batch| {
            batch.polls += 1;
            match acks {
                Acks::AtOnce => true,
                Acks::After(polls) => batch.polls >= polls,
                Acks::Never => false,
            }
        });
        // What was said once is forgotten.
        if done {
            taken.waiting.remove(&key);
        }
        indexed.insert(id.to_string(), done.into());
    }
    Ok(Answer::json(200, &json!({"acks": indexed})))
}

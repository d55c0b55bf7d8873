//! Graylog's GELF HTTP input as a strict stub.
//! <https://go2docs.graylog.org/current/getting_in_log_data/gelf.html>

use super::http_sink::{Answer, Heard, HttpSink};
use crate::net::free_port;
use crate::patience::eventually;
use rustls::ServerConfig;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// How its administrator set it up.
#[derive(Debug, Clone)]
pub struct Rules {
    /// A header that must have this value: 401.
    pub header: Option<(String, String)>,
    /// Several messages in one body, one a line.
    pub bulk: bool,
    /// The longest unpacked body, bytes: 413.
    pub max_body: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { header: None, bulk: false, max_body: 65_536 }
    }
}

/// The input. It says 202 before it looks: what it then cannot read is in [`GelfHttp::discarded`].
pub struct GelfHttp {
    /// What it heard, and what befalls it.
    pub sink: HttpSink,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    records: Vec<Value>,
    discarded: Vec<String>,
}

impl GelfHttp {
    /// As Graylog makes it, over HTTP.
    pub fn start() -> Self {
        Self::with(Rules::default(), None)
    }
    /// With these rules; over HTTPS if there is a server for it.
    pub fn with(rules: Rules, tls: Option<Arc<ServerConfig>>) -> Self {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let all = taken.clone();
        let sink = HttpSink::start_on(free_port(), tls, move |heard| match accepted(heard, &rules) {
            Ok(body) => {
                let mut taken = all.lock().unwrap();
                // Without bulk, one JSON value is read and the rest of the body is lost.
                let text = String::from_utf8_lossy(&body);
                let messages: Vec<&str> = if rules.bulk { text.lines().collect() } else { vec![&text] };
                for message in messages.into_iter().filter(|m| !m.trim().is_empty()) {
                    read(message, &mut taken);
                }
                Answer::new(202, "")
            }
            Err(status) => Answer::new(status, ""),
        });
        GelfHttp { sink, taken }
    }
    /// Its port; the path is `/gelf`.
    pub fn port(&self) -> u16 {
        self.sink.port()
    }
    /// Every message that it could read, in order.
    pub fn records(&self) -> Vec<Value> {
        self.taken.lock().unwrap().records.clone()
    }
    /// What it accepted and then threw away.
    pub fn discarded(&self) -> Vec<String> {
        self.taken.lock().unwrap().discarded.clone()
    }
    /// Waits for the message whose field has this value.
    #[track_caller]
    pub fn record(&self, field: &str, value: &str) -> Value {
        eventually(&format!("GELF over HTTP has {field} = {value}"), || {
            self.records().into_iter().find(|r| r[field] == value)
        })
    }
    /// Waits until it has so many messages.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} messages over HTTP, there are {}", self.records().len()), || {
            Some(self.records()).filter(|r| r.len() >= count)
        })
    }
}

fn accepted(heard: &Heard, rules: &Rules) -> Result<Vec<u8>, u16> {
    match heard.method.as_str() {
        "POST" => (),
        "OPTIONS" => return Err(200),
        _ => return Err(405),
    }
    if heard.body.len() > rules.max_body {
        return Err(413);
    }
    if rules.header.as_ref().is_some_and(|(name, value)| heard.header(name) != Some(value)) {
        return Err(401);
    }
    if heard.path != "/gelf" {
        return Err(404);
    }
    let body = heard.plain().ok_or(400_u16)?;
    if body.len() > rules.max_body { Err(413) } else { Ok(body) }
}

fn read(message: &str, taken: &mut Taken) {
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<Value>();
    let text = |record: &Value, field: &str| record[field].as_str().is_some_and(|t| !t.trim().is_empty());
    match values.next() {
        Some(Ok(record)) if text(&record, "host") && text(&record, "short_message") => taken.records.push(record),
        _ => return taken.discarded.push(message.to_owned()),
    }
    let rest = message[values.byte_offset()..].trim();
    if !rest.is_empty() {
        taken.discarded.push(rest.to_owned());
    }
}

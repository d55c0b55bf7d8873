//! Splunk's HTTP Event Collector: event objects one after the other, with acknowledgement where it is wanted.
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector>

mod collector;

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Shape, Wrong, key};
use crate::sink::batch::event::{fitting, level, quoted, text};
use crate::sink::batch::post::{COMPRESS, Compress, Place, Post, TLS};
use crate::sink::batch::secret::Secret;
use crate::sink::batch;
use crate::sink::entry::Entry;
use crate::sink::fields::{Scratch, Value, Visit, Who, walk};
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::json::{escaped, number, padded};
use crate::sink::record::JsonFields;
use crate::tls::section;
use collector::Collector;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const KEY: Key = key(
    "splunk",
    Kind::Section(keys![
        key("url", Kind::Text(Shape::Free), "The collector, `https://HOST:8088`.").required(),
        key("token", Kind::Text(Shape::Secret), "The collector's token."),
        key("token_file", Kind::Text(Shape::File), "A file that holds it."),
        key("index", Kind::Text(Shape::Free), "The index.").or_words("the token's"),
        key("source", Kind::Text(Shape::Free), "Splunk's `source` of every event.").or("fourmi"),
        key("sourcetype", Kind::Text(Shape::Free), "Splunk's `sourcetype` of every event.").or("fourmi"),
        key(
            "indexed",
            Kind::List(&Kind::Text(Shape::Field)),
            "Fields that are indexed as such (`tstats` finds them) instead of being read from the event in a search.",
        )
        .or("[env, service]"),
        key("ack", Kind::Flag, "Whether a record counts as sent only when Splunk says that it is indexed.").or("false"),
        key(
            "ack_interval",
            Kind::Duration { min: Duration::from_millis(100), off: false },
            "How often Splunk is asked for that, 30 times at most.",
        )
        .or("10s"),
        COMPRESS.or("gzip"),
        TLS,
    ]),
    "Events to Splunk's HTTP Event Collector.",
);

/// The longest event. Splunk cuts what it indexes at 10,000 bytes by default (`TRUNCATE`), but may be told otherwise.
const EVENT_MAX: usize = 512 << 10;
/// Bytes of an indexed field.
const INDEXED_MAX: usize = 256;

#[derive(Deserialize)]
struct Raw {
    url: String,
    token: Option<String>,
    token_file: Option<PathBuf>,
    index: Option<String>,
    source: String,
    sourcetype: String,
    indexed: Vec<String>,
    ack: bool,
    ack_interval: Duration,
    compress: Compress,
    #[serde(default)]
    tls: section::Values,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let raw: Raw = read(values)?;
    let common: Common = read(values)?;
    let secret = Secret::of(("token", raw.token), ("token_file", raw.token_file))?;
    let post = Post::new(&raw.url, collector::EVENT_PATH, raw.tls, "application/json", raw.compress)?
        .with(secret, Place::Authorization("Splunk"));
    let target = post.target();
    // What stands between the time and the event is always the same.
    let mut middle = Vec::new();
    for (name, value) in [("source", Some(&raw.source)), ("sourcetype", Some(&raw.sourcetype)), ("index", raw.index.as_ref())] {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            middle.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
            escaped(&mut middle, value, INDEXED_MAX);
            middle.push(b'"');
        }
    }
    let encode = Event {
        names: Names::new(&common),
        scratch: Scratch::default(),
        middle,
        indexed: raw.indexed,
        side: Vec::new(),
        max: EVENT_MAX.min(common.buffer / 2),
    };
    let collector = Collector::new(post, raw.ack.then_some(raw.ack_interval));
    Ok(Sink {
        target,
        encode: Box::new(encode),
        send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, collector))),
    })
}

struct Event {
    names: Names,
    scratch: Scratch,
    middle: Vec<u8>,
    indexed: Vec<String>,
    side: Vec<u8>,
    max: usize,
}

/// Fields of the event, and beside it those that are indexed: a field in both places would have its value twice.
struct Sorted<'a> {
    json: JsonFields<'a>,
    indexed: &'a [String],
    side: &'a mut Vec<u8>,
}

impl Visit for Sorted<'_> {
    fn field(&mut self, name: &str, value: Value<'_>) {
        if !self.indexed.iter().any(|n| n == name) {
            return self.json.field(name, value);
        }
        // Texts only: Splunk refuses what is nested, and compares all of them as text.
        let front = if self.side.is_empty() { "\"" } else { ",\"" };
        self.side.extend_from_slice(front.as_bytes());
        self.side.extend_from_slice(name.as_bytes());
        self.side.extend_from_slice(b"\":");
        self.json.cut |= quoted(self.side, value, INDEXED_MAX);
    }
}

impl Encode for Event {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let Event { names, scratch, middle, indexed, side, max } = self;
        fitting(out, *max, |out, room| {
            side.clear();
            out.push(b'{');
            if entry.wall > 0 {
                out.extend_from_slice(b"\"time\":");
                number(out, entry.wall / 1_000_000);
                out.push(b'.');
                padded(out, entry.wall % 1_000_000, 6);
                out.push(b',');
            }
            out.extend_from_slice(b"\"host\":\"");
            escaped(out, &who.hostname, INDEXED_MAX);
            out.push(b'"');
            out.extend_from_slice(middle);
            out.extend_from_slice(b",\"event\":{\"level\":\"");
            out.extend_from_slice(level(entry).as_bytes());
            out.extend_from_slice(b"\",\"message\":");
            let cut = text(out, entry, room);
            let json = JsonFields { out, prefix: "", max: room.text, cut };
            let mut fields = Sorted { json, indexed, side };
            who.constant(names, &mut fields);
            walk(entry, who, names, scratch, &mut fields);
            if fields.json.cut {
                fields.json.field("truncated", Value::Text("true"));
            }
            let Sorted { json, side, .. } = fields;
            json.out.push(b'}');
            if !side.is_empty() {
                json.out.extend_from_slice(b",\"fields\":{");
                json.out.extend_from_slice(side);
                json.out.push(b'}');
            }
            json.out.push(b'}');
        });
        true
    }
}

#[cfg(test)]
mod tests;

//! Datadog's intake of logs. <https://docs.datadoghq.com/api/latest/logs/#send-logs>

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Shape, Wrong, key};
use crate::sink::batch::event::{fitting, iso_8601, level, text};
use crate::sink::batch::post::{COMPRESS, Compress, Place, Post, TLS};
use crate::sink::batch::secret::Secret;
use crate::sink::batch::{self, BatchMax, BoxFuture, Deliver, Verdict};
use crate::sink::entry::Entry;
use crate::sink::fields::{Field, Scratch, Value, Visit, Who, walk};
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::json::escaped;
use crate::sink::record::JsonFields;
use crate::tls::section;
use http::HeaderName;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const KEY: Key = key(
    "datadog",
    Kind::Section(keys![
        key("api_key", Kind::Text(Shape::Secret), "The API key."),
        key("api_key_file", Kind::Text(Shape::File), "A file that holds it."),
        key("site", Kind::Text(Shape::Free), "Datadog's site.").or("datadoghq.com"),
        key("url", Kind::Text(Shape::Free), "Another place than the site's, such as a proxy.").or_words("the site's"),
        key("ddsource", Kind::Text(Shape::Free), "What Datadog chooses its pipeline by.").or("fourmi"),
        key("tags", Kind::List(&Kind::Text(Shape::Free)), "More tags, each `key:value`.").or("[]"),
        COMPRESS.or("gzip"),
        TLS,
    ]),
    "Logs to Datadog.",
);

/// The longest log: Datadog cuts beyond 1 MB, and would count what it adds.
const LOG_MAX: usize = 990_000;
/// Datadog takes 1000 logs and 5 MB in a request.
const BATCH: BatchMax = BatchMax { records: 1000, bytes: 4_250_000, linger: Duration::from_secs(1) };
/// Characters of a tag (Datadog's limit), and bytes of all tags of a log.
const TAG_MAX: usize = 200;
const TAGS_MAX: usize = 8 << 10;
const API_KEY: HeaderName = HeaderName::from_static("dd-api-key");

#[derive(Deserialize)]
struct Raw {
    api_key: Option<String>,
    api_key_file: Option<PathBuf>,
    site: String,
    url: Option<String>,
    ddsource: String,
    tags: Vec<String>,
    compress: Compress,
    #[serde(default)]
    tls: section::Values,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { api_key, api_key_file, site, url, ddsource, tags, compress, tls } = read(values)?;
    let common: Common = read(values)?;
    let secret = Secret::of(("api_key", api_key), ("api_key_file", api_key_file))?;
    let named = url.is_some();
    let url = url.unwrap_or_else(|| format!("https://http-intake.logs.{site}"));
    let post = Post::to(if named { "url" } else { "site" }, &url, "/api/v2/logs", tls, "application/json", compress)?
        .with(secret, Place::Header(API_KEY));
    let mut more = String::new();
    for text in &tags {
        let (key, value) = text.split_once(':').unwrap_or((text, ""));
        if !tag(&mut more, key, value) {
            let message = format!("`{text}` cannot be a tag");
            return Err(Wrong::new(message, "write key:value, beginning with a letter").of("tags"));
        }
    }
    Ok(Sink {
        target: post.target(),
        encode: Box::new(Log {
            names: Names::new(&common),
            scratch: Scratch::default(),
            source: ddsource,
            more,
            tags: String::new(),
            max: LOG_MAX.min(common.buffer / 2),
        }),
        send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, Intake(post)))),
    })
}

/// Appends `key:value` to tags, as Datadog would keep it: lower case, no commas. False when there is no key or no room.
fn tag(tags: &mut String, key: &str, value: &str) -> bool {
    let clean = |c: char| if c.is_alphanumeric() || "_-./".contains(c) { c } else { '_' };
    let key: String = key.trim().chars().flat_map(char::to_lowercase).map(clean).collect();
    if key.is_empty() || tags.len() + 4 * TAG_MAX > TAGS_MAX {
        return false;
    }
    if !tags.is_empty() {
        tags.push(',');
    }
    // A tag begins with a letter.
    let front = if key.starts_with(char::is_alphabetic) { "" } else { "tag_" };
    let colon = if value.is_empty() { "" } else { ":" };
    let value = value.trim().chars().flat_map(char::to_lowercase).map(|c| if c == ':' { c } else { clean(c) });
    tags.extend(front.chars().chain(key.chars()).chain(colon.chars()).chain(value).take(TAG_MAX));
    true
}

struct Log {
    names: Names,
    scratch: Scratch,
    source: String,
    /// The section's own tags.
    more: String,
    tags: String,
    max: usize,
}

/// Fields as attributes, under the names that Datadog knows, and our tags as its tags.
struct Attributes<'a> {
    json: JsonFields<'a>,
    tags: &'a mut String,
}

impl Visit for Attributes<'_> {
    fn field(&mut self, name: &str, value: Value<'_>) {
        if let (Some(key), Value::Text(text)) = (name.strip_prefix("tag_"), value) {
            tag(self.tags, key, text);
        }
        let name = match name {
            // Datadog's own `status` is the level.
            "status" => "http.status_code",
            "message" | "ddsource" | "ddtags" | "timestamp" => return,
            other => other,
        };
        self.json.field(name, value);
    }
}

impl Encode for Log {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let Log { names, scratch, source, more, tags, max } = self;
        fitting(out, *max, |out, room| {
            out.extend_from_slice(b"{\"ddsource\":\"");
            escaped(out, source, room.text);
            out.extend_from_slice(b"\",\"status\":\"");
            out.extend_from_slice(level(entry).as_bytes());
            out.push(b'"');
            if entry.wall > 0 {
                out.extend_from_slice(b",\"timestamp\":");
                iso_8601(out, entry.wall);
            }
            out.extend_from_slice(b",\"message\":");
            let cut = text(out, entry, room);
            tags.clear();
            tags.push_str(more);
            if !who.env.is_empty() && names.of(Field::Env).is_some() {
                tag(tags, "env", &who.env);
            }
            let mut fields = Attributes { json: JsonFields { out, prefix: "", max: room.text, cut }, tags };
            who.constant(names, &mut fields);
            walk(entry, who, names, scratch, &mut fields);
            if entry.trace_id != 0 && names.of(Field::TraceId).is_some() {
                // Datadog joins logs and traces by the lower half, as decimal text.
                for (name, id) in [("dd.trace_id", entry.trace_id as u64), ("dd.span_id", entry.span_id)] {
                    let mut digits = itoa::Buffer::new();
                    fields.json.field(name, Value::Text(digits.format(id)));
                }
            }
            if fields.json.cut {
                fields.json.field("truncated", Value::Text("true"));
            }
            let Attributes { json, tags } = fields;
            if !tags.is_empty() {
                json.out.extend_from_slice(b",\"ddtags\":\"");
                escaped(json.out, tags, TAGS_MAX);
                json.out.push(b'"');
            }
            json.out.push(b'}');
        });
        true
    }
}

struct Intake(Post);

impl Deliver for Intake {
    fn limits(&self) -> BatchMax {
        BATCH
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let mut body = records.join(&b',');
            body.insert(0, b'[');
            body.push(b']');
            match self.0.send(&[], body).await {
                Ok(answer) => self.0.usual(&answer),
                Err(e) => Verdict::away(&e),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::entry::What;
    use crate::sink::logs::tests::values;
    use crate::sink::record::tests::{identity, sample};
    use serde_json::json;

    fn settings(more: Json) -> Json {
        let mut all = json!({
            "api_key": "secret-key", "site": "datadoghq.eu", "ddsource": "fourmi", "tags": [], "compress": "gzip",
        });
        if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        values(all)
    }

    #[test]
    fn a_log_has_datadogs_words() {
        let mut sink = build(&settings(json!({"tags": ["Owner:Team A,B", "9lives"]}))).unwrap();
        assert_eq!(sink.target, "https://http-intake.logs.datadoghq.eu/api/v2/logs");
        let (mut out, who) = (Vec::new(), Who::new(&identity(&[("team", "Orders")])));
        let x = sample(&identity(&[]));
        assert!(sink.encode.encode(&mut out, &Entry::of(What::Command, &x), &who));
        let log: Json = serde_json::from_slice(&out).unwrap();
        let keys = String::from_utf8_lossy(&out).matches("\":").count();
        assert_eq!(keys, log.as_object().unwrap().len(), "no key twice");
        for (key, value) in [
            ("ddsource", json!("fourmi")),
            ("ddtags", json!("owner:team_a_b,tag_9lives,env:prod,team:orders,shop:7")),
            ("hostname", json!("pay-3")),
            ("service", json!("order")),
            ("status", json!("info")),
            ("message", json!("CreateOrder 200 12.34 ms")),
            ("timestamp", json!("2023-11-14T22:13:20.125000Z")),
            ("http.status_code", json!(200)),
            ("duration_ms", json!(12.34)),
            ("dd.trace_id", json!("2748")),
            ("dd.span_id", json!("3567")),
        ] {
            assert_eq!(log[key], value, "{key}");
        }
        let long = "\u{1f980}".repeat(400_000);
        let mut out = Vec::new();
        sink.encode.encode(&mut out, &Entry::line(4, 1, &long, Vec::new()), &who);
        let log: Json = serde_json::from_slice(&out).unwrap();
        assert!(out.len() <= 1_000_000 && log["truncated"] == "true" && log["status"] == "warning", "{}", out.len());
        let many: Vec<String> = (0..200).map(|n| format!("key{n}{}", "x".repeat(100))).collect();
        let mut x = sample(&identity(&[]));
        x.command.tags = many.iter().map(|k| (k.as_str().into(), "v".repeat(300))).collect();
        let mut out = Vec::new();
        sink.encode.encode(&mut out, &Entry::of(What::Command, &x), &who);
        let log: Json = serde_json::from_slice(&out).unwrap();
        let tags = log["ddtags"].as_str().unwrap();
        assert!(tags.len() <= TAGS_MAX && tags.split(',').all(|t| t.chars().count() <= TAG_MAX), "{tags}");
    }

    #[test]
    fn wrong_settings_say_where_and_what() {
        for (more, key) in [
            (json!({"api_key": null}), None),
            (json!({"site": "not a site"}), Some("site")),
            (json!({"url": "127.0.0.1"}), Some("url")),
            (json!({"tags": [":"]}), Some("tags")),
        ] {
            let wrong = build(&settings(more.clone())).err().unwrap_or_else(|| panic!("{more} is taken"));
            assert!(wrong.key == key && !format!("{wrong:?}").contains("secret-key"), "{more}: {wrong:?}");
        }
    }
}

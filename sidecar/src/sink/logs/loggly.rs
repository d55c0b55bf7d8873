//! Loggly's bulk endpoint: JSON events, one a line.
//! <https://documentation.solarwinds.com/en/success_center/loggly/content/admin/http-bulk-endpoint.htm>

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Shape, Wrong, key};
use crate::sink::batch::event::{fitting, iso_8601, level, text};
use crate::sink::batch::post::{COMPRESS, Compress, Place, Post, TLS};
use crate::sink::batch::secret::Secret;
use crate::sink::batch::{self, BatchMax, BoxFuture, Deliver, Verdict};
use crate::sink::entry::Entry;
use crate::sink::fields::{Scratch, Value, Visit, Who, walk};
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::record::JsonFields;
use crate::tls::section;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const KEY: Key = key(
    "loggly",
    Kind::Section(keys![
        key("token", Kind::Text(Shape::Secret), "The customer token."),
        key("token_file", Kind::Text(Shape::File), "A file that holds it."),
        key("url", Kind::Text(Shape::Free), "Where Loggly is.").or("https://logs-01.loggly.com"),
        key("tags", Kind::List(&Kind::Text(Shape::Free)), "Loggly's tags of every event.").or("[fourmi]"),
        COMPRESS.or("none"),
        TLS,
    ]),
    "Events to Loggly.",
);

/// The longest event; Loggly says 1 MB.
const EVENT_MAX: usize = 1_000_000;
/// Loggly takes 5 MB; some is left for who counts otherwise.
const BATCH: BatchMax = BatchMax { records: 2000, bytes: 4 << 20, linger: Duration::from_secs(1) };
/// Bytes of a tag and number of tags: all of them stand in the path.
const TAG_MAX: usize = 64;
const TAGS_MAX: usize = 20;

#[derive(Deserialize)]
struct Raw {
    token: Option<String>,
    token_file: Option<PathBuf>,
    url: String,
    tags: Vec<String>,
    compress: Compress,
    #[serde(default)]
    tls: section::Values,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { token, token_file, url, tags, compress, tls } = read(values)?;
    let common: Common = read(values)?;
    let secret = Secret::of(("token", token), ("token_file", token_file))?;
    if tags.len() > TAGS_MAX {
        let message = format!("{} tags", tags.len());
        return Err(Wrong::new(message, format!("keep at most {TAGS_MAX}: all stand in the URL")).of("tags"));
    }
    let tags: Vec<String> = tags.iter().map(|t| tag(t)).collect();
    if let Some(at) = tags.iter().position(String::is_empty) {
        let message = format!("nothing is left of tag {} without what Loggly refuses", at + 1);
        return Err(Wrong::new(message, "begin with a letter or digit; then `-`, `.` and `_` too").of("tags"));
    }
    let path = match tags.join(",").as_str() {
        "" => "/bulk/{token}/".to_owned(),
        tags => format!("/bulk/{{token}}/tag/{tags}/"),
    };
    let post = Post::new(&url, "/", tls, "text/plain", compress)?.below(&path).with(secret, Place::Path);
    Ok(Sink {
        target: post.target(),
        encode: Box::new(Event {
            names: Names::new(&common),
            scratch: Scratch::default(),
            max: EVENT_MAX.min(common.buffer / 2),
        }),
        send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, Bulk(post)))),
    })
}

/// A tag begins with a letter or digit; `-`, `.` and `_` may follow.
fn tag(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    let clean: String = text.trim().chars().map(fits).collect();
    clean.trim_start_matches(['-', '.', '_']).chars().take(TAG_MAX).collect()
}

struct Event {
    names: Names,
    scratch: Scratch,
    max: usize,
}

impl Encode for Event {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        let Event { names, scratch, max } = self;
        fitting(out, *max, |out, room| {
            out.extend_from_slice(b"{\"level\":\"");
            out.extend_from_slice(level(entry).as_bytes());
            out.push(b'"');
            if entry.wall > 0 {
                out.extend_from_slice(b",\"timestamp\":");
                iso_8601(out, entry.wall);
            }
            out.extend_from_slice(b",\"message\":");
            let cut = text(out, entry, room);
            let mut fields = JsonFields { out, prefix: "", max: room.text, cut };
            who.constant(names, &mut fields);
            walk(entry, who, names, scratch, &mut fields);
            if fields.cut {
                fields.field("truncated", Value::Text("true"));
            }
            out.push(b'}');
        });
        true
    }
}

struct Bulk(Post);

impl Deliver for Bulk {
    fn limits(&self) -> BatchMax {
        BATCH
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            match self.0.send(&[], records.join(&b'\n')).await {
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
        let mut all = json!({"token": "secret-token", "url": "http://127.0.0.1:1", "tags": [], "compress": "none"});
        if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        values(all)
    }

    #[test]
    fn an_event_is_one_line_of_json_with_its_time_in_words() {
        let mut sink = build(&settings(json!({"tags": ["a", "-b c"], "drop": ["client"]}))).unwrap();
        assert_eq!(sink.target, "http://127.0.0.1:1/bulk/{token}/tag/a,b_c/");
        let (mut out, who) = (Vec::new(), Who::new(&identity(&[("team", "orders")])));
        let mut x = sample(&identity(&[("team", "orders")]));
        x.command.tags = vec![("odd".into(), "new\nline \"q\"".into())];
        assert!(sink.encode.encode(&mut out, &Entry::of(What::Command, &x), &who));
        assert!(!out.contains(&b'\n'));
        let event: Json = serde_json::from_slice(&out).unwrap();
        for (key, value) in [
            ("timestamp", json!("2023-11-14T22:13:20.125000Z")),
            ("level", json!("info")),
            ("message", json!("CreateOrder 200 12.34 ms")),
            ("service", json!("order")),
            ("command_id", json!("42")),
            ("status", json!(200)),
            ("duration_ms", json!(12.34)),
            ("tag_team", json!("orders")),
            ("tag_odd", json!("new\nline \"q\"")),
        ] {
            assert_eq!(event[key], value, "{key}");
        }
        assert!(event.get("client").is_none() && event.get("truncated").is_none());
        // A long line is cut to what may be sent.
        let long = "\u{7}".repeat(1 << 20);
        let mut out = Vec::new();
        sink.encode.encode(&mut out, &Entry::line(3, 0, &long, Vec::new()), &who);
        let event: Json = serde_json::from_slice(&out).unwrap();
        assert!(out.len() <= EVENT_MAX, "{}", out.len());
        assert_eq!((&event["truncated"], &event["level"], event.get("timestamp")), (&json!("true"), &json!("error"), None));
    }

    #[test]
    fn wrong_settings_say_where_and_what() {
        for (more, key, part) in [
            (json!({"token": null}), None, "token_file"),
            (json!({"token": "a b"}), Some("token"), "visible ASCII"),
            (json!({"token": null, "token_file": "/no/such/file"}), Some("token_file"), "may read"),
            (json!({"url": "logs-01.loggly.com"}), Some("url"), "page"),
            (json!({"tags": ["é"]}), Some("tags"), "letter or digit"),
            (json!({"tags": vec!["a"; 21]}), Some("tags"), "at most 20"),
            (json!({"tls": {"verify": false}}), Some("tls"), "https://"),
            (json!({"url": "https://h", "tls": {"ca": "/no/such.pem"}}), Some("tls"), "see `tls`"),
        ] {
            let wrong = build(&settings(more.clone())).err().unwrap_or_else(|| panic!("{more} is taken"));
            assert!(wrong.key == key && wrong.fix.contains(part), "{more}: {wrong:?}");
            assert!(!format!("{wrong:?}").contains("secret-token"), "{wrong:?}");
        }
    }
}

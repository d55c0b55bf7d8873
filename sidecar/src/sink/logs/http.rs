//! Records to any receiver that takes JSON over HTTP.

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use crate::sink::batch::post::{COMPRESS, Compress, Post, TLS};
use crate::sink::batch::single::Singles;
use crate::sink::batch::{self, BatchMax, BoxFuture, Deliver, Verdict};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::record::{Form, RecordEncoder};
use crate::tls::section;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const KEY: Key = key(
    "http",
    Kind::Section(keys![
        key("url", Kind::Text(Shape::Free), "The receiver, `http(s)://HOST[:PORT]/PATH`.").required(),
        key("method", Kind::Word(&[word("POST"), word("PUT")]), "The method of each request.").or("POST"),
        key(
            "format",
            Kind::Word(&[word("json-array"), word("ndjson"), word("json")]),
            "An array of records, one record a line, or one record a request.",
        )
        .or("json-array"),
        key("headers", Kind::Named(Shape::Header, &Kind::Text(Shape::Secret)), "Headers of each request."),
        key(
            "batch",
            Kind::Count { min: 1, max: 10_000, word: None },
            "Records of one request; `json` always has one.",
        )
        .or("1000"),
        key("batch_bytes", Kind::Bytes { min: 1 << 10, max: 64 << 20 }, "Bytes of one request.").or("1MiB"),
        key(
            "linger",
            Kind::Duration { min: Duration::ZERO, off: false },
            "How long a record may wait for others; a full batch leaves at once.",
        )
        .or("1s"),
        COMPRESS.or("none"),
        TLS,
    ]),
    "JSON to any receiver over HTTP.",
);

/// The longest record, as on standard output.
const RECORD_MAX: usize = 256 << 10;
/// Headers that are the connection's or the body's own.
const OURS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "content-encoding", "te"];

#[derive(Deserialize)]
struct Raw {
    url: String,
    method: String,
    format: Format,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    batch: usize,
    batch_bytes: usize,
    linger: Duration,
    compress: Compress,
    #[serde(default)]
    tls: section::Values,
}

/// How records stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    JsonArray,
    Ndjson,
    Json,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { url, method, format, headers, batch, batch_bytes, linger, compress, tls } = read(values)?;
    let common: Common = read(values)?;
    let headers = header_lines(&headers)?;
    let kind = if format == Format::Ndjson { "application/x-ndjson" } else { "application/json" };
    let method = if method == "PUT" { Method::PUT } else { Method::POST };
    let open = || Ok(Post::new(&url, "/", tls.clone(), kind, compress)?.method(method.clone()));
    let target = open()?.target();
    let encode = Box::new(Record(RecordEncoder::new(Form::Json, Names::new(&common), RECORD_MAX.min(common.buffer / 2))));
    if format == Format::Json {
        let singles = Singles::new(open, headers, |post, answer| post.usual(answer))?;
        return Ok(Sink {
            target,
            encode,
            send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, singles))),
        });
    }
    let max = BatchMax { records: batch, bytes: batch_bytes, linger };
    let many = Many { post: open()?, headers, array: format == Format::JsonArray, max };
    Ok(Sink { target, encode, send: Box::new(move |outlet, inbox| Box::pin(batch::run(outlet, inbox, many))) })
}

/// Headers as they are sent.
///
/// # Errors
/// Which of them cannot be, under the key `headers`.
pub(in crate::sink) fn header_lines<'h>(
    headers: impl IntoIterator<Item = (&'h String, &'h String)>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Wrong> {
    let one = |(name, value): (&String, &String)| {
        // The values may be secrets.
        let wrong = |message: String, fix: &str| Wrong::new(message, fix).of("headers");
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(format!("`{name}` is no header's name"), "use letters, digits and `-`"))?;
        if OURS.contains(&known.as_str()) {
            return Err(wrong(format!("`{name}` is Fourmi's own"), "remove it"));
        }
        let mut value = HeaderValue::from_str(value.trim())
            .ok()
            .filter(|_| value.is_ascii())
            .ok_or_else(|| wrong(format!("the value of `{name}` fits in no header"), "use plain ASCII in one line"))?;
        value.set_sensitive(true);
        Ok((known, value))
    };
    headers.into_iter().map(one).collect()
}

/// The object that is a line on standard output, by itself.
struct Record(RecordEncoder);

impl Encode for Record {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        true
    }
}

/// Many records in one request.
pub(in crate::sink) struct Many {
    pub(in crate::sink) post: Post,
    pub(in crate::sink) headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether they stand in a list; else each in a line.
    pub(in crate::sink) array: bool,
    pub(in crate::sink) max: BatchMax,
}

impl Deliver for Many {
    fn limits(&self) -> BatchMax {
        self.max
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let body = if self.array { array(records) } else { lines(records) };
            match self.post.send(&self.headers, body).await {
                Ok(answer) => self.post.usual(&answer),
                Err(e) => Verdict::away(&e),
            }
        })
    }
}

fn array(records: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![b'['];
    body.extend_from_slice(&records.join(&b','));
    body.push(b']');
    body
}

fn lines(records: &[&[u8]]) -> Vec<u8> {
    let mut body = records.join(&b'\n');
    body.push(b'\n');
    body
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
            "url": "http://127.0.0.1:1/logs?key=hidden", "method": "POST", "format": "ndjson", "headers": {},
            "batch": 10, "batch_bytes": 1 << 20, "linger": {"secs": 1, "nanos": 0}, "compress": "none",
        });
        if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        values(all)
    }

    #[test]
    fn bodies_hold_records_as_on_standard_output() {
        let mut sink = build(&settings(json!({"rename": {"command": "action"}}))).unwrap();
        assert_eq!(sink.target, "http://127.0.0.1:1/logs", "a query may hold a key");
        let who = Who::new(&identity(&[]));
        let x = sample(&identity(&[]));
        let mut out = Vec::new();
        assert!(sink.encode.encode(&mut out, &Entry::of(What::Command, &x), &who));
        assert!(!out.contains(&b'\n'));
        for body in [array(&[&out, &out]), array(&[&out])] {
            let all: Vec<Json> = serde_json::from_slice(&body).unwrap();
            assert!(all.iter().all(|r| r["action"] == "CreateOrder" && r["status"] == 200));
        }
        assert_eq!(lines(&[b"{}", b"[]"]), b"{}\n[]\n");
    }

    #[test]
    fn wrong_settings_say_where_and_what() {
        for (more, key) in [
            (json!({"url": "ftp://h"}), Some("url")),
            (json!({"headers": {"host": "x"}}), Some("headers")),
            (json!({"headers": {"x-key": "secret\u{e9}\n"}}), Some("headers")),
        ] {
            let wrong = build(&settings(more.clone())).err().unwrap_or_else(|| panic!("{more} is taken"));
            assert!(wrong.key == key && !format!("{wrong:?}").contains("secret"), "{more}: {wrong:?}");
        }
        assert!(build(&settings(json!({"headers": {"x-key": "secret"}, "format": "json", "method": "PUT"}))).is_ok());
    }
}

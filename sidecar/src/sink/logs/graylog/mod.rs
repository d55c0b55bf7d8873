//! GELF 1.1 to Graylog.

mod chunk;
mod http;
mod pack;
mod udp;

use super::{COMMON, Json, Sink, keys, read};
use crate::names::port;
use crate::section::address::Receiver;
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::filter::{Common, Names};
use crate::sink::generation::Encode;
use crate::sink::record::{Form, RecordEncoder};
use crate::tls::section;
use pack::Packing;
use serde::Deserialize;
use udp::{Gelf, record_max};

const SCHEMES: &[&str] = &["udp", "http", "https"];

pub(super) const KEY: Key = key(
    "graylog",
    Kind::Section(keys![
        key(
            "to",
            Kind::Text(Shape::Receiver(SCHEMES, port::GRAYLOG)),
            "The receiver: `udp://HOST[:PORT]` or `http(s)://HOST[:PORT][/gelf]`, port 12201 by default.",
        )
        .required(),
        key("compress", Kind::Word(&[word("none"), word("gzip"), word("zlib")]), "How messages are packed.").or("gzip"),
        key(
            "chunk",
            Kind::Count { min: 512, max: 65_507, word: None },
            "Largest datagram in bytes; longer messages are cut in up to 128 of them.",
        )
        .or("1420"),
        key("bulk", Kind::Flag, "Over HTTP: many messages in one body; the input must be set to take that.").or("false"),
        key("tls", Kind::Section(section::KEYS), "How `https://` encrypts and whom it trusts."),
    ]),
    "GELF to Graylog.",
);

#[derive(Deserialize)]
struct Raw {
    to: String,
    compress: Packing,
    chunk: usize,
    #[serde(default)]
    bulk: bool,
    #[serde(default)]
    tls: section::Values,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { to, compress, chunk, bulk, tls } = read(values)?;
    let common: Common = read(values)?;
    let names = Names::new(&common);
    let to = Receiver::parse(&to, SCHEMES, port::GRAYLOG).map_err(|w| w.of("to"))?;
    let target = to.to_string();
    if let Receiver::Http { .. } = to {
        let max = http::BODY_MAX.min(common.buffer / 2);
        return http::sink(&target, tls, bulk, Box::new(Message(RecordEncoder::new(Form::Gelf, names, max))));
    }
    let Receiver::Net { host, port, .. } = to else {
        return Err(Wrong::new("there is no such way", "use udp://").of("to"));
    };
    Ok(Sink {
        target,
        encode: Box::new(Message(RecordEncoder::new(Form::Gelf, names, record_max(chunk)))),
        send: Box::new(move |outlet, inbox| {
            Box::pin(Gelf::new(outlet, &host, port, compress, chunk).run(inbox))
        }),
    })
}

/// A message by itself.
struct Message(RecordEncoder);

impl Encode for Message {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        true
    }
}

#[cfg(test)]
mod tests;

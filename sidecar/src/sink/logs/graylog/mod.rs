//! GELF 1.1 to Graylog: over UDP in chunks, over TCP and TLS in frames that end with a NUL, over HTTP in requests.

mod chunk;
mod http;
mod pack;
mod tcp;
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
use crate::tls::{ClientTls, section};
use pack::Packing;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use udp::{Gelf, record_max};

const SCHEMES: &[&str] = &["udp", "tcp", "tls", "http", "https"];

pub(super) const KEY: Key = key(
    "graylog",
    Kind::Section(keys![
        key(
            "to",
            Kind::Text(Shape::Receiver(SCHEMES, port::GRAYLOG)),
            "The receiver: `udp://`, `tcp://`, `tls://HOST[:PORT]` or `http(s)://HOST[:PORT][/gelf]`, port 12201 by default.",
        )
        .required(),
        key(
            "compress",
            Kind::Word(&[word("none"), word("gzip"), word("zlib")]),
            "How messages are packed; only over UDP they are.",
        )
        .or_words("gzip over UDP, else none"),
        key(
            "chunk",
            Kind::Count { min: udp::CHUNK_MIN as u64, max: udp::DATAGRAM_MAX as u64, word: Some(CHUNK_WORDS) },
            "Largest datagram in bytes, UDP only: `wan` is 1420, `lan` 8192. Longer messages are cut in up to 128 of them.",
        )
        .or("wan"),
        key("bulk", Kind::Flag, "Over HTTP: many messages in one body; the input must be set to take that.").or("false"),
        key("tls", Kind::Section(section::KEYS), "How `tls://` and `https://` encrypt and whom they trust."),
    ]),
    "GELF to Graylog.",
);

const CHUNK_WORDS: &[&str] = &["wan", "lan"];
/// What passes every usual way of 1500 bytes.
const WAN: usize = 1420;
/// What Graylog's own clients call the size for a LAN.
const LAN: usize = 8192;

#[derive(Deserialize)]
struct Raw {
    to: String,
    compress: Option<Packing>,
    chunk: Chunk,
    #[serde(default)]
    bulk: bool,
    #[serde(default)]
    tls: section::Values,
}

/// Bytes of a datagram, as a number or a word.
#[derive(Deserialize)]
#[serde(untagged)]
enum Chunk {
    Bytes(usize),
    Word(String),
}

impl Chunk {
    fn bytes(self) -> usize {
        match self {
            Chunk::Bytes(n) => n,
            Chunk::Word(word) if word == "lan" => LAN,
            Chunk::Word(_) => WAN,
        }
    }
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let Raw { to, compress, chunk, bulk, tls: tls_values } = read(values)?;
    let common: Common = read(values)?;
    let to = Receiver::parse(&to, SCHEMES, port::GRAYLOG).map_err(|w| w.of("to"))?;
    let target = to.to_string();
    // What waits in the buffer must be able to.
    let most = common.buffer / 2;
    let names = Names::new(&common);
    let encoder = |max: usize| RecordEncoder::new(Form::Gelf, names, max.min(most));
    let tls = ClientTls::from(tls_values.clone());
    match to {
        Receiver::Net { scheme, host, port } if scheme == "udp" => {
            no_tls(&tls, &scheme)?;
            let packing = compress.unwrap_or(Packing::Gzip);
            let chunk = Arc::new(AtomicUsize::new(chunk.bytes()));
            let encode = Datagram { encoder: encoder(usize::MAX), most, chunk: chunk.clone() };
            Ok(Sink {
                target,
                encode: Box::new(encode),
                send: Box::new(move |outlet, inbox| {
                    Box::pin(Gelf::new(outlet, &host, port, packing, chunk).run(inbox))
                }),
            })
        }
        Receiver::Net { scheme, host, port } => {
            never_packed(compress, &scheme)?;
            let tls = match scheme == "tls" {
                true => Some(tls.connector(&[]).map_err(|why| Wrong::new(why, "see `tls`").of("tls"))?),
                false => no_tls(&tls, &scheme).map(|()| None)?,
            };
            Ok(tcp::sink(target, host, port, tls, encoder(tcp::FRAME_MAX)))
        }
        Receiver::Http { .. } => {
            never_packed(compress, "HTTP")?;
            http::sink(&target, tls_values, bulk, Box::new(Message(encoder(http::BODY_MAX))))
        }
        Receiver::Unix { .. } => Err(Wrong::new("there is no such way", "use udp://, tcp:// or tls://").of("to")),
    }
}

fn never_packed(compress: Option<Packing>, scheme: &str) -> Result<(), Wrong> {
    if compress.is_none_or(|c| c == Packing::None) {
        return Ok(());
    }
    let message = format!("over {scheme} messages are never packed: Graylog might not read them");
    Err(Wrong::new(message, "remove `compress`, or use udp://").of("compress"))
}

/// Settings of TLS where there is none would promise what is not kept.
fn no_tls(tls: &ClientTls, scheme: &str) -> Result<(), Wrong> {
    match *tls == ClientTls::default() {
        true => Ok(()),
        false => Err(Wrong::new(format!("{scheme}:// is not encrypted"), "use tls://, or remove `tls`").of("tls")),
    }
}

/// A message by itself.
struct Message(RecordEncoder);

impl Encode for Message {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        true
    }
}

/// A message by itself, not longer than the chunks can carry it as it is: packing may fail to make it shorter.
struct Datagram {
    encoder: RecordEncoder,
    most: usize,
    chunk: Arc<AtomicUsize>,
}

impl Encode for Datagram {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.encoder.at_most(record_max(self.chunk.load(Relaxed)).min(self.most));
        self.encoder.encode(out, entry, who);
        true
    }
}

#[cfg(test)]
mod tests;

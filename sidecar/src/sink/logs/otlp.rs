//! Log records by OTLP over HTTP.

use super::{COMMON, Json, Sink, keys, read};
use crate::section::{Key, Kind, Wrong, key};
use crate::sink::filter::{Common, Names};
use crate::sink::otlp::{COMPRESS, ENDPOINT, HEADERS, LogEncoder, Remote, Signal, TIMEOUT, TLS, send};
use std::sync::Arc;

pub(super) const KEY: Key = key(
    "otlp",
    Kind::Section(keys![ENDPOINT, HEADERS, COMPRESS, TIMEOUT, TLS]),
    "Log records to an OpenTelemetry receiver, by OTLP over HTTP with protobuf.",
);

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let remote = Remote::new(values)?;
    let names = Names::new(&read::<Common>(values)?);
    let senders = Arc::default();
    Ok(Sink {
        target: remote.target(Signal::Logs),
        encode: Box::new(LogEncoder::new(names, Arc::clone(&senders))),
        send: Box::new(move |outlet, inbox| Box::pin(send(outlet, inbox, remote, Signal::Logs, senders))),
    })
}

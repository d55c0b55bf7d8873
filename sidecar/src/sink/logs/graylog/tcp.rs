//! GELF over TCP and TLS: each message ends with a NUL, which no message contains.

use crate::sink::entry::Entry;
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::logs::Sink;
use crate::sink::record::RecordEncoder;
use crate::sink::stream;
use crate::sink::transport::{Place, StreamOut};
use crate::tls::Connector;

/// Bytes of a message: Graylog throws longer frames than 2,097,152 bytes away.
pub(super) const FRAME_MAX: usize = 2_097_151;

/// A message and its NUL.
pub(super) struct Framed(pub(super) RecordEncoder);

impl Encode for Framed {
    fn encode(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>, who: &Who) -> bool {
        self.0.encode(out, entry, who);
        out.push(0);
        true
    }
}

/// The sink.
pub(super) fn sink(target: String, host: String, port: u16, tls: Option<Connector>, encoder: RecordEncoder) -> Sink {
    Sink {
        target,
        encode: Box::new(Framed(encoder)),
        send: Box::new(move |outlet, inbox| {
            Box::pin(stream::run(outlet, inbox, StreamOut::new(Place::Tcp { host, port, tls })))
        }),
    }
}

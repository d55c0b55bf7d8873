//! How an answer leaves: its head in one form, its body in the framing that fits the caller.

use super::Length;
use super::write::Writer;
use crate::codec::hop;
use crate::exchange::{Body, BodyError, Headers};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame};

/// The answer cannot be finished.
pub(super) struct Broken;

/// An answer's body on its way to the caller.
pub(super) struct Outgoing {
    pub(super) body: Option<Body>,
    length: Length,
    left: u64,
    trailers: bool,
}

impl Outgoing {
    pub(super) fn new(body: Body, length: Length, trailers: bool) -> Self {
        let left = if let Length::Known(n) = length { n } else { 0 };
        Outgoing { body: Some(body), length, left, trailers }
    }

    /// Takes the next piece, or the end.
    pub(super) fn stage(
        &mut self,
        writer: &mut Writer,
        frame: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Result<(), Broken> {
        let known = matches!(self.length, Length::Known(_));
        let Some(frame) = frame.transpose().map_err(|_| Broken)? else {
            if self.length == Length::Chunked {
                writer.end(None);
            }
            self.body = None;
            return if known && self.left > 0 { Err(Broken) } else { Ok(()) };
        };
        match frame.into_data() {
            Ok(data) => {
                if known {
                    self.left = self.left.checked_sub(data.len() as u64).ok_or(Broken)?;
                }
                writer.data(self.length, data);
                if known && self.left == 0 && self.body.as_ref().is_none_or(HttpBody::is_end_stream) {
                    self.body = None;
                }
            }
            Err(frame) => {
                if let (Length::Chunked, Ok(mut trailers)) = (self.length, frame.into_trailers()) {
                    hop::trailers(&mut trailers);
                    writer.end(self.trailers.then_some(&trailers));
                    self.body = None;
                }
            }
        }
        Ok(())
    }
}

/// What an answer says of the connection's future.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// Nothing: it stays.
    Default,
    /// It stays, which an HTTP/1.0 caller has to be told.
    KeepAlive,
    /// It stays, and may become what the answer's own lines name.
    Offers,
    /// It ends.
    Close,
    /// The answer's own lines say what becomes of it.
    Upgrade,
}

/// Writes an answer's head; without `framing` the answer has no body, whatever its lines say.
pub(super) fn write_answer(
    out: &mut Vec<u8>,
    status: u16,
    headers: &Headers,
    framing: Option<Length>,
    persistence: Persistence,
) {
    write_status(out, status);
    headers.write_to(out);
    match framing {
        Some(Length::Known(n)) if !headers.contains("content-length") => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Some(Length::Chunked) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {}
    }
    out.extend_from_slice(match persistence {
        Persistence::Close => b"connection: close\r\n\r\n",
        Persistence::Offers => b"connection: Upgrade\r\n\r\n",
        Persistence::KeepAlive => b"connection: keep-alive\r\n\r\n",
        Persistence::Default | Persistence::Upgrade => b"\r\n",
    });
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

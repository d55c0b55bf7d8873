//! Chunked bodies, read strictly (RFC 9112, 7.1): what two readers could take for two things is an error.

use super::Refusal;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Hex digits of a chunk's size: more than any body has, fewer than overflow.
const DIGITS_MAX: usize = 15;
/// Bytes of one line's chunk extensions, and of all of a body: nobody uses them, but for hiding things.
const EXTENSION_MAX: usize = 256;
const EXTENSIONS_MAX: usize = 4 << 10;
/// Bytes and lines of the trailers.
const TRAILERS_MAX: usize = 16 << 10;
const TRAILER_LINES_MAX: usize = 64;

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a chunk's size.
    Size,
    /// In a chunk: this many bytes to come.
    Data(u64),
    /// At the line end behind a chunk.
    After,
    /// At the trailers.
    Trailers,
    /// Behind all of it.
    Done,
}

/// Reads a chunked body as it comes.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// Bytes of the body.
    Data(Bytes),
    /// What follows the last chunk; the body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// More must come.
    More,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Chunked { state: State::Size, extensions: 0 }
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that are sure to come before the next line.
    pub(super) fn expected(&self) -> u64 {
        if let State::Data(left) = self.state { left } else { 0 }
    }

    /// Takes the next piece out of the buffer.
    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Found, Refusal> {
        loop {
            match self.state {
                State::Size => match self.size(buf)? {
                    None => return Ok(Found::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => {
                    if buf.is_empty() {
                        return Ok(Found::More);
                    }
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                    let left = left - n as u64;
                    self.state = if left == 0 { State::After } else { State::Data(left) };
                    return Ok(Found::Data(buf.split_to(n).freeze()));
                }
                State::After => match line_end(buf)? {
                    false => return Ok(Found::More),
                    true => {
                        buf.advance(2);
                        self.state = State::Size;
                    }
                },
                State::Trailers => return self.trailers(buf),
                State::Done => return Ok(Found::End),
            }
        }
    }

    /// The size that stands at the beginning of the buffer, once its line is whole.
    fn size(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, Refusal> {
        let digits = buf.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > DIGITS_MAX {
            return Err(Refusal::Malformed("a chunk's size has too many digits"));
        }
        let Some(after) = buf.get(digits) else { return Ok(None) };
        let size =
            buf[..digits].iter().fold(0_u64, |n, b| n << 4 | u64::from(char::from(*b).to_digit(16).unwrap_or(0)));
        if digits == 0 || !matches!(after, b'\r' | b';') {
            return Err(Refusal::Malformed("a chunk does not begin with its size"));
        }
        let rest = &buf[digits..];
        let Some(len) = rest.iter().take(EXTENSION_MAX + 1).position(|b| matches!(b, b'\r' | b'\n')) else {
            let over = rest.len() > EXTENSION_MAX;
            return if over { Err(Refusal::Malformed("a chunk extension is too long")) } else { Ok(None) };
        };
        if !rest[..len].iter().all(|&b| (b >= b' ' && b != 0x7f) || b == b'\t') {
            return Err(Refusal::Malformed("a chunk extension holds a control byte"));
        }
        if !line_end(&rest[len..])? {
            return Ok(None);
        }
        self.extensions += len;
        if self.extensions > EXTENSIONS_MAX {
            return Err(Refusal::Malformed("the chunk extensions are too many"));
        }
        buf.advance(digits + len + 2);
        Ok(Some(size))
    }

    fn trailers(&mut self, buf: &mut BytesMut) -> Result<Found, Refusal> {
        if matches!(buf.first(), Some(b'\r' | b'\n')) {
            if !line_end(buf)? {
                return Ok(Found::More);
            }
            buf.advance(2);
            self.state = State::Done;
            return Ok(Found::End);
        }
        let Some(end) = super::parse::end_of_lines(buf) else {
            let over = buf.len() > TRAILERS_MAX;
            return if over { Err(Refusal::Malformed("the trailers are too long")) } else { Ok(Found::More) };
        };
        if end > TRAILERS_MAX {
            return Err(Refusal::Malformed("the trailers are too long"));
        }
        super::parse::no_bare_line_feed(&buf[..end])?;
        let mut lines = [httparse::EMPTY_HEADER; TRAILER_LINES_MAX];
        let mut map = HeaderMap::new();
        match httparse::parse_headers(&buf[..end], &mut lines) {
            Ok(httparse::Status::Complete((_, lines))) => {
                for line in lines {
                    let name = HeaderName::from_bytes(line.name.as_bytes());
                    let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
                        return Err(Refusal::Malformed("a trailer is no header line"));
                    };
                    map.append(name, value);
                }
            }
            _ => return Err(Refusal::Malformed("the trailers are no header lines")),
        }
        buf.advance(end);
        self.state = State::Done;
        Ok(Found::Trailers(map))
    }
}

/// Whether a whole line end stands at the beginning; an error if something else does.
fn line_end(buf: &[u8]) -> Result<bool, Refusal> {
    match buf {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => Ok(true),
        _ => Err(Refusal::Malformed("a chunk does not end with CR LF")),
    }
}

//! From bytes to heads. `httparse` finds the lines; what it tolerates and we do not is refused here.

use super::Refusal;
use crate::exchange::{BYTES_MAX, Headers, NAME_MAX};
use std::mem::MaybeUninit;

/// Lines that are found without an allocation.
const LINES: usize = 128;

/// A head's first line.
#[derive(Debug)]
pub(super) enum First<'a> {
    /// Of a request: method, target.
    Request(&'a str, &'a str),
    /// Of an answer: its status.
    Answer(u16),
}

/// A whole head.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) first: First<'a>,
    /// HTTP/1.1 rather than 1.0.
    pub(super) one_one: bool,
    /// Its bytes, blank line included.
    pub(super) len: usize,
}

/// Which kind of head is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Answer,
}

/// Finds a head at the beginning of the buffer and puts its lines into `headers`; none if more must come. `most` bounds
/// its lines.
pub(super) fn head<'a>(
    kind: Kind,
    buf: &'a [u8],
    most: usize,
    headers: &mut Headers,
) -> Result<Option<Parsed<'a>>, Refusal> {
    let mut few = [const { MaybeUninit::uninit() }; LINES];
    let mut many;
    let slots = if most <= LINES {
        &mut few[..most]
    } else {
        many = vec![MaybeUninit::uninit(); most];
        &mut many[..]
    };
    let config = httparse::ParserConfig::default();
    let (first, version, len, lines): (First<'a>, _, _, &[httparse::Header<'a>]);
    match kind {
        Kind::Request => {
            let mut found = httparse::Request::new(&mut []);
            let status = config.parse_request_with_uninit_headers(&mut found, buf, slots).map_err(refusal)?;
            let httparse::Status::Complete(n) = status else { return Ok(None) };
            let (Some(method), Some(target), Some(v)) = (found.method, found.path, found.version) else {
                return Err(Refusal::Malformed("no request line"));
            };
            (first, version, len, lines) = (First::Request(method, target), v, n, found.headers);
        }
        Kind::Answer => {
            let mut found = httparse::Response::new(&mut []);
            let status = config.parse_response_with_uninit_headers(&mut found, buf, slots).map_err(refusal)?;
            let httparse::Status::Complete(n) = status else { return Ok(None) };
            let (Some(code), Some(v)) = (found.code, found.version) else {
                return Err(Refusal::Malformed("no status line"));
            };
            (first, version, len, lines) = (First::Answer(code), v, n, found.headers);
        }
    }
    // Where a piece of the buffer lies in it.
    let at = |piece: &[u8]| (piece.as_ptr() as usize).wrapping_sub(buf.as_ptr() as usize);
    // httparse lets a line feed alone end a line, which others do not: behind each line stands CR LF.
    let ends_well = |end: usize| buf.get(end.wrapping_sub(2)..end) == Some(b"\r\n");
    let begin = match first {
        First::Request(method, _) => at(method.as_bytes()),
        First::Answer(_) => 0,
    };
    let well = ends_well(len)
        && ends_well(len.wrapping_sub(2))
        && lines.iter().all(|l| ends_well(at(l.name.as_bytes())))
        && buf[..begin].as_chunks::<2>().0.iter().all(|c| c == b"\r\n")
        && begin % 2 == 0;
    if !well {
        return Err(Refusal::Malformed("a line ends without CR"));
    }
    if len > BYTES_MAX || lines.iter().any(|l| l.name.len() > NAME_MAX) {
        return Err(Refusal::TooLarge);
    }
    if let Some(line) = lines.first() {
        let from = at(line.name.as_bytes());
        headers.block(buf.get(from..len).unwrap_or_default());
        for line in lines {
            let name = at(line.name.as_bytes()).wrapping_sub(from);
            // The place of an empty value means nothing.
            let end = name + line.name.len();
            let value = if line.value.is_empty() { end + 2 } else { at(line.value).wrapping_sub(from) };
            headers.found(line.name, name..end, value..value + line.value.len());
        }
    }
    Ok(Some(Parsed { first, one_one: version == 1, len }))
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooLarge,
        httparse::Error::HeaderName => Refusal::Malformed("a header's name holds what no name has"),
        httparse::Error::HeaderValue => Refusal::Malformed("a header's value holds a control byte"),
        httparse::Error::NewLine => Refusal::Malformed("a line does not end with CR LF"),
        httparse::Error::Status => Refusal::Malformed("the status is no number"),
        httparse::Error::Version => Refusal::Malformed("neither HTTP/1.1 nor HTTP/1.0"),
        httparse::Error::Token => Refusal::Malformed("the first line is not HTTP"),
    }
}

/// A line feed alone ends a line for some and not for others.
pub(super) fn no_bare_line_feed(bytes: &[u8]) -> Result<(), Refusal> {
    let bare = |at: usize| at.checked_sub(1).and_then(|b| bytes.get(b)) != Some(&b'\r');
    if memchr::memchr_iter(b'\n', bytes).any(bare) {
        return Err(Refusal::Malformed("a line ends without CR"));
    }
    Ok(())
}

/// Where lines end that stand at the beginning: behind the first blank one. Bare line feeds count here, so that they
/// are found and refused rather than waited for.
pub(super) fn end_of_lines(bytes: &[u8]) -> Option<usize> {
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    ends.find_map(|at| match bytes.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Digits and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    // Nineteen digits fit whatever they are.
    text.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u64::from(digit - b'0')))
}

//! Header lines in one buffer, as they came: their order and the case of their names are kept.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;

/// Emptied lines that a thread keeps for the next head.
const KEPT_MAX: usize = 128;
/// A buffer that grew beyond this is not kept: one large head should not be paid for ever.
const KEPT_BYTES: usize = 4 << 10;
/// Up to here a map's values share one copy. HPACK's table may keep any of them, and with it that copy.
const SHARED_BYTES: usize = 4 << 10;
/// As many lines may a kept one have room for.
const KEPT_LINES: usize = 128;

/// Places of lines are counted in 32 bits; `limits.head` ends heads long before.
pub(crate) const BYTES_MAX: usize = 1 << 30;
/// The longest name; the codec refuses a longer one.
pub(crate) const NAME_MAX: usize = u16::MAX as usize;

thread_local! {
    static KEPT: RefCell<Vec<Headers>> = const { RefCell::new(Vec::new()) };
}

/// Where one line lies.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Of the name as it came, in `bytes`.
    start: u32,
    value: u32,
    value_len: u32,
    /// The name in lower case, when it is one of ours.
    known: Option<&'static str>,
    /// Else its place in `names`.
    lower: u32,
    name_len: u16,
    /// `Name: value CR LF` stands in `bytes` just so.
    canonical: bool,
}

/// Header lines. Names compare without case and are shown in lower case; what leaves over HTTP/1 has the case that came.
///
/// Everything lies in one buffer, which goes back to its thread when it is dropped: a head costs no allocation.
#[derive(Debug, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    names: String,
    lines: Vec<Line>,
    /// A bit for each name that may be there: most questions are for names that are not.
    present: u128,
}

/// The bit of a name (lower case). Inlined, so that it is known at build time for a name that is.
#[inline]
fn bit(name: &str) -> u128 {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 1 };
    let middle = bytes.get(bytes.len() / 2).copied().unwrap_or_default();
    let mixed = (bytes.len() as u8).wrapping_mul(31) ^ first.wrapping_mul(5) ^ last.wrapping_mul(11) ^ middle;
    1 << (mixed & 127)
}

impl Drop for Headers {
    fn drop(&mut self) {
        if self.lines.capacity() == 0 {
            return;
        }
        let mut gone = std::mem::take(self);
        let small = gone.bytes.capacity() <= KEPT_BYTES && gone.lines.capacity() <= KEPT_LINES;
        // The thread's store may be gone already when the thread ends.
        let _ = KEPT.try_with(|kept| {
            let Ok(mut kept) = kept.try_borrow_mut() else { return };
            if small && kept.len() < KEPT_MAX {
                gone.clear();
                kept.push(std::mem::take(&mut gone));
            }
        });
        // What was not kept has no way back: its parts are freed one by one.
        drop((std::mem::take(&mut gone.bytes), std::mem::take(&mut gone.names), std::mem::take(&mut gone.lines)));
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        Headers {
            bytes: self.bytes.clone(),
            names: self.names.clone(),
            lines: self.lines.clone(),
            present: self.present,
        }
    }
}

/// Whether a value may stand in a header line (RFC 9110, 5.5): visible bytes, blanks and tabs.
fn legal(value: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at at once.
    value.iter().fold(true, |legal, &b| legal & (((b >= b' ') & (b != 0x7f)) | (b == b'\t')))
}

/// Whether a text is a name in lower case (RFC 9110, 5.1).
fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(fits)
}

impl Headers {
    /// None yet, with the room of lines that were dropped on this thread.
    pub(crate) fn recycled() -> Self {
        KEPT.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// The same lines, in the room of lines that were dropped on this thread.
    pub(super) fn copied(&self) -> Self {
        let mut copy = Headers::recycled();
        copy.bytes.extend_from_slice(&self.bytes);
        copy.names.push_str(&self.names);
        copy.lines.extend_from_slice(&self.lines);
        copy.present = self.present;
        copy
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
        self.lines.clear();
        self.present = 0;
    }

    /// From HTTP/2, whose library has a map of its own.
    pub(crate) fn from_map(map: &HeaderMap) -> Self {
        let mut headers = Headers::recycled();
        headers.lines.reserve(map.len());
        for (name, value) in map {
            let lower = u32::try_from(headers.names.len()).unwrap_or(u32::MAX);
            headers.names.push_str(name.as_str());
            if let Some(line) = headers.write(name.as_str(), value.as_bytes()) {
                headers.lines.push(Line { lower, ..line });
                headers.present |= bit(name.as_str());
            }
        }
        headers
    }

    /// To HTTP/2: the lines whose names are `wanted`. A line whose name is `fleeting` will not come again with this
    /// value, so HPACK is told not to remember it. None for more lines than a map can hold.
    pub(crate) fn to_map(&self, wanted: impl Fn(&str) -> bool, fleeting: impl Fn(&str) -> bool) -> Option<HeaderMap> {
        let mut map = HeaderMap::try_with_capacity(self.lines.len()).ok()?;
        let shared = (self.bytes.len() <= SHARED_BYTES).then(|| Bytes::copy_from_slice(&self.bytes));
        for line in &self.lines {
            let (text, value) = (self.name_of(line), self.value_of(line));
            if !wanted(text) {
                continue;
            }
            let at = line.value as usize;
            let value = match &shared {
                Some(shared) if !value.is_empty() => HeaderValue::from_maybe_shared(shared.slice(at..at + value.len())),
                _ => HeaderValue::from_bytes(value),
            };
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_lowercase(text.as_bytes()), value) {
                value.set_sensitive(fleeting(text));
                map.try_append(name, value).ok()?;
            }
        }
        Some(map)
    }

    /// The codec's way in: the lines of a head as they came, to be pointed at by [`Headers::found`].
    pub(crate) fn block(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A line of the block: its name and its value by their places in it. Both are known to be legal.
    pub(crate) fn found(&mut self, text: &str, name: std::ops::Range<usize>, value: std::ops::Range<usize>) {
        let lower = self.names.len();
        self.names.push_str(text);
        if let Some(text) = self.names.get_mut(lower..) {
            text.make_ascii_lowercase();
            self.present |= bit(text);
        }
        let after = self.bytes.get(value.end..value.end + 2);
        let canonical = value.start == name.end + 2
            && self.bytes.get(name.end..value.start) == Some(b": ")
            && after == Some(b"\r\n");
        if value.end > BYTES_MAX || lower > BYTES_MAX || name.len() > NAME_MAX {
            return;
        }
        // Within the limits, none of them is cut.
        self.lines.push(Line {
            start: name.start as u32,
            value: value.start as u32,
            value_len: value.len() as u32,
            known: None,
            lower: lower as u32,
            name_len: name.len() as u16,
            canonical,
        });
    }

    /// A line at the end; name in lower case, both legal.
    fn push(&mut self, name: &'static str, value: &[u8]) {
        if let Some(line) = self.write(name, value) {
            self.lines.push(Line { known: Some(name), ..line });
            self.present |= bit(name);
        }
    }

    /// Writes a line into the buffer, without putting it among the lines.
    fn write(&mut self, name: &str, value: &[u8]) -> Option<Line> {
        let start = self.bytes.len();
        if start + value.len() > BYTES_MAX || name.len() > NAME_MAX {
            return None;
        }
        let line = Line {
            start: start as u32,
            value: (start + name.len() + 2) as u32,
            value_len: value.len() as u32,
            known: None,
            lower: 0,
            name_len: name.len() as u16,
            canonical: true,
        };
        self.bytes.reserve(name.len() + value.len() + 4);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        Some(line)
    }

    fn name_of(&self, line: &Line) -> &str {
        if let Some(known) = line.known {
            return known;
        }
        let start = line.lower as usize;
        self.names.get(start..start + usize::from(line.name_len)).unwrap_or_default()
    }

    fn value_of(&self, line: &Line) -> &[u8] {
        let start = line.value as usize;
        self.bytes.get(start..start + line.value_len as usize).unwrap_or_default()
    }

    /// Whether there may be a line of the name (lower case); no is sure.
    #[inline]
    fn may_have(&self, name: &str) -> bool {
        self.present & bit(name) != 0
    }

    #[inline]
    fn is(&self, line: &Line, name: &str) -> bool {
        usize::from(line.name_len) == name.len() && self.name_of(line) == name
    }

    /// First value of a name (lower case), if it is ASCII text.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name).filter(|v| v.is_ascii()).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// First value of a name (lower case).
    #[inline]
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        if self.may_have(name) { self.first(name) } else { None }
    }

    fn first(&self, name: &str) -> Option<&[u8]> {
        self.lines.iter().find(|l| self.is(l, name)).map(|l| self.value_of(l))
    }

    /// Every value of a name (lower case), in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let lines = if self.may_have(name) { &self.lines[..] } else { &[] };
        lines.iter().filter(move |l| self.is(l, name)).map(|l| self.value_of(l))
    }

    /// Whether there is at least one line of the name (lower case).
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.may_have(name) && self.has(name)
    }

    fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|l| self.is(l, name))
    }

    /// Whether there may be a line of one of these names (lower case); no is sure, and fast.
    #[inline]
    pub(crate) fn may_have_any(&self, names: &[&str]) -> bool {
        names.iter().any(|n| self.may_have(n))
    }

    /// Every line: name in lower case, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.lines.iter().map(|l| (self.name_of(l), self.value_of(l)))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Replaces every line of a name (lower case) by one, in the place of the first. A value that is no legal header
    /// value is not set; returns whether it was.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<[u8]>) -> bool {
        if !legal(value.as_ref()) {
            return false;
        }
        let found = if self.may_have(name) { self.lines.iter().position(|l| self.is(l, name)) } else { None };
        let Some(first) = found else {
            self.push(name, value.as_ref());
            return true;
        };
        let Some(line) = self.write(name, value.as_ref()) else { return false };
        if let Some(old) = self.lines.get_mut(first) {
            *old = Line { known: Some(name), ..line };
        }
        if self.lines[first + 1..].iter().any(|l| self.is(l, name)) {
            let mut at = 0;
            self.keep(|this, l| {
                at += 1;
                at <= first + 1 || !this.is(l, name)
            });
        }
        true
    }

    /// Adds a line. A value that is no legal header value is not added; returns whether it was.
    pub fn append(&mut self, name: &'static str, value: impl AsRef<[u8]>) -> bool {
        let legal = legal(value.as_ref());
        if legal {
            self.push(name, value.as_ref());
        }
        legal
    }

    /// Adds a line under a name that is only known at run time, in lower case. One that is no legal line is not added;
    /// returns whether it was.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        if !legal(value) || !is_name(name) {
            return false;
        }
        let lower = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let Some(line) = self.write(name, value) else { return false };
        self.names.push_str(name);
        self.lines.push(Line { lower, ..line });
        self.present |= bit(name);
        true
    }

    /// Replaces every line of a name that is only known at run time, in lower case, by one at the end.
    pub fn replace(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        if !legal(value.as_ref()) || !is_name(name) {
            return false;
        }
        self.remove(name);
        self.add(name, value)
    }

    /// Adds every line of others.
    pub fn extend(&mut self, others: &Headers) {
        for line in &others.lines {
            match line.known {
                Some(name) => self.append(name, others.value_of(line)),
                None => self.add(others.name_of(line), others.value_of(line)),
            };
        }
    }

    /// Removes every line of a name (lower case); returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let there = self.contains(name);
        if there {
            self.keep(|this, l| !this.is(l, name));
        }
        there
    }

    /// Removes every line whose name (lower case) is not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        self.keep(|this, l| wanted(this.name_of(l)));
    }

    fn keep(&mut self, mut wanted: impl FnMut(&Self, &Line) -> bool) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.retain(|l| wanted(self, l));
        self.lines = lines;
    }

    /// Writes the lines as HTTP/1 has them. Neighbours that came as they leave are copied in one piece.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let (mut from, mut to) = (0, 0);
        for line in &self.lines {
            let start = line.start as usize;
            if line.canonical && start == to {
                to = (line.value + line.value_len) as usize + 2;
                continue;
            }
            out.extend_from_slice(self.bytes.get(from..to).unwrap_or_default());
            (from, to) = (start, start);
            if line.canonical {
                to = (line.value + line.value_len) as usize + 2;
            } else {
                out.extend_from_slice(self.bytes.get(start..start + usize::from(line.name_len)).unwrap_or_default());
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.value_of(line));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(self.bytes.get(from..to).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(block: &str) -> Headers {
        let mut headers = Headers::default();
        headers.block(block.as_bytes());
        let mut at = 0;
        for line in block.split_inclusive("\r\n") {
            let colon = line.find(':').unwrap();
            let value = line[colon + 1..].trim();
            let start = at + colon + 1 + line[colon + 1..].find(value).unwrap();
            headers.found(&line[..colon], at..at + colon, start..start + value.len());
            at += line.len();
        }
        headers
    }

    fn written(headers: &Headers) -> String {
        let mut out = Vec::new();
        headers.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_came_leaves_with_its_case_and_order() {
        let block = "Host: a\r\nX-Odd:  two blanks \r\nAccept: */*\r\nset-cookie: a\r\nX-Last:1\r\nSET-Cookie: b\r\n";
        let mut headers = parsed(block);
        assert_eq!(
            written(&headers),
            "Host: a\r\nX-Odd: two blanks\r\nAccept: */*\r\nset-cookie: a\r\nX-Last: 1\r\nSET-Cookie: b\r\n"
        );
        assert_eq!(headers.get_all("set-cookie").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(headers.get_all("set-cookie").next_back(), Some(&b"b"[..]));
        assert_eq!((headers.get("x-odd"), headers.len()), (Some("two blanks"), 6));
        assert!(headers.remove("accept") && !headers.remove("accept"));
        assert!(headers.set("set-cookie", "c") && headers.append("via", "1.1 x") && !headers.append("via", "a\nb"));
        assert!(!headers.set("host", b"\x7f"));
        assert_eq!(written(&headers), "Host: a\r\nX-Odd: two blanks\r\nset-cookie: c\r\nX-Last: 1\r\nvia: 1.1 x\r\n");
        headers.retain(|n| n != "x-odd");
        let names: Vec<&str> = headers.iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["host", "set-cookie", "x-last", "via"]);
        let map = headers.to_map(|n| n != "host", |n| n == "x-last").unwrap();
        assert!(map.iter().all(|(n, v)| v.is_sensitive() == (n == "x-last")));
        let again = Headers::from_map(&map);
        assert_eq!(written(&again), "set-cookie: c\r\nx-last: 1\r\nvia: 1.1 x\r\n");
        assert!(headers.append("x-large", vec![b'x'; SHARED_BYTES]));
        assert_eq!(headers.to_map(|_| true, |_| false).unwrap().len(), 5);
        for _ in 0..40_000 {
            headers.append("x", "");
        }
        assert!(headers.to_map(|_| true, |_| false).is_none());
    }

    #[test]
    fn the_buffer_of_a_dropped_head_is_used_again() {
        drop(parsed("Host: a\r\n"));
        let next = Headers::recycled();
        assert!(next.is_empty() && next.bytes.is_empty() && next.names.is_empty() && next.bytes.capacity() > 0);
        let mut large = Headers::default();
        large.append("x", vec![b'x'; KEPT_BYTES + 1]);
        drop(large);
        assert_eq!(Headers::recycled().bytes.capacity(), 0);
    }
}

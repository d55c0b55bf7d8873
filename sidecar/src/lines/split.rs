//! Bytes to lines.

use super::parse::LINE_MAX;

/// How a stream says where a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// By a line feed.
    Feed,
    /// By a line feed or, as GELF over TCP, a zero byte; or by its length in front (RFC 6587, 3.4.1).
    Any,
}

/// A line in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its bytes, without its end.
    pub(super) bytes: &'a [u8],
    /// Where it stands in the stream, its end included.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether more of it was left out.
    pub(super) cut: bool,
}

/// Cuts a stream into lines; a line beyond the limit is given as far as it fits, once.
#[derive(Debug)]
pub(super) struct Splitter {
    ends: Ends,
    begun: Vec<u8>,
    /// Where what is begun stands in the stream.
    from: u64,
    at: u64,
    /// The rest of a line that was too long.
    skipping: bool,
}

impl Splitter {
    /// At a stream's beginning.
    pub(super) fn new(ends: Ends) -> Splitter {
        Splitter { ends, begun: Vec::new(), from: 0, at: 0, skipping: false }
    }

    /// The next bytes of the stream.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            let (used, whole) = self.step(bytes);
            let (now, after) = bytes.split_at(used);
            let end = usize::from(whole == Whole::Delimited);
            let content = &now[..now.len() - end];
            let to = self.at + used as u64;
            let room = LINE_MAX - self.begun.len().min(LINE_MAX);
            if self.skipping {
                self.skipping = whole == Whole::No;
            } else if whole != Whole::No && self.begun.is_empty() && content.len() <= LINE_MAX {
                each(Piece { bytes: content, from: self.at, to, cut: false });
            } else if content.len() > room {
                self.begun.extend_from_slice(&content[..room]);
                each(Piece { bytes: &self.begun, from: self.from, to, cut: true });
                self.begun.clear();
                self.skipping = whole == Whole::No;
            } else {
                self.begun.extend_from_slice(content);
                if whole != Whole::No {
                    each(Piece { bytes: &self.begun, from: self.from, to, cut: false });
                    self.begun.clear();
                }
            }
            self.at = to;
            if self.begun.is_empty() {
                self.from = to;
                self.begun.shrink_to(LINE_MAX / 4);
            }
            bytes = after;
        }
    }

    /// The stream has ended: what has no end is a line too.
    pub(super) fn end(&mut self, each: impl FnOnce(Piece<'_>)) {
        if !self.begun.is_empty() {
            each(Piece { bytes: &self.begun, from: self.from, to: self.at, cut: false });
            self.begun.clear();
        }
    }

    /// How many of the bytes belong to the line that is begun, and whether it is whole then.
    fn step(&self, bytes: &[u8]) -> (usize, Whole) {
        if self.ends == Ends::Any
            && !self.skipping
            && let Some((head, length)) = counted(&self.begun, bytes)
        {
            // The count in front is taken for a part of the line; whoever reads it takes it off again.
            let missing = (head + length).saturating_sub(self.begun.len());
            return match bytes.len() >= missing {
                true => (missing.max(1), Whole::Counted),
                false => (bytes.len(), Whole::No),
            };
        }
        let end = match self.ends {
            Ends::Feed => memchr::memchr(b'\n', bytes),
            Ends::Any => memchr::memchr2(b'\n', 0, bytes),
        };
        end.map_or((bytes.len(), Whole::No), |i| (i + 1, Whole::Delimited))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    No,
    Delimited,
    Counted,
}

/// Digits of a count that are believed.
const DIGITS_MAX: usize = 5;

/// The length of `123 ` and the count in it, when a priority follows.
fn counted(begun: &[u8], bytes: &[u8]) -> Option<(usize, usize)> {
    let byte = |i: usize| begun.get(i).or_else(|| bytes.get(i - begun.len().min(i))).copied();
    let mut length = 0;
    let mut digits = 0;
    while let Some(digit) = byte(digits).filter(u8::is_ascii_digit) {
        if digits == DIGITS_MAX || (digits == 0 && digit == b'0') {
            return None;
        }
        length = length * 10 + usize::from(digit - b'0');
        digits += 1;
    }
    (digits > 0 && byte(digits) == Some(b' ') && byte(digits + 1) == Some(b'<')).then_some((digits + 1, length))
}

/// A line without the count in front of it.
pub(super) fn uncounted(bytes: &[u8]) -> &[u8] {
    match counted(&[], bytes) {
        Some((head, _)) => &bytes[head..],
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(ends: Ends, stream: &[u8], piece: usize) -> Vec<(String, u64, u64, bool)> {
        let mut splitter = Splitter::new(ends);
        let mut out = Vec::new();
        let mut keep = |p: Piece<'_>| {
            out.push((String::from_utf8_lossy(uncounted(p.bytes)).into_owned(), p.from, p.to, p.cut));
        };
        for part in stream.chunks(piece) {
            splitter.feed(part, &mut keep);
        }
        splitter.end(&mut keep);
        out
    }

    #[test]
    fn lines_are_the_same_however_their_bytes_come() {
        let stream = b"one\n\ntwo\xff\x00x\nlast";
        let expected: Vec<(String, u64, u64, bool)> = vec![
            ("one".into(), 0, 4, false),
            (String::new(), 4, 5, false),
            ("two\u{fffd}\0x".into(), 5, 12, false),
            ("last".into(), 12, 16, false),
        ];
        for piece in 1..=stream.len() {
            assert_eq!(split(Ends::Feed, stream, piece), expected, "{piece}");
        }
        let stream = b"{\"a\":1}\0{\"b\":2}\n11 <14>1 a\nb!<14>plain\n";
        for piece in 1..=stream.len() {
            let lines: Vec<String> = split(Ends::Any, stream, piece).into_iter().map(|l| l.0).collect();
            assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", "<14>1 a\nb!<", "14>plain"].map(str::to_owned), "{piece}");
        }
    }

    #[test]
    fn a_line_without_end_is_told_once_and_kept_small() {
        let mut stream = vec![b'x'; 3 * LINE_MAX];
        stream.extend_from_slice(b"\nnext\n");
        for piece in [1000, 65_536, stream.len()] {
            let lines = split(Ends::Feed, &stream, piece);
            assert_eq!((lines.len(), lines[0].0.len(), lines[0].3), (2, LINE_MAX, true), "{piece}");
            assert_eq!((lines[1].0.as_str(), lines[1].1), ("next", 3 * LINE_MAX as u64 + 1));
        }
    }
}

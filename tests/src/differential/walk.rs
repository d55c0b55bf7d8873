//! Where the messages lie in the bytes: only for telling which case a difference is. Read as leniently as anybody does.

/// One message's bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span<'a> {
    /// Informational answers before it.
    pub(super) before: &'a [u8],
    /// Blank lines that stand before it, its first line and its lines, the blank one included.
    pub(super) head: &'a [u8],
    /// Everything that follows its head, up to the end of all bytes.
    pub(super) rest: &'a [u8],
    /// Whether its body is chunked.
    pub(super) chunked: bool,
}

impl<'a> Span<'a> {
    /// Whether its head has no end.
    pub(super) fn is_cut_off(&self) -> bool {
        !(self.head.ends_with(b"\n\r\n") || self.head.ends_with(b"\n\n"))
    }

    /// Lines behind the first one: name in lower case, value without blanks.
    pub(super) fn lines(&self) -> impl Iterator<Item = (String, &'a [u8])> {
        let head = self.head;
        let from = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(head.len());
        head[from..].split(|b| *b == b'\n').skip(1).filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii()))
        })
    }

    /// The values of a name.
    pub(super) fn values(&self, name: &str) -> Vec<&'a [u8]> {
        self.lines().filter(|(n, _)| n == name).map(|(_, v)| v).collect()
    }

    /// The words of the first line.
    pub(super) fn words(&self) -> Vec<&'a [u8]> {
        let from = self.head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(self.head.len());
        let line = self.head[from..].split(|b| *b == b'\n').next().unwrap_or_default();
        line.trim_ascii().split(|b| *b == b' ').collect()
    }

    /// The lines of a chunked body: each chunk's size line, what stands where a chunk's end should, then trailers.
    pub(super) fn chunk_lines(&self) -> Chunks<'a> {
        let mut chunks = Chunks::default();
        let mut rest = self.rest;
        loop {
            let Some((line, after)) = line_of(rest) else {
                chunks.sizes.push(rest);
                chunks.len = self.rest.len();
                return chunks;
            };
            chunks.sizes.push(line);
            let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            let size = std::str::from_utf8(&line[..digits]).ok().and_then(|d| usize::from_str_radix(d, 16).ok());
            rest = after;
            match size {
                Some(0) => break,
                Some(n) if n < rest.len() => {
                    let end = &rest[n..];
                    let len = end.iter().take(2).position(|b| *b == b'\n').map_or(end.len().min(2), |i| i + 1);
                    chunks.ends.push(&end[..len]);
                    rest = &end[len..];
                }
                _ => {
                    chunks.len = self.rest.len();
                    return chunks;
                }
            }
        }
        while let Some((line, after)) = line_of(rest) {
            rest = after;
            chunks.trailers.push(line);
            if line.trim_ascii().is_empty() {
                break;
            }
        }
        chunks.len = self.rest.len() - rest.len();
        chunks
    }
}

/// A chunked body's lines, each with its end.
#[derive(Debug, Default)]
pub(super) struct Chunks<'a> {
    pub(super) sizes: Vec<&'a [u8]>,
    pub(super) ends: Vec<&'a [u8]>,
    pub(super) trailers: Vec<&'a [u8]>,
    /// Bytes of all of it.
    pub(super) len: usize,
}

fn line_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')? + 1;
    Some(bytes.split_at(end))
}

/// Where a head that stands at the beginning ends.
fn head_len(bytes: &[u8]) -> usize {
    let from = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let mut ends = (from..bytes.len()).filter(|i| bytes[*i] == b'\n');
    ends.find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
    .unwrap_or(bytes.len())
}

/// The message with this number.
pub(super) fn message(wire: &[u8], number: usize) -> Span<'_> {
    let mut rest = wire;
    let mut seen = 0;
    loop {
        let (head, after) = rest.split_at(head_len(rest));
        let mut span = Span { before: &[], head, rest: after, chunked: false };
        span.chunked = span.values("transfer-encoding").iter().any(|v| v.to_ascii_lowercase().ends_with(b"chunked"));
        if seen == number || after.is_empty() {
            return span;
        }
        seen += 1;
        let len = if span.chunked {
            span.chunk_lines().len
        } else {
            let length = span.values("content-length");
            let number = length.first().and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()).unwrap_or(0_usize);
            number.min(after.len())
        };
        rest = &after[len..];
    }
}

/// The final answer, and how many informational ones stand before it.
pub(super) fn final_answer(wire: &[u8]) -> (usize, Span<'_>) {
    let mut rest = wire;
    let mut number = 0;
    loop {
        // An informational answer has no body, whatever its lines say.
        let span = message(rest, 0);
        let informational = span.words().get(1).is_some_and(|w| w.len() == 3 && w[0] == b'1' && *w != b"101");
        if !informational || span.rest.is_empty() {
            let before = wire.len() - rest.len();
            return (number, Span { before: &wire[..before], ..span });
        }
        number += 1;
        rest = span.rest;
    }
}

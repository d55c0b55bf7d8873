//! The two lists that travel with a trace, `tracestate` and `baggage`: passed on as they are within their limits,
//! whole members dropped from the end beyond them.

/// What a list may hold.
pub(super) struct Limits {
    /// Members.
    members: usize,
    /// Bytes of all lines, with a comma between them.
    bytes: usize,
    /// Whether several lines become one.
    join: bool,
}

/// 32 members (W3C Trace Context, 3.3.1.1). No limit of bytes: the header block has one, and at least 512 must pass.
pub(super) const TRACESTATE: Limits = Limits { members: 32, bytes: usize::MAX, join: true };

/// What W3C Baggage (3.3.2) asks everybody to carry; more is what nobody is promised.
pub(super) const BAGGAGE: Limits = Limits { members: 64, bytes: 8192, join: false };

impl Limits {
    /// The list as one line within the limits, and how many members were dropped; none when it may stay as it is.
    /// `lines` gives the header's lines, as often as they are asked for.
    pub(super) fn fitted<'a, I: Iterator<Item = &'a [u8]>>(&self, lines: impl Fn() -> I) -> Option<(Vec<u8>, u32)> {
        let (mut count, mut bytes) = (0, 0);
        for line in lines() {
            bytes += line.len() + usize::from(count > 0);
            count += 1;
        }
        let fits = bytes <= self.bytes && lines().flat_map(members).count() <= self.members;
        if fits && !(self.join && count > 1) {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.min(self.bytes));
        let mut kept = 0;
        let mut rest = lines().flat_map(members).peekable();
        while let Some(member) = rest.peek() {
            let comma = usize::from(kept > 0);
            if kept == self.members || out.len() + comma + member.len() > self.bytes {
                break;
            }
            if comma == 1 {
                out.push(b',');
            }
            out.extend_from_slice(member);
            kept += 1;
            rest.next();
        }
        Some((out, u32::try_from(rest.count()).unwrap_or(u32::MAX)))
    }
}

/// The members of one line, without blanks around them; empty ones do not count.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

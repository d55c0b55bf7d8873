//! How an entry crosses from the data threads: numbers at fixed places, then the lengths of its texts, then the texts.
//! Both ends are this process, so there is no version and no byte order to agree on; it is written and read with no
//! allocation (but for failed tries) and one look at every byte. A general format costs four times as many
//! instructions: `docs/decisions/010-one-entry-for-all-sinks.md`.

use super::whole::Places;
use super::{Entry, Moment, Nanos, Pairs, Stretch, Tries, Try, What};
use crate::exchange::{Direction, Outcome, Protocol};
use crate::sink::redact::{REDACTED, is_secret};
use std::net::IpAddr;

const WHAT: [What; 3] = [What::Begun, What::Command, What::Line];
const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];
/// The number of what is not there.
const NONE: u8 = 255;
/// Marks of what only some entries have.
const MOMENT: u8 = 1;
const WHOLE: u8 = 2;
/// Texts that every entry has.
const TEXTS: usize = 11;

fn index<T: PartialEq>(all: &[T], one: Option<T>) -> u8 {
    one.and_then(|one| all.iter().position(|t| *t == one)).map_or(NONE, |i| i as u8)
}

impl<'a> Entry<'a> {
    fn texts(&self) -> [&str; TEXTS] {
        [
            self.message,
            self.command,
            self.id,
            self.service,
            self.route,
            self.consumer,
            self.upstream,
            self.method,
            self.fault,
            self.detail,
            self.client_identity,
        ]
    }

    /// Appends it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(512);
        let (ip_kind, ip) = match self.client {
            None => (0, [0; 16]),
            Some(IpAddr::V4(v4)) => (4, v4.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(v6)) => (6, v6.octets()),
        };
        out.extend_from_slice(&[
            index(&WHAT, Some(self.what)),
            self.level,
            index(&DIRECTIONS, self.direction),
            index(&Protocol::ALL, self.protocol),
            index(&Outcome::ALL, self.outcome),
            self.trace_flags,
            ip_kind,
            if self.moment != Moment::default() { MOMENT } else { 0 } | if self.whole.is_some() { WHOLE } else { 0 },
        ]);
        out.extend_from_slice(&ip);
        for n in [
            self.wall,
            self.total.0,
            self.upstream_time.0,
            self.overhead.0,
            self.bytes_in,
            self.bytes_out,
            self.span_id,
            self.parent_span,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.trace_id.to_le_bytes());
        out.extend_from_slice(&self.attempt.to_le_bytes());
        out.extend_from_slice(&self.baggage_dropped.to_le_bytes());
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.grpc_status.unwrap_or(u16::MAX).to_le_bytes());
        for count in [self.tags.len(), self.shown.len(), self.attempts.len()] {
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
        if self.moment != Moment::default() {
            let Moment { since, at, outputs: [first, second] } = self.moment;
            for n in [since, at, first.from, first.to, second.from, second.to] {
                out.extend_from_slice(&n.to_le_bytes());
            }
        }
        for text in self.texts() {
            length(out, text);
        }
        let most = usize::from(u16::MAX);
        for (key, value) in self.tags.iter().take(most) {
            length(out, key);
            length(out, shown(key, value));
        }
        for (key, value) in self.shown.iter().take(most) {
            length(out, key);
            length(out, value);
        }
        for each in self.attempts.iter().take(most) {
            out.extend_from_slice(&each.at.0.to_le_bytes());
            [each.upstream, each.code, each.detail].iter().for_each(|t| length(out, t));
        }
        if let Some(whole) = &self.whole {
            whole.write_numbers(out);
        }
        for text in self.texts() {
            out.extend_from_slice(text.as_bytes());
        }
        for (key, value) in self.tags.iter().take(most) {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(shown(key, value).as_bytes());
        }
        for (key, value) in self.shown.iter().take(most) {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        for each in self.attempts.iter().take(most) {
            [each.upstream, each.code, each.detail].iter().for_each(|t| out.extend_from_slice(t.as_bytes()));
        }
        if let Some(whole) = &self.whole {
            whole.write_texts(out);
        }
    }

    /// Reads it back; none if the bytes are not what [`Entry::write`] wrote.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let mut numbers = Numbers(bytes);
        let [what, level, direction, protocol, outcome, trace_flags, ip_kind, marks] = numbers.take()?;
        let ip = numbers.take::<16>()?;
        let mut long = || numbers.take().map(u64::from_le_bytes);
        let (wall, total, upstream_time, overhead) = (long()?, long()?, long()?, long()?);
        let (bytes_in, bytes_out, span_id, parent_span) = (long()?, long()?, long()?, long()?);
        let trace_id = u128::from_le_bytes(numbers.take()?);
        let attempt = u32::from_le_bytes(numbers.take()?);
        let baggage_dropped = u32::from_le_bytes(numbers.take()?);
        let status = u16::from_le_bytes(numbers.take()?);
        let grpc_status = u16::from_le_bytes(numbers.take()?);
        let mut count = || numbers.take().map(|n| usize::from(u16::from_le_bytes(n)));
        let (tags, shown, tries) = (count()?, count()?, count()?);
        let moment = match marks & MOMENT {
            0 => Moment::default(),
            _ => numbers.moment()?,
        };
        let mut lengths = [0; TEXTS];
        for length in &mut lengths {
            *length = numbers.length()?;
        }
        let tag_lengths = numbers.slice(tags * 8)?;
        let shown_lengths = numbers.slice(shown * 8)?;
        let mut try_numbers = Numbers(numbers.slice(tries * 20)?);
        let whole = if marks & WHOLE == 0 { None } else { Some(Places::read(&mut numbers)?) };
        // Looked at once, and cut at borders of characters from here on.
        let mut rest = std::str::from_utf8(numbers.0).ok()?;
        let mut text = |length: usize| {
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(text)
        };
        let mut texts = [""; TEXTS];
        for (text_, length) in texts.iter_mut().zip(lengths) {
            *text_ = text(length)?;
        }
        let [message, command, id, service, route, consumer, upstream, method, fault, detail, client_identity] = texts;
        let tags = Pairs::packed(tag_lengths, &mut text)?;
        let shown = Pairs::packed(shown_lengths, &mut text)?;
        let mut attempts = Vec::with_capacity(tries);
        for _ in 0..tries {
            let at = Nanos(u64::from_le_bytes(try_numbers.take()?));
            let (upstream, code, detail) = (try_numbers.length()?, try_numbers.length()?, try_numbers.length()?);
            attempts.push(Try { upstream: text(upstream)?, at, code: text(code)?, detail: text(detail)? });
        }
        let whole = match whole {
            Some(places) => Some(places.with(&mut text)?),
            None => None,
        };
        let client = match ip_kind {
            4 => IpAddr::from(ip).to_canonical().into(),
            6 => IpAddr::from(ip).into(),
            _ => None,
        };
        Some(Entry {
            what: *WHAT.get(usize::from(what))?,
            level,
            wall,
            message,
            command,
            id,
            tags,
            direction: DIRECTIONS.get(usize::from(direction)).copied(),
            protocol: Protocol::ALL.get(usize::from(protocol)).copied(),
            service,
            route,
            consumer,
            outcome: Outcome::ALL.get(usize::from(outcome)).copied(),
            status,
            grpc_status: (grpc_status != u16::MAX).then_some(grpc_status),
            total: Nanos(total),
            upstream_time: Nanos(upstream_time),
            overhead: Nanos(overhead),
            attempt,
            attempts: Tries::Read(attempts),
            method,
            baggage_dropped,
            bytes_in,
            bytes_out,
            client,
            client_identity,
            upstream,
            trace_id,
            span_id,
            parent_span,
            trace_flags,
            fault,
            detail,
            shown,
            moment,
            whole,
        })
    }
}

/// A caller may tag its command with a credential; it goes no further than this.
fn shown<'v>(key: &str, value: &'v str) -> &'v str {
    if !value.is_empty() && is_secret(key) { REDACTED } else { value }
}

pub(super) fn length(out: &mut Vec<u8>, text: &str) {
    // A text beyond 4 GiB makes an entry that no ring takes.
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
}

/// What is left to read.
pub(super) struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn moment(&mut self) -> Option<Moment> {
        let mut next = || self.take().map(u64::from_le_bytes);
        let (since, at) = (next()?, next()?);
        let outputs = [Stretch { from: next()?, to: next()? }, Stretch { from: next()?, to: next()? }];
        Some(Moment { since, at, outputs })
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        self.take().map(|n| u32::from_le_bytes(n) as usize)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}

impl<'a> Pairs<'a> {
    /// Pairs whose lengths stand here, and whose texts come next.
    pub(super) fn packed(lengths: &'a [u8], text: &mut impl FnMut(usize) -> Option<&'a str>) -> Option<Pairs<'a>> {
        let mut numbers = Numbers(lengths);
        let mut all = 0usize;
        while let Some(length) = numbers.length() {
            all = all.checked_add(length)?;
        }
        let pairs = Pairs::Packed { lengths, text: text(all)? };
        // Every piece must be one: a key or value that began inside a character would be lost silently.
        (pairs.iter().count() == lengths.len() / 8).then_some(pairs)
    }

    /// Cuts packed pairs apart.
    pub(super) fn unpacked(
        mut lengths: &'a [u8],
        mut text: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        std::iter::from_fn(move || {
            let mut numbers = Numbers(lengths);
            let (key, value) = (numbers.length()?, numbers.length()?);
            lengths = numbers.0;
            let (key, rest) = text.split_at_checked(key)?;
            let (value, rest) = rest.split_at_checked(value)?;
            text = rest;
            Some((key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::FaultKind;
    use crate::sink::record::tests::{identity, sample};
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_written_is_read() {
        let mut x = sample(&identity(&[]));
        x.command.tags = vec![("shop".into(), "7".into()), ("ü".into(), "é😀".into()), ("my_token".into(), "s".into())];
        x.shown = vec![("header_a".into(), "b".into())];
        x.grpc_status = Some(5);
        x.client = "fd00::1".parse().ok();
        x.peer_identity = Some("spiffe://test/one".into());
        x.attempt_failed(&"http://a:1".into(), Instant::now() + Duration::from_millis(5), FaultKind::Unreachable, "no");
        let mut entry = Entry::of(What::Command, &x);
        entry.moment = Moment { since: 1, at: 2, outputs: [Stretch { from: 3, to: 4 }, Stretch { from: 5, to: 6 }] };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        let back = Entry::read(&bytes).unwrap();
        let tags: Vec<_> = back.tags.iter().collect();
        assert_eq!(tags, [("shop", "7"), ("ü", "é😀"), ("my_token", REDACTED)]);
        assert_eq!(back.shown.iter().collect::<Vec<_>>(), [("header_a", "b")]);
        assert_eq!((back.tags.len(), back.attempts.len()), (3, 1));
        assert_eq!(back.attempts.iter().next(), entry.attempts.iter().next());
        // The rest is the same but for how pairs and tries are held.
        let plain = |e: &Entry<'_>| {
            format!(
                "{:?}",
                Entry { tags: Pairs::Own(&[]), shown: Pairs::Own(&[]), attempts: Tries::Own(&[]), ..e.clone() }
            )
        };
        assert_eq!(plain(&back), plain(&entry));
        let mut again = Vec::new();
        back.write(&mut again);
        assert_eq!(again, bytes);
        // Torn or changed bytes are refused or are another entry; nothing panics.
        for n in 0..bytes.len() {
            let _ = Entry::read(&bytes[..n]);
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[n] ^= flip;
                if let Some(entry) = Entry::read(&other) {
                    entry.tags.iter().count();
                }
            }
        }
    }
}

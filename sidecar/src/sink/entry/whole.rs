//! What an entry carries beside the rest for sinks that tell all of a command. Numbers at fixed places, lengths of
//! texts, texts, as in `pack`; only behind entries of which somebody wants it.

use super::Pairs;
use super::pack::Numbers;
use crate::exchange::{Exchange, Named, Via, Wants};

/// Texts that each has.
const TEXTS: usize = 9;

/// All of a command.
#[derive(Debug, Clone)]
pub(crate) struct Whole<'a> {
    /// Bytes of the request's head, and of the answer's.
    pub(crate) head_in: u64,
    pub(crate) head_out: u64,
    /// The listener's port.
    pub(crate) port: u16,
    /// Whether the caller's connection was encrypted.
    pub(crate) secure: bool,
    /// Whether an instance gave the answer.
    pub(crate) answered: bool,
    /// Path and query, as they came and as they were sent.
    pub(crate) target: &'a str,
    pub(crate) sent: &'a str,
    /// For which host, as the caller said.
    pub(crate) authority: &'a str,
    /// Ids of what the gateway chose and found; empty for none.
    pub(crate) route: &'a str,
    pub(crate) service: &'a str,
    pub(crate) consumer: &'a str,
    pub(crate) credential: &'a str,
    /// Version and cipher of the caller's session; empty for none.
    pub(crate) tls: [&'a str; 2],
    /// Header lines of the request, as they were sent.
    pub(crate) headers: Pairs<'a>,
    /// Header lines of the answer.
    pub(crate) answer: Pairs<'a>,
}

impl<'a> Whole<'a> {
    /// Of an exchange that has ended, as far as it was kept.
    pub(crate) fn of(x: &'a Exchange, wants: Wants) -> Option<Whole<'a>> {
        if wants == Wants::Nothing {
            return None;
        }
        let kept = x.whole.as_deref();
        let all = wants == Wants::All;
        let text = |text: &'a str| if all { text } else { "" };
        let named = |of: fn(&Via) -> Option<&Named>| x.via.as_deref().and_then(of).map_or("", |n| &*n.id);
        Some(Whole {
            head_in: kept.map_or(0, |k| k.head_in),
            head_out: kept.map_or(0, |k| k.head_out),
            port: kept.map_or(0, |k| k.port),
            secure: kept.is_some_and(|k| k.secure),
            answered: x.timings.answered.is_some() && !kept.is_some_and(|k| k.own),
            target: text(kept.map_or_else(|| x.request.target(), |k| &k.target)),
            sent: text(if x.timings.sent.is_some() { x.request.target() } else { "" }),
            authority: text(kept.map_or(x.request.authority.as_str(), |k| &k.authority)),
            route: named(|via| via.route.as_ref()),
            service: named(|via| via.service.as_ref()),
            consumer: x.caller.consumer.as_ref().map_or("", |c| &c.id),
            credential: x.caller.credential.as_ref().map_or("", |c| &c.id),
            tls: kept.and_then(|k| k.session).unwrap_or_default(),
            headers: if all { Pairs::Lines(&x.request.headers) } else { Pairs::Own(&[]) },
            answer: kept.filter(|_| all).map_or(Pairs::Own(&[]), |k| Pairs::Lines(&k.answer)),
        })
    }

    fn texts(&self) -> [&str; TEXTS] {
        let [version, cipher] = self.tls;
        let [route, service, consumer, credential] = [self.route, self.service, self.consumer, self.credential];
        [self.target, self.sent, self.authority, route, service, consumer, credential, version, cipher]
    }

    /// Appends the numbers and lengths.
    pub(super) fn write_numbers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head_in.to_le_bytes());
        out.extend_from_slice(&self.head_out.to_le_bytes());
        out.extend_from_slice(&self.port.to_le_bytes());
        out.extend_from_slice(&[u8::from(self.secure), u8::from(self.answered)]);
        for pairs in [&self.headers, &self.answer] {
            out.extend_from_slice(&u16::try_from(pairs.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        for text in self.texts() {
            super::pack::length(out, text);
        }
        for (key, value) in self.pairs() {
            super::pack::length(out, key);
            super::pack::length(out, value);
        }
    }

    /// Appends the texts.
    pub(super) fn write_texts(&self, out: &mut Vec<u8>) {
        self.texts().iter().for_each(|t| out.extend_from_slice(t.as_bytes()));
        for (key, value) in self.pairs() {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let most = usize::from(u16::MAX);
        self.headers.iter().take(most).chain(self.answer.iter().take(most))
    }
}

/// The numbers and lengths, read before the texts are.
pub(super) struct Places<'a> {
    head: [u64; 2],
    port: u16,
    secure: bool,
    answered: bool,
    texts: [usize; TEXTS],
    headers: &'a [u8],
    answer: &'a [u8],
}

impl<'a> Places<'a> {
    pub(super) fn read(numbers: &mut Numbers<'a>) -> Option<Places<'a>> {
        let head = [u64::from_le_bytes(numbers.take()?), u64::from_le_bytes(numbers.take()?)];
        let port = u16::from_le_bytes(numbers.take()?);
        let [secure, answered] = numbers.take()?;
        let counts = [u16::from_le_bytes(numbers.take()?), u16::from_le_bytes(numbers.take()?)];
        let mut texts = [0; TEXTS];
        for text in &mut texts {
            *text = numbers.length()?;
        }
        let [headers, answer] = counts.map(|n| numbers.slice(usize::from(n) * 8));
        Some(Places {
            head,
            port,
            secure: secure != 0,
            answered: answered != 0,
            texts,
            headers: headers?,
            answer: answer?,
        })
    }

    /// With the texts, which come next.
    pub(super) fn with(self, text: &mut impl FnMut(usize) -> Option<&'a str>) -> Option<Whole<'a>> {
        let mut texts = [""; TEXTS];
        for (to, length) in texts.iter_mut().zip(self.texts) {
            *to = text(length)?;
        }
        let [target, sent, authority, route, service, consumer, credential, version, cipher] = texts;
        Some(Whole {
            head_in: self.head[0],
            head_out: self.head[1],
            port: self.port,
            secure: self.secure,
            answered: self.answered,
            target,
            sent,
            authority,
            route,
            service,
            consumer,
            credential,
            tls: [version, cipher],
            headers: Pairs::packed(self.headers, text)?,
            answer: Pairs::packed(self.answer, text)?,
        })
    }
}

//! Where our codec and hyper may differ, and why.

use super::seen::{Body, End, Item};
use super::walk::Span;
use super::{HEAD_MAX, LINES_MAX, Side};

/// One allowed difference.
pub struct Rule {
    /// What it is called.
    pub name: &'static str,
    /// Why it is right that they differ.
    pub reason: &'static str,
    /// What happens after it.
    pub(super) then: Then,
    /// Whether a difference is this one.
    pub(super) holds: fn(&Case<'_>) -> bool,
}

/// What comparing does after an allowed difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// One side has ended, so there is nothing more to compare.
    Stop,
    /// Both have the message; the next ones are compared as well.
    Go,
}

/// One difference.
pub(super) struct Case<'a> {
    pub(super) side: Side,
    pub(super) ours: &'a Item,
    pub(super) theirs: &'a Item,
    /// How many messages stand before it.
    pub(super) number: usize,
    /// The bytes of the message that it is about.
    /// The request before it.
    pub(super) last: Span<'a>,
    pub(super) at: Span<'a>,
}

impl<'a> Case<'a> {
    /// We refused what hyper has taken, or broke off what hyper has handed over whole.
    fn stricter(&self) -> bool {
        let Item::Message(theirs) = self.theirs else { return false };
        match self.ours {
            Item::End(End::Refused(_)) => theirs.start.is_some(),
            Item::End(_) => false,
            Item::Message(_) => self.broke_off(),
        }
    }

    /// We broke off a body that hyper has handed over whole.
    fn broke_off(&self) -> bool {
        let (Item::Message(ours), Item::Message(theirs)) = (self.ours, self.theirs) else { return false };
        ours.start == theirs.start && ours.body == Body::Broken && theirs.body != Body::Broken
    }

    /// Whether the bytes are of an answer that has no body, whatever its lines say.
    fn has_no_body(&self) -> bool {
        let status = self.at.words().get(1).copied().unwrap_or_default();
        self.side == Side::AnswerToHead || (self.side == Side::Answer && matches!(status, b"101" | b"204" | b"304"))
    }

    /// How many lines the trailers have, the blank one included, and how many bytes.
    fn trailers(&self) -> (usize, usize) {
        let lines = self.at.chunk_lines().trailers;
        (lines.len(), lines.iter().map(|l| l.len()).sum())
    }

    /// Whether the trailers are over hyper's limits, and hyper sees that.
    fn hyper_breaks_trailers(&self) -> bool {
        let (Item::Message(theirs), (lines, len)) = (self.theirs, self.trailers()) else { return false };
        let over = (HEAD_MAX..=16 << 10).contains(&len) || lines > LINES_MAX;
        self.at.chunked && theirs.body == Body::Broken && over
    }

    fn target(&self) -> &'a [u8] {
        self.at.words().get(1).copied().unwrap_or_default()
    }
}

/// Names of the rules that also hold between two splits.
pub(super) const OVER_THE_LIMIT: &str = "head-over-the-limit";
pub(super) const UNFINISHED: &str = "unfinished-and-malformed";

/// Whether both refuse a head that is over the limit, each for what it saw first.
pub(super) fn over_the_limit(case: &Case<'_>) -> bool {
    let refusals = (case.ours, case.theirs);
    matches!(refusals, (Item::End(End::Refused(400 | 431)), Item::End(End::Refused(400 | 431 | 414))))
        && case.at.head.len() >= HEAD_MAX
}

/// Whether two ends differ only in whether the fault of a head without an end was told.
pub(super) fn unfinished(case: &Case<'_>) -> bool {
    let ends = [case.ours, case.theirs];
    ends.iter().any(|e| matches!(e, Item::End(End::Refused(400 | 431 | 0))))
        && ends.iter().any(|e| matches!(e, Item::End(End::Broken)))
        && case.at.is_cut_off()
}

/// HTTP/2's first bytes.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn bare(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(i, b)| *b == b'\n' && (i == 0 || bytes[i - 1] != b'\r'))
}

/// The extension of a chunk's size line.
fn extension(line: &[u8]) -> &[u8] {
    line.iter().position(|b| *b == b';').map_or(&[], |i| line[i..].strip_suffix(b"\r\n").unwrap_or(&line[i..]))
}

/// Every difference that is allowed.
pub const RULES: &[Rule] = &[
    Rule {
        name: "bare-line-feed",
        reason: "a line that ends without CR is two lines for some and one for others (RFC 9112, 2.2): refused",
        then: Then::Stop,
        holds: |c| {
            // Behind an informational answer, hyper may find no other.
            let ends = (c.ours, c.theirs);
            let early = matches!(ends, (Item::End(End::Refused(0)), Item::End(End::Broken)));
            (c.stricter() || early) && (bare(c.at.head) || bare(c.at.before))
        },
    },
    Rule {
        name: "length-and-chunked",
        reason: "the oldest way to hide a request in a request (RFC 9112, 6.1): refused instead of choosing one",
        then: Then::Stop,
        holds: |c| {
            c.stricter() && !c.at.values("content-length").is_empty() && !c.at.values("transfer-encoding").is_empty()
        },
    },
    Rule {
        name: "transfer-coding",
        reason: "a coding other than one chunked would be lost on the way, or hide one (RFC 9112, 6.1): refused",
        then: Then::Stop,
        holds: |c| {
            let codings = c.at.values("transfer-encoding");
            c.stricter() && !matches!(codings[..], [] | [b"chunked"])
        },
    },
    Rule {
        name: "connect-ends",
        reason: "a CONNECT that became no tunnel ends the connection: who thinks it stands sends what is no request",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && matches!(c.ours, Item::End(End::Well))
                && c.last.words().first() == Some(&&b"CONNECT"[..])
        },
    },
    Rule {
        name: "blank-end",
        reason: "line ends behind the last message begin nothing, but a CR alone is none: refused, however it came",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && matches!((c.ours, c.theirs), (Item::End(End::Refused(400)), Item::End(End::Well)))
                && c.at.head.iter().all(|b| matches!(b, b'\r' | b'\n'))
                && c.at.head.windows(2).any(|w| w[0] == b'\r' && w[1] != b'\n')
        },
    },
    Rule {
        name: "connection-not-text",
        reason: "hyper passes over a Connection line with bytes that are not text; its words are read here all the same",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && (matches!(c.ours, Item::End(End::Well)) || matches!(c.theirs, Item::End(End::Well)))
                && c.last.values("connection").iter().any(|v| !v.is_ascii())
        },
    },
    Rule {
        name: "connect-with-body",
        reason: "what follows CONNECT is the tunnel's for some and a body for others (RFC 9110, 9.3.6): refused",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && matches!((c.ours, c.theirs), (Item::End(End::Refused(400)), Item::Message(_)))
                && c.at.words().first() == Some(&&b"CONNECT"[..])
                && (c.at.chunked || !c.at.values("content-length").is_empty())
        },
    },
    Rule {
        name: "length-digits",
        reason: "a length of more than 19 digits, leading zeros included: some readers cut or wrap it; refused",
        then: Then::Stop,
        holds: |c| {
            matches!(c.ours, Item::End(End::Refused(400 | 0)))
                && c.at.values("content-length").iter().any(|v| v.len() > 19 && v.iter().all(u8::is_ascii_digit))
        },
    },
    Rule {
        name: "length-list",
        reason: "hyper reads a list of one length in an answer as that length; only whole lines are repeated here",
        then: Then::Stop,
        holds: |c| {
            c.side != Side::Requests && c.stricter() && c.at.values("content-length").iter().any(|v| v.contains(&b','))
        },
    },
    Rule {
        name: "framing-without-body",
        reason: "hyper does not look at the framing lines of an answer that has no body; ours must make sense there too",
        then: Then::Stop,
        holds: |c| {
            let lengths = c.at.values("content-length");
            let odd = |v: &&[u8]| v.is_empty() || !v.iter().all(u8::is_ascii_digit);
            c.stricter()
                && c.has_no_body()
                && (lengths.iter().any(odd)
                    || lengths.iter().any(|v| v != &lengths[0])
                    || (c.at.head.starts_with(b"HTTP/1.0 ") && !c.at.values("transfer-encoding").is_empty()))
        },
    },
    Rule {
        name: "refused-with-the-connection",
        reason: "the request is refused either way; we also give up the connection, which is the safer way",
        then: Then::Stop,
        holds: |c| {
            matches!(c.ours, Item::End(End::Refused(400))) && matches!(c.theirs, Item::Message(m) if m.start.is_none())
        },
    },
    Rule {
        name: "refused-without-the-connection",
        reason: "hyper's URI type refuses the target and gives up the connection; we refuse the request, whose end is \
                 known",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && matches!(c.ours, Item::Message(m) if m.start.is_none())
                && matches!(c.theirs, Item::End(End::Refused(400)))
        },
    },
    Rule {
        name: "preface",
        reason: "HTTP/2's first bytes where HTTP/1 is expected, or behind a request that is refused: hyper leaves \
                 without a word, we say 400 first",
        then: Then::Stop,
        holds: |c| {
            let refused = matches!(c.ours, Item::Message(m) if m.start.is_none());
            let here = c.at.words() == [&b"PRI"[..], b"*", b"HTTP/2.0"];
            c.side == Side::Requests
                && (refused || matches!(c.ours, Item::End(End::Refused(400))))
                && matches!(c.theirs, Item::End(End::Broken))
                && ((here && !refused) || c.at.rest.starts_with(PREFACE))
        },
    },
    Rule {
        name: "trailers-limit",
        reason: "hyper bounds trailers as it bounds the head; ours have limits of their own, 16 KiB and 64 lines",
        then: Then::Stop,
        holds: |c| {
            let (Item::Message(ours), Item::Message(theirs)) = (c.ours, c.theirs) else { return false };
            let (lines, len) = c.trailers();
            let ours_breaks = c.at.chunked && ours.body == Body::Broken && (len > 16 << 10 || lines > 64);
            ours.start == theirs.start && (c.hyper_breaks_trailers() || ours_breaks)
        },
    },
    Rule {
        name: "fragment",
        reason: "a fragment is never sent (RFC 9112, 3.2); hyper cuts it off, a worker may not: refused, whatever \
                 becomes of the trailers (trailers-limit)",
        then: Then::Go,
        holds: |c| {
            let (Item::Message(ours), Item::Message(theirs)) = (c.ours, c.theirs) else { return false };
            let bodies = ours.body == theirs.body || ours.body == Body::Broken || c.hyper_breaks_trailers();
            c.side == Side::Requests && ours.start.is_none() && bodies && c.target().contains(&b'#')
        },
    },
    Rule {
        name: "chunk-size-line",
        reason: "a size that does not stand alone before CR LF or ';' (blanks, bare line feeds, no or more than 15 \
                 digits): the lines between chunks are where readers disagree (RFC 9112, 7.1); refused",
        then: Then::Stop,
        holds: |c| {
            c.broke_off()
                && c.at.chunked
                && c.at.chunk_lines().sizes.iter().any(|line| {
                    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
                    !(1..=15).contains(&digits) || !matches!(line.get(digits), Some(b'\r' | b';')) || bare(line)
                })
        },
    },
    Rule {
        name: "chunk-extension",
        reason: "extensions of more than 256 bytes in a line or 4 KiB in a body, or with control bytes in them: nobody \
                 uses them, but to hide something or to keep a reader busy; refused",
        then: Then::Stop,
        holds: |c| {
            let lines = c.at.chunk_lines().sizes;
            let control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
            c.broke_off()
                && c.at.chunked
                && (lines.iter().any(|l| extension(l).len() > 256 || extension(l).iter().any(control))
                    || lines.iter().map(|l| extension(l).len()).sum::<usize>() > 4 << 10)
        },
    },
    Rule {
        name: "trailer-line-feed",
        reason: "as bare-line-feed, in the trailers",
        then: Then::Stop,
        holds: |c| c.broke_off() && c.at.chunked && c.at.chunk_lines().trailers.iter().any(|l| bare(l)),
    },
    Rule {
        name: "informational",
        reason: "hyper reads informational answers for ever; more than 64 are no help to anybody: refused",
        then: Then::Stop,
        holds: |c| c.side != Side::Requests && c.stricter() && c.number > 64,
    },
    Rule {
        name: OVER_THE_LIMIT,
        reason: "a head that is both over the limit and malformed is refused for what is seen first",
        then: Then::Stop,
        holds: over_the_limit,
    },
    Rule {
        name: UNFINISHED,
        reason: "a head that is malformed and has no end when the connection ends: refused if the fault was seen, else \
                 given up like one that is only cut off",
        then: Then::Stop,
        holds: unfinished,
    },
    Rule {
        name: "target-bytes",
        reason: "bytes that no URI has but that are meant: taken, as nginx does; they leave escaped",
        then: Then::Stop,
        holds: |c| {
            c.side == Side::Requests
                && matches!(c.ours, Item::Message(m) if m.start.is_some())
                && matches!(c.theirs, Item::End(End::Refused(400)))
                && c.target()
                    .iter()
                    .any(|b| matches!(b, b'<' | b'>' | b'^' | b'`' | b'"' | b'\\' | b'|' | b'{' | b'}' | 0x80..))
        },
    },
];

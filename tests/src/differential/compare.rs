//! Item by item.

use super::rules::{self, Case, RULES, Then};
use super::seen::{Body, Item, Seen};
use super::{Side, Split, walk};
use std::fmt;

/// What must not be.
pub struct Difference {
    side: Side,
    split: Split,
    wire: Vec<u8>,
    what: String,
    ours: Seen,
    theirs: Seen,
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({:?}, {:?})", self.what, self.side, self.split)?;
        write!(f, "bytes: \"{}\"", self.wire.escape_ascii())?;
        for (who, seen) in [("ours", &self.ours), ("theirs", &self.theirs)] {
            write!(f, "\n{who}:")?;
            for item in &seen.items {
                write!(f, "\n  {item:?}")?;
            }
        }
        Ok(())
    }
}

/// The two halves of one input.
pub(super) fn compare(
    side: Side,
    wire: &[u8],
    split: Split,
    ours: &Seen,
    theirs: &Seen,
) -> Result<Vec<&'static str>, Box<Difference>> {
    let difference = |what: String| {
        Err(Box::new(Difference { side, split, wire: wire.to_vec(), what, ours: ours.clone(), theirs: theirs.clone() }))
    };
    if let Some(promise) = &ours.broken_promise {
        return difference(format!("our own promise: {promise}"));
    }
    let mut used = Vec::new();
    for (number, (our, their)) in ours.items.iter().zip(&theirs.items).enumerate() {
        if our == their {
            if broken(our) {
                // What the caller is told of a broken body, and when, is each side's own business.
                return Ok(used);
            }
            continue;
        }
        let (before, at) = at(side, wire, number);
        let case = Case { side, ours: our, theirs: their, number: before, last: last(side, wire, number), at };
        match RULES.iter().find(|rule| (rule.holds)(&case)) {
            None => return difference(format!("item {number} differs, and no rule allows it")),
            Some(rule) => {
                used.push(rule.name);
                if rule.then == Then::Stop || broken(our) || broken(their) {
                    return Ok(used);
                }
            }
        }
    }
    Ok(used)
}

fn broken(item: &Item) -> bool {
    matches!(item, Item::Message(m) if m.body == Body::Broken)
}

/// Our half of one input, twice.
pub(super) fn same(
    side: Side,
    wire: &[u8],
    split: Split,
    whole: &Seen,
    other: &Seen,
) -> Result<Vec<&'static str>, Box<Difference>> {
    let one = whole;
    let what = match (&one.broken_promise, &other.broken_promise) {
        (Some(promise), _) | (_, Some(promise)) => format!("our own promise: {promise}"),
        _ if one == other => return Ok(Vec::new()),
        _ => match same_but_for_the_end(side, wire, one, other) {
            Some(rule) => return Ok(vec![rule]),
            None => "it matters where the bytes are split (ours: in one piece; theirs: ours, split)".to_owned(),
        },
    };
    Err(Box::new(Difference { side, split, wire: wire.to_vec(), what, ours: one.clone(), theirs: other.clone() }))
}

/// Two splits that lead to the same messages, and to ends that differ only in which of two faults was seen first.
fn same_but_for_the_end(side: Side, wire: &[u8], one: &Seen, other: &Seen) -> Option<&'static str> {
    let ((a, before), (b, same)) = (one.items.split_last()?, other.items.split_last()?);
    if before != same {
        return None;
    }
    let (number, at) = at(side, wire, before.len());
    let last = last(side, wire, before.len());
    let case = Case { side, ours: a, theirs: b, number, last, at };
    match () {
        () if rules::unfinished(&case) => Some(rules::UNFINISHED),
        () if rules::over_the_limit(&case) => Some(rules::OVER_THE_LIMIT),
        () => None,
    }
}

/// The bytes of the request before; none of an answer.
fn last(side: Side, wire: &[u8], number: usize) -> walk::Span<'_> {
    match (side, number.checked_sub(1)) {
        (Side::Requests, Some(last)) => walk::message(wire, last),
        _ => walk::Span::default(),
    }
}

/// The bytes of a message, and how many stand before it.
fn at(side: Side, wire: &[u8], number: usize) -> (usize, walk::Span<'_>) {
    match side {
        Side::Requests => (number, walk::message(wire, number)),
        Side::Answer | Side::AnswerToHead => walk::final_answer(wire),
    }
}

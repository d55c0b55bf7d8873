//! hyper as the oracle of our own HTTP/1 codec: the same bytes go through both, split in the same places, and both must
//! come to the same verdict and hand over the same message. What may differ stands in one table, [`RULES`], each with
//! a reason and with a predicate that recognises nothing but its case.
//!
//! The fuzz targets in `tests/fuzz`, the replay of the corpus and the property tests call the same function, [`check`].

mod compare;
mod onward;
mod ours;
mod ours_answer;
mod pieces;
mod rules;
mod seen;
mod split;
mod theirs;
mod walk;

pub use compare::Difference;
pub use rules::{RULES, Rule};
pub use seen::{Body, End, Item, Message, Seen};
pub use split::{Split, WIRE_MAX};

/// Bytes of a request's head that both sides allow here: small, so that limits are met often.
const HEAD_MAX: usize = 2 << 10;
/// Lines of a request's head that both sides allow here.
const LINES_MAX: usize = 24;

/// Longer inputs are not sent byte by byte by a fuzz target.
const BYTES_MAX: usize = 200;

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a caller sends.
    Requests,
    /// What an instance answers to a GET.
    Answer,
    /// What an instance answers to a HEAD.
    AnswerToHead,
}

impl Side {
    /// With `onward`, what was taken is also sent on.
    fn ours(self, wire: &[u8], split: Split, onward: bool) -> Seen {
        match self {
            Side::Requests => ours::requests(wire, split, onward),
            Side::Answer => ours_answer::answer(wire, split, http::Method::GET, onward),
            Side::AnswerToHead => ours_answer::answer(wire, split, http::Method::HEAD, onward),
        }
    }

    fn theirs(self, wire: &[u8], split: Split) -> Seen {
        match self {
            Side::Requests => theirs::requests(wire, split),
            Side::Answer => theirs::answer(wire, split, http::Method::GET),
            Side::AnswerToHead => theirs::answer(wire, split, http::Method::HEAD),
        }
    }
}

/// Sends bytes through both codecs, split in each of these ways.
///
/// # Errors
/// The first difference that no rule allows: between the two, or between two splits. Otherwise the names of the rules
/// that were needed.
pub fn check(side: Side, wire: &[u8], splits: &[Split]) -> Result<Vec<&'static str>, Box<Difference>> {
    let whole = side.ours(wire, Split::Whole, true);
    let mut used = Vec::new();
    for split in splits {
        let ours = if *split == Split::Whole { whole.clone() } else { side.ours(wire, *split, false) };
        used.extend(compare::compare(side, wire, *split, &ours, &side.theirs(wire, *split))?);
        used.extend(compare::same(side, wire, *split, &whole, &ours)?);
    }
    Ok(used)
}

/// One input of a fuzz target or of the corpus: a byte that says where to split, then the bytes of the wire. Of an
/// answer, `h` and `H` at the beginning say that HEAD was asked.
pub fn parse(input: &[u8], answers: bool) -> Option<(Side, Split, &[u8])> {
    let (side, input) = match input {
        [b'h' | b'H', rest @ ..] if answers => (Side::AnswerToHead, rest),
        _ if answers => (Side::Answer, input),
        _ => (Side::Requests, input),
    };
    let (&first, wire) = input.split_first()?;
    (wire.len() <= WIRE_MAX).then(|| (side, Split::of(first), wire))
}

/// The body of a fuzz target.
///
/// # Panics
/// When there is a difference that no rule allows, or when it matters where the bytes are split.
pub fn fuzz(input: &[u8], answers: bool) {
    let Some((side, split, wire)) = parse(input, answers) else { return };
    // One piece a byte costs a system call a byte.
    let split = if split == Split::Bytes && wire.len() > BYTES_MAX { Split::Seeded(1) } else { split };
    if let Err(difference) = check(side, wire, &[split]) {
        panic!("{difference:?}");
    }
}

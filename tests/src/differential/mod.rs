//! hyper as the oracle of our own HTTP/1 codec: the same bytes go through both, split in the same places, and both must
//! come to the same verdict and hand over the same message. What may differ stands in one table, [`RULES`], each with
//! a reason and with a predicate that recognises nothing but its case.
//!
//! The fuzz targets in `tests/fuzz`, the replay of the corpus and the property tests call the same two functions:
//! [`check`] and [`splits_agree`].

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
    fn ours(self, wire: &[u8], split: Split) -> Seen {
        match self {
            Side::Requests => ours::requests(wire, split),
            Side::Answer => ours_answer::answer(wire, split, http::Method::GET),
            Side::AnswerToHead => ours_answer::answer(wire, split, http::Method::HEAD),
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

/// Sends bytes through both codecs.
///
/// # Errors
/// The first difference that no rule allows. Otherwise the names of the rules that were needed.
pub fn check(side: Side, wire: &[u8], split: Split) -> Result<Vec<&'static str>, Box<Difference>> {
    compare::compare(side, wire, &side.ours(wire, split), &side.theirs(wire, split))
}

/// Sends bytes through our codec, split in two ways.
///
/// # Errors
/// When it matters where they are split. Otherwise the names of the rules that were needed.
pub fn splits_agree(side: Side, wire: &[u8], one: Split, other: Split) -> Result<Vec<&'static str>, Box<Difference>> {
    compare::same(side, wire, &side.ours(wire, one), &side.ours(wire, other))
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
    if let Err(difference) = check(side, wire, split) {
        panic!("{split:?}: {difference:?}");
    }
    if split != Split::Whole
        && let Err(difference) = splits_agree(side, wire, Split::Whole, split)
    {
        panic!("{split:?}: {difference:?}");
    }
}

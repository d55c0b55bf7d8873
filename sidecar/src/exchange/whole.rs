//! What is kept of a command for sinks that tell all of it.

use super::{Head, Headers};
use std::cell::RefCell;

/// Emptied ones that a thread keeps for the next command.
const KEPT_MAX: usize = 128;
/// One that grew beyond this is not kept.
const KEPT_BYTES: usize = 1 << 10;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    static KEPT: RefCell<Vec<Box<Whole>>> = const { RefCell::new(Vec::new()) };
}

/// How much of a command the sinks of a configuration want beside what every record has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// Nothing.
    #[default]
    Nothing,
    /// Who and how much, without header lines and targets.
    Numbers,
    /// All.
    All,
}

/// What the rest of an exchange does not hold to its end. Kept only when there is a sink that tells it.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Path and query as they came, before a route changed them; only for who wants all, as the next.
    pub target: String,
    /// For which host, as the caller said.
    pub authority: String,
    /// Bytes of the request's head: its first line, header lines and the empty line.
    pub head_in: u64,
    /// Whether the connection was encrypted.
    pub secure: bool,
    /// How: version and cipher, in the words of OpenSSL.
    pub session: Option<[&'static str; 2]>,
    /// The listener's port; 0 when it has none.
    pub port: u16,
    /// Whether the answer is ours: no instance gave it.
    pub own: bool,
    /// Bytes of the answer's head.
    pub head_out: u64,
    /// The answer's header lines, as they leave; only for who wants all.
    pub answer: Headers,
    /// For whom.
    wants: Wants,
}

/// `HTTP/1.1`, the spaces and line ends of a request's first line.
const REQUEST_LINE: usize = "  HTTP/1.1\r\n".len();
/// An answer's first line without its reason.
const STATUS_LINE: usize = "HTTP/1.1 200 \r\n".len();

/// Bytes of header lines and the empty line behind them, as HTTP/1 has them.
fn lines(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum::<usize>() + "\r\n".len()
}

impl Whole {
    /// Of a head that has just come; none for who wants nothing.
    pub fn begin(wants: Wants, head: &Head) -> Option<Box<Whole>> {
        if wants == Wants::Nothing {
            return None;
        }
        let bytes = head.method.as_str().len() + head.raw_target().len() + REQUEST_LINE + lines(&head.headers);
        let mut whole = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        (whole.head_in, whole.wants) = (bytes as u64, wants);
        if wants == Wants::All {
            whole.target.push_str(head.raw_target());
            whole.authority.push_str(&head.authority);
        }
        Some(whole)
    }

    /// Gives its room back.
    pub(crate) fn recycle(mut self: Box<Self>) {
        if self.target.capacity() + self.authority.capacity() > KEPT_BYTES {
            return;
        }
        let (mut target, mut authority) = (std::mem::take(&mut self.target), std::mem::take(&mut self.authority));
        target.clear();
        authority.clear();
        *self = Whole { target, authority, ..Whole::default() };
        let _ = KEPT.try_with(|kept| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < KEPT_MAX
            {
                kept.push(self);
            }
        });
    }

    /// The answer's head is made, by us or out of an instance's.
    pub fn answered(&mut self, headers: &Headers, own: bool) {
        self.own = own;
        self.head_out = (STATUS_LINE + lines(headers)) as u64;
        if self.wants == Wants::All {
            self.answer = headers.copied();
        }
    }
}

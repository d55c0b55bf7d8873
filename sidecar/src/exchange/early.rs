//! Informational answers (1xx) before the final one.

use super::Headers;

/// The way of informational answers to a caller that reads them.
pub trait Early {
    /// Passes one on. It is news, not the answer: what cannot be passed on is dropped.
    fn inform(&self, status: u16, headers: &Headers);
}

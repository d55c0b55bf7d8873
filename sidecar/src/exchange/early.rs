//! Informational answers (1xx) before the final one.

use super::Headers;
use std::rc::Rc;

/// Somebody who reads informational answers.
pub trait Informed {
    /// Passes one on. It is news, not the answer: what cannot be passed on is dropped.
    fn inform(&self, status: u16, headers: &Headers);
}

/// The way of informational answers to a caller; none where the caller's version of HTTP has no room for them. Handed
/// down by reference, which is thin: what goes down the road makes its future larger.
#[derive(Clone, Default)]
pub struct Early(Option<Rc<dyn Informed>>);

impl Early {
    /// The way to a caller.
    pub fn new(caller: Rc<dyn Informed>) -> Self {
        Early(Some(caller))
    }

    /// The caller, if there is a way.
    pub fn caller(&self) -> Option<&dyn Informed> {
        self.0.as_deref()
    }
}

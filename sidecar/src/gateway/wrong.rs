//! What is wrong with an entity, in Kong's words.

use std::fmt;

/// What is wrong with an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which field: `redis.host`, `add.headers[1]`; `@entity` for all of it.
    pub field: String,
    /// What.
    pub message: String,
    /// What to write instead; may be empty when the message says it.
    pub fix: String,
}

impl Wrong {
    /// A value that can't be.
    pub fn new(field: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Wrong {
        Wrong { field: field.into(), message: message.into(), fix: fix.into() }
    }

    /// Something about several fields together.
    pub fn entity(message: impl Into<String>, fix: impl Into<String>) -> Wrong {
        Wrong::new("@entity", message, fix)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

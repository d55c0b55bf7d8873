//! The entities of a Kong file, as its sinks show them.

use crate::sink::redact::Redactor;
use std::collections::HashMap;

/// An id as a number; 0 for none.
pub(crate) type Number = u128;

/// The number of a UUID's text; 0 when it is none.
pub(crate) fn number(id: &str) -> Number {
    let digits = id.bytes().filter(|b| *b != b'-');
    digits.map(|b| char::from(b).to_digit(16)).try_fold(0, |n: u128, d| Some(n << 4 | u128::from(d?))).unwrap_or(0)
}

/// A service, route or consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entity {
    /// The whole of it, as JSON.
    pub json: Box<str>,
    /// Its id as text.
    pub id: Box<str>,
    /// Its name; a consumer's `username`.
    pub name: Option<Box<str>>,
    /// A service's host, a consumer's `custom_id`.
    pub other: Option<Box<str>>,
    /// A consumer's groups, in the order of their names.
    pub groups: Vec<Number>,
}

impl Entity {
    /// What stands for a service or route: its name, a service's host, else its id.
    pub(crate) fn label(&self) -> &str {
        self.name.as_deref().or(self.other.as_deref()).unwrap_or(&self.id)
    }
}

/// All of them, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Services.
    pub services: HashMap<Number, Entity>,
    /// Routes.
    pub routes: HashMap<Number, Entity>,
    /// Consumers.
    pub consumers: HashMap<Number, Entity>,
    /// What of requests and answers is a credential beside what always is.
    pub redactor: Redactor,
    /// Headers that correlate commands, in lower case.
    pub correlation: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn ids_are_numbers() {
        assert_eq!(number("00000000-0000-0000-0000-00000000002a"), 42);
        assert_eq!(number("0855B320-0dd2-547d-891d-601e9b38647f"), 0x0855b320_0dd2_547d_891d_601e9b38647f);
        assert_eq!((number(""), number("é")), (0, 0));
    }
}

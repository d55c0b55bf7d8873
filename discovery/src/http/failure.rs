//! Why a request is not answered as asked: the status and the text, in one place.

use crate::registry::Refused;
use http::StatusCode;

/// What the text begins with when a body cannot be understood.
const UNDECODED: &str = "Request decode failed: ";

/// A status and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Failure { status, text: text.into() }
    }

    /// What was asked cannot be so.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, text)
    }

    /// What was asked for is not there.
    pub(super) fn missing(text: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, text)
    }

    /// It may not be.
    pub(super) fn forbidden(text: impl Into<String>) -> Self {
        Failure::new(StatusCode::FORBIDDEN, text)
    }

    /// What Consul's servers answer to bad input of the catalog.
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// Not now.
    pub(super) fn unavailable(text: impl Into<String>) -> Self {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The body cannot be understood.
    pub(super) fn decode(text: impl std::fmt::Display) -> Self {
        Failure::bad(format!("{UNDECODED}{text}"))
    }

    /// The same with the status that the catalog has for bad input, unless the body cannot be understood at all.
    pub(super) fn of_catalog(self) -> Self {
        match self.status {
            _ if self.text.starts_with(UNDECODED) => self,
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Failure::internal(self.text),
            _ => self,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Invalid(_) => StatusCode::BAD_REQUEST,
            Refused::Node(_) | Refused::Instance(_) => StatusCode::NOT_FOUND,
            Refused::Full(..) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Failure::new(status, refused.to_string())
    }
}

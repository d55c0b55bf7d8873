//! What the middlewares that find out who calls have in common: what the worker is told of the caller, what happens to
//! whom nobody knows, and how several of them stand together.

pub(super) mod args;
pub(super) mod form;
pub(super) mod jws;

use super::Verdict;
use super::plugin::Setup;
use crate::exchange::{Caller, Consumer, Credential, Exchange, Headers, Reply};
use crate::gateway::fields::Fields;
use std::sync::Arc;

pub(super) const CONSUMER_ID: &str = "x-consumer-id";
pub(super) const CONSUMER_CUSTOM_ID: &str = "x-consumer-custom-id";
pub(super) const CONSUMER_USERNAME: &str = "x-consumer-username";
pub(super) const CREDENTIAL_IDENTIFIER: &str = "x-credential-identifier";
pub(super) const ANONYMOUS: &str = "x-anonymous-consumer";
pub(super) const CONSUMER_GROUPS: &str = "x-consumer-groups";
pub(super) const AUTHENTICATED_GROUPS: &str = "x-authenticated-groups";
pub(super) const CHALLENGE: &str = "www-authenticate";

/// What stands in [`CHALLENGE`] where that is the whole answer.
pub(super) const UNAUTHORIZED: &str = "Unauthorized";

/// What happens to who proves nothing.
enum Anonymous {
    /// Is refused.
    Refused,
    /// Goes on as this consumer.
    As(Arc<Consumer>),
    /// Goes on as a consumer that does not exist: everybody is told so.
    Nobody(String),
}

/// The common part of one of them.
pub(super) struct Auth {
    name: &'static str,
    anonymous: Anonymous,
}

impl Auth {
    /// Reads `anonymous`.
    pub(super) fn new(name: &'static str, fields: &mut Fields<'_>, setup: &Setup<'_>) -> Auth {
        let anonymous = match fields.text("anonymous") {
            None => Anonymous::Refused,
            Some(who) => match setup.people.named(&who) {
                Some(consumer) => Anonymous::As(consumer.clone()),
                None => Anonymous::Nobody(format!("anonymous consumer {who} is configured but doesn't exist")),
            },
        };
        Auth { name, anonymous }
    }

    /// Whether another one has found out already, and one is enough: where all have an `anonymous`.
    pub(super) fn is_done(&self, exchange: &Exchange) -> bool {
        exchange.caller.credential.is_some() && !matches!(self.anonymous, Anonymous::Refused)
    }

    /// Lets a caller in.
    pub(super) fn admit(&self, exchange: &mut Exchange, consumer: &Arc<Consumer>, credential: &Credential) -> Verdict {
        enter(exchange, Some(consumer), Some(credential));
        Verdict::Next
    }

    /// Lets a caller in who is no consumer, but in these groups.
    pub(super) fn admit_group(&self, exchange: &mut Exchange, credential: &Credential) -> Verdict {
        enter(exchange, None, Some(credential));
        exchange.caller.groups = [credential.identifier.clone()].into();
        Verdict::Next
    }

    /// The caller has proved nothing: refused with this answer, unless anybody may go on.
    pub(super) fn fail(&self, exchange: &mut Exchange, reply: impl FnOnce() -> Box<Reply>) -> Verdict {
        match &self.anonymous {
            Anonymous::Refused => Verdict::Reply(reply()),
            Anonymous::Nobody(message) => Verdict::Reply(Reply::message(self.name, 500, message.clone())),
            Anonymous::As(consumer) => {
                enter(exchange, Some(consumer), None);
                Verdict::Next
            }
        }
    }

    /// Lets a command pass that is not asked who sent it. What it says of its caller is not believed.
    pub(super) fn pass(&self, exchange: &mut Exchange) -> Verdict {
        if exchange.caller == Caller::default() {
            forget(&mut exchange.request.headers);
        }
        Verdict::Next
    }
}

/// Sets a line, or sees to it that there is none: what the caller wrote there is never left.
fn put(headers: &mut Headers, name: &'static str, value: Option<&Arc<str>>) {
    if !value.is_some_and(|value| headers.set(name, &**value)) {
        headers.remove(name);
    }
}

/// Takes away what callers say of themselves in the names of ours.
fn forget(headers: &mut Headers) {
    let ours = [
        CONSUMER_ID,
        CONSUMER_CUSTOM_ID,
        CONSUMER_USERNAME,
        CREDENTIAL_IDENTIFIER,
        ANONYMOUS,
        CONSUMER_GROUPS,
        AUTHENTICATED_GROUPS,
    ];
    if headers.may_have_any(&ours) {
        ours.iter().for_each(|name| _ = headers.remove(name));
    }
}

fn enter(exchange: &mut Exchange, consumer: Option<&Arc<Consumer>>, credential: Option<&Credential>) {
    let headers = &mut exchange.request.headers;
    forget(headers);
    put(headers, CONSUMER_ID, consumer.map(|c| &c.id));
    put(headers, CONSUMER_CUSTOM_ID, consumer.and_then(|c| c.custom_id.as_ref()));
    put(headers, CONSUMER_USERNAME, consumer.and_then(|c| c.username.as_ref()));
    // Who is no consumer is told of as a group.
    put(headers, CREDENTIAL_IDENTIFIER, credential.filter(|_| consumer.is_some()).map(|c| &c.identifier));
    if credential.is_none() {
        headers.set(ANONYMOUS, "true");
    }
    exchange.consumer = consumer.map(|c| c.label().clone());
    exchange.caller = Caller {
        consumer: consumer.cloned(),
        credential: credential.cloned(),
        anonymous: credential.is_none(),
        groups: Box::default(),
    };
}

/// `scheme`, or `scheme realm="…"`. A realm that cannot stand in a header line is a mistake.
pub(super) fn challenge(scheme: &str, realm: Option<&str>, fields: &mut Fields<'_>) -> String {
    match realm {
        None => scheme.to_owned(),
        Some(realm) => {
            if realm.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
                fields.wrong("realm", "invalid value", "write a name without quotes, backslashes and line breaks");
            }
            format!("{scheme} realm=\"{realm}\"")
        }
    }
}

/// What follows a scheme (in lower case) in an `Authorization` line.
pub(super) fn after_scheme<'a>(line: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let line = line.trim_ascii();
    let (word, rest) = line.split_at_checked(scheme.len())?;
    word.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
}

/// The one value of a header line: none if there is none, an error if there are several.
pub(super) fn only<'a>(headers: &'a Headers, name: &'static str) -> Result<Option<&'a [u8]>, Several> {
    let mut all = headers.get_all(name);
    let first = all.next();
    if all.next().is_some() { Err(Several) } else { Ok(first) }
}

/// There are several values where one belongs.
pub(super) struct Several;

#[cfg(test)]
pub(super) mod tests;

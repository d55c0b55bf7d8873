//! What the worker is told of its command, and what it adds in its answer.

use super::{tags, trace};
use crate::exchange::{Exchange, Headers};
use crate::names::header as word;
use http::header::{HeaderName, HeaderValue};

static COMMAND: HeaderName = HeaderName::from_static(word::COMMAND);
static ID: HeaderName = HeaderName::from_static(word::ID);
static TAGS: HeaderName = HeaderName::from_static(word::TAGS);
static ATTEMPT: HeaderName = HeaderName::from_static(word::ATTEMPT);
static TRACEPARENT: HeaderName = HeaderName::from_static(word::TRACEPARENT);

/// Tells the next hop which command this is: name, id, own tags, the attempt when it is not the first, and our span
/// as the parent of its own, also in B3 when the command came with it.
pub fn give(ex: &Exchange, headers: &mut Headers) {
    let command = &ex.command;
    if let Ok(value) = HeaderValue::from_str(&command.name) {
        headers.set_value(COMMAND.clone(), value);
    }
    if let Ok(value) = HeaderValue::from_str(&command.id) {
        headers.set_value(ID.clone(), value);
    }
    if !command.tags.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&tags::line(&command.tags))
    {
        headers.set_value(TAGS.clone(), value);
    }
    if ex.attempt > 1 {
        headers.set_value(ATTEMPT.clone(), HeaderValue::from(ex.attempt));
    }
    if let Ok(value) = HeaderValue::from_bytes(&trace::format(&ex.trace)) {
        headers.set_value(TRACEPARENT.clone(), value);
    }
    if ex.b3.any() {
        trace::give_b3(&ex.trace, ex.b3, headers);
    }
}

/// Takes the worker's `Fourmi-Tags` out of its answer and into the record; its values win.
pub fn from_answer(ex: &mut Exchange, answer: &mut Headers) {
    if answer.value(&TAGS).is_none() {
        return;
    }
    for line in answer.values(&TAGS) {
        tags::read(line, &mut ex.command.tags);
    }
    answer.remove(word::TAGS);
}

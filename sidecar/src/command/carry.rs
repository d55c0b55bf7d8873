//! What the worker is told of its command, and what it adds in its answer.

use super::{deadline, tags, trace};
use crate::exchange::{Exchange, Headers};
use crate::names::header as word;

/// Tells the next hop which command this is: name, id, own tags, the attempt when it is not the first, how long it may
/// take if that is limited, and our span as the parent of its own, also in B3 when the command came with it.
pub fn give(ex: &mut Exchange) {
    let headers = &mut ex.request.headers;
    let command = &ex.command;
    headers.set(word::COMMAND, &*command.name);
    headers.set(word::ID, &command.id);
    if !command.tags.is_empty() {
        headers.set(word::TAGS, tags::line(&command.tags));
    }
    if ex.attempt > 1 {
        headers.set(word::ATTEMPT, itoa::Buffer::new().format(ex.attempt));
    }
    headers.set(word::TRACEPARENT, trace::format(&ex.trace));
    if ex.b3.any() {
        trace::give_b3(&ex.trace, ex.b3, headers);
    }
    deadline::give(ex);
}

/// Takes the worker's `Fourmi-Tags` out of its answer and into the record; its values win.
pub fn from_answer(ex: &mut Exchange, answer: &mut Headers) {
    if !answer.contains(word::TAGS) {
        return;
    }
    for line in answer.get_all(word::TAGS) {
        tags::read(line, &mut ex.command.tags);
    }
    answer.remove(word::TAGS);
}

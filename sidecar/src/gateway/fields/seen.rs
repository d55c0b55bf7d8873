//! Which fields a plugin asks for, and what it takes there: the page of all middlewares is made of it, so that it knows
//! every field that the code knows.

use std::cell::RefCell;

/// A field that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// With the records that it lies in: `redis.host`.
    pub(crate) path: String,
    /// What it takes, in words.
    pub(crate) takes: String,
    /// What holds without it; empty where the code alone does not say.
    pub(crate) usual: String,
}

thread_local! {
    static SEEN: RefCell<Vec<Field>> = const { RefCell::new(Vec::new()) };
}

/// The fields that are asked for while this runs, each once, in their order.
pub(crate) fn while_reading(read: impl FnOnce()) -> Vec<Field> {
    SEEN.take();
    read();
    SEEN.take()
}

/// A field is asked for. What is said later is more exact: `text` after `anything`, its words after `text`.
pub(super) fn field(at: &str, key: &str, takes: &str, usual: &str) {
    let path = format!("{at}{key}");
    SEEN.with_borrow_mut(|seen| match seen.iter_mut().find(|f| f.path == path) {
        Some(known) => {
            if !takes.is_empty() {
                takes.clone_into(&mut known.takes);
            }
            if !usual.is_empty() {
                usual.clone_into(&mut known.usual);
            }
        }
        None => seen.push(Field { path, takes: takes.to_owned(), usual: usual.to_owned() }),
    });
}

/// `kind` and its bounds, as far as they bound anything.
pub(super) fn between(kind: &str, least: f64, most: f64) -> String {
    const FAR: f64 = 9e15;
    match (least > -FAR, most < FAR) {
        (true, true) => format!("{kind} from {least} to {most}"),
        (true, false) => format!("{kind} from {least} on"),
        (false, true) => format!("{kind} up to {most}"),
        (false, false) => kind.to_owned(),
    }
}

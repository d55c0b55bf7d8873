//! Which commands the worker handles now, so that those it sends meanwhile inherit their trace, parent and deadline.

use crate::exchange::{Exchange, Trace};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

/// The commands in the worker's hands, of this thread, by our span.
#[derive(Default)]
pub(super) struct Handled(RefCell<HashMap<u64, Parent>>);

struct Parent {
    trace: Trace,
    id: String,
    deadline: Option<Instant>,
}

/// One command in the worker's hands, until dropped.
pub(super) struct Handling {
    span: u64,
    handled: Rc<Handled>,
}

impl Handled {
    /// Remembers one.
    pub(super) fn add(self: &Rc<Self>, ex: &Exchange) -> Handling {
        let span = ex.trace.span_id;
        let parent = Parent { trace: ex.trace, id: ex.command.id.clone(), deadline: ex.deadline };
        self.0.borrow_mut().insert(span, parent);
        Handling { span, handled: self.clone() }
    }

    /// By `traceparent`, whose parent span is ours; or, when the worker handles exactly one command, by that alone.
    pub(super) fn inherit(&self, ex: &mut Exchange) {
        let handled = self.0.borrow();
        if let Some(parent) = handled.get(&ex.trace.parent_span) {
            ex.command.parent = Some(parent.id.clone());
            ex.deadline = ex.deadline.or(parent.deadline);
        } else if ex.trace.parent_span == 0
            && handled.len() == 1
            && let Some(Parent { trace, id, .. }) = handled.values().next()
        {
            // Only a guess: nothing is given up for a deadline that may be another's.
            ex.trace.trace_id = trace.trace_id;
            ex.trace.parent_span = trace.span_id;
            // A decision without ids (`b3: 0`) is one all the same.
            if !ex.b3.any() {
                ex.trace.flags = trace.flags;
            }
            ex.command.parent = Some(id.clone());
        }
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.handled.0.borrow_mut().remove(&self.span);
    }
}

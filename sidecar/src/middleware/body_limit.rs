//! Refuses a body that says itself that it is too large, before a byte of it is read. Bodies of unknown length are
//! counted as they stream.

use super::{Hooks, Middleware, Settings, Verdict};
use crate::exchange::{Exchange, Fault, FaultKind, Tell};

struct BodyLimit {
    most: u64,
}

pub(super) fn build(settings: &Settings) -> Option<Box<dyn Middleware>> {
    Some(Box::new(BodyLimit { most: settings.limits.body }))
}

impl Middleware for BodyLimit {
    fn name(&self) -> &'static str {
        "body-limit"
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        match exchange.request.headers.get("content-length").and_then(|v| v.parse::<u64>().ok()) {
            Some(length) if length > self.most => {
                let detail = format!("{length} bytes are announced, {} are allowed (limits.body)", self.most);
                Verdict::Refuse(Fault::new(FaultKind::BodyTooLarge, detail))
            }
            _ => Verdict::Next,
        }
    }
}

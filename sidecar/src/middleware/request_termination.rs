//! `request-termination`: answers instead of a service. It stands behind access and limits, so that whom they refuse
//! is told so by them.

use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Headers, Reply, Says, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 2, build };

const NAME: &str = "request-termination";

struct RequestTermination {
    reply: Reply,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let status = fields.integer("status_code", 100, 599).unwrap_or(503);
    let message = fields.text("message");
    fields.finish()?;
    let status = u16::try_from(status).unwrap_or(503);
    let says =
        Says::Json(serde_json::json!({"message": message.unwrap_or("Service unavailable".into())}).to_string().into());
    let reply = Reply { status, says, headers: Headers::default(), by: NAME, why: "the route is closed".into() };
    Ok(Arc::new(RequestTermination { reply }))
}

impl Middleware for RequestTermination {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, _: &mut Exchange, _: &dyn Tell) -> Verdict {
        Verdict::Reply(Box::new(self.reply.clone()))
    }
}

//! What the command line would say of this process, asked by its own page.

use super::keeper::Keeper;
use crate::admin::{Control, Inside};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A look over everything reads the configuration again: once in this time is enough.
const FRESH: Duration = Duration::from_secs(3);

/// What `fourmi check` says.
pub(super) fn check(keeper: &Rc<Keeper>) -> Value {
    if let Some((at, said)) = &*keeper.checked.borrow()
        && at.elapsed() < FRESH
    {
        return said.clone();
    }
    let Some(say) = keeper.said.check else { return json!({"result": "ok", "checks": []}) };
    let name = keeper.settings().listen.to_string();
    let ask = |path: &str| match path {
        "/api/v1/status" => Some(keeper.status()),
        "/api/v1/config" => Some(keeper.config()),
        "/api/v1/upstreams" => Some(keeper.upstreams()),
        "/api/v1/sinks" => Some(keeper.sinks()),
        "/readyz" => {
            let one = |p: crate::admin::Part| json!({"name": p.name, "ready": p.ready, "detail": p.detail});
            Some(json!({"parts": keeper.ready().into_iter().map(one).collect::<Vec<_>>()}))
        }
        _ => None,
    };
    let said = say(&keeper.load, &Inside { name: &name, ask: &ask });
    *keeper.checked.borrow_mut() = Some((Instant::now(), said.clone()));
    said
}

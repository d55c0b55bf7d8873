//! `basic-auth`: a name and a password (RFC 7617) say who calls.

use super::auth::{Auth, CHALLENGE, UNAUTHORIZED, after_scheme, challenge, only};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::{Password, People};
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 1100, build };

const NAME: &str = "basic-auth";

/// Where they may stand; the first that names somebody known holds.
const LINES: [&str; 2] = ["proxy-authorization", "authorization"];

struct BasicAuth {
    auth: Auth,
    people: Arc<People>,
    hide_credentials: bool,
    challenge: String,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let auth = Auth::new(NAME, &mut fields, setup);
    let realm = fields.text("realm").unwrap_or_else(|| "service".to_owned());
    let challenge = challenge("Basic", Some(&realm), &mut fields);
    let hide_credentials = fields.flag("hide_credentials", false);
    fields.finish()?;
    Ok(Arc::new(BasicAuth { auth, people: setup.people.clone(), hide_credentials, challenge }))
}

/// `Basic crate::exchange::from_base64(name:password)`, without the base64.
fn read(line: &[u8]) -> Option<Vec<u8>> {
    crate::exchange::from_base64(after_scheme(line, "basic")?.trim_ascii_start())
}

impl Middleware for BasicAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if self.auth.is_done(exchange) {
            return Verdict::Next;
        }
        for line in LINES {
            let given = only(&exchange.request.headers, line).map(|value| value.and_then(read));
            if self.hide_credentials {
                exchange.request.headers.remove(line);
            }
            // Of two lines, the worker might read the other one.
            let Ok(pair) = given else { break };
            let Some((name, password)) = pair.as_deref().and_then(|pair| {
                let colon = memchr::memchr(b':', pair).filter(|at| *at > 0)?;
                Some((pair.get(..colon)?, pair.get(colon + 1..)?))
            }) else {
                continue;
            };
            let Some(found) = self.people.basic(name) else {
                // As long as for somebody who is known.
                let _ = Password::NOBODY.fits(password, "00000000-0000-0000-0000-000000000000");
                continue;
            };
            if found.secret.fits(password, &found.consumer.id) {
                return self.auth.admit(exchange, found.consumer, found.credential);
            }
            break;
        }
        self.auth.fail(exchange, || Reply::message(NAME, 401, UNAUTHORIZED).with(CHALLENGE, &self.challenge))
    }

    fn explain(&self, _: &Exchange) -> String {
        "wants a name and a password".to_owned()
    }
}

#[cfg(test)]
mod tests;

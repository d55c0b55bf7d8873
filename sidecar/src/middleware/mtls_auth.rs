//! `mtls-auth`: the certificate of the connection, which its listener has verified, says who calls.

use super::auth::{Auth, UNAUTHORIZED};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Consumer, Credential, Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::People;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 1600, build };

const NAME: &str = "mtls-auth";

const NO_CERTIFICATE: &str = "No required TLS certificate was sent";

struct MtlsAuth {
    auth: Auth,
    people: Arc<People>,
    skip_consumer_lookup: bool,
    consumer_by: Box<[By]>,
}

/// What of a consumer the name of the certificate is compared with.
#[derive(Clone, Copy)]
enum By {
    Username,
    CustomId,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let auth = Auth::new(NAME, &mut fields, setup);
    let skip_consumer_lookup = fields.flag("skip_consumer_lookup", false);
    let mut consumer_by = vec![By::Username, By::CustomId];
    if let Some(words) = fields.texts("consumer_by") {
        consumer_by.clear();
        for (at, word) in words.iter().enumerate() {
            match word.as_str() {
                "username" => consumer_by.push(By::Username),
                "custom_id" => consumer_by.push(By::CustomId),
                _ => {
                    let message = "expected one of: username, custom_id";
                    fields.wrong(&format!("consumer_by[{at}]"), message, "write username or custom_id");
                }
            }
        }
    }
    // The one name of a certificate that commands know.
    fields.one_of("authenticated_group_by", &["CN"], "CN");
    // To pass it over would let more callers in than the file says.
    if fields.raw("ca_certificates").is_some() {
        let fix = "remove it, and give the authorities of callers in the tls section of the listener";
        fields.wrong("ca_certificates", "authorities are those of the listener", fix);
    }
    fields.finish()?;
    Ok(Arc::new(MtlsAuth { auth, people: setup.people.clone(), skip_consumer_lookup, consumer_by: consumer_by.into() }))
}

impl MtlsAuth {
    fn consumer(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.consumer_by.iter().find_map(|by| match by {
            By::Username => self.people.of_username(name),
            By::CustomId => self.people.of_custom_id(name),
        })
    }
}

impl Middleware for MtlsAuth {
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
        let Some(name) = exchange.peer_identity.clone() else {
            return self.auth.fail(exchange, || Reply::message(NAME, 401, NO_CERTIFICATE));
        };
        let credential = Credential { id: name.clone(), identifier: name.clone() };
        if self.skip_consumer_lookup {
            return self.auth.admit_group(exchange, &credential);
        }
        match self.consumer(&name) {
            Some(consumer) => self.auth.admit(exchange, consumer, &credential),
            None => self.auth.fail(exchange, || Reply::message(NAME, 401, UNAUTHORIZED)),
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        "wants a certificate of the caller".to_owned()
    }
}

#[cfg(test)]
mod tests;

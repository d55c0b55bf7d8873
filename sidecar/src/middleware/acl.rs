//! `acl`: which groups may call.

use super::auth::{AUTHENTICATED_GROUPS, CONSUMER_GROUPS, UNAUTHORIZED};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Reply, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::People;
use std::sync::Arc;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 950, build };

const NAME: &str = "acl";

struct Acl {
    people: Arc<People>,
    /// Sorted.
    groups: Box<[String]>,
    /// Whether they are those that may not.
    deny: bool,
    hide_groups_header: bool,
    always_use_authenticated_groups: bool,
    include_consumer_groups: bool,
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let (allow, deny) = (fields.texts("allow").unwrap_or_default(), fields.texts("deny").unwrap_or_default());
    if allow.is_empty() == deny.is_empty() {
        let message = "exactly one of these fields must be non-empty: 'config.allow', 'config.deny'";
        fields.entity(message, "name groups in one of them");
    }
    let is_deny = !deny.is_empty();
    let mut groups = if is_deny { deny } else { allow };
    groups.sort_unstable();
    let built = Acl {
        people: setup.people.clone(),
        groups: groups.into(),
        deny: is_deny,
        hide_groups_header: fields.flag("hide_groups_header", false),
        always_use_authenticated_groups: fields.flag("always_use_authenticated_groups", false),
        include_consumer_groups: fields.flag("include_consumer_groups", false),
    };
    fields.finish()?;
    Ok(Arc::new(built))
}

/// What it comes to.
enum Says {
    /// Nobody knows who calls.
    Unknown,
    /// It is known, and may not.
    No,
    /// With these groups, and the line that tells them.
    Yes(&'static str, String),
}

impl Acl {
    fn says(&self, exchange: &Exchange) -> Says {
        let caller = &exchange.caller;
        let proved = caller.credential.is_some();
        let own = !caller.groups.is_empty();
        let consumer = caller.consumer.as_ref();
        // What the proof says goes before what stands for everybody.
        if own && (consumer.is_none() || !proved || self.always_use_authenticated_groups) {
            return self.of(caller.groups.iter(), AUTHENTICATED_GROUPS);
        }
        let Some(consumer) = consumer else { return if proved { Says::No } else { Says::Unknown } };
        let places = if self.include_consumer_groups { &consumer.groups[..] } else { &[] };
        let named = places.iter().filter_map(|at| self.people.groups.get(usize::try_from(*at).ok()?));
        let groups = consumer.acls.iter().chain(named);
        if groups.clone().next().is_none() && !self.deny && !proved {
            return Says::Unknown;
        }
        self.of(groups, CONSUMER_GROUPS)
    }

    fn of<'a>(&self, groups: impl Iterator<Item = &'a Arc<str>> + Clone, line: &'static str) -> Says {
        let listed = |group: &Arc<str>| self.groups.binary_search_by(|own| (**own).cmp(group)).is_ok();
        if groups.clone().any(listed) == self.deny {
            return Says::No;
        }
        let mut all = String::new();
        if !self.hide_groups_header {
            for group in groups {
                if !all.is_empty() {
                    all.push_str(", ");
                }
                all.push_str(group);
            }
        }
        Says::Yes(line, all)
    }
}

impl Middleware for Acl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        match self.says(exchange) {
            Says::Unknown => Verdict::Reply(Reply::message(NAME, 401, UNAUTHORIZED)),
            Says::No => Verdict::Reply(Reply::message(NAME, 403, "You cannot consume this service")),
            Says::Yes(line, groups) => {
                let headers = &mut exchange.request.headers;
                headers.remove(CONSUMER_GROUPS);
                headers.remove(AUTHENTICATED_GROUPS);
                if !self.hide_groups_header {
                    headers.set(line, groups);
                }
                Verdict::Next
            }
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        format!("{} {}", if self.deny { "nobody in" } else { "wants a consumer in" }, self.groups.join(", "))
    }
}

#[cfg(test)]
mod tests;

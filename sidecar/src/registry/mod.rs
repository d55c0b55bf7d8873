//! The section `discovery:` as plain values: which node this is, what it registers, how names are answered.
//!
//! The registry itself is the crate `fourmi-discovery`, which knows nothing of a sidecar; `runtime` starts it.

mod address;
mod check;
mod dns;
mod http;
mod join;
mod keys;
mod secret;
pub(crate) mod section;
mod service;
mod store;
#[cfg(test)]
mod tests;

use crate::tls::ServerTls;
use fourmi_discovery::dns::{Dialect, Settings as Answers};
use fourmi_discovery::http::Settings as Api;
use fourmi_discovery::{Check, Instance, Node, Record};
pub use join::Other;
use std::net::SocketAddr;
use std::sync::Arc;
pub use store::Place;

/// What the section says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node that we are.
    pub node: Node,
    /// Where registrations are kept.
    pub store: Place,
    /// Another registry that is followed.
    pub join: Option<Other>,
    /// Where DNS is answered, when it is.
    pub dns: Vec<SocketAddr>,
    /// Where Consul's HTTP API is answered, when it is.
    pub http: Vec<SocketAddr>,
    /// Who may do what there.
    pub api: Api,
    /// How that encrypts, when it does.
    pub api_tls: Option<ServerTls>,
    /// How names are answered; the domains are those of commands' hosts too.
    pub answers: Answers,
    /// The instances that the file registers, each with its checks.
    pub services: Vec<(Instance, Vec<Check>)>,
    /// SkyDNS's entries by name.
    pub records: Vec<(String, Record)>,
}

impl Settings {
    /// The same where only a restart could change who this node is and where it listens.
    pub fn as_on(mut self, running: &Settings) -> Settings {
        for (instance, checks) in &mut self.services {
            instance.node.clone_from(&running.node.name);
            for check in checks {
                let mut definition = fourmi_discovery::Definition::clone(&check.definition);
                definition.node.clone_from(&running.node.name);
                check.definition = Arc::new(definition);
            }
        }
        let Settings { node, store, join, dns, http, api_tls, .. } = running.clone();
        (self.node, self.store, self.join, self.dns, self.http) = (node, store, join, dns, http);
        self.api_tls = api_tls;
        self.api.node.clone_from(&running.api.node);
        (self.api.address, self.api.datacenter) = (running.api.address, running.api.datacenter.clone());
        self.answers.datacenter.clone_from(&running.answers.datacenter);
        self
    }

    /// The domains in Consul's dialect, lower case and with the dot before them.
    pub fn domains(&self) -> Arc<[String]> {
        let consul = self.answers.domains.iter().filter(|domain| domain.dialect() == Dialect::Consul);
        consul.map(|domain| format!(".{}", domain.name().trim_end_matches('.').to_ascii_lowercase())).collect()
    }

    /// What may stand behind a service's name in a command's host, lower case and with the dot before it.
    pub fn suffixes(&self) -> Arc<[String]> {
        let domains = self.answers.domains.iter().filter(|domain| domain.dialect() == Dialect::Consul);
        let of = |name: String| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let datacenter = self.answers.datacenter.to_ascii_lowercase();
            [format!(".service.{name}"), format!(".service.{datacenter}.{name}")]
        };
        domains.flat_map(|domain| of(domain.name())).collect()
    }
}

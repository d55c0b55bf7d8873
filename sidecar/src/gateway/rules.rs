//! The routes of the entities as rules for the router.

use super::entity::{Entities, PathHandling, Protocol, Route};
use crate::route::{self, Rule, Scheme, Table};

impl Entities {
    /// A table of every route that leads somewhere. Rules carry the route's place as their target.
    ///
    /// # Errors
    /// Every rule that the router cannot take.
    pub fn table(&self) -> Result<Table, Vec<route::Wrong>> {
        let serves = |r: &Route| r.service.is_none_or(|s| self.services.get(s).is_none_or(|s| s.enabled));
        let all = self.routes.iter().enumerate().filter(|(_, r)| serves(r));
        Table::new(all.map(|(at, route)| rule(at, route)).collect())
    }
}

fn rule(at: usize, route: &Route) -> Rule {
    Rule {
        name: route.name.clone().unwrap_or_else(|| route.id.to_string()),
        protocols: route.protocols.iter().filter_map(|p| scheme(*p)).collect(),
        hosts: route.hosts.clone(),
        paths: route.paths.clone(),
        methods: route.methods.clone(),
        headers: route.headers.clone(),
        snis: route.snis.clone(),
        regex_priority: route.regex_priority,
        strip_path: route.strip_path,
        preserve_host: route.preserve_host,
        path_handling: match route.path_handling {
            PathHandling::V0 => route::PathHandling::V0,
            PathHandling::V1 => route::PathHandling::V1,
        },
        // Kong breaks ties by the route's id.
        order: route.id.number(),
        target: at,
    }
}

/// None for protocols that are no HTTP.
fn scheme(protocol: Protocol) -> Option<Scheme> {
    match protocol {
        Protocol::Http => Some(Scheme::Http),
        Protocol::Https => Some(Scheme::Https),
        Protocol::Grpc => Some(Scheme::Grpc),
        Protocol::Grpcs => Some(Scheme::Grpcs),
        Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough | Protocol::Udp => None,
    }
}

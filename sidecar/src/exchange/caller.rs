//! Who calls, as access has found out.

use std::sync::Arc;

/// Somebody who may call.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumer {
    /// A UUID.
    pub id: Arc<str>,
    /// Its name, if it has one.
    pub username: Option<Arc<str>>,
    /// What others call it.
    pub custom_id: Option<Arc<str>>,
    /// Its place among all consumers.
    pub place: u32,
    /// The groups of its ACLs.
    pub acls: Box<[Arc<str>]>,
    /// The places of the consumer groups that it belongs to, by the names of those groups.
    pub groups: Box<[u32]>,
}

impl Consumer {
    /// What records call it: its name, else what others call it, else its id.
    pub fn label(&self) -> &Arc<str> {
        self.username.as_ref().or(self.custom_id.as_ref()).unwrap_or(&self.id)
    }
}

/// What proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The credential's UUID.
    pub id: Arc<str>,
    /// What the worker is told of it: never a secret.
    pub identifier: Arc<str>,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The consumer.
    pub consumer: Option<Arc<Consumer>>,
    /// What proved it; none for an anonymous one.
    pub credential: Option<Credential>,
    /// Whether it stands for everybody who proved nothing.
    pub anonymous: bool,
    /// The groups that the proof itself names: they count for who is no consumer.
    pub groups: Box<[Arc<str>]>,
}

/// A named entity of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// A UUID.
    pub id: Arc<str>,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// What records call it: the name, else for a service its host, else the id.
    pub label: Arc<str>,
}

/// The route and service that the gateway chose.
#[derive(Debug, PartialEq, Eq)]
pub struct Via {
    /// The route; none for the one that stands for a file without routes.
    pub route: Option<Named>,
    /// The service; none for a route without one.
    pub service: Option<Named>,
}

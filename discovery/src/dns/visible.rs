//! What names may tell: whoever asks by DNS brings no token.

use crate::http::{Access, Resource, Right, Rule};
use crate::snapshot::Member;
use std::sync::Arc;

/// What may be told, by rules; everything, when there are none.
#[derive(Debug, Clone, Default)]
pub struct Visible(Option<Arc<(Access, Vec<Rule>)>>);

impl Visible {
    /// What these rules allow to read; where none speaks of a name, what `access` says of such.
    pub fn by(access: Access, rules: Vec<Rule>) -> Self {
        Visible(Some(Arc::new((access, rules))))
    }

    /// Whether a member of a service is told of: both it and its node must be.
    pub(super) fn member(&self, member: &Member) -> bool {
        self.sees(Resource::Service, &member.instance.service) && self.node(&member.node.name)
    }

    /// Whether a node is.
    pub(super) fn node(&self, name: &str) -> bool {
        self.sees(Resource::Node, name)
    }

    /// Whether a service is.
    pub(super) fn service(&self, name: &str) -> bool {
        self.sees(Resource::Service, name)
    }

    fn sees(&self, resource: Resource, name: &str) -> bool {
        self.0.as_deref().is_none_or(|(access, rules)| access.right(rules, resource, name) >= Right::Read)
    }
}

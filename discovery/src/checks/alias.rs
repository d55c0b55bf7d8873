//! Checks that are as another instance or node is.

use crate::model::{Alias, Check, Definition, State};
use crate::snapshot::Snapshot;

/// The state that an alias has now, and why. The alias itself does not count.
pub(super) fn state(snapshot: &Snapshot, definition: &Definition, alias: &Alias) -> (State, String) {
    let name = if alias.node.is_empty() { &definition.node } else { &alias.node };
    let Some(node) = snapshot.node(name) else {
        return (State::Critical, format!("there is no node {name:?}"));
    };
    let mut checks: Vec<&Check> = node.checks.iter().map(|check| &**check).collect();
    if !alias.instance.is_empty() {
        let Some(member) = node.instances.iter().find(|member| member.instance.id == alias.instance) else {
            return (State::Critical, format!("there is no instance {:?} on node {name:?}", alias.instance));
        };
        checks.extend(member.checks.iter().map(|check| &**check));
    }
    checks.retain(|check| check.definition.id != definition.id || check.definition.node != definition.node);
    match checks.iter().max_by_key(|check| check.state) {
        None => (State::Passing, "no checks".into()),
        Some(worst) if worst.state == State::Passing => (State::Passing, "all checks pass".into()),
        Some(worst) => (worst.state, format!("check {:?} is {}", worst.definition.id, worst.state.as_str())),
    }
}

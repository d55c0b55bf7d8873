//! What we tell under our lease: how our checks are, what is not to outlive us, and our instances as SkyDNS's entries.

use super::keys::Layout;
use super::rows;
use crate::model::{Check, Probe, Record, label, lower};
use crate::registry::{Key, Registry};
use crate::snapshot::{Member, Snapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The field by which we know our own among SkyDNS's entries. SkyDNS and CoreDNS do not look at it.
pub(super) const MARK: &str = "fourmi";

/// What is to be told, by key.
pub(super) fn wanted(
    registry: &Registry,
    snapshot: &Snapshot,
    layout: &Layout,
    own: &str,
    seconds: u64,
) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let Some(entry) = snapshot.node(own) else { return entries(snapshot, layout, seconds, wanted) };
    for check in entry.all_checks() {
        wanted.insert(layout.how(own, &check.definition.id), how(check).to_string());
    }
    // Whoever registered these says so again after a restart; without us nobody would take them away.
    for member in entry.instances.iter().filter(|member| member.instance.transient) {
        let checks = member.checks.iter().map(|check| Key::Check(own.to_owned(), check.definition.id.clone()));
        for key in checks.chain([Key::Instance(own.to_owned(), member.instance.id.clone())]) {
            let body = registry.read(|catalog| rows::body(catalog, &key));
            wanted.extend(layout.kept(&key).zip(body));
        }
    }
    entries(snapshot, layout, seconds, wanted)
}

fn how(check: &Check) -> Value {
    let mut how = json!({"state": check.state.as_str(), "output": &*check.output});
    if let Some(map) = how.as_object_mut() {
        if check.held {
            map.insert("held".into(), true.into());
        }
        // Nobody else knows of that check.
        if let (Probe::Returned, Some(instance)) = (&check.definition.probe, &check.definition.instance) {
            map.insert("returned".into(), instance.as_str().into());
        }
    }
    how
}

/// Adds the instances whose checks are ours, as SkyDNS's entries.
fn entries(
    snapshot: &Snapshot,
    layout: &Layout,
    seconds: u64,
    mut wanted: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let ours = |member: &Member| snapshot.node(&member.node.name).is_some_and(|node| node.ours);
    for member in snapshot.services().flat_map(|service| service.usable()).filter(|member| ours(member)) {
        let instance = &member.instance;
        let [id, node] = [&instance.id, &instance.node].map(|text| label(text));
        let key = layout.entry(&lower(&instance.service), &id, &node);
        // A client that keeps it no longer than our lease never has it longer than the others. The label of the node is
        // not part of the name that it is told by.
        let ttl = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        let record = Record { ttl, target_strip: 1, ..Record::of(member) };
        if let Ok(mut value) = serde_json::to_value(&record)
            && let Some(map) = value.as_object_mut()
        {
            map.insert(MARK.into(), instance.node.as_str().into());
            wanted.extend(key.zip(Some(value.to_string())));
        }
    }
    wanted
}

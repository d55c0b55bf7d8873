//! What differs between two snapshots. What they share is the same memory, so that it is passed over unread.

use crate::Check;
use crate::snapshot::{Member, NodeEntry, Snapshot};
use std::cmp::Ordering;
use std::sync::Arc;

/// The name of a thing that changed. Nodes are told before what lives on them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Node(Arc<str>),
    /// A node and an id on it.
    Instance(Arc<str>, Box<str>),
    /// By the path it is kept under.
    Record(Arc<str>),
}

/// A thing that changed, and the service it was of when it is an instance that was there.
pub(super) type Touched = (Key, Option<Box<str>>);

/// All that differs.
pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Vec<Touched> {
    let mut touched = Vec::new();
    if !Arc::ptr_eq(&old.nodes, &new.nodes) {
        each(old.nodes.iter(), new.nodes.iter(), |name, before, after| match (before, after) {
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {}
            (before, after) => of_node(name, before.map(|node| &**node), after.map(|node| &**node), &mut touched),
        });
    }
    if !Arc::ptr_eq(&old.records, &new.records) {
        each(old.records.iter(), new.records.iter(), |path, before, after| {
            if !before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(before, after)) {
                touched.push((Key::Record(Arc::clone(path)), None));
            }
        });
    }
    touched
}

/// All there is.
pub(super) fn all(of: &Snapshot) -> Vec<Touched> {
    between(&Snapshot::default(), of)
}

fn of_node(name: &Arc<str>, before: Option<&NodeEntry>, after: Option<&NodeEntry>, touched: &mut Vec<Touched>) {
    let same = |(before, after): (&NodeEntry, &NodeEntry)| {
        Arc::ptr_eq(&before.node, &after.node) && are_same(&before.checks, &after.checks)
    };
    if !before.zip(after).is_some_and(same) {
        touched.push((Key::Node(Arc::clone(name)), None));
    }
    each(members(before), members(after), |id, before, after| {
        let same = |(before, after): (&Arc<Member>, &Arc<Member>)| {
            Arc::ptr_eq(before, after)
                // Another node makes another member of the same instance.
                || (Arc::ptr_eq(&before.instance, &after.instance) && are_same(&before.checks, &after.checks))
        };
        if !before.zip(after).is_some_and(same) {
            let was = before.map(|before| before.instance.service.as_str().into());
            touched.push((Key::Instance(Arc::clone(name), id.into()), was));
        }
    });
}

fn members(entry: Option<&NodeEntry>) -> impl Iterator<Item = (&str, &Arc<Member>)> {
    let members = entry.map(|entry| &*entry.instances).unwrap_or_default();
    members.iter().map(|member| (&*member.instance.id, member))
}

fn are_same(before: &[Arc<Check>], after: &[Arc<Check>]) -> bool {
    before.len() == after.len() && before.iter().zip(after).all(|(before, after)| Arc::ptr_eq(before, after))
}

/// Goes over two tables that are sorted by the same key.
fn each<K: Ord, V>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
    mut see: impl FnMut(K, Option<V>, Option<V>),
) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((before, _)), Some((after, _))) => before.cmp(after),
        };
        let before = old.next_if(|_| order.is_le());
        let after = new.next_if(|_| order.is_ge());
        match (before, after) {
            (Some((key, before)), after) => see(key, Some(before), after.map(|(_, value)| value)),
            (None, Some((key, after))) => see(key, None, Some(after)),
            (None, None) => return,
        }
    }
}

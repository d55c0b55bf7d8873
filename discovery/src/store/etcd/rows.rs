//! What is kept as it is written: JSON.

use crate::base64;
use crate::model::{Definition, Instance, Node, Probe, Record, State, lower};
use crate::registry::{Catalog, Heard, Key};
use crate::snapshot::Snapshot;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What stands around a value.
const SPARE: usize = 64;

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Put(String),
    Delete,
    /// It is not kept this way.
    Nothing,
}

/// What is to be written of something that changed here.
pub(super) fn row(catalog: &Catalog, key: &Key) -> Row {
    if is_transient(catalog, key) {
        return Row::Nothing;
    }
    body(catalog, key).map_or(Row::Delete, Row::Put)
}

/// Whether something is under the lease of whoever registered it.
pub(super) fn is_transient(catalog: &Catalog, key: &Key) -> bool {
    let transient = |node: &str, id: &str| catalog.instance(node, id).is_some_and(|instance| instance.transient);
    match key {
        Key::Node(_) => false,
        Key::Record(path) => catalog.record(path).is_some_and(|record| record.expires.is_some()),
        Key::Instance(node, id) => transient(node, id),
        Key::Check(node, id) => catalog.definition(node, id).is_some_and(|check| {
            let of = check.instance.as_ref();
            // One that came with the restart is seen in how things are.
            check.probe == Probe::Returned || of.is_some_and(|instance| transient(node, instance))
        }),
    }
}

/// The JSON of something. None when it is not there.
pub(super) fn body(catalog: &Catalog, key: &Key) -> Option<String> {
    match key {
        Key::Node(name) => serde_json::to_string(catalog.node(name)?),
        Key::Instance(node, id) => serde_json::to_string(catalog.instance(node, id)?),
        Key::Record(path) => serde_json::to_string(catalog.record(path)?),
        Key::Check(node, id) => {
            let check = catalog.check(node, id)?;
            let mut value = serde_json::to_value(&*check.definition).ok()?;
            // Where nobody finds out how it is, that is part of what is registered.
            if let Some(map) = value.as_object_mut().filter(|_| catalog.has_no_registry(node)) {
                map.insert("state".into(), check.state.as_str().into());
                map.insert("output".into(), (*check.output).into());
            }
            serde_json::to_string(&value)
        }
    }
    .ok()
}

/// What somebody has written of something that is kept, but for entries of SkyDNS. None when nobody can read it.
/// `alone` is whether its node has no registry.
pub(super) fn read(key: &Key, value: &[u8], leased: bool, alone: bool) -> Option<Vec<Heard>> {
    match key {
        Key::Node(name) => {
            let node: Node = parsed(value)?;
            (lower(&node.name) == **name).then(|| vec![Heard::Node(node)])
        }
        Key::Instance(node, id) => {
            let instance: Instance = parsed(value)?;
            let fits = lower(&instance.node) == **node && instance.id == *id;
            fits.then(|| vec![Heard::Instance(Instance { transient: leased, ..instance })])
        }
        Key::Check(node, id) => {
            let map: Map<String, Value> = parsed(value)?;
            let how = map.get("state").filter(|_| alone).and_then(|_| how(&map));
            let check: Definition = serde_json::from_value(Value::Object(map)).ok()?;
            let fits = lower(&check.node) == **node && check.id == *id;
            let how = how.map(|how| Heard::How(node.clone(), id.clone(), how.state, how.output, false));
            fits.then(|| [Heard::Check(Box::new(check))].into_iter().chain(how).collect())
        }
        Key::Record(_) => None,
    }
}

/// How a check is.
pub(super) struct How {
    pub(super) state: State,
    pub(super) output: String,
    pub(super) held: bool,
    /// The instance that came back without a check.
    pub(super) returned: Option<String>,
}

pub(super) fn how(map: &Map<String, Value>) -> Option<How> {
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    Some(How {
        state: State::parse(text("state")?)?,
        output: text("output").unwrap_or_default().to_owned(),
        held: map.get("held").and_then(Value::as_bool).unwrap_or(false),
        returned: text("returned").map(str::to_owned),
    })
}

/// A value of the key-value store as it is written: as a text, when it is one and that is not the longer way.
pub(super) fn pair_body(value: &[u8], flags: u64) -> String {
    let text = std::str::from_utf8(value).ok().map(|text| json!({"value": text, "flags": flags}).to_string());
    let encoded = || json!({"base64": base64::encode(value), "flags": flags}).to_string();
    text.filter(|text| text.len() < value.len() * 4 / 3 + SPARE).unwrap_or_else(encoded)
}

/// The value and the flags. None when nobody can read them.
pub(super) fn pair(body: &[u8]) -> Option<(Bytes, u64)> {
    let map: Map<String, Value> = parsed(body)?;
    let text = |name: &str| map.get(name).and_then(Value::as_str);
    let value = match (text("value"), text("base64")) {
        (Some(text), _) => Bytes::from(text.to_owned()),
        (None, encoded) => Bytes::from(base64::decode(encoded?)?),
    };
    Some((value, map.get("flags").and_then(Value::as_u64).unwrap_or(0)))
}

pub(super) fn parsed<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// An entry of SkyDNS, whoever wrote it; None when nobody can read it.
pub(super) fn entry(value: Value) -> Option<Record> {
    serde_json::from_value(value).ok()
}

/// The checks of instances on our own node that came back without one: until they are seen, nobody is sent there.
pub(super) fn returned(snapshot: &Snapshot, own: &str) -> impl Iterator<Item = Heard> {
    let members = snapshot.node(own).into_iter().flat_map(|node| node.instances.iter());
    let bare = members.filter(|member| member.checks.is_empty());
    bare.map(|member| Heard::Check(Box::new(Definition::returned(&member.instance))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_people_can_read_them_and_etcd_takes_them() {
        assert!(pair_body(b"hello", 7).contains(r#""value":"hello""#));
        let largest = vec![1; crate::keys::VALUE_MAX];
        for value in [&b""[..], "ä\n\0".as_bytes(), &[0xff, 0], &largest] {
            let body = pair_body(value, u64::MAX);
            assert!(body.len() < 1024 * 1024, "{} bytes", body.len());
            assert_eq!(pair(body.as_bytes()), Some((Bytes::copy_from_slice(value), u64::MAX)));
        }
        for wrong in ["", "hello", "{}", r#"{"base64":"?"}"#] {
            assert_eq!(pair(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

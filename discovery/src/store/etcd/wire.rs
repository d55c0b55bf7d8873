//! What etcd's JSON gateway takes and answers, as far as it is needed here.

use crate::base64::{decode, encode};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// A number of 64 bits, which the gateway writes as a text.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kv {
    key: String,
    value: String,
    #[serde(deserialize_with = "number")]
    pub(super) create_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) lease: i64,
}

impl Kv {
    /// The key, when it is a text.
    pub(super) fn key(&self) -> Option<String> {
        String::from_utf8(self.raw_key()?).ok()
    }

    /// The key, whatever it is.
    pub(super) fn raw_key(&self) -> Option<Vec<u8>> {
        decode(&self.key)
    }

    pub(super) fn value(&self) -> Option<Vec<u8>> {
        decode(&self.value)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    pub(super) header: Header,
    pub(super) kvs: Vec<Kv>,
    pub(super) more: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) response_range: Range,
    pub(super) response_delete_range: Deleted,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deleted {
    /// How many keys.
    #[serde(deserialize_with = "number")]
    pub(super) deleted: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Txn {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    pub(super) responses: Vec<Step>,
}

/// A lease that was granted, or how long one has left.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lease {
    pub(super) header: Header,
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    /// In seconds; what is gone has none, or less than none.
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// One line of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Line<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Refusal>,
}

/// Why etcd does not do as asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    /// gRPC's code, under one of two names.
    pub(super) code: u64,
    pub(super) grpc_code: u64,
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) header: Header,
    #[serde(deserialize_with = "number")]
    pub(super) watch_id: i64,
    pub(super) created: bool,
    pub(super) canceled: bool,
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: i64,
    pub(super) cancel_reason: String,
    /// More of the same revision comes.
    pub(super) fragment: bool,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    pub(super) kv: Kv,
}

impl Event {
    pub(super) fn is_gone(&self) -> bool {
        self.kind == "DELETE"
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    pub(super) token: String,
}

/// What comes behind all keys that begin so.
fn behind(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // No text ends in the greatest byte.
        *last += 1;
    }
    end
}

/// Asks for a page of the keys from one on, as they were at a revision; 0 is now.
pub(super) fn page(from: &[u8], prefix: &str, revision: i64, limit: usize) -> Value {
    json!({
        "key": encode(from),
        "range_end": encode(&behind(prefix)),
        "revision": revision.to_string(),
        "limit": limit.to_string(),
    })
}

/// Asks for one key.
pub(super) fn get(key: &str) -> Value {
    json!({"key": encode(key.as_bytes())})
}

/// Asks for the changes of all keys that begin so.
pub(super) fn watch(prefix: &str, from: i64) -> Value {
    json!({"create_request": {
        "key": encode(prefix.as_bytes()),
        "range_end": encode(&behind(prefix)),
        "start_revision": from.to_string(),
        "fragment": true,
    }})
}

/// A step of a transaction that sets a key, under a lease or for good.
pub(super) fn put(key: &str, value: &str, lease: Option<i64>) -> Value {
    let lease = lease.unwrap_or(0).to_string();
    json!({"request_put": {"key": encode(key.as_bytes()), "value": encode(value.as_bytes()), "lease": lease}})
}

/// A step that removes a key.
pub(super) fn delete(key: &str) -> Value {
    json!({"request_delete_range": {"key": encode(key.as_bytes())}})
}

/// A step that removes all keys that begin so.
pub(super) fn delete_under(prefix: &str) -> Value {
    json!({"request_delete_range": {"key": encode(prefix.as_bytes()), "range_end": encode(&behind(prefix))}})
}

/// A step that reads a key.
pub(super) fn read(key: &str) -> Value {
    json!({"request_range": get(key)})
}

/// That a key is not there.
pub(super) fn is_absent(key: &str) -> Value {
    json!({"key": encode(key.as_bytes()), "target": "CREATE", "result": "EQUAL", "create_revision": "0"})
}

/// That a key was not changed since.
pub(super) fn is_at(key: &str, revision: i64) -> Value {
    json!({"key": encode(key.as_bytes()), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string()})
}

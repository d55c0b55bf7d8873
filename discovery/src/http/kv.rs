//! Keys and values.

use super::access::{Resource, Right};
use super::call::Call;
use super::failure::Failure;
use super::reply::{Body, Reply};
use super::waiting::Scope;
use crate::base64;
use crate::keys::{KEY_MAX, Order, Pair, VALUE_MAX};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a read depends on.
pub(super) fn scope(call: &Call) -> Result<Scope, Failure> {
    match is_many(call) {
        true => Ok(Scope::Keys(call.rest.clone())),
        false => Ok(Scope::Key(call.named("Missing key name")?.to_owned())),
    }
}

fn is_many(call: &Call) -> bool {
    call.query.has("recurse") || call.query.has("keys")
}

/// `GET kv/KEY`.
pub(super) fn get(call: &Call) -> Result<Reply, Failure> {
    let pairs = match is_many(call) {
        true => call.keys().under(&call.rest),
        false => {
            call.rights.need(Resource::Key, &call.rest, Right::Read)?;
            call.keys().get(&call.rest).into_iter().collect()
        }
    };
    let pairs: Vec<_> = pairs.into_iter().filter(|pair| call.rights.sees(Resource::Key, &pair.key)).collect();
    let Some(first) = pairs.first() else {
        return Ok(Reply { status: StatusCode::NOT_FOUND, ..Reply::done() });
    };
    if call.query.has("keys") {
        return Ok(Reply::json(names(call, pairs.iter().map(|pair| &*pair.key))));
    }
    if call.query.has("raw") {
        let raw = Reply { body: Body::Raw(first.value.clone()), ..Reply::done() };
        // A browser must not take it for a page of ours.
        return Ok(raw.header("x-content-type-options", "nosniff").header("content-security-policy", "sandbox"));
    }
    Ok(Reply::json(pairs.iter().map(|pair| shown(pair)).collect()))
}

fn shown(pair: &Pair) -> Value {
    json!({
        "LockIndex": 0,
        "Key": pair.key,
        "Flags": pair.flags,
        "Value": if pair.value.is_empty() { Value::Null } else { base64::encode(&pair.value).into() },
        "CreateIndex": pair.created,
        "ModifyIndex": pair.modified,
    })
}

/// The names alone; those that go on behind a separator only up to it, once.
fn names<'a>(call: &Call, keys: impl Iterator<Item = &'a str>) -> Value {
    let separator = call.query.get("separator").or_else(|| call.query.get("seperator")).unwrap_or_default();
    let cut = |key: &'a str| {
        let rest = key.get(call.rest.len()..).filter(|_| !separator.is_empty())?;
        key.get(..call.rest.len() + rest.find(separator)? + separator.len())
    };
    json!(keys.map(|key| cut(key).unwrap_or(key)).collect::<BTreeSet<_>>())
}

/// `PUT kv/KEY`.
pub(super) fn put(call: &Call) -> Result<Order, Failure> {
    let key = call.named("Missing key name")?;
    let one_of: Vec<&str> = ["cas", "acquire", "release"].into_iter().filter(|name| call.query.has(name)).collect();
    if one_of.len() > 1 {
        return Err(Failure::bad(format!("Conflicting flags: {}", one_of.join(", "))));
    }
    if one_of.iter().any(|name| *name != "cas") {
        return Err(Failure::bad("there are no lock sessions here"));
    }
    if call.body.len() > VALUE_MAX {
        let why = format!("the value is longer than {VALUE_MAX} bytes");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    if key.len() > KEY_MAX {
        return Err(Failure::bad(format!("the key is longer than {KEY_MAX} bytes")));
    }
    call.rights.need_write(Resource::Key, key)?;
    let flags = number(call, "flags")?.unwrap_or(0);
    Ok(Order::Put { key: key.to_owned(), value: call.body.clone(), flags, cas: number(call, "cas")? })
}

/// `DELETE kv/KEY`.
pub(super) fn delete(call: &Call) -> Result<Order, Failure> {
    if call.query.has("recurse") {
        // Of all that there could be: one may come between this look and the removal.
        call.rights.need_write_under(Resource::Key, &call.rest)?;
        return Ok(Order::DeleteUnder { prefix: call.rest.clone() });
    }
    let key = call.named("Missing key name")?;
    call.rights.need_write(Resource::Key, key)?;
    Ok(Order::Delete { key: key.to_owned(), cas: number(call, "cas")? })
}

fn number(call: &Call, name: &str) -> Result<Option<u64>, Failure> {
    let given = call.query.get(name);
    given.map(|text| text.parse().map_err(|_| Failure::bad(format!("Invalid value for {name}: {text:?}")))).transpose()
}

//! Keys and values, in memory.

mod table;

pub(super) use table::{Keys, Room};

use super::access::{Resource, Right};
use super::call::Call;
use super::failure::Failure;
use super::reply::{Body, Reply};
use super::waiting::Scope;
use crate::base64;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use table::Pair;

/// The longest value.
const VALUE_MAX: usize = 512 * 1024;
/// The longest key.
const KEY_MAX: usize = 1024;

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
        true => call.keys.under(&call.rest),
        false => {
            call.rights.need(Resource::Key, &call.rest, Right::Read)?;
            call.keys.get(&call.rest).into_iter().collect()
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
pub(super) fn put(call: &Call) -> Result<Reply, Failure> {
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
    let limits = &call.settings.limits;
    let room = Room { keys: limits.keys, bytes: limits.key_bytes };
    match call.keys.put(key, call.body.clone(), flags, number(call, "cas")?, room) {
        Some(done) => Ok(Reply::json(done.into())),
        None => Err(Failure::unavailable("there is no room for more keys and values")),
    }
}

/// `DELETE kv/KEY`.
pub(super) fn delete(call: &Call) -> Result<Reply, Failure> {
    if call.query.has("recurse") {
        for pair in call.keys.under(&call.rest) {
            call.rights.need_write(Resource::Key, &pair.key)?;
        }
        call.keys.remove_under(&call.rest);
        return Ok(Reply::json(true.into()));
    }
    let key = call.named("Missing key name")?;
    call.rights.need_write(Resource::Key, key)?;
    Ok(Reply::json(call.keys.remove(key, number(call, "cas")?).into()))
}

fn number(call: &Call, name: &str) -> Result<Option<u64>, Failure> {
    let given = call.query.get(name);
    given.map(|text| text.parse().map_err(|_| Failure::bad(format!("Invalid value for {name}: {text:?}")))).transpose()
}

//! One object that a client sent.

use crate::http::failure::Failure;
use crate::http::time;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Whether two keys are the same to us: `TLSSkipVerify` is `tls_skip_verify`.
pub(crate) fn is_alike(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
    bare(one) == bare(other)
}

/// One object that a client sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// An object, unless it has a key that is not known.
    pub(crate) fn of(value: &'a Value, known: &[&[&str]]) -> Result<Self, Failure> {
        let map = value.as_object().ok_or_else(|| Failure::decode("an object is expected"))?;
        let is_known = |key: &String| known.iter().flat_map(|some| some.iter()).any(|name| is_alike(name, key));
        match map.keys().find(|key| !is_known(key)) {
            Some(key) => Err(Failure::decode(format_args!("json: unknown field {key:?}"))),
            None => Ok(Fields(map)),
        }
    }

    /// A value; the key as it is documented wins over one that is only alike.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        let there = |value: &&Value| !value.is_null();
        let exact = self.0.get(name).filter(there);
        exact.or_else(|| self.0.iter().filter(|(key, _)| is_alike(name, key)).map(|(_, value)| value).find(there))
    }

    /// A text; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> Result<String, Failure> {
        let value = self.get(name).map(|value| value.as_str().ok_or_else(|| wrong(name, "a text")));
        Ok(value.transpose()?.unwrap_or_default().to_owned())
    }

    /// A flag; None when it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.get(name).map(|value| value.as_bool().ok_or_else(|| wrong(name, "true or false"))).transpose()
    }

    /// A whole number; None when it is not there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name).map(|value| value.as_i64().ok_or_else(|| wrong(name, "a whole number"))).transpose()
    }

    /// Nanoseconds: a text as `10s`, or a number of them. 0 when it is not there.
    pub(crate) fn time(&self, name: &str) -> Result<i64, Failure> {
        let read = |value: &Value| match value {
            Value::String(text) => time::parse(text),
            Value::Number(number) => number.as_i64().or_else(|| time::whole(number.as_f64()?)),
            _ => None,
        };
        let value = self.get(name).map(|value| read(value).ok_or_else(|| wrong(name, "a time as 10s")));
        Ok(value.transpose()?.unwrap_or(0))
    }

    /// Texts; none when they are not there.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let otherwise = || wrong(name, "a list of texts");
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(otherwise)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(otherwise)).collect()
    }

    /// Pairs of texts; none when they are not there. Their keys are left as they are.
    pub(crate) fn pairs(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let otherwise = || wrong(name, "pairs of texts");
        let Some(value) = self.get(name) else { return Ok(BTreeMap::new()) };
        let pairs = value.as_object().ok_or_else(otherwise)?.iter();
        pairs.map(|(key, value)| Ok((key.clone(), value.as_str().ok_or_else(otherwise)?.to_owned()))).collect()
    }

    /// Lists of texts by name, in order.
    pub(crate) fn lists(&self, name: &str) -> Result<Vec<(String, String)>, Failure> {
        let otherwise = || wrong(name, "lists of texts");
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        for (key, values) in value.as_object().ok_or_else(otherwise)? {
            for value in values.as_array().ok_or_else(otherwise)? {
                lines.push((key.clone(), value.as_str().ok_or_else(otherwise)?.to_owned()));
            }
        }
        Ok(lines)
    }

    /// Objects by name; none when they are not there.
    pub(crate) fn objects(&self, name: &str) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, Failure> {
        let value = self.get(name).map(|value| value.as_object().ok_or_else(|| wrong(name, "an object")));
        Ok(value.transpose()?.into_iter().flatten())
    }

    /// A list of anything; empty when it is not there.
    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], Failure> {
        let value = self.get(name).map(|value| value.as_array().ok_or_else(|| wrong(name, "a list")));
        Ok(value.transpose()?.map(Vec::as_slice).unwrap_or_default())
    }
}

pub(super) fn wrong(name: &str, expected: &str) -> Failure {
    Failure::decode(format_args!("{name}: {expected} is expected"))
}

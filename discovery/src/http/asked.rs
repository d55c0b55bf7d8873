//! What a read asks for: how fresh, how long to wait, and which part.

use super::access::{Resource, Rights};
use super::call::Call;
use super::failure::Failure;
use super::filter::Filter;
use super::time;
use crate::snapshot::Member;
use crate::{Node, State};
use http::header::CACHE_CONTROL;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A read that does not say waits so long.
const WAIT: Duration = Duration::from_secs(300);
/// And none waits longer.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// So many times does the time by chance that is added go into the wait, so that not all come back at once.
const JITTER: u32 = 16;

/// What a read asks for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The number it has seen; 0 is answered at once.
    pub(super) index: u64,
    /// How long it waits, with the part by chance.
    pub(super) wait: Duration,
    /// As `X-Consul-Effective-Consistency` names it.
    pub(super) consistency: &'static str,
    pub(super) cached: bool,
    rights: Arc<Rights>,
    filter: Option<Filter>,
    passing: bool,
    near: Option<String>,
    tags: Vec<String>,
    meta: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn of(call: &Call) -> Result<Self, Failure> {
        let query = &call.query;
        let consistent = query.has("consistent");
        let stale = query.has("stale");
        if consistent && stale {
            return Err(Failure::bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
        }
        if consistent && query.has("cached") {
            return Err(Failure::bad("Cannot specify ?cached with ?consistent, conflicting semantics."));
        }
        for value in call.headers.get_all(CACHE_CONTROL) {
            if !value.to_str().is_ok_and(is_cache_control) {
                return Err(Failure::bad("Invalid Cache-Control header."));
            }
        }
        let given = |name| query.get(name).filter(|text| !text.is_empty());
        let index = given("index").map(str::parse).transpose().map_err(|_| Failure::bad("Invalid index"))?;
        let passing = match query.get("passing") {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(_) => return Err(Failure::bad("Invalid value for ?passing")),
        };
        let meta = query.all("node-meta").map(|pair| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        Ok(Asked {
            index: index.unwrap_or(0),
            wait: wait(given("wait"))?,
            consistency: if consistent {
                "consistent"
            } else if stale {
                "stale"
            } else {
                "leader"
            },
            cached: query.has("cached"),
            rights: Arc::clone(&call.rights),
            filter: given("filter").map(Filter::parse).transpose().map_err(Failure::bad)?,
            passing,
            near: given("near").map(|near| nearest(call, near)),
            tags: query.all("tag").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            meta: meta.collect(),
        })
    }

    /// Whether it is to wait for a change of what it has seen.
    pub(super) fn waits(&self) -> bool {
        self.index > 0
    }

    /// Whether a member is asked for, by its tags and its node's meta, and may be seen.
    pub(super) fn wants(&self, member: &Member) -> bool {
        let tagged = |tag: &String| member.instance.tags.iter().any(|own| own.eq_ignore_ascii_case(tag));
        self.tags.iter().all(tagged) && self.wants_at(member)
    }

    /// The same whatever its tags.
    pub(super) fn wants_at(&self, member: &Member) -> bool {
        self.has_meta(&member.node) && self.sees(member)
    }

    /// Whether a member is well enough.
    pub(super) fn is_well(&self, member: &Member) -> bool {
        !self.passing || (member.state == State::Passing && !member.instance.draining)
    }

    /// Whether a member may be seen.
    pub(super) fn sees(&self, member: &Member) -> bool {
        self.rights.sees_member(member)
    }

    /// Whether a node is asked for, by its meta, and may be seen.
    pub(super) fn wants_node(&self, node: &Node) -> bool {
        self.has_meta(node) && self.rights.sees(Resource::Node, &node.name)
    }

    fn has_meta(&self, node: &Node) -> bool {
        self.meta.iter().all(|(key, value)| node.meta.get(key) == Some(value))
    }

    /// With what is on the node that was named in front; the rest keeps its order.
    pub(super) fn sort<T>(&self, rows: &mut [T], node: impl Fn(&T) -> &str) {
        if let Some(near) = &self.near {
            rows.sort_by_key(|row| !node(row).eq_ignore_ascii_case(near));
        }
    }

    /// Whether there is an expression.
    pub(super) fn filters(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the expression, if there is one, is true of a row.
    pub(super) fn holds(&self, row: &Value) -> Result<bool, Failure> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.holds(row)).map_err(Failure::bad)
    }

    /// Only the rows that the expression is true of.
    pub(super) fn filtered(&self, rows: Vec<Value>) -> Result<Value, Failure> {
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            if self.holds(&row)? {
                kept.push(row);
            }
        }
        Ok(Value::Array(kept))
    }

    /// Only the values that the expression is true of.
    pub(super) fn filtered_map(&self, rows: impl Iterator<Item = (String, Value)>) -> Result<Value, Failure> {
        let mut kept = serde_json::Map::new();
        for (key, row) in rows {
            if self.holds(&row)? {
                kept.insert(key, row);
            }
        }
        Ok(Value::Object(kept))
    }
}

/// How long a read waits, with a part by chance.
pub(super) fn wait(given: Option<&str>) -> Result<Duration, Failure> {
    let given = given.map(|text| time::parse(text).ok_or_else(|| Failure::bad("Invalid wait time"))).transpose()?;
    let whole = match given {
        Some(given) if given > 0 => time::positive(given).min(WAIT_MAX),
        _ => WAIT,
    };
    Ok(whole + (whole / JITTER).mul_f64(fastrand::f64()))
}

/// The node that a client means by `near`.
fn nearest(call: &Call, near: &str) -> String {
    match near {
        "_agent" => call.settings.node.clone(),
        "_ip" => {
            let snapshot = call.registry.snapshot();
            let there = snapshot.nodes().find(|entry| entry.node.address.ip() == Some(call.from));
            there.map(|entry| entry.node.name.clone()).unwrap_or_default()
        }
        name => name.to_owned(),
    }
}

/// Whether the times in it are numbers. Words that are not known are left alone.
fn is_cache_control(value: &str) -> bool {
    value.split(',').all(|directive| match directive.trim().split_once('=') {
        Some(("max-age" | "stale-if-error", seconds)) => seconds.parse::<u32>().is_ok(),
        _ => true,
    })
}

//! `discovery.services`: an instance that the file registers.

use super::check;
use crate::section::{Key, Kind, Shape, Wrong, elsewhere, key};
use fourmi_discovery::{Address, Check, Instance, Node, Weights};
use serde::Deserialize;
use std::collections::BTreeMap;

const TEXT: Kind = Kind::Text(Shape::Free);
const SHORT: Kind = Kind::Count { min: 0, max: 65_535, word: None };

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    key("name", Kind::Text(Shape::ServiceName), "The service that it is a member of.").required(),
    key("id", TEXT, "What tells it from others on this node.").or_words("the name"),
    key("address", TEXT, "Where it is: an address or a name.").or_words("the node's"),
    key("port", SHORT, "Its port.").or("0"),
    key("tags", Kind::List(&TEXT), "Words to choose by: `v1.stock.service.fourmi`."),
    key(
        "meta",
        Kind::Named(Shape::TagKey, &TEXT),
        "What else is known of it. `scheme` is how commands are sent to it \
        (`http`, `h2c`, `https`, `h2`), `zone` where it is.",
    ),
    key("weights", Kind::Section(WEIGHTS), "How much of the commands it takes."),
    key("priority", SHORT, "Lower is asked first; the others are for when none of those can be used.")
        .or_words("1 in Consul's dialect, 10 in SkyDNS's"),
    key(
        "check",
        Kind::OneOrMany(&Kind::Section(check::KEYS)),
        "How it is found out whether it is well; without any it is.",
    ),
    elsewhere("checks", "write `check:`, which takes one or a list"),
];

const WEIGHTS: &[Key] = &[
    key("passing", Kind::Count { min: 1, max: 65_535, word: None }, "While everything is fine.").or("1"),
    key("warning", SHORT, "While a check warns.").or("1"),
];

/// How commands can be sent to an instance: `meta.scheme`.
pub(super) const SCHEMES: [&str; 6] = ["http", "h2c", "grpc", "https", "h2", "grpcs"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Values {
    name: String,
    id: Option<String>,
    address: Option<String>,
    port: u16,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    weights: Option<Weights>,
    priority: Option<u16>,
    check: Vec<check::Values>,
}

/// The instance on that node, with its checks.
pub(super) fn instance(v: Values, node: &Node) -> Result<(Instance, Vec<Check>), Wrong> {
    if let Some(scheme) = v.meta.get("scheme").filter(|scheme| !SCHEMES.contains(&scheme.as_str())) {
        let message = format!("`{}`: commands cannot be sent by the scheme `{scheme}`", v.name);
        return Err(Wrong::new(message, format!("write one of {}", SCHEMES.join(", "))));
    }
    let id = v.id.unwrap_or_else(|| v.name.clone());
    let instance = Instance {
        address: v.address.map(|text| Address::parse(&text)),
        tags: v.tags,
        meta: v.meta,
        weights: v.weights.unwrap_or_default(),
        priority: v.priority,
        transient: true,
        ..Instance::new(v.name, id, node.name.clone(), v.port)
    };
    instance.check().map_err(|e| Wrong::new(format!("`{}`: {e}", instance.id), "correct it"))?;
    let host = instance.address.as_ref().unwrap_or(&node.address);
    let several = v.check.len() > 1;
    let mut checks = Vec::with_capacity(v.check.len());
    for (at, values) in v.check.into_iter().enumerate() {
        let id = match several {
            false => format!("service:{}", instance.id),
            true => format!("service:{}:{}", instance.id, at + 1),
        };
        let definition = check::definition(values, &instance, host, id).map_err(|wrong| Wrong {
            message: format!("the check of `{}`: {}", instance.id, wrong.message),
            ..wrong
        })?;
        if checks.iter().any(|c: &Check| c.definition.id == definition.id) {
            let message = format!("`{}` has two checks `{}`", instance.id, definition.id);
            return Err(Wrong::new(message, "give each an `id` of its own"));
        }
        checks.push(Check::new(definition));
    }
    Ok((instance, checks))
}

//! An instance as a client sends it.

use super::fields::{Fields, wrong};
use crate::http::failure::Failure;
use crate::{Address, Instance, TaggedAddress, Weights};
use serde_json::Value;
use std::collections::BTreeMap;

/// The keys of an instance, besides those of its checks and of its name, which differ.
pub(crate) const INSTANCE: &[&str] = &[
    "ID",
    "Tags",
    "Address",
    "Port",
    "SocketPath",
    "TaggedAddresses",
    "Meta",
    "Weights",
    "EnableTagOverride",
    "Kind",
    "Proxy",
    "Connect",
    "Locality",
    "Namespace",
    "Partition",
    "Token",
    "EnterpriseMeta",
    "Ports",
    // Ours: lower is asked first.
    "Priority",
];

/// Keys that Consul takes for itself.
const RESERVED: &str = "consul-";

/// Which call an instance comes by: they name the service differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Agent,
    Catalog,
}

/// Reads an instance on a node.
pub(crate) fn instance(fields: &Fields<'_>, node: &str, source: Source) -> Result<Instance, Failure> {
    let service = match source {
        Source::Agent => fields.text("Name")?,
        Source::Catalog => fields.text("Service")?,
    };
    let id = fields.text("ID")?;
    if service.is_empty() && (source == Source::Agent || id.is_empty()) {
        return Err(Failure::bad("Missing service name"));
    }
    // The catalog's takes either for the other.
    let service = if service.is_empty() { id.clone() } else { service };
    let id = if id.is_empty() { service.clone() } else { id };
    let port = u16::try_from(fields.number("Port")?.unwrap_or(0)).map_err(|_| wrong("Port", "a number up to 65535"))?;
    match fields.text("Kind")?.as_str() {
        "" => {}
        "connect-proxy" if port == 0 => return Err(Failure::bad("Invalid service: a connect-proxy needs a Port")),
        kind => return Err(Failure::bad(format!("Invalid service: there is no mesh here for the kind {kind:?}"))),
    }
    let mut made = Instance::new(service, id, node, port);
    made.address = address(&fields.text("Address")?, "Invalid service address")?;
    made.tags = fields.texts("Tags")?;
    made.meta = fields.pairs("Meta")?;
    meta(&made.meta, "Service")?;
    made.tagged = tagged(fields)?;
    made.weights = weights(fields.get("Weights"))?;
    made.enable_tag_override = fields.flag("EnableTagOverride")?.unwrap_or(false);
    let priority = fields
        .number("Priority")?
        .map(|number| u16::try_from(number).map_err(|_| wrong("Priority", "a number up to 65535")));
    made.priority = priority.transpose()?;
    made.socket = fields.text("SocketPath")?;
    Ok(made)
}

/// An address; none when it is empty.
pub(crate) fn address(text: &str, otherwise: &str) -> Result<Option<Address>, Failure> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() {
        return Ok(None);
    }
    let address = Address::parse(bare);
    address.check().map_err(|_| Failure::bad(otherwise))?;
    Ok(Some(address))
}

/// Refuses pairs of meta that Consul refuses. How long they may be is the registry's matter.
fn meta(pairs: &BTreeMap<String, String>, whose: &str) -> Result<(), Failure> {
    let legal = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let refuse = |why: String| Err(Failure::bad(format!("Invalid {whose} Meta: {why}")));
    for key in pairs.keys() {
        if !legal(key) || key.is_empty() {
            return refuse(format!("the key {key:?} is not of letters, digits, '-' and '_'"));
        }
        if key.get(..RESERVED.len()).is_some_and(|front| front.eq_ignore_ascii_case(RESERVED)) {
            return refuse(format!("the key {key:?} begins with {RESERVED:?}, which is reserved"));
        }
    }
    match pairs.len() > 64 || pairs.iter().any(|(key, value)| key.len() > 128 || value.len() > 512) {
        true => refuse("at most 64 pairs, keys of 128 and values of 512 bytes".into()),
        false => Ok(()),
    }
}

/// The same for a node.
pub(crate) fn node_meta(pairs: &BTreeMap<String, String>) -> Result<(), Failure> {
    meta(pairs, "Node")
}

fn tagged(fields: &Fields<'_>) -> Result<BTreeMap<String, TaggedAddress>, Failure> {
    let mut made = BTreeMap::new();
    for (name, value) in fields.objects("TaggedAddresses")? {
        let inner = Fields::of(value, &[&["Address", "Port"]])?;
        let port =
            u16::try_from(inner.number("Port")?.unwrap_or(0)).map_err(|_| wrong("Port", "a number up to 65535"))?;
        let refuse = |why: &str| Failure::bad(format!("Invalid TaggedAddresses: {name:?} {why}"));
        let text = inner.text("Address")?;
        let address = address(&text, "")
            .map_err(|_| refuse("is no address that can be reached"))?
            .ok_or_else(|| refuse("has no address"))?;
        let fits = match name.rsplit('_').next() {
            Some("ipv4") => address.ip().is_some_and(|ip| ip.is_ipv4()),
            Some("ipv6") => address.ip().is_some_and(|ip| ip.is_ipv6()),
            _ => true,
        };
        if !fits {
            return Err(refuse("is not an address of that family"));
        }
        made.insert(name.clone(), TaggedAddress { address, port });
    }
    Ok(made)
}

fn weights(given: Option<&Value>) -> Result<Weights, Failure> {
    let Some(given) = given else { return Ok(Weights::default()) };
    let fields = Fields::of(given, &[&["Passing", "Warning"]])?;
    let refuse = |why: &str| Failure::bad(format!("Invalid Weights: {why}"));
    let [passing, warning] = ["Passing", "Warning"].map(|name| fields.number(name));
    let passing = u16::try_from(passing?.unwrap_or(1)).ok().filter(|passing| *passing > 0);
    Ok(Weights {
        passing: passing.ok_or_else(|| refuse("Passing is 1 to 65535"))?,
        warning: u16::try_from(warning?.unwrap_or(1)).map_err(|_| refuse("Warning is 0 to 65535"))?,
    })
}

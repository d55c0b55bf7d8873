//! Consul's answers as things to take over.

use crate::model::{Address, Instance, Node, State, TaggedAddress, Weights};
use crate::registry::{Mirrored, Told};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// What is null or not there is as if it were empty.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// An instance with its node and all that decides about it: a row of `health/service/NAME`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) node: NodeRow,
    pub(super) service: ServiceRow,
    #[serde(default, deserialize_with = "lenient")]
    checks: Vec<CheckRow>,
}

/// A row of `catalog/nodes`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeRow {
    #[serde(rename = "ID", default, deserialize_with = "lenient")]
    id: String,
    pub(super) node: String,
    #[serde(default, deserialize_with = "lenient")]
    address: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) datacenter: String,
    #[serde(default, deserialize_with = "lenient")]
    tagged_addresses: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    meta: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceRow {
    #[serde(rename = "ID")]
    pub(super) id: String,
    service: String,
    #[serde(default, deserialize_with = "lenient")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    address: String,
    #[serde(default, deserialize_with = "lenient")]
    tagged_addresses: BTreeMap<String, TaggedRow>,
    #[serde(default, deserialize_with = "lenient")]
    meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    port: u16,
    #[serde(default, deserialize_with = "lenient")]
    socket_path: String,
    #[serde(default)]
    weights: Option<WeightsRow>,
    #[serde(default, deserialize_with = "lenient")]
    enable_tag_override: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaggedRow {
    #[serde(default, deserialize_with = "lenient")]
    address: String,
    #[serde(default, deserialize_with = "lenient")]
    port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WeightsRow {
    passing: u16,
    warning: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CheckRow {
    #[serde(rename = "CheckID")]
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    status: String,
    #[serde(default, deserialize_with = "lenient")]
    notes: String,
    #[serde(default, deserialize_with = "lenient")]
    output: String,
    #[serde(rename = "ServiceID", default, deserialize_with = "lenient")]
    service_id: String,
}

/// Whether a name is one that Consul gives an address by itself.
fn is_usual(name: &str) -> bool {
    matches!(name, "lan" | "wan" | "lan_ipv4" | "wan_ipv4" | "lan_ipv6" | "wan_ipv6")
}

impl NodeRow {
    /// The node.
    pub(super) fn node(self) -> Node {
        let own = self.address;
        let tagged = self.tagged_addresses.into_iter().filter(|(name, other)| !(is_usual(name) && *other == own));
        Node {
            id: self.id,
            tagged: tagged.map(|(name, address)| (name, Address::parse(&address))).collect(),
            meta: self.meta,
            ..Node::new(self.node, Address::parse(&own))
        }
    }
}

impl ServiceRow {
    fn instance(self, node: &str) -> Instance {
        let (own, port) = (self.address, self.port);
        let tagged = self.tagged_addresses.into_iter();
        let tagged = tagged.filter(|(name, other)| !(is_usual(name) && other.address == own && other.port == port));
        let tagged = tagged.map(|(name, TaggedRow { address, port })| {
            (name, TaggedAddress { address: Address::parse(&address), port })
        });
        Instance {
            socket: self.socket_path,
            tags: self.tags,
            meta: self.meta,
            tagged: tagged.collect(),
            weights: self.weights.map_or_else(Weights::default, |w| Weights { passing: w.passing, warning: w.warning }),
            enable_tag_override: self.enable_tag_override,
            address: (!own.is_empty()).then(|| Address::parse(&own)),
            ..Instance::new(self.service, self.id, node, port)
        }
    }
}

impl CheckRow {
    /// While the other side has just begun, one that is critical and says nothing was not looked at yet.
    fn told(self, young: bool) -> Told {
        let state = State::parse(&self.status).unwrap_or(State::Critical);
        let unseen = young && state == State::Critical && self.output.is_empty();
        let CheckRow { id, name, notes, output, .. } = self;
        Told { id, name, notes, state, output, held: false, unseen }
    }
}

impl Row {
    /// The node with its checks, and the instance with its own.
    pub(super) fn things(self, young: bool) -> [Mirrored; 2] {
        let (own, of_node): (Vec<CheckRow>, Vec<CheckRow>) =
            self.checks.into_iter().partition(|check| !check.service_id.is_empty());
        let told = |checks: Vec<CheckRow>| checks.into_iter().map(|check| check.told(young)).collect();
        let instance = self.service.instance(&self.node.node);
        [Mirrored::Node(self.node.node(), told(of_node)), Mirrored::Instance(instance, told(own))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_nothing_but_names() {
        let text = r#"{"Node":{"Node":"n","Address":"10.0.0.1","TaggedAddresses":null},
            "Service":{"ID":"a","Service":"web","Tags":null,"Weights":null,"Address":"","Unknown":1},"Checks":null}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        let [Mirrored::Node(node, checks), Mirrored::Instance(instance, own)] = row.things(false) else {
            panic!("a node and an instance");
        };
        assert_eq!(node, Node::new("n", Address::parse("10.0.0.1")));
        assert_eq!(instance, Instance::new("web", "a", "n", 0));
        assert!(checks.is_empty() && own.is_empty());
    }
}

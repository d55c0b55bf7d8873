//! The section `discovery:`.

use super::{Settings, address, dns, http, join, keys, service, store};
use crate::section::{Key, Kind, Shape, Wrong, key};
use fourmi_discovery::{Address, Node, Record};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

const TEXT: Kind = Kind::Text(Shape::Free);

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key("node", TEXT, "The name of this node in the registry.").or_words("`hostname`"),
    key("address", TEXT, "Where this node is: an address that others reach, or a name.")
        .or_words("the address that this machine uses towards others"),
    key("meta", Kind::Named(Shape::TagKey, &TEXT), "What else is known of this node; told in TXT records."),
    key("datacenter", TEXT, "The datacenter that this is.").or("dc1"),
    key("store", Kind::Choice(store::KEYS), "Where registrations are kept.")
        .or_words("`embedded` when there is `http`, else `memory`"),
    key("dns", Kind::Section(dns::KEYS), "Answers names by DNS, as Consul and SkyDNS do.").or_words("off"),
    key("http", Kind::Section(http::KEYS), "Answers Consul's HTTP API.").or_words("off"),
    key(
        "join",
        Kind::Short("to", join::KEYS),
        "Another registry that this one follows: instances are registered there.",
    )
    .or_words("off"),
    key(
        "services",
        Kind::List(&Kind::Section(service::KEYS)),
        "Instances that are registered as long as they stand here.",
    ),
    key(
        "records",
        Kind::Named(Shape::DnsName, &Kind::Section(RECORD)),
        "Entries of SkyDNS by their whole names, such as `1.stock.skydns.local`.",
    ),
    key(
        "entries",
        Kind::Short("path", ENTRIES),
        "A file with more of them, as SkyDNS's store prints them; looked for beside this one.",
    ),
];

const ENTRIES: &[Key] = &[
    key("path", Kind::Text(Shape::File), "What `etcdctl get --prefix /skydns` printed.").required(),
    key("prefix", TEXT, "What stands before the name in a key.").or("skydns"),
];

const SHORT: Kind = Kind::Count { min: 0, max: 65_535, word: None };

const RECORD: &[Key] = &[
    key("host", TEXT, "An address or a name."),
    key("port", SHORT, "The port in SRV records.").or("0"),
    key("priority", SHORT, "Lower is asked first; 0 is the dialect's.").or("0"),
    key("weight", SHORT, "The share among those of one priority; 0 is 100.").or("0"),
    key("text", Kind::Text(Shape::Free), "A TXT record."),
    key("mail", Kind::Flag, "Whether it is an MX record too.").or("false"),
    key("ttl", Kind::Count { min: 0, max: 86_400, word: None }, "Seconds that its records may be kept."),
    key("targetstrip", SHORT, "Labels that are cut from the left of a name made from the entry's own.").or("0"),
    key("group", TEXT, "Entries of another group than the topmost are left out."),
];

/// What SkyDNS puts before its names.
const PREFIX: &str = "skydns";
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values {
    node: Option<String>,
    address: Option<String>,
    meta: BTreeMap<String, String>,
    datacenter: Option<String>,
    store: Option<store::Values>,
    dns: Option<dns::Values>,
    http: Option<http::Values>,
    join: Option<join::Values>,
    services: Vec<service::Values>,
    records: BTreeMap<String, Record>,
    entries: Option<Entries>,
}

#[derive(Debug, Deserialize)]
struct Entries {
    path: PathBuf,
    prefix: Option<String>,
}

impl Settings {
    /// What the section says on a machine of that name, or all that is wrong with it.
    pub(crate) fn new(values: serde_json::Value, hostname: &str) -> Result<Settings, Vec<Wrong>> {
        let mut all = Faults::default();
        let settings = Settings::read(values, hostname, &mut all);
        match settings {
            Some(settings) if all.0.is_empty() => Ok(settings),
            _ => Err(all.0),
        }
    }

    fn read(values: serde_json::Value, hostname: &str, all: &mut Faults) -> Option<Settings> {
        let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "correct the section"));
        let v = all.keep(v)?;
        let node = Node {
            meta: v.meta,
            ..Node::new(
                v.node.unwrap_or_else(|| hostname.to_owned()),
                v.address.map_or_else(|| Address::Ip(address::own()), |text| Address::parse(&text)),
            )
        };
        let checked = node.check().map_err(|e| match e {
            fourmi_discovery::Invalid::Node => {
                Wrong::new(format!("`{}` cannot be a node's name: {e}", node.name), "write another name").of("node")
            }
            fourmi_discovery::Invalid::Address => Wrong::new(e.to_string(), "write an IP address").of("address"),
            e => Wrong::new(e.to_string(), "shorten it").of("meta"),
        });
        all.keep(checked);
        let datacenter = v.datacenter.unwrap_or_else(|| "dc1".into()).to_ascii_lowercase();
        // What cannot be is left out, so that what else cannot be is found too.
        let (dns, mut answers) = match all.keep(dns::settings(v.dns, &datacenter, &node)) {
            Some(read) => read,
            None => all.keep(dns::settings(None, &datacenter, &node))?,
        };
        let joins = v.join.is_some();
        if joins && v.store.is_some() {
            let message = "what is known there is kept there, so that `store` says nothing";
            all.0.push(Wrong::new(message, "remove `store`, or `join`").of("store"));
        }
        let join = v.join.and_then(|values| all.keep(join::other(values, &node, &datacenter)));
        let store = store::place(v.store, &node.name, v.http.is_some() && !joins);
        let store = all.keep(store).unwrap_or(super::Place::Memory);
        let api = v.http.and_then(|values| all.keep(http::settings(values, &mut answers, &node)));
        let http::Listening { at: http, settings: api, tls: api_tls } = api.unwrap_or_default();
        let mut services: Vec<(fourmi_discovery::Instance, _)> = Vec::with_capacity(v.services.len());
        for (at, values) in v.services.into_iter().enumerate() {
            let read = service::instance(values, &node).map_err(|wrong| wrong.of("services"));
            let Some((instance, checks)) = all.keep(read) else { continue };
            if services.iter().any(|(other, _)| other.id == instance.id) {
                let message = format!("entry {}: the id `{}` is given twice", at + 1, instance.id);
                all.0.push(Wrong::new(message, "give each instance an `id` of its own").of("services"));
                continue;
            }
            services.push((instance, checks));
        }
        let mut records = match &v.entries {
            Some(entries) => {
                all.keep(keys::read(&entries.path, entries.prefix.as_deref().unwrap_or(PREFIX))).unwrap_or_default()
            }
            None => Vec::new(),
        };
        // What is written here holds where both know a name.
        records.retain(|(name, _)| !v.records.contains_key(name));
        records.extend(v.records);
        Some(Settings { node, store, join, dns, http, api, api_tls, answers, services, records })
    }
}

/// All that was found wrong.
#[derive(Default)]
struct Faults(Vec<Wrong>);

impl Faults {
    fn keep<T>(&mut self, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|wrong| self.0.push(wrong)).ok()
    }
}

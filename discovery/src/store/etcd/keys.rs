//! What lies where in etcd.
//!
//! Ours, all under one prefix: `nodes/NODE`, `instances/NODE/ID` and `checks/NODE/ID` are what is registered, as JSON;
//! `kv/KEY` is a key of Consul's key-value store, and `numbers` is what its numbers count from.
//! `registries/NODE` says that a node has a registry of its own. Under that registry's lease are `alive/NODE`, and
//! `states/NODE/CHECK`, how its checks are; `checker` is who does the checks of nodes without a registry. Beside it are
//! SkyDNS's entries, under its own prefix.

use super::settings::{Settings, Unusable};
use crate::model::Record;
use crate::registry::Key;

/// What a key is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A node has a registry.
    Registry(String),
    /// And that is there.
    Alive(String),
    /// Who does the checks of nodes without one.
    Checker,
    /// Something that is registered, or an entry of SkyDNS.
    Kept(Key),
    /// How a check is: its node and id.
    How(String, String),
    /// A key of the key-value store.
    Pair(String),
}

/// What lies where.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Begins and ends with a slash, as the next.
    pub(super) own: String,
    pub(super) skydns: Option<String>,
    /// The domain of our own instances among SkyDNS's entries, as a path.
    domain: String,
}

impl Layout {
    pub(super) fn new(settings: &Settings) -> Result<Self, Unusable> {
        let own = between_slashes(&settings.prefix)?;
        let skydns = settings.skydns.as_ref();
        let prefix = skydns.map(|skydns| between_slashes(&skydns.prefix)).transpose()?;
        if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.starts_with(&own) || own.starts_with(*prefix)) {
            // What one means would be something else to the other.
            return Err(Unusable::Prefix(prefix.clone()));
        }
        let domain = skydns.map(|skydns| path(&skydns.domain)).transpose()?.unwrap_or_default();
        Ok(Layout { own, skydns: prefix, domain })
    }

    /// What is watched.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        [Some(&*self.own), self.skydns.as_deref()].into_iter().flatten()
    }

    /// All parts, in the order in which they are read: what others belong to comes first.
    pub(super) fn parts(&self) -> Vec<String> {
        let own = ["registries/", "alive/", "checker", "nodes/", "instances/", "checks/", "states/", "kv/"];
        own.iter().map(|part| self.of(part)).chain(self.skydns.clone()).collect()
    }

    fn of(&self, rest: &str) -> String {
        format!("{}{rest}", self.own)
    }

    pub(super) fn alive(&self, node: &str) -> String {
        self.of(&format!("alive/{node}"))
    }

    pub(super) fn registry(&self, node: &str) -> String {
        self.of(&format!("registries/{node}"))
    }

    pub(super) fn checker(&self) -> String {
        self.of("checker")
    }

    /// What the numbers of keys and values count from.
    pub(super) fn numbers(&self) -> String {
        self.of("numbers")
    }

    /// A key of the key-value store, or how several of them begin.
    pub(super) fn pair(&self, key: &str) -> String {
        self.of(&format!("kv/{key}"))
    }

    pub(super) fn how(&self, node: &str, check: &str) -> String {
        self.of(&format!("states/{node}/{check}"))
    }

    /// The key of what is kept. None when it is not kept here.
    pub(super) fn kept(&self, key: &Key) -> Option<String> {
        Some(match key {
            Key::Node(node) => self.of(&format!("nodes/{node}")),
            Key::Instance(node, id) => self.of(&format!("instances/{node}/{id}")),
            Key::Check(node, id) => self.of(&format!("checks/{node}/{id}")),
            Key::Record(path) => format!("{}{path}", self.skydns.as_ref()?),
        })
    }

    /// The key of a registered instance among SkyDNS's entries. Its node is the last part, since an id is unique on its
    /// node only; whoever asks for `ID.SERVICE` gets all below it.
    pub(super) fn entry(&self, service: &str, id: &str, node: &str) -> Option<String> {
        Some(format!("{}{}/{service}/{id}/{node}", self.skydns.as_ref()?, self.domain))
    }

    /// What a key is for. None when it is nothing that we know.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        let Some(rest) = key.strip_prefix(&self.own) else {
            let prefix = self.skydns.as_ref()?;
            let path = key.strip_prefix(prefix)?;
            // SkyDNS's own settings.
            if path == "config" {
                return None;
            }
            // Keys are in lower case; another one could never be found by a name.
            Record::name(prefix, key).filter(|_| !path.bytes().any(|b| b.is_ascii_uppercase()))?;
            return Some(Place::Kept(Key::Record(path.to_owned())));
        };
        if rest == "checker" {
            return Some(Place::Checker);
        }
        let (kind, rest) = rest.split_once('/')?;
        let of_node = || rest.split_once('/').map(|(node, id)| (node.to_owned(), id.to_owned()));
        let node = || (!rest.contains('/')).then(|| rest.to_owned());
        Some(match kind {
            "registries" => Place::Registry(node()?),
            "alive" => Place::Alive(node()?),
            "nodes" => Place::Kept(Key::Node(node()?)),
            "instances" => of_node().map(|(node, id)| Place::Kept(Key::Instance(node, id)))?,
            "checks" => of_node().map(|(node, id)| Place::Kept(Key::Check(node, id)))?,
            "states" => of_node().map(|(node, id)| Place::How(node, id))?,
            "kv" => Place::Pair(rest.to_owned()),
            _ => return None,
        })
    }
}

fn between_slashes(prefix: &str) -> Result<String, Unusable> {
    let bare = prefix.trim_matches('/');
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fine = |part: &str| !part.is_empty() && part.bytes().all(legal);
    match bare.split('/').all(fine) {
        true => Ok(format!("/{bare}/")),
        false => Err(Unusable::Prefix(prefix.to_owned())),
    }
}

fn path(domain: &str) -> Result<String, Unusable> {
    crate::model::path(domain).ok_or_else(|| Unusable::Prefix(domain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::SkyDns;

    #[test]
    fn keys_and_places_lead_to_each_other() {
        let layout = Layout::new(&Settings { prefix: "/a/fourmi".into(), ..Settings::default() }).unwrap();
        for (key, place) in [
            ("/a/fourmi/nodes/n1", Place::Kept(Key::Node("n1".into()))),
            ("/a/fourmi/instances/n1/a/b", Place::Kept(Key::Instance("n1".into(), "a/b".into()))),
            ("/a/fourmi/checks/n1/service:a", Place::Kept(Key::Check("n1".into(), "service:a".into()))),
            ("/skydns/local/skydns/a", Place::Kept(Key::Record("local/skydns/a".into()))),
        ] {
            assert_eq!(layout.place(key), Some(place.clone()));
            let Place::Kept(kept) = place else { panic!() };
            assert_eq!(layout.kept(&kept).as_deref(), Some(key));
        }
        assert_eq!(layout.place(&layout.alive("n1")), Some(Place::Alive("n1".into())));
        assert_eq!(layout.place(&layout.registry("n1")), Some(Place::Registry("n1".into())));
        assert_eq!(layout.place(&layout.checker()), Some(Place::Checker));
        assert_eq!(layout.place(&layout.how("n1", "c/1")), Some(Place::How("n1".into(), "c/1".into())));
        assert_eq!(layout.place(&layout.pair("a//b/")), Some(Place::Pair("a//b/".into())));
        assert_eq!(layout.place(&layout.numbers()), None);
        let entry = layout.entry("stock", "s1", "n1").unwrap();
        assert_eq!(entry, "/skydns/local/skydns/stock/s1/n1");
        let strange = ["/skydns/config", "/skydns/a//b", "/skydns/A", "/a/fourmi/nodes/a/b", "/a/fourmi/x/y", "/b"];
        assert!(strange.iter().all(|key| layout.place(key).is_none()));
        for (own, skydns) in
            [("", "skydns"), ("a b", "skydns"), ("skydns/fourmi", "skydns"), ("a", "a/b"), ("a//b", "c")]
        {
            let skydns = Some(SkyDns { prefix: skydns.into(), ..SkyDns::default() });
            assert!(Layout::new(&Settings { prefix: own.into(), skydns, ..Settings::default() }).is_err(), "{own}");
        }
    }
}

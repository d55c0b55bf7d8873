//! Where the parts lie that a request can reach at all: by host, then by the beginning of the path, and where many
//! lie together, by a header value, a server name or a method.
//!
//! What is found here is checked in full afterwards, so a hash stands for a text without care for collisions.

use super::compile::{Checks, Compiled, VALUES_MAX};
use super::pattern::Name;
use super::prefix::Tree;
use super::rule::Asked;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// As many parts are looked at one after the other before it pays to sort them further.
const TOGETHER: usize = 8;
/// Stands for the server name of a request without TLS, of which none is asked.
const CLEAR: &[u8] = b"\0clear";

type Map<K, V> = HashMap<K, V, RandomState>;

/// A part, and the port that is asked with its host; 0 for any.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) part: u32,
    pub(super) port: u16,
}

/// Parts that lie at one host and one beginning of a path, each list in the order of rank.
#[derive(Default)]
struct Leaf {
    all: Vec<Entry>,
    lanes: Vec<(Key, Map<u64, Vec<Entry>>)>,
}

/// By what parts are told apart.
#[derive(Clone, PartialEq, Eq)]
enum Key {
    Header(Box<[Box<str>]>),
    Sni,
    Method,
}

/// All parts.
#[derive(Default)]
pub(super) struct Places {
    hosts: Map<Box<str>, u32>,
    /// Backwards.
    suffixes: Tree,
    prefixes: Tree,
    /// For each host the beginnings of its paths; the first is for parts that ask no host.
    groups: Vec<Tree>,
    leaves: Vec<Leaf>,
    hasher: RandomState,
}

impl Places {
    pub(super) fn new(compiled: &Compiled) -> Places {
        let mut places = Places { groups: vec![Tree::default()], ..Places::default() };
        for (number, (part, beginning)) in compiled.parts.iter().zip(&compiled.beginnings).enumerate() {
            let entry = |port| Entry { part: u32::try_from(number).unwrap_or(u32::MAX), port };
            let hosts = compiled.hosts.get(part.rule).map_or(&[][..], Vec::as_slice);
            if hosts.is_empty() {
                places.put(0, beginning, entry(0));
            }
            for (name, port) in hosts {
                let group = places.group(name);
                places.put(group, beginning, entry(*port));
            }
        }
        let mut leaves = std::mem::take(&mut places.leaves);
        for leaf in &mut leaves {
            if leaf.all.len() > TOGETHER {
                places.spread(leaf, compiled);
            }
        }
        places.leaves = leaves;
        places
    }

    fn group(&mut self, name: &Name) -> u32 {
        let fresh = count(self.groups.len());
        let group = match name {
            Name::Exact(name) => *self.hosts.entry(name.clone()).or_insert(fresh),
            Name::Prefix(name) => self.prefixes.insert(name.as_bytes(), fresh),
            Name::Suffix(name) => self.suffixes.insert(&name.bytes().rev().collect::<Vec<_>>(), fresh),
        };
        if group == fresh {
            self.groups.push(Tree::default());
        }
        group
    }

    fn put(&mut self, group: u32, beginning: &[u8], entry: Entry) {
        let fresh = count(self.leaves.len());
        let Some(tree) = self.groups.get_mut(group as usize) else { return };
        let leaf = tree.insert(beginning, fresh);
        if leaf == fresh {
            self.leaves.push(Leaf::default());
        }
        if let Some(leaf) = self.leaves.get_mut(leaf as usize) {
            leaf.all.push(entry);
        }
    }

    /// Sorts a crowded leaf: each part by what it shares with the fewest others.
    fn spread(&self, leaf: &mut Leaf, compiled: &Compiled) {
        let keys = |entry: &Entry| {
            let checks = compiled.parts.get(entry.part as usize).and_then(|p| compiled.checks.get(p.rule));
            checks.map(|c| self.keys(c)).unwrap_or_default()
        };
        let mut shared: Map<u64, u32> = Map::default();
        for entry in &leaf.all {
            for hash in keys(entry).iter().flat_map(|(_, hashes)| hashes) {
                *shared.entry(*hash).or_default() += 1;
            }
        }
        let most = |hashes: &[u64]| hashes.iter().filter_map(|h| shared.get(h)).max().copied().unwrap_or(0);
        let entries = std::mem::take(&mut leaf.all);
        for entry in entries {
            let Some((key, hashes)) = keys(&entry).into_iter().min_by_key(|(_, hashes)| most(hashes)) else {
                leaf.all.push(entry);
                continue;
            };
            let at = leaf.lanes.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                leaf.lanes.push((key, Map::default()));
                leaf.lanes.len() - 1
            });
            for hash in hashes {
                leaf.lanes[at].1.entry(hash).or_default().push(entry);
            }
        }
    }

    /// By what a rule can be found, and the hashes of what it asks there, each once.
    fn keys(&self, checks: &Checks) -> Vec<(Key, Vec<u64>)> {
        let mut keys = Vec::new();
        for header in checks.headers.iter().filter(|h| h.regexes.is_empty()) {
            let hashes: Vec<u64> = header.exact.iter().map(|v| self.hash(v)).collect();
            keys.push((Key::Header(header.names.clone()), hashes));
        }
        if !checks.snis.is_empty() && checks.wild_snis.is_empty() {
            let names = checks.snis.iter().map(|s| s.as_bytes());
            keys.push((Key::Sni, names.chain([CLEAR]).map(|s| self.hash(s)).collect()));
        }
        if !checks.methods.is_empty() {
            keys.push((Key::Method, checks.methods.iter().map(|m| self.hash(m.as_bytes())).collect()));
        }
        for (_, hashes) in &mut keys {
            hashes.sort_unstable();
            hashes.dedup();
        }
        keys
    }

    /// Without regard to case.
    fn hash(&self, text: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        let mut lower = [0; 64];
        for chunk in text.chunks(lower.len()) {
            let Some(lower) = lower.get_mut(..chunk.len()) else { continue };
            lower.copy_from_slice(chunk);
            lower.make_ascii_lowercase();
            hasher.write(lower);
        }
        hasher.finish()
    }

    /// Visits every list of parts that the request can reach; adds what it costs to `steps`.
    pub(super) fn visit(&self, asked: &Asked<'_>, steps: &mut u32, mut visit: impl FnMut(&[Entry], &mut u32)) {
        let exact = self.hosts.get(asked.host).copied();
        *steps += 1;
        let mut group = |number: u32, steps: &mut u32| {
            let Some(tree) = self.groups.get(number as usize) else { return };
            let mut inside = 0;
            *steps += tree.walk(asked.path.iter().copied(), |leaf| {
                if let Some(leaf) = self.leaves.get(leaf as usize) {
                    self.lists(leaf, asked, &mut inside, &mut visit);
                }
            });
            *steps += inside;
        };
        if let Some(number) = exact {
            group(number, steps);
        }
        let mut inside = 0;
        if !self.suffixes.is_empty() {
            *steps += self.suffixes.walk(asked.host.bytes().rev(), |number| group(number, &mut inside));
        }
        if !self.prefixes.is_empty() {
            *steps += self.prefixes.walk(asked.host.bytes(), |number| group(number, &mut inside));
        }
        *steps += inside;
        group(0, steps);
    }

    fn lists(&self, leaf: &Leaf, asked: &Asked<'_>, steps: &mut u32, visit: &mut impl FnMut(&[Entry], &mut u32)) {
        visit(&leaf.all, steps);
        for (key, lists) in &leaf.lanes {
            let mut at = |text: &[u8], steps: &mut u32| {
                *steps += 1;
                if let Some(list) = lists.get(&self.hash(text)) {
                    visit(list, steps);
                }
            };
            match key {
                Key::Method => at(asked.method.as_bytes(), steps),
                Key::Sni if !asked.scheme.tls() => at(CLEAR, steps),
                Key::Sni => at(asked.sni.unwrap_or_default().as_bytes(), steps),
                Key::Header(names) => {
                    for name in names {
                        let mut left = VALUES_MAX;
                        asked.headers.any(name, &mut |value| {
                            at(value, steps);
                            left -= 1;
                            left == 0
                        });
                    }
                }
            }
        }
    }
}

/// Numbers of 32 bits are enough: `PLACES_MAX` ends it long before.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

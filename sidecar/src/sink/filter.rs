//! What a sink is told and under which names: level, share, fields dropped and renamed. Everything here happens
//! before a record is queued for its sink.

use super::entry::{Entry, What};
use super::fields::{FIELDS, Field};
use crate::section::Wrong;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The settings that every log sink has.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Common {
    /// The least severe level that is told, by its word.
    level: String,
    /// The share that is told of what is no warning and no error.
    sample: f64,
    /// Fields that are left out.
    drop: Vec<String>,
    /// Fields under another name.
    rename: BTreeMap<String, String>,
    /// Bytes that may wait.
    pub(crate) buffer: usize,
}

/// Names that a receiver of GELF or we ourselves give a meaning of their own.
const RESERVED: [&str; 10] = [
    "version",
    "host",
    "timestamp",
    "level",
    "short_message",
    "full_message",
    "facility",
    "source",
    "message",
    "truncated",
];

/// Fields that are numbers; all others are text. An index keeps the type that it saw first.
fn is_number(name: &str) -> bool {
    matches!(name, "status" | "duration_ms" | "upstream_ms" | "overhead_ms" | "attempt" | "bytes_in" | "bytes_out")
}

impl Common {
    /// Everything, under our own names.
    pub(crate) fn plain(buffer: usize) -> Common {
        let level = LEVELS[LEVELS.len() - 1].to_owned();
        Common { level, sample: 1.0, drop: Vec::new(), rename: BTreeMap::new(), buffer }
    }

    /// Whether the names can stand together in one record, and in one index with those of other sidecars.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        let wrong = |message: String, fix: &str| Err(Wrong::new(message, fix).of("rename"));
        const ANOTHER: &str = "choose another name";
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for (from, to) in &self.rename {
            if RESERVED.contains(&to.as_str()) || to.starts_with("gl2_") {
                return wrong(format!("`{to}`, for `{from}`, has a meaning of its own to receivers"), ANOTHER);
            }
            if to.starts_with("tag_") && to != from {
                return wrong(format!("`{to}`, for `{from}`, is the name of a tag's field"), ANOTHER);
            }
            if let Some(other) = given.insert(to, from) {
                return wrong(format!("`{other}` and `{from}` both become `{to}`"), "give each a name of its own");
            }
            if !FIELDS.contains(&to.as_str()) || to == from {
                continue;
            }
            if is_number(from) != is_number(to) {
                let kind = |name| if is_number(name) { "a number" } else { "text" };
                let message = format!("`{from}` is {} and `{to}`, its new name, {} elsewhere", kind(from), kind(to));
                return wrong(message, "an index keeps the type that it saw first: choose another name");
            }
            if !self.drop.contains(to) && self.rename.get(to).is_none_or(|new| new == to) {
                return wrong(
                    format!("`{from}` becomes `{to}`, which is a field already"),
                    "drop or rename that one, or choose another name",
                );
            }
        }
        Ok(())
    }
}

/// Syslog's words in their order (RFC 5424, 6.2.1).
pub(crate) const LEVELS: [&str; 8] = ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

/// Whether a sink is told of an entry at all.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    level: u8,
    /// Of the hash of a command's id.
    threshold: u64,
}

impl Filter {
    /// As the settings say.
    pub(crate) fn new(common: &Common) -> Filter {
        let level = LEVELS.iter().position(|l| *l == common.level).unwrap_or(LEVELS.len() - 1);
        Filter { level: level as u8, threshold: threshold(common.sample) }
    }

    /// Warnings and errors are never sampled away; a command is told by all sinks with the same share or by none,
    /// with all its lines.
    pub(crate) fn passes(&self, entry: &Entry<'_>) -> bool {
        entry.what != What::Begun
            && entry.level <= self.level
            && (self.threshold == u64::MAX || entry.level <= 4 || share(entry.id) < self.threshold)
    }
}

fn threshold(share: f64) -> u64 {
    match share {
        s if s >= 1.0 => u64::MAX,
        s => (s * u64::MAX as f64) as u64,
    }
}

/// Where an id stands between 0 and the greatest number; the same in every process and version (FNV-1a, and the
/// finish of MurmurHash3 because FNV's high bits are poor).
fn share(id: &str) -> u64 {
    let mut n = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |n, b| (n ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    n = (n ^ (n >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    n = (n ^ (n >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    n ^ (n >> 33)
}

/// The names of a record's fields for one sink.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    ours: [Option<Box<str>>; FIELDS.len()],
    dropped: BTreeSet<String>,
    renamed: BTreeMap<String, String>,
    /// Names that were given to others.
    taken: BTreeSet<String>,
}

/// All of them under their own names.
impl Default for Names {
    fn default() -> Names {
        Names {
            ours: FIELDS.map(|name| Some(Box::from(name))),
            dropped: BTreeSet::new(),
            renamed: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }
}

impl Names {
    /// As the settings say.
    pub(crate) fn new(common: &Common) -> Names {
        let dropped: BTreeSet<String> = common.drop.iter().cloned().collect();
        let ours = FIELDS.map(|name| {
            let new = common.rename.get(name).map_or(name, String::as_str);
            (!dropped.contains(name)).then(|| Box::from(new))
        });
        let taken = common.rename.values().cloned().collect();
        Names { ours, dropped, renamed: common.rename.clone(), taken }
    }

    /// All of them under their own names.
    #[cfg(test)]
    pub(crate) fn all() -> Names {
        Names::default()
    }

    /// The name of a field of ours; none when it is dropped.
    pub(crate) fn of(&self, field: Field) -> Option<&str> {
        self.ours[field as usize].as_deref()
    }

    /// The name of any other field.
    pub(crate) fn of_name<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if self.dropped.is_empty() && self.renamed.is_empty() {
            return Some(name);
        }
        match (self.dropped.contains(name), self.renamed.get(name)) {
            (true, _) => None,
            (false, Some(new)) => Some(new),
            // A record has no name twice; what the configuration named comes first.
            (false, None) => (!self.taken.contains(name)).then_some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renaming(pairs: &[(&str, &str)], drop: &[&str]) -> Common {
        Common {
            level: "debug".into(),
            sample: 1.0,
            drop: drop.iter().map(|d| (*d).to_owned()).collect(),
            rename: pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
            buffer: 0,
        }
    }

    #[test]
    fn row_30_a_field_never_changes_its_type_and_names_are_unique() {
        for (pairs, drop, says) in [
            (&[("command", "status")][..], &["status"][..], "is text and `status`, its new name, a number"),
            (&[("status", "route")], &["route"], "is a number and `route`, its new name, text"),
            (&[("tag_amount", "duration_ms")], &["duration_ms"], "is text"),
            (&[("command", "action"), ("route", "action")], &[], "`command` and `route` both become `action`"),
            (&[("command", "route")], &[], "which is a field already"),
            (&[("command", "tag_shop")], &[], "a tag's field"),
            (&[("command", "gl2_source")], &[], "a meaning of its own"),
        ] {
            let wrong = renaming(pairs, drop).check().unwrap_err();
            assert!(wrong.message.contains(says) && wrong.key == Some("rename"), "{pairs:?}: {}", wrong.message);
        }
        for name in RESERVED {
            assert!(renaming(&[("command", name)], &[]).check().is_err(), "{name}");
        }
        for (pairs, drop) in [
            (&[("command", "action"), ("duration_ms", "took"), ("tag_paid", "paid")][..], &[][..]),
            (&[("upstream_ms", "duration_ms")], &["duration_ms"]),
            (&[("command", "route"), ("route", "command")], &[]),
            (&[("command", "command")], &[]),
        ] {
            renaming(pairs, drop).check().unwrap();
        }
        // What a line brings under a name that was given away is left out rather than written twice.
        let names = Names::new(&renaming(&[("command", "action")], &[]));
        assert_eq!((names.of_name("action"), names.of_name("other")), (None, Some("other")));
    }

    #[test]
    fn a_share_is_about_that_share_and_the_same_for_the_same_id() {
        let common = Common {
            level: "notice".into(),
            sample: 0.1,
            drop: vec!["client".into(), "tag_a".into()],
            rename: [("command".to_owned(), "action".to_owned()), ("tag_b".to_owned(), "b".to_owned())].into(),
            buffer: 0,
        };
        let filter = Filter { level: 7, ..Filter::new(&common) };
        let mut kept = 0;
        for n in 0..10_000 {
            let id = format!("id-{n}");
            let mut entry = Entry::line(6, 1, "", Vec::new());
            entry.id = &id;
            let passes = filter.passes(&entry);
            assert_eq!(passes, filter.passes(&entry));
            kept += u32::from(passes);
            entry.level = 4;
            assert!(filter.passes(&entry));
        }
        assert!((800..1200).contains(&kept), "{kept}");
        let entry = Entry::line(6, 1, "", Vec::new());
        assert!(!Filter::new(&common).passes(&entry), "info is below notice");
        let names = Names::new(&common);
        assert_eq!((names.of(Field::Client), names.of(Field::Command)), (None, Some("action")));
        assert_eq!((names.of_name("tag_a"), names.of_name("tag_b"), names.of_name("x")), (None, Some("b"), Some("x")));
    }
}

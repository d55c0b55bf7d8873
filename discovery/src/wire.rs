//! How one registry tells another what changed: lines of JSON, one thing each.
//!
//! The first line is a [`Hello`]. Then come batches: lines that each name a thing as it is now or one that is gone, and
//! `{"at": N}`, which ends the batch: what was told up to there is the state of number N. A batch that begins with
//! `{"all": true}` names everything there is; what it does not name is gone. `{"at": N}` alone says that we are still
//! there.

use crate::model::{Check, Instance, Node, Record, State};
use crate::registry::{Mirrored, Told};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The form of the lines.
pub(crate) const FORM: u32 = 1;
/// What a stream of them is called.
pub(crate) const TYPE: &str = "application/x-ndjson";
/// The path of the stream, behind `/v1/`.
pub(crate) const PATH: &str = "fourmi/changes";
/// The longest line that is read; what we write is shorter.
pub(crate) const LINE_MAX: usize = 4 * 1024 * 1024;
/// So many checks of one thing are told, the worst first.
const CHECKS_MAX: usize = 64;
/// So much is told of a check's output, and of its notes.
const OUTPUT_MAX: usize = 1024;

/// Who tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) form: u32,
    pub(crate) node: String,
    pub(crate) datacenter: String,
    /// Numbers of another epoch are other numbers.
    pub(crate) epoch: String,
    /// The number that the first batch is of.
    pub(crate) at: u64,
    /// How long it runs, in milliseconds: those who registered may not have come back yet.
    pub(crate) age: u64,
}

/// A check, without what is secret in its definition.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckLine {
    id: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notes: String,
    state: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    output: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    held: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unseen: bool,
}

/// A line as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Written<'a> {
    Hello(&'a Hello),
    All(bool),
    Node(&'a Node, Vec<CheckLine>),
    Instance(&'a Instance, Vec<CheckLine>),
    /// With the time it ends, in milliseconds of Unix's time.
    Record(&'a str, &'a Record, Option<u64>),
    NoNode(&'a str),
    NoInstance(&'a str, &'a str),
    NoRecord(&'a str),
    At(u64),
}

/// A line as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Read {
    Hello(Hello),
    All(bool),
    Node(Node, Vec<CheckLine>),
    Instance(Instance, Vec<CheckLine>),
    Record(String, Record, Option<u64>),
    NoNode(String),
    NoInstance(String, String),
    NoRecord(String),
    At(u64),
}

/// What a line means to whoever reads it.
#[derive(Debug)]
pub(crate) enum Meant {
    Hello(Hello),
    All(bool),
    Thing(Mirrored),
    At(u64),
}

impl Written<'_> {
    /// Adds the line to what is written.
    pub(crate) fn onto(&self, to: &mut Vec<u8>) {
        // Neither our values nor a vector can refuse to be written.
        let _ = serde_json::to_writer(&mut *to, self);
        to.push(b'\n');
    }
}

/// The checks of one thing as they are told.
pub(crate) fn checks(checks: &[Arc<Check>]) -> Vec<CheckLine> {
    let mut told: Vec<&Arc<Check>> = checks.iter().collect();
    if told.len() > CHECKS_MAX {
        told.sort_by_key(|check| std::cmp::Reverse(check.state));
        told.truncate(CHECKS_MAX);
    }
    told.into_iter().map(|check| CheckLine::of(check)).collect()
}

impl CheckLine {
    fn of(check: &Check) -> Self {
        let cut = |text: &str| crate::model::cut(text, OUTPUT_MAX).to_owned();
        CheckLine {
            id: check.definition.id.clone(),
            name: check.definition.name.clone(),
            notes: cut(&check.definition.notes),
            state: check.state.as_str().to_owned(),
            output: cut(&check.output),
            held: check.held,
            unseen: check.unseen,
        }
    }

    fn told(self) -> Told {
        // What is not known is not healthy.
        let state = State::parse(&self.state).unwrap_or(State::Critical);
        let CheckLine { id, name, notes, output, held, unseen, .. } = self;
        Told { id, name, notes, state, output, held, unseen }
    }
}

/// When a record ends, as it is told.
pub(crate) fn ends(record: &Record) -> Option<u64> {
    let since = record.expires?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).ok()
}

/// Reads a line.
pub(crate) fn read(line: &[u8]) -> Result<Meant, serde_json::Error> {
    let told = |checks: Vec<CheckLine>| checks.into_iter().map(CheckLine::told).collect();
    Ok(match serde_json::from_slice(line)? {
        Read::Hello(hello) => Meant::Hello(hello),
        Read::All(all) => Meant::All(all),
        Read::Node(node, checks) => Meant::Thing(Mirrored::Node(node, told(checks))),
        Read::Instance(instance, checks) => Meant::Thing(Mirrored::Instance(instance, told(checks))),
        Read::Record(name, record, ends) => {
            let expires = ends.and_then(|ends| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ends)));
            Meant::Thing(Mirrored::Record(name, Record { expires, ..record }))
        }
        Read::NoNode(name) => Meant::Thing(Mirrored::NoNode(name)),
        Read::NoInstance(node, id) => Meant::Thing(Mirrored::NoInstance(node, id)),
        Read::NoRecord(name) => Meant::Thing(Mirrored::NoRecord(name)),
        Read::At(at) => Meant::At(at),
    })
}

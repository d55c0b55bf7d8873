//! A Kong declarative file: read, checked as a whole, and handed on as [`Entities`].
//!
//! `gather` makes a flat list of what is nested, `vault` puts in what the environment says, `check` holds every field
//! against the table in `spec`, `rules` and `plugins` look at fields together, `refs` finds who is meant by which name,
//! and `build` makes plain values. Each goes on after a mistake, so that all of them are told at once.

mod build;
mod certificates;
mod check;
mod compile;
mod gather;
mod pem;
mod plugins;
#[cfg(test)]
mod reference;
mod refs;
mod rules;
mod scalar;
mod services;
mod spec;
mod vault;

use super::overlay::Env;
use super::plan::GatewayPlan;
use super::problem::{Problem, Problems, Report};
use super::source::{Origin, Span};
use super::tree::{self, Limits, Node};
use crate::gateway::{Entities, Id};
use spec::{Kind, SPECS};
use std::collections::{HashMap, HashSet};

/// A file of ten thousand consumers is large but real.
pub(super) const LIMITS: Limits = Limits { nodes: 2_000_000, items: 200_000 };
/// Bytes of one file.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// The key that says what a file is.
pub(super) const MARK: &str = "_format_version";

/// A Kong file without mistakes.
#[derive(Debug)]
pub struct KongFile {
    /// What it holds.
    pub entities: Entities,
    /// What runs of it.
    pub plan: GatewayPlan,
    /// What somebody should look at.
    pub warnings: Vec<Problem>,
    /// What it lacks when it runs alone: errors and warnings, whose keys are those that would say it.
    pub alone: Vec<Problem>,
}

impl KongFile {
    /// `3 services, 5 routes, 1 upstream`; empty when there is nothing.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(&self.entities)
    }
}

fn summary(e: &Entities) -> String {
    let count = |kind| match kind {
        Kind::Service => e.services.len(),
        Kind::Route => e.routes.len(),
        Kind::Consumer => e.consumers.len(),
        Kind::Plugin => e.plugins.len(),
        Kind::Upstream => e.upstreams.len(),
        Kind::Target => e.targets.len(),
        Kind::Certificate => e.certificates.len(),
        Kind::Sni => e.snis.len(),
        Kind::CaCertificate => e.ca_certificates.len(),
        Kind::Vault => e.vaults.len(),
        Kind::KeyAuth => e.credentials.keys.len(),
        Kind::BasicAuth => e.credentials.basic.len(),
        Kind::HmacAuth => e.credentials.hmac.len(),
        Kind::Jwt => e.credentials.jwt.len(),
        Kind::Acl => e.credentials.groups.len(),
        Kind::ConsumerGroup => e.consumer_groups.len(),
    };
    let said = |spec: &spec::Spec| match count(spec.kind) {
        0 => None,
        1 => Some(format!("1 {}", spec.one)),
        n => Some(format!("{n} {}", spec.many)),
    };
    let words: Vec<String> = SPECS.iter().filter_map(said).collect();
    words.join(", ")
}

/// Whether a tree is that of a Kong file.
pub(super) fn is(root: &Node) -> bool {
    root.entry(MARK).is_some()
}

/// One entity on its way from text to value.
struct Record {
    kind: Kind,
    node: Node,
    /// `services[0].routes[1]`.
    path: Box<str>,
    /// In what it is nested: field and record.
    parent: Option<(&'static str, usize)>,
    refs: Few<usize>,
    lists: Few<Vec<usize>>,
    id: Option<Id>,
}

impl Record {
    /// Who is meant by a field: the one in which it is nested, or the one that it names.
    fn other(&self, field: &str) -> Option<usize> {
        let parent = || self.parent.filter(|(name, _)| *name == field).map(|(_, at)| at);
        self.refs.get(field).copied().or_else(parent)
    }
}

/// What is known by field: mostly nothing, else one or two.
#[expect(clippy::box_collection, reason = "most hold none, and there may be very many")]
struct Few<T>(Option<Box<Vec<(&'static str, T)>>>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few(None)
    }
}

impl<T> Few<T> {
    fn get(&self, field: &str) -> Option<&T> {
        self.0.as_ref()?.iter().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    fn insert(&mut self, field: &'static str, value: T) {
        let all = self.0.get_or_insert_default();
        match all.iter_mut().find(|(name, _)| *name == field) {
            Some((_, known)) => *known = value,
            None => all.push((field, value)),
        }
    }
}

type References = (Few<usize>, Few<Vec<usize>>);

/// What the steps share.
struct Reader<'a> {
    problems: &'a mut Problems,
    env: &'a Env,
    records: Vec<Record>,
    /// Passwords are in the clear.
    transform: bool,
    places: Vec<vault::Place>,
    /// Where scalars begin whose value came from the environment.
    referenced: HashSet<u32>,
    /// Keys whose warning has been given.
    warned: HashSet<String>,
    /// Of those that others may refer to.
    names: HashMap<(Kind, Box<str>), usize>,
    ids: HashMap<(Kind, Id), usize>,
    seen: HashMap<(Kind, String), usize>,
}

/// Checks a text as if it were a Kong file of that name, with these environment variables.
///
/// # Errors
/// Every problem at once.
pub(super) fn read(name: &str, mut text: String, env: &Env) -> Result<KongFile, Report> {
    let mut problems = Problems::new();
    // JSON may be indented with tabs, which YAML does not take; inside its texts there are none.
    if text.trim_start().starts_with('{') && text.contains('\t') {
        text = text.replace('\t', " ");
    }
    let source = problems.sources.add(name, text, Origin::File);
    let mut read = None;
    if let Some(root) = tree::parse_within(source, &LIMITS, &mut problems) {
        if !is(&root) {
            let message = format!("`{MARK}`: required field missing");
            let fix = format!("begin the file with {MARK}: \"3.0\"");
            problems.error(Span { source, start: 0, end: 1 }, "missing-key", MARK, message, fix);
        }
        read = read_tree(root, env, &mut problems);
    }
    let failed = problems.failed();
    let alone = |problems: &mut Problems| {
        let Some((_, plan)) = &read else { return };
        let begin = Span { source, start: 0, end: 1 };
        if let Some(message) = super::gateway::worker_for(plan) {
            let fix = format!(
                "write a fourmi.yaml with `worker: http://127.0.0.1:PORT` and `gateway: {name}`, or set FOURMI_WORKER"
            );
            problems.error(begin, "missing-worker", "worker", message, fix);
        }
        if !plan.titled.is_empty() {
            let message = "nobody is shown the certificates: a file that runs alone listens without TLS";
            let fix =
                format!("write a fourmi.yaml with `inbound: [{{listen: https://0.0.0.0:8443}}]` and `gateway: {name}`");
            problems.warning(begin, "no-effect", "inbound", message, fix);
        }
    };
    let ((), alone) = problems.later(alone);
    let (list, _) = problems.into_list();
    match read {
        Some((entities, plan)) if !failed => Ok(KongFile { entities, plan, warnings: list, alone }),
        _ => Err(Report { problems: list }),
    }
}

/// Reads a tree that stands for a file; none when something was wrong, which has been told.
pub(super) fn read_tree(root: Node, env: &Env, problems: &mut Problems) -> Option<(Entities, GatewayPlan)> {
    // What is wrong elsewhere is no mistake of this file.
    let (read, said) = problems.later(|problems| {
        let (entities, mut reader) = entities_of(root, env, problems);
        let plan = compile::compiled(&mut reader, &entities)?;
        Some((entities, plan))
    });
    problems.take(said);
    read
}

/// What a tree holds, as far as it could be read.
fn entities_of<'a>(mut root: Node, env: &'a Env, problems: &'a mut Problems) -> (Entities, Reader<'a>) {
    let mut reader = Reader {
        problems,
        env,
        records: Vec::new(),
        transform: true,
        places: Vec::new(),
        referenced: HashSet::new(),
        warned: HashSet::new(),
        names: HashMap::new(),
        ids: HashMap::new(),
        seen: HashMap::new(),
    };
    reader.templates(&mut root);
    reader.vaults(&root);
    reader.gather(root);
    reader.resolve();
    reader.check();
    reader.rules();
    reader.names();
    plugins::anonymous(&mut reader);
    // Nobody is looked for any more.
    (reader.names, reader.ids, reader.seen) = Default::default();
    (build::entities(&mut reader), reader)
}

#[cfg(test)]
mod tests;

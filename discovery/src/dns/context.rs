//! What an answer is made from.

use super::labels::Labels;
use super::reply::Reply;
use super::settings::{Dialect, Settings};
use super::{consul, reverse, skydns};
use crate::model::State;
use crate::snapshot::{Member, Snapshot};
use hickory_proto::rr::{Name, Record, RecordType};
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

/// How many names a chain of aliases may go through.
pub(crate) const CHAIN_MAX: usize = 11;
/// How many foreign names one answer may need.
const OUTSIDE_MAX: usize = 8;

/// Foreign names that an answer needs: known ones, and those that must be asked before it can be whole.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// Whether there is anybody to ask.
    pub(crate) reachable: bool,
    known: Vec<(Name, RecordType, Vec<Record>)>,
    wanted: RefCell<Vec<(Name, RecordType)>>,
}

impl Outside {
    pub(crate) fn reachable(reachable: bool) -> Self {
        Outside { reachable, ..Outside::default() }
    }

    pub(crate) fn learn(&mut self, name: Name, kind: RecordType, records: Vec<Record>) {
        self.known.push((name, kind, records));
    }

    /// What must be asked before the answer can be whole.
    pub(crate) fn take_wanted(&mut self) -> Vec<(Name, RecordType)> {
        self.wanted.take()
    }

    fn lookup(&self, name: &Name, kind: RecordType) -> &[Record] {
        let known = self.known.iter().find(|(known, of, _)| known == name && *of == kind);
        if known.is_none() && self.reachable {
            let mut wanted = self.wanted.borrow_mut();
            if wanted.len() + self.known.len() < OUTSIDE_MAX && !wanted.contains(&(name.clone(), kind)) {
                wanted.push((name.clone(), kind));
            }
        }
        known.map_or(&[], |(_, _, records)| records)
    }
}

/// What an answer is made from.
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) settings: &'a Settings,
    pub(crate) outside: &'a Outside,
    pub(crate) now: SystemTime,
    /// More answers of Consul's dialect than this one will be cut, so that one more tells enough; 0 is no limit.
    pub(crate) most: usize,
}

impl Context<'_> {
    /// The answer to a question about a name of ours; None about a foreign one.
    pub(crate) fn answer(&self, name: &Name, kind: RecordType) -> Option<Reply> {
        let labels = Labels::of(name)?;
        match self.settings.domain(&labels) {
            Some(domain) if domain.dialect == Dialect::Consul => {
                Some(consul::answer(self, domain, name, &labels, kind, &mut Vec::new()))
            }
            Some(domain) => Some(skydns::answer(self, domain, name, &labels, kind)),
            None => reverse::answer(self, name, &labels, kind),
        }
    }

    /// The addresses of a name, ours or foreign: aliases first, in order, then addresses. Empty when the chain ends
    /// nowhere or goes round in a circle.
    pub(crate) fn resolve(&self, name: &Name, kind: RecordType, seen: &mut Vec<Name>) -> Vec<Record> {
        if seen.len() >= CHAIN_MAX || seen.contains(name) {
            return Vec::new();
        }
        let Some(labels) = Labels::of(name) else { return Vec::new() };
        seen.push(name.clone());
        let found = match self.settings.domain(&labels) {
            Some(domain) if domain.dialect == Dialect::Consul => {
                let reply = consul::answer(self, domain, name, &labels, kind, seen);
                let links = [RecordType::A, RecordType::AAAA, RecordType::CNAME];
                let records = reply.answers.into_iter().map(|answer| answer.record);
                records.filter(|record| links.contains(&record.record_type())).collect()
            }
            Some(domain) => skydns::addresses(self, domain, name, &labels, kind, seen),
            None => self.outside(name, kind),
        };
        seen.pop();
        found
    }

    fn outside(&self, name: &Name, kind: RecordType) -> Vec<Record> {
        let families: &[RecordType] = match kind {
            RecordType::A | RecordType::AAAA | RecordType::TXT => &[kind],
            _ => &[RecordType::A, RecordType::AAAA],
        };
        let mut found = Vec::new();
        for family in families {
            super::reply::add_new(&mut found, self.outside.lookup(name, *family).iter().cloned());
        }
        found
    }

    /// Whether a member is told of.
    pub(crate) fn shows(&self, member: &Member) -> bool {
        member.usable()
            && (!self.settings.only_passing || member.state == State::Passing)
            && self.settings.visible.member(member)
    }

    /// Whether so many answers are enough.
    pub(crate) fn enough(&self, answers: usize) -> bool {
        self.most > 0 && answers > self.most
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

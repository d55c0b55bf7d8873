//! The routes of a gateway: which rule takes a request, in the order of Kong's default flavour
//! (`traditional_compatible`).
//!
//! All matching rules are compared by [`super::rank`]; the highest wins. What costs is paid when the table is made:
//! a request looks at the rules that its host and the beginning of its path lead to, however many there are beside
//! them. Expressions lie at the literal bytes that they begin with; only those that begin alike are tried one after
//! the other.
//!
//! Where it differs from Kong, on purpose: an expression is anchored as a whole (`~/a|/b` does not match `/x/b`); a
//! header's expression is matched without case instead of being written in lower case, which would make `\D` of
//! `\d`; a negative `regex_priority` stands below 0; and of rules with equal rank the one with the higher `order`
//! wins also for its single paths, where Kong compares UUIDs made of the route's and the path's length.

use super::compile::{By, Compiled, Part, compile};
use super::places::Places;
use super::rule::{Asked, Rule, Wrong};
use regex::bytes::Regex;
use std::sync::Arc;

/// All rules, ready to be asked. Each thread takes a clone of its own: expressions then keep their working memory
/// without locks, and all the rest is shared.
#[derive(Clone)]
pub struct Table {
    shared: Arc<Shared>,
    regexes: Box<[Regex]>,
}

struct Shared {
    rules: Vec<Rule>,
    /// Without its expressions.
    compiled: Compiled,
    places: Places,
}

/// The rule that takes a request.
#[derive(Debug)]
pub struct Found<'t> {
    /// Which rule, counted from 0.
    pub rule: usize,
    /// The rule's target.
    pub target: usize,
    /// The path that matched, as it is written in the rule; none if the rule has no paths.
    pub path: Option<&'t str>,
    /// How many bytes of the request's path it matched.
    pub matched: Option<usize>,
    /// What the groups of an expression matched; none if it has no groups.
    pub captures: Option<Captures<'t>>,
}

/// What the groups of an expression matched.
#[derive(Debug)]
pub struct Captures<'t> {
    regex: &'t Regex,
    spans: Box<[Option<(usize, usize)>]>,
}

impl<'t> Captures<'t> {
    /// A group by its number; 0 is the whole match. `path` is the one that was asked.
    pub fn get<'p>(&self, number: usize, path: &'p [u8]) -> Option<&'p [u8]> {
        let (start, end) = (*self.spans.get(number)?)?;
        path.get(start..end)
    }

    /// A group by its name.
    pub fn named<'p>(&self, name: &str, path: &'p [u8]) -> Option<&'p [u8]> {
        self.get(self.regex.capture_names().position(|n| n == Some(name))?, path)
    }

    /// The name of each group in its order, the whole match first; none where it has no name.
    pub fn names(&self) -> impl Iterator<Item = Option<&'t str>> {
        self.regex.capture_names()
    }
}

impl Default for Table {
    /// No rule at all.
    fn default() -> Table {
        Table::new(Vec::new()).unwrap_or_else(|_| unreachable!("no rule is wrong when there is none"))
    }
}

impl Table {
    /// Reads and sorts all rules.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn new(rules: Vec<Rule>) -> Result<Table, Vec<Wrong>> {
        let mut compiled = compile(&rules)?;
        let regexes = std::mem::take(&mut compiled.regexes).into();
        let places = Places::new(&compiled);
        compiled.beginnings = Vec::new();
        compiled.hosts = Vec::new();
        Ok(Table { shared: Arc::new(Shared { rules, compiled, places }), regexes })
    }

    /// A rule as it was given.
    pub fn rule(&self, number: usize) -> Option<&Rule> {
        self.shared.rules.get(number)
    }

    /// The rule that takes the request. Allocates only for the groups of an expression.
    pub fn find(&self, asked: &Asked<'_>) -> Option<Found<'_>> {
        let (part, matched) = self.look(asked, &mut 0)?;
        self.found(part, matched, asked)
    }

    /// Every path of every rule that would take the request, in the order of precedence: for people who ask why.
    pub fn all(&self, asked: &Asked<'_>) -> Vec<Found<'_>> {
        let mut numbers = Vec::new();
        self.shared.places.visit(asked, &mut 0, |list, _| {
            numbers.extend(list.iter().filter(|e| e.port == 0 || e.port == asked.port).map(|e| e.part));
        });
        numbers.sort_unstable();
        // A part lies at each of its hosts.
        numbers.dedup();
        let parts = numbers.iter().filter_map(|n| self.shared.compiled.parts.get(*n as usize));
        parts.filter_map(|part| self.found(part, self.holds(part, asked)?, asked)).collect()
    }

    fn found(&self, part: &Part, matched: Option<usize>, asked: &Asked<'_>) -> Option<Found<'_>> {
        let rule = self.shared.rules.get(part.rule)?;
        let captures = match part.by {
            By::Regex(number) => self.captures(number, asked.path),
            By::Nothing | By::Prefix(_) => None,
        };
        let path = part.path.and_then(|n| rule.paths.get(n)).map(String::as_str);
        Some(Found { rule: part.rule, target: rule.target, path, matched, captures })
    }

    fn captures(&self, number: usize, path: &[u8]) -> Option<Captures<'_>> {
        let regex = self.regexes.get(number).filter(|r| r.captures_len() > 1)?;
        let found = regex.captures(path)?;
        Some(Captures { regex, spans: found.iter().map(|m| m.map(|m| (m.start(), m.end()))).collect() })
    }

    /// The part of the highest rank that matches, and how much of the path; `steps` counts what was looked at.
    pub(super) fn look(&self, asked: &Asked<'_>, steps: &mut u32) -> Option<(&Part, Option<usize>)> {
        let mut best = u32::MAX;
        let mut found = None;
        self.shared.places.visit(asked, steps, |list, steps| {
            for entry in list.iter().take_while(|e| e.part < best) {
                *steps += 1;
                if entry.port != 0 && entry.port != asked.port {
                    continue;
                }
                let Some(part) = self.shared.compiled.parts.get(entry.part as usize) else { continue };
                if let Some(matched) = self.holds(part, asked) {
                    best = entry.part;
                    found = Some((part, matched));
                    break;
                }
            }
        });
        found
    }

    /// Whether a part that lies on the request's way matches, and how much of the path.
    fn holds(&self, part: &Part, asked: &Asked<'_>) -> Option<Option<usize>> {
        let checks = self.shared.compiled.checks.get(part.rule)?;
        if !checks.hold(asked, &self.regexes) {
            return None;
        }
        match part.by {
            By::Nothing => Some(None),
            By::Prefix(length) => Some(Some(length)),
            By::Regex(number) => self.regexes.get(number)?.find(asked.path).map(|m| Some(m.end())),
        }
    }
}

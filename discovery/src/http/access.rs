//! Tokens: who may read and change what.

use super::call::Query;
use super::failure::Failure;
use super::settings::Settings;
use crate::snapshot::{Member, NodeEntry, Snapshot};
use crate::{Check, Probe};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Services, with their checks.
    Service,
    /// Nodes, with the checks that are theirs.
    Node,
    /// What the agent on a node says of itself.
    Agent,
    /// Keys.
    Key,
    /// Events.
    Event,
}

impl Resource {
    /// Whether two names are one: of keys the case counts, as of the keys themselves.
    fn is_same(self, one: &str, other: &str) -> bool {
        match self {
            Resource::Key => one == other,
            _ => one.eq_ignore_ascii_case(other),
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Resource::Service => "service",
            Resource::Node => "node",
            Resource::Agent => "agent",
            Resource::Key => "key",
            Resource::Event => "event",
        }
    }
}

/// How much is allowed; the greater, the more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nothing.
    Deny,
    /// To see it.
    Read,
    /// To see it and to change it.
    Write,
}

impl Right {
    pub(super) fn word(self) -> &'static str {
        match self {
            Right::Deny => "deny",
            Right::Read => "read",
            Right::Write => "write",
        }
    }
}

/// What may be done with things of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it speaks of.
    pub resource: Resource,
    /// The name.
    pub name: String,
    /// Whether every name that begins so is meant. A whole name beats a beginning, a longer one a shorter one.
    pub prefix: bool,
    /// What is allowed.
    pub right: Right,
}

/// A secret, and what may be done by whoever knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret.
    pub secret: String,
    /// What it is called where it is talked about.
    pub accessor: String,
    /// What is allowed.
    pub rules: Vec<Rule>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        f.debug_struct("Token").field("accessor", &self.accessor).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What no rule speaks of.
    pub default: Right,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// What may be done without a token.
    pub anonymous: Vec<Rule>,
}

impl Default for Access {
    fn default() -> Self {
        Access { default: Right::Write, tokens: Vec::new(), anonymous: Vec::new() }
    }
}

impl Access {
    /// Without tokens and rules everybody may do everything, and a token that is sent means nothing.
    pub(super) fn is_off(&self) -> bool {
        self.default == Right::Write && self.tokens.is_empty() && self.anonymous.is_empty()
    }

    pub(crate) fn right(&self, rules: &[Rule], resource: Resource, name: &str) -> Right {
        let fits = |rule: &&Rule| match rule.prefix {
            true => name.get(..rule.name.len()).is_some_and(|front| resource.is_same(front, &rule.name)),
            false => resource.is_same(name, &rule.name),
        };
        let fitting = rules.iter().filter(|rule| rule.resource == resource).filter(fits);
        // Of two rules that are as exact as each other the stricter one counts.
        let nearest = fitting.max_by_key(|rule| (!rule.prefix, rule.name.len(), std::cmp::Reverse(rule.right)));
        nearest.map_or(self.default, |rule| rule.right)
    }
}

/// What one request may do.
#[derive(Debug)]
pub(super) struct Rights {
    settings: Arc<Settings>,
    /// The place of its token; None is nobody's.
    token: Option<usize>,
    sent: bool,
    hidden: AtomicBool,
}

impl Rights {
    /// The rights of the token that a request brings: as a parameter, as Consul's header, or as a bearer's.
    pub(super) fn of(settings: &Arc<Settings>, query: &Query, headers: &HeaderMap) -> Result<Self, Failure> {
        let access = &settings.access;
        let sent = sent(query, headers).filter(|_| !access.is_off());
        let token = sent.map(|sent| {
            let place = access.tokens.iter().position(|token| is_same(token.secret.as_bytes(), sent.as_bytes()));
            place.ok_or_else(|| Failure::forbidden("ACL not found"))
        });
        let token = token.transpose()?;
        Ok(Rights { settings: Arc::clone(settings), token, sent: sent.is_some(), hidden: AtomicBool::new(false) })
    }

    /// The place of its token; who has the same may do the same.
    pub(super) fn place(&self) -> Option<usize> {
        self.token
    }

    /// Whether they are of these settings still.
    pub(super) fn are_of(&self, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings)
    }

    /// Something was not shown.
    pub(super) fn hide(&self) {
        self.hidden.store(true, Ordering::Relaxed);
    }

    /// Whether something was not shown.
    pub(super) fn hides(&self) -> bool {
        self.hidden.load(Ordering::Relaxed)
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.and_then(|place| self.settings.access.tokens.get(place))
    }

    pub(super) fn rules(&self) -> &[Rule] {
        self.token().map_or(&self.settings.access.anonymous, |token| &token.rules)
    }

    fn has(&self, resource: Resource, name: &str, right: Right) -> bool {
        self.settings.access.right(self.rules(), resource, name) >= right
    }

    /// Refuses what may not be.
    pub(super) fn need(&self, resource: Resource, name: &str, right: Right) -> Result<(), Failure> {
        if self.has(resource, name, right) {
            return Ok(());
        }
        Err(self.lacks(resource, name, right))
    }

    fn lacks(&self, resource: Resource, name: &str, right: Right) -> Failure {
        let who = match self.token() {
            Some(token) => format!("token with AccessorID '{}'", token.accessor),
            None => "anonymous token".into(),
        };
        let verb = if right == Right::Write { "write" } else { "read" };
        let what = resource.word();
        Failure::forbidden(format!("Permission denied: {who} lacks permission '{what}:{verb}' on {name:?}"))
    }

    /// The same for changes.
    pub(super) fn need_write(&self, resource: Resource, name: &str) -> Result<(), Failure> {
        self.need(resource, name, Right::Write)
    }

    /// The same for all names that begin so, whether there are any or not.
    pub(super) fn need_write_under(&self, resource: Resource, prefix: &str) -> Result<(), Failure> {
        let (access, rules) = (&self.settings.access, self.rules());
        let inside = |name: &str| name.get(..prefix.len()).is_some_and(|front| resource.is_same(front, prefix));
        let longer = rules.iter().filter(|rule| rule.resource == resource && inside(&rule.name));
        match longer.into_iter().find(|rule| rule.right < Right::Write) {
            Some(rule) => self.need_write(resource, &rule.name),
            // A rule for the whole name says nothing of those that go on behind it.
            None => {
                let prefixes: Vec<Rule> = rules.iter().filter(|rule| rule.prefix).cloned().collect();
                match access.right(&prefixes, resource, prefix) {
                    Right::Write => Ok(()),
                    _ => Err(self.lacks(resource, prefix, Right::Write)),
                }
            }
        }
    }

    /// Refuses a check that would tell how something is that may not be seen. What is not there is refused too: nobody knows
    /// yet whose it will be.
    pub(super) fn need_alias(&self, snapshot: &Snapshot, check: &Check) -> Result<(), Failure> {
        let Probe::Alias(alias) = &check.definition.probe else { return Ok(()) };
        if self.settings.access.is_off() {
            return Ok(());
        }
        let node = if alias.node.is_empty() { &check.definition.node } else { &alias.node };
        self.need(Resource::Node, node, Right::Read)?;
        if alias.instance.is_empty() {
            return Ok(());
        }
        let members = snapshot.node(node).into_iter().flat_map(|entry| entry.instances.iter());
        match members.into_iter().find(|member| member.instance.id == alias.instance) {
            Some(member) => self.need(Resource::Service, &member.instance.service, Right::Read),
            None => Err(Failure::missing(format!("the alias's ServiceID {:?} does not exist", alias.instance))),
        }
    }

    /// Refuses to touch checks of these ids that are there and belong to what may not be changed: registering one again
    /// takes it away from whom it belonged to.
    pub(super) fn need_checks<'a>(
        &self,
        entry: Option<&NodeEntry>,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let Some(entry) = entry else { return Ok(()) };
        for id in ids {
            let is_it = |check: &Arc<Check>| check.definition.id == id;
            if entry.checks.iter().any(is_it) {
                self.need_write(Resource::Node, &entry.node.name)?;
            }
            if let Some(member) = entry.instances.iter().find(|member| member.checks.iter().any(is_it)) {
                self.need_write(Resource::Service, &member.instance.service)?;
            }
        }
        Ok(())
    }

    /// Whether something is shown. What is not shown leaves a mark.
    pub(super) fn sees(&self, resource: Resource, name: &str) -> bool {
        let sees = self.has(resource, name, Right::Read);
        if !sees {
            self.hide();
        }
        sees
    }

    /// Whether a member is shown, by its service and its node.
    pub(super) fn sees_member(&self, member: &Member) -> bool {
        self.sees(Resource::Service, &member.instance.service) && self.sees(Resource::Node, &member.node.name)
    }

    /// Whether whoever sent a token is to be told that there is more than it may see.
    pub(super) fn is_partial(&self) -> bool {
        self.sent && self.hides()
    }
}

/// The token that a request brings.
pub(super) fn sent<'a>(query: &'a Query, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = query.get("token").filter(|token| !token.is_empty());
    let header = || headers.get("x-consul-token")?.to_str().ok().filter(|token| !token.is_empty());
    named.or_else(header).or_else(|| bearer(headers))
}

/// The word behind `Bearer`, in any case; other schemes are not ours.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.split_whitespace().next()).flatten()
}

/// Takes as long for a wrong secret as for one that is nearly right.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, prefix: bool, right: Right) -> Rule {
        Rule { resource: Resource::Service, name: name.into(), prefix, right }
    }

    #[test]
    fn the_most_exact_rule_counts() {
        let access = Access { default: Right::Deny, ..Access::default() };
        let rules = [
            rule("", true, Right::Read),
            rule("we", true, Right::Deny),
            rule("web", false, Right::Write),
            rule("web-a", true, Right::Write),
            rule("web-a", true, Right::Read),
        ];
        let expected = [
            ("stock", Right::Read),
            ("wednesday", Right::Deny),
            ("WEDNESDAY", Right::Deny),
            ("web", Right::Write),
            ("Web", Right::Write),
            ("web-api", Right::Read),
        ];
        for (name, right) in expected {
            assert_eq!(access.right(&rules, Resource::Service, name), right, "{name}");
        }
        assert_eq!(access.right(&rules, Resource::Node, "web"), Right::Deny);
        let key = |name: &str| Rule { resource: Resource::Key, name: name.into(), prefix: true, right: Right::Read };
        assert_eq!(access.right(&[key("app/")], Resource::Key, "app/a"), Right::Read);
        assert_eq!(access.right(&[key("app/")], Resource::Key, "App/a"), Right::Deny, "keys have a case");
    }

    #[test]
    fn no_secret_is_shown() {
        let token = Token { secret: "s3cret".into(), accessor: "a".into(), rules: Vec::new() };
        assert!(!format!("{token:?}").contains("s3cret"));
    }
}

//! What of a text a report must not repeat: keys, passwords and what else is a secret by the name of its key.
//!
//! It reads the text a second time, which only happens when there is a problem to be shown.

use super::near::nearest;
use super::problem::Problem;
use super::source::{Origin, Source};
use crate::sink;
use serde_saphyr::granit_parser::{Event, Parser, Span};
use std::collections::HashMap;

/// What stands in place of one character of a secret, or of a whole one in a message.
pub(super) const HIDDEN: char = '…';
/// Texts beyond this are not read a second time for the sake of warnings.
const WARNED_MAX: usize = 1 << 20;
/// Shorter secrets are replaced where they stand in quotes: elsewhere they may be part of any word.
const SHORT: usize = 4;
/// To how many characters messages cut what they repeat.
const CUTS: [usize; 3] = [240, 60, 40];
/// Keys of credentials that are none themselves.
const HARMLESS: [&str; 13] = [
    "id",
    "tags",
    "username",
    "algorithm",
    "consumer",
    "created_at",
    "group",
    "custom_id",
    "ttl",
    "rsa_public_key",
    "name",
    "hash_secret",
    "redirect_uris",
];
/// Sections of a plugin whose texts are `name:value`.
const EDITS: [&str; 5] = ["add", "append", "replace", "set", "rename"];

/// What holds for the values of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Plain,
    /// Sections of `tls` have `key` as the name of a file.
    Tls,
    /// Credentials of a consumer: everything that is not known as harmless.
    Credentials,
    /// A list of `name:value`, or a section of them.
    Pairs,
    /// What a transforming plugin adds.
    Edits,
    Secret,
}

/// Whether a value of this name is a secret wherever it stands in a configuration.
pub(super) fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let key = plain.ends_with("key") && !plain.ends_with("publickey");
    let many = ["keys", "secrets", "tokens", "passwords", "passphrase", "passphrases"];
    let many = !plain.ends_with("publickeys") && many.iter().any(|end| plain.ends_with(end));
    // A slip of the pen does not make a password public.
    let near = || nearest(&plain, ["password", "secret", "token", "passphrase"]).is_some();
    !plain.starts_with("hide") && (key || many || sink::is_secret(name) || near())
}

fn is_credentials(name: &str) -> bool {
    name == "jwt_secrets" || name.ends_with("_credentials")
}

impl Within {
    /// What holds for the value of a key in a section for which this does.
    fn key(self, key: &str) -> Within {
        match self {
            Within::Secret => Within::Secret,
            Within::Credentials if HARMLESS.contains(&key) => Within::Plain,
            Within::Credentials => Within::Secret,
            Within::Pairs => Within::Secret,
            Within::Tls if key == "key" => Within::Plain,
            Within::Tls if key == "certificates" => Within::Tls,
            _ if is_credentials(key) => Within::Credentials,
            _ if is_secret(key) => Within::Secret,
            Within::Edits if matches!(key, "headers" | "querystring" | "body") => Within::Secret,
            _ if key == "headers" => Within::Pairs,
            _ if key == "tls" => Within::Tls,
            _ if EDITS.contains(&key) => Within::Edits,
            _ => Within::Plain,
        }
    }

    fn path(path: &str) -> Within {
        let part = |part: &str| part.split('[').next().unwrap_or_default().to_owned();
        path.split('.').map(part).fold(Within::Plain, |within, part| within.key(&part))
    }
}

/// Whether a value at this path is a secret.
pub(super) fn secret_at(path: &str) -> bool {
    matches!(Within::path(path), Within::Secret | Within::Credentials)
}

/// A stretch of the text, and what a message may have made of it.
struct Stretch {
    start: usize,
    end: usize,
    words: Vec<String>,
}

/// Every secret of one text.
pub(super) struct Secrets {
    stretches: Vec<Stretch>,
    /// Up to here the text could be parsed.
    known: usize,
}

struct Open {
    within: Within,
    /// Of the key that was read last, when its value has not come yet.
    key: Option<Within>,
    list: bool,
    anchor: usize,
    start: usize,
}

impl Secrets {
    pub(super) fn of(source: &Source) -> Secrets {
        let mut all = Secrets { stretches: Vec::new(), known: 0 };
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, (usize, usize, String)> = HashMap::new();
        // A variable's name is a path.
        let top = match (source.origin, source.name.strip_prefix('$')) {
            (Origin::Env, Some(name)) => {
                name.to_ascii_lowercase().split("__").fold(Within::Plain, |within, part| within.key(part))
            }
            _ => Within::Plain,
        };
        if top == Within::Secret {
            all.add(0, source.text.len(), &source.text);
        }
        for event in Parser::new_from_str(&source.text) {
            let Ok((event, span)) = event else { return all };
            let (start, end) = range(&span);
            all.known = all.known.max(end);
            match event {
                Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                    let list = matches!(event, Event::SequenceStart(..));
                    let within = next(&mut open, top);
                    open.push(Open { within, key: None, list, anchor, start });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(done) = open.pop().filter(|o| o.anchor != 0) {
                        anchors.insert(done.anchor, (done.start, end, String::new()));
                    }
                }
                Event::Scalar(text, _, anchor, _) => {
                    if anchor != 0 {
                        anchors.insert(anchor, (start, end, text.to_string()));
                    }
                    match open.last_mut() {
                        Some(section) if !section.list && section.key.is_none() => {
                            section.key = Some(section.within.key(&text));
                            let inside = section.within == Within::Secret;
                            if inside || glued(&text) {
                                all.add(start, end, &text);
                            }
                        }
                        _ => {
                            let pair = open.last().is_some_and(|o| o.list && o.within == Within::Pairs);
                            let within = next(&mut open, top);
                            all.scalar(start, end, &text, within, pair, &source.text);
                        }
                    }
                }
                Event::Alias(id) => {
                    let within = next(&mut open, top);
                    if within != Within::Plain
                        && let Some((start, end, text)) = anchors.get(&id)
                    {
                        all.add(*start, *end, text);
                    }
                }
                _ => {}
            }
        }
        all.known = usize::MAX;
        all
    }

    fn scalar(&mut self, start: usize, end: usize, text: &str, within: Within, pair: bool, source: &str) {
        // A switch is no secret.
        if matches!(text, "true" | "false" | "null" | "~" | "") {
            return;
        }
        let hidden = match within {
            Within::Secret | Within::Credentials => true,
            Within::Pairs => !pair || text.contains([':', '=']),
            _ => glued(text) || text.contains("PRIVATE KEY"),
        };
        if hidden {
            return self.add(start, end, text);
        }
        if let Some(user) = user_info(text) {
            let raw = source.get(start..end).unwrap_or_default();
            let (from, to) = user_info(raw).map_or((start, end), |(a, b)| (start + a, start + b));
            let whole = text.get(user.0..user.1).unwrap_or_default();
            self.add(from, to, whole);
            // A message may have cut it within.
            if let Some(last) = self.stretches.last_mut() {
                last.words.extend(cuts(text).filter(|cut| !cut.contains(whole)));
            }
        }
        for (a, b) in sink::secrets_of(source.get(start..end).unwrap_or_default()) {
            let words = source.get(start + a..start + b).unwrap_or_default().to_owned();
            self.add(start + a, start + b, &words);
        }
    }

    fn add(&mut self, start: usize, end: usize, text: &str) {
        let mut words: Vec<String> = std::iter::once(text.to_owned()).chain(cuts(text)).collect();
        words.extend(text.trim().split_once([':', '=']).map(|(_, rest)| rest.trim().to_owned()));
        words.retain(|w| !w.trim().is_empty());
        self.stretches.push(Stretch { start, end, words });
    }

    /// A line's characters from one byte to another, with those of secrets replaced; none when that is uncertain.
    pub(super) fn line(&self, text: &str, from: usize, to: usize) -> Option<String> {
        let part = text.get(from..to)?;
        let near: Vec<&Stretch> = self.stretches.iter().filter(|s| s.start < to && s.end > from).collect();
        let line_end = text.get(to..).and_then(|t| t.find('\n')).map_or(text.len(), |i| to + i);
        if line_end > self.known && uncertain(text, from, line_end) {
            return None;
        }
        let secret = |at: usize| near.iter().any(|s| (s.start..s.end).contains(&at));
        let shown = part.char_indices().map(|(i, c)| if secret(from + i) && c != '\t' { HIDDEN } else { c });
        let mut shown: String = shown.collect();
        // What is left, such as a comment.
        for (a, b) in sink::secrets_of(&shown.clone()).into_iter().rev() {
            let dots = shown.get(a..b).map_or(0, |t| t.chars().count());
            shown.replace_range(a..b, &HIDDEN.to_string().repeat(dots));
        }
        Some(shown)
    }

    /// Takes the secrets of some bytes out of the words of a problem.
    pub(super) fn discreet(&self, problem: &mut Problem, from: usize, to: usize) {
        for stretch in self.stretches.iter().filter(|s| s.start <= to && s.end >= from) {
            stretch.words.iter().for_each(|word| without(problem, word));
        }
    }
}

/// Whether a text is too long to be read again for warnings only.
pub(super) fn too_long(text: &str) -> bool {
    text.len() > WARNED_MAX
}

/// Takes one secret out of what a problem says.
pub(super) fn without(problem: &mut Problem, word: &str) {
    let dots = HIDDEN.to_string();
    let place = format!("`{}`", problem.key);
    // The path that a message begins with is not the secret, unless somebody wrote the secret as a key.
    let clean = |text: &str| -> String {
        let (head, rest) = match text.strip_prefix(&place) {
            Some(rest) => (place.as_str(), rest),
            None => ("", text),
        };
        if word.chars().count() >= SHORT {
            return format!("{head}{}", rest.replace(word, &dots));
        }
        let mut rest = rest.to_owned();
        for (a, b) in [('\'', '\''), ('`', '`'), ('"', '"'), ('[', ']')] {
            rest = rest.replace(&format!("{a}{word}{b}"), &format!("{a}{dots}{b}"));
        }
        format!("{head}{rest}")
    };
    let (message, fix) = (clean(&problem.message), clean(&problem.fix));
    (problem.message, problem.fix) = (message, fix);
    if word.contains([':', '=']) && problem.key.contains(word) {
        problem.key = problem.key.replace(word, &dots);
        problem.message = problem.message.replace(word, &dots);
    }
}

fn range(span: &Span) -> (usize, usize) {
    span.byte_range().map_or((0, 0), |r| (r.start, r.end))
}

/// What holds for the value that comes now.
fn next(open: &mut [Open], top: Within) -> Within {
    match open.last_mut() {
        None => top,
        Some(Open { list: true, within, .. }) => *within,
        Some(section) => section.key.take().unwrap_or(section.within),
    }
}

fn cuts(text: &str) -> impl Iterator<Item = String> {
    CUTS.into_iter().filter(|n| text.chars().nth(*n).is_some()).map(|n| text.chars().take(n).collect())
}

/// `key:secret` without a space is one word for YAML.
fn glued(text: &str) -> bool {
    text.split_once([':', '='])
        .is_some_and(|(name, rest)| !rest.is_empty() && is_secret(name.trim().trim_matches(['"', '\'', '{', ' ', '-'])))
}

/// Where `user:password` stands in front of an `@`.
pub(super) fn user_info(text: &str) -> Option<(usize, usize)> {
    let end = text.rfind('@')?;
    let before = text.get(..end)?;
    let start = before.find("://").map_or(0, |i| i + 3);
    let user = before.get(start..)?;
    let user_only = start == 0 && !user.contains(':');
    (!user.is_empty() && !user_only && !user.contains(char::is_whitespace)).then_some((start, end))
}

/// Whether a line of a text that is no YAML may hold a secret: by its own words, or by the section it is in.
fn uncertain(text: &str, from: usize, to: usize) -> bool {
    let start = text.get(..from).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let line = text.get(start..to).unwrap_or_default();
    let lower = line.to_ascii_lowercase();
    let words = ["key", "secret", "password", "passphrase", "token", "credential", "authorization", "auth", "@", "//"];
    if !line.contains([':', '=']) || words.iter().any(|w| lower.contains(w)) {
        return !line.trim().is_empty();
    }
    // A list's entry may stand as deep as its section.
    let depth = |line: &str| line.len() - line.trim_start_matches([' ', '\t', '-']).len();
    let mut within = depth(line);
    for above in text.get(..start).unwrap_or_default().lines().rev().filter(|l| !l.trim().is_empty()) {
        let here = depth(above);
        let name =
            above.trim_start_matches([' ', '\t', '-']).split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
        if here < within {
            if is_secret(name) || is_credentials(name) || name == "headers" {
                return true;
            }
            within = here;
        }
    }
    false
}

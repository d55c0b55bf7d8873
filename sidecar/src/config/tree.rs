//! YAML text to a tree of nodes that know their places.
//!
//! It reads the events of the parser that serde-saphyr stands on, not serde values: those would stop at the
//! first mistake and forget the places of keys.

use super::problem::Problems;
use super::source::Span;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Nesting beyond this is no configuration.
const DEPTH_MAX: usize = 48;
/// Nodes of one text, those that aliases repeat included: a few lines of aliases can stand for billions.
const NODES_MAX: usize = 300_000;
/// Entries of one list: as many as a registry takes instances.
const ITEMS_MAX: usize = 16_384;
/// Entries of one section.
const ENTRIES_MAX: usize = 2_048;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`: as if the key were not there.
    Null,
    /// A scalar; `plain` when it stood without quotes, so that `5` is a number and `"5"` is not.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Reported already; whoever reads on passes over it.
    Bad,
}

/// A key. The same few words stand in a text again and again, so they share their memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word(Arc<str>);

impl Word {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Word {
        Word(text.into())
    }
}

impl std::ops::Deref for Word {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<Word> for &str {
    fn eq(&self, other: &Word) -> bool {
        **self == *other.0
    }
}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Word,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn map(span: Span) -> Self {
        Node { value: Value::Map(Vec::new()), span }
    }

    pub(crate) fn scalar(text: impl Into<String>, span: Span) -> Self {
        Node { value: Value::Scalar { text: text.into(), plain: false }, span }
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
            _ => None,
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// The value of a key, when there is one and it says something.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value).filter(|n| n.value != Value::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Sets a key of a section, replacing what was there; anything but a section becomes one.
    pub(crate) fn set(&mut self, key: &str, key_span: Span, value: Node) {
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        if let Value::Map(entries) = &mut self.value {
            match entries.iter_mut().find(|e| e.key == key) {
                Some(entry) => *entry = Entry { key: key.into(), key_span, value },
                None => entries.push(Entry { key: key.into(), key_span, value }),
            }
        }
    }

    /// Takes a key out of a section.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Map(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|e| e.key == key)?;
        Some(entries.remove(at))
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|e| 1 + e.value.count()).sum(),
            _ => 0,
        }
    }
}

/// How much one text may hold.
pub(crate) struct Limits {
    /// Values, those that aliases repeat included.
    pub(crate) nodes: usize,
    /// Entries of one list.
    pub(crate) items: usize,
}

/// Parses one text of `problems.sources`. None: it is no YAML, and that has been reported.
pub(crate) fn parse(source: u16, problems: &mut Problems) -> Option<Node> {
    parse_within(source, &Limits { nodes: NODES_MAX, items: ITEMS_MAX }, problems)
}

/// The same with other limits.
pub(crate) fn parse_within(source: u16, limits: &Limits, problems: &mut Problems) -> Option<Node> {
    let text = problems.sources.shared(source)?;
    let mut builder = Builder {
        source,
        limits,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        words: HashSet::new(),
        nodes: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(&text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(ok) => ok,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let words = error.info();
                let span = builder.pointed(&text, at);
                builder.problems.error(
                    span,
                    "syntax",
                    "",
                    format!("this is not YAML: {words}"),
                    syntax_fix(&text, span),
                );
                return None;
            }
        };
        let span = builder.span(span);
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                builder.problems.error(span, "syntax", "", "a second document begins here", "keep one document a file");
                break;
            }
        }
        builder.event(event, span)?;
    }
    let root = builder.root;
    Some(root.unwrap_or(Node { value: Value::Null, span: Span { source, start: 0, end: 0 } }))
}

fn syntax_fix(text: &str, span: Span) -> &'static str {
    let line_start = text.get(..span.start as usize).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
    let line = text.get(line_start..).and_then(|t| t.lines().next()).unwrap_or("");
    match line.trim_start_matches(' ').starts_with('\t') {
        true => "indent with spaces; YAML takes no tabs there",
        false => {
            "look for a missing `:` or space, an open quote or bracket, or a wrong indentation at or above this line"
        }
    }
}

enum Open {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(Word, Span)>),
}

struct Builder<'a> {
    source: u16,
    limits: &'a Limits,
    problems: &'a mut Problems,
    open: Vec<(Open, Span, usize)>,
    anchors: HashMap<usize, Node>,
    /// Keys that were there before.
    words: HashSet<Arc<str>>,
    nodes: usize,
    root: Option<Node>,
}

/// As many words are kept to be shared; what a text has beside them are names of somebody's own.
const WORDS_MAX: usize = 512;

fn word(known: &mut HashSet<Arc<str>>, text: &str) -> Word {
    if let Some(word) = known.get(text) {
        return Word(word.clone());
    }
    let new: Arc<str> = text.into();
    if known.len() < WORDS_MAX {
        known.insert(new.clone());
    }
    Word(new)
}

impl Builder<'_> {
    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        Span::new(self.source, range.start, range.end)
    }

    /// From a byte to the end of the word there; at the end of the text, its last line that says something.
    fn pointed(&self, text: &str, at: usize) -> Span {
        let at = at.min(text.trim_end().len());
        Span::new(self.source, at, at + 1)
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tagged = self.tagged(tag.as_deref(), span);
                let plain = style == ScalarStyle::Plain && !tagged;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    _ => Value::Scalar { text: text.into_owned(), plain },
                };
                self.node(Node { value, span }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), span);
                self.begin(Open::List(Vec::new()), span, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tagged(tag.as_deref(), span);
                self.begin(Open::Map(Vec::new(), None), span, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (open, start, anchor) = self.open.pop()?;
                // Most are short, and a hundred thousand of them should not hold room for more.
                let value = match open {
                    Open::List(mut items) => {
                        items.shrink_to_fit();
                        Value::List(items)
                    }
                    Open::Map(entries, _) => {
                        let mut entries = self.merged(entries);
                        entries.shrink_to_fit();
                        Value::Map(entries)
                    }
                };
                // A section's underline is its first line at most, which the place takes care of.
                let span = Span { source: self.source, start: start.start, end: span.end.max(start.end) };
                self.nodes = self.nodes.saturating_sub(1);
                self.node(Node { value, span }, anchor)
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    self.problems.error(span, "syntax", "", "this alias stands inside its own anchor", "write it out");
                    return None;
                };
                self.nodes += node.count();
                self.node(node, 0)
            }
            _ => Some(()),
        }
    }

    /// Whether a tag makes text of a scalar; tags of applications are reported.
    fn tagged(&mut self, tag: Option<&granit_parser::Tag>, span: Span) -> bool {
        match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema() => tag.core_suffix() == Some("str"),
            Some(tag) => {
                let message = format!("the tag `{}` means nothing here", tag.original());
                self.problems.error(span, "syntax", "", message, "remove the tag");
                false
            }
        }
    }

    fn begin(&mut self, open: Open, span: Span, anchor: usize) -> Option<()> {
        self.nodes += 1;
        self.open.push((open, span, anchor));
        self.within(self.open.len() <= DEPTH_MAX, span)
    }

    fn within(&mut self, ok: bool, span: Span) -> Option<()> {
        if !ok {
            let message = format!(
                "too much to be a configuration: at most {DEPTH_MAX} levels, {} values, {} in one list, {ENTRIES_MAX} in one section",
                self.limits.nodes, self.limits.items
            );
            self.problems.error(span, "too-large", "", message, "shorten it");
            return None;
        }
        Some(())
    }

    fn node(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.nodes += 1;
        self.within(self.nodes <= self.limits.nodes, node.span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            self.nodes += node.count();
        }
        let span = node.span;
        let ok = match self.open.last_mut() {
            None => {
                self.root = Some(node);
                true
            }
            Some((Open::List(items), ..)) => {
                items.push(node);
                items.len() <= self.limits.items
            }
            Some((Open::Map(entries, key), ..)) => match key.take() {
                None => {
                    match node.value {
                        Value::Scalar { text, .. } => *key = Some((word(&mut self.words, &text), span)),
                        Value::Null => *key = Some(("null".into(), span)),
                        _ => {
                            self.problems.error(
                                span,
                                "syntax",
                                "",
                                "a key must be a single word",
                                "remove the brackets",
                            );
                            return None;
                        }
                    }
                    true
                }
                Some((key, key_span)) => {
                    if let Some(first) = entries.iter().find(|e| e.key == key) {
                        let line = self.problems.sources.place(first.key_span).map_or(0, |p| p.line);
                        let message = format!("`{key}` stands twice; first on line {line}");
                        self.problems.error(key_span, "duplicate-key", &key, message, "keep one of them");
                    } else {
                        entries.push(Entry { key, key_span, value: node });
                    }
                    entries.len() <= ENTRIES_MAX
                }
            },
        };
        self.within(ok, span)
    }

    /// `<<: *anchor` brings the keys of another section, which those written here override.
    fn merged(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let Some(at) = entries.iter().position(|e| e.key == "<<") else { return entries };
        let merge = entries.remove(at).value;
        let span = merge.span;
        let parts = match merge.value {
            Value::List(items) => items,
            _ => vec![merge],
        };
        for part in parts {
            let Value::Map(more) = part.value else {
                self.problems.error(
                    span,
                    "wrong-type",
                    "<<",
                    "`<<` takes a section or a list of them",
                    "name an anchor",
                );
                continue;
            };
            for entry in more {
                if !entries.iter().any(|e| e.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
        entries
    }
}

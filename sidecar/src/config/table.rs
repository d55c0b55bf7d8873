//! How the configuration is described: sections, keys, kinds. [`super::keys`] is the description itself.

use super::value::{self, Wrong};
use std::time::Duration;

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fallback: Fallback,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
    /// False: the key is part of Fourmi's design, and refused by name until it does something.
    pub(crate) supported: bool,
}

/// What holds when a key is not there.
#[derive(Debug)]
pub(crate) enum Fallback {
    /// Nothing.
    None,
    /// This YAML.
    Yaml(&'static str),
    /// Something found out at start, in words.
    Words(&'static str),
}

pub(crate) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, fallback: Fallback::None, required: false, doc, supported: true }
}

pub(crate) const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Any, fallback: Fallback::None, required: false, doc, supported: false }
}

impl Key {
    pub(crate) const fn or(mut self, yaml: &'static str) -> Key {
        self.fallback = Fallback::Yaml(yaml);
        self
    }
    pub(crate) const fn or_words(mut self, words: &'static str) -> Key {
        self.fallback = Fallback::Words(words);
        self
    }
    pub(crate) const fn required(mut self) -> Key {
        self.required = true;
        self
    }
}

/// A word of a closed list.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) supported: bool,
}

pub(crate) const fn word(name: &'static str) -> Word {
    Word { name, supported: true }
}

pub(crate) const fn later_word(name: &'static str) -> Word {
    Word { name, supported: false }
}

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Anything; only for keys that are not supported yet.
    Any,
    /// Text of a shape.
    Text(Shape),
    /// true or false.
    Flag,
    /// A whole number, or one word.
    Count { min: u64, max: u64, word: Option<&'static str> },
    /// A duration, or `off`.
    Duration { min: Duration, off: bool },
    /// A size.
    Bytes { min: u64, max: u64 },
    /// One word of a list.
    Word(&'static [Word]),
    /// A list.
    List(&'static Kind),
    /// One, or a list.
    OneOrMany(&'static Kind),
    /// A section of known keys.
    Section(&'static [Key]),
    /// A section, or a scalar or list that stands for the section's key of that name.
    Short(&'static str, &'static [Key]),
    /// A section, or `off`.
    OrOff(&'static [Key]),
    /// A section with names of the user's own.
    Named(Shape, &'static Kind),
    /// A section with exactly one of these keys; its name alone stands for it with nothing in it.
    Choice(&'static [Key]),
}

/// The shape of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Free,
    Target,
    Listen(u16),
    Socket,
    Udp(u16),
    Network,
    Pointer,
    Path,
    TagKey,
    ServiceName,
}

impl Shape {
    pub(crate) fn check(self, text: &str) -> Result<(), Wrong> {
        match self {
            Shape::Free => value::free(text).map(drop),
            Shape::Target => value::target(text).map(drop),
            Shape::Listen(port) => value::listen(text, port).map(drop),
            Shape::Socket => value::socket(text).map(drop),
            Shape::Udp(port) => value::udp(text, port).map(drop),
            Shape::Network => value::network(text).map(drop),
            Shape::Pointer => value::pointer(text).map(drop),
            Shape::Path => value::http_path(text).map(drop),
            Shape::TagKey => value::tag_key(text).map(drop),
            Shape::ServiceName => value::service_name(text).map(drop),
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Shape::Free => "text",
            Shape::Target => "an address such as http://127.0.0.1:8080, h2c://…, unix:/run/w.sock",
            Shape::Listen(_) => "where to listen, such as http://0.0.0.0:25001 or unix:/run/f.sock",
            Shape::Socket => "an address and port such as 127.0.0.1:9901",
            Shape::Udp(_) => "a receiver such as udp://host:port",
            Shape::Network => "a network such as 10.0.0.0/8",
            Shape::Pointer => "a JSON pointer such as /command",
            Shape::Path => "a path such as /healthz",
            Shape::TagKey => "a tag's key",
            Shape::ServiceName => "a service's name",
        }
    }
}

impl Kind {
    /// What to write, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Kind::Any => "anything".into(),
            Kind::Text(shape) => shape.words().into(),
            Kind::Flag => "`true` or `false`".into(),
            Kind::Count { word: None, .. } => "a whole number".into(),
            Kind::Count { word: Some(word), .. } => format!("a whole number or `{word}`"),
            Kind::Duration { off: false, .. } => "a duration such as 10s".into(),
            Kind::Duration { off: true, .. } => "a duration such as 10s, or `off`".into(),
            Kind::Bytes { .. } => "a size such as 64KiB".into(),
            Kind::Word(words) => {
                let known: Vec<String> =
                    words.iter().filter(|w| w.supported).map(|w| format!("`{}`", w.name)).collect();
                format!("one of {}", known.join(", "))
            }
            Kind::List(of) => format!("a list, each {}", of.words()),
            Kind::OneOrMany(of) => format!("{}, or a list of them", of.words()),
            Kind::Section(_) => "a section".into(),
            Kind::Short(_, _) => "an address, a list of them, or a section".into(),
            Kind::OrOff(_) => "a section, or `off`".into(),
            Kind::Named(key, of) => format!("a section of {} and {}", key.words(), of.words()),
            Kind::Choice(keys) => {
                let known: Vec<String> = keys.iter().filter(|k| k.supported).map(|k| format!("`{}`", k.name)).collect();
                format!("one of the sections {}", known.join(", "))
            }
        }
    }

    /// The keys of a section, whatever else may stand for it.
    pub(crate) fn keys(&self) -> Option<&'static [Key]> {
        match self {
            Kind::Section(keys) | Kind::Short(_, keys) | Kind::OrOff(keys) => Some(keys),
            _ => None,
        }
    }
}

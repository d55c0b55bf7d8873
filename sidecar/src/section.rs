//! How a section of the configuration is described: keys and kinds. A part that has a section of its own describes
//! it with these words; the configuration checks, fills, shows and documents it, and hands it back.

pub(crate) mod address;

use std::time::Duration;

/// Why a value can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The code of the problem.
    pub(crate) code: &'static str,
    /// The key inside the section, when it is not the section as a whole.
    pub(crate) key: Option<&'static str>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl Wrong {
    /// A value that can't be.
    pub(crate) fn new(message: impl Into<String>, fix: impl Into<String>) -> Wrong {
        Wrong { code: "bad-value", key: None, message: message.into(), fix: fix.into() }
    }

    /// Something that Fourmi will do one day.
    pub(crate) fn later(what: &str, fix: impl Into<String>) -> Wrong {
        Wrong { code: "not-supported", key: None, message: format!("{what} is not supported yet"), fix: fix.into() }
    }

    /// The same, of this key.
    pub(crate) fn of(mut self, key: &'static str) -> Wrong {
        self.key = Some(key);
        self
    }
}

/// One key of a section.
#[derive(Debug, Clone, Copy)]
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
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fallback {
    /// Nothing.
    None,
    /// This YAML.
    Yaml(&'static str),
    /// Something found out at start, in words.
    Words(&'static str),
    /// The key does not belong here: what to do instead.
    Elsewhere(&'static str),
}

pub(crate) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, fallback: Fallback::None, required: false, doc, supported: true }
}

pub(crate) const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Any, fallback: Fallback::None, required: false, doc, supported: false }
}

/// Several lists of keys as one of `N`.
pub(crate) const fn join<const N: usize>(lists: &[&[Key]]) -> [Key; N] {
    let mut all = [later("", ""); N];
    let (mut n, mut i) = (0, 0);
    while i < lists.len() {
        let mut k = 0;
        while k < lists[i].len() {
            all[n] = lists[i][k];
            n += 1;
            k += 1;
        }
        i += 1;
    }
    all
}

/// A key of the same section elsewhere, which is a mistake here; `fix` says what to do.
pub(crate) const fn elsewhere(name: &'static str, fix: &'static str) -> Key {
    let fallback = Fallback::Elsewhere(fix);
    Key { name, kind: Kind::Any, fallback, required: false, doc: "", supported: false }
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) supported: bool,
}

pub(crate) const fn word(name: &'static str) -> Word {
    Word { name, supported: true }
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Anything: what is not supported yet, or is checked by others.
    Any,
    /// Text of a shape.
    Text(Shape),
    /// true or false.
    Flag,
    /// A whole number, or one of these words.
    Count { min: u64, max: u64, word: Option<&'static [&'static str]> },
    /// A duration, or `off`.
    Duration { min: Duration, off: bool },
    /// A duration, or a number, which is one of seconds as Kong writes it.
    Seconds { max: Duration },
    /// A size.
    Bytes { min: u64, max: u64 },
    /// A number from 0 to 1.
    Share,
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
    /// Schemes and the default port.
    Receiver(&'static [&'static str], u16),
    File,
    Field,
    /// Longer than other texts may be, and shown to nobody.
    Secret,
    Header,
    Network,
    DnsName,
    /// A name or how it begins; it may be empty.
    Prefix,
    Pointer,
    Path,
    TagKey,
    ServiceName,
}

impl Shape {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Shape::Free => "text",
            Shape::Target => "an address such as http://127.0.0.1:8080, https://…, h2c://…, unix:/run/w.sock",
            Shape::Listen(_) => "where to listen, such as http://0.0.0.0:25001, https://… or unix:/run/f.sock",
            Shape::Socket => "an address and port such as 127.0.0.1:9901",
            Shape::Receiver(..) => "a receiver such as udp://host:port",
            Shape::File => "a file's path",
            Shape::Field => "a field's name",
            Shape::Secret => "a secret text",
            Shape::Header => "a header's name",
            Shape::Network => "a network such as 10.0.0.0/8",
            Shape::Prefix => "a name, or how it begins",
            Shape::DnsName => "a name such as skydns.local",
            Shape::Pointer => "a JSON pointer such as /command",
            Shape::Path => "a path such as /healthz",
            Shape::TagKey => "a tag's key",
            Shape::ServiceName => "a service's name",
        }
    }
}

/// What the short form of a section is, in words.
fn short(long: &str, keys: &[Key]) -> String {
    keys.iter().find(|k| k.name == long).map_or_else(|| "a value".into(), |k| k.kind.words())
}

impl Kind {
    /// What to write, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Kind::Any => "anything".into(),
            Kind::Text(shape) => shape.words().into(),
            Kind::Flag => "`true` or `false`".into(),
            Kind::Count { word: None, .. } => "a whole number".into(),
            Kind::Count { word: Some(words), .. } => format!("a whole number or `{}`", words.join("`, `")),
            Kind::Duration { off: false, .. } => "a duration such as 10s".into(),
            Kind::Duration { off: true, .. } => "a duration such as 10s, or `off`".into(),
            Kind::Seconds { .. } => "a number of seconds, or a duration such as 500ms".into(),
            Kind::Bytes { .. } => "a size such as 64KiB".into(),
            Kind::Share => "a number from 0 to 1".into(),
            Kind::Word(words) => {
                let known: Vec<String> =
                    words.iter().filter(|w| w.supported).map(|w| format!("`{}`", w.name)).collect();
                format!("one of {}", known.join(", "))
            }
            Kind::List(of) => format!("a list, each {}", of.words()),
            Kind::OneOrMany(Kind::Short(long, keys)) => format!("{}, a section, or a list of them", short(long, keys)),
            Kind::OneOrMany(of) => format!("{}, or a list of them", of.words()),
            Kind::Section(_) => "a section".into(),
            Kind::Short(long, keys) => match keys.iter().find(|k| k.name == *long).map(|k| k.kind) {
                Some(Kind::OneOrMany(Kind::Short(long, keys))) => {
                    format!("{}, a list of them, or a section", short(long, keys))
                }
                _ => format!("{}, or a section", short(long, keys)),
            },
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

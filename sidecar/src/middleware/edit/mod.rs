//! What transformers do to lists of names with values: headers, arguments, members of bodies.

pub(super) mod json;
pub(super) mod lines;
pub(super) mod multipart;
pub(super) mod pairs;

use super::template::{Failed, Template};
use crate::exchange::Exchange;
use crate::gateway::fields::Fields;
use std::borrow::Cow;

/// A body that is longer passes as it is.
pub(super) const BODY_MAX: usize = 8 << 20;

/// The five steps, in the order of Kong.
pub(super) const STEPS: [&str; 5] = ["remove", "rename", "replace", "add", "append"];

/// Whether something was changed.
pub(super) type Done = Result<bool, Failed>;

/// A value that is put somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// A text.
    Text(&'a [u8]),
    /// A text, or in JSON this.
    Json(&'a str),
}

impl<'a> Value<'a> {
    /// As it stands in anything but JSON.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Text(text) => text,
            Value::Json(json) => json.as_bytes(),
        }
    }
}

/// Something with names and values in it.
pub(super) trait Edit {
    /// Takes away all of a name.
    fn remove(&mut self, name: &str) -> Done;
    /// Gives those of a name another one, in the place of those that have it.
    fn rename(&mut self, old: &str, new: &str) -> Done;
    /// Gives a name another value, if it is there.
    fn replace(&mut self, name: &str, value: Value<'_>) -> Done;
    /// Gives a name a value, if it is not there.
    fn add(&mut self, name: &str, value: Value<'_>) -> Done;
    /// Gives a name one more value.
    fn append(&mut self, name: &str, value: Value<'_>) -> Done;
}

/// A value of the configuration.
#[derive(Debug)]
pub(super) enum Text {
    /// There is none: such an entry does nothing.
    Nothing,
    /// Always the same.
    Fixed(Box<str>),
    /// The same, a JSON value.
    Json(Box<str>),
    /// Which of the templates.
    Template(usize),
}

/// What the templates of a list gave, in their order.
pub(super) type Rendered = Vec<Option<Vec<u8>>>;

/// All of them for a request.
///
/// # Errors
/// The first that has no value.
pub(super) fn render(templates: &[Template], exchange: &Exchange) -> Result<Rendered, Failed> {
    templates.iter().map(|template| template.render(exchange)).collect()
}

impl Text {
    fn value<'a>(&'a self, rendered: &'a Rendered) -> Option<Value<'a>> {
        match self {
            Text::Nothing => None,
            Text::Fixed(text) => Some(Value::Text(text.as_bytes())),
            Text::Json(json) => Some(Value::Json(json)),
            Text::Template(place) => rendered.get(*place)?.as_deref().map(Value::Text),
        }
    }
}

/// A name and what it gets.
type Entry = (Box<str>, Text);

/// What is to be done, step by step.
#[derive(Debug, Default)]
pub(super) struct Edits {
    remove: Vec<Box<str>>,
    rename: Vec<Entry>,
    replace: Vec<Entry>,
    add: Vec<Entry>,
    append: Vec<Entry>,
}

impl Edits {
    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.names().next().is_none()
    }

    fn names(&self) -> impl Iterator<Item = &Entry> {
        [&self.rename, &self.replace, &self.add, &self.append].into_iter().flatten()
    }

    /// Whether one of the steps could change this name.
    pub(super) fn names_it(&self, name: &str) -> bool {
        let fixed = |text: &Text| matches!(text, Text::Fixed(text) if **text == *name);
        self.remove.iter().any(|n| **n == *name)
            || self.names().any(|(n, _)| **n == *name)
            || self.rename.iter().any(|(_, new)| fixed(new))
    }

    /// Does it; says whether anything was changed.
    ///
    /// # Errors
    /// A value that cannot stand there.
    pub(super) fn apply(&self, of: &mut impl Edit, rendered: &Rendered) -> Done {
        let mut changed = false;
        for name in &self.remove {
            changed |= of.remove(name)?;
        }
        for (old, new) in &self.rename {
            let Some(new) = new.value(rendered) else { continue };
            changed |= of.rename(old, &String::from_utf8_lossy(new.bytes()))?;
        }
        for (name, value) in &self.replace {
            let Some(value) = value.value(rendered) else { continue };
            changed |= of.replace(name, value)?;
        }
        for (name, value) in &self.add {
            let Some(value) = value.value(rendered) else { continue };
            changed |= of.add(name, value)?;
        }
        for (name, value) in &self.append {
            let Some(value) = value.value(rendered) else { continue };
            changed |= of.append(name, value)?;
        }
        Ok(changed)
    }

    /// Reads one list of one step.
    pub(super) fn read(
        &mut self,
        fields: &mut Fields<'_>,
        step: &str,
        key: &'static str,
        kind: Kind,
        text: &mut dyn FnMut(usize, &str) -> Result<Text, String>,
    ) {
        for (at, entry) in fields.texts(key).unwrap_or_default().iter().enumerate() {
            let place = format!("{key}[{at}]");
            let (name, value) = match split(entry) {
                Some((name, value)) if value.is_some() || step == "remove" => (name, value.unwrap_or_default()),
                _ => {
                    let fix = if step == "remove" { "write a name" } else { "write name:value" };
                    fields.wrong(&place, format!("invalid value: {entry}"), fix);
                    continue;
                }
            };
            let bad =
                [(name, true), (value, step == "rename")].into_iter().find(|(n, looked)| *looked && !kind.fits(n));
            if let Some((name, _)) = bad {
                fields.wrong(&place, format!("'{name}' is not a valid {}", kind.word()), "write another name");
                continue;
            }
            let name: Box<str> = kind.form(name).into();
            if step == "remove" {
                self.remove.push(name);
                continue;
            }
            let value = match (step, value) {
                (_, "") => Ok(Text::Nothing),
                ("rename", new) if kind == Kind::Header => Ok(Text::Fixed(kind.form(new).into())),
                (_, value) => text(at, value),
            };
            match value {
                Ok(Text::Fixed(value)) if kind == Kind::Header && !lines::is_value(&name, &value) => {
                    fields.wrong(&place, format!("invalid value for {name}"), "write one that may stand in a header");
                }
                Ok(value) => {
                    let list = match step {
                        "rename" => &mut self.rename,
                        "replace" => &mut self.replace,
                        "add" => &mut self.add,
                        _ => &mut self.append,
                    };
                    list.push((name, value));
                }
                Err(why) => {
                    fields.wrong(&place, why, "no Lua runs here; docs/kong-transform.md has what may stand in $(…)")
                }
            }
        }
    }
}

/// `name:value`; as in Kong, all colons after the name belong to neither. Without a colon there is no value.
fn split(entry: &str) -> Option<(&str, Option<&str>)> {
    match entry.split_once(':') {
        _ if entry.is_empty() => None,
        Some(("", _)) => None,
        Some((name, value)) => Some((name, Some(value.trim_start_matches(':')))),
        None => Some((entry, None)),
    }
}

/// What has the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Header lines.
    Header,
    /// Anything that takes any name.
    Other,
}

impl Kind {
    fn fits(self, name: &str) -> bool {
        !name.is_empty() && (self == Kind::Other || lines::is_name(name))
    }

    fn word(self) -> &'static str {
        if self == Kind::Header { "header" } else { "name" }
    }

    fn form(self, name: &str) -> Cow<'_, str> {
        if self == Kind::Header { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
    }
}

#[cfg(test)]
mod tests;

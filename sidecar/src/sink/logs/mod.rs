//! Every kind of log sink. One file each, which describes its section of the configuration, writes an entry, and
//! sends; and one word in the list below.

use super::drain::{Inbox, Outlet};
use super::filter::{Common, LEVELS};
use super::generation::Encode;
use super::kong;
use crate::exchange::{Direction, Wants};
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

macro_rules! sinks {
    ($($module:ident)*) => {
        $(pub(super) mod $module;)*
        /// The sections that an entry of `logs:` may have.
        pub(crate) const KEYS: &[Key] = &[$($module::KEY),*];
        /// The sink of spans is one of these too, but stands in a section of its own.
        const BUILD: &[(&str, Build)] = &[$(($module::KEY.name, $module::build),)* (super::otlp::TRACES, super::otlp::traces)];
    };
}

sinks! { stdout file graylog syslog otlp loggly splunk datadog http }

/// Makes a sink of its section's values.
type Build = fn(&Json) -> Result<Sink, Wrong>;

/// What a sender does until its outlet ends.
pub(crate) type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One sink, ready to go.
pub(crate) struct Sink {
    /// Where it sends, for people.
    pub(crate) target: String,
    /// How it writes an entry.
    pub(crate) encode: Box<dyn Encode>,
    /// How it sends what was written.
    pub(crate) send: Sender,
}

/// Makes a sender of a sink's two sides.
pub(crate) type Sender = Box<dyn FnOnce(Arc<Outlet>, Inbox) -> Sending + Send>;

/// One entry of `logs:`. Two that are equal are the same sink.
#[derive(Clone, PartialEq)]
pub struct LogSettings {
    name: &'static str,
    of: Of,
}

/// Where it stands.
#[derive(Clone, PartialEq)]
enum Of {
    /// In a section, whose values these are, defaults included.
    Section(Json),
    /// In a Kong file.
    Plugin(Arc<kong::Plugin>),
}

impl fmt::Debug for LogSettings {
    // The values may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSettings").field(&self.name).finish()
    }
}

impl LogSettings {
    /// An entry of this kind, with the values of its section, defaults included.
    ///
    /// # Errors
    /// What is wrong, and with which key.
    pub(crate) fn new(name: &str, values: Json) -> Result<LogSettings, Wrong> {
        let Some((name, build)) = BUILD.iter().find(|(n, _)| *n == name) else {
            return Err(Wrong::new(format!("there is no sink `{name}`"), "see `fourmi schema`"));
        };
        read::<Common>(&values)?.check()?;
        build(&values)?;
        Ok(LogSettings { name, of: Of::Section(values) })
    }

    /// A log or metric plugin of a Kong file.
    ///
    /// # Errors
    /// What is wrong, and with which field.
    pub(crate) fn plugin(plugin: kong::Plugin) -> Result<LogSettings, Wrong> {
        let plugin = Arc::new(plugin);
        kong::build(&plugin, &Arc::default())?;
        Ok(LogSettings { name: plugin.name, of: Of::Plugin(plugin) })
    }

    /// The same for what the worker sends, if it is one of a Kong file.
    pub(crate) fn outbound(&self) -> LogSettings {
        let of = match &self.of {
            Of::Section(values) => Of::Section(values.clone()),
            Of::Plugin(plugin) => {
                Of::Plugin(Arc::new(kong::Plugin { direction: Direction::Outbound, ..kong::Plugin::clone(plugin) }))
            }
        };
        LogSettings { name: self.name, of }
    }

    /// Whether it is one of a Kong file.
    pub(super) fn is_plugin(&self) -> bool {
        matches!(self.of, Of::Plugin(_))
    }

    /// Whether it is told the worker's lines, too.
    pub fn takes_lines(&self) -> bool {
        !self.is_plugin()
    }

    /// How much of a command it wants.
    pub fn wants(&self) -> Wants {
        match &self.of {
            Of::Section(_) => Wants::Nothing,
            Of::Plugin(plugin) => plugin.to.wants(),
        }
    }

    /// What `prometheus` of a Kong file shows, if it is that.
    pub(super) fn switches(&self) -> Option<kong::Switches> {
        match &self.of {
            Of::Plugin(plugin) if let kong::To::Prometheus(switches) = &plugin.to => Some(*switches),
            _ => None,
        }
    }

    /// The configuration's key.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// One value of the section, as the configuration's reader left it.
    pub fn value(&self, key: &str) -> Option<&Json> {
        match &self.of {
            Of::Section(values) => values.get(key),
            Of::Plugin(_) => None,
        }
    }

    /// The settings that all have.
    pub(super) fn common(&self) -> Result<Common, Wrong> {
        match &self.of {
            Of::Section(values) => read(values),
            Of::Plugin(plugin) => Ok(Common::plain(plugin.buffer)),
        }
    }

    /// The sink.
    pub(super) fn build(&self, series: &Arc<kong::Series>) -> Result<Sink, Wrong> {
        let values = match &self.of {
            Of::Section(values) => values,
            Of::Plugin(plugin) => return kong::build(plugin, series),
        };
        match BUILD.iter().find(|(n, _)| *n == self.name) {
            Some((_, build)) => build(values),
            None => Err(Wrong::new("there is no such sink", "see `fourmi schema`")),
        }
    }
}

/// A section's values as a type of its sink.
pub(crate) fn read<T: DeserializeOwned>(values: &Json) -> Result<T, Wrong> {
    // The values have been checked against the same keys; a failure is a key that reader and table see differently.
    T::deserialize(values).map_err(|e| Wrong::new(format!("the section cannot be read: {e}"), "see `fourmi schema`"))
}

const FIELD: Kind = Kind::Text(Shape::Field);
const WORDS: [Word; LEVELS.len()] = {
    let mut words = [word(""); LEVELS.len()];
    let mut i = 0;
    while i < LEVELS.len() {
        words[i] = word(LEVELS[i]);
        i += 1;
    }
    words
};

/// Keys that every log sink has.
pub(crate) const COMMON: [Key; 5] = [
    key("level", Kind::Word(&WORDS), "The least severe level that is sent.").or("debug"),
    key(
        "sample",
        Kind::Share,
        "The share of commands that is sent, of those at `notice` and below; warnings and errors always are.",
    )
    .or("1"),
    key("drop", Kind::List(&FIELD), "Fields that are left out, such as `client`.").or("[]"),
    key("rename", Kind::Named(Shape::Field, &FIELD), "Fields that get another name."),
    key(
        "buffer",
        Kind::Bytes { min: 64 << 10, max: 1 << 30 },
        "Bytes of records that may wait for the receiver; what finds no room is counted as `dropped_full`.",
    )
    .or("1MiB"),
];

/// A sink's own keys, and the common ones behind them.
macro_rules! keys {
    ($($key:expr),* $(,)?) => {{
        const OWN: &[Key] = &[$($key),*];
        const ALL: [Key; OWN.len() + COMMON.len()] = {
            let mut all = [crate::section::key("", crate::section::Kind::Any, ""); OWN.len() + COMMON.len()];
            let mut i = 0;
            while i < OWN.len() {
                all[i] = OWN[i];
                i += 1;
            }
            let mut j = 0;
            while j < COMMON.len() {
                all[i + j] = COMMON[j];
                j += 1;
            }
            all
        };
        &ALL
    }};
}
pub(crate) use keys;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// The values of a section with these beside the common defaults.
    pub(crate) fn values(own: Json) -> Json {
        let mut all = json!({"level": "debug", "sample": 1.0, "drop": [], "rename": {}, "buffer": 1 << 20});
        if let (Some(all), Some(own)) = (all.as_object_mut(), own.as_object()) {
            all.extend(own.clone());
        }
        all
    }
}

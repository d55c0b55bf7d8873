//! Reads a plugin's configuration field by field: types and ranges are held against what is expected, all mistakes are
//! told at once in Kong's words, and what nobody asked for is unknown.

#[cfg(test)]
pub(crate) mod seen;

use super::Wrong;
use super::times;
use serde_json::{Map, Value as Json};

/// One record of a configuration, while it is read.
pub struct Fields<'a> {
    map: Option<&'a Map<String, Json>>,
    /// `redis.`; empty for the configuration itself.
    at: String,
    known: Vec<&'static str>,
    wrong: Vec<Wrong>,
}

impl<'a> Fields<'a> {
    /// A configuration. Nothing is the same as an empty one.
    pub fn new(config: &'a Json) -> Fields<'a> {
        let mut fields = Fields { map: config.as_object(), at: String::new(), known: Vec::new(), wrong: Vec::new() };
        if fields.map.is_none() && !config.is_null() {
            fields.wrong.push(Wrong::entity("expected a record", "write the plugin's fields"));
        }
        fields
    }

    /// The value of a field as it is, which is known from now on; null is the same as none.
    pub fn raw(&mut self, key: &'static str) -> Option<&'a Json> {
        #[cfg(test)]
        seen::field(&self.at, key, "", "");
        self.known.push(key);
        self.map?.get(key).filter(|value| !value.is_null())
    }

    /// Whether the field is there, and not null.
    pub fn has(&self, key: &str) -> bool {
        self.map.and_then(|map| map.get(key)).is_some_and(|value| !value.is_null())
    }

    /// Something is wrong with a field.
    pub fn wrong(&mut self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.wrong.push(Wrong::new(format!("{}{key}", self.at), message, fix));
    }

    /// Something is wrong with several fields together.
    pub fn entity(&mut self, message: impl Into<String>, fix: impl Into<String>) {
        self.wrong.push(Wrong::entity(message, fix));
    }

    fn read<T>(&mut self, key: &'static str, kind: &str, of: impl FnOnce(&'a Json) -> Option<T>) -> Option<T> {
        #[cfg(test)]
        seen::field(&self.at, key, kind, "");
        let value = self.raw(key)?;
        let read = of(value);
        if read.is_none() {
            let fix = match (kind, value) {
                ("a string", Json::Bool(_) | Json::Number(_)) => "put it in quotes".to_owned(),
                ("a boolean", _) => "write true or false".to_owned(),
                ("a number" | "an integer", Json::String(text)) => written(&format!("{}{key}", self.at), text),
                _ => format!("write {kind}"),
            };
            self.wrong(key, format!("expected {kind}"), fix);
        }
        read
    }

    /// A boolean.
    pub fn flag(&mut self, key: &'static str, usual: bool) -> bool {
        #[cfg(test)]
        seen::field(&self.at, key, "", if usual { "true" } else { "false" });
        self.read(key, "a boolean", Json::as_bool).unwrap_or(usual)
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.read(key, "a string", Json::as_str)?;
        if text.is_empty() {
            self.wrong(key, "length must be at least 1", "write something, or leave the field out");
            return None;
        }
        Some(text.to_owned())
    }

    /// A text that has to be there.
    pub fn required(&mut self, key: &'static str) -> String {
        #[cfg(test)]
        seen::field(&self.at, key, "", "**required**");
        if !self.has(key) {
            self.known.push(key);
            self.wrong(key, "required field missing", "add it");
        }
        self.text(key).unwrap_or_default()
    }

    /// One of these words; the first holds when nothing is said, unless `usual` does.
    pub fn one_of(&mut self, key: &'static str, words: &[&'static str], usual: &'static str) -> &'static str {
        let text = self.read(key, "a string", Json::as_str);
        #[cfg(test)]
        seen::field(&self.at, key, &format!("`{}`", words.join("`, `")), &format!("`{usual}`"));
        let Some(text) = text else { return usual };
        match words.iter().find(|word| **word == text) {
            Some(word) => word,
            None => {
                let all = words.join(", ");
                self.wrong(key, format!("expected one of: {all}"), format!("write {}", words.join(" or ")));
                usual
            }
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let number = self.read(key, "a number", Json::as_f64);
        #[cfg(test)]
        seen::field(&self.at, key, &seen::between("a number", least, most), "");
        let number = number?;
        if !(least..=most).contains(&number) {
            let message = format!("value should be between {least} and {most}");
            self.wrong(key, message, format!("write a number from {least} to {most}"));
            return None;
        }
        Some(number)
    }

    /// A number greater than 0.
    pub fn positive(&mut self, key: &'static str) -> Option<f64> {
        let number = self.read(key, "a number", Json::as_f64);
        #[cfg(test)]
        seen::field(&self.at, key, "a number above 0", "");
        let number = number?;
        if number <= 0.0 || !number.is_finite() {
            self.wrong(key, "value must be greater than 0", "write a number above 0");
            return None;
        }
        Some(number)
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Option<i64> {
        let whole = |value: &Json| match value.as_i64() {
            Some(number) => Some(number),
            // Kong takes 5.0 for 5.
            None => value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64),
        };
        let number = self.read(key, "an integer", whole);
        #[cfg(test)]
        seen::field(&self.at, key, &seen::between("a whole number", least as f64, most as f64), "");
        let number = number?;
        if !(least..=most).contains(&number) {
            let message = format!("value should be between {least} and {most}");
            self.wrong(key, message, format!("write a number from {least} to {most}"));
            return None;
        }
        Some(number)
    }

    /// A list of texts; none when nothing is said.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let items = self.read(key, "an array", Json::as_array);
        #[cfg(test)]
        seen::field(&self.at, key, "a list of texts", "");
        let items = items?;
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => {
                    self.wrong(&format!("{key}[{at}]"), "expected a string", "write a string, in quotes if need be")
                }
            }
        }
        Some(texts)
    }

    /// A list of numbers; none when nothing is said.
    pub fn integers(&mut self, key: &'static str, least: i64, most: i64) -> Option<Vec<i64>> {
        let items = self.read(key, "an array", Json::as_array);
        #[cfg(test)]
        seen::field(&self.at, key, &seen::between("a list of whole numbers", least as f64, most as f64), "");
        let items = items?;
        let mut numbers = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let at = format!("{key}[{at}]");
            match item.as_i64() {
                Some(number) if (least..=most).contains(&number) => numbers.push(number),
                Some(_) => {
                    let message = format!("value should be between {least} and {most}");
                    self.wrong(&at, message, format!("write a number from {least} to {most}"));
                }
                None => self.wrong(&at, "expected an integer", "write a whole number"),
            }
        }
        Some(numbers)
    }

    /// A map under names that the file chooses.
    pub fn map(&mut self, key: &'static str) -> Option<&'a Map<String, Json>> {
        self.read(key, "a map", Json::as_object)
    }

    /// A record inside; one that is missing is empty.
    pub fn record<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'a>) -> T) -> T {
        let map = self.read(key, "a record", Json::as_object);
        let at = format!("{}{key}.", self.at);
        let mut inner = Fields { map, at, known: Vec::new(), wrong: Vec::new() };
        let value = read(&mut inner);
        inner.unknown();
        self.wrong.append(&mut inner.wrong);
        value
    }

    /// A list of records; none when nothing is said.
    pub fn records<T>(&mut self, key: &'static str, read: impl Fn(&mut Fields<'a>) -> T) -> Option<Vec<T>> {
        let items = self.read(key, "an array", Json::as_array);
        #[cfg(test)]
        {
            seen::field(&self.at, key, "a list of records", "");
            let at = format!("{}{key}[].", self.at);
            read(&mut Fields { map: None, at, known: Vec::new(), wrong: Vec::new() });
        }
        let items = items?;
        let mut records = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            if !item.is_object() {
                self.wrong(&format!("{key}[{at}]"), "expected a record", "write a section");
                continue;
            }
            let at = format!("{}{key}[{at}].", self.at);
            let mut inner = Fields { map: item.as_object(), at, known: Vec::new(), wrong: Vec::new() };
            records.push(read(&mut inner));
            inner.unknown();
            self.wrong.append(&mut inner.wrong);
        }
        Some(records)
    }

    /// Fields that may be there and change nothing here.
    pub fn ignored(&mut self, keys: &[&'static str]) {
        #[cfg(test)]
        for key in keys {
            seen::field(&self.at, key, "anything; checked by name only", "no effect");
        }
        self.known.extend_from_slice(keys);
    }

    fn unknown(&mut self) {
        let Some(map) = self.map else { return };
        let mut known: Vec<&str> = Vec::with_capacity(self.known.len());
        for key in &self.known {
            // What runs Lua is taken only when it is empty.
            if !known.contains(key) && !key.ends_with("_by_lua") {
                known.push(key);
            }
        }
        let mut unknown = Vec::new();
        for key in map.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let fix = match nearest(key, &known) {
                Some(near) => format!("did you mean {near}?"),
                None if known.is_empty() => "remove it; nothing goes in here".to_owned(),
                None => format!("remove it; known are: {}", known.join(", ")),
            };
            unknown.push(Wrong::new(format!("{}{key}", self.at), "unknown field", fix));
        }
        // First, for what is said of the record as a whole may come of a typo.
        unknown.append(&mut self.wrong);
        self.wrong = unknown;
    }

    /// All that is wrong, after every field was asked for.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn finish(mut self) -> Result<(), Vec<Wrong>> {
        self.unknown();
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}

/// What to write instead of a text that is no number.
fn written(field: &str, text: &str) -> String {
    let last = field.rsplit('.').next().unwrap_or(field);
    match times::instead(text, times::unit_of_plugin(last)) {
        Some(fix) => fix,
        None if text.parse::<f64>().is_ok_and(f64::is_finite) => format!("write {text} without quotes"),
        None => "write a number".to_owned(),
    }
}

/// The field that was meant: the one of which this is the beginning, half of it at least, or else one with a slip in
/// every third letter.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let begun = |known: &&&str| key.len() >= 3 && known.starts_with(key) && key.len() * 2 >= known.len();
    if let Some(begun) = known.iter().filter(begun).min_by_key(|known| known.len()) {
        return Some(begun);
    }
    let limit = (key.chars().count() / 3).clamp(1, 3);
    let near = known.iter().map(|known| (distance(key, known), *known)).min();
    near.filter(|(distance, _)| *distance <= limit).map(|(_, known)| known)
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let (Some(&left), Some(&above)) = (row.get(j), row.get(j + 1)) else { continue };
            let next = (corner + usize::from(x != *y)).min(left + 1).min(above + 1);
            corner = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = next;
            }
        }
    }
    row.last().copied().unwrap_or_default()
}

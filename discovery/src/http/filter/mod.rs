//! The filter language: `Service.Meta.env == "prod" and v1 in Service.Tags`.
//!
//! An expression is asked of one row of an answer at a time, as it is shown. A name that no row of that kind has is an
//! error; a key that a map of free keys does not have is only not there.

mod parse;
#[cfg(test)]
mod tests;

use regex::bytes::Regex;
use serde_json::Value;

/// Maps whose keys are anybody's.
const FREE: [&str; 6] = ["Meta", "NodeMeta", "ServiceMeta", "TaggedAddresses", "ServiceTaggedAddresses", "Definition"];

/// An expression that is ready to be asked.
#[derive(Debug)]
pub(super) struct Filter(Expression);

#[derive(Debug)]
enum Expression {
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Is { selector: Vec<String>, test: Test },
}

#[derive(Debug)]
enum Test {
    Equals(String),
    /// A list or a map has it, or a text contains it.
    Has(String),
    Empty,
    Matches(Regex),
}

impl Filter {
    /// Reads an expression. The error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        parse::expression(text).map(Filter).map_err(|why| format!("Failed to parse the filter: {why}"))
    }

    /// Whether it is true of a row.
    pub(super) fn holds(&self, row: &Value) -> Result<bool, String> {
        self.0.holds(row)
    }
}

impl Expression {
    fn holds(&self, row: &Value) -> Result<bool, String> {
        Ok(match self {
            Expression::And(left, right) => left.holds(row)? && right.holds(row)?,
            Expression::Or(left, right) => left.holds(row)? || right.holds(row)?,
            Expression::Not(inner) => !inner.holds(row)?,
            Expression::Is { selector, test } => match found(row, selector)? {
                Some(value) => test.holds(value),
                None => matches!(test, Test::Empty),
            },
        })
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Test::Equals(wanted) => is(value, wanted),
            Test::Has(wanted) => match value {
                Value::Array(items) => items.iter().any(|item| is(item, wanted)),
                Value::Object(map) => map.contains_key(wanted),
                Value::String(text) => text.contains(wanted),
                _ => false,
            },
            Test::Empty => match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::String(text) => text.is_empty(),
                Value::Null => true,
                _ => false,
            },
            Test::Matches(pattern) => match value {
                Value::String(text) => pattern.is_match(text.as_bytes()),
                Value::Array(items) => items.iter().any(|item| self.holds(item)),
                _ => false,
            },
        }
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => (if *flag { "true" } else { "false" }) == wanted,
        Value::Number(number) => number.to_string() == wanted,
        _ => false,
    }
}

/// What a selector leads to; nothing when it is a key that a map does not have.
fn found<'a>(row: &'a Value, selector: &[String]) -> Result<Option<&'a Value>, String> {
    let mut value = row;
    let mut free = false;
    for name in selector {
        let Value::Object(map) = value else { return Err(unknown(selector)) };
        match map.get(name) {
            Some(next) => value = next,
            None if free => return Ok(None),
            None => return Err(unknown(selector)),
        }
        free = FREE.contains(&name.as_str());
    }
    Ok(Some(value))
}

fn unknown(selector: &[String]) -> String {
    format!("Selector {:?} is not valid", selector.join("."))
}

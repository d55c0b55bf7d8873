//! Evaluates expressions.

use super::parse::{Expr, Function, Operator, Source};
use super::value::Value;
use super::{Failed, RESULT_MAX};
use crate::exchange::Exchange;
use crate::middleware::edit::pairs;
use std::borrow::Cow;

type Done<'a> = Result<Value<'a>, Failed>;

/// The value of an expression for a request.
pub(super) fn of<'a>(expr: &'a Expr, exchange: &'a Exchange) -> Done<'a> {
    Ok(match expr {
        Expr::Nil => Value::Nil,
        Expr::Truth(truth) => Value::Truth(*truth),
        Expr::Number(number) => Value::Number(*number),
        Expr::Text(text) => Value::text(text),
        Expr::Source(source) => Value::Source(*source),
        Expr::Field(source, name) => field(*source, name, exchange),
        Expr::Index(two) => {
            let (table, key) = (of(&two.0, exchange)?, of(&two.1, exchange)?);
            return index(&table, &key, exchange);
        }
        Expr::Call(function, values) => {
            let values: Result<Vec<_>, _> = values.iter().map(|v| of(v, exchange)).collect();
            return call(*function, values?);
        }
        Expr::One(operator, value) => return one(*operator, of(value, exchange)?),
        Expr::Two(operator, two) => {
            let left = of(&two.0, exchange)?;
            match operator {
                Operator::Or if left.holds() => left,
                Operator::And if !left.holds() => left,
                Operator::Or | Operator::And => return of(&two.1, exchange),
                _ => return both(*operator, left, of(&two.1, exchange)?),
            }
        }
    })
}

fn field<'a>(source: Source, name: &str, exchange: &'a Exchange) -> Value<'a> {
    match source {
        Source::Headers => header(name, exchange),
        Source::Query => argument(name.as_bytes(), exchange),
        Source::Captures => {
            let named = exchange.captures.iter().find(|(known, _)| known.as_deref() == Some(name));
            named.map_or(Value::Nil, |(_, matched)| Value::text(matched.as_bytes()))
        }
        Source::Shared => Value::Nil,
    }
}

/// A header by its name in lower case; as in nginx, an underscore may stand for a hyphen.
fn header<'a>(name: &str, exchange: &'a Exchange) -> Value<'a> {
    let all = |name: &str| Value::several(values(exchange, name));
    match all(name) {
        Value::Nil if name.contains('_') => all(&name.replace('_', "-")),
        Value::Nil if name == "host" && !exchange.request.authority.is_empty() => {
            Value::text(exchange.request.authority.as_bytes())
        }
        found => found,
    }
}

fn values<'a>(exchange: &'a Exchange, name: &str) -> Vec<Value<'a>> {
    let lines = exchange.request.headers.iter().filter(|(known, _)| *known == name);
    lines.map(|(_, value)| Value::text(value)).collect()
}

fn argument<'a>(name: &[u8], exchange: &'a Exchange) -> Value<'a> {
    let query = exchange.request.query().unwrap_or_default().as_bytes();
    let of = |pair: &'a [u8]| match pairs::value(pair) {
        Some(value) => Value::Text(value),
        None => Value::Truth(true),
    };
    Value::several(pairs::split(query).filter(|pair| pairs::is(pair, name)).map(of).collect())
}

fn index<'a>(table: &Value<'a>, key: &Value<'a>, exchange: &'a Exchange) -> Done<'a> {
    let place = |number: f64| (number.fract() == 0.0 && (1.0..1e6).contains(&number)).then_some(number as usize);
    Ok(match (table, key) {
        (Value::Source(Source::Headers), Value::Text(name)) => {
            header(&String::from_utf8_lossy(name).to_ascii_lowercase(), exchange)
        }
        (Value::Source(source), Value::Text(name)) => field(*source, &String::from_utf8_lossy(name), exchange),
        (Value::Source(Source::Captures), Value::Number(number)) => {
            // The whole match is number 0. A group without a name that took no part is empty.
            let number = if *number == 0.0 { Some(0) } else { place(*number) };
            let found = number.and_then(|number| exchange.captures.get(number));
            let found = found.filter(|(name, matched)| name.is_some() || !matched.is_empty());
            found.map_or(Value::Nil, |(_, matched)| Value::text(matched.as_bytes()))
        }
        (Value::List(list), Value::Number(number)) => {
            place(*number).and_then(|place| list.get(place - 1)).cloned().unwrap_or(Value::Nil)
        }
        (Value::Source(_) | Value::List(_), _) => Value::Nil,
        _ => return Err(Failed("a field of something that has none")),
    })
}

fn call(function: Function, values: Vec<Value<'_>>) -> Done<'_> {
    let mut values = values.into_iter();
    let first = values.next().unwrap_or(Value::Nil);
    Ok(match function {
        Function::Type => Value::text(first.kind().as_bytes()),
        Function::ToString => Value::Text(Cow::Owned(first.shown().into_owned())),
        Function::ToNumber => first.number().map_or(Value::Nil, Value::Number),
        Function::Lower => Value::Text(text(first)?.to_ascii_lowercase().into()),
        Function::Upper => Value::Text(text(first)?.to_ascii_uppercase().into()),
        Function::Length => Value::Number(text(first)?.len() as f64),
        Function::Sub => {
            let text = text(first)?;
            let mut bound = |usual: f64| match values.next() {
                None | Some(Value::Nil) => Ok(usual),
                Some(value) => value.number().ok_or(Failed("a place in a text that is no number")),
            };
            let (from, to) = (bound(1.0)?, bound(-1.0)?);
            Value::Text(text.get(range(text.len(), from, to)).unwrap_or_default().to_vec().into())
        }
    })
}

/// Lua's places in a text: from 1, and from the end when negative, the last one included.
fn range(length: usize, from: f64, to: f64) -> std::ops::Range<usize> {
    let length = length as f64;
    let place = |at: f64| if at < 0.0 { length + at.trunc() + 1.0 } else { at.trunc() };
    let (from, to) = (place(from).max(1.0), place(to).min(length));
    if from <= to { from as usize - 1..to as usize } else { 0..0 }
}

/// A text, or a number as one.
fn text(value: Value<'_>) -> Result<Cow<'_, [u8]>, Failed> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Number(_) => Ok(Cow::Owned(value.shown().into_owned())),
        _ => Err(Failed("a text was expected")),
    }
}

fn one(operator: Operator, value: Value<'_>) -> Done<'_> {
    match operator {
        Operator::Not => Ok(Value::Truth(!value.holds())),
        Operator::Length => match value {
            Value::Text(text) => Ok(Value::Number(text.len() as f64)),
            Value::List(list) => Ok(Value::Number(list.len() as f64)),
            _ => Err(Failed("the length of something that has none")),
        },
        _ => value.number().map(|n| Value::Number(-n)).ok_or(NO_NUMBER),
    }
}

const NO_NUMBER: Failed = Failed("arithmetic with something that is no number");

fn both<'a>(operator: Operator, left: Value<'a>, right: Value<'a>) -> Done<'a> {
    let less = |a: &Value<'_>, b: &Value<'_>, or_same: bool| match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Truth(a < b || (or_same && a == b))),
        (Value::Text(a), Value::Text(b)) => Ok(Value::Truth(a < b || (or_same && a == b))),
        _ => Err(Failed("a comparison of values of different types")),
    };
    match operator {
        Operator::Same => Ok(Value::Truth(left == right)),
        Operator::Other => Ok(Value::Truth(left != right)),
        Operator::Less => less(&left, &right, false),
        Operator::AtMost => less(&left, &right, true),
        Operator::More => less(&right, &left, false),
        Operator::AtLeast => less(&right, &left, true),
        Operator::Concat => {
            let (mut left, right) = (text(left)?.into_owned(), text(right)?);
            left.extend_from_slice(&right);
            if left.len() > RESULT_MAX { Err(Failed("the result is too long")) } else { Ok(Value::Text(left.into())) }
        }
        _ => {
            let (a, b) = (left.number().ok_or(NO_NUMBER)?, right.number().ok_or(NO_NUMBER)?);
            Ok(Value::Number(match operator {
                Operator::Plus => a + b,
                Operator::Minus => a - b,
                Operator::Times => a * b,
                Operator::Divide => a / b,
                // Lua's has the sign of the divisor.
                Operator::Modulo => a - (a / b).floor() * b,
                _ => a.powf(b),
            }))
        }
    }
}

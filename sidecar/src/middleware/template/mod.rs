//! Values with `$(…)` in them. What stands inside is a small part of Lua's expressions, read when the file is loaded; no
//! Lua runs here. There are no loops and no functions of one's own, so the time of an expression is bounded by its text.

mod eval;
mod lex;
mod parse;
mod value;

use crate::exchange::Exchange;
use parse::{Expr, Source};
pub(super) use value::number;

/// The longest text with expressions in it.
const TEXT_MAX: usize = 4 << 10;
/// As much may come out of one.
const RESULT_MAX: usize = 64 << 10;

/// A text with expressions, split when it was loaded.
#[derive(Debug)]
pub(super) struct Template {
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Expr(Expr),
}

/// Why an expression has no value. Never a part of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed(pub(super) &'static str);

impl Template {
    /// Reads a text; none: there is no expression in it.
    ///
    /// # Errors
    /// What is wrong with an expression, in one sentence.
    pub(super) fn parse(text: &str) -> Result<Option<Template>, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("$(") {
            if text.len() > TEXT_MAX {
                return Err(format!("a text with $(…) may have {TEXT_MAX} bytes"));
            }
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let inner = from.get(2..).unwrap_or_default();
            let (expr, end) = parse::expression(inner)?;
            parts.push(Part::Expr(expr));
            rest = inner.get(end..).unwrap_or_default();
        }
        if parts.is_empty() {
            return Ok(None);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Some(Template { parts: parts.into() }))
    }

    /// Its value for a request that nobody has changed yet. None when it is nothing but one expression, and that is nil
    /// or false; inside of other text these two are empty.
    ///
    /// # Errors
    /// An operation that its operands do not have.
    pub(super) fn render(&self, exchange: &Exchange) -> Result<Option<Vec<u8>>, Failed> {
        self.render_with(exchange, |value, out| out.extend_from_slice(value))
    }

    /// The same, with what comes out of expressions written by `write`.
    pub(super) fn render_with(
        &self,
        exchange: &Exchange,
        write: impl Fn(&[u8], &mut Vec<u8>),
    ) -> Result<Option<Vec<u8>>, Failed> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Expr(expr) => {
                    let value = eval::of(expr, exchange)?;
                    if value.holds() {
                        write(&value.shown(), &mut out);
                    } else if self.parts.len() == 1 {
                        return Ok(None);
                    }
                }
            }
            if out.len() > RESULT_MAX {
                return Err(Failed("the result is too long"));
            }
        }
        Ok(Some(out))
    }

    /// The text before the first expression.
    pub(super) fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// Its texts, without the expressions.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Expr(_) => None,
        })
    }

    /// Whether it asks for what the route's expression matched.
    pub(super) fn wants_captures(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Expr(expr) if expr.asks(Source::Captures)))
    }
}

#[cfg(test)]
mod tests;

//! Regular expressions of a gateway's file, compiled when it is read.
//!
//! Kong's are PCRE; these are the `regex` crate's, which takes neither look-around nor backreferences and is linear in
//! the text in return. They run over bytes: `\d` and `\w` are ASCII, `.` is one byte.

use crate::gateway::fields::Fields;
use regex::bytes::{Regex, RegexBuilder};

/// Bytes that the compiled expressions of one field may take.
const SIZE_MAX: usize = 1 << 20;
/// Bytes of one written expression.
const TEXT_MAX: usize = 8 * 1024;

/// How much of a text an expression has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Any part of it.
    Part,
    /// All of it, whatever alternatives it has.
    Whole,
}

/// Compiles one expression.
///
/// # Errors
/// What is wrong, and what to write instead.
pub(super) fn one(pattern: &str, how: Match) -> Result<Regex, (String, String)> {
    let wrong = |why: String| {
        // The last line says what is wrong; the lines above draw where.
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let fix = if why.contains("look-around") || why.contains("backreferences") {
            "write it without look-around and backreferences, which are not supported"
        } else {
            "write a regular expression"
        };
        (format!("'{pattern}' is not a valid regex ({why})"), fix.to_owned())
    };
    if pattern.len() > TEXT_MAX {
        return Err((format!("is longer than {TEXT_MAX} bytes"), "write a shorter one".to_owned()));
    }
    // Alone first, so that a stray parenthesis cannot close the group that anchors.
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    parser.parse(pattern).map_err(|e| wrong(e.to_string()))?;
    match how {
        Match::Part => build(pattern),
        // A comment at the end of an expression that allows them swallows what closes the group.
        Match::Whole => build(&format!("^(?:{pattern})$")).or_else(|_| build(&format!("^(?:{pattern}\n)$"))),
    }
    .map_err(wrong)
}

fn build(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).unicode(false).size_limit(SIZE_MAX).build().map_err(|e| e.to_string())
}

/// Compiles a list into one expression that matches what any of them does; none for an empty list. What is wrong is
/// told to the fields.
pub(super) fn any(fields: &mut Fields<'_>, key: &'static str) -> Option<Regex> {
    let patterns = fields.texts(key).unwrap_or_default();
    let mut sound = true;
    for (at, pattern) in patterns.iter().enumerate() {
        if let Err((message, fix)) = one(pattern, Match::Part) {
            fields.wrong(&format!("{key}[{at}]"), message, fix);
            sound = false;
        }
    }
    if !sound || patterns.is_empty() {
        return None;
    }
    let all: Vec<String> = patterns.iter().map(|p| format!("(?:{p})")).collect();
    let built = build(&all.join("|"));
    if let Err(why) = &built {
        fields.wrong(key, format!("the expressions are too large together ({why})"), "write fewer");
    }
    built.ok()
}

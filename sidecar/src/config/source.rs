//! Where text came from, and places in it.

use super::hidden::Secrets;
use std::sync::Arc;

/// The source that stands for built-in defaults; always the first of [`Sources`].
pub(crate) const BUILT_IN: u16 = 0;

/// A stretch of one source, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) source: u16,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// From one byte to another; texts are far shorter than what 32 bits count.
    pub(crate) fn new(source: u16, start: usize, end: usize) -> Span {
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { source, start: short(start), end: short(end) }
    }

    /// The place of things nobody wrote.
    pub(crate) const BUILT_IN: Span = Span { source: BUILT_IN, start: 0, end: 0 };
}

/// Who gave a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is built in.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Env,
}

#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// Shared, since it may be large and whoever parses it holds it.
    pub(crate) text: Arc<str>,
    pub(crate) origin: Origin,
}

/// Every text that a configuration was put together from.
#[derive(Debug, Clone)]
pub(crate) struct Sources(Vec<Source>);

/// A place as people and editors name it. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// Characters to underline on that line; at least one.
    pub(crate) width: usize,
}

/// Bytes of a line that are shown: a whole file of JSON may be one line.
const LINE_MAX: usize = 400;
/// Of those, how many before the place.
const BEFORE: usize = 100;

/// From where to where a line is shown.
fn window(line: &str, at: usize) -> (usize, usize) {
    if line.len() <= LINE_MAX {
        return (0, line.len());
    }
    let near = |mut i: usize| {
        while !line.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let begin = near(at.saturating_sub(BEFORE));
    (begin, near((begin + LINE_MAX).min(line.len())))
}

impl Sources {
    pub(crate) fn new() -> Self {
        Sources(vec![Source { name: "built-in".into(), text: "".into(), origin: Origin::Default }])
    }

    /// Adds a text. The number of sources is bounded by the file plus the known environment names.
    pub(crate) fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>, origin: Origin) -> u16 {
        self.0.push(Source { name: name.into(), text: text.into(), origin });
        u16::try_from(self.0.len() - 1).unwrap_or(BUILT_IN)
    }

    pub(crate) fn get(&self, source: u16) -> Option<&Source> {
        self.0.get(usize::from(source))
    }

    /// The text of a source, to be held.
    pub(crate) fn shared(&self, source: u16) -> Option<Arc<str>> {
        Some(self.get(source)?.text.clone())
    }

    pub(crate) fn origin(&self, span: Span) -> Origin {
        self.get(span.source).map_or(Origin::Default, |s| s.origin)
    }

    pub(crate) fn name(&self, span: Span) -> &str {
        self.get(span.source).map_or("built-in", |s| s.name.as_str())
    }

    /// Line and column; none for what nobody wrote.
    pub(crate) fn place(&self, span: Span) -> Option<Place> {
        let text = match span.source {
            BUILT_IN => return None,
            other => &*self.get(other)?.text,
        };
        let mut start = (span.start as usize).min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = text.get(..start)?;
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line_end = text.get(start..)?.find('\n').map_or(text.len(), |i| start + i);
        let mut end = (span.end as usize).clamp(start, line_end);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let width = text.get(start..end).map_or(1, |t| t.trim_end().chars().count()).max(1);
        Some(Place {
            line: before.matches('\n').count() + 1,
            column: text.get(line_start..start)?.chars().count() + 1,
            width,
        })
    }

    /// The line of a place without its secrets, and how many of its characters are left out in front; none when
    /// there may be secrets that nobody can tell from the rest.
    pub(super) fn excerpt(&self, span: Span, secrets: &Secrets) -> Option<(String, usize)> {
        let text = &*self.get(span.source)?.text;
        let (line_start, line_end) = line_of(text, span);
        let line = text.get(line_start..line_end)?.trim_end();
        let (begin, end) = window(line, (span.start as usize).saturating_sub(line_start));
        let shown = secrets.line(text, line_start + begin, line_start + end)?;
        let after = if end < line.len() { "…" } else { "" };
        Some(match line.get(..begin)?.chars().count() {
            0 => (format!("{shown}{after}"), 0),
            // The sign takes the place of one.
            before => (format!("…{shown}{after}"), before - 1),
        })
    }

    /// The bytes whose secrets the words of a problem at this place may repeat.
    pub(super) fn around(&self, span: Span) -> Option<(usize, usize)> {
        let (start, end) = line_of(&self.get(span.source)?.text, span);
        Some((start, end.max(span.end as usize)))
    }
}

/// The line in which a span begins.
fn line_of(text: &str, span: Span) -> (usize, usize) {
    let mut start = (span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let (before, after) = text.split_at(start);
    (before.rfind('\n').map_or(0, |i| i + 1), after.find('\n').map_or(text.len(), |i| start + i))
}

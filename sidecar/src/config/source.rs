//! Where text came from, and places in it.

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
    /// The line, or what is around the place when it is too long to be shown.
    pub(crate) text: String,
    /// Characters of the line that stand before that text.
    pub(crate) skipped: usize,
}

/// Bytes of a line that are shown: a whole file of JSON may be one line.
const LINE_MAX: usize = 400;
/// Of those, how many before the place.
const BEFORE: usize = 100;

/// What is shown of a line, and how many of its characters are not, in front of that.
fn window(line: &str, at: usize) -> (String, usize) {
    if line.len() <= LINE_MAX {
        return (line.to_owned(), 0);
    }
    let near = |mut i: usize| {
        while !line.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let begin = near(at.saturating_sub(BEFORE));
    let end = near((begin + LINE_MAX).min(line.len()));
    let shown = line.get(begin..end).unwrap_or_default();
    let after = if end < line.len() { "…" } else { "" };
    match line.get(..begin).map_or(0, |t| t.chars().count()) {
        0 => (format!("{shown}{after}"), 0),
        // The sign takes the place of one.
        before => (format!("…{shown}{after}"), before - 1),
    }
}

/// The same without the characters of a private key, should there be one.
fn without_keys(mut shown: String) -> String {
    const MARK: &str = "PRIVATE KEY";
    if shown.contains(MARK) {
        shown = shown.chars().map(|c| if c.is_ascii_alphanumeric() { '*' } else { c }).collect();
    }
    shown
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

    /// Line, column and the line's text; none for what nobody wrote.
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
        let line_text = text.get(line_start..line_end)?.trim_end();
        let mut end = (span.end as usize).clamp(start, line_end);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let width = text.get(start..end).map_or(1, |t| t.trim_end().chars().count()).max(1);
        let (shown, skipped) = window(line_text, start - line_start);
        Some(Place {
            line: before.matches('\n').count() + 1,
            column: text.get(line_start..start)?.chars().count() + 1,
            width,
            text: without_keys(shown),
            skipped,
        })
    }
}

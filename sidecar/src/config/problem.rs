//! What is wrong, where, and what to do about it.

use super::hidden::{self, Secrets};
use super::source::{BUILT_IN, Sources, Span};
use std::collections::HashMap;
use std::fmt::Write as _;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is one, but somebody should look.
    Warning,
}

impl Severity {
    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Every code and what it means; also a part of the documentation.
pub(crate) const CODES: &[(&str, &str)] = &[
    ("syntax", "The text is not YAML, or uses a part of YAML that the configuration does not take."),
    ("duplicate-key", "A key stands twice in one section."),
    ("unknown-key", "There is no such key here."),
    ("not-supported", "The key or value belongs to Fourmi but is not supported yet. It is never ignored."),
    ("misplaced-key", "The key belongs to another section."),
    ("missing-key", "A section lacks a key that it can't do without."),
    ("wrong-type", "A list where a number is wanted, and the like."),
    ("bad-value", "The type is right but the value can't be: a duration without unit, a port beyond 65535, …"),
    ("unset-variable", "`${NAME}` names a variable that is not set, and gives no default."),
    ("unknown-variable", "A `FOURMI_` variable names no key (a warning)."),
    ("conflict", "Two things that exclude each other: one port used twice, one service given twice, …"),
    ("loop", "Commands would come back to the listener that they left."),
    ("no-port", "An instance that no command can be sent to, since nothing says at which port (a warning)."),
    ("open-resolver", "A DNS listener with recursors that more than this machine can reach (a warning)."),
    ("missing-worker", "An inbound listener without a worker to send commands to."),
    ("no-directory", "The directory of a unix socket does not exist."),
    ("certificate-time", "A certificate has expired, does so soon, or does not hold yet (a warning)."),
    ("certificate-use", "A listener's certificate is none that a server can show (a warning)."),
    ("no-effect", "What is written does nothing, or not what it is meant for (a warning)."),
    ("nothing-to-do", "Nothing would listen (a warning)."),
    ("open-proxy", "An outbound listener that more than this machine can reach (a warning)."),
    ("no-file", "The named file does not exist."),
    ("unreadable", "The file can't be read, or is not UTF-8."),
    ("unknown-reference", "A name that nothing in the file has."),
    ("doubtful", "It can be so in a Kong file, but hardly is what was meant (a warning)."),
    ("ignored", "A key of a Kong or deck file that has no effect here (a warning)."),
    ("too-large", "The file, or one part of it, is beyond every sensible size."),
];

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File name as it was given, `-` for standard input, `$NAME` for an environment variable.
    pub file: String,
    /// From 1; 0 when the problem has no place in a text.
    pub line: usize,
    /// In characters, from 1; 0 when the problem has no place in a text.
    pub column: usize,
    /// Characters to underline.
    pub width: usize,
    /// Stable, without the prefix `config/`.
    pub code: &'static str,
    /// Path of the key, such as `logs[0].graylog.to`; may be empty.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
    /// How bad it is.
    pub severity: Severity,
    /// The line of text that it is in, without the secrets of it; of a very long one, what is around. Empty when
    /// it can't be shown.
    pub text: String,
    /// Characters of the line that stand before that text.
    pub skipped: usize,
    /// Where it is, until its line has been taken out of the text.
    pub(super) span: Span,
}

impl Problem {
    /// It was found in a part that stands elsewhere in the whole.
    pub(crate) fn belongs(&mut self, part: &str, place: &str) {
        if let Some(rest) = self.key.strip_prefix(part) {
            self.key = format!("{place}{rest}");
        }
        self.message = self.message.replacen(part, place, 1);
    }

    /// A problem with a file as a whole.
    pub(crate) fn of_file(file: &str, code: &'static str, message: String, fix: &str) -> Self {
        Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            width: 0,
            code,
            key: String::new(),
            message,
            fix: fix.to_owned(),
            severity: Severity::Error,
            text: String::new(),
            skipped: 0,
            span: Span::BUILT_IN,
        }
    }

    /// `FILE:LINE:COL: error[config/CODE]: message`, the source line with an underline, `fix: …`.
    pub fn render(&self, color: bool) -> String {
        self.written(color, true)
    }

    /// The same without the source line: for logs and whoever else does not have the file.
    pub fn plain(&self) -> String {
        self.written(false, false)
    }

    fn written(&self, color: bool, excerpt: bool) -> String {
        let paint = |code: &str, text: &str| {
            if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let tint = if self.severity == Severity::Error { "1;31" } else { "1;33" };
        let place = match self.line {
            0 => self.file.clone(),
            line => format!("{}:{line}:{}", self.file, self.column),
        };
        let mut out = format!(
            "{}: {}: {}\n",
            paint("1", &place),
            paint(tint, &format!("{}[config/{}]", self.severity.as_str(), self.code)),
            printable(&self.message)
        );
        if excerpt && self.line > 0 && !self.text.is_empty() {
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            // A tab in the line stays a tab below it, so that the underline stands under the right characters.
            let pad: String = self
                .text
                .chars()
                .take((self.column - 1).saturating_sub(self.skipped))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let _ = writeln!(out, " {} {}", paint("34", &format!("{number} |")), printable(&self.text));
            let line = "^".repeat(self.width.min(200));
            let _ = writeln!(out, " {} {pad}{}", paint("34", &format!("{gutter} |")), paint(tint, &line));
        }
        if !self.fix.is_empty() {
            let _ = writeln!(out, "{} {}", paint("36", "fix:"), self.fix);
        }
        out
    }

    /// The stable form for programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity.as_str(),
            "code": format!("config/{}", self.code),
            "key": self.key,
            "message": self.message,
            "fix": self.fix,
        })
    }
}

/// Control characters of a file never reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Every problem that stands in the way of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of their places; warnings too.
    pub problems: Vec<Problem>,
}

impl Report {
    /// The exit code that says what kind of failure this is (sysexits): 66 no file, 77 no permission, else 78.
    pub fn exit(&self) -> u8 {
        match self.problems.first().map(|p| (p.code, p.message.contains("ermission"))) {
            Some(("no-file", _)) => 66,
            Some(("unreadable", true)) => 77,
            _ => 78,
        }
    }

    /// All problems as text.
    pub fn render(&self, color: bool) -> String {
        self.problems.iter().map(|p| p.render(color)).collect()
    }

    /// All problems as a JSON list.
    pub fn json(&self) -> serde_json::Value {
        self.problems.iter().map(Problem::json).collect()
    }
}

/// Without source lines, since this is what logs and answers hold.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problems.iter().try_for_each(|p| f.write_str(&p.plain()))
    }
}

impl std::error::Error for Report {}

/// Collects problems while a configuration is looked at.
pub(crate) struct Problems {
    pub(crate) sources: Sources,
    list: Vec<Problem>,
    /// Secrets that stand in no text: they came from the environment.
    foreign: Vec<String>,
}

/// More than anybody reads; a file that is no configuration at all must not fill the memory.
pub(crate) const PROBLEMS_MAX: usize = 200;

impl Problems {
    pub(crate) fn new() -> Self {
        Problems { sources: Sources::new(), list: Vec::new(), foreign: Vec::new() }
    }

    pub(crate) fn error(
        &mut self,
        span: Span,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(span, code, key, message.into(), fix.into(), Severity::Error);
    }

    pub(crate) fn warning(
        &mut self,
        span: Span,
        code: &'static str,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(span, code, key, message.into(), fix.into(), Severity::Warning);
    }

    /// Does something whose problems are handed back instead of being kept.
    pub(crate) fn later<T>(&mut self, work: impl FnOnce(&mut Problems) -> T) -> (T, Vec<Problem>) {
        let before = std::mem::take(&mut self.list);
        let done = work(self);
        (done, std::mem::replace(&mut self.list, before))
    }

    /// Takes over what was found in another text.
    pub(crate) fn take(&mut self, found: Vec<Problem>) {
        let room = PROBLEMS_MAX.saturating_sub(self.list.len());
        self.list.extend(found.into_iter().take(room));
    }

    fn push(&mut self, span: Span, code: &'static str, key: &str, message: String, fix: String, severity: Severity) {
        debug_assert!(CODES.iter().any(|(known, _)| *known == code), "undocumented code {code}");
        if self.list.len() >= PROBLEMS_MAX {
            return;
        }
        let place = self.sources.place(span);
        let (line, column, width) = place.map_or((0, 0, 0), |p| (p.line, p.column, p.width));
        self.list.push(Problem {
            file: self.sources.name(span).to_owned(),
            line,
            column,
            width,
            code,
            key: key.to_owned(),
            message,
            fix,
            severity,
            text: String::new(),
            skipped: 0,
            span,
        });
    }

    /// Whether something was found under a path.
    pub(crate) fn mentions(&self, path: &str) -> bool {
        self.list.iter().any(|p| p.key.starts_with(path))
    }

    /// The keys of all errors.
    pub(crate) fn wrong_keys(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter(|p| p.severity == Severity::Error).map(|p| p.key.as_str())
    }

    /// Whether no more are taken.
    pub(crate) fn full(&self) -> bool {
        self.list.len() >= PROBLEMS_MAX
    }

    pub(crate) fn failed(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }

    /// A value of the environment that no message may repeat.
    pub(crate) fn hide(&mut self, value: &str) {
        if !value.is_empty() {
            self.foreign.push(value.to_owned());
        }
    }

    /// Gives every problem its line, and takes the secrets out of that and out of its words.
    fn show(&mut self) {
        let failed = self.failed();
        let mut known: HashMap<u16, Option<Secrets>> = HashMap::new();
        for problem in &mut self.list {
            self.foreign.iter().for_each(|word| hidden::without(problem, word));
            let span = std::mem::replace(&mut problem.span, Span::BUILT_IN);
            let Some(source) = self.sources.get(span.source).filter(|_| span.source != BUILT_IN) else { continue };
            let secrets = known
                .entry(span.source)
                .or_insert_with(|| (failed || !hidden::too_long(&source.text)).then(|| Secrets::of(source)));
            let Some(secrets) = secrets else { continue };
            if let Some((from, to)) = self.sources.around(span) {
                secrets.discreet(problem, from, to);
            }
            if let Some((text, skipped)) = self.sources.excerpt(span, secrets) {
                (problem.text, problem.skipped) = (text, skipped);
            }
        }
    }

    /// Sorted by place; what belongs to the environment or to no text comes last.
    pub(crate) fn into_list(mut self) -> (Vec<Problem>, Sources) {
        self.show();
        self.list.sort_by_key(|p| (p.file.starts_with('$'), p.file.clone(), p.line, p.column));
        (self.list, self.sources)
    }
}

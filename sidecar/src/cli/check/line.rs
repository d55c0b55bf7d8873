//! One thing that was looked at, and how all of them are shown.

use serde_json::{Value, json};
use std::fmt::Write as _;

/// Where each check is explained; its anchor follows.
const HELP: &str = "https://github.com/fourmi-proxy/fourmi/blob/main/docs/check.md";
/// Characters of a detail: a peer's words may be long.
const DETAIL_MAX: usize = 600;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Ok,
    Warning,
    Failed,
}

impl Mark {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Warning => "warning",
            Mark::Failed => "failed",
        }
    }
}

/// A kind of check. Its name is also the anchor of its help.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) category: &'static str,
    pub(super) name: &'static str,
}

macro_rules! checks {
    ($($id:ident $category:literal $name:literal)*) => {
        $(pub(super) static $id: Check = Check { category: $category, name: $name };)*
        #[cfg(test)]
        pub(super) static ALL: &[&Check] = &[$(&$id),*];
    };
}

// Programs read these names: they never change silently.
checks! {
    CONFIG "configuration" "config"
    FILES "configuration" "files"
    CERTIFICATE "configuration" "certificate"
    SPOOL "configuration" "spool"
    ADMIN "running" "admin"
    VERSION "running" "version"
    SAME "running" "same-configuration"
    RELOAD "running" "reload"
    READY "running" "ready"
    INSTANCES "running" "instances"
    SINK "sinks" "sink"
    RECEIVER "sinks" "receiver"
    LISTEN "machine" "listen"
    DESCRIPTORS "machine" "descriptors"
    CLOCK "machine" "clock"
}

impl Check {
    /// It is well.
    pub(super) fn ok(&'static self, subject: impl Into<String>, detail: impl AsRef<str>) -> Line {
        self.line(Mark::Ok, subject, detail)
    }

    /// Somebody should look.
    pub(super) fn warning(&'static self, subject: impl Into<String>, detail: impl AsRef<str>) -> Line {
        self.line(Mark::Warning, subject, detail)
    }

    /// It is not as it must be.
    pub(super) fn failed(&'static self, subject: impl Into<String>, detail: impl AsRef<str>) -> Line {
        self.line(Mark::Failed, subject, detail)
    }

    /// With this mark. Control characters, which may come from a peer, never reach a terminal.
    pub(super) fn line(&'static self, mark: Mark, subject: impl Into<String>, detail: impl AsRef<str>) -> Line {
        let mut detail: String = detail.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((at, _)) = detail.char_indices().nth(DETAIL_MAX) {
            detail.truncate(at);
            detail.push('…');
        }
        Line { check: self, subject: plain(&subject.into()), mark, detail: plain(&detail) }
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) check: &'static Check,
    /// Which one, where there are several: a sink, a listener, a place in the file. May be empty.
    pub(super) subject: String,
    pub(super) mark: Mark,
    /// What was seen; when it is not well, also what to do.
    pub(super) detail: String,
}

impl Line {
    /// Without the mark.
    pub(super) fn words(&self) -> String {
        match self.subject.as_str() {
            "" => format!("{}: {}", self.check.name, self.detail),
            subject => format!("{} {subject}: {}", self.check.name, self.detail),
        }
    }

    fn help(&self) -> String {
        format!("{HELP}#{}", self.check.name)
    }
}

/// The worst of all.
pub(super) fn worst(lines: &[Line]) -> Mark {
    lines.iter().map(|line| line.mark).max().unwrap_or(Mark::Ok)
}

/// For people: by category, a line for each thing; under what is not well, where to read on. `quiet` leaves out what
/// is well.
pub(super) fn text(lines: &[Line], quiet: bool, color: bool) -> String {
    let paint = |code: &str, text: &str| match color {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    };
    let tint = |mark: Mark| match mark {
        Mark::Ok => "32",
        Mark::Warning => "1;33",
        Mark::Failed => "1;31",
    };
    let mut out = String::new();
    let mut category = "";
    for line in lines.iter().filter(|line| !quiet || line.mark != Mark::Ok) {
        if line.check.category != category {
            category = line.check.category;
            let _ = writeln!(out, "{}", paint("1", category));
        }
        let mark = format!("{:<8}", line.mark.as_str());
        let _ = writeln!(out, "  {} {}", paint(tint(line.mark), &mark), line.words());
        if line.mark != Mark::Ok {
            let _ = writeln!(out, "           {}", line.help());
        }
    }
    let count = |mark: Mark| lines.iter().filter(|line| line.mark == mark).count();
    let worst = worst(lines);
    if !quiet || worst != Mark::Ok {
        let said = paint(tint(worst), worst.as_str());
        let (ok, warned, failed) = (count(Mark::Ok), count(Mark::Warning), count(Mark::Failed));
        let _ = writeln!(out, "{said}: {failed} failed, {warned} with a warning, {ok} ok");
    }
    out
}

/// For programs.
pub(super) fn json(lines: &[Line]) -> Value {
    let one = |line: &Line| {
        json!({
            "category": line.check.category,
            "check": line.check.name,
            "subject": line.subject,
            "result": line.mark.as_str(),
            "detail": line.detail,
            "help": line.help(),
        })
    };
    json!({ "result": worst(lines).as_str(), "checks": lines.iter().map(one).collect::<Vec<_>>() })
}

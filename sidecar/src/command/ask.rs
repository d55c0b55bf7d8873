//! How a caller wants its command delivered: `Prefer` (RFC 7240), `Fourmi-Mode`, `Fourmi-At`, `Fourmi-Delay`,
//! `Fourmi-Expires`.

use crate::exchange::{Exchange, Mode};
use crate::names::header as word;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The longest `Prefer: wait`.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Characters of a value that its caller is shown again.
const SHOWN: usize = 60;

/// What a caller asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// `Prefer: respond-async`.
    pub prefers_async: bool,
    /// `Prefer: wait=n`.
    pub wait: Option<Duration>,
    /// `Fourmi-Mode`.
    pub mode: Option<Mode>,
    /// `Fourmi-Mode: sync-or-fail`: what fails is not stored.
    pub or_fail: bool,
    /// `Fourmi-At`, or now and `Fourmi-Delay`.
    pub at: Option<SystemTime>,
    /// `Fourmi-Expires`.
    pub expires: Option<SystemTime>,
}

impl Asked {
    /// Whether it cannot be passed over, as a preference can.
    pub fn insists(&self) -> bool {
        self.at.is_some() || self.expires.is_some() || matches!(self.mode, Some(Mode::Async))
    }
}

/// Reads what a caller asks for.
///
/// # Errors
/// What cannot be understood, and how it is written.
pub fn asked(ex: &Exchange) -> Result<Asked, String> {
    let headers = &ex.request.headers;
    let mut asked = Asked::default();
    for line in headers.get_all(word::PREFER).filter_map(|line| std::str::from_utf8(line).ok()) {
        prefer(line, &mut asked);
    }
    // What is no text is refused as any other value that says nothing: done at once, it would be done at a wrong time.
    let line = |name: &str| headers.get_bytes(name).map(String::from_utf8_lossy);
    match line(word::MODE).as_deref().map(str::trim) {
        None => {}
        Some("sync") => asked.mode = Some(Mode::Sync),
        Some("sync-or-fail") => (asked.mode, asked.or_fail) = (Some(Mode::Sync), true),
        Some("async") => asked.mode = Some(Mode::Async),
        Some("auto") => asked.mode = Some(Mode::Auto),
        Some(other) => {
            return Err(format!("Fourmi-Mode: `{}` is none of sync, sync-or-fail, async, auto", shown(other)));
        }
    }
    let now = ex.timings.wall;
    if let Some(line) = line(word::AT) {
        asked.at = Some(moment(&line).ok_or_else(|| wrong("Fourmi-At", &line, "a time"))?);
    }
    if let Some(line) = line(word::DELAY) {
        let at = duration(&line).and_then(|delay| now.checked_add(delay));
        let at = at.ok_or_else(|| wrong("Fourmi-Delay", &line, "a duration"))?;
        asked.at = Some(asked.at.map_or(at, |known| known.max(at)));
    }
    if let Some(line) = line(word::EXPIRES) {
        let after = || duration(&line).and_then(|d| asked.at.unwrap_or(now).checked_add(d));
        let at = moment(&line).or_else(after);
        asked.expires = Some(at.ok_or_else(|| wrong("Fourmi-Expires", &line, "a time or duration"))?);
    }
    Ok(asked)
}

/// What was asked for here is not asked for at the next hop.
pub fn taken(ex: &mut Exchange) {
    for name in [word::MODE, word::AT, word::DELAY, word::EXPIRES, word::KEY] {
        ex.request.headers.remove(name);
    }
    let line = |ex: &Exchange| {
        let all = ex.request.headers.get_all(word::PREFER).filter_map(|l| std::str::from_utf8(l).ok());
        let others = all.flat_map(|l| l.split(',')).map(str::trim).filter(|p| !p.is_empty() && !is_ours(p));
        others.collect::<Vec<_>>().join(", ")
    };
    if ex.request.headers.contains(word::PREFER) {
        match line(ex) {
            left if left.is_empty() => _ = ex.request.headers.remove(word::PREFER),
            left => _ = ex.request.headers.set(word::PREFER, left),
        }
    }
}

fn token(preference: &str) -> (&str, Option<&str>) {
    let first = preference.split(';').next().unwrap_or_default();
    match first.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (first.trim(), None),
    }
}

fn is_ours(preference: &str) -> bool {
    let (name, _) = token(preference);
    name.eq_ignore_ascii_case("respond-async") || name.eq_ignore_ascii_case("wait")
}

/// A line may hold several; the first of a name counts, and what cannot be read is passed over (RFC 7240, 2).
fn prefer(line: &str, asked: &mut Asked) {
    for preference in line.split(',') {
        match token(preference) {
            (name, None) if name.eq_ignore_ascii_case("respond-async") => asked.prefers_async = true,
            (name, Some(value)) if name.eq_ignore_ascii_case("wait") && asked.wait.is_none() => {
                let seconds = value.parse::<u32>().ok().map(|n| Duration::from_secs(n.into()));
                asked.wait = seconds.map(|s| s.min(WAIT_MAX));
            }
            _ => {}
        }
    }
}

fn wrong(name: &str, line: &str, what: &str) -> String {
    let how = match what {
        "a time" => "write 2030-01-31T08:00:00Z, or Thu, 31 Jan 2030 08:00:00 GMT",
        "a duration" => "write 90s, 15m, 2h or 7d",
        _ => "write 2030-01-31T08:00:00Z, Thu, 31 Jan 2030 08:00:00 GMT, or a duration such as 15m",
    };
    format!("{name}: `{}` is not {what}; {how}", shown(line))
}

/// The beginning of a value, without what a terminal or a log would obey.
fn shown(value: &str) -> Cow<'_, str> {
    if value.len() <= SHOWN && !value.contains(char::is_control) {
        return value.into();
    }
    let clean = value.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    let mut out: String = clean.take(SHOWN).collect();
    if value.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out.into()
}

/// RFC 3339, or a date of HTTP (RFC 9110, 5.6.7).
fn moment(text: &str) -> Option<SystemTime> {
    static DATES: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let text = text.trim();
    let stamp = text.parse::<Timestamp>().or_else(|_| DATES.parse_timestamp(text)).ok()?;
    Some(SystemTime::from(stamp)).filter(|at| *at >= SystemTime::UNIX_EPOCH)
}

/// A number with a unit; without one it is of seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let n: u64 = digits.parse().ok()?;
    let factor = match unit {
        "ms" => return Some(Duration::from_millis(n)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    n.checked_mul(factor).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::exchange;

    fn of(lines: &[(&'static str, &str)]) -> Result<Asked, String> {
        asked(&exchange("POST", "/", lines))
    }

    #[test]
    fn preferences() {
        let asks = |line: &str| {
            let asked = of(&[("prefer", line)]).unwrap();
            (asked.prefers_async, asked.wait.map(|w| w.as_secs()))
        };
        for (line, wanted) in [
            ("respond-async", (true, None)),
            ("Respond-Async, wait=10", (true, Some(10))),
            ("wait=10, respond-async; foo=\"a\"", (true, Some(10))),
            ("wait=\"3\"", (false, Some(3))),
            ("wait=3, wait=9", (false, Some(3))),
            ("wait=3600", (false, Some(60))),
            ("return=minimal", (false, None)),
            ("wait=soon", (false, None)),
            ("respond-async=1", (false, None)),
            ("", (false, None)),
        ] {
            assert_eq!(asks(line), wanted, "{line}");
        }
        let mut ex = exchange("POST", "/", &[("prefer", "respond-async, return=minimal"), ("prefer", "wait=3")]);
        taken(&mut ex);
        assert_eq!(ex.request.headers.get("prefer"), Some("return=minimal"));
        let mut ex = exchange("POST", "/", &[("prefer", "respond-async"), ("fourmi-mode", "async")]);
        taken(&mut ex);
        assert!(ex.request.headers.is_empty());
    }

    #[test]
    fn times() {
        let at = |name: &'static str, line: &str| {
            let asked = of(&[(name, line)])?;
            let at = asked.at.or(asked.expires).unwrap();
            Ok::<u64, String>(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        assert_eq!(at("fourmi-at", "2030-01-31T08:00:00Z"), Ok(1_896_076_800));
        assert_eq!(at("fourmi-at", "2030-01-31T09:00:00+01:00"), Ok(1_896_076_800));
        assert_eq!(at("fourmi-at", "Thu, 31 Jan 2030 08:00:00 GMT"), Ok(1_896_076_800));
        assert_eq!(at("fourmi-expires", "2030-01-31T08:00:00Z"), Ok(1_896_076_800));
        for (name, line) in [
            ("fourmi-at", "tomorrow"),
            ("fourmi-at", "90s"),
            ("fourmi-at", "1960-01-01T00:00:00Z"),
            ("fourmi-delay", "-1s"),
            ("fourmi-delay", "1.5s"),
            ("fourmi-delay", "99999999999999999999s"),
            ("fourmi-delay", "18446744073709551615d"),
            ("fourmi-expires", "later"),
            ("fourmi-mode", "lazy"),
        ] {
            assert!(of(&[(name, line)]).is_err(), "{name}: {line}");
        }
        // Who reads the error knows which line is meant, what it says, and what it may say.
        let long = "9".repeat(1000);
        for (name, line, parts) in [
            (
                "fourmi-at",
                "tomorrow",
                &["Fourmi-At: `tomorrow` is not a time; write 2030-01-31T08:00:00Z, or Thu, "][..],
            ),
            ("fourmi-at", "m\u{f6}rn", &["Fourmi-At: `m\u{f6}rn` is not a time"]),
            ("fourmi-at", "a\tb", &["Fourmi-At: `a\u{fffd}b` is not a time"]),
            ("fourmi-delay", &long, &["Fourmi-Delay: `999", "9…` is not a duration; write 90s, 15m, 2h or 7d"]),
            ("fourmi-expires", "later", &["Fourmi-Expires: `later` is not a time or duration; write 2030-"]),
            ("fourmi-mode", "lazy\t", &["Fourmi-Mode: `lazy` is none of sync, sync-or-fail, async, auto"]),
            ("fourmi-mode", "\u{e9}", &["Fourmi-Mode: `\u{e9}` is none of sync"]),
        ] {
            let said = of(&[(name, line)]).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)) && said.len() < 300, "{said}");
        }
        let mut ex = exchange("POST", "/", &[]);
        ex.request.headers.add("fourmi-at", b"2030\xff");
        assert!(asked(&ex).unwrap_err().contains("`2030\u{fffd}` is not a time"));

        let ex = exchange("POST", "/", &[("fourmi-delay", "90s"), ("fourmi-expires", "10m")]);
        let found = asked(&ex).unwrap();
        let since = |at: Option<SystemTime>| at.unwrap().duration_since(ex.timings.wall).unwrap().as_secs();
        assert_eq!((since(found.at), since(found.expires)), (90, 690), "it expires after it was due");
        assert!(found.insists());
    }
}

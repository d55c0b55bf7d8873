//! `Cache-Control` and its older kin (RFC 9111, 5.2 and 5.3), as far as a shared cache needs them.

use crate::exchange::Headers;
use jiff::fmt::rfc2822::DateTimeParser;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No answer is fresh for longer, whatever it says.
const FRESH_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The directives of a request or an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) only_if_cached: bool,
    /// Whether a stale answer may not be used, whatever the request says.
    pub(super) strict: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    /// Without a number any age will do.
    pub(super) max_stale: Option<Duration>,
}

impl Control {
    /// What all lines say together. Of a number that comes twice the smaller one holds.
    pub(super) fn of(headers: &Headers) -> Control {
        let mut all = Control::default();
        for line in headers.get_all("cache-control") {
            directives(line, |name, value| all.add(name, value));
        }
        all
    }

    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        // A number that is none is the most careful one.
        let less = |known: &mut Option<Duration>, number: Option<Duration>| {
            let number = number.unwrap_or_default();
            *known = Some(known.map_or(number, |known| known.min(number)));
        };
        let number = value.and_then(seconds);
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            less(&mut self.max_age, number);
        } else if is("s-maxage") {
            less(&mut self.s_maxage, number);
            self.strict = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.strict = true;
        } else if is("min-fresh") {
            self.min_fresh = Some(self.min_fresh.unwrap_or_default().max(number.unwrap_or_default()));
        } else if is("max-stale") {
            less(&mut self.max_stale, if value.is_none() { Some(Duration::MAX) } else { number });
        }
    }

    /// For how long an answer that says this is fresh; zero when it says nothing.
    pub(super) fn fresh(&self, headers: &Headers, now: SystemTime) -> Duration {
        let expires = || {
            // Several are a mistake; the last one wins.
            let line = headers.get_all("expires").next_back()?;
            let at = date(line)?;
            let now = headers.get_bytes("date").and_then(date).unwrap_or(now);
            Some(at.duration_since(now).unwrap_or_default())
        };
        self.s_maxage.or(self.max_age).or_else(expires).unwrap_or_default().min(FRESH_MAX)
    }
}

/// Splits at commas that are not inside quotes.
fn directives<'a>(line: &'a [u8], mut each: impl FnMut(&'a [u8], Option<&'a [u8]>)) {
    let mut quoted = false;
    let parts = line.split(|b| {
        quoted ^= *b == b'"';
        *b == b',' && !quoted
    });
    for part in parts {
        let part = part.trim_ascii();
        match part.iter().position(|b| *b == b'=') {
            Some(at) => {
                let (name, value) = part.split_at(at);
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
                each(name.trim_ascii_end(), Some(bare.unwrap_or(value)));
            }
            None => each(part, None),
        }
    }
}

fn seconds(value: &[u8]) -> Option<Duration> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    // What is too large for a number is for ever.
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn date(value: &[u8]) -> Option<SystemTime> {
    let at = DateTimeParser::new().parse_timestamp(value.trim_ascii()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(at.as_second()).ok()?))
}

/// How old an answer was when it came (RFC 9111, 5.1).
pub(super) fn age(headers: &Headers) -> Duration {
    headers.get_bytes("age").map(<[u8]>::trim_ascii).and_then(seconds).unwrap_or_default().min(FRESH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            assert!(headers.append(name, value));
        }
        headers
    }

    #[test]
    fn directives_are_read() {
        let s = Duration::from_secs;
        let of =
            |lines: &[&str]| Control::of(&headers(&lines.iter().map(|l| ("cache-control", *l)).collect::<Vec<_>>()));
        assert_eq!(of(&[]), Control::default());
        assert_eq!(of(&["", ",,", "=", "public", "\"no-store"]), Control::default());
        let flags =
            Control { no_store: true, no_cache: true, private: true, only_if_cached: true, ..Control::default() };
        assert_eq!(of(&["No-Store,no-cache", "private=\"set-cookie, no\", only-if-cached"]), flags);
        for (line, most) in [
            ("max-age=60", s(60)),
            ("max-age = \"60\"", s(60)),
            ("max-age=60, MAX-AGE=30", s(30)),
            ("max-age=99999999999999999999999", s(u64::MAX)),
            ("max-age", s(0)),
            ("max-age=-1", s(0)),
            ("max-age=+1", s(0)),
            ("max-age=1.5", s(0)),
            ("x=\"a, max-age=9\", max-age=5", s(5)),
        ] {
            assert_eq!(of(&[line]).max_age, Some(most), "{line}");
        }
        assert_eq!(of(&["max-stale"]).max_stale, Some(Duration::MAX));
        assert_eq!(of(&["max-stale=3, min-fresh=4", "min-fresh=5"]).min_fresh, Some(s(5)));
    }

    #[test]
    fn how_long_an_answer_is_fresh() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (lines, fresh) in [
            (&[][..], 0),
            (&[("cache-control", "max-age=60")], 60),
            (&[("cache-control", "max-age=60, s-maxage=5")], 5),
            (&[("cache-control", "max-age=0"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 0),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 60),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", "Sun, 06 Nov 1994 08:50:30 GMT")], 7),
            (&[("expires", "Sun, 06 Nov 1994 08:49:00 GMT")], 0),
            (&[("expires", "0")], 0),
            (&[("cache-control", "max-age=99999999999")], 365 * 24 * 3600),
        ] {
            let headers = headers(lines);
            assert_eq!(Control::of(&headers).fresh(&headers, now), Duration::from_secs(fresh), "{lines:?}");
        }
        assert_eq!(age(&headers(&[("age", " 7 ")])), Duration::from_secs(7));
        assert_eq!(age(&headers(&[("age", "x")])), Duration::ZERO);
    }
}

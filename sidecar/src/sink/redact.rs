//! What must not be read by those who read logs: credentials always, and what the configuration names. Applied before
//! anything is queued.

use std::borrow::Cow;
use std::sync::Arc;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Names whose values are credentials wherever they stand, in lower case without separators.
const NAMES: [&str; 32] = [
    "auth",
    "authorization",
    "proxyauthorization",
    "cookie",
    "setcookie",
    "token",
    "jwt",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signature",
    "sig",
    "sessionid",
    "phpsessid",
    "jsessionid",
    "sid",
    "pin",
    "cvv",
    "cvc",
    "cardnumber",
    "pan",
    "otp",
    "xgooghmac",
];
/// The same for the end of a name: `access_token`, `x-amz-signature`.
const ENDINGS: [&str; 8] = ["token", "secret", "password", "apikey", "signature", "passwd", "credentials", "accesskey"];
/// Letters of a name that are looked at.
const NAME_MAX: usize = 64;

/// Names that end like a credential's and are none: a flag of cross-origin answers.
const HARMLESS: [&str; 1] = ["access-control-allow-credentials"];

/// Whether a value of this name is a credential, by its name alone.
pub(crate) fn is_secret(name: &str) -> bool {
    if HARMLESS.iter().any(|harmless| name.eq_ignore_ascii_case(harmless)) {
        return false;
    }
    let mut plain = [0u8; NAME_MAX];
    let mut n = 0;
    for b in name.bytes().filter(u8::is_ascii_alphanumeric) {
        if n == NAME_MAX {
            // The end is what counts then.
            plain.copy_within(1.., 0);
            n -= 1;
        }
        plain[n] = b.to_ascii_lowercase();
        n += 1;
    }
    let plain = &plain[..n];
    NAMES.iter().any(|s| s.as_bytes() == plain) || ENDINGS.iter().any(|s| plain.ends_with(s.as_bytes()))
}

/// The rules of one configuration, on top of what is always hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    headers: Arc<[String]>,
    query: Arc<[String]>,
    /// Pointers, each as its parts; `*` stands for any one.
    json: Arc<[Vec<String>]>,
}

impl Redactor {
    /// Names of headers and of query parameters, and JSON pointers (RFC 6901, `*` for any one part).
    pub fn new(headers: &[String], query: &[String], json: &[String]) -> Redactor {
        let lower = |all: &[String]| all.iter().map(|n| n.to_ascii_lowercase()).collect();
        let parts = |pointer: &String| {
            pointer.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>()
        };
        Redactor { headers: lower(headers), query: lower(query), json: json.iter().map(parts).collect() }
    }

    /// A header's value as it may be shown.
    pub fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if is_secret(name) || self.headers.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return Cow::Borrowed(REDACTED);
        }
        text(value)
    }

    /// A query string as it may be shown.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let hidden = |pair: &str| {
            let name = decoded(pair.split('=').next().unwrap_or(""));
            // `filter[token]` ends in its last part.
            let last = name.rsplit(['[', '.']).find(|p| !p.trim_end_matches(']').is_empty()).unwrap_or(&name);
            pair.contains('=')
                && (is_secret(&name) || is_secret(last) || self.query.iter().any(|n| n.eq_ignore_ascii_case(&name)))
        };
        if !query.split(['&', ';']).any(hidden) {
            return text(query);
        }
        let mut out = String::with_capacity(query.len());
        let mut rest = query;
        loop {
            let end = rest.find(['&', ';']).unwrap_or(rest.len());
            let (pair, after) = rest.split_at(end);
            match pair.split_once('=') {
                Some((name, _)) if hidden(pair) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(REDACTED);
                }
                _ => out.push_str(&text(pair)),
            }
            let mut after = after.chars();
            match after.next() {
                Some(separator) => out.push(separator),
                None => return Cow::Owned(out),
            }
            rest = after.as_str();
        }
    }

    /// The value at a place in a JSON document (its parts from the top) as it may be shown.
    pub fn json<'a>(&self, path: &[&str], value: &'a str) -> Cow<'a, str> {
        // What is hidden hides everything in it.
        let named = path.iter().any(|p| is_secret(p));
        let listed = self.json.iter().any(|rule| {
            rule.len() <= path.len() && rule.iter().zip(path).all(|(rule, part)| rule == "*" || rule == part)
        });
        if named || listed { Cow::Borrowed(REDACTED) } else { text(value) }
    }

    /// Whether a JSON pointer leads to what is hidden.
    pub fn hides(&self, pointer: &str) -> bool {
        let parts: Vec<String> = pointer.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.json(&parts, "") == REDACTED
    }

    /// Free text as it may be shown.
    pub fn text<'a>(&self, value: &'a str) -> Cow<'a, str> {
        text(value)
    }
}

/// `%74oken` is `token` to whoever reads it.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        match (bytes[i], hex(bytes.get(i + 1)), hex(bytes.get(i + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (b, ..) => {
                out.push(b);
                i += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Hides what looks like a credential in free text: `Bearer …` and `Basic …`, `user:password@host`, `password=…`,
/// `"token": "…"`, JSON Web Tokens, and payment card numbers (ISO/IEC 7812 with its check digit).
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    let hidden = secrets_of(value);
    if hidden.is_empty() {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut at = 0;
    for (start, end) in hidden {
        out.push_str(&value[at..start]);
        out.push_str(REDACTED);
        at = end;
    }
    out.push_str(&value[at..]);
    Cow::Owned(out)
}

/// Where in a free text those stand: bytes, in order, none within another.
pub(crate) fn secrets_of(value: &str) -> Vec<(usize, usize)> {
    let mut hidden: Vec<(usize, usize)> = Vec::new();
    let bytes = value.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'=' | b':' => {
                if let Some(range) = assigned(value, i) {
                    hidden.push(range);
                    i = range.1;
                    continue;
                }
            }
            b'@' => hidden.extend(userinfo(bytes, i)),
            b'e' if bytes[i..].starts_with(b"eyJ") && starts_word(bytes, i) => {
                let end = run(bytes, i, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'='));
                if bytes[i..end].iter().filter(|b| **b == b'.').count() >= 2 {
                    hidden.push((i, end));
                    i = end;
                    continue;
                }
            }
            b'B' | b'b' if starts_word(bytes, i) => {
                let scheme = ["bearer ", "basic "]
                    .iter()
                    .find(|s| bytes.get(i..i + s.len()).is_some_and(|b| b.eq_ignore_ascii_case(s.as_bytes())));
                if let Some(scheme) = scheme {
                    let start = i + scheme.len();
                    let end = run(bytes, start, |b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
                    // Words such as "basic auth" are no credentials.
                    if end - start >= 8 {
                        hidden.push((start, end));
                        i = end;
                        continue;
                    }
                }
            }
            b'0'..=b'9' if starts_word(bytes, i) => {
                let end = run(bytes, i, |b| b.is_ascii_digit() || matches!(b, b' ' | b'-'));
                let end = i + bytes[i..end].iter().rposition(u8::is_ascii_digit).map_or(0, |p| p + 1);
                let ends_word = bytes.get(end).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'.');
                if ends_word && is_card(&bytes[i..end]) {
                    hidden.push((i, end));
                }
                i = end.max(i + 1);
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    hidden.sort_unstable();
    let mut at = 0;
    hidden.retain(|(start, end)| {
        let apart = *start >= at;
        at = if apart { *end } else { at };
        apart
    });
    hidden
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'.' | b'-'))
}

/// Where a run of such bytes ends.
fn run(bytes: &[u8], start: usize, of: impl Fn(u8) -> bool) -> usize {
    start + bytes[start..].iter().take_while(|b| of(**b)).count()
}

/// The value behind `name=` or `"name":` when the name is a credential's.
fn assigned(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut end = at;
    while end > 0 && matches!(bytes[end - 1], b' ' | b'"' | b'\'' | b'\\') {
        end -= 1;
    }
    let name = bytes[..end].iter().rev().take(NAME_MAX);
    let length = name.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    if length == 0 || !is_secret(&text[end - length..end]) {
        return None;
    }
    let mut start = at + 1;
    while matches!(bytes.get(start), Some(b' ' | b'\\')) {
        start += 1;
    }
    match bytes.get(start) {
        Some(quote @ (b'"' | b'\'')) => {
            let start = start + 1;
            let mut end = start;
            while end < bytes.len() && bytes[end] != *quote {
                // An escaped quote belongs to the value; a quote that is escaped itself ends it.
                end += if bytes[end] == b'\\'
                    && bytes.get(end + 1).is_some_and(|b| b != quote || bytes[start - 2] != b'\\')
                {
                    2
                } else {
                    1
                };
            }
            let mut end = end.min(bytes.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            (end > start).then_some((start, end))
        }
        _ => {
            let mut end = start;
            // `Authorization: Bearer xyz` is hidden to its end.
            for scheme in ["bearer ", "basic ", "digest ", "token "] {
                if bytes.get(start..start + scheme.len()).is_some_and(|b| b.eq_ignore_ascii_case(scheme.as_bytes())) {
                    end += scheme.len();
                }
            }
            let stop =
                |b: u8| b.is_ascii_whitespace() || matches!(b, b'&' | b';' | b',' | b'"' | b'\'' | b')' | b'}' | b']');
            end = run(bytes, end, |b| !stop(b));
            (end > start).then_some((start, end))
        }
    }
}

/// The password of `scheme://user:password@`.
fn userinfo(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let length =
        bytes[..at].iter().rev().take(512).take_while(|b| b.is_ascii_graphic() && !b"/\"'<>".contains(b)).count();
    let start = at - length;
    let colon = bytes[start..at].iter().position(|b| *b == b':')?;
    let password = start + colon + 1;
    (bytes[..start].ends_with(b"://") && password < at).then_some((password, at))
}

/// 13 to 19 digits of a card's issuer whose last is the check digit.
fn is_card(text: &[u8]) -> bool {
    let mut digits = [0u8; 20];
    let mut n = 0;
    for b in text.iter().filter(|b| b.is_ascii_digit()) {
        if n == digits.len() {
            return false;
        }
        digits[n] = b - b'0';
        n += 1;
    }
    let digits = &digits[..n];
    // 2 to 6 are the issuers of payment cards; a time in microseconds begins with 1.
    let issuer = digits.first().is_some_and(|d| (2..=6).contains(d));
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match (i % 2, u32::from(*d) * 2) {
            (0, _) => u32::from(*d),
            (_, twice) => twice / 10 + twice % 10,
        })
        .sum();
    (13..=19).contains(&n) && issuer && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials() {
        for name in
            ["Authorization", "x-api-key", "access_token", "X-Amz-Signature", "PASSWORD", "client-secret", "PHPSESSID"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["tokens", "author", "x-request-id", "passenger", "region", "signal", "keyboard", "", "é"] {
            assert!(!is_secret(name), "{name}");
        }
        assert!(is_secret(&format!("{}-token", "x".repeat(200))));
    }

    #[test]
    fn headers_queries_and_documents() {
        let r = Redactor::new(&["X-Customer".into()], &["email".into()], &["/customer/*/iban".into(), "/raw".into()]);
        assert_eq!(r.header("Cookie", "a=b"), REDACTED);
        assert_eq!(r.header("x-customer", "7"), REDACTED);
        assert_eq!(r.header("User-Agent", "curl/8"), "curl/8");
        assert_eq!(
            r.header("Referer", "http://u:p4ss@h/?token=abc&x=1"),
            "http://u:[redacted]@h/?token=[redacted]&x=1"
        );
        assert_eq!(r.query("a=1&token=abc;email=x%40y&b"), "a=1&token=[redacted];email=[redacted]&b");
        assert_eq!(r.query("%74oken=abc&f[api_key]=9"), "%74oken=[redacted]&f[api_key]=[redacted]");
        assert_eq!(r.query("page=2&token"), "page=2&token");
        assert_eq!(r.json(&["customer", "7", "iban"], "DE1"), REDACTED);
        assert_eq!(r.json(&["raw", "deep", "er"], "x"), REDACTED);
        assert_eq!(r.json(&["login", "password", "0"], "x"), REDACTED);
        assert_eq!(r.json(&["customer", "iban"], "DE1"), "DE1");
        assert!(r.hides("/customer/1/iban") && r.hides("/a/token") && !r.hides("/shop"));
    }

    #[test]
    fn free_text() {
        for (dirty, clean) in [
            ("got Bearer abcdefgh.ijk-l ok", "got Bearer [redacted] ok"),
            ("basic auth failed", "basic auth failed"),
            ("password=hunter2, next", "password=[redacted], next"),
            ("Authorization: Bearer xyz", "Authorization: [redacted]"),
            (r#"{"token": "a\"b", "n": 1}"#, r#"{"token": "[redacted]", "n": 1}"#),
            ("redis://:s3cret@h:1/0 and http://h/a@b", "redis://:[redacted]@h:1/0 and http://h/a@b"),
            ("card 4111 1111 1111 1111 paid", "card [redacted] paid"),
            ("order 4111111111111112 at 1700000000000000", "order 4111111111111112 at 1700000000000000"),
            ("jwt eyJhbGciOi.eyJzdWIi.c2lnbmF0 end", "jwt [redacted] end"),
            ("secret='ü€😀' x", "secret='[redacted]' x"),
            ("time: 12:30, ratio=5", "time: 12:30, ratio=5"),
            ("token=", "token="),
        ] {
            assert_eq!(text(dirty), clean);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(dirty in "(\\PC|[=:@'\"\\\\ ]|token|Bearer |eyJ|pass|//|4111111111111111){0,60}") {
            let clean = text(&dirty).into_owned();
            // Once is enough.
            proptest::prop_assert_eq!(text(&clean).is_empty(), clean.is_empty());
            let _ = Redactor::default().query(&dirty);
        }
    }
}

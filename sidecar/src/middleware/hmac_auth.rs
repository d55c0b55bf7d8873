//! `hmac-auth`: a signature over header lines and the request line says who calls.

use super::auth::{Auth, CHALLENGE, UNAUTHORIZED, after_scheme, challenge, only};
use super::plugin::{Plugin, Setup};
use super::{Hooks, Middleware, Verdict};
use crate::exchange::{Exchange, Protocol, Reply, Seen, Tell};
use crate::gateway::Wrong;
use crate::gateway::fields::Fields;
use crate::gateway::people::{Found, People};
use aws_lc_rs::{digest, hmac};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(super) const PLUGIN: Plugin = Plugin { name: NAME, priority: 1030, build };

const NAME: &str = "hmac-auth";

/// As much of a body is read to compute its digest.
const BODY_MAX: usize = 8 << 20;
/// More lines nobody signs.
const SIGNED_MAX: usize = 64;
/// Nor as many bytes: a line that is named again and again makes no more work than a long head.
const MESSAGE_MAX: usize = 64 << 10;

const LINES: [&str; 2] = ["proxy-authorization", "authorization"];
const DATES: [&str; 2] = ["x-date", "date"];

const NO_DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
const UNVERIFIED: &str = "HMAC signature cannot be verified";
const MISMATCH: &str = "HMAC signature does not match";

/// Kong's names.
const ALGORITHMS: [(&str, hmac::Algorithm); 4] = [
    ("hmac-sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
    ("hmac-sha256", hmac::HMAC_SHA256),
    ("hmac-sha384", hmac::HMAC_SHA384),
    ("hmac-sha512", hmac::HMAC_SHA512),
];

struct HmacAuth {
    auth: Auth,
    people: Arc<People>,
    hide_credentials: bool,
    /// Seconds.
    clock_skew: f64,
    validate_request_body: bool,
    enforce_headers: Box<[String]>,
    algorithms: Box<[(&'static str, hmac::Algorithm)]>,
    challenge: String,
}

/// What stands in the header line.
struct Parameters<'a> {
    username: &'a str,
    algorithm: &'a str,
    headers: &'a str,
    signature: &'a str,
}

/// What came out of it.
enum Checked<'a> {
    /// The digest of the body has to be looked at.
    Body,
    Failed(&'static str),
    Right(Found<'a, Box<[u8]>>),
}

fn build(setup: &Setup<'_>) -> Result<Arc<dyn Middleware>, Vec<Wrong>> {
    let mut fields = Fields::new(setup.config);
    let auth = Auth::new(NAME, &mut fields, setup);
    let realm = fields.text("realm");
    let challenge = challenge("hmac", realm.as_deref(), &mut fields);
    let mut algorithms = ALGORITHMS.to_vec();
    if let Some(names) = fields.texts("algorithms") {
        for (at, name) in names.iter().enumerate().filter(|(_, name)| ALGORITHMS.iter().all(|(a, _)| a != name)) {
            let all = ALGORITHMS.map(|(name, _)| name).join(", ");
            fields.wrong(&format!("algorithms[{at}]"), format!("expected one of: {all}"), format!("not {name}"));
        }
        algorithms.retain(|(algorithm, _)| names.iter().any(|name| name == algorithm));
    }
    let built = HmacAuth {
        auth,
        people: setup.people.clone(),
        hide_credentials: fields.flag("hide_credentials", false),
        clock_skew: fields.positive("clock_skew").unwrap_or(300.0),
        validate_request_body: fields.flag("validate_request_body", false),
        enforce_headers: fields.texts("enforce_headers").unwrap_or_default().into(),
        algorithms: algorithms.into(),
        challenge,
    };
    fields.finish()?;
    Ok(Arc::new(built))
}

/// `hmac username="…", algorithm="…", headers="…", signature="…"`.
fn parameters(line: &[u8]) -> Option<Parameters<'_>> {
    let text = std::str::from_utf8(after_scheme(line, "hmac")?).ok()?;
    let mut rest = text.trim_start();
    let mut next = |name: &str| {
        let after = rest.strip_prefix(name)?.strip_prefix("=\"")?;
        let (value, after) = after.split_once('"').filter(|(value, _)| !value.is_empty())?;
        rest = after.trim_start().strip_prefix(',').unwrap_or(after).trim_start();
        Some(value)
    };
    Some(Parameters {
        username: next("username")?,
        algorithm: next("algorithm")?,
        headers: next("headers")?,
        signature: next("signature")?,
    })
}

/// A date as header lines have it (RFC 9110, 5.6.7), in seconds.
fn date(text: &str) -> Option<i64> {
    let usual = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if let Ok(at) = usual.parse_timestamp(text) {
        return Some(at.as_second());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|form| {
        let parsed = jiff::fmt::strtime::parse(form, text).ok()?;
        Some(parsed.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
    })
}

impl HmacAuth {
    /// Whether a date of the request is near enough. Where one is signed, only that counts: an unsigned one is whatever
    /// the one says who sends an old request again.
    fn is_now(&self, exchange: &Exchange, signed: &str) -> bool {
        let now = exchange.timings.wall.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let signs = |name: &str| signed.split(' ').any(|signed| signed.eq_ignore_ascii_case(name));
        let any = !DATES.into_iter().any(signs);
        DATES.into_iter().filter(|name| any || signs(name)).any(|name| {
            let at = exchange.request.headers.get(name).and_then(date);
            at.is_some_and(|at| now.abs_diff(at) as f64 <= self.clock_skew)
        })
    }

    /// What was signed; none when lines are asked for that nobody signs.
    fn message(exchange: &Exchange, headers: &str) -> Option<Vec<u8>> {
        let (request, mut out) = (&exchange.request, Vec::with_capacity(256));
        for (at, name) in headers.split(' ').filter(|name| !name.is_empty()).enumerate() {
            if at >= SIGNED_MAX || out.len() > MESSAGE_MAX {
                return None;
            }
            if at > 0 {
                out.push(b'\n');
            }
            let lower = name.to_ascii_lowercase();
            let mut values = request.headers.get_all(&lower).peekable();
            let (method, target) = (request.method.as_str(), request.raw_target());
            match name {
                _ if values.peek().is_some() => {
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b": ");
                    // A second line is a part of what is signed: it cannot be added unseen.
                    for (at, value) in values.enumerate() {
                        out.extend_from_slice(if at > 0 { b", " } else { b"" });
                        out.extend_from_slice(value);
                    }
                }
                "request-line" => {
                    let version = match exchange.protocol {
                        Protocol::Http10 => "1.0",
                        Protocol::Http2 | Protocol::Grpc => "2.0",
                        _ => "1.1",
                    };
                    out.extend_from_slice(format!("{method} {target} HTTP/{version}").as_bytes());
                }
                "@request-target" => {
                    let method = method.to_ascii_lowercase();
                    out.extend_from_slice(format!("@request-target: {method} {target}").as_bytes());
                }
                // Of HTTP/2, whose pseudo-header it is.
                _ if lower == "host" && !request.authority.is_empty() => {
                    out.extend_from_slice(format!("{name}: {}", request.authority).as_bytes());
                }
                _ => {
                    out.extend_from_slice(name.as_bytes());
                    out.push(b':');
                }
            }
        }
        Some(out)
    }

    fn check(&self, exchange: &Exchange) -> Checked<'_> {
        let headers = &exchange.request.headers;
        if !LINES.iter().any(|line| headers.contains(line)) {
            return Checked::Failed(UNAUTHORIZED);
        }
        // Of two lines, the worker might read the other one.
        let line = |name| only(headers, name).ok().flatten().and_then(parameters);
        let given = LINES.into_iter().find_map(line);
        if !self.is_now(exchange, given.as_ref().map_or("", |given| given.headers)) {
            return Checked::Failed(NO_DATE);
        }
        let Some(given) = given else { return Checked::Failed(UNVERIFIED) };
        let signs = |wanted: &String| given.headers.split(' ').any(|name| name == wanted);
        let algorithm = self.algorithms.iter().find(|(name, _)| *name == given.algorithm);
        let found = self.people.hmac(given.username.as_bytes());
        let (Some((_, algorithm)), Some(found), true) = (algorithm, found, self.enforce_headers.iter().all(signs))
        else {
            return Checked::Failed(UNVERIFIED);
        };
        let signature = crate::exchange::from_base64(given.signature.as_bytes());
        let (Some(message), Some(signature)) = (Self::message(exchange, given.headers), signature) else {
            return Checked::Failed(MISMATCH);
        };
        if hmac::verify(&hmac::Key::new(*algorithm, found.secret), &message, &signature).is_err() {
            return Checked::Failed(MISMATCH);
        }
        if self.validate_request_body {
            match &exchange.seen {
                Seen::Not => return Checked::Body,
                Seen::Whole(body) if is_digest(headers.get("digest"), body) => {}
                Seen::Whole(_) | Seen::TooLong => return Checked::Failed(MISMATCH),
            }
        }
        Checked::Right(found)
    }
}

/// Whether this is the digest of the body. Without a body, none is needed.
fn is_digest(line: Option<&str>, body: &[u8]) -> bool {
    match line {
        None => body.is_empty(),
        Some(line) => {
            let digest = crate::exchange::base64(digest::digest(&digest::SHA256, body).as_ref());
            line.strip_prefix("SHA-256=") == Some(&digest)
        }
    }
}

impl Middleware for HmacAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn hooks(&self) -> Hooks {
        Hooks { request: true, ..Hooks::default() }
    }

    fn on_request(&self, exchange: &mut Exchange, _: &dyn Tell) -> Verdict {
        if self.auth.is_done(exchange) {
            return Verdict::Next;
        }
        let checked = self.check(exchange);
        if matches!(checked, Checked::Body) {
            return Verdict::Body(BODY_MAX);
        }
        if self.hide_credentials {
            LINES.iter().for_each(|line| _ = exchange.request.headers.remove(line));
        }
        match checked {
            Checked::Right(found) => self.auth.admit(exchange, found.consumer, found.credential),
            Checked::Failed(message) => {
                self.auth.fail(exchange, || Reply::message(NAME, 401, message).with(CHALLENGE, &self.challenge))
            }
            Checked::Body => Verdict::Body(BODY_MAX),
        }
    }

    fn explain(&self, _: &Exchange) -> String {
        "wants a signed request".to_owned()
    }
}

#[cfg(test)]
mod tests;

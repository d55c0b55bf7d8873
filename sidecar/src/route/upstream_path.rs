//! The path that the instance is asked for.

use super::form;
use super::rule::PathHandling;
use std::borrow::Cow;

/// What the matched part of the path leaves, `matched` bytes cut from its front. What would climb or stand still
/// at the seam is cut too: `/route` of `/route../secret` must not leave `../secret`.
fn rest(path: &[u8], matched: usize) -> &[u8] {
    match path.get(matched..).unwrap_or_default() {
        b"." | b".." => b"",
        [b'.', b'.', b'/', rest @ ..] | [b'.', b'/', rest @ ..] => rest,
        rest => rest,
    }
}

/// The path to send. `service` is the service's own path (`/` if it has none), `matched` how many bytes of the
/// request's path the rule matched (none if it has no paths), `path` the request's path in the matching form.
///
/// The default flavour of Kong's router makes it as `V0` whatever the rule says; `V1` is for the `traditional` one.
pub fn upstream_path<'a>(
    service: &str,
    matched: Option<usize>,
    strip: bool,
    handling: PathHandling,
    path: &'a [u8],
) -> Cow<'a, str> {
    if !path.starts_with(b"/") {
        // `*`, which asks the server as a whole.
        return form::sent(path);
    }
    let base = if service.is_empty() { b"/" } else { service.as_bytes() };
    let after_slash = path.strip_prefix(b"/").unwrap_or(path);
    let rest = match matched {
        Some(length) if strip => rest(path, length),
        _ => after_slash,
    };
    if base == b"/" && !strip {
        return form::sent(path);
    }
    let open = base.strip_suffix(b"/");
    let (base, middle, rest): (&[u8], &[u8], &[u8]) = match (handling, open, strip) {
        (PathHandling::V1, Some(cut), true) if rest.first() == Some(&b'/') => (cut, b"", rest),
        (PathHandling::V1, _, true) => (base, b"", rest),
        (PathHandling::V1, _, false) | (PathHandling::V0, Some(_), false) => (base, b"", after_slash),
        (PathHandling::V0, None, false) => (base, b"", if path == b"/" { b"" } else { path }),
        (PathHandling::V0, Some(cut), true) => match rest.first() {
            None if cut.is_empty() || path.last() == Some(&b'/') => (base, b"", b""),
            None => (cut, b"", b""),
            Some(b'/') => (cut, b"", rest),
            Some(_) => (base, b"", rest),
        },
        (PathHandling::V0, None, true) => match rest.first() {
            None if path.len() > 1 && path.last() == Some(&b'/') => (base, b"/", b""),
            Some(b'/') | None => (base, b"", rest),
            Some(_) => (base, b"/", rest),
        },
    };
    if base.is_empty() && middle.is_empty() {
        return form::sent(rest);
    }
    Cow::Owned(form::sent(&[base, middle, rest].concat()).into_owned())
}

/// What `X-Forwarded-Prefix` says: the part that was cut, unless nothing but a slash was.
pub fn forwarded_prefix(matched: Option<usize>, strip: bool, path: &[u8]) -> Option<Cow<'_, str>> {
    let cut = path.get(..matched.filter(|_| strip)?)?;
    (!cut.is_empty() && cut != b"/").then(|| form::sent(cut))
}

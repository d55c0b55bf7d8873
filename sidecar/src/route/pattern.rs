//! What rules ask of one text each: a host or server name, a path, a header value.
//!
//! Expressions are those of the `regex` crate, as in the default flavour of Kong's router: no look-around and no
//! backreferences, refused when the rule is read, and in return the time is linear in the text whatever is written.
//! They run over bytes and know no Unicode classes: `\d` and `\w` are ASCII, `.` is one byte, `\p{…}` is refused.

use super::form;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// Bytes that one compiled expression may take.
const REGEX_SIZE_MAX: usize = 256 * 1024;
/// Bytes of one written path, name or value.
pub(super) const TEXT_MAX: usize = 8 * 1024;

/// A host name or a server name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Exact(Box<str>),
    /// `*.a` keeps `.a`.
    Suffix(Box<str>),
    /// `a.*` keeps `a.`.
    Prefix(Box<str>),
}

impl Name {
    /// Reads a name with at most one wildcard, in any case.
    pub(super) fn read(text: &str) -> Result<Name, String> {
        let text = text.to_ascii_lowercase();
        let legal = |part: &str| {
            let inner = part.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
            match inner {
                Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
                None => part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')),
            }
        };
        let (name, part) = match text.bytes().filter(|b| *b == b'*').count() {
            0 => (Name::Exact(text.as_str().into()), text.as_str()),
            1 => match (text.strip_prefix('*'), text.strip_suffix('*')) {
                (Some(rest), _) if rest.starts_with('.') && rest.len() > 1 => (Name::Suffix(rest.into()), rest),
                (_, Some(rest)) if rest.ends_with('.') && rest.len() > 1 => (Name::Prefix(rest.into()), rest),
                _ => return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned()),
            },
            _ => return Err("invalid wildcard: must have at most one wildcard".to_owned()),
        };
        if part.is_empty() || part.len() > TEXT_MAX || !legal(part) {
            return Err(format!("invalid hostname: {text}"));
        }
        Ok(name)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Name::Exact(name) => **name == *text,
            Name::Suffix(name) => text.ends_with(&**name),
            Name::Prefix(name) => text.starts_with(&**name),
        }
    }
}

/// Reads a host and its port, 0 for none.
pub(super) fn host(text: &str) -> Result<(Name, u16), String> {
    let name_end = text.rfind(']').map_or(0, |end| end + 1);
    match text.get(name_end..).and_then(|rest| rest.split_once(':')) {
        None => Ok((Name::read(text)?, 0)),
        Some((_, port)) => {
            let number = port.parse::<u16>().ok().filter(|n| *n > 0 && port.bytes().all(|b| b.is_ascii_digit()));
            let number = number.ok_or_else(|| format!("invalid port: {port}"))?;
            Ok((Name::read(&text[..text.len() - port.len() - 1])?, number))
        }
    }
}

/// Reads a server name. The dot that ends a full name is not part of it.
pub(super) fn sni(text: &str) -> Result<Name, String> {
    Name::read(text.strip_suffix('.').unwrap_or(text))
}

/// A written path.
pub(super) enum Path {
    Prefix(Box<[u8]>),
    /// Anchored at the start, and the bytes that everything it matches begins with.
    Regex(Regex, Vec<u8>),
}

impl Path {
    pub(super) fn read(text: &str) -> Result<Path, String> {
        let (regex, path) = match text.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if !path.starts_with('/') {
            return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
        }
        if text.len() > TEXT_MAX {
            return Err(format!("is longer than {TEXT_MAX} bytes"));
        }
        if path.contains("//") {
            return Err("must not have empty segments".to_owned());
        }
        if regex {
            return expression(path, true).map(|(regex, beginning)| Path::Regex(regex, beginning));
        }
        if path.contains(['?', '#']) {
            return Err("holds '?' or '#', where a path ends; write %3F or %23 for one that belongs to it".to_owned());
        }
        let tidy = form::tidy(path);
        if tidy != path.as_bytes() {
            return Err(format!("non-normalized path, consider use '{}' instead", String::from_utf8_lossy(&tidy)));
        }
        Ok(Path::Prefix(tidy.into()))
    }
}

/// What one header value has to be.
pub(super) enum Value {
    /// In lower case.
    Exact(Box<[u8]>),
    Regex(Regex),
}

impl Value {
    pub(super) fn read(text: &str) -> Result<Value, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("is longer than {TEXT_MAX} bytes"));
        }
        match text.strip_prefix("~*") {
            Some(pattern) => expression(pattern, false).map(|(regex, _)| Value::Regex(regex)),
            None => Ok(Value::Exact(text.to_ascii_lowercase().into_bytes().into())),
        }
    }
}

/// Compiles an expression. A path is case-sensitive and anchored as a whole, whatever alternatives it has; a header
/// value is neither.
fn expression(pattern: &str, path: bool) -> Result<(Regex, Vec<u8>), String> {
    let wrong = |why: String| {
        // The last line of a syntax error says what is wrong; the lines above draw where.
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("invalid regex: '{pattern}' ({why})")
    };
    // Alone first, so that a stray parenthesis cannot close the group that anchors.
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).map_err(|e| wrong(e.to_string()))?;
    let mut beginning = Vec::new();
    if path {
        begins(&hir, &mut beginning);
        beginning.truncate(TEXT_MAX);
    }
    let whole = if path { format!("^(?:{pattern})") } else { pattern.to_owned() };
    let regex = RegexBuilder::new(&whole)
        .unicode(false)
        .case_insensitive(!path)
        .size_limit(REGEX_SIZE_MAX)
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    Ok((regex, beginning))
}

/// Collects the literal bytes that every match begins with. True if the expression matches nothing else.
fn begins(hir: &Hir, out: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            out.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(capture) => begins(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().all(|part| begins(part, out)),
        HirKind::Class(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, expected) in [
            ("Shop.Test", Ok((Name::Exact("shop.test".into()), 0))),
            ("shop.test:8080", Ok((Name::Exact("shop.test".into()), 8080))),
            ("*.Shop.test:80", Ok((Name::Suffix(".shop.test".into()), 80))),
            ("shop.*", Ok((Name::Prefix("shop.".into()), 0))),
            ("[::1]:80", Ok((Name::Exact("[::1]".into()), 80))),
            ("[::1]", Ok((Name::Exact("[::1]".into()), 0))),
            ("*", Err("wildcard")),
            ("*.", Err("wildcard")),
            ("a*.b", Err("wildcard")),
            ("*.a.*", Err("at most one")),
            ("", Err("hostname")),
            ("a/b", Err("hostname")),
            ("[x]", Err("hostname")),
            ("a:0", Err("port")),
            ("a:+1", Err("port")),
            ("a:1:2", Err("port")),
        ] {
            match (host(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert_eq!(sni("a.test."), Ok(Name::Exact("a.test".into())));
    }

    #[test]
    fn beginnings_of_expressions() {
        for (text, expected) in [
            (r"~/users/\d+/profile", "/users/"),
            ("~/route/(fixture)", "/route/fixture"),
            (r"~/a\.b/(?<id>x+)", "/a.b/"),
            ("~/a|/b", "/"),
            ("~/(?:orders|offers)", "/o"),
            ("~/ab?", "/a"),
            ("~/(?i)a", "/"),
            ("~/(users/)?1984", "/"),
            ("~/plain$", "/plain"),
            ("~/ab{2}", "/a"),
        ] {
            match Path::read(text) {
                Ok(Path::Regex(regex, begin)) => {
                    let begin = String::from_utf8(begin).unwrap();
                    assert!(begin.starts_with(expected) || expected.starts_with(&begin), "{text}: {begin}");
                    // A shorter beginning is right too, only slower; nothing that matches may lack it.
                    assert!(!regex.is_match(b"x/a/b"), "{text}");
                    if !text.contains('|') {
                        assert_eq!(begin, expected, "{text}");
                    }
                }
                _ => panic!("{text}"),
            }
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, expected) in [
            ("orders", "should start with"),
            ("~orders", "should start with"),
            ("", "should start with"),
            ("/foo//bar", "must not have empty segments"),
            ("/a/./b", "non-normalized path, consider use '/a/b' instead"),
            ("/a%41", "consider use '/aA' instead"),
            ("/a%2f", "consider use '/a%2F' instead"),
            ("/a%20b", "consider use '/a b' instead"),
            ("/a?b", "where a path ends"),
            ("~/a(?=b)", "look-around"),
            ("~/(a)\\1", "backreferences"),
            ("~/a(", "unclosed group"),
            ("~/a)|(?:/b", "unopened group"),
            ("~/\\p{L}", "Unicode"),
            ("~/(?:a{1000}){1000}", "size limit"),
        ] {
            let message = Path::read(text).err().unwrap_or_default();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(Path::read(&format!("/{}", "a".repeat(TEXT_MAX))).is_err());
        assert!(Value::read("~*(").is_err());
    }
}

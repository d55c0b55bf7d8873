//! Bodies that hold fields: a form, JSON, or a form in parts.

use super::args::{args, without};
use crate::exchange::Head;
use memchr::memmem;
use serde_json::{Map, Value as Json};

/// The longest boundary between parts (RFC 2046, 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// A body that holds fields.
pub(in crate::middleware) enum Form<'a> {
    /// `application/x-www-form-urlencoded`
    Args(&'a [u8]),
    /// `application/json`, an object.
    Json(&'a [u8], Map<String, Json>),
    /// `multipart/form-data`, and what stands between its parts.
    Parts(&'a [u8], Vec<u8>),
}

/// What a field holds.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(in crate::middleware) enum Field {
    /// Nothing, or nothing of use.
    Nothing,
    /// This.
    One(Vec<u8>),
    /// Several values.
    Several,
}

/// Whether the body that is announced may hold fields.
pub(in crate::middleware) fn is_form(head: &Head) -> bool {
    let kind = head.media_type();
    ["application/x-www-form-urlencoded", "application/json", "multipart/form-data"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

impl<'a> Form<'a> {
    /// The body of this request, if it holds fields.
    pub(in crate::middleware) fn read(head: &Head, body: &'a [u8]) -> Option<Form<'a>> {
        let kind = head.media_type();
        if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Some(Form::Args(body));
        }
        if kind.eq_ignore_ascii_case("application/json") {
            return Some(Form::Json(body, serde_json::from_slice(body).ok()?));
        }
        if kind.eq_ignore_ascii_case("multipart/form-data") {
            let boundary = parameter(head.headers.get("content-type")?, "boundary")?;
            let fits = !boundary.is_empty() && boundary.len() <= BOUNDARY_MAX;
            return fits.then(|| Form::Parts(body, format!("--{boundary}").into_bytes()));
        }
        None
    }

    /// The value of a field.
    pub(in crate::middleware) fn get(&self, name: &str) -> Field {
        match self {
            Form::Args(text) => {
                one(args(text).filter(|arg| *arg.name == *name.as_bytes()).filter_map(|arg| arg.value).map(Vec::from))
            }
            Form::Json(_, map) => match map.get(name) {
                Some(Json::String(text)) => Field::One(text.clone().into_bytes()),
                Some(Json::Array(_) | Json::Object(_)) => Field::Several,
                _ => Field::Nothing,
            },
            Form::Parts(body, boundary) => {
                one(parts(body, boundary).filter(|p| p.is(body, name)).map(|p| p.content(body).to_vec()))
            }
        }
    }

    /// The body without a field; none if it is not there.
    pub(in crate::middleware) fn without(&self, name: &str) -> Option<Vec<u8>> {
        match self {
            Form::Args(text) => {
                args(text).any(|arg| *arg.name == *name.as_bytes()).then(|| without(text, name.as_bytes()))
            }
            Form::Json(text, map) => map.contains_key(name).then(|| cut(text, name)).flatten(),
            Form::Parts(body, boundary) => {
                let (mut out, mut from, mut found) = (Vec::with_capacity(body.len()), 0, false);
                for part in parts(body, boundary).filter(|p| p.is(body, name)) {
                    out.extend_from_slice(body.get(from..part.start)?);
                    (from, found) = (part.end, true);
                }
                out.extend_from_slice(body.get(from..)?);
                found.then_some(out)
            }
        }
    }
}

fn one(mut all: impl Iterator<Item = Vec<u8>>) -> Field {
    match (all.next(), all.next()) {
        (None, _) => Field::Nothing,
        (Some(value), None) => Field::One(value),
        _ => Field::Several,
    }
}

/// A parameter of a header's value: `; name=value`, in quotes or not.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then_some(bare)
    })
}

/// Where a part lies: from its boundary to the next one.
struct Part {
    start: usize,
    /// Its header lines.
    head: usize,
    /// Where they end and the empty line begins.
    blank: usize,
    end: usize,
}

impl Part {
    fn is(&self, body: &[u8], name: &str) -> bool {
        let lines = body.get(self.head..self.blank).unwrap_or_default();
        let Ok(lines) = std::str::from_utf8(lines) else { return false };
        lines.split("\r\n").any(|line| {
            line.split_once(':').is_some_and(|(key, value)| {
                key.trim().eq_ignore_ascii_case("content-disposition") && parameter(value, "name") == Some(name)
            })
        })
    }

    fn content<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        let content = body.get(self.blank + 4..self.end).unwrap_or_default();
        content.strip_suffix(b"\r\n").unwrap_or(content)
    }
}

/// The parts that are whole.
fn parts<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = Part> + use<'a> {
    // A boundary begins a line.
    let begins =
        move |at: &usize| *at == 0 || at.checked_sub(2).and_then(|before| body.get(before..*at)) == Some(b"\r\n");
    let mut places = memmem::find_iter(body, boundary).filter(begins).peekable();
    std::iter::from_fn(move || {
        loop {
            let start = places.next()?;
            let end = *places.peek()?;
            let head = start + boundary.len() + 2;
            // No line end after it: the last boundary, or a longer one.
            if body.get(head - 2..head) != Some(b"\r\n") {
                continue;
            }
            let Some(blank) = body.get(head - 2..end).and_then(|part| memmem::find(part, b"\r\n\r\n")) else {
                continue;
            };
            return Some(Part { start, head, blank: head - 2 + blank, end });
        }
    })
}

/// JSON that is known to be an object, without one of its members; the rest stays letter by letter.
fn cut(text: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let start = memchr::memchr(b'{', text)? + 1;
    let (mut depth, mut at, mut from) = (0_usize, start, start);
    let mut member = |from: usize, to: usize| {
        let member = text.get(from..to)?;
        let blank = member.trim_ascii().is_empty();
        let end = string_end(member, memchr::memchr(b'"', member).unwrap_or(0));
        let key = member.get(..end).map(<[u8]>::trim_ascii).and_then(|k| serde_json::from_slice::<String>(k).ok());
        if !blank && key.as_deref() != Some(name) {
            kept.push(member);
        }
        Some(())
    };
    while let Some(b) = text.get(at) {
        match b {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' if depth == 0 => {
                member(from, at)?;
                let mut out = text.get(..start)?.to_vec();
                out.extend_from_slice(&kept.join(&b','));
                out.extend_from_slice(text.get(at..)?);
                return Some(out);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                member(from, at)?;
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the closing quote of the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(b) = text.get(at) {
        match b {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: &str) -> Head {
        let mut head = Head::default();
        head.headers.append("content-type", kind);
        head
    }

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|b| String::from_utf8(b).unwrap())
    }

    #[test]
    fn fields_of_forms_and_json() {
        let kind = head("Application/X-WWW-Form-Urlencoded; charset=utf-8");
        let form = Form::read(&kind, b"a=1&key=x%20y&b=2&c&c=1").unwrap();
        assert_eq!(form.get("key"), Field::One(b"x y".to_vec()));
        assert_eq!((form.get("c"), form.get("d")), (Field::One(b"1".to_vec()), Field::Nothing));
        assert_eq!(Form::Args(b"k=1&k=2").get("k"), Field::Several);
        assert_eq!(text(form.without("key")).as_deref(), Some("a=1&b=2&c&c=1"));
        assert_eq!(form.without("d"), None);

        let kind = head("application/json");
        let body =
            r#" { "a" : [1, {"key": "no, \"not\" this}"}], "\u006bey":"x", "n":18446744073709551616.10, "o":{} } "#;
        let json = Form::read(&kind, body.as_bytes()).unwrap();
        assert_eq!(json.get("key"), Field::One(b"x".to_vec()));
        assert_eq!((json.get("a"), json.get("n"), json.get("o")), (Field::Several, Field::Nothing, Field::Several));
        assert_eq!(
            text(json.without("key")).as_deref(),
            Some(r#" { "a" : [1, {"key": "no, \"not\" this}"}], "n":18446744073709551616.10, "o":{} } "#)
        );
        assert_eq!(text(Form::read(&kind, br#"{"key":"x"}"#).unwrap().without("key")).as_deref(), Some("{}"));
        assert_eq!(
            text(Form::read(&kind, br#"{"key":1,"b":2,"key":"x"}"#).unwrap().without("key")).as_deref(),
            Some(r#"{"b":2}"#)
        );
        let deep = format!("{{\"key\":\"x\",\"a\":{}", "[".repeat(100_000));
        for bad in ["", "[]", "null", "{\"key\":\"x\"", deep.as_str(), "{\"key\":\"\u{1}\"}"] {
            assert!(Form::read(&kind, bad.as_bytes()).is_none());
        }
        assert!(Form::read(&head("text/plain"), b"key=x").is_none());
        assert!(is_form(&head("MULTIPART/form-data; boundary=x")) && !is_form(&head("application/jsonp")));
    }

    #[test]
    fn fields_of_forms_in_parts() {
        // As curl sends them: -F a=1 -F key=x -F 'file=@…'.
        let kind = head("multipart/form-data; boundary=\"XbX\"");
        let body = "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
            --XbX\r\ncontent-disposition: form-data; name=key\r\nContent-Type: text/plain\r\n\r\nx\r\n\
            --XbX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n--XbX in it\r\n--Xb\r\n\
            --XbX--\r\n";
        let parts = Form::read(&kind, body.as_bytes()).unwrap();
        assert_eq!(parts.get("key"), Field::One(b"x".to_vec()));
        assert_eq!((parts.get("a"), parts.get("A")), (Field::One(b"1".to_vec()), Field::Nothing));
        let left = body
            .replace("--XbX\r\ncontent-disposition: form-data; name=key\r\nContent-Type: text/plain\r\n\r\nx\r\n", "");
        assert_eq!(text(parts.without("key")), Some(left));
        let twice = body.replace("name=\"a\"", "name=\"key\"");
        assert_eq!(Form::read(&kind, twice.as_bytes()).unwrap().get("key"), Field::Several);
        for broken in [
            "",
            "--XbX",
            "--XbX\r\n",
            "--XbX\r\n\r\n",
            "--XbX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nx",
            "\r\n--XbX--",
        ] {
            assert_eq!(Form::read(&kind, broken.as_bytes()).unwrap().get("key"), Field::Nothing, "{broken:?}");
        }
        for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; charset=x"] {
            assert!(Form::read(&head(kind), body.as_bytes()).is_none(), "{kind}");
        }
    }
}

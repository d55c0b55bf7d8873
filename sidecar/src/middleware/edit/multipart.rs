//! The parts of a form with files (RFC 7578). What is not changed stays as it is.

use super::{Done, Edit, Value};
use crate::middleware::template::Failed;
use std::borrow::Cow;

/// A boundary may be so long (RFC 2046, 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// A form.
pub(in super::super) struct Form<'a> {
    boundary: &'a [u8],
    /// What stands before the first part.
    before: &'a [u8],
    parts: Vec<Part<'a>>,
    /// What stands after the last.
    after: &'a [u8],
}

struct Part<'a> {
    /// Lines and content, between two boundaries.
    bytes: Cow<'a, [u8]>,
    /// Where in it the name stands, without its quotes.
    name: Option<std::ops::Range<usize>>,
}

/// The boundary that a media type names.
pub(in super::super) fn boundary(media: &str) -> Option<&str> {
    let parameter = |text: &&str| text.split_once('=').is_some_and(|(n, _)| n.trim().eq_ignore_ascii_case("boundary"));
    let (_, value) = media.split(';').skip(1).find(parameter)?.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (!value.is_empty() && value.len() <= BOUNDARY_MAX && value.bytes().all(legal)).then_some(value)
}

impl<'a> Form<'a> {
    /// Reads one; none: it is broken.
    pub(in super::super) fn read(body: &'a [u8], boundary: &'a str) -> Option<Form<'a>> {
        let boundary = boundary.as_bytes();
        let mut form = Form { boundary, before: b"", parts: Vec::new(), after: b"" };
        if body.is_empty() {
            return Some(form);
        }
        let finder = memchr::memmem::Finder::new(boundary);
        // Where the current part begins; none before the first.
        let mut start = None;
        let mut from = 0;
        loop {
            let at = from + finder.find(body.get(from..)?)?;
            from = at + boundary.len();
            // A boundary is one only at the beginning of a line, after two dashes.
            let Some(dashes) = at.checked_sub(2).filter(|d| body.get(*d..at) == Some(b"--")) else { continue };
            let line = dashes.checked_sub(2).filter(|l| body.get(*l..dashes) == Some(b"\r\n"));
            let Some(end) = line.or((dashes == 0).then_some(0)) else { continue };
            // The break before a boundary belongs to it, also where a part begins with it.
            let end = start.map_or(end, |start: usize| end.max(start));
            match start {
                None => form.before = body.get(..dashes)?,
                Some(start) => form.parts.push(Part::read(body.get(start..end)?)?),
            }
            let rest = body.get(from..)?;
            if rest.starts_with(b"--") {
                form.after = rest.get(2..)?;
                return Some(form);
            }
            let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            if rest.get(blanks..)?.starts_with(b"\r\n") {
                start = Some(from + blanks + 2);
                from += blanks;
            } else {
                // Something that some take for a boundary and others do not.
                return None;
            }
        }
    }

    /// As a text again.
    pub(in super::super) fn write(&self) -> Vec<u8> {
        let mut out = self.before.to_vec();
        for part in &self.parts {
            out.extend_from_slice(b"--");
            out.extend_from_slice(self.boundary);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&part.bytes);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"--");
        out.extend_from_slice(self.boundary);
        out.extend_from_slice(b"--");
        out.extend_from_slice(if self.after.is_empty() { b"\r\n" } else { self.after });
        out
    }

    fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.is(name))
    }

    /// A part of a name and a value.
    fn part(&self, name: &str, value: &[u8]) -> Result<Part<'a>, Failed> {
        // Else a value could bring parts of its own.
        if memchr::memmem::find(value, &[b"--", self.boundary].concat()).is_some() {
            return Err(Failed("the value holds the boundary of the form"));
        }
        const BEFORE: &str = "Content-Disposition: form-data; name=\"";
        let name = escaped(name);
        let mut bytes = format!("{BEFORE}{name}\"\r\n\r\n").into_bytes();
        bytes.extend_from_slice(value);
        Ok(Part { bytes: Cow::Owned(bytes), name: Some(BEFORE.len()..BEFORE.len() + name.len()) })
    }
}

/// A name as browsers write it.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Option<Part<'a>> {
        let lines = match bytes.strip_prefix(b"\r\n") {
            Some(_) => b"",
            None => bytes.get(..memchr::memmem::find(bytes, b"\r\n\r\n")?)?,
        };
        let mut at = 0;
        let mut name = None;
        for line in lines.split(|b| *b == b'\n') {
            const FIELD: &[u8] = b"content-disposition:";
            if line.get(..FIELD.len()).is_some_and(|field| field.eq_ignore_ascii_case(FIELD)) {
                name = named(line).map(|range| at + range.start..at + range.end);
            }
            at += line.len() + 1;
        }
        Some(Part { bytes: Cow::Borrowed(bytes), name })
    }

    fn is(&self, name: &str) -> bool {
        let known = self.name.clone().and_then(|range| self.bytes.get(range));
        known.is_some_and(|known| known == name.as_bytes() || known == escaped(name).as_bytes())
    }
}

/// Where in a line the parameter `name` stands.
fn named(line: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    loop {
        at += line.get(at..)?.iter().position(|b| *b == b';')? + 1;
        at += line.get(at..)?.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let rest = line.get(at..)?;
        let named = rest.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"name="));
        let equals = rest.iter().position(|b| matches!(b, b'=' | b';'))?;
        if rest.get(equals) == Some(&b';') {
            at += equals;
            continue;
        }
        at += equals + 1;
        let quoted = line.get(at) == Some(&b'"');
        at += usize::from(quoted);
        let rest = line.get(at..)?;
        let length = if quoted {
            // An escaped quote is none.
            (0..rest.len()).find(|i| rest.get(*i) == Some(&b'"') && (*i == 0 || rest.get(*i - 1) != Some(&b'\\')))?
        } else {
            rest.iter().take_while(|b| !matches!(b, b';' | b' ' | b'\t' | b'\r')).count()
        };
        if named {
            return Some(at..at + length);
        }
        at += length;
    }
}

impl Edit for Form<'_> {
    fn remove(&mut self, name: &str) -> Done {
        let before = self.parts.len();
        self.parts.retain(|part| !part.is(name));
        Ok(self.parts.len() != before)
    }

    fn rename(&mut self, old: &str, new: &str) -> Done {
        if old == new || !self.has(old) {
            return Ok(false);
        }
        self.remove(new)?;
        let new = escaped(new);
        for part in self.parts.iter_mut().filter(|part| part.is(old)) {
            if let Some(range) = part.name.clone() {
                let end = range.start + new.len();
                part.name = Some(range.start..end);
                part.bytes.to_mut().splice(range, new.bytes());
            }
        }
        Ok(true)
    }

    fn replace(&mut self, name: &str, value: Value<'_>) -> Done {
        if !self.has(name) {
            return Ok(false);
        }
        let mut new = Some(self.part(name, value.bytes())?);
        self.parts.retain_mut(|part| {
            if !part.is(name) {
                return true;
            }
            new.take().is_some_and(|new| {
                *part = new;
                true
            })
        });
        Ok(true)
    }

    fn add(&mut self, name: &str, value: Value<'_>) -> Done {
        if self.has(name) {
            return Ok(false);
        }
        let part = self.part(name, value.bytes())?;
        self.parts.push(part);
        Ok(true)
    }

    /// A name has one value in such a form; Kong does not append either.
    fn append(&mut self, _: &str, _: Value<'_>) -> Done {
        Ok(false)
    }
}

//! A reader of HTTP/1 that takes nothing but the canonical form: what it stumbles over should never have been sent.

/// One message, read to its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strict {
    pub(crate) first: String,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Strict {
    /// The request's method, or the answer's version.
    pub(crate) fn word(&self, n: usize) -> &str {
        self.first.split(' ').nth(n).unwrap_or("")
    }
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    /// An answer to a request whose method was HEAD, or was not.
    Answer {
        to_head: bool,
    },
}

/// Takes one whole message from the front of the bytes. None: it is not whole yet; an answer that ends with its
/// connection is whole when `ended`.
pub(crate) fn take(bytes: &mut Vec<u8>, side: Side, ended: bool) -> Result<Option<Strict>, String> {
    let mut at = 0;
    let Some(first) = line(bytes, &mut at)? else { return Ok(None) };
    let Some(lines) = header_lines(bytes, &mut at)? else { return Ok(None) };
    let mut message = Strict { first, lines, ..Strict::default() };
    check_first(&message, side)?;
    let (codings, lengths) = (message.all("transfer-encoding"), message.all("content-length"));
    let bodiless = match side {
        Side::Request => codings.is_empty() && lengths.is_empty(),
        Side::Answer { to_head } => to_head || message.status() < 200 || matches!(message.status(), 204 | 304),
    };
    match (codings.as_slice(), lengths.as_slice()) {
        _ if codings.len() + lengths.len() > 1 => {
            return Err(format!("more than one framing: {:?}", message.lines));
        }
        _ if bodiless => {}
        ([coding], _) if coding.eq_ignore_ascii_case("chunked") => loop {
            let Some(size) = line(bytes, &mut at)? else { return Ok(None) };
            let digits = size.split(';').next().unwrap_or_default();
            if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(format!("a chunk's size is {size:?}"));
            }
            let size = usize::from_str_radix(digits, 16).map_err(|e| e.to_string())?;
            if size == 0 {
                let Some(trailers) = header_lines(bytes, &mut at)? else { return Ok(None) };
                message.trailers = trailers;
                break;
            }
            let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
            if !data.ends_with(b"\r\n") {
                return Err("a chunk's data does not end where it said".into());
            }
            message.body.extend_from_slice(&data[..size]);
            at += size + 2;
        },
        ([coding], _) => return Err(format!("the coding is {coding:?}")),
        (_, [length]) => {
            if length.is_empty() || length.len() > 15 || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("the length is {length:?}"));
            }
            let size: usize = length.parse().map_err(|_| "a length that is none".to_owned())?;
            let Some(data) = bytes.get(at..at + size) else { return Ok(None) };
            message.body = data.to_vec();
            at += size;
        }
        _ if ended => {
            message.body = bytes[at..].to_vec();
            at = bytes.len();
        }
        _ => return Ok(None),
    }
    bytes.drain(..at);
    Ok(Some(message))
}

fn check_first(message: &Strict, side: Side) -> Result<(), String> {
    let words: Vec<&str> = message.first.split(' ').collect();
    let version = |v: &str| v == "HTTP/1.1" || v == "HTTP/1.0";
    let fine = match side {
        Side::Request => {
            words.len() == 3 && version(words[2]) && words[0].bytes().all(is_token) && !words[1].is_empty()
        }
        Side::Answer { .. } => {
            words.len() >= 2 && version(words[0]) && words[1].len() == 3 && (100..1000).contains(&message.status())
        }
    };
    if fine { Ok(()) } else { Err(format!("the first line is {:?}", message.first)) }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A line that ends with CR LF and has no other control byte than tabs.
fn line(bytes: &[u8], at: &mut usize) -> Result<Option<String>, String> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|b| *b == b'\n') else { return Ok(None) };
    let text =
        rest[..end].strip_suffix(b"\r").ok_or_else(|| format!("a bare LF after {}", rest[..end].escape_ascii()))?;
    if let Some(odd) = text.iter().find(|b| (**b < 0x20 && **b != b'\t') || **b == 0x7f) {
        return Err(format!("byte {odd:#04x} in {}", text.escape_ascii()));
    }
    *at += end + 1;
    Ok(Some(text.iter().map(|b| char::from(*b)).collect()))
}

fn header_lines(bytes: &[u8], at: &mut usize) -> Result<Option<Vec<(String, String)>>, String> {
    let mut lines = Vec::new();
    loop {
        let Some(text) = line(bytes, at)? else { return Ok(None) };
        if text.is_empty() {
            return Ok(Some(lines));
        }
        let (name, value) = text.split_once(':').ok_or_else(|| format!("a line without a colon: {text:?}"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("a header's name is {name:?}"));
        }
        lines.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

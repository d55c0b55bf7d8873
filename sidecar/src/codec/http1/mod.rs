//! HTTP/1 in our own codec, strict in what it takes and canonical in what it sends (RFC 9110, RFC 9112). Heads are
//! found by `httparse`.
//!
//! Both directions of an exchange run in one task: nothing is spawned, sent through a channel or, on the steady path,
//! allocated for a command.

mod answer;
mod body;
mod chunked;
pub(super) mod client;
mod io;
mod parse;
mod request;
pub(super) mod server;
#[cfg(test)]
mod tests;
mod write;

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not HTTP, or could be read in two ways.
    Malformed(&'static str),
    /// Its head is over the limit.
    TooLarge,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// So many bytes; none when 0.
    Known(u64),
    /// It says where it ends.
    Chunked,
    /// Until the connection ends (answers only).
    UntilClose,
}

/// What the framing lines of a head say.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    /// `Content-Length` stands there more than once, with one value.
    repeated: bool,
    chunked: bool,
    /// The connection ends after this message.
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expect: bool,
}

impl Framing {
    /// Reads the lines that frame a message (RFC 9112, 6).
    fn of(headers: &crate::exchange::Headers) -> Result<Self, Refusal> {
        let mut framing = Framing::default();
        for (name, value) in headers.iter() {
            match name {
                "content-length" => {
                    let n = parse::number(value).ok_or(Refusal::Malformed("Content-Length is no number"))?;
                    if framing.length.is_some_and(|other| other != n) {
                        return Err(Refusal::Malformed("two different Content-Length lines"));
                    }
                    framing.repeated = framing.length.is_some();
                    framing.length = Some(n);
                }
                "transfer-encoding" => {
                    if framing.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refusal::Malformed("a transfer coding other than one chunked"));
                    }
                    framing.chunked = true;
                }
                "connection" => {
                    for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                        framing.close |= token.eq_ignore_ascii_case(b"close");
                        framing.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                        framing.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                "expect" => framing.expect |= value.eq_ignore_ascii_case(b"100-continue"),
                _ => {}
            }
        }
        if framing.chunked && framing.length.is_some() {
            return Err(Refusal::Malformed("Content-Length and Transfer-Encoding together"));
        }
        Ok(framing)
    }
}

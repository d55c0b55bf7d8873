//! The answers of a hostile worker. In a head `|` stands for CR LF; `{P}` is a whole answer that nobody asked for,
//! `{L}` and `{X}` its length in decimal and hexadecimal; what follows `{LATE}` is sent a little later.

/// What the caller gets when Fourmi is the one who reads the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// 502.
    Bad,
    /// This status.
    Is(u16),
    /// 502 or this status.
    BadOr(u16),
    /// 502, or an answer cut before its end when its head had left already.
    Cut,
}
use Want::{Bad, BadOr, Cut, Is};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) want: Want,
    pub(crate) method: &'static str,
    head: &'static str,
    body: &'static str,
}

pub(crate) const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Poison: 1\r\n\r\nPOISONED";

impl Row {
    /// What is sent at once, and what a little later.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        let text = format!("{}\r\n\r\n{}", self.head.replace('|', "\r\n"), self.body);
        let (length, hex) = (POISON.len().to_string(), format!("{:x}", POISON.len()));
        let text = text.replace("{P}", POISON).replace("{L}", &length).replace("{X}", &hex);
        let bytes = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).expect("bytes only")).collect();
        text.split("{LATE}").map(bytes).collect()
    }
}

const fn row(name: &'static str, want: Want, head: &'static str, body: &'static str) -> Row {
    Row { name, want, method: "GET", head, body }
}

const fn to_head(name: &'static str, want: Want, head: &'static str, body: &'static str) -> Row {
    Row { name, want, method: "HEAD", head, body }
}

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // Two framings, odd lengths.
    row("length and chunked", BadOr(200), "HTTP/1.1 200 OK|Content-Length: 2|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n{P}"),
    row("chunked and long length", BadOr(200), "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 500", "2\r\nok\r\n0\r\n\r\n{P}"),
    row("two lengths", Bad, "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 5", "ok{P}"),
    row("length list", Bad, "HTTP/1.1 200 OK|Content-Length: 2, 5", "ok{P}"),
    row("length plus", Bad, "HTTP/1.1 200 OK|Content-Length: +2", "ok{P}"),
    row("length minus", Bad, "HTTP/1.1 200 OK|Content-Length: -2", "ok{P}"),
    row("length hexadecimal", Bad, "HTTP/1.1 200 OK|Content-Length: 0x2", "ok{P}"),
    row("length beyond 64 bits", Bad, "HTTP/1.1 200 OK|Content-Length: 18446744073709551618", "ok{P}"),
    row("length in a fold", BadOr(200), "HTTP/1.1 200 OK|X: y| Content-Length: 2|Content-Length: 2", "ok{P}"),
    row("blank before colon", Bad, "HTTP/1.1 200 OK|Content-Length : 2", "ok{P}"),
    row("coding unknown", Bad, "HTTP/1.1 200 OK|Transfer-Encoding: xchunked|Content-Length: 2", "ok{P}"),
    row("coding twice", Bad, "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n{P}"),
    row("1.0 with chunked", BadOr(200), "HTTP/1.0 200 OK|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n{P}"),
    // More than was announced.
    row("more than the length", Is(200), "HTTP/1.1 200 OK|Content-Length: 2", "ok{P}"),
    row("more, later", Is(200), "HTTP/1.1 200 OK|Content-Length: 2", "ok{LATE}{P}"),
    row("more, one byte", Is(200), "HTTP/1.1 200 OK|Content-Length: 2", "ok{LATE}H"),
    row("more than the chunks", Is(200), "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n{P}"),
    row("more than chunks, later", Is(200), "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n{LATE}{P}"),
    row("split by an echoed line", Is(200), "HTTP/1.1 200 OK|X-Echo: a|Content-Length: 0", "{P}"),
    row("two whole answers", Is(200), "HTTP/1.1 200 OK|Content-Length: 2", "ok{P}{P}"),
    // Answers without a body.
    row("204 with a body", BadOr(204), "HTTP/1.1 204 No Content|Content-Length: {L}", "{P}"),
    row("204 with chunks", BadOr(204), "HTTP/1.1 204 No Content|Transfer-Encoding: chunked", "{X}\r\n{P}\r\n0\r\n\r\n"),
    row("304 with a body", BadOr(304), "HTTP/1.1 304 Not Modified|Content-Length: {L}", "{P}"),
    row("205 with a body", BadOr(205), "HTTP/1.1 205 Reset Content|Content-Length: 0", "{P}"),
    to_head("HEAD with a body", Is(200), "HTTP/1.1 200 OK|Content-Length: {L}", "{P}"),
    to_head("HEAD with chunks", Is(200), "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "{X}\r\n{P}\r\n0\r\n\r\n"),
    // Informational answers.
    row("103 with a length", Is(200), "HTTP/1.1 103 Early Hints|Content-Length: {L}", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{P}"),
    row("100 nobody asked for", Is(200), "HTTP/1.1 100 Continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{P}"),
    row("101 nobody asked for", Bad, "HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket", "{P}"),
    row("101 bare", Bad, "HTTP/1.1 101 Switching Protocols", "{P}"),
    row("103, then nonsense", Bad, "HTTP/1.1 103 Early Hints", "nonsense\r\n\r\n{P}"),
    // Heads.
    row("line of blanks", Bad, "HTTP/1.1 200 OK|Content-Length: 2| \t|X-After: v", "ok{P}"),
    row("folded line", BadOr(200), "HTTP/1.1 200 OK|X: y|\tz|Content-Length: 2", "ok{P}"),
    row("bare CR in a value", Bad, "HTTP/1.1 200 OK|X: y\rSet-Cookie: evil|Content-Length: 2", "ok{P}"),
    row("bare LF in a head", Bad, "HTTP/1.1 200 OK|X: y\nSet-Cookie: evil|Content-Length: 2", "ok{P}"),
    row("LF everywhere", Bad, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "{P}"),
    row("NUL in a value", Bad, "HTTP/1.1 200 OK|X: a\0b|Content-Length: 2", "ok{P}"),
    row("NUL in a name", Bad, "HTTP/1.1 200 OK|X\0: a|Content-Length: 2", "ok{P}"),
    row("no colon", Bad, "HTTP/1.1 200 OK|Nonsense|Content-Length: 2", "ok{P}"),
    row("empty name", Bad, "HTTP/1.1 200 OK|: x|Content-Length: 2", "ok{P}"),
    row("CR in the reason", Bad, "HTTP/1.1 200 O\rK|Content-Length: 2", "ok{P}"),
    row("status of four digits", Bad, "HTTP/1.1 2000 OK|Content-Length: 2", "ok{P}"),
    row("status of two digits", Bad, "HTTP/1.1 20 OK|Content-Length: 2", "ok{P}"),
    row("status 000", Bad, "HTTP/1.1 000 OK|Content-Length: 2", "ok{P}"),
    row("version 2", Bad, "HTTP/2.0 200 OK|Content-Length: 2", "ok{P}"),
    row("version ICY", Bad, "ICY 200 OK|Content-Length: 2", "ok{P}"),
    row("no reason", Is(200), "HTTP/1.1 200|Content-Length: 2", "ok"),
    row("length by Connection", BadOr(200), "HTTP/1.1 200 OK|Connection: Content-Length|Content-Length: 2", "ok{P}"),
    // Chunks.
    row("size 0x2", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "0x2\r\nok\r\n0\r\n\r\n{P}"),
    row("size beyond 64 bits", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "10000000000000002\r\nok\r\n0\r\n\r\n{P}"),
    row("size line ends with LF", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\nok\r\n0\r\n\r\n{P}"),
    row("extension with LF", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2;\nok\r\n0\r\n\r\n{P}"),
    row("data without CR LF", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\r\nokXX0\r\n\r\n{P}"),
    row("trailers unended", Cut, "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n{P}"),
    row("trailers that frame", BadOr(200), "HTTP/1.1 200 OK|Transfer-Encoding: chunked", "2\r\nok\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n{P}"),
];

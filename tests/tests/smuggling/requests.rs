//! The requests of the battery. In a head `|` stands for CR LF; in both parts `{H}` is the hidden request `GET
//! /smuggled-N`, `{L}` and `{X}` its length in decimal and hexadecimal, `{N}` the row's number.

/// What must become of a row when Fourmi is the first to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Refused, and the connection ends: nothing whole reaches the worker.
    Refused,
    /// One request; what is hidden is its body.
    One,
    /// Refused, or one request.
    Either,
    /// Two requests, honestly sent one after the other.
    Two,
}
use Want::{Either, One, Refused, Two};

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) want: Want,
    head: &'static str,
    body: &'static str,
}

pub(crate) fn hidden(n: usize) -> String {
    format!("GET /smuggled-{n} HTTP/1.1\r\nHost: a\r\n\r\n")
}

impl Row {
    pub(crate) fn bytes(&self, n: usize) -> Vec<u8> {
        let hidden = hidden(n);
        let text = format!("{}\r\n\r\n{}", self.head.replace('|', "\r\n"), self.body);
        let holes = [
            ("{L}", hidden.len().to_string()),
            ("{X}", format!("{:x}", hidden.len())),
            ("{N}", n.to_string()),
            ("{H}", hidden),
        ];
        let text = holes.iter().fold(text, |text, (hole, value)| text.replace(hole, value));
        // One character, one byte: so that a row can hold any byte.
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("bytes only")).collect()
    }
}

const fn row(name: &'static str, want: Want, head: &'static str, body: &'static str) -> Row {
    Row { name, want, head, body }
}

const CHUNKS: &str = "0\r\n\r\n{H}";

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // Two framings.
    row("length, chunked", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: chunked", CHUNKS),
    row("chunked, length", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: {L}", CHUNKS),
    row("length 4, chunked", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 4|Transfer-Encoding: chunked", "{X}\r\n{H}\r\n0\r\n\r\n"),
    row("length, chunked, 1.0", Refused, "POST /case-{N} HTTP/1.0|Host: a|Connection: keep-alive|Content-Length: {L}|Transfer-Encoding: chunked", CHUNKS),
    row("length 0, chunked on GET", Refused, "GET /case-{N} HTTP/1.1|Host: a|Content-Length: 0|Transfer-Encoding: chunked", CHUNKS),
    // Codings in disguise.
    row("TE xchunked", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: xchunked", "{H}"),
    row("TE blank before colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding : chunked", CHUNKS),
    row("TE tab before colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding\t: chunked", CHUNKS),
    row("TE tab after colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding:\tchunked", CHUNKS),
    row("TE vertical tab", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: \u{b}chunked", CHUNKS),
    row("TE form feed after", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: chunked\u{c}", CHUNKS),
    row("TE no-break space", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: \u{a0}chunked", CHUNKS),
    row("TE quoted", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: \"chunked\"", CHUNKS),
    row("TE with parameter", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked;q=1", CHUNKS),
    row("TE chunked, identity", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: chunked, identity", CHUNKS),
    row("TE identity, chunked", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: identity, chunked", CHUNKS),
    row("TE identity", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: identity", "{H}"),
    row("TE twice", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked", CHUNKS),
    row("TE chunked, then cow", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: chunked|Transfer-encoding: cow", CHUNKS),
    row("TE empty", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding:", "{H}"),
    row("TE comma only", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: ,chunked", CHUNKS),
    row("TE with NUL", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding: chunked\0", CHUNKS),
    row("TE after a bare LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|X: y\nTransfer-Encoding: chunked", CHUNKS),
    row("TE after a bare CR", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|X: y\rTransfer-Encoding: chunked", CHUNKS),
    row("TE folded", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer-Encoding:|\tchunked", CHUNKS),
    row("TE in a fold", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|X: y| Transfer-Encoding: chunked", CHUNKS),
    row("TE in the first fold", Refused, "POST /case-{N} HTTP/1.1| Transfer-Encoding: chunked|Host: a|Content-Length: {L}", CHUNKS),
    row("TE with underscore", One, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Transfer_Encoding: chunked", "{H}"),
    row("TE in capitals", One, "POST /case-{N} HTTP/1.1|Host: a|TRANSFER-ENCODING: CHUNKED", "{X}\r\n{H}\r\n0\r\n\r\n"),
    row("Content-Encoding chunked", One, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Content-Encoding: chunked", "{H}"),
    // Lengths.
    row("CL twice, differing", Refused, "GET /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Content-Length: 0", "{H}"),
    row("CL twice, 0 first", Refused, "GET /case-{N} HTTP/1.1|Host: a|Content-Length: 0|content-length: {L}", "{H}"),
    row("CL twice, the same", Either, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}|Content-Length: {L}", "{H}"),
    row("CL list, differing", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}, 0", "{H}"),
    row("CL list, the same", Either, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}, {L}", "{H}"),
    row("CL plus", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: +{L}", "{H}"),
    row("CL minus", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: -{L}", "{H}"),
    row("CL hexadecimal", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 0x{X}", "{H}"),
    row("CL with junk", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L} a", "{H}"),
    row("CL with semicolon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L};", "{H}"),
    row("CL quoted", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: \"{L}\"", "{H}"),
    row("CL empty", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length:", "{H}"),
    row("CL decimal point", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}.0", "{H}"),
    row("CL beyond 64 bits", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 184467440737095516{L}", "{H}"),
    row("CL leading zeros", Either, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 000{L}", "{H}"),
    row("CL blanks around", One, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: \t {L} \t", "{H}"),
    row("CL blank before colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length : {L}", "{H}"),
    row("CL vertical tab", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}\u{b}", "{H}"),
    row("CL folded", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length:| {L}", "{H}"),
    row("CL in a fold", Refused, "POST /case-{N} HTTP/1.1|Host: a|X: y|\tContent-Length: {L}", "{H}"),
    row("CL after a bare CR", Refused, "POST /case-{N} HTTP/1.1|Host: a|X: y\rContent-Length: {L}", "{H}"),
    row("CL name with 0xFF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length\u{ff}: {L}", "{H}"),
    row("CL name with blank", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content Length: {L}", "{H}"),
    row("CL name with colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|:Content-Length: {L}", "{H}"),
    row("CL name with NUL", Refused, "POST /case-{N} HTTP/1.1|Host: a|\0Content-Length: {L}", "{H}"),
    row("CL name quoted", Refused, "POST /case-{N} HTTP/1.1|Host: a|\"Content-Length\": {L}", "{H}"),
    row("CL on GET", One, "GET /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("CL on DELETE", One, "DELETE /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("CL on HEAD", One, "HEAD /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("CL on OPTIONS", One, "OPTIONS /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("CL on an odd method", One, "FROB /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("CL on CONNECT", Refused, "CONNECT a:80 HTTP/1.1|Host: a:80|Content-Length: {L}", "{H}"),
    row("CL named by Connection", Either, "POST /case-{N} HTTP/1.1|Host: a|Connection: Content-Length|Content-Length: {L}", "{H}"),
    row("TE named by Connection", Either, "POST /case-{N} HTTP/1.1|Host: a|Connection: Transfer-Encoding|Transfer-Encoding: chunked", "{X}\r\n{H}\r\n0\r\n\r\n"),
    row("Host named by Connection", Either, "POST /case-{N} HTTP/1.1|Host: a|Connection: Host|Content-Length: {L}", "{H}"),
    // Chunks.
    row("size beyond 64 bits", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n{H}"),
    row("size 0x5", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n{H}"),
    row("size -5", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "-5\r\nhello\r\n0\r\n\r\n{H}"),
    row("size +5", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "+5\r\nhello\r\n0\r\n\r\n{H}"),
    row("size empty", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "\r\nhello\r\n0\r\n\r\n{H}"),
    row("size blank before", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", " 5\r\nhello\r\n0\r\n\r\n{H}"),
    row("size with junk", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5 g\r\nhello\r\n0\r\n\r\n{H}"),
    row("size with NUL", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\0\r\nhello\r\n0\r\n\r\n{H}"),
    row("size line ends with LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n{H}"),
    row("size line ends with CR", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\rhello\r\n0\r\n\r\n{H}"),
    row("extension with LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "2;\nxx\r\n{X}\r\n0\r\n\r\n{H}\r\n0\r\n\r\n"),
    row("extension with CR", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "2;a=\rb\r\nxx\r\n0\r\n\r\n{H}"),
    row("extension, honest", Either, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "{X};a=\"b\"\r\n{H}\r\n0\r\n\r\n"),
    row("data without CR LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n{H}"),
    row("data ends with LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\r\nhello\n0\r\n\r\n{H}"),
    row("data shorter than said", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "7\r\nhello\r\n0\r\n\r\n{H}"),
    row("last chunk unended", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "0\r\n{H}"),
    row("last chunk ends with LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "0\n\n{H}"),
    row("trailers end with LF", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "0\r\nX: y\n\n{H}"),
    row("trailers folded", Refused, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "0\r\nX: y\r\n z\r\n\r\n{H}"),
    row("trailers that frame", Either, "POST /case-{N} HTTP/1.1|Host: a|Trailer: Content-Length|Transfer-Encoding: chunked", "{X}\r\n{H}\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n"),
    // Ends of lines, first lines.
    row("LF everywhere", Refused, "POST /case-{N} HTTP/1.1\nHost: a\nContent-Length: {L}\n\n{H}", ""),
    row("LF ends the head", Refused, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}\n\n{H}", ""),
    row("CR everywhere", Refused, "POST /case-{N} HTTP/1.1\rHost: a\rContent-Length: {L}\r\r{H}", ""),
    row("CR CR LF", Refused, "POST /case-{N} HTTP/1.1\r|Host: a|Content-Length: {L}", "{H}"),
    row("NUL in a value", Refused, "POST /case-{N} HTTP/1.1|Host: a|X: a\0b|Content-Length: {L}", "{H}"),
    row("no colon", Refused, "POST /case-{N} HTTP/1.1|Host: a|Nonsense|Content-Length: {L}", "{H}"),
    row("blank line before", Either, "|POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("blank before the method", Refused, " POST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("two blanks, first", Refused, "POST  /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("two blanks, second", Refused, "POST /case-{N}  HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("tabs for blanks", Refused, "POST\t/case-{N}\tHTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("blank after the version", Refused, "POST /case-{N} HTTP/1.1 |Host: a|Content-Length: {L}", "{H}"),
    row("version twice", Refused, "POST /case-{N} HTTP/1.0 HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("version 1.10", Refused, "POST /case-{N} HTTP/1.10|Host: a|Content-Length: {L}", "{H}"),
    row("version 2.0", Refused, "POST /case-{N} HTTP/2.0|Host: a|Content-Length: {L}", "{H}"),
    row("version in small letters", Refused, "POST /case-{N} http/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("version 0.9", Refused, "GET /case-{N}", "{H}"),
    row("CR in the target", Refused, "POST /case-{N}\rX HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("encoded CR LF", Either, "POST /case-{N}%20HTTP/1.1%0d%0aX:%20y HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("method with odd bytes", Refused, "PO(ST /case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    // Hosts, versions, expectations, upgrades.
    row("two hosts", Refused, "POST /case-{N} HTTP/1.1|Host: a|Host: b|Content-Length: {L}", "{H}"),
    row("no host", Refused, "POST /case-{N} HTTP/1.1|Content-Length: {L}", "{H}"),
    row("absolute form", Either, "POST http://b/case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("absolute form, user", Either, "POST http://a@b/case-{N} HTTP/1.1|Host: a|Content-Length: {L}", "{H}"),
    row("1.0 with chunked", Either, "POST /case-{N} HTTP/1.0|Host: a|Connection: keep-alive|Transfer-Encoding: chunked", CHUNKS),
    row("1.0 with length", One, "POST /case-{N} HTTP/1.0|Host: a|Connection: keep-alive|Content-Length: {L}", "{H}"),
    row("1.0, then more", Either, "GET /case-{N} HTTP/1.0|Host: a", "{H}"),
    row("close, then more", Either, "GET /case-{N} HTTP/1.1|Host: a|Connection: close", "{H}"),
    row("more after a refusal", Refused, "GET /case-{N}\u{7f} HTTP/1.1|Host: a", "{H}"),
    row("Expect, body at once", One, "POST /case-{N} HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: {L}", "{H}"),
    row("Expect, odd", Either, "POST /case-{N} HTTP/1.1|Host: a|Expect: y 100-continue|Content-Length: {L}", "{H}"),
    row("Expect twice", Either, "POST /case-{N} HTTP/1.1|Host: a|Expect: 100-continue|Expect: x|Content-Length: {L}", "{H}"),
    row("upgrade to h2c", Either, "POST /case-{N} HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__|Content-Length: {L}", "{H}"),
    row("upgrade with a body", Either, "POST /case-{N} HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: dGVzdA==|Content-Length: {L}", "{H}"),
    // Honest callers that do not wait.
    row("two GETs", Two, "GET /case-{N} HTTP/1.1|Host: a", "{H}"),
    row("length, then GET", Two, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 5", "hello{H}"),
    row("chunks, then GET", Two, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n{H}"),
    row("trailers, then GET", Two, "POST /case-{N} HTTP/1.1|Host: a|Transfer-Encoding: chunked", "5\r\nhello\r\n000\r\nX: y\r\n\r\n{H}"),
    row("length 0, then GET", Two, "POST /case-{N} HTTP/1.1|Host: a|Content-Length: 0", "{H}"),
];

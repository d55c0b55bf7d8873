//! Syslog, RFC 5424, over UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425) and local datagram sockets.

mod encode;

use super::{COMMON, Json, Sender, Sink, keys, read};
use crate::names::port;
use crate::section::address::Receiver;
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use crate::sink::filter::{Common, Names};
use crate::sink::{packets, stream};
use crate::sink::transport::{DatagramOut, Place, StreamOut};
use crate::tls::{ClientTls, section};
use encode::{Framing, Syslog};
use serde::Deserialize;

const SCHEMES: &[&str] = &["udp", "tcp", "tls", "unixgram"];

pub(super) const KEY: Key = key(
    "syslog",
    Kind::Section(keys![
        key(
            "to",
            Kind::Text(Shape::Receiver(SCHEMES, port::SYSLOG_UDP)),
            "The receiver: `udp://HOST` (port 514), `tcp://HOST` (601), `tls://HOST` (6514) or `unixgram:/dev/log`.",
        )
        .required(),
        key("format", Kind::Word(&[word("rfc5424")]), "How messages are written.").or("rfc5424"),
        key(
            "framing",
            Kind::Word(&[word("octet-counting"), word("newline")]),
            "How one message is told from the next over TCP; TLS always counts octets.",
        )
        .or_words("octet-counting"),
        key("facility", Kind::Word(&FACILITY_WORDS), "Where the records belong in the receiver's order.").or("local0"),
        key("app_name", Kind::Text(Shape::Free), "The APP-NAME, at most 48 characters.").or_words("the service"),
        key(
            "sd_id",
            Kind::Text(Shape::Free),
            "The name of the structured data: `name@number`, the number being that of an enterprise.",
        )
        .or("fourmi@32473"),
        key(
            "max",
            Kind::Count { min: 480, max: 65_507, word: None },
            "Bytes of a message; a longer one has its text cut, then loses fields.",
        )
        .or_words("2048, over TCP and TLS 8192"),
        key("tls", Kind::Section(section::KEYS), "How `tls://` encrypts and whom it trusts."),
    ]),
    "Syslog, RFC 5424.",
);

/// RFC 5424, table 1, under the names of `syslog.h`; 12 to 15 have only numbers there.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const FACILITY_WORDS: [Word; FACILITIES.len()] = {
    let mut words = [word(""); FACILITIES.len()];
    let mut i = 0;
    while i < FACILITIES.len() {
        words[i] = word(FACILITIES[i]);
        i += 1;
    }
    words
};

/// What receivers should take (RFC 5424, 6.1).
const DATAGRAM: usize = 2048;
/// What rsyslog and syslog-ng take by default.
const STREAM: usize = 8192;
/// RFC 5424, 6: characters of APP-NAME and of the name of structured data.
const APP_MAX: usize = 48;
const SD_ID_MAX: usize = 32;

#[derive(Deserialize)]
struct Raw {
    to: String,
    framing: Option<String>,
    facility: String,
    app_name: Option<String>,
    sd_id: String,
    max: Option<usize>,
    #[serde(default)]
    tls: section::Values,
}

pub(super) fn build(values: &Json) -> Result<Sink, Wrong> {
    let raw: Raw = read(values)?;
    let common: Common = read(values)?;
    let to = receiver(&raw.to)?;
    let target = to.to_string();
    let tls = ClientTls::from(raw.tls);
    let scheme = match &to {
        Receiver::Net { scheme, .. } => scheme.as_str(),
        _ => "unixgram",
    };
    if scheme != "tls" && tls != ClientTls::default() {
        return Err(Wrong::new(format!("{scheme} is not encrypted"), "use tls://, or remove `tls`").of("tls"));
    }
    let framing = match (scheme, raw.framing.as_deref()) {
        ("tcp", Some("newline")) => Framing::Newline,
        ("tls", Some("newline")) => {
            return Err(Wrong::new("over TLS octets are counted (RFC 5425)", "remove `framing`").of("framing"));
        }
        ("tcp" | "tls", _) => Framing::OctetCounting,
        (_, None) => Framing::None,
        (_, Some(_)) => {
            return Err(Wrong::new("a datagram is one message, without framing", "remove `framing`").of("framing"));
        }
    };
    if let Some(name) = &raw.app_name
        && !is_name(name, APP_MAX, "")
    {
        let fix = "use at most 48 characters of plain ASCII without spaces";
        return Err(Wrong::new(format!("`{name}` is no APP-NAME"), fix).of("app_name"));
    }
    sd_id(&raw.sd_id)?;
    let encode = Syslog {
        facility: FACILITIES.iter().position(|f| *f == raw.facility).unwrap_or(16) as u8,
        app_name: raw.app_name,
        sd_id: raw.sd_id,
        // What waits in the buffer must be able to.
        max: raw.max.unwrap_or(if framing == Framing::None { DATAGRAM } else { STREAM }).min(common.buffer / 2),
        framing,
        names: Names::new(&common),
        ..Syslog::default()
    };
    Ok(Sink { target, encode: Box::new(encode), send: send(to, tls)? })
}

fn send(to: Receiver, tls: ClientTls) -> Result<Sender, Wrong> {
    let datagrams = |open: Box<dyn FnOnce() -> DatagramOut + Send>| -> Sender {
        Box::new(move |outlet, inbox| Box::pin(packets::run(outlet, inbox, open())))
    };
    Ok(match to {
        Receiver::Net { scheme, host, port } if scheme == "udp" => {
            datagrams(Box::new(move || DatagramOut::udp(&host, port)))
        }
        Receiver::Unix { path, .. } => datagrams(Box::new(move || DatagramOut::unix(&path))),
        Receiver::Net { scheme, host, port } => {
            let tls = match scheme.as_str() {
                "tls" => Some(tls.connector(&[]).map_err(|why| Wrong::new(why, "see `tls`").of("tls"))?),
                _ => None,
            };
            Box::new(move |outlet, inbox| {
                Box::pin(stream::run(outlet, inbox, StreamOut::new(Place::Tcp { host, port, tls })))
            })
        }
        Receiver::Http { .. } => return Err(Wrong::new("syslog does not go over HTTP", "use tcp://").of("to")),
    })
}

/// The receiver; each way has its own usual port.
fn receiver(text: &str) -> Result<Receiver, Wrong> {
    let port = match crate::section::address::scheme(text) {
        Some((scheme, _)) if scheme == "tcp" => port::SYSLOG_TCP,
        Some((scheme, _)) if scheme == "tls" => port::SYSLOG_TLS,
        _ => port::SYSLOG_UDP,
    };
    Receiver::parse(text, SCHEMES, port).map_err(|w| w.of("to"))
}

/// Printable ASCII without spaces (RFC 5424, 6), and without these.
fn is_name(text: &str, max: usize, without: &str) -> bool {
    (1..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() && !without.contains(c))
}

/// `name@number`: names without a number are for the IANA to give away (RFC 5424, 6.3.2).
fn sd_id(text: &str) -> Result<(), Wrong> {
    let number = text.split_once('@').map(|(_, number)| number);
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match is_name(text, SD_ID_MAX, "=]\"") && number.is_some_and(is_number) && !text.starts_with('@') {
        true => Ok(()),
        false => {
            let message = format!("`{text}` is no name of structured data");
            Err(Wrong::new(message, "write name@number, such as fourmi@32473, at most 32 characters").of("sd_id"))
        }
    }
}

#[cfg(test)]
mod tests;

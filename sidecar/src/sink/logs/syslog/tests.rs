use super::super::tests::values;
use super::*;
use crate::sink::entry::{Entry, What};
use crate::sink::fields::Who;
use crate::sink::generation::Encode;
use crate::sink::logs::LogSettings;
use crate::sink::record::tests::{identity, sample};
use serde_json::{Value, json};
use std::sync::Arc;

/// A message in its parts.
struct Read {
    head: Vec<String>,
    params: Vec<(String, String)>,
    text: String,
}

/// Reads a message as RFC 5424's grammar has it.
fn parse(message: &[u8]) -> Read {
    let text = std::str::from_utf8(message).unwrap();
    let mut parts = text.splitn(7, ' ');
    let head: Vec<String> = parts.by_ref().take(6).map(str::to_owned).collect();
    let rest = parts.next().unwrap();
    let mut params = Vec::new();
    let rest = match rest.strip_prefix("- ") {
        Some(rest) => rest,
        None => {
            let mut at = rest.find([' ', ']']).unwrap();
            assert_eq!(&rest[..at], "[fourmi@32473");
            while rest[at..].starts_with(' ') {
                let (name, _) = rest[at + 1..].split_once("=\"").unwrap();
                let mut value = String::new();
                let mut chars = rest[at + 1 + name.len() + 2..].char_indices();
                let end = loop {
                    match chars.next().unwrap() {
                        (i, '"') => break i,
                        (_, '\\') => value.push(chars.next().unwrap().1),
                        (_, ']') => panic!("a bracket by itself in {rest}"),
                        (_, c) => value.push(c),
                    }
                };
                params.push((name.to_owned(), value));
                at += 1 + name.len() + 2 + end + 1;
            }
            rest[at..].strip_prefix("] ").unwrap()
        }
    };
    Read { head, params, text: rest.strip_prefix('\u{feff}').unwrap().to_owned() }
}

impl Read {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

fn syslog(max: usize, framing: Framing) -> Syslog {
    Syslog { sd_id: "fourmi@32473".into(), max, framing, ..Syslog::default() }
}

fn message(syslog: &mut Syslog, entry: &Entry<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(syslog.encode(&mut out, entry, &Who::new(&identity(&[("team", "orders")]))));
    out
}

#[test]
fn a_message_has_every_part_that_the_rfc_names() {
    let x = sample(&identity(&[]));
    let out = message(&mut syslog(2048, Framing::None), &Entry::of(What::Command, &x));
    let pid = std::process::id();
    let head = format!("<134>1 2023-11-14T22:13:20.125000Z pay-3 order {pid} CreateOrder [fourmi@32473 ");
    assert!(out.starts_with(head.as_bytes()), "{}", String::from_utf8_lossy(&out));
    let read = parse(&out);
    assert_eq!(read.text, "CreateOrder 200 12.34 ms");
    for (name, value) in [
        ("env", "prod"),
        ("command_id", "42"),
        ("tag_team", "orders"),
        ("tag_shop", "7"),
        ("status", "200"),
        ("duration_ms", "12.34"),
        ("client", "10.1.2.3"),
        ("trace_id", "00000000000000000000000000000abc"),
        ("span_id", "0000000000000def"),
    ] {
        assert_eq!(read.param(name), Some(value), "{name}");
    }
    // Severity 3, and a time that nobody knows.
    let mut entry = Entry::line(3, 0, "broken", Vec::new());
    let read = parse(&message(&mut syslog(2048, Framing::None), &entry));
    assert_eq!((read.head[0].as_str(), read.head[1].as_str(), read.head[5].as_str()), ("<131>1", "-", "-"));
    entry.command = "Pay";
    let mut named = Syslog { app_name: Some("shop".into()), facility: 1, ..syslog(2048, Framing::None) };
    let read = parse(&message(&mut named, &entry));
    assert_eq!((read.head[0].as_str(), read.head[3].as_str(), read.head[5].as_str()), ("<11>1", "shop", "Pay"));
}

#[test]
fn row_60_values_are_escaped_and_come_back() {
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("odd".into(), "a\"b]c\\d".into()), ("é k=]".into(), "é\n€".into())];
    let out = message(&mut syslog(2048, Framing::None), &Entry::of(What::Command, &x));
    assert!(String::from_utf8_lossy(&out).contains(r#" tag_odd="a\"b\]c\\d" "#), "{}", String::from_utf8_lossy(&out));
    let read = parse(&out);
    assert_eq!(read.param("tag_odd"), Some("a\"b]c\\d"));
    assert_eq!(read.param("tag___k__"), Some("é\n€"));
}

#[test]
fn row_61_octets_are_counted_not_characters() {
    let entry = Entry::line(6, 1, "né\nzwei", Vec::new());
    let plain = message(&mut syslog(2048, Framing::None), &entry);
    let counted = message(&mut syslog(2048, Framing::OctetCounting), &entry);
    assert_eq!(counted, [format!("{} ", plain.len()).as_bytes(), &plain].concat());
    assert!(plain.len() > String::from_utf8(plain.clone()).unwrap().chars().count());
    // Framed by newlines it has only the one at its end.
    let line = message(&mut syslog(2048, Framing::Newline), &entry);
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    assert!(line.ends_with("né zwei\n".as_bytes()));
}

#[test]
fn row_62_names_are_cut_and_cleaned() {
    let mut x = sample(&identity(&[]));
    x.command.name = "Place Order é of a very long name, indeed".into();
    let read = parse(&message(&mut syslog(2048, Framing::None), &Entry::of(What::Command, &x)));
    assert_eq!(read.head[5], "Place_Order___of_a_very_long_nam");
    assert_eq!(read.head[5].len(), 32);
    x.command.name = "".into();
    x.route = "".into();
    x.command.tags = vec![("k".repeat(60).into(), "v".into())];
    let read = parse(&message(&mut syslog(2048, Framing::None), &Entry::of(What::Command, &x)));
    assert_eq!(read.head[5], "command");
    assert!(read.params.iter().all(|(name, _)| name.len() <= 32), "{:?}", read.params);
}

#[test]
fn what_is_too_long_loses_text_first_and_then_fields() {
    let long = "wörter ".repeat(2000);
    let out = message(&mut syslog(2048, Framing::None), &Entry::line(6, 1, &long, Vec::new()));
    assert!(out.len() <= 2048 && out.len() > 2040, "{}", out.len());
    let read = parse(&out);
    assert!(long.starts_with(&read.text) && read.text.len() > 1500);
    assert_eq!((read.param("tag_team"), read.param("truncated")), (Some("orders"), Some("true")));
    let mut x = sample(&identity(&[]));
    x.command.tags = (0..16).map(|n| (format!("t{n}").into(), "\"]".repeat(64))).collect();
    for max in [480, 600, 1024, 2048] {
        let out = message(&mut syslog(max, Framing::None), &Entry::of(What::Command, &x));
        assert!(out.len() <= max, "{} of {max}", out.len());
        let read = parse(&out);
        assert_eq!((read.text.as_str(), read.param("truncated")), ("CreateOrder 200 12.34 ms", Some("true")));
    }
}

#[test]
fn sections_that_cannot_be_are_refused_with_their_key() {
    let check = |own: Value| {
        let mut all = json!({"to": "udp://h", "facility": "local0", "sd_id": "fourmi@32473"});
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        LogSettings::new("syslog", values(all)).map(|s| s.build(&Arc::default()).ok().unwrap().target)
    };
    for (to, shown) in [
        ("udp://h", "udp://h:514"),
        ("tcp://h", "tcp://h:601"),
        ("tls://h", "tls://h:6514"),
        ("tcp://h:5", "tcp://h:5"),
        ("unixgram:/dev/log", "unixgram:/dev/log"),
    ] {
        assert_eq!(check(json!({"to": to})).unwrap(), shown);
    }
    assert!(check(json!({"to": "tcp://h", "framing": "newline"})).is_ok());
    for (own, key) in [
        (json!({"framing": "newline"}), "framing"),
        (json!({"to": "tls://h", "framing": "newline"}), "framing"),
        (json!({"to": "tls://h", "tls": {"ca": "/no/such/file"}}), "tls"),
        (json!({"tls": {"server_name": "h"}}), "tls"),
        (json!({"to": "http://h"}), "to"),
        (json!({"app_name": "two words"}), "app_name"),
        (json!({"sd_id": "fourmi"}), "sd_id"),
        (json!({"sd_id": "a b@1"}), "sd_id"),
        (json!({"sd_id": "x@"}), "sd_id"),
    ] {
        assert_eq!(check(own.clone()).unwrap_err().key, Some(key), "{own}");
    }
}

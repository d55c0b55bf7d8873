//! Sections `zmq:`: how messages are taken by a listener.

use super::raw;
use super::tree::Node;
use crate::exchange::frames::{self, Errors, Inlet, Part, Proof};
use crate::exchange::z85;
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const LAYOUT: Kind =
    Kind::List(&Kind::Word(&[word("name"), word("id"), word("apikey"), word("headers"), word("body")]));
const REPLY: &[Word] = &[word("status"), word("id"), word("headers"), word("body")];

/// What a listener says of messages.
pub(crate) const KEYS: &[Key] = &[
    key("frames", LAYOUT, "What the frames of a message say, in their order; `body` comes last.")
        .or_words("commands.identify.frames"),
    key("reply", Kind::List(&Kind::Word(REPLY)), "The same for answers.").or("[body]"),
    key(
        "errors",
        Kind::Text(Shape::Free),
        "What is answered when there is no answer: `problem`, `silent`, or a text with `{status}`, `{code}`, \
         `{title}`, `{detail}` and `{id}`.",
    )
    .or("problem"),
    key(
        "accepted",
        Kind::Text(Shape::Free),
        "What is answered when the command is stored, with `{id}` and `{state}`; `OK`, for instance.",
    )
    .or_words("the document that HTTP callers get"),
    key(
        "envelope",
        Kind::Word(&[word("required"), word("raw")]),
        "`raw`: messages have no empty frame before them, as of a DEALER that adds none.",
    )
    .or("required"),
    key(
        "client_timeout",
        Kind::Duration { min: Duration::from_millis(10), off: true },
        "How long callers wait: they are answered when four fifths of it are over, so that no REQ socket is left stuck.",
    )
    .or("off"),
    key("max_message", Kind::Bytes { min: 1, max: 1 << 30 }, "Bytes of a message; a longer one ends its connection.")
        .or("16MiB"),
    key("service", Kind::Text(Shape::ServiceName), "Outbound: the service that messages go to."),
    key("plain", Kind::Section(PLAIN), "Callers prove who they are by user and password (PLAIN).").or_words("off"),
    key("curve", Kind::Section(CURVE), "Callers prove who they are by a key, and all is encrypted (CURVE).")
        .or_words("off"),
];

const PLAIN: &[Key] =
    &[key("users_file", Kind::Text(Shape::File), "A file with a line `user:password` for each that is let in.")
        .required()];

const CURVE: &[Key] = &[
    key("secret_key_file", Kind::Text(Shape::File), "A file with our secret key in Z85, as ZeroMQ's tools write it.")
        .required(),
    key(
        "clients_file",
        Kind::Text(Shape::File),
        "A file with a line for each that is let in: its public key in Z85, and a name. All are, without one.",
    ),
];

#[derive(Deserialize)]
struct Values {
    frames: Vec<String>,
    reply: Vec<String>,
    errors: String,
    accepted: Option<String>,
    envelope: String,
    client_timeout: Option<Duration>,
    max_message: usize,
    service: Option<String>,
    plain: Option<Plain>,
    curve: Option<Curve>,
}

#[derive(Deserialize)]
struct Plain {
    users_file: String,
}

#[derive(Deserialize)]
struct Curve {
    secret_key_file: String,
    clients_file: Option<String>,
}

fn layout(words: &[String]) -> Result<Arc<[Part]>, Wrong> {
    frames::layout(words).map_err(|(message, fix)| Wrong::new(message, fix))
}

/// What `commands.identify.frames` says, which holds for listeners that say nothing.
pub(crate) fn usual(root: &Node) -> Result<Arc<[Part]>, Wrong> {
    let Some(node) = root.get("commands").and_then(|c| c.get("identify")).and_then(|i| i.get("frames")) else {
        return Ok(Arc::new([Part::Body]));
    };
    let words: Vec<String> = node.items().iter().filter_map(Node::text).map(str::to_owned).collect();
    layout(&words).map_err(|wrong| wrong.of("frames"))
}

/// How a listener takes messages, or why it can't be so. Its files are read now.
pub(crate) fn inlet(listener: &Node, root: &Node) -> Result<Inlet, Wrong> {
    let frames = usual(root).unwrap_or_else(|_| Arc::new([Part::Body]));
    let Some(node) = listener.get("zmq") else { return Ok(Inlet { frames, ..Inlet::default() }) };
    let values: Value = raw::section(node, KEYS);
    let v = Values::deserialize(&values).map_err(|e| Wrong::new(e.to_string(), "correct the section"))?;
    let frames = if v.frames.is_empty() { frames } else { layout(&v.frames).map_err(|w| w.of("frames"))? };
    let proof = match (v.plain, v.curve) {
        (Some(_), Some(_)) => {
            return Err(Wrong::new("`plain` and `curve` are two ways of the same", "choose one").of("curve"));
        }
        (Some(plain), None) => Proof::Plain(users(&plain.users_file).map_err(|w| w.of("plain"))?),
        (None, Some(curve)) => self::curve(&curve).map_err(|w| w.of("curve"))?,
        (None, None) => Proof::Null,
    };
    if let Some(text) = &v.accepted {
        places(text, &["id", "state", "status"]).map_err(|w| w.of("accepted"))?;
    }
    Ok(Inlet {
        frames,
        reply: layout(&v.reply).map_err(|w| w.of("reply"))?,
        errors: match v.errors.as_str() {
            "problem" => Errors::Problem,
            "silent" => Errors::Silent,
            text => {
                places(text, &["status", "code", "title", "detail", "id"]).map_err(|w| w.of("errors"))?;
                Errors::Text(text.into())
            }
        },
        accepted: v.accepted.map(Into::into),
        raw: v.envelope == "raw",
        patience: v.client_timeout,
        max: v.max_message,
        service: v.service.map(|name| name.to_ascii_lowercase().into()),
        proof,
    })
}

/// Whether the places in a text are some that are filled.
fn places(text: &str, known: &[&str]) -> Result<(), Wrong> {
    if let Some(word) = ["problem", "silent"].iter().find(|word| text.eq_ignore_ascii_case(word)) {
        return Err(Wrong::new(format!("`{text}` would be the text that callers get"), format!("write `{word}`")));
    }
    let words = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(word, _)| word);
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match words.filter(is_word).find(|word| !known.contains(word)) {
        None => Ok(()),
        Some(word) => Err(Wrong::new(
            format!("`{{{word}}}` is not replaced"),
            format!("write {}", known.iter().map(|k| format!("{{{k}}}")).collect::<Vec<_>>().join(", ")),
        )),
    }
}

/// The lines of a file that say something, with their numbers.
fn lines(path: &str) -> Result<Vec<(usize, String)>, Wrong> {
    let text = std::fs::read_to_string(Path::new(path))
        .map_err(|e| Wrong::new(format!("cannot read {path}: {e}"), "name a file that fourmi can read"))?;
    // A key in Z85 may begin with `#`: a comment has a blank behind it.
    let wanted = |line: &&str| !line.is_empty() && *line != "#" && !line.starts_with("# ");
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| wanted(line));
    Ok(lines.map(|(n, line)| (n + 1, line.to_owned())).collect())
}

fn users(path: &str) -> Result<Arc<[(String, String)]>, Wrong> {
    let mut all = Vec::new();
    for (n, line) in &lines(path)? {
        let fits = |text: &str| !text.is_empty() && text.len() <= 255;
        match line.split_once(':') {
            Some((user, password)) if fits(user) && fits(password) => all.push((user.to_owned(), password.to_owned())),
            _ => {
                let message = format!("{path}:{n}: it is not `user:password`, each 1 to 255 bytes");
                return Err(Wrong::new(message, "write a line for each user"));
            }
        }
    }
    match all.is_empty() {
        true => Err(Wrong::new(format!("{path} names nobody, so nobody is let in"), "write a line `user:password`")),
        false => Ok(all.into()),
    }
}

fn curve(values: &Curve) -> Result<Proof, Wrong> {
    const FIX: &str = "write the 40 characters that zmq_curve_keypair or `zmq.curve_keypair()` gives";
    let path = &values.secret_key_file;
    let secret = lines(path)?;
    let secret = secret.iter().find_map(|(_, line)| z85::key(line.rsplit('"').find(|p| p.len() == 40).unwrap_or(line)));
    let secret = secret.ok_or_else(|| Wrong::new(format!("{path} holds no key in Z85"), FIX))?;
    let mut clients = Vec::new();
    for (n, line) in values.clients_file.as_deref().map(lines).transpose()?.unwrap_or_default() {
        let (key, name) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        let at = values.clients_file.as_deref().unwrap_or_default();
        let known = z85::key(key).ok_or_else(|| Wrong::new(format!("{at}:{n}: it begins with no key in Z85"), FIX))?;
        clients.push((known, name.trim().to_owned()));
    }
    if values.clients_file.is_some() && clients.is_empty() {
        return Err(Wrong::new("the clients_file names nobody, so nobody is let in", "write a line for each key"));
    }
    Ok(Proof::Curve { secret, clients: clients.into() })
}

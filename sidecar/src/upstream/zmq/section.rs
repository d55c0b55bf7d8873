//! The keys that say how an instance of ZeroMQ is spoken to.

use crate::exchange::frames::{self, Compare, MESSAGE_MAX, Outlet, Part, When};
use crate::exchange::z85;
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

const FRAMES: &[Word] = &[word("name"), word("id"), word("apikey"), word("headers"), word("body")];
const REPLY: &[Word] = &[word("status"), word("headers"), word("body")];

/// How an instance of ZeroMQ is spoken to.
pub(crate) const KEYS: &[Key] = &[
    key("frames", Kind::List(&Kind::Word(FRAMES)), "The frames that it gets, in their order; `body` comes last.")
        .or_words("those that came, or the body alone"),
    key("reply", Kind::List(&Kind::Word(REPLY)), "What the frames of its answers say.").or("[body]"),
    key(
        "error_when",
        Kind::Text(Shape::Free),
        "When an answer tells of a failure: a JSON pointer, or one compared with a value: `/status >= 500`, \
         `/error`.",
    )
    .or_words("never"),
    key("max_message", Kind::Bytes { min: 1, max: 1 << 30 }, "Bytes of a message to it, or of its answer.").or("16MiB"),
    key(
        "ahead",
        Kind::Count { min: 0, max: 1000, word: None },
        "Commands that may lie in the socket of a REP while it works on another: quick ones get through faster, and are \
         lost with it when it dies. `concurrency` bounds them, too.",
    )
    .or("0"),
    key("plain", Kind::Section(PLAIN), "Our user and password there (PLAIN)."),
    key("server_key", Kind::Text(Shape::Free), "Its public key in Z85 (CURVE)."),
];

const PLAIN: &[Key] = &[
    key("user", Kind::Text(Shape::Free), "The user.").required(),
    key("password", Kind::Text(Shape::Secret), "The password.").required(),
];

#[derive(Deserialize, Default)]
#[serde(default)]
struct Values {
    frames: Vec<String>,
    reply: Vec<String>,
    error_when: Option<String>,
    max_message: Option<usize>,
    ahead: u32,
    plain: Option<Plain>,
    server_key: Option<String>,
}

#[derive(Deserialize)]
struct Plain {
    user: String,
    password: String,
}

/// What the section says; nothing of it where it is not there.
pub(crate) fn outlet(values: &Value) -> Result<Outlet, Wrong> {
    if values.is_null() {
        return Ok(Outlet::default());
    }
    let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "correct the section"))?;
    let curve = v.server_key.as_deref().map(|text| {
        let wrong = || Wrong::new("the key is not one in Z85", "write the 40 characters of its public key");
        z85::key(text).ok_or_else(|| wrong().of("server_key"))
    });
    if v.plain.is_some() && curve.is_some() {
        return Err(Wrong::new("`plain` and `server_key` are two ways of the same", "choose one").of("server_key"));
    }
    Ok(Outlet {
        frames: (!v.frames.is_empty()).then(|| layout(&v.frames)).transpose().map_err(|w| w.of("frames"))?,
        reply: match v.reply.is_empty() {
            true => Arc::new([Part::Body]),
            false => layout(&v.reply).map_err(|w| w.of("reply"))?,
        },
        error_when: v.error_when.as_deref().map(when).transpose().map_err(|w| w.of("error_when"))?,
        max: v.max_message.unwrap_or(MESSAGE_MAX),
        ahead: v.ahead,
        plain: v.plain.map(|p| (p.user, p.password)),
        curve: curve.transpose()?,
    })
}

fn layout(words: &[String]) -> Result<Arc<[Part]>, Wrong> {
    frames::layout(words).map_err(|(message, fix)| Wrong::new(message, fix))
}

/// `/pointer`, or `/pointer OP value`.
fn when(text: &str) -> Result<When, Wrong> {
    let text = text.trim();
    let wrong = || {
        Wrong::new(
            format!("`{text}` is no condition"),
            "write a JSON pointer, alone or compared by ==, !=, <, <=, > or >= with a value: `/status >= 500`",
        )
    };
    let (pointer, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if !pointer.starts_with('/') {
        return Err(wrong());
    }
    let pointer = pointer.to_owned();
    if rest.trim().is_empty() {
        return Ok(When { pointer, compare: None });
    }
    let (word, value) = rest.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
    let compare = match word {
        "==" | "=" => Compare::Same,
        "!=" => Compare::Other,
        "<" => Compare::Less,
        "<=" => Compare::NotMore,
        ">" => Compare::More,
        ">=" => Compare::NotLess,
        _ => return Err(wrong()),
    };
    let value = value.trim();
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok(When { pointer, compare: Some((compare, value)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_section_says() {
        assert_eq!(outlet(&Value::Null).unwrap(), Outlet::default());
        let all =
            outlet(&json!({"frames": ["name", "body"], "reply": ["status", "body"], "error_when": "/code >= 400",
            "max_message": 5, "plain": {"user": "u", "password": "p"}}))
            .unwrap();
        assert_eq!(all.frames.as_deref(), Some(&[Part::Name, Part::Body][..]));
        assert_eq!(*all.reply, [Part::Status, Part::Body]);
        let condition = When { pointer: "/code".into(), compare: Some((Compare::NotLess, json!(400))) };
        assert_eq!(all.error_when, Some(condition));
        for (text, value) in [("/a == no", json!("no")), ("/a == \"no\"", json!("no")), ("/a == true", json!(true))] {
            assert_eq!(when(text).unwrap().compare, Some((Compare::Same, value)));
        }
        for (values, key) in [
            (json!({"frames": ["body", "name"]}), "frames"),
            (json!({"frames": ["body", "body"]}), "frames"),
            (json!({"reply": ["status"]}), "reply"),
            (json!({"error_when": "status"}), "error_when"),
            (json!({"error_when": "/a ~ 3"}), "error_when"),
            (json!({"error_when": "/a >="}), "error_when"),
            (json!({"server_key": "short"}), "server_key"),
        ] {
            assert_eq!(outlet(&values).unwrap_err().key, Some(key), "{values}");
        }
    }
}

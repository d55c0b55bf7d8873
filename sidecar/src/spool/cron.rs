//! Commands that come again and again, by a cron expression and a time zone.

use super::{Came, New, Request, State, Told};
use crate::section::{Key, Kind, Shape, Wrong, key, word};
use bytes::Bytes;
use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The keys of an entry.
pub(crate) const KEYS: &[Key] = &[
    key("name", Kind::Text(Shape::Field), "The command's name.").required(),
    key(
        "cron",
        Kind::Text(Shape::Free),
        "When: minute, hour, day of month, month, day of week; also `L`, `15W`, `5#3`.",
    )
    .required(),
    key("zone", Kind::Text(Shape::Free), "The time zone that is meant, such as Europe/Berlin.").or("UTC"),
    key("method", Kind::Text(Shape::Free), "Of the request to the worker.").or("POST"),
    key("path", Kind::Text(Shape::Path), "Its path, with the query.").required(),
    key("headers", Kind::Named(Shape::Header, &Kind::Text(Shape::Free)), "Its headers."),
    key("body", Kind::Text(Shape::Free), "Its body."),
    key("route", Kind::Text(Shape::Free), "The route of the gateway that it takes.").or_words("straight to the worker"),
    key(
        "overlap",
        Kind::Word(&[word("skip"), word("queue")]),
        "What happens when the one before has not ended: the next one is left out, or waits for it.",
    )
    .or("skip"),
];

/// The route of a worker without a gateway.
const WORKER: &str = "worker";

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The command's name.
    pub name: String,
    /// As it is written, with its zone.
    pub text: String,
    /// Whether one waits for the one before, rather than being left out.
    pub queues: bool,
    cron: Crontab,
    request: Request,
    authority: String,
    route: String,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        let of = |e: &Entry| (e.name.clone(), e.text.clone(), e.queues, e.request.clone(), e.route.clone());
        of(self) == of(other)
    }
}

#[derive(Deserialize)]
struct Values {
    name: String,
    cron: String,
    zone: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    route: Option<String>,
    overlap: String,
}

impl Entry {
    /// What an entry says, or why it can't be.
    pub(crate) fn new(values: &Value) -> Result<Entry, Wrong> {
        let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "see docs/delivery.md"))?;
        if v.cron.split_whitespace().count() != 5 {
            let message = format!("`{}` has not five fields", v.cron);
            let fix =
                "write minute, hour, day of month, month, day of week: `15 2 * * *`; the zone has a key of its own";
            return Err(Wrong::new(message, fix).of("cron"));
        }
        if jiff::tz::TimeZone::get(&v.zone).is_err() {
            let message = format!("`{}` is no time zone that this machine knows", v.zone);
            let fix = "write one such as Europe/Berlin; a container may need its package tzdata";
            return Err(Wrong::new(message, fix).of("zone"));
        }
        let text = format!("{} {}", v.cron.trim(), v.zone);
        let cron = parse_crontab(&text).map_err(|e| {
            let why = e.to_string().lines().next().unwrap_or_default().to_owned();
            Wrong::new(format!("`{}` is no cron expression: {why}", v.cron), "write one such as `15 2 * * *`")
                .of("cron")
        })?;
        if v.method.parse::<http::Method>().is_err() {
            return Err(Wrong::new(format!("`{}` is no method", v.method), "write POST").of("method"));
        }
        let mut headers: BTreeMap<String, String> =
            v.headers.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
        if let Some(value) = headers.values().find(|v| v.bytes().any(|b| b < b' ' && b != b'\t')) {
            return Err(
                Wrong::new(format!("`{value}` cannot be a header's value"), "write it on one line").of("headers")
            );
        }
        let authority = headers.remove("host").unwrap_or_else(|| "worker".to_owned());
        headers.insert("host".to_owned(), authority.clone());
        let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let request = Request::new(&v.method, &v.path, lines, Bytes::from(v.body.unwrap_or_default()));
        let route = v.route.unwrap_or_else(|| WORKER.to_owned());
        Ok(Entry { name: v.name, text, queues: v.overlap == "queue", cron, request, authority, route })
    }

    /// The first moment after one, in milliseconds since 1970.
    pub fn after(&self, millis: i64) -> Option<i64> {
        let from = Timestamp::from_millisecond(millis).ok()?;
        self.cron.find_next(MakeTimestamp(from)).ok().map(|next| next.timestamp().as_millisecond())
    }

    /// What marks its commands.
    pub fn key(&self) -> String {
        // With a blank, which no key or id of a caller has: nobody can hold it back.
        format!("cron {}", self.name)
    }

    /// The command of one moment; the same moment is the same command.
    pub fn command(&self, service: &str, at: i64) -> New {
        let when = Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |t| t.to_string());
        New {
            told: Told {
                id: format!("cron:{}:{when}", self.name),
                name: self.name.clone(),
                direction: "inbound".to_owned(),
                service: service.to_owned(),
                route: self.route.clone(),
                key: Some(self.key()),
                came: Came {
                    protocol: "http/1.1".to_owned(),
                    authority: self.authority.clone(),
                    trusted: true,
                    id_given: true,
                    caller: "schedule".to_owned(),
                    ..Came::default()
                },
                ..Told::default()
            },
            request: self.request.clone(),
            fingerprint: [0; 16],
            state: State::Ready,
            attempt: 0,
            created: at,
            due: at,
            expires: None,
            error: None,
            status: 0,
            finished: None,
            promised: false,
            in_turn: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(cron: &str, zone: &str) -> Result<Entry, Wrong> {
        Entry::new(&json!({"name": "Report", "cron": cron, "zone": zone, "method": "POST", "path": "/r",
            "overlap": "skip", "body": "x"}))
    }

    fn next(cron: &str, zone: &str, from: &str) -> String {
        let from = from.parse::<Timestamp>().unwrap().as_millisecond();
        let at = entry(cron, zone).unwrap().after(from).unwrap();
        Timestamp::from_millisecond(at).unwrap().to_string()
    }

    #[test]
    fn moments_are_those_of_the_zone() {
        assert_eq!(next("15 2 * * *", "UTC", "2026-11-29T02:15:00Z"), "2026-11-30T02:15:00Z");
        assert_eq!(next("15 2 * * *", "Europe/Berlin", "2026-11-29T00:00:00Z"), "2026-11-29T01:15:00Z");
        assert_eq!(next("15 2 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z"), "2026-07-01T00:15:00Z");
        assert_eq!(next("*/15 8-17 * * mon-fri", "UTC", "2026-11-28T09:00:00Z"), "2026-11-30T08:00:00Z");
        assert_eq!(next("0 0 L * *", "UTC", "2026-02-01T00:00:00Z"), "2026-02-28T00:00:00Z");
        // 2:30 does not exist on that night: the clocks go from 2 to 3.
        let spring = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z");
        assert!(spring.starts_with("2026-03-29") || spring.starts_with("2026-03-30"), "{spring}");
    }

    #[test]
    fn what_cannot_be_says_which_key() {
        for (cron, zone, key) in [
            ("* * * *", "UTC", "cron"),
            ("61 * * * *", "UTC", "cron"),
            ("* * * * * *", "UTC", "cron"),
            ("@daily", "UTC", "cron"),
            ("* * * * *", "Mars/Olympus", "zone"),
        ] {
            assert_eq!(entry(cron, zone).unwrap_err().key, Some(key), "{cron} {zone}");
        }
    }

    #[test]
    fn one_moment_is_one_command() {
        let entry = entry("15 2 * * *", "UTC").unwrap();
        let new = entry.command("order", 1_795_918_500_000);
        assert_eq!(new.told.id, "cron:Report:2026-11-29T02:15:00Z");
        assert_eq!(new.told.key.as_deref(), Some("cron Report"));
        assert_eq!(new.request.first(), Some(("POST", "/r")));
    }
}

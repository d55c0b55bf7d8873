//! The section `healthchecks:`: Kong's names, defaults and limits, and what is ours of passive checks.

use super::active::{Active, Speak};
use super::limits::Statuses;
use super::passive::{Ejection, Passive};
use crate::section::{Key, Kind, Shape, Word, Wrong, key, word};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Kong's limit of seconds.
const SECONDS: Kind = Kind::Seconds { max: Duration::from_secs(65_535) };
const COUNTER: Kind = Kind::Count { min: 0, max: 255, word: None };
const STATUSES: Kind = Kind::List(&Kind::Count { min: 100, max: 999, word: None });
const TYPES: &[Word] = &[word("http"), word("https"), word("tcp"), word("grpc"), word("grpcs")];

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key("active", Kind::Section(ACTIVE), "Questions to the instances; off while both intervals are 0."),
    key("passive", Kind::Section(PASSIVE), "What commands say about the instances.")
        .or_words("5 failed connections or 3 timeouts in a row eject an instance"),
    key(
        "threshold",
        Kind::Count { min: 0, max: 100, word: None },
        "The service as a whole is down unless more than this percentage of its weight is usable.",
    )
    .or("0"),
];

const ACTIVE: &[Key] = &[
    key("type", Kind::Word(TYPES), "What is spoken; `grpc` and `grpcs` ask the gRPC health service.").or("http"),
    key("timeout", SECONDS, "How long a question may take, its connection included.").or("1"),
    key(
        "concurrency",
        Kind::Count { min: 1, max: 1 << 31, word: None },
        "Questions to the service's instances at once.",
    )
    .or("10"),
    key("http_path", Kind::Text(Shape::Path), "What is asked for over HTTP.").or("/"),
    key(
        "headers",
        Kind::Named(Shape::Header, &Kind::OneOrMany(&Kind::Text(Shape::Free))),
        "Header lines of the questions.",
    ),
    key("https_sni", Kind::Text(Shape::Free), "The server name of questions over TLS.").or_words("the host"),
    key("https_verify_certificate", Kind::Flag, "Whether the certificate is verified.").or("true"),
    key(
        "healthy",
        Kind::Section(&[
            key("interval", SECONDS, "How often a usable instance is asked; 0 for never.").or("0"),
            key("http_statuses", STATUSES, "Answers that are successes.").or("[200, 302]"),
            key(
                "successes",
                COUNTER,
                "So many in a row bring an instance back; with 0 single commands do, after a while.",
            )
            .or("0"),
        ]),
        "The way back.",
    ),
    key(
        "unhealthy",
        Kind::Section(&[
            key(
                "interval",
                SECONDS,
                "How often an instance that is out is asked; with 0 single commands bring it back.",
            )
            .or("0"),
            key("http_statuses", STATUSES, "Answers that are failures.").or("[429, 404, 500, 501, 502, 503, 504, 505]"),
            key("tcp_failures", COUNTER, "So many failed connections take an instance out; 0 for never.").or("0"),
            key("timeouts", COUNTER, "The same of timeouts.").or("0"),
            key("http_failures", COUNTER, "The same of failures by status.").or("0"),
        ]),
        "The way out.",
    ),
];

const PASSIVE: &[Key] = &[
    key("type", Kind::Word(TYPES), "Taken from Kong's files, and without effect.").or("http"),
    key(
        "healthy",
        Kind::Section(&[
            key("http_statuses", STATUSES, "Answers that are successes.")
                .or("[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308]"),
            key("successes", COUNTER, "So many in a row bring a half-open instance back, one at least.").or("0"),
        ]),
        "The way back. With this or `unhealthy`, Kong's defaults hold for both.",
    )
    .or_words("any answer but 502, 503 and 504"),
    key(
        "unhealthy",
        Kind::Section(&[
            key("http_statuses", STATUSES, "Answers that are failures; 504 counts as a timeout.").or("[429, 500, 503]"),
            key("tcp_failures", COUNTER, "So many failed connections in a row eject; 0 for never.").or("0"),
            key("timeouts", COUNTER, "The same of timeouts.").or("0"),
            key("http_failures", COUNTER, "The same of failures by status.").or("0"),
        ]),
        "The way out.",
    )
    .or_words("5 failed connections or 3 timeouts"),
    key(
        "ejection",
        Kind::Section(&[
            key(
                "base",
                Kind::Duration { min: Duration::from_millis(1), off: false },
                "How long the first ejection takes; each further one in close succession takes this much longer.",
            )
            .or("10s"),
            key("max", Kind::Duration { min: Duration::from_millis(1), off: false }, "The longest ejection.").or("5m"),
        ]),
        "How long an instance is left alone. Then single commands may prove that it is well again.",
    ),
    key(
        "max_ejected",
        Kind::Share,
        "The share of the service's instances that may be ejected at once; one may, and the last usable one never.",
    )
    .or("0.5"),
];

/// The values of the section; also without it.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
pub(crate) struct Values {
    active: Option<ActiveValues>,
    passive: Option<PassiveValues>,
    threshold: u8,
}

#[derive(Debug, Clone, Deserialize)]
struct ActiveValues {
    r#type: SpeakValue,
    timeout: Duration,
    concurrency: u32,
    http_path: String,
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
    https_sni: Option<String>,
    https_verify_certificate: bool,
    healthy: Healthy,
    unhealthy: Unhealthy,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SpeakValue {
    Http,
    Https,
    Tcp,
    Grpc,
    Grpcs,
}

#[derive(Debug, Clone, Deserialize)]
struct Healthy {
    #[serde(default)]
    interval: Duration,
    http_statuses: Vec<u16>,
    successes: u8,
}

#[derive(Debug, Clone, Deserialize)]
struct Unhealthy {
    #[serde(default)]
    interval: Duration,
    http_statuses: Vec<u16>,
    tcp_failures: u8,
    timeouts: u8,
    http_failures: u8,
}

#[derive(Debug, Clone, Deserialize)]
struct PassiveValues {
    healthy: Option<Healthy>,
    unhealthy: Option<Unhealthy>,
    ejection: EjectionValues,
    max_ejected: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct EjectionValues {
    base: Duration,
    max: Duration,
}

/// All that the section says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Health {
    /// Questions to instances.
    pub active: Active,
    /// What commands say.
    pub passive: Passive,
    /// Percentage of the weight that must be exceeded.
    pub threshold: u8,
}

impl Health {
    /// From the section's values, which have been checked against its keys.
    pub(crate) fn new(values: &Json) -> Result<Health, Wrong> {
        let unread = |e| Wrong::new(format!("the section cannot be read: {e}"), "see `fourmi schema`");
        Values::deserialize(values).map_err(unread)?.try_into()
    }
}

impl TryFrom<Values> for Health {
    type Error = Wrong;

    fn try_from(v: Values) -> Result<Health, Wrong> {
        Ok(Health {
            active: v.active.map_or_else(|| Ok(Active::default()), active)?,
            passive: v.passive.map_or_else(|| Ok(Passive::default()), passive)?,
            threshold: v.threshold,
        })
    }
}

fn active(v: ActiveValues) -> Result<Active, Wrong> {
    let standard = Active::default();
    if let Some(name) = &v.https_sni
        && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        let wrong = Wrong::new(format!("`{name}` is neither a host name nor an address"), "write a host name");
        return Err(wrong.of("active.https_sni"));
    }
    let mut limits = standard.limits;
    limits.healthy = Statuses::of(v.healthy.http_statuses);
    limits.successes = v.healthy.successes;
    counted(&mut limits, &v.unhealthy);
    let headers = v.headers.into_iter().flat_map(|(name, values)| values.into_iter().map(move |v| (name.clone(), v)));
    Ok(Active {
        speak: match v.r#type {
            SpeakValue::Http => Speak::Http,
            SpeakValue::Https => Speak::Https,
            SpeakValue::Tcp => Speak::Tcp,
            SpeakValue::Grpc => Speak::Grpc,
            SpeakValue::Grpcs => Speak::Grpcs,
        },
        // Nothing is answered in no time; nginx takes 0 for its default too.
        timeout: if v.timeout.is_zero() { standard.timeout } else { v.timeout },
        concurrency: v.concurrency,
        path: v.http_path,
        headers: headers.collect(),
        sni: v.https_sni,
        verify: v.https_verify_certificate,
        limits,
        healthy_interval: v.healthy.interval,
        unhealthy_interval: v.unhealthy.interval,
    })
}

fn counted(limits: &mut super::Limits, v: &Unhealthy) {
    limits.unhealthy = Statuses::of(v.http_statuses.iter().copied());
    limits.http_failures = v.http_failures;
    limits.tcp_failures = v.tcp_failures;
    limits.timeouts = v.timeouts;
}

fn passive(v: PassiveValues) -> Result<Passive, Wrong> {
    if v.ejection.max < v.ejection.base {
        let wrong =
            Wrong::new("the longest ejection is shorter than the first", "make `max` at least as long as `base`");
        return Err(wrong.of("passive.ejection.max"));
    }
    // Who says nothing of what counts has our defaults; who does writes it as for Kong.
    let mut limits = match (&v.healthy, &v.unhealthy) {
        (None, None) => Passive::default().limits,
        _ => Passive::kong().limits,
    };
    if let Some(healthy) = v.healthy {
        limits.healthy = Statuses::of(healthy.http_statuses);
        limits.successes = healthy.successes;
    }
    if let Some(unhealthy) = &v.unhealthy {
        counted(&mut limits, unhealthy);
    }
    let ejection = Ejection { base: v.ejection.base, max: v.ejection.max, share: v.max_ejected };
    Ok(Passive { limits, ejection })
}

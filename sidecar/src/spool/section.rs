//! The section `spool:` as plain values.

use crate::section::{Key, Kind, Shape, Wrong, key};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const TIME: Kind = Kind::Duration { min: Duration::from_secs(1), off: false };
const GIB: u64 = 1 << 30;

/// Its keys.
pub(crate) const KEYS: &[Key] = &[
    key(
        "path",
        Kind::Text(Shape::File),
        "The folder; in it the file `spool.db`, which is SQLite. It must outlive the container.",
    )
    .or("./fourmi-data"),
    key("max_bytes", Kind::Bytes { min: 1 << 20, max: 1 << 50 }, "As large may the file become.").or("1GiB"),
    key(
        "max_commands",
        Kind::Count { min: 1, max: 1 << 40, word: None },
        "As many commands may be in it, those that are finished included.",
    )
    .or("2000000"),
    key("max_body", Kind::Bytes { min: 1, max: 256 << 20 }, "The largest body of a command that is stored.")
        .or("16MiB"),
    key("min_free", Kind::Bytes { min: 0, max: 1 << 50 }, "Nothing is accepted when the disk has less room left.")
        .or("64MiB"),
    key("keep", TIME, "How long a finished command and its answer are remembered.").or("24h"),
    key("keep_dead", TIME, "How long a dead, expired, cancelled or unknown one is.").or("336h"),
    key(
        "key_file",
        Kind::Text(Shape::File),
        "A file with 32 bytes, in hexadecimal or Base64: what is sent and answered \
         is encrypted with it (AES-256-GCM).",
    )
    .or_words("not encrypted"),
    key(
        "concurrency",
        Kind::Count { min: 1, max: 10_000, word: None },
        "As many stored commands of a service are sent at once, when it is well.",
    )
    .or("64"),
    key(
        "headers",
        Kind::List(&Kind::Text(Shape::Header)),
        "Secret headers that are stored all the same, such as `authorization`; others of that kind are left out.",
    )
    .or("[]"),
];

/// What the section says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// The largest file.
    pub max_bytes: u64,
    /// The most commands.
    pub max_commands: u64,
    /// The largest body.
    pub max_body: usize,
    /// The room that must be left on the disk.
    pub min_free: u64,
    /// How long finished ones are kept.
    pub keep: Duration,
    /// How long those are that did not succeed.
    pub keep_dead: Duration,
    /// Where the key is.
    pub key_file: Option<PathBuf>,
    /// How many of a service are sent at once.
    pub concurrency: u32,
    /// Secret headers that are stored, in lower case.
    pub headers: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            path: "./fourmi-data".into(),
            max_bytes: GIB,
            max_commands: 2_000_000,
            max_body: 16 << 20,
            min_free: 64 << 20,
            keep: Duration::from_secs(24 * 3600),
            keep_dead: Duration::from_secs(336 * 3600),
            key_file: None,
            concurrency: 64,
            headers: Vec::new(),
        }
    }
}

impl Settings {
    /// What a section says.
    pub(crate) fn new(values: &Value) -> Result<Settings, Wrong> {
        let v = Values::deserialize(values).map_err(|e| Wrong::new(e.to_string(), "see docs/delivery.md"))?;
        let usual = Settings::default();
        Ok(Settings {
            path: v.path.unwrap_or(usual.path),
            max_bytes: v.max_bytes.unwrap_or(usual.max_bytes),
            max_commands: v.max_commands.unwrap_or(usual.max_commands),
            max_body: v.max_body.unwrap_or(usual.max_body),
            min_free: v.min_free.unwrap_or(usual.min_free),
            keep: v.keep.unwrap_or(usual.keep),
            keep_dead: v.keep_dead.unwrap_or(usual.keep_dead),
            key_file: v.key_file,
            concurrency: v.concurrency.unwrap_or(usual.concurrency),
            headers: v.headers.into_iter().map(|h| h.to_ascii_lowercase()).collect(),
        })
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.path.join("spool.db")
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Values {
    path: Option<PathBuf>,
    max_bytes: Option<u64>,
    max_commands: Option<u64>,
    max_body: Option<usize>,
    min_free: Option<u64>,
    keep: Option<Duration>,
    keep_dead: Option<Duration>,
    key_file: Option<PathBuf>,
    concurrency: Option<u32>,
    headers: Vec<String>,
}

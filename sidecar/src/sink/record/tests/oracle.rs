//! Whatever is told, the gelf crate reads it back as it was.

use super::*;
use proptest::prelude::*;
use serde_json::Map;

/// The crate knows additional fields only as text.
fn as_text(record: &[u8]) -> String {
    let all: Map<String, Value> = serde_json::from_slice(record).unwrap();
    let texts = all.into_iter().map(|(key, value)| match (&value, key.starts_with('_')) {
        (Value::Number(n), true) => (key, Value::String(n.to_string())),
        _ => (key, value),
    });
    Value::Object(texts.collect()).to_string()
}

proptest! {
    #[test]
    fn records_come_back_from_the_gelf_crate(
        message in ".{0,200}",
        level in 0..8_u8,
        micros in 1..4_000_000_000_000_000_u64,
        tags in proptest::collection::btree_map("[a-z]{1,8}", ".{0,60}", 0..8),
        shown in proptest::collection::btree_map("x_[a-zA-Z0-9.-]{1,20}", ".{1,60}", 0..8),
        status in 0..600_u16,
        bytes_in in 0..i64::MAX as u64,
        command in ".{0,40}",
    ) {
        let pairs = shown.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let mut entry = Entry::line(level, micros, &message, pairs);
        entry.tags = super::super::super::entry::Pairs::Read(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect());
        entry.command = &command;
        entry.status = status;
        entry.bytes_in = bytes_in;
        let mut out = Vec::new();
        RecordEncoder::new(Form::Gelf, Names::all(), 180_224).encode(&mut out, &entry, &Who::new(&identity(&[])));
        let text = as_text(&out);
        let read: gelf::Message<'_> = serde_json::from_str(&text).unwrap();
        if message.trim().is_empty() {
            prop_assert!(!read.short_message().trim().is_empty());
        } else {
            prop_assert_eq!(read.short_message().as_ref(), message.as_str());
        }
        prop_assert_eq!(read.level() as u8, level);
        let at = read.timestamp().unwrap().timestamp_micros();
        prop_assert!((at - micros as i64).abs() <= 1, "{} for {}", at, micros);
        let field = |name: &str| read.all_metadata().get(name).map(|v| v.to_string());
        for (key, value) in &tags {
            let expected = (!value.is_empty()).then(|| value.clone());
            prop_assert_eq!(field(&format!("tag_{key}")), expected);
        }
        for (key, value) in &shown {
            prop_assert_eq!(field(key), Some(value.clone()));
        }
        prop_assert_eq!(field("command"), (!command.is_empty()).then(|| command.clone()));
        prop_assert_eq!(field("status"), (status > 0).then(|| status.to_string()));
        prop_assert_eq!(field("env"), Some("prod".to_owned()));
    }
}

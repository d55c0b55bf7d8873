//! The rows of the table of test cases for GELF that an encoder decides. Where this project decided otherwise, the row
//! says so and why.

use super::*;
use crate::sink::fields::FIELDS;
use crate::sink::filter::Common;
use serde_json::json;

/// A row that holds in another form than its table has it.
#[allow(clippy::print_stdout)]
fn exception(row: u32, why: &str) {
    println!("exception: row {row:02}: {why}");
}

fn tagged(tags: &[(&str, &str)]) -> Value {
    let mut x = sample(&identity(&[]));
    x.command.tags = tags.iter().map(|(k, v)| (Arc::from(*k), (*v).to_owned())).collect();
    gelf(&x).0
}

fn line(entry: &Entry<'_>, max: usize) -> (Value, String) {
    let mut out = Vec::new();
    RecordEncoder::new(Form::Gelf, Names::all(), max).encode(&mut out, entry, &Who::new(&identity(&[])));
    assert!(out.len() <= max, "{} of {max}", out.len());
    let text = String::from_utf8(out).unwrap();
    (serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")), text)
}

#[test]
fn row_01_a_minimal_record() {
    let common: Common = serde_json::from_value(
        json!({"level": "debug", "sample": 1.0, "drop": FIELDS, "rename": {}, "buffer": 1 << 20}),
    )
    .unwrap();
    let mut out = Vec::new();
    let who = Who::new(&Identity { hostname: "h".into(), ..(*identity(&[])).clone() });
    let entry = Entry::line(6, 1_700_000_000_125_000, "m", Vec::new());
    RecordEncoder::new(Form::Gelf, Names::new(&common), 8192).encode(&mut out, &entry, &who);
    let expected =
        json!({"version": "1.1", "host": "h", "short_message": "m", "timestamp": 1700000000.125, "level": 6});
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
}

#[test]
fn row_02_the_environment_is_facility_and_env() {
    let v = tagged(&[]);
    assert_eq!((v["_facility"].as_str(), v["_env"].as_str()), (Some("prod"), Some("prod")));
    assert!(v.get("facility").is_none());
}

#[test]
fn row_03_there_is_never_a_field_id() {
    let v = tagged(&[("id", "9")]);
    assert_eq!(v["_command_id"], "42");
    assert!(v.get("_id").is_none() && v.get("id").is_none());
}

#[test]
fn row_04_a_tag_called_id() {
    assert_eq!(tagged(&[("id", "9")])["_tag_id"], "9");
    exception(4, "every tag is `_tag_KEY`, so this one is not renamed and there is no rename to count");
}

#[test]
fn row_05_a_tag_is_always_text() {
    let v = tagged(&[("paid", "true"), ("n", "5")]);
    assert_eq!((&v["_tag_paid"], &v["_tag_n"]), (&json!("true"), &json!("5")));
    exception(5, "tags are `_tag_KEY`, never the bare `_KEY`: a caller's tag can't take the place of a field");
}

#[test]
fn row_07_a_tag_without_a_value_is_absent() {
    let v = tagged(&[("empty", "")]);
    assert!(v.get("_tag_empty").is_none() && v.get("_tags").is_none());
}

#[test]
fn row_08_blanks_are_the_servers_to_trim() {
    assert_eq!(tagged(&[("spaces", "  x ")])["_tag_spaces"], "  x ");
}

#[test]
fn row_09_keys_are_cleaned_and_the_first_one_stays() {
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("a b/c:é".into(), "first".into()), ("a_b_c__".into(), "second".into())];
    let who = Who::new(&x.identity);
    let mut out = Vec::new();
    RecordEncoder::new(Form::Gelf, Names::all(), 8192).encode(&mut out, &Entry::of(What::Command, &x), &who);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("\"_tag_a_b_c__\":").count(), 1, "{text}");
    assert!(text.contains("\"_tag_a_b_c__\":\"first\""), "{text}");
    assert!(who.collisions.load(std::sync::atomic::Ordering::Relaxed) > 0);
    exception(9, "with `_tag_` before the cleaned key");
}

#[test]
fn row_11_text_is_utf8_whatever_came() {
    let broken = String::from_utf8_lossy(b"a\xffb\xed\xa0\x80 \xf0\x9f\x98\x80");
    let v = line(&Entry::line(6, 1, &broken, Vec::new()), 8192).0;
    let said = v["short_message"].as_str().unwrap();
    assert!(said.starts_with("a\u{fffd}b\u{fffd}") && said.ends_with(" 😀"), "{said}");
}

#[test]
fn row_12_a_duration_is_always_a_decimal_number() {
    let mut x = sample(&identity(&[]));
    for nanos in [0, 1, 999_999, u64::MAX] {
        let mut entry = Entry::of(What::Command, &x);
        entry.total = crate::sink::entry::Nanos(nanos);
        let text = line(&entry, 8192).1;
        let value = text.split("\"_duration_ms\":").nth(1).unwrap().split(',').next().unwrap();
        assert!(value.contains('.') && value.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{value}");
    }
    x.timings.end = None;
    assert_eq!(gelf(&x).0["_duration_ms"], 0.0);
    exception(12, "durations are whole nanoseconds by type, so there is no NaN to leave out");
}

#[test]
fn row_13_five_milliseconds_keep_their_point() {
    let mut x = sample(&identity(&[]));
    x.timings.end = Some(x.timings.start + Duration::from_millis(5));
    assert!(gelf(&x).1.contains("\"_duration_ms\":5.0,"));
}

#[test]
fn row_14_numbers_stay_within_63_bits() {
    let mut x = sample(&identity(&[]));
    (x.bytes_in, x.bytes_out) = (u64::MAX, i64::MAX as u64);
    let v = gelf(&x).0;
    assert_eq!((v["_bytes_in"].as_i64(), v["_bytes_out"].as_i64()), (Some(i64::MAX), Some(i64::MAX)));
    exception(14, "clamped to 2^63-1 rather than written as text: a field's type never changes");
}

#[test]
fn row_15_the_message_is_never_blank() {
    let mut x = sample(&identity(&[]));
    x.command.name = "  ".into();
    assert!(gelf(&x).0["short_message"].as_str().unwrap().starts_with("worker 200 "));
    let mut entry = Entry::line(6, 1, " \t", Vec::new());
    assert_eq!(line(&entry, 8192).0["short_message"], "(an empty line)");
    entry.command = "Pay";
    assert_eq!(line(&entry, 8192).0["short_message"], "Pay");
}

#[test]
fn row_16_the_host_is_never_blank() {
    let mut x = sample(&identity(&[]));
    x.identity = Arc::new(Identity { hostname: " ".into(), ..(*x.identity).clone() });
    assert_eq!(gelf(&x).0["host"], "unknown");
}

#[test]
fn row_20_what_the_chunks_cannot_carry_is_cut_and_marked() {
    // Quotes and control characters grow when they are written.
    for text in ["x".repeat(400_000), "\u{1}\"".repeat(200_000), "é€😀\n".repeat(50_000)] {
        for max in [180_224, 1_047_040, 64_000] {
            let v = line(&Entry::line(6, 1, &text, Vec::new()), max).0;
            let full = v["full_message"].as_str().unwrap();
            assert!(text.starts_with(full));
            let whole = full.len() == text.len();
            assert_eq!(v.get("_truncated").is_some(), !whole, "{max}");
            assert!(whole || serde_json::to_string(full).unwrap().len() > max - 4096, "all the room is used");
        }
    }
    // Fields beyond the room are left out; the record stays one.
    let keys: Vec<String> = (0..400).map(|n| format!("field{n}")).collect();
    let value = "\u{1}".repeat(256);
    let shown = keys.iter().map(|k| (k.as_str(), value.as_str())).collect();
    let v = line(&Entry::line(6, 1, "many", shown), 64_000).0;
    assert_eq!((&v["_truncated"], &v["short_message"]), (&json!("true"), &json!("many")));
    assert!(v.get("_field0").is_some() && v.get("_field399").is_none());
}

#[test]
fn row_25_a_frame_over_tcp_keeps_graylogs_limit() {
    let text = "0123456789".repeat(500_000);
    let (v, all) = line(&Entry::line(6, 1, &text, Vec::new()), 2_097_151);
    assert!(all.len() > 2_000_000);
    assert_eq!(v["_truncated"], "true");
    assert!(text.starts_with(v["full_message"].as_str().unwrap()));
    assert!(v["short_message"].as_str().unwrap().len() <= 32_000);
}

#[test]
fn row_31_a_clock_that_jumps_back_changes_the_time_but_no_duration() {
    let mut x = sample(&identity(&[]));
    let before = gelf(&x).0;
    x.timings.wall -= Duration::from_secs(3600);
    let after = gelf(&x).0;
    assert_eq!(before["timestamp"].as_f64().unwrap() - after["timestamp"].as_f64().unwrap(), 3600.0);
    for field in ["_duration_ms", "_upstream_ms", "_overhead_ms"] {
        assert_eq!(before[field], after[field]);
        assert!(after[field].as_f64().unwrap() >= 0.0);
    }
    // Even an end before the start is no negative duration.
    x.timings.end = x.timings.start.checked_sub(Duration::from_secs(1));
    assert_eq!(gelf(&x).0["_duration_ms"], 0.0);
}

#[test]
fn row_32_a_time_before_1970_is_left_out() {
    let mut x = sample(&identity(&[]));
    for wall in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(5)] {
        x.timings.wall = wall;
        assert!(gelf(&x).0.get("timestamp").is_none());
    }
}

#[test]
fn row_33_levels() {
    let mut x = sample(&identity(&[]));
    for (status, attempt, level) in [(200, 1, 6), (302, 1, 6), (404, 1, 4), (500, 1, 3), (503, 2, 3), (200, 2, 5)] {
        (x.status, x.attempt, x.outcome) = (status, attempt, None);
        assert_eq!(gelf(&x).0["level"], level, "{status}, attempt {attempt}");
    }
}

//! Schemas and patterns that want to be expensive, or to fetch something.

use super::pattern::Pattern;
use super::*;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn nothing_is_fetched() {
    for reference in ["http://127.0.0.1:1/schema.json", "file:///etc/hostname", "other.json"] {
        assert!(compile(&json!({ "$ref": reference }), Draft::Draft7).is_err(), "{reference}");
    }
    let own = json!({"$ref": "http://json-schema.org/draft-07/schema#"});
    assert!(compile(&own, Draft::Draft7).unwrap().is_valid(&json!({"type": "string"})));
}

#[test]
fn schemas_that_refer_to_themselves_come_to_an_end() {
    let list = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false});
    let validator = compile(&list, Draft::Draft7).unwrap();
    assert!(validator.is_valid(&json!({"next": {"next": {}}})));
    assert!(!validator.is_valid(&json!({"next": {"other": {}}})));
    for schema in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]})] {
        if let Ok(validator) = compile(&schema, Draft::Draft7) {
            let _ = validator.is_valid(&json!({}));
        }
    }
}

#[test]
fn expressions_that_backtrack_give_up() {
    let schema = json!({"pattern": "^(?=(a+)+$)(a|aa)+b\\1$"});
    let validator = compile(&schema, Draft::Draft7).unwrap();
    assert!(!validator.is_valid(&json!("a".repeat(64))));
}

#[test]
fn luas_patterns() {
    for (pattern, right, wrong) in [
        ("^%d+$", &["1", "123"][..], &["", "a1", "1a"][..]),
        ("%d", &["a1b"], &["ab"]),
        ("^[a-c_%-]+$", &["a-_c"], &["d", ""]),
        ("^[^%s]*$", &["", "ab"], &["a b"]),
        ("^(%a+)=(.-);$", &["k=v;", "k=;"], &["k=v", "=v;"]),
        ("^a?b$", &["b", "ab"], &["aab"]),
        ("%b()", &["x(a(b)c)", "(()"], &["((", ")("]),
        ("%f[%w]the%f[%W]", &["in the end", "the"], &["then", "lathe"]),
        ("^%u%l*%.$", &["Abc."], &["abc.", "Abc"]),
        ("^[]x]$", &["]", "x"], &["[", ""]),
        ("a$b", &["a$b"], &["ab"]),
        ("^[%w_]-@%w+$", &["a_b@c", "@c"], &["a b@c"]),
    ] {
        let read = Pattern::new(pattern).unwrap();
        for text in right {
            assert!(read.is_in(text.as_bytes()), "{pattern} {text}");
        }
        for text in wrong {
            assert!(!read.is_in(text.as_bytes()), "{pattern} {text}");
        }
    }
    for pattern in ["%", "[a", "[%", "a%b(", "%f", "(a)%1"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    // Without a limit on steps this would not come to an end.
    let expensive = Pattern::new(&format!("^{}b$", "a*".repeat(60))).unwrap();
    assert!(!expensive.is_in("a".repeat(10_000).as_bytes()));
}

proptest! {
    #[test]
    fn any_pattern_is_read_and_matched(pattern in "[a-c%\\[\\]()^$*+?.bfdw0-1-]{0,40}", text in "[a-c01()]{0,40}") {
        if let Ok(pattern) = Pattern::new(&pattern) {
            let _ = pattern.is_in(text.as_bytes());
        }
    }
}

//! Keys of commands, and the section that says what they are made of.

use super::super::section::{KEYS, Values};
use super::*;
use crate::exchange::{Direction, Exchange, Head, Identity, Protocol};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::sync::Arc;

fn exchange() -> Exchange {
    let identity = Identity { service: "s".into(), env: "t".into(), hostname: "h".into(), tags: Vec::new() };
    let unnamed: Arc<str> = "".into();
    Exchange::begin(&Arc::new(identity), Direction::Inbound, Protocol::Http11, Head::default(), &unnamed)
}

fn hash(values: Json) -> Hash {
    check(values).unwrap().hash
}

fn check(values: Json) -> Result<Settings, crate::section::Wrong> {
    Values::deserialize(values).unwrap().check(Algorithm::Latency)
}

#[test]
fn each_input_gives_a_key_of_its_own_value() {
    let mut ex = exchange();
    let missing = twox_hash::XxHash64::oneshot(0, b"");
    type Change = fn(&mut Exchange, &str);
    let cases: [(Json, Change); 7] = [
        (json!({"hash_on": "consumer"}), |ex, v| ex.consumer = Some(v.into())),
        (json!({"hash_on": "ip"}), |ex, v| {
            ex.client = Some(if v == "a" { [10, 0, 0, 1] } else { [10, 0, 0, 2] }.into())
        }),
        (json!({"hash_on": "header", "hash_on_header": "X-Shard"}), |ex, v| _ = ex.request.headers.set("x-shard", v)),
        (json!({"hash_on": "header", "hash_on_header": "Host"}), |ex, v| ex.request.authority = v.into()),
        (json!({"hash_on": "path"}), |ex, v| ex.request.set_target(&format!("/{v}"), Some("x=1"))),
        (json!({"hash_on": "query_arg", "hash_on_query_arg": "q"}), |ex, v| {
            ex.request.set_target("/", Some(&format!("p=1&q={v}")));
        }),
        (json!({"hash_on": "tag", "hash_on_tag": "tenant"}), |ex, v| {
            ex.command.tags = vec![("tenant".into(), v.into())]
        }),
    ];
    for (values, change) in cases {
        let hash = hash(values.clone());
        assert_eq!(hash.key(&exchange()).hash, Some(missing), "{values}: a missing input is the empty text");
        let mut key = |v: &str| {
            change(&mut ex, v);
            let key = hash.key(&ex);
            assert_eq!(key.cookie, None);
            key.hash.unwrap()
        };
        let (a, b) = (key("a"), key("b"));
        assert_eq!(key("a"), a, "{values}");
        assert!(a != b && a != missing, "{values}");
        let measured = allocation_counter::measure(|| assert!(hash.key(&ex).hash.is_some()));
        assert_eq!(measured.count_total, 0, "{values}: on the road of a command");
    }
    assert_eq!(Hash::default().key(&ex), Key::default(), "nothing is hashed");
}

#[test]
fn values_are_read_as_callers_mean_them() {
    let mut ex = exchange();
    let arg = hash(json!({"hash_on": "query_arg", "hash_on_query_arg": "a b"}));
    let mut key = |query: &str| {
        ex.request.set_target("/p", Some(query));
        arg.key(&ex).hash.unwrap()
    };
    let plain = key("a+b=x%20y");
    assert_eq!(key("z=1&a%20b=x+y"), plain);
    assert_eq!(key("a%20b=1&a+b=2"), key("a%20b=2&a+b=1"), "several values, whatever their order");
    assert_ne!(key("a%20b=1&a+b=2"), key("a%20b=1"));
    assert_ne!(key("a%20b=%4"), key("a%20b=%"), "broken escapes stay as they are");

    let header = hash(json!({"hash_on": "header", "hash_on_header": "x-a"}));
    let mut two = exchange();
    two.request.headers.append("x-a", "1");
    two.request.headers.append("x-a", "2");
    let mut one = exchange();
    one.request.headers.append("x-a", "1, 2");
    assert_eq!(header.key(&two), header.key(&one));
    // There and empty is not missing.
    let fallback = hash(json!({"hash_on": "header", "hash_on_header": "x-a", "hash_fallback": "path"}));
    let mut empty = exchange();
    empty.request.set_target("/p", None);
    let by_path = fallback.key(&empty);
    empty.request.headers.append("x-a", "");
    assert_ne!(fallback.key(&empty), by_path);

    let ip = hash(json!({"hash_on": "ip"}));
    let mut mapped = exchange();
    mapped.client = Some("::ffff:10.0.0.1".parse().unwrap());
    let mut plain = exchange();
    plain.peer = Some("10.0.0.1:4711".parse().unwrap());
    assert_eq!(ip.key(&mapped), ip.key(&plain));
}

#[test]
fn a_missing_input_falls_back() {
    let both = hash(json!({"hash_on": "consumer", "hash_fallback": "header", "hash_fallback_header": "X-Id"}));
    let mut ex = exchange();
    let missing = both.key(&ex);
    ex.request.headers.set("x-id", "7");
    let second = both.key(&ex);
    assert_ne!(second, missing);
    let header = hash(json!({"hash_on": "header", "hash_on_header": "x-id"}));
    assert_eq!(header.key(&ex), second, "the value counts, not where it stood");
    ex.consumer = Some("paula".into());
    assert_ne!(both.key(&ex), second);
    ex.request.headers.set("x-id", "8");
    assert_eq!(both.key(&ex).hash, Some(twox_hash::XxHash64::oneshot(0, b"paula")));
}

#[test]
fn a_caller_without_the_cookie_is_given_one_and_stays() {
    for values in [
        json!({"hash_on": "cookie", "hash_on_cookie": "sid", "hash_on_cookie_path": "/shop"}),
        json!({"hash_on": "consumer", "hash_fallback": "cookie", "hash_on_cookie": "sid", "hash_on_cookie_path": "/shop"}),
    ] {
        let hash = hash(values);
        let mut ex = exchange();
        ex.request.headers.append("cookie", "a=sid=1; xsid=2; sid");
        let (first, other) = (hash.key(&ex), hash.key(&ex));
        let cookie = first.cookie.clone().unwrap();
        assert_ne!(Some(&cookie), other.cookie.as_ref());
        let value = cookie.value().to_owned();
        assert!(value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit()), "{value}");
        assert_eq!(cookie.set_cookie, format!("sid={value}; Path=/shop; SameSite=Lax; HttpOnly"));
        ex.request.headers.append("cookie", format!("b=1;sid={value} ; sid=later"));
        assert_eq!(hash.key(&ex), Key { hash: first.hash, cookie: None });
    }
}

#[test]
fn the_section_is_checked_as_in_kong() {
    let good = |values: Json| check(values.clone()).unwrap_or_else(|w| panic!("{values}: {w:?}"));
    assert_eq!(good(json!({})), Settings::of(Algorithm::Latency));
    // An explicit none is no hash and no algorithm.
    assert_eq!(good(json!({"hash_on": "none", "hash_fallback": "none"})), Settings::of(Algorithm::Latency));
    for algorithm in ["round-robin", "least-connections", "latency"] {
        assert_eq!(good(json!({"algorithm": algorithm})).algorithm.as_str(), algorithm);
    }
    let ip = good(json!({"hash_on": "ip"}));
    assert_eq!((ip.algorithm, ip.hash.on.clone()), (Algorithm::ConsistentHashing, HashOn::Ip));
    assert_eq!(good(json!({"hash_on": "ip", "algorithm": "consistent-hashing"})), ip);
    let two = good(json!({
        "hash_on": "header", "hash_on_header": "X-A", "hash_fallback": "header", "hash_fallback_header": "X-B",
        "slots": 65536, "slow_start": {"secs": 30, "nanos": 0},
    }));
    assert_eq!(two.hash, Hash { on: HashOn::Header("x-a".into()), fallback: HashOn::Header("x-b".into()) });
    assert_eq!((two.slots, two.slow_start.window), (65_536, Duration::from_secs(30)));
    let cookie = good(json!({"hash_on": "cookie", "hash_on_cookie": "sid"})).hash.on;
    assert_eq!(cookie, HashOn::Cookie { name: "sid".into(), path: "/".into() });
    good(
        json!({"hash_on": "query_arg", "hash_on_query_arg": "a", "hash_fallback": "query_arg", "hash_fallback_query_arg": "b"}),
    );
    good(json!({"hash_on": "tag", "hash_on_tag": "a", "hash_fallback": "cookie", "hash_on_cookie": "b"}));

    for (values, key, code, says) in [
        (json!({"algorithm": "random"}), "algorithm", "bad-value", "no algorithm"),
        (json!({"algorithm": "consistent-hashing"}), "hash_on", "bad-value", "nothing to hash"),
        (json!({"algorithm": "latency", "hash_on": "ip"}), "algorithm", "bad-value", "does not look at"),
        (json!({"hash_on": "header"}), "hash_on_header", "bad-value", "needs"),
        (json!({"hash_on": "query_arg"}), "hash_on_query_arg", "bad-value", "needs"),
        (json!({"hash_on": "tag"}), "hash_on_tag", "bad-value", "needs"),
        (json!({"hash_on": "cookie"}), "hash_on_cookie", "bad-value", "needs"),
        (json!({"hash_on": "ip", "hash_fallback": "cookie"}), "hash_on_cookie", "bad-value", "needs"),
        (json!({"hash_on": "ip", "hash_fallback": "header"}), "hash_fallback_header", "bad-value", "needs"),
        (json!({"hash_on_header": "x-a"}), "hash_on_header", "bad-value", "alone does nothing"),
        (json!({"hash_on": "ip", "hash_fallback_tag": "a"}), "hash_fallback_tag", "bad-value", "alone does nothing"),
        (json!({"hash_on": "uri_capture"}), "hash_on", "not-supported", "not supported yet"),
        (json!({"hash_on": "ip", "hash_fallback": "uri_capture"}), "hash_fallback", "not-supported", "not supported"),
        (json!({"hash_on": "moon"}), "hash_on", "bad-value", "nothing that can be hashed"),
        (json!({"hash_fallback": "ip"}), "hash_fallback", "bad-value", "only after `hash_on`"),
        (json!({"hash_on": "ip", "hash_fallback": "ip"}), "hash_fallback", "bad-value", "the same"),
        (
            json!({"hash_on": "header", "hash_on_header": "X-A", "hash_fallback": "header", "hash_fallback_header": "x-a"}),
            "hash_fallback",
            "bad-value",
            "the same",
        ),
        (
            json!({"hash_on": "cookie", "hash_on_cookie": "a", "hash_fallback": "ip"}),
            "hash_fallback",
            "bad-value",
            "nothing comes after it",
        ),
        (json!({"hash_on": "cookie", "hash_on_cookie": "a;b"}), "hash_on_cookie", "bad-value", "no cookie's name"),
        (
            json!({"hash_on": "cookie", "hash_on_cookie": "a", "hash_on_cookie_path": "/x; Secure"}),
            "hash_on_cookie_path",
            "bad-value",
            "no path",
        ),
    ] {
        let wrong = check(values.clone()).unwrap_err();
        assert_eq!((wrong.key, wrong.code), (Some(key), code), "{values}: {wrong:?}");
        assert!(wrong.message.contains(says) && !wrong.fix.is_empty(), "{values}: {wrong:?}");
    }
}

#[test]
fn every_key_of_the_section_is_read() {
    let values = Values::deserialize(json!({})).unwrap();
    // The fields as they are shown.
    let shown = format!("{values:?}");
    for key in KEYS {
        assert_eq!(shown.contains(&format!("{}:", key.name)), key.supported, "{}", key.name);
    }
    assert_eq!(shown.matches(": None").count(), KEYS.iter().filter(|k| k.supported).count());
}

use super::super::auth::tests::{Lines, asked, people, request};
use super::super::testing::built;
use crate::exchange::base64;
use aws_lc_rs::hmac;
use serde_json::{Value as Json, json};
use std::time::{Duration, UNIX_EPOCH};

const SECRET: &str = "secret-of-64-bytes-secret-of-64-bytes-secret-of-64-bytes-secret-0";
/// Made once by jsonwebtoken 9 of npm: `sign({iss: 'node', nested: {a: [1]}}, SECRET, {noTimestamp: true})`.
const NODE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJub2RlIiwibmVzdGVkIjp7ImEiOlsxXX19.DnXUS0gElQLn8IRA_4TFg2YFRMD0KAyCXjd-4KvDhNI";
/// By the same: `sign({iss: 'hs256'}, null, {algorithm: 'none', noTimestamp: true})`.
const UNSIGNED: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJoczI1NiJ9.";
const YES: &str = "bob bobs-id #node";
const NOW: u64 = 1_800_000_000;

fn url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// A token with whatever inside, rightly signed.
fn raw(header: &str, claims: &str, secret: &str) -> String {
    let signed = format!("{}.{}", url(header.as_bytes()), url(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", url(tag.as_ref()))
}

fn token(claims: &Json) -> String {
    raw(r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET)
}

fn ask(config: &Json, line: &str, lines: &[(&'static str, &str)]) -> String {
    let mut exchange = request(line, lines);
    exchange.timings.wall = UNIX_EPOCH + Duration::from_secs(NOW);
    asked(&*built("jwt", config, &people()).unwrap(), &mut exchange, b"")
}

fn bearer(config: &Json, token: &str) -> String {
    ask(config, "GET /", &[("authorization", &format!("Bearer {token}"))])
}

fn bad(message: &str) -> String {
    format!("401 {{\"message\":\"{message}\"}} | Bearer error=\"invalid_token\"")
}

#[test]
fn tokens_of_every_algorithm() {
    let all = include_str!("../auth/tests/tokens.txt").lines().filter(|line| !line.starts_with('#'));
    let all: Vec<(&str, &str)> = all.map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(all.len(), 13);
    let config = json!({"claims_to_verify": ["exp", "nbf"]});
    for (algorithm, token) in &all {
        let key = algorithm.to_lowercase();
        assert_eq!(bearer(&config, token), format!("bob bobs-id #{key}"), "{algorithm}");
        // Another letter anywhere in the signature.
        let at = token.rfind('.').unwrap() + 5;
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert_eq!(bearer(&config, &forged), bad("Invalid signature"), "{algorithm}");
        // The claims of one with the signature of another.
        let (_, alien) = all.iter().find(|(a, _)| a != algorithm).unwrap();
        let swapped = format!("{}.{}", token.rsplit_once('.').unwrap().0, alien.rsplit_once('.').unwrap().1);
        assert_eq!(bearer(&config, &swapped), bad("Invalid signature"), "{algorithm}");
    }
    assert_eq!(bearer(&json!({}), NODE), YES);
    // The public key as a shared secret, the oldest trick.
    let pem = include_str!("../auth/tests/people.yaml").split("-----BEGIN").nth(1).unwrap();
    let pem = format!("-----BEGIN{pem}");
    let tricked = raw(r#"{"alg":"HS256"}"#, r#"{"iss":"rs256"}"#, &pem);
    assert_eq!(bearer(&json!({}), &tricked), bad("Invalid algorithm"));
}

#[test]
fn tokens_that_are_not_taken() {
    let good = json!({"iss": "node"});
    let header = r#"{"alg":"HS256"}"#;
    let deep = format!("{{\"iss\":\"node\",\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let rows: &[(String, &str)] = &[
        (token(&json!({"sub": "node"})), "No mandatory 'iss' in claims"),
        (token(&json!({"iss": null})), "No mandatory 'iss' in claims"),
        (token(&json!({"iss": ""})), "Invalid 'iss' in claims"),
        (token(&json!({"iss": 7})), "Invalid 'iss' in claims"),
        (token(&json!({"iss": "nobody"})), "No credentials found for given 'iss'"),
        (token(&json!({"iss": "hs512"})), "Invalid algorithm"),
        (raw(header, &good.to_string(), "other"), "Invalid signature"),
        (raw(r#"{"alg":"ES256"}"#, r#"{"iss":"keyless"}"#, SECRET), "Invalid key/secret"),
        (UNSIGNED.to_owned(), "Bad token; invalid alg"),
        (raw(r#"{"alg":"hs256"}"#, &good.to_string(), SECRET), "Bad token; invalid alg"),
        (raw(r#"{"alg":["HS256"]}"#, &good.to_string(), SECRET), "Bad token; invalid alg"),
        (raw("{}", &good.to_string(), SECRET), "Bad token; invalid alg"),
        (raw("[]", &good.to_string(), SECRET), "Bad token; invalid alg"),
        (raw("{", &good.to_string(), SECRET), "Bad token; invalid JSON"),
        (raw(header, "[]", SECRET), "Bad token; invalid claims"),
        (raw(header, "null", SECRET), "Bad token; invalid claims"),
        (raw(header, "{\"iss\":\"node\"} x", SECRET), "Bad token; invalid JSON"),
        (raw(header, &deep, SECRET), "Bad token; invalid JSON"),
        (format!("{}=", token(&good)), "Bad token; invalid signature"),
        (format!("{}.x", token(&good)), "Bad token; invalid signature"),
        (token(&good).replacen('.', "=.", 1), "Bad token; invalid JSON"),
        ("a".to_owned(), "Bad token; invalid JSON"),
        ("..".to_owned(), "Bad token; invalid JSON"),
        ("a.b.c".to_owned(), "Bad token; invalid JSON"),
        ("A".repeat(1 << 20), "Bad token; invalid JSON"),
        (format!("{}.{}.", url(b"\xff"), url(b"{}")), "Bad token; invalid JSON"),
        (token(&good).rsplit_once('.').unwrap().0.to_owned(), "Bad token; invalid JSON"),
        (format!("{}.", token(&good).rsplit_once('.').unwrap().0), "Invalid signature"),
    ];
    for (token, expected) in rows {
        let shown = token.get(..100).unwrap_or(token);
        assert_eq!(bearer(&json!({}), token), bad(expected), "{shown}");
        assert_eq!(bearer(&json!({"anonymous": "anon"}), token), "*anon", "{shown}");
    }
}

#[test]
fn tokens_are_looked_for_where_the_configuration_says() {
    let plain = "401 {\"message\":\"Unauthorized\"} | Bearer";
    let realm = json!({"realm": "test-jwt", "cookie_names": ["silly", "crumble"]});
    let two = bad("Multiple tokens provided");
    let other = token(&json!({"iss": "nobody"}));
    let line = format!("Bearer {NODE}");
    let (cookie, query) = (format!("a=1; crumble={NODE}; b"), format!("GET /?a=1&jwt={NODE}"));
    let named = json!({"header_names": ["X-Token", "CustomAuthorization"], "uri_param_names": ["t"]});
    let rows: &[(&Json, &str, Lines<'_>, &str)] = &[
        (&json!({}), "GET /", &[], plain),
        (&json!({}), "GET /?jwt=", &[("authorization", "Bearer")], plain),
        (&json!({}), "GET /", &[("authorization", "Basic eDp5")], plain),
        (&json!({}), "GET /", &[("authorization", "Bearereee")], plain),
        (&json!({}), "GET /", &[("cookie", &cookie)], plain),
        (&realm, "GET /", &[], "401 {\"message\":\"Unauthorized\"} | Bearer realm=\"test-jwt\""),
        (
            &realm,
            "GET /",
            &[("cookie", "silly=x.y.z")],
            "401 {\"message\":\"Bad token; invalid JSON\"} | Bearer realm=\"test-jwt\", error=\"invalid_token\"",
        ),
        (&realm, "GET /", &[("cookie", &cookie)], YES),
        (&json!({}), &query, &[], YES),
        (&json!({}), "GET /", &[("authorization", &line)], YES),
        (&json!({}), &query, &[("authorization", &line), ("authorization", &line)], YES),
        (&json!({}), &query, &[("authorization", &format!("bearer  {other}"))], &two),
        (&json!({}), &format!("{query}&jwt={other}"), &[], &two),
        (&json!({}), "GET /", &[("authorization", &line), ("authorization", &format!("Bearer {other}"))], &two),
        (&named, "GET /", &[("authorization", &line)], plain),
        (&named, "GET /", &[("customauthorization", &line)], YES),
        (&named, &query.replace("jwt=", "t="), &[], YES),
        (&json!({"run_on_preflight": false}), "OPTIONS /", &[], ""),
        (&json!({}), "OPTIONS /", &[], plain),
    ];
    for (config, line, lines, expected) in rows {
        assert_eq!(ask(config, line, lines), *expected, "{config} {line} {lines:?}");
    }
    let mut exchange = request("GET /", &[("authorization", &line)]);
    asked(&*built("jwt", &json!({}), &people()).unwrap(), &mut exchange, b"");
    assert_eq!(exchange.request.headers.get("authorization"), Some(line.as_str()));
}

#[test]
fn the_key_may_be_elsewhere() {
    assert_eq!(bearer(&json!({"key_claim_name": "aud"}), &token(&json!({"aud": "node"}))), YES);
    assert_eq!(bearer(&json!({"key_claim_name": "aud"}), NODE), bad("No mandatory 'aud' in claims"));
    let header = r#"{"alg":"HS256","iss":"node"}"#;
    assert_eq!(bearer(&json!({}), &raw(header, "{}", SECRET)), YES);
    let encoded = json!({"secret_is_base64": true});
    assert_eq!(bearer(&encoded, &raw(header, r#"{"iss":"b64"}"#, "secret")), "bob bobs-id #b64");
    assert_eq!(bearer(&json!({}), &raw(header, r#"{"iss":"b64"}"#, "secret")), bad("Invalid signature"));
}

#[test]
fn times_are_looked_at_when_asked_for() {
    let both = json!({"claims_to_verify": ["nbf", "exp"]});
    let far = json!({"claims_to_verify": ["exp"], "maximum_expiration": 60});
    for (config, claims, wrong) in [
        (&both, json!({}), r#"{"nbf":"must be a number","exp":"must be a number"}"#),
        (&both, json!({"nbf": "1", "exp": [1]}), r#"{"nbf":"must be a number","exp":"must be a number"}"#),
        (&both, json!({"nbf": NOW, "exp": NOW}), r#"{"exp":"token expired"}"#),
        (&both, json!({"nbf": NOW + 1, "exp": NOW + 1}), r#"{"nbf":"token not valid yet"}"#),
        (&both, json!({"nbf": -1, "exp": 1e300}), ""),
        (&both, json!({"nbf": NOW, "exp": NOW as f64 + 0.5}), ""),
        (&far, json!({"exp": NOW + 61}), r#"{"exp":"exceeds maximum allowed expiration"}"#),
        (&far, json!({"exp": NOW + 60}), ""),
        (&json!({}), json!({"exp": 1, "nbf": 1e300}), ""),
    ] {
        let mut with = claims;
        with["iss"] = "node".into();
        let expected = match wrong {
            "" => YES.to_owned(),
            wrong => format!("401 {wrong} | Bearer error=\"invalid_token\""),
        };
        assert_eq!(bearer(config, &token(&with)), expected, "{config} {with}");
    }
}

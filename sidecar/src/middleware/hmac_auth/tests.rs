use super::super::auth::tests::{asked, people, request};
use super::super::testing::built;
use crate::exchange::{Exchange, Protocol};
use serde_json::{Value as Json, json};
use std::time::{Duration, UNIX_EPOCH};

/// Signatures below were made once by Python's `hmac` with this date and `s3cret of bob`, over what Kong's
/// documentation says is signed.
const DATE: &str = "Thu, 22 Jun 2017 17:15:21 GMT";
const AT: u64 = 1_498_151_721;

const NO_DATE: &str =
    "401 HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication | hmac";
const UNVERIFIED: &str = "401 HMAC signature cannot be verified | hmac";
const MISMATCH: &str = "401 HMAC signature does not match | hmac";
const YES: &str = "bob bobs-id #bob-signs";

const LINE_SHA1: &str = "48lTNSCw8j5QCtvZz32K28utRp0=";
const LINE_SHA256: &str = "KamKPHTHJwe03IH23JJd8Q9xdIhnusXuwTsSfLwrmf4=";
const LINE_SHA384: &str = "zFwZAVGOWF7/PTmg/znJ8qIp1Cu8cS8DXhlsynFShCDTwtx1weLA1UB2oba9S4rh";
const LINE_SHA512: &str = "oUOF3BFJY7IGKNHfvv0dlWtdC3P6nX695n8V2Qtu3H9M3QgSG0C9EWXpGDlVV2v9NI4/PuZUOyBKNFT2TiQEdw==";
const TARGET: &str = "tX0OCv1punBfxM8KVcyxGuscLWgbEU6hlI/+6aKB0mY=";
const MANY: &str = "J39GqOEvKtUNfbg6tNitHD1AAdpp8MZxiK1BTaO3O9w=";
const HTTP2: &str = "GTrBW8f6Zw5WuM+d8GhkOoiVYZUFRSBVtTgVlrWZOH4=";
const ONLY_DATE: &str = "3aeCx8nju8eB5Wb65oSvWJH/R73/U/p0DiJGISOyBm8=";

fn signed(algorithm: &str, headers: &str, signature: &str) -> String {
    format!("hmac username=\"bob-signs\", algorithm=\"{algorithm}\", headers=\"{headers}\", signature=\"{signature}\"")
}

fn at(mut exchange: Exchange) -> Exchange {
    exchange.timings.wall = UNIX_EPOCH + Duration::from_secs(AT);
    exchange
}

fn ask(config: &Json, line: &str, lines: &[(&'static str, &str)], body: &'static [u8]) -> String {
    asked(&*built("hmac-auth", config, &people()).unwrap(), &mut at(request(line, lines)), body)
}

#[test]
fn signatures_of_every_algorithm() {
    let headers = "date content-md5 request-line";
    for (algorithm, signature) in [
        ("hmac-sha1", LINE_SHA1),
        ("hmac-sha256", LINE_SHA256),
        ("hmac-sha384", LINE_SHA384),
        ("hmac-sha512", LINE_SHA512),
    ] {
        let line = signed(algorithm, headers, signature);
        let lines = [("date", DATE), ("content-md5", "md5"), ("authorization", &line)];
        let target = "GET /status/200?a=%7e";
        assert_eq!(ask(&json!({}), target, &lines, b""), YES, "{algorithm}");
        let other = json!({"algorithms": [if algorithm == "hmac-sha256" { "hmac-sha1" } else { "hmac-sha256" }]});
        assert_eq!(ask(&other, target, &lines, b""), UNVERIFIED, "{algorithm}");
        // Whatever is signed is part of it.
        assert_eq!(ask(&json!({}), "GET /status/200?a=~", &lines, b""), MISMATCH);
        assert_eq!(ask(&json!({}), "PUT /status/200?a=%7e", &lines, b""), MISMATCH);
        let changed = [("date", DATE), ("content-md5", "md6"), ("authorization", &line)];
        assert_eq!(ask(&json!({}), target, &changed, b""), MISMATCH);
        let added = [("date", DATE), ("content-md5", "md5"), ("content-md5", "md6"), ("authorization", &line)];
        assert_eq!(ask(&json!({}), target, &added, b""), MISMATCH);
    }
}

#[test]
fn what_is_signed() {
    let target = signed("hmac-sha256", "date @request-target", TARGET);
    let many = signed("hmac-sha256", "date x-many x-none host", MANY);
    let lines = [("date", DATE), ("x-many", "1"), ("x-many", "2"), ("host", "example.com"), ("authorization", &many)];
    assert_eq!(ask(&json!({}), "GET /status/200?a=%7e", &[("date", DATE), ("authorization", &target)], b""), YES);
    assert_eq!(ask(&json!({}), "GET /", &lines, b""), YES);
    let mut two = at(request(
        "POST /",
        &[("x-date", DATE), ("authorization", &signed("hmac-sha256", "x-date request-line", HTTP2))],
    ));
    two.protocol = Protocol::Http2;
    assert_eq!(asked(&*built("hmac-auth", &json!({}), &people()).unwrap(), &mut two, b""), YES);
    let enforce = json!({"enforce_headers": ["date", "request-line"]});
    assert_eq!(ask(&enforce, "GET /", &[("date", DATE), ("authorization", &target)], b""), UNVERIFIED);
}

#[test]
fn the_order_of_refusals() {
    let good = signed("hmac-sha256", "date", ONLY_DATE);
    let loose = good.replace("\", ", "\",   ").replace("hmac u", "Hmac  u");
    let strange = good.replace("bob-signs", "eve");
    let cut = good.split(", signature").next().unwrap().to_owned();
    let garbage = signed("hmac-sha256", "date", "?");
    let wrong = signed("hmac-sha256", "date", LINE_SHA256);
    let none = signed("none", "date", ONLY_DATE);
    let flood = signed("hmac-sha256", &"date ".repeat(65), ONLY_DATE);
    let (old, new) = ("Thu, 22 Jun 2017 17:05:21 GMT", "Thu, 22 Jun 2017 17:20:21 GMT");
    // Where no date is signed, any will do.
    let undated = signed("hmac-sha256", "request-line", ONLY_DATE);
    let upper = good.replace("\"date\"", "\"Date\"");
    let (rfc850, asctime) = ("Thursday, 22-Jun-17 17:15:21 GMT", "Thu Jun 22 17:15:21 2017");
    let rows: &[(&[(&'static str, &str)], &str)] = &[
        (&[], "401 Unauthorized | hmac"),
        (&[("date", DATE)], "401 Unauthorized | hmac"),
        (&[("authorization", &good)], NO_DATE),
        (&[("authorization", "x"), ("date", "yesterday")], NO_DATE),
        (&[("authorization", &good), ("date", old)], NO_DATE),
        (&[("authorization", &good), ("date", new)], MISMATCH),
        (&[("authorization", &good), ("date", rfc850)], MISMATCH),
        (&[("authorization", &good), ("date", asctime)], MISMATCH),
        (&[("authorization", &good), ("date", DATE)], YES),
        (&[("authorization", &loose), ("date", DATE)], YES),
        (&[("authorization", &good), ("date", DATE), ("x-date", "yesterday")], YES),
        (&[("authorization", &good), ("date", old), ("x-date", DATE)], NO_DATE),
        (&[("authorization", &good), ("x-date", DATE)], NO_DATE),
        (&[("authorization", &upper), ("date", old), ("x-date", DATE)], NO_DATE),
        (&[("authorization", &undated), ("date", old), ("x-date", DATE)], MISMATCH),
        (&[("authorization", &undated), ("date", old)], NO_DATE),
        (&[("authorization", &strange), ("date", DATE)], UNVERIFIED),
        (&[("authorization", &cut), ("date", DATE)], UNVERIFIED),
        (&[("authorization", "hmac"), ("date", DATE)], UNVERIFIED),
        (&[("authorization", "hmac username=\"\"\u{e9}"), ("date", DATE)], UNVERIFIED),
        (&[("authorization", &none), ("date", DATE)], UNVERIFIED),
        (&[("authorization", &garbage), ("date", DATE)], MISMATCH),
        (&[("authorization", &wrong), ("date", DATE)], MISMATCH),
        (&[("authorization", &flood), ("date", DATE)], MISMATCH),
        (&[("authorization", "hmac ?"), ("proxy-authorization", &good), ("date", DATE)], YES),
        (&[("authorization", &good), ("authorization", &good), ("date", DATE)], UNVERIFIED),
    ];
    for (lines, expected) in rows {
        assert_eq!(ask(&json!({}), "GET /", lines, b""), *expected, "{lines:?}");
    }
    assert_eq!(ask(&json!({"realm": "R"}), "GET /", &[], b""), "401 Unauthorized | hmac realm=\"R\"");
    let lines = [("authorization", good.as_str()), ("date", DATE)];
    let hide = built("hmac-auth", &json!({"hide_credentials": true}), &people()).unwrap();
    let mut exchange = at(request("GET /", &lines));
    assert_eq!(asked(&*hide, &mut exchange, b""), YES);
    assert!(!exchange.request.headers.contains("authorization"));
}

#[test]
fn digests_of_bodies() {
    let line = signed("hmac-sha256", "date", ONLY_DATE);
    let config = json!({"validate_request_body": true});
    // base64(sha256("the body")), by Python's hashlib.
    let digest = "SHA-256=+oJC6Z9IlmylFAkrQjO0RoUfQrV61QMb8TPh3XZ4fz4=";
    let large: &'static [u8] = vec![b'x'; (8 << 20) + 1].leak();
    for (digest, body, expected) in [
        (None, &b"the body"[..], MISMATCH),
        (None, b"", YES),
        (Some(digest), b"the body", YES),
        (Some(digest), b"the bodY", MISMATCH),
        (Some(&digest[8..]), b"the body", MISMATCH),
        (Some(digest), large, MISMATCH),
    ] {
        let mut lines = vec![("date", DATE), ("authorization", line.as_str())];
        lines.extend(digest.map(|digest| ("digest", digest)));
        assert_eq!(ask(&config, "POST /", &lines, body), expected, "{digest:?}");
    }
    // Nobody's body is read before the signature is right.
    let wrong = signed("hmac-sha256", "date", LINE_SHA1);
    assert_eq!(ask(&config, "POST /", &[("date", DATE), ("authorization", &wrong)], b"x"), MISMATCH);
}

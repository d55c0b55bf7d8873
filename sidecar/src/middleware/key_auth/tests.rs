use super::super::auth::tests::{Lines, asked, people, request};
use super::super::testing::built;
use crate::exchange::{Headers, Seen, Silent};
use crate::middleware::Verdict;
use serde_json::{Value as Json, json};
use std::time::Duration;

const K1: &str = "bob bobs-id #11111111-1111-4111-8111-111111111111";
const NONE: &str = "401 No API key found in request | Key";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

fn ask(config: &Json, line: &str, lines: &[(&'static str, &str)], body: &'static [u8]) -> (String, String, Vec<u8>) {
    let mut exchange = request(line, lines);
    let said = asked(&*built("key-auth", config, &people()).unwrap(), &mut exchange, body);
    let body = match exchange.seen {
        Seen::Whole(body) => body.to_vec(),
        _ => Vec::new(),
    };
    (said, exchange.request.target().to_owned(), body)
}

#[test]
fn keys_are_looked_for_where_the_configuration_says() {
    let body = json!({"key_in_body": true});
    let places = |header, query, body| json!({"key_in_header": header, "key_in_query": query, "key_in_body": body});
    let two = json!({"key_names": ["X-Key", "apikey"]});
    let parts = ("content-type", "multipart/form-data; boundary=b");
    let in_parts = b"--b\r\nContent-Disposition: form-data; name=\"apikey\"\r\n\r\nk1\r\n--b--\r\n";
    let rows: &[(&Json, &str, Lines<'_>, &'static [u8], &str)] = &[
        (&json!({}), "GET /", &[], b"", NONE),
        (
            &json!({"realm": "test-realm"}),
            "GET /",
            &[("apikey", "")],
            b"",
            "401 No API key found in request | Key realm=\"test-realm\"",
        ),
        (&json!({}), "GET /?apikey=", &[], b"", NONE),
        (&json!({}), "GET /?apikey", &[], b"", NONE),
        (&json!({}), "GET /", &[("apikey", "k1")], b"", K1),
        (&json!({"key_names": ["ApiKey"]}), "GET /", &[("apikey", "k1")], b"", K1),
        (&json!({"key_names": ["ApiKey"]}), "GET /?apikey=k1", &[], b"", NONE),
        (&json!({}), "GET /?apikey=123", &[], b"", "401 Unauthorized | Key"),
        (&json!({}), "GET /?a=1&%61pikey=%6b1", &[], b"", K1),
        (&json!({}), "GET /?apikey=k1&apikey=k2", &[], b"", "401 Duplicate API key found | Key"),
        (&json!({}), "GET /", &[("apikey", "k1"), ("apikey", "k1")], b"", "401 Duplicate API key found | Key"),
        (&body, "POST /", &[FORM], b"a=1&apikey=k1", K1),
        (&body, "POST /", &[JSON], b"{\"apikey\":\"k1\"}", K1),
        (&body, "POST /", &[parts], in_parts, K1),
        (&body, "POST /", &[FORM], b"apikey=k1&apikey=k1", "401 Duplicate API key found | Key"),
        (&body, "POST /", &[FORM], b"apikey[]=k1", NONE),
        (&body, "POST /", &[JSON], b"{\"apikey\":1}", NONE),
        (&body, "POST /", &[("content-type", "text/plain")], b"apikey=k1", NONE),
        (&places(false, true, false), "GET /?apikey=k1", &[("apikey", "wrong")], b"", K1),
        (&places(true, true, true), "GET /?apikey=k1", &[("apikey", "wrong")], b"", "401 Unauthorized | Key"),
        (&places(true, true, true), "POST /?apikey=k1", &[FORM], b"apikey=wrong", K1),
        (&places(false, false, false), "POST /?apikey=k1", &[("apikey", "k1"), FORM], b"apikey=k1", NONE),
        (&places(true, false, true), "POST /?apikey=wrong", &[FORM], b"apikey=k1", K1),
        (&two, "GET /", &[("apikey", "k1")], b"", K1),
        (&two, "GET /?X-Key=wrong", &[("apikey", "k1")], b"", "401 Unauthorized | Key"),
        (&json!({"run_on_preflight": false}), "OPTIONS /", &[], b"", ""),
        (&json!({}), "OPTIONS /", &[], b"", NONE),
        (&json!({"anonymous": "anon"}), "GET /", &[], b"", "*anon"),
    ];
    for (config, line, lines, body, expected) in rows {
        assert_eq!(ask(config, line, lines, body).0, *expected, "{config} {line} {lines:?}");
    }
}

#[test]
fn a_hidden_key_goes_no_further() {
    let hide = json!({"hide_credentials": true, "key_in_body": true});
    for (line, lines, body, target, left) in [
        ("GET /request?c=1&b=2&apikey=k1&a=3", vec![], &b""[..], "/request?c=1&b=2&a=3", &b""[..]),
        ("GET /?apikey=k1", vec![], b"", "/", b""),
        ("POST /x?a=%7e", vec![FORM], b"a=1&apikey=k1&b=+", "/x?a=%7e", b"a=1&b=+"),
        ("POST /x", vec![JSON], b"{\"n\":1.10,\"apikey\":\"k1\"}", "/x", b"{\"n\":1.10}"),
        // In every place, wherever it was found.
        ("POST /?apikey=1&q=1", vec![FORM, ("apikey", "k1")], b"apikey=2&z=1", "/?q=1", b"z=1"),
    ] {
        let mut exchange = request(line, &lines);
        let said = asked(&*built("key-auth", &hide, &people()).unwrap(), &mut exchange, body);
        assert_eq!(said, K1, "{line}");
        assert_eq!(exchange.request.target(), target);
        assert!(!exchange.request.headers.contains("apikey"));
        if let Seen::Whole(body) = &exchange.seen {
            assert_eq!(&body[..], left);
        }
    }
    let (_, target, _) = ask(&json!({}), "GET /request?c=1&b=2&apikey=k1&a=3", &[], b"");
    assert_eq!(target, "/request?c=1&b=2&apikey=k1&a=3");
}

#[test]
fn a_key_holds_as_long_as_it_says() {
    let middleware = built("key-auth", &json!({}), &people()).unwrap();
    for (later, expected) in [(0, "bob bobs-id #22222222-2222-4222-8222-222222222222"), (61, "401 Unauthorized | Key")]
    {
        let mut exchange = request("GET /", &[("apikey", "short-lived")]);
        exchange.timings.start += Duration::from_secs(later);
        assert_eq!(asked(&*middleware, &mut exchange, b""), expected);
    }
}

#[test]
fn nothing_that_is_sent_does_harm() {
    let middleware = built("key-auth", &json!({"key_in_body": true, "hide_credentials": true}), &people()).unwrap();
    let huge = "k".repeat(1 << 20);
    let deep = format!("{{\"apikey\":\"k1\",\"a\":{}", "[".repeat(1 << 16));
    let deep: &'static [u8] = deep.leak().as_bytes();
    let large: &'static [u8] = vec![b'x'; (1 << 20) + 1].leak();
    for (lines, body, expected) in [
        (vec![("apikey", huge.as_str())], &b""[..], "401 Unauthorized | Key"),
        (vec![("apikey", "k\u{e9}")], b"", "401 Unauthorized | Key"),
        (vec![JSON], deep, NONE),
        (vec![FORM], large, NONE),
        (vec![FORM], b"apikey=%ff%00", "401 Unauthorized | Key"),
        (vec![JSON], b"{\"apikey\":\"\\ud800\"}", NONE),
    ] {
        assert_eq!(asked(&*middleware, &mut request("POST /?%&=&%ff=%", &lines), body), expected, "{expected}");
    }
    let mut raw = request("GET /", &[]);
    assert!(raw.request.headers.append("apikey", b"\xff\xfe"));
    assert_eq!(asked(&*middleware, &mut raw, b""), "401 Unauthorized | Key");
}

/// What it costs to find out who calls: only room in the lines for the worker, which the next request finds there.
#[test]
fn a_key_in_a_line_costs_no_allocation() {
    let middleware = built("key-auth", &json!({}), &people()).unwrap();
    let (mut first, mut second) = (request("GET /", &[("apikey", "k1")]), request("GET /", &[]));
    assert_eq!(asked(&*middleware, &mut first, b""), K1);
    drop(first);
    second.request.headers = Headers::recycled();
    assert!(second.request.headers.append("apikey", "k1"));
    let mut verdict = None;
    let cost = allocation_counter::measure(|| verdict = Some(middleware.on_request(&mut second, &Silent)));
    assert!(matches!(verdict, Some(Verdict::Next)) && second.request.headers.contains("x-consumer-id"));
    assert_eq!(cost.count_total, 0);
}

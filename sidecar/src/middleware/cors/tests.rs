use super::super::testing::{ask, plugin, wrong};
use super::*;
use crate::command::testing::exchange;
use serde_json::{Value, json};

fn lines(headers: &Headers) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(n, v)| {
            let short = n.strip_prefix("access-control-").unwrap_or(n);
            format!("{short}: {}", String::from_utf8_lossy(v))
        })
        .collect();
    lines.sort();
    lines
}

fn preflight(config: &Value, more: &[(&'static str, &str)]) -> Option<Vec<String>> {
    let asking = [&[(REQUEST_METHOD, "PUT")], more].concat();
    let reply = ask(&*plugin(NAME, config), &mut exchange("OPTIONS", "/", &asking))?;
    assert!(reply.status == 200 && matches!(reply.says, Says::Nothing));
    Some(lines(&reply.headers))
}

fn answered(config: &Value, asked: &[(&'static str, &str)], answer: &[(&'static str, &str)]) -> Vec<String> {
    let mut head = AnswerHead { status: 200, headers: Headers::default(), own: false };
    for (name, value) in answer {
        head.headers.append(name, value);
    }
    let cors = plugin(NAME, config);
    let mut exchange = exchange("GET", "/", asked);
    assert!(ask(&*cors, &mut exchange).is_none());
    cors.on_answer(&mut exchange, &mut head);
    lines(&head.headers)
}

const ALL: &str = "allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT";

#[test]
fn browsers_that_ask_beforehand() {
    let some = json!({
        "origins": ["example.test"], "methods": ["GET"], "headers": ["origin", "type", "accepts"], "max_age": 23,
        "credentials": true, "exposed_headers": ["x-auth-token"],
    });
    for (config, more, expected) in [
        (json!({}), &[("origin", "http://origin1.test")][..], &["allow-origin: *", ALL][..]),
        (
            json!({"origins": ["*"], "credentials": true}),
            &[("origin", "origin5.test")],
            &["allow-credentials: true", "allow-origin: origin5.test", ALL, "vary: Origin"],
        ),
        (
            some,
            &[("origin", "http://other.test"), (REQUEST_HEADERS, "x-mine")],
            &[
                "allow-credentials: true",
                "allow-headers: origin,type,accepts",
                "allow-methods: GET",
                "allow-origin: example.test",
                "max-age: 23",
                "vary: Origin",
            ],
        ),
        (
            json!({}),
            &[("origin", "http://a.test"), (REQUEST_HEADERS, "origin,accepts")],
            &["allow-headers: origin,accepts", "allow-origin: *", ALL],
        ),
        (
            json!({"private_network": true, "max_age": 1.5, "methods": []}),
            &[("origin", "http://a.test"), (REQUEST_NETWORK, "true")],
            &["allow-methods: ", "allow-origin: *", "allow-private-network: true", "max-age: 1.5"],
        ),
        (json!({}), &[("origin", "http://a.test"), (REQUEST_NETWORK, "true")], &["allow-origin: *", ALL]),
    ] {
        let mut found = preflight(&config, more).unwrap();
        let mut expected: Vec<String> = expected.iter().map(|l| (*l).to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{config}");
    }
    assert_eq!(preflight(&json!({}), &[]), None, "without an origin nobody asks");
    let plain = &mut exchange("OPTIONS", "/", &[("origin", "http://a.test")]);
    assert!(ask(&*plugin(NAME, &json!({})), plain).is_none(), "without a method neither");
    let continuing = plugin(NAME, &json!({"preflight_continue": true}));
    let mut asking = exchange("OPTIONS", "/", &[("origin", "http://a.test"), (REQUEST_METHOD, "PUT")]);
    assert!(!continuing.hooks().request);
    let mut head = AnswerHead { status: 204, headers: Headers::default(), own: false };
    continuing.on_answer(&mut asking, &mut head);
    assert!(head.headers.is_empty(), "the service answers alone");
}

#[test]
fn which_pages_may_read() {
    let several = json!(["http://my-site.test", "https://my-other-site.test:9000"]);
    for (origins, origin, expected) in [
        (json!(null), "http://a.test", Some("*")),
        (json!([]), "http://a.test", Some("*")),
        (json!(["*"]), "http://a.test", Some("*")),
        (json!(["foo.test"]), "http://evil.test", Some("foo.test")),
        (json!(["foo\\.test"]), "http://foo.test:8000", Some("http://foo.test:8000")),
        (json!(["foo\\.test"]), "http://foo.test.evil.test", None),
        (json!(["foo\\.test"]), "http://foobtest", None),
        (json!(["foo\\.test"]), "http://evil.test/foo.test", None),
        (json!(["foo\\.test"]), "http://foo.test@evil.test", None),
        (json!(["foo\\.test"]), "http://foo.test:80", Some("http://foo.test")),
        (json!(["https://(.*[.])?foo\\.test:8000"]), "https://foo.test:8000", Some("https://foo.test:8000")),
        (json!(["https://(.*[.])?foo\\.test:8000"]), "https://a.foo.test:8000", Some("https://a.foo.test:8000")),
        (json!(["https://(.*[.])?foo\\.test:8000"]), "http://foo.test:8000", None),
        (json!(["^https://foo\\.test$"]), "https://foo.test:443", Some("https://foo.test")),
        // All alternatives are anchored.
        (json!(["foo\\.test|bar\\.test"]), "http://foo.test.evil.test", None),
        (json!(["foo\\.test|bar\\.test"]), "http://bar.test", Some("http://bar.test")),
        (json!(["(?x) foo\\.test # ours"]), "http://foo.test", Some("http://foo.test")),
        (json!(["foo.test", "bar.test"]), "http://foo.test", None),
        (several.clone(), "http://my-site.test:80", Some("http://my-site.test")),
        (several.clone(), "http://my-site.test", Some("http://my-site.test")),
        (several.clone(), "https://my-other-site.test:9000", Some("https://my-other-site.test:9000")),
        (several.clone(), "https://my-other-site.test:9001", None),
        (several.clone(), "https://my-site.test", None),
        (several.clone(), "null", None),
        (several, "http://[::1]:80", None),
        (json!(["http://[::1]:8080", "x"]), "http://[::1]:8080", Some("http://[::1]:8080")),
        (json!(["http://a.test", "*"]), "http://b.test", Some("*")),
        (json!(["a.test", ".*"]), "null", Some("null")),
    ] {
        let found = answered(&json!({"origins": origins}), &[("origin", origin)], &[(ALLOW_ORIGIN, "upstream's")]);
        let found: Vec<_> = found.iter().filter_map(|line| line.strip_prefix("allow-origin: ")).collect();
        assert_eq!(found, expected.as_slice(), "{origins} {origin}");
    }
}

#[test]
fn what_answers_say() {
    let some = json!({"origins": ["example.test"], "credentials": true, "exposed_headers": ["x-auth-token", "b"]});
    for (config, origin, answer, expected) in [
        (json!({}), Some("http://a.test"), &[][..], &["allow-origin: *"][..]),
        (json!({}), None, &[], &["allow-origin: *"]),
        (json!({"allow_origin_absent": false}), None, &[(ALLOW_ORIGIN, "own")], &["allow-origin: own"]),
        (
            some,
            Some("http://a.test"),
            &[("vary", "Accept-Encoding"), (ALLOW_ORIGIN, "*")],
            &[
                "allow-credentials: true",
                "allow-origin: example.test",
                "expose-headers: x-auth-token,b",
                "vary: Accept-Encoding",
                "vary: Origin",
            ],
        ),
        (json!({"origins": ["a", "b"]}), None, &[("vary", "x, ORIGIN")], &["vary: x, ORIGIN"]),
        (json!({"origins": ["a", "*"]}), None, &[], &["vary: Origin"]),
        (json!({"credentials": true}), None, &[], &["allow-origin: *"]),
        (
            json!({"origins": ["*", "a"], "credentials": true}),
            Some("http://a.test"),
            &[],
            &["allow-credentials: true", "allow-origin: http://a.test", "vary: Origin"],
        ),
    ] {
        let asked: Vec<_> = origin.iter().map(|o| ("origin", *o)).collect();
        assert_eq!(answered(&config, &asked, answer), expected, "{config}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    let found = wrong(NAME, &json!({"origins": ["*", "(a", "(?=a)b", "a\\1("], "methods": ["get"], "max_age": "1"}));
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("origins[1]: '(a' is not a valid regex (unclosed group"), "{found:?}");
    assert!(found[1].contains("look-around"), "{found:?}");
    assert!(found[3].starts_with("methods[0]: expected one of: GET, HEAD"), "{found:?}");
    assert_eq!(found[4], "max_age: expected a number");
    assert_eq!(wrong(NAME, &json!({"headers": ["a\nb"]})), ["headers: is no header value"]);
}

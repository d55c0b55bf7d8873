use super::super::testing::{plugin, wrong};
use super::*;
use crate::command::testing::exchange;
use crate::exchange::{Consumer, Silent};
use serde_json::{Value, json};

/// One command: what was asked, and what a service would answer.
#[derive(Clone)]
struct Asked<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    lines: &'a [(&'static str, &'a str)],
    answer: &'a [(&'static str, &'a str)],
    status: u16,
    body: &'static [u8],
    /// The name of the consumer.
    consumer: Option<&'a str>,
    request_body: Option<&'static str>,
}

const PLAIN: Asked<'static> = Asked {
    method: "GET",
    path: "/",
    query: None,
    lines: &[],
    answer: &[("content-type", "text/plain")],
    status: 200,
    body: b"first",
    consumer: None,
    request_body: None,
};

/// Goes the road with a cache on it: what the caller gets, status and lines that matter.
fn asked(cache: &dyn Middleware, what: &Asked<'_>) -> (u16, String, String, Headers) {
    let mut ex = exchange(what.method, "/", what.lines);
    ex.request.set_target(what.path, what.query);
    ex.caller.consumer = what.consumer.map(|id| {
        let (acls, groups) = ([].into(), [].into());
        Arc::new(Consumer { id: id.into(), username: None, custom_id: None, place: 0, acls, groups })
    });
    let mut verdict = cache.on_request(&mut ex, &Silent);
    if let Verdict::Body(BODY_MAX) = verdict {
        ex.seen = what.request_body.map_or(Seen::TooLong, |body| Seen::Whole(body.into()));
        verdict = cache.on_request(&mut ex, &Silent);
    }
    let (mut head, body) = match verdict {
        Verdict::Next => {
            let mut headers = Headers::default();
            for (name, value) in what.answer {
                assert!(headers.append(name, value));
            }
            (AnswerHead { status: what.status, headers, own: false }, Bytes::from_static(what.body))
        }
        Verdict::Reply(reply) => {
            let body = match &reply.says {
                Says::Raw(body, None) => body.clone(),
                Says::Nothing => Bytes::new(),
                says => panic!("{says:?}"),
            };
            (AnswerHead { status: reply.status, headers: reply.headers.clone(), own: true }, body)
        }
        _ => panic!("neither goes on nor answers"),
    };
    let body = match cache.on_answer(&mut ex, &mut head) {
        After::Body(BODY_MAX) => cache.on_answer_body(&mut ex, &mut head, body),
        After::Next => body,
        _ => panic!("wants more"),
    };
    let status = head.headers.get("x-cache-status").unwrap_or_default().to_owned();
    (head.status, status, String::from_utf8(body.to_vec()).unwrap(), head.headers)
}

/// The status that the cache tells of each of these.
fn told(config: &Value, all: &[Asked<'_>]) -> Vec<String> {
    let cache = plugin(NAME, config);
    all.iter().map(|what| asked(&*cache, what).1).collect()
}

fn memory(more: &Value) -> Value {
    let mut config = json!({"strategy": "memory"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn an_answer_is_given_again() {
    let cache = plugin(NAME, &memory(&json!({})));
    let lines = &[
        ("content-type", "application/json"),
        ("x-own", "1"),
        ("x-own", "2"),
        ("connection", "close"),
        ("content-length", "5"),
        ("x-ratelimit-remaining-minute", "7"),
        ("x-ratelimit-limit-minute", "9"),
        ("x-kong-request-id", "77"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let first = Asked { path: "/again", answer: lines, ..PLAIN };
    let (status, cache_status, body, headers) = asked(&*cache, &first);
    assert_eq!((status, &*cache_status, &*body), (200, "Miss", "first"));
    let key = headers.get("x-cache-key").unwrap().to_owned();
    assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    assert_eq!(headers.len(), lines.len() + 2);
    let (status, cache_status, body, headers) = asked(&*cache, &Asked { body: b"second", status: 500, ..first });
    assert_eq!((status, &*cache_status, &*body), (200, "Hit", "first"));
    let mut names: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v))).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "age: 0",
            "content-type: application/json",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            &format!("x-cache-key: {key}"),
            "x-cache-status: Hit",
            "x-own: 1",
            "x-own: 2",
            "x-ratelimit-limit-minute: 9",
        ]
    );
    let head = Asked { path: "/again", method: "HEAD", answer: lines, body: b"", ..PLAIN };
    assert_eq!(asked(&*cache, &head).1, "Miss");
    let (_, cache_status, _, headers) = asked(&*cache, &head);
    assert_eq!((&*cache_status, headers.get("content-length")), ("Hit", Some("5")));
    let silent = memory(&json!({"response_headers": {"age": false, "X-Cache-Status": false, "X-Cache-Key": false}}));
    let (_, _, body, headers) = asked(&*plugin(NAME, &silent), &Asked { path: "/again", ..PLAIN });
    assert_eq!(body, "first");
    assert!(!headers.contains("age") && !headers.contains("x-cache-key") && !headers.contains("x-cache-status"));
}

#[test]
fn what_is_not_kept() {
    let at = |path, answer| Asked { path, answer, ..PLAIN };
    let text = &[("content-type", "text/plain")];
    for (what, second) in [
        (Asked { path: "/not/status", status: 500, ..PLAIN }, "Bypass"),
        (Asked { path: "/not/method", method: "POST", ..PLAIN }, "Bypass"),
        (at("/not/kind", &[("content-type", "text/html")]), "Bypass"),
        (at("/not/parameter", &[("content-type", "text/plain; charset=utf-8")]), "Bypass"),
        (at("/not/kinds", &[("content-type", "text/plain"), ("content-type", "text/plain")]), "Bypass"),
        (at("/not/no-kind", &[]), "Bypass"),
        (at("/not/cookie", &[("content-type", "text/plain"), ("set-cookie", "session=1")]), "Bypass"),
        (at("/not/vary", &[("content-type", "text/plain"), ("vary", "*")]), "Bypass"),
        (at("/not/large", &[("content-type", "text/plain"), ("content-length", "1048577")]), "Bypass"),
        (Asked { path: "/not/moved", status: 301, answer: text, ..PLAIN }, "Hit"),
        (Asked { path: "/not/missing", status: 404, answer: text, ..PLAIN }, "Hit"),
        (Asked { path: "/not/head", method: "HEAD", answer: text, body: b"", ..PLAIN }, "Hit"),
        // Without `cache_control` nobody but the configuration has a say.
        (at("/not/private", &[("content-type", "text/plain"), ("cache-control", "private, no-store")]), "Hit"),
        (Asked { path: "/not/asked", lines: &[("cache-control", "no-cache")], ..PLAIN }, "Hit"),
    ] {
        let told = told(&memory(&json!({})), &[what.clone(), what.clone()]);
        assert_eq!(told[1], second, "{}", what.path);
    }
    let any = memory(&json!({"content_type": ["*/*"], "response_code": [206, 304, 200]}));
    for what in [
        Asked { path: "/not/part", status: 206, ..PLAIN },
        Asked { path: "/not/same", status: 304, ..PLAIN },
        at("/not/events", &[("content-type", "text/event-stream")]),
    ] {
        assert_eq!(told(&any, &[what.clone(), what.clone()]), ["Bypass", "Bypass"], "{}", what.path);
    }
}

#[test]
fn who_asks_for_what() {
    let base = Asked { path: "/key", query: Some("b=2&a=1"), ..PLAIN };
    for (config, others) in [
        (
            json!({}),
            &[
                (Asked { query: Some("a=1&b=2"), ..base.clone() }, "Hit"),
                (Asked { query: Some("%61=1&b=2"), ..base.clone() }, "Hit"),
                (Asked { query: Some("a=1&b=2&b=3"), ..base.clone() }, "Miss"),
                (Asked { query: Some("a=1&b=3&b=2"), ..base.clone() }, "Miss"),
                (Asked { query: Some("a=1%26b=2"), ..base.clone() }, "Miss"),
                (Asked { query: Some("a=1,b=2"), ..base.clone() }, "Miss"),
                (Asked { query: None, ..base.clone() }, "Miss"),
                (Asked { path: "/Key", ..base.clone() }, "Miss"),
                (Asked { method: "HEAD", ..base.clone() }, "Miss"),
                (Asked { consumer: Some("c1"), ..base.clone() }, "Miss"),
                (Asked { consumer: Some("c2"), ..base.clone() }, "Miss"),
                (Asked { consumer: Some("c1"), ..base.clone() }, "Hit"),
                (Asked { lines: &[("authorization", "Bearer a")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("authorization", "Bearer b")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("authorization", "Bearer a")], ..base.clone() }, "Hit"),
                (Asked { lines: &[("cookie", "session=1")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("cookie", "a"), ("authorization", "b")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("cookie", "b"), ("authorization", "a")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("x-other", "1")], ..base.clone() }, "Hit"),
                (Asked { lines: &[("x-forwarded-proto", "https")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("x-forwarded-host", "evil.test")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("fourmi-command", "Other")], ..base.clone() }, "Miss"),
                // A body that comes with a GET is part of what is asked.
                (Asked { lines: &[("content-length", "1")], request_body: Some("a"), ..base.clone() }, "Miss"),
                (Asked { lines: &[("content-length", "1")], request_body: Some("b"), ..base.clone() }, "Miss"),
                (Asked { lines: &[("transfer-encoding", "chunked")], request_body: Some("b"), ..base.clone() }, "Hit"),
                (Asked { lines: &[("content-length", "9")], request_body: None, ..base.clone() }, "Bypass"),
            ][..],
        ),
        (
            json!({"ignore_uri_case": true, "vary_query_params": ["a"], "vary_headers": ["X-Own"]}),
            &[
                (Asked { path: "/KEY", query: Some("a=1"), ..base.clone() }, "Hit"),
                (Asked { query: Some("c=9&%61=1"), ..base.clone() }, "Hit"),
                (Asked { query: Some("a=2"), ..base.clone() }, "Miss"),
                (Asked { query: Some("b=2&a=1&a=2"), ..base.clone() }, "Miss"),
                (Asked { lines: &[("x-own", "1")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("x-own", "1"), ("x-own", "2")], ..base.clone() }, "Miss"),
                (Asked { lines: &[("x-own", "1")], ..base.clone() }, "Hit"),
            ],
        ),
    ] {
        let all: Vec<_> = std::iter::once(base.clone()).chain(others.iter().map(|(what, _)| what.clone())).collect();
        let expected: Vec<_> = std::iter::once("Miss").chain(others.iter().map(|(_, told)| *told)).collect();
        assert_eq!(told(&memory(&config), &all), expected, "{config}");
    }
    let posting = Asked { method: "POST", path: "/key/post", lines: &[("content-length", "1")], ..PLAIN };
    let with = |body| Asked { request_body: Some(body), ..posting.clone() };
    let config = memory(&json!({"request_method": ["POST"]}));
    assert_eq!(told(&config, &[with("a"), with("b"), with("a")]), ["Miss", "Miss", "Hit"]);
}

#[test]
fn what_depends_on_more_is_kept_for_each() {
    let cache = plugin(NAME, &memory(&json!({})));
    let of = |encoding: &'static str, body: &'static [u8]| {
        let lines: &[_] = match encoding {
            "" => &[],
            "gzip" => &[("accept-encoding", "gzip")],
            _ => &[("accept-encoding", "br")],
        };
        let answer = &[("content-type", "text/plain"), ("vary", "Accept-Encoding, Cookie")];
        let (_, status, body, _) = asked(&*cache, &Asked { path: "/vary", lines, answer, body, ..PLAIN });
        format!("{status} {body}")
    };
    let found = [of("gzip", b"zipped"), of("br", b"brotli"), of("", b"plain"), of("gzip", b"x"), of("", b"x")];
    assert_eq!(found, ["Miss zipped", "Miss brotli", "Miss plain", "Hit zipped", "Hit plain"]);
    let many: Vec<String> = (0..=VARY_MAX).map(|n| format!("x-{n}")).collect();
    let many = many.join(",");
    let answer = &[("content-type", "text/plain"), ("vary", &*many)][..];
    let what = Asked { path: "/vary/many", answer, ..PLAIN };
    assert_eq!(told(&memory(&json!({})), &[what.clone(), what]), ["Bypass", "Bypass"]);
}

#[test]
fn requests_and_answers_have_a_say_when_they_may() {
    let config = memory(&json!({"cache_control": true}));
    let cache = plugin(NAME, &config);
    let long = &[("content-type", "text/plain"), ("cache-control", "max-age=600")][..];
    for (path, answer) in [
        ("/say/nothing", &[("content-type", "text/plain")][..]),
        ("/say/zero", &[("content-type", "text/plain"), ("cache-control", "max-age=0")]),
        ("/say/private", &[("content-type", "text/plain"), ("cache-control", "private, max-age=60")]),
        (
            "/say/no-store",
            &[("content-type", "text/plain"), ("cache-control", "max-age=60"), ("cache-control", "No-Store")],
        ),
        ("/say/no-cache", &[("content-type", "text/plain"), ("cache-control", "no-cache, max-age=60")]),
        ("/say/shared", &[("content-type", "text/plain"), ("cache-control", "max-age=60, s-maxage=0")]),
        ("/say/old", &[("content-type", "text/plain"), ("cache-control", "max-age=60"), ("age", "60")]),
        ("/say/expired", &[("content-type", "text/plain"), ("expires", "Sun, 06 Nov 1994 08:49:37 GMT")]),
    ] {
        let what = Asked { path, answer, ..PLAIN };
        assert_eq!(told(&config, &[what.clone(), what]), ["Bypass", "Bypass"], "{path}");
    }
    let base = Asked { path: "/say/long", answer: long, ..PLAIN };
    let with = |line: &'static str| asked(&*cache, &Asked { lines: &[("cache-control", line)], ..base.clone() });
    let says = |line: &'static str| with(line).1;
    let (status, _, body, _) = with("only-if-cached");
    assert_eq!((status, &*body), (504, ""));
    assert_eq!(says(""), "Miss");
    assert_eq!(says("only-if-cached"), "Hit");
    assert_eq!(
        (says("no-cache"), says("no-store"), says("max-age=600")),
        ("Bypass".into(), "Bypass".into(), "Hit".into())
    );
    assert_eq!(says("min-fresh=601"), "Refresh");
    assert_eq!(with("min-fresh=601, only-if-cached").0, 504);
    let authorized = Asked { lines: &[("authorization", "Bearer a")], ..base };
    assert_eq!(told(&config, &[authorized.clone(), authorized]), ["Bypass", "Bypass"]);
}

/// How an answer of some age is judged.
#[test]
fn what_is_stale_is_asked_for_anew() {
    let at = |age: u64, fresh: u64, strict: bool| Kept {
        status: 200,
        headers: Headers::default(),
        body: Bytes::new(),
        at: Instant::now(),
        age: Duration::from_secs(age),
        fresh: Duration::from_secs(fresh),
        strict,
    };
    let own = |control| ProxyCache {
        statuses: Vec::new(),
        methods: Vec::new(),
        kinds: Vec::new(),
        parts: Parts { any_case: false, arguments: None, headers: [].into() },
        fresh: Duration::from_secs(10),
        keep: None,
        control,
        shows: Shows { age: true, status: true, key: true },
    };
    for (kept, line, expected) in [
        (at(5, 60, false), "", true),
        (at(61, 60, false), "", false),
        (at(61, 60, false), "max-stale", true),
        (at(61, 60, true), "max-stale", false),
        (at(90, 60, false), "max-stale=20", false),
        (at(70, 60, false), "max-stale=20", true),
        (at(5, 60, false), "max-age=4", false),
        (at(5, 60, false), "max-age=0", false),
        (at(5, 60, false), "min-fresh=30", true),
        (at(45, 60, false), "min-fresh=30", false),
    ] {
        let mut headers = Headers::default();
        headers.append("cache-control", line);
        let now = kept.at;
        assert_eq!(own(true).will_do(&kept, &Control::of(&headers), now), expected, "{kept:?} {line}");
    }
    let kept = at(0, 99, false);
    let after = |seconds| kept.at + Duration::from_secs(seconds);
    let nothing = Control::default();
    assert!(own(false).will_do(&kept, &nothing, after(10)) && !own(false).will_do(&kept, &nothing, after(11)));
    assert_eq!(kept.age(after(11)), Duration::from_secs(11));
}

#[test]
fn other_protocols_pass_by() {
    let cache = plugin(NAME, &memory(&json!({})));
    for protocol in [Protocol::Grpc, Protocol::WebSocket, Protocol::Tunnel] {
        let mut ex = exchange("GET", "/protocols", &[]);
        ex.protocol = protocol;
        assert!(matches!(cache.on_request(&mut ex, &Silent), Verdict::Next) && ex.cached.is_none());
        let mut head = AnswerHead { status: 200, headers: Headers::default(), own: false };
        assert!(matches!(cache.on_answer(&mut ex, &mut head), After::Next) && head.headers.is_empty());
    }
    let mut two = exchange("GET", "/protocols", &[]);
    two.protocol = Protocol::Http2;
    assert!(matches!(cache.on_request(&mut two, &Silent), Verdict::Body(BODY_MAX)), "a body may come");
}

#[test]
fn what_is_wrong_is_told() {
    assert_eq!(wrong(NAME, &json!({})), ["strategy: required field missing"]);
    assert_eq!(
        wrong(
            NAME,
            &json!({
                "strategy": "redis", "response_code": [99], "request_method": ["DELETE"], "content_type": ["json"],
                "cache_ttl": 0, "storage_ttl": 0, "memory": {"dictionary": "x"}, "response_headers": {"X-Cache": true},
            })
        ),
        [
            "strategy: expected one of: memory",
            "response_code[0]: value should be between 100 and 900",
            "request_method[0]: expected one of: HEAD, GET, POST, PATCH, PUT",
            "content_type[0]: invalid value: json",
            "cache_ttl: value should be between 1 and 2147483647",
            "storage_ttl: value should be between 1 and 2147483647",
            "memory.dictionary: unknown field",
            "response_headers.X-Cache: unknown field",
        ]
    );
    assert_eq!(wrong(NAME, &memory(&json!({"response_code": []}))), ["response_code: length must be at least 1"]);
    assert!(wrong(NAME, &memory(&json!({"memory": {"dictionary_name": "kong_db_cache"}}))).is_empty());
}

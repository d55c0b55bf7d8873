//! What becomes of a request.

use super::*;
use crate::command::testing;
use crate::exchange::Silent;
use crate::middleware::testing::{plugin, wrong};
use serde_json::{Value as Json, json};

/// A request: method, target, header lines, body.
struct Asked {
    method: &'static str,
    target: &'static str,
    lines: Vec<(&'static str, &'static str)>,
    body: &'static str,
}

fn asked(target: &'static str, lines: &[(&'static str, &'static str)]) -> Asked {
    Asked { method: "POST", target, lines: lines.to_vec(), body: "" }
}

fn with_body(media: &'static str, body: &'static str) -> Asked {
    Asked { body, ..asked("/", &[("content-type", media)]) }
}

/// What the service gets: method, target, header lines without the type, body; or the status.
fn sent(config: Json, asked: &Asked) -> String {
    let middleware = plugin("request-transformer", &config);
    let mut exchange = exchange(asked);
    let verdict = match middleware.on_request(&mut exchange, &Silent) {
        Verdict::Body(most) => {
            assert_eq!(most, BODY_MAX);
            exchange.seen = Seen::Whole(asked.body.into());
            middleware.on_request(&mut exchange, &Silent)
        }
        other => other,
    };
    match verdict {
        Verdict::Next => told(&exchange, asked.body),
        Verdict::Reply(reply) => format!("{} {:?}", reply.status, reply.says),
        Verdict::Refuse(fault) => format!("{}", fault.kind.status()),
        _ => panic!("asks again"),
    }
}

fn exchange(asked: &Asked) -> Exchange {
    let mut exchange = testing::exchange(asked.method, "/", &asked.lines);
    let (path, query) = asked.target.split_once('?').map_or((asked.target, None), |(p, q)| (p, Some(q)));
    exchange.request.set_target(path, query);
    exchange.request.authority = "shop.test".into();
    exchange.captures = match path.strip_prefix("/requests/") {
        Some(user) => vec![(None, path.into()), (Some("user1".into()), user.into())],
        None => Vec::new(),
    };
    exchange
}

fn told(exchange: &Exchange, body: &str) -> String {
    let path = exchange.path_instead.as_deref().unwrap_or(exchange.request.path());
    let mut told = format!("{} {path}", exchange.request.method);
    if let Some(query) = exchange.request.query() {
        told += &format!("?{query}");
    }
    if let Some(host) = &exchange.host_instead {
        told += &format!(" host={host}");
    }
    for (name, value) in exchange.request.headers.iter().filter(|(name, _)| *name != "content-type") {
        told += &format!(" {name}={}", String::from_utf8_lossy(value));
    }
    if let Seen::Whole(seen) = &exchange.seen {
        told += &format!(" {}", String::from_utf8_lossy(seen));
    } else if !body.is_empty() {
        told += " unseen";
    }
    told
}

#[test]
fn headers() {
    let rows = [
        (json!({"add": {"headers": ["h1:v1", "h2:value:2"]}}), asked("/", &[]), "POST / h1=v1 h2=value:2"),
        (json!({"add": {"headers": ["H1:v1"]}}), asked("/", &[("h1", "other")]), "POST / h1=other"),
        (json!({"add": {"headers": ["host:mark", "h::x"]}}), asked("/", &[]), "POST / h=x"),
        (
            json!({"append": {"headers": ["host:mark"]}, "rename": {"headers": ["host:h", "h:host"]}}),
            asked("/", &[("h", "1")]),
            "POST / h=1",
        ),
        (
            json!({"remove": {"headers": ["X-To-Remove", "none"]}}),
            asked("/", &[("x-to-remove", "1"), ("y", "2"), ("x-to-remove", "3")]),
            "POST / y=2",
        ),
        (json!({"replace": {"headers": ["h1:v1"]}}), asked("/", &[("h1", "x"), ("h1", "y")]), "POST / h1=v1"),
        (json!({"replace": {"headers": ["h1:v1"]}}), asked("/", &[]), "POST /"),
        (json!({"replace": {"headers": ["Host:Other.Test:81"]}}), asked("/", &[]), "POST / host=other.test:81"),
        (json!({"append": {"headers": ["h1:v1", "h1:v2"]}}), asked("/", &[]), "POST / h1=v1 h1=v2"),
        (json!({"append": {"headers": ["h1:v2"]}}), asked("/", &[("h1", "v1")]), "POST / h1=v1 h1=v2"),
        (
            json!({"rename": {"headers": ["X-To-Rename:X-Is-Renamed"]}}),
            asked("/", &[("x-to-rename", "a"), ("x-is-renamed", "b"), ("x-to-rename", "c")]),
            "POST / x-is-renamed=a x-is-renamed=c",
        ),
        (
            json!({"rename": {"headers": ["x-to-rename:x-is-renamed"]}}),
            asked("/", &[("x-is-renamed", "b")]),
            "POST / x-is-renamed=b",
        ),
        (
            json!({"rename": {"headers": ["identical:identical"]}}),
            asked("/", &[("identical", "a")]),
            "POST / identical=a",
        ),
        // Every step sees what the ones before it left.
        (
            json!({"remove": {"headers": ["a"]}, "rename": {"headers": ["b:a"]}, "replace": {"headers": ["a:2"]}, "add": {"headers": ["a:3", "c:4"]}, "append": {"headers": ["c:5"]}}),
            asked("/", &[("a", "0"), ("b", "1")]),
            "POST / a=2 c=4 c=5",
        ),
        // What frames a message is left alone.
        (
            json!({"add": {"headers": ["Transfer-Encoding:chunked", "Content-Length:5"]}, "remove": {"headers": ["connection"]}, "rename": {"headers": ["x:te"]}, "replace": {"headers": ["upgrade:h2c"]}}),
            asked("/", &[("connection", "x"), ("upgrade", "y"), ("x", "1")]),
            "POST / connection=x upgrade=y x=1",
        ),
    ];
    for (config, asked, expected) in rows {
        assert_eq!(sent(config.clone(), &asked), expected, "{config}");
    }
}

#[test]
fn queries() {
    let rows = [
        (json!({"remove": {"querystring": ["q1"]}}), "/?q1=1&q2=2&%711=3", "POST /?q2=2"),
        (json!({"remove": {"querystring": ["q1"]}}), "/?q1=1", "POST /"),
        (json!({"remove": {"querystring": ["none"]}}), "/?a=%7e&&b", "POST /?a=%7e&&b"),
        (json!({"rename": {"querystring": ["old:new"]}}), "/?old=a%20b&new=2&old&x=%7e", "POST /?new=a%20b&new&x=%7e"),
        (json!({"rename": {"querystring": ["old:new"]}}), "/?new=2", "POST /?new=2"),
        (json!({"replace": {"querystring": ["q:a b"]}}), "/?q=1&x=2&q=3", "POST /?q=a%20b&x=2"),
        (json!({"replace": {"querystring": ["q:a"]}}), "/?x=2", "POST /?x=2"),
        (json!({"add": {"querystring": ["q:1", "p:x&y=z"]}}), "/?q=0", "POST /?q=0&p=x%26y%3Dz"),
        (json!({"append": {"querystring": ["q:1", "q:2"]}}), "/?q=0&r=1", "POST /?q=0&r=1&q=1&q=2"),
    ];
    for (config, target, expected) in rows {
        assert_eq!(sent(config.clone(), &asked(target, &[])), expected, "{config}");
    }
}

#[test]
fn methods() {
    let form = || with_body("application/x-www-form-urlencoded", "a=1&b=%2f\r\n");
    let rows = [
        (json!({"http_method": "POST"}), Asked { method: "GET", ..asked("/", &[]) }, "POST /"),
        (json!({"http_method": "PUT"}), form(), "PUT / unseen"),
        (json!({"http_method": "GET"}), form(), "GET /?a=1&b=%2f%0D%0A a=1&b=%2f\r\n"),
        (json!({"http_method": "GET"}), with_body("application/json", "{}"), "GET / unseen"),
        (
            json!({"http_method": "HEAD", "remove": {"querystring": ["a"]}}),
            Asked { target: "/?x=1", ..form() },
            "HEAD /?x=1&b=%2f%0D%0A a=1&b=%2f\r\n",
        ),
    ];
    for (config, asked, expected) in rows {
        assert_eq!(sent(config.clone(), &asked), expected, "{config}");
    }
}

#[test]
fn templates() {
    let add = |value: &str| json!({"add": {"querystring": [format!("p:{value}")]}});
    let uri = |value: &str| json!({"replace": {"uri": value}});
    let rows = [
        (add("$(uri_captures.user1)"), asked("/requests/foo", &[]), "POST /requests/foo?p=foo"),
        (add("$(uri_captures.user1 or 'default1')"), asked("/", &[]), "POST /?p=default1"),
        (add("$(shared.none)"), asked("/", &[]), "POST /"),
        (add("$(headers.h)"), asked("/", &[("h", "a&b=c%")]), "POST /?p=a%26b%3Dc%25 h=a&b=c%"),
        (uri("/fixed%2Fpath"), asked("/a?q=1", &[]), "POST /fixed%2Fpath?q=1"),
        (uri("/x/$(uri_captures[1])/$(10 * 2)"), asked("/requests/a%2Fb/c", &[]), "POST /x/a%2Fb/c/20"),
        (
            uri("/requests/user2/$(10 * uri_captures.user1)"),
            asked("/requests/foo", &[]),
            "500 Message(\"An unexpected error occurred\")",
        ),
        (uri("$(uri_captures.none)"), asked("/a", &[]), "POST /a"),
        (uri("$(headers.h)"), asked("/a", &[("h", "no-slash")]), "500 Message(\"An unexpected error occurred\")"),
        // Nothing that comes from outside leads out of the path that was meant.
        (
            uri("/x/$(query_params.q)"),
            asked("/?q=a%3Fb%23c%0D%0Ad%20%C3%A9%25", &[]),
            "POST /x/a%3Fb%23c%0D%0Ad%20%C3%A9%25?q=a%3Fb%23c%0D%0Ad%20%C3%A9%25",
        ),
        (uri("/x/$(query_params.q)"), asked("/?q=../admin", &[]), "400"),
        (uri("/x/$(query_params.q)"), asked("/?q=%252e%252E;a/admin", &[]), "400"),
        (uri("/x/$(query_params.q)"), asked("/?q=..%5Cadmin", &[]), "400"),
        (uri("/x/.$(query_params.q)"), asked("/?q=.", &[]), "400"),
        (uri("/x/$(query_params.q)"), asked("/?q=%2500", &[]), "400"),
        (
            json!({"add": {"headers": ["h:$(query_params.q1)"]}, "remove": {"querystring": ["q1"]}}),
            asked("/?q1=20", &[]),
            "POST / h=20",
        ),
        (
            json!({"add": {"headers": ["y:$(headers['x-remove-header'])"]}, "remove": {"headers": ["x-remove-header"]}}),
            asked("/", &[("x-remove-header", "old")]),
            "POST / y=old",
        ),
        (
            json!({"replace": {"headers": ["x:a$(query_params.q)"]}}),
            asked("/?q=%0d%0aEvil:1", &[("x", "theirs")]),
            "500 Message(\"An unexpected error occurred\")",
        ),
        (
            json!({"replace": {"headers": ["host:$(headers.to)"]}}),
            asked("/", &[("to", "a/b")]),
            "500 Message(\"An unexpected error occurred\")",
        ),
        (
            json!({"replace": {"headers": ["host:$(headers.to)"]}}),
            asked("/", &[("to", "Pool-2.test")]),
            "POST / host=pool-2.test to=Pool-2.test",
        ),
        // A body that nobody changes is not asked for its templates.
        (json!({"add": {"body": ["a:$(10 * headers.h)"]}}), asked("/", &[("h", "x")]), "POST / h=x"),
    ];
    for (config, asked, expected) in rows {
        assert_eq!(sent(config.clone(), &asked), expected, "{config}");
    }
}

#[test]
fn json_bodies() {
    let json = |body| with_body("Application/JSON; charset=utf-8", body);
    let add = || json!({"add": {"body": ["p1:v\"1"]}});
    let rows = [
        (
            add(),
            json("{ \"emptyarray\" : [] , \"n\":12345678901234567890.10, \"o\":{\"a\":[1,{}],\"s\":\"}\\\\\"} }"),
            "POST / {\"emptyarray\":[],\"n\":12345678901234567890.10,\"o\":{\"a\":[1,{}],\"s\":\"}\\\\\"},\"p1\":\"v\\\"1\"}",
        ),
        (add(), json("{ \"p1\": null }"), "POST / { \"p1\": null }"),
        (add(), json(""), "POST / {\"p1\":\"v\\\"1\"}"),
        (add(), json("{}"), "POST / {\"p1\":\"v\\\"1\"}"),
        (add(), json("[1]"), "POST / [1]"),
        (add(), json("{\"a\":1,}"), "POST / {\"a\":1,}"),
        (json!({"remove": {"body": ["p1"]}}), json("not json p1"), "POST / not json p1"),
        (json!({"remove": {"body": ["p1"]}}), json("{\"\\u0070\\u0031\":1,\"b\":2,\"p1\":3}"), "POST / {\"b\":2}"),
        (
            json!({"rename": {"body": ["a:b"]}}),
            json("{\"b\":0,\"a\":[1 , 2],\"c\":3}"),
            "POST / {\"b\":[1 , 2],\"c\":3}",
        ),
        (json!({"replace": {"body": ["a:x:y", "none:1"]}}), json("{\"a\":false}"), "POST / {\"a\":\"x:y\"}"),
        (
            json!({"append": {"body": ["a:x", "b:x", "c:x", "d:x", "d:y"]}}),
            json("{\"a\":[ ],\"b\":[1],\"c\":\"s\"}"),
            "POST / {\"a\":[\"x\"],\"b\":[1,\"x\"],\"c\":[\"s\",\"x\"],\"d\":[\"x\",\"y\"]}",
        ),
        (
            json!({"add": {"body": ["t:$(headers['content-type'])"]}}),
            json("{}"),
            "POST / {\"t\":\"Application/JSON; charset=utf-8\"}",
        ),
        (add(), with_body("text/plain", "{}"), "POST / unseen"),
        // The type that the body is read by is the one that is sent.
        (
            json!({"replace": {"headers": ["content-type:application/json"]}, "add": {"body": ["a:1"]}}),
            with_body("text/plain", "{}"),
            "POST / {\"a\":\"1\"}",
        ),
        (
            json!({"replace": {"headers": ["content-type:text/plain"]}, "add": {"body": ["a:1"]}}),
            json("{}"),
            "POST / {}",
        ),
    ];
    for (config, asked, expected) in rows {
        assert_eq!(sent(config.clone(), &asked), expected, "{config} {}", asked.body);
    }
}

#[test]
fn forms() {
    let form = |body| with_body("application/x-www-form-urlencoded", body);
    let rows = [
        (json!({"add": {"body": ["p1:v 1"]}}), form("a=%7e&b"), "POST / a=%7e&b&p1=v%201"),
        (json!({"add": {"body": ["p1:v1"]}}), form(""), "POST / p1=v1"),
        (json!({"remove": {"body": ["a b"]}}), form("a+b=1&a%20b=2&c=3"), "POST / c=3"),
        (
            json!({"rename": {"body": ["a:b"]}, "replace": {"body": ["b:2"]}, "append": {"body": ["b:3"]}}),
            form("a=1&c"),
            "POST / b=2&c&b=3",
        ),
    ];
    for (config, asked, expected) in rows {
        assert_eq!(sent(config.clone(), &asked), expected, "{config}");
    }
}

const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x \r\ncontent-disposition: form-data; filename=\"name=.txt\"; name=b\r\nContent-Type: text/plain\r\n\r\n--xy\r\n\r\n--x--\r\n";

#[test]
fn forms_with_files() {
    let form = |body| with_body("multipart/form-data; boundary=\"x\"", body);
    let part =
        |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = "--x\r\ncontent-disposition: form-data; filename=\"f\"; name=b\r\n\r\ntext\r\n";
    let whole = format!("{}{file}--x--\r\n", part("a", "1"));
    let whole: &'static str = whole.leak();
    let rows = [
        (json!({"remove": {"body": ["a", "none"]}}), format!("{file}--x--\r\n")),
        (json!({"replace": {"body": ["a:2"]}}), format!("{}{file}--x--\r\n", part("a", "2"))),
        (
            json!({"rename": {"body": ["b:c\"d"]}}),
            format!("{}{}--x--\r\n", part("a", "1"), file.replace("=b", "=c%22d")),
        ),
        (json!({"add": {"body": ["a:2", "n:3"]}}), format!("{}{file}{}--x--\r\n", part("a", "1"), part("n", "3"))),
        (json!({"append": {"body": ["a:2"]}}), whole.to_owned()),
    ];
    for (config, expected) in rows {
        assert_eq!(sent(config.clone(), &form(whole)), format!("POST / {expected}"), "{config}");
    }
    let add = || json!({"add": {"body": ["n:$(query_params.q)"]}});
    let empty = Asked { target: "/?q=1", ..form("") };
    assert_eq!(sent(add(), &empty), format!("POST /?q=1 {}--x--\r\n", part("n", "1")));
    // A value cannot bring parts of its own.
    let hostile = Asked { target: "/?q=%0D%0A--x%0D%0A", ..form(whole) };
    assert_eq!(sent(add(), &hostile), "500 Message(\"An unexpected error occurred\")");
    // What is not clearly a form stays as it is.
    for broken in [FORM, "--x\r\n\r\n1", "text", "--x\r\nno empty line\r\n--x--", "--x\n\n1\n--x--"] {
        let asked = Asked { target: "/?q=1", ..form(broken) };
        assert_eq!(sent(add(), &asked), format!("POST /?q=1 {broken}"));
    }
    let unnamed = with_body("multipart/form-data", whole);
    assert_eq!(sent(json!({"remove": {"body": ["a"]}}), &unnamed), format!("POST / {whole}"));
}

#[test]
fn a_body_is_asked_for_only_when_there_is_work_and_passes_when_it_is_too_long() {
    let heads = plugin("request-transformer", &json!({"add": {"headers": ["a:1"], "querystring": ["b:2"]}}));
    let mut exchange = exchange(&with_body("application/json", "{}"));
    assert!(matches!(heads.on_request(&mut exchange, &Silent), Verdict::Next));
    assert!(!heads.wants_captures());
    let bodies = plugin("request-transformer", &json!({"add": {"body": ["a:$(uri_captures[1])"]}}));
    assert!(matches!(bodies.on_request(&mut exchange, &Silent), Verdict::Body(BODY_MAX)) && bodies.wants_captures());
    exchange.seen = Seen::TooLong;
    assert!(matches!(bodies.on_request(&mut exchange, &Silent), Verdict::Next));
    assert!(matches!(exchange.seen, Seen::TooLong));
}

#[test]
fn mistakes_are_told_when_the_file_is_loaded() {
    for (config, expected) in [
        (json!({"add": {"headers": ["h1"]}}), "add.headers[0]: invalid value: h1"),
        (json!({"replace": {"body": ["a:1", ":x"]}}), "replace.body[1]: invalid value: :x"),
        (json!({"remove": {"querystring": [""]}}), "remove.querystring[0]: invalid value: "),
        (json!({"rename": {"headers": ["a:b c"]}}), "rename.headers[0]: 'b c' is not a valid header"),
        (json!({"remove": {"headers": ["a b"]}}), "remove.headers[0]: 'a b' is not a valid header"),
        (json!({"rename": {"body": ["a:"]}}), "rename.body[0]: '' is not a valid name"),
        (json!({"add": {"headers": ["a:b\nc"]}}), "add.headers[0]: invalid value for a"),
        (json!({"replace": {"headers": ["host:a/b"]}}), "replace.headers[0]: invalid value for host"),
        (
            json!({"add": {"body": ["a:$(os.time())"]}}),
            "add.body[0]: os is not known; known are headers, query_params, uri_captures and shared",
        ),
        (
            json!({"replace": {"uri": "/$(x"}}),
            "replace.uri: x is not known; known are headers, query_params, uri_captures and shared",
        ),
        (json!({"replace": {"uri": "x"}}), "replace.uri: should start with: /"),
        (json!({"replace": {"uri": "/a?b=c"}}), "replace.uri: is not a path"),
        (json!({"add": {"uri": "/a"}}), "add.uri: unknown field"),
        (json!({"http_method": "get"}), "http_method: invalid value: get"),
        (json!({"http_method": "CONNECT"}), "http_method: invalid value: CONNECT"),
    ] {
        assert_eq!(wrong("request-transformer", &config), [expected], "{config}");
    }
}

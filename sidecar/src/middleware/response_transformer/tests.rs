//! What becomes of an answer.

use super::*;
use crate::command::testing;
use crate::exchange::Headers;
use crate::middleware::testing::{plugin, wrong};
use serde_json::{Value as Json, json};

/// What the caller gets: header lines without the type, and the body if it was asked for.
fn given(config: &Json, method: &str, status: u16, lines: &[(&'static str, &str)], body: &str) -> String {
    let middleware = plugin("response-transformer", config);
    let mut exchange = testing::exchange(method, "/", &[]);
    let mut headers = Headers::default();
    for (name, value) in lines {
        assert!(headers.append(name, value));
    }
    let mut answer = AnswerHead { status, headers, own: false };
    let body = match middleware.on_answer(&mut exchange, &mut answer) {
        After::Next => None,
        After::Body(most) => {
            assert_eq!(most, BODY_MAX);
            Some(middleware.on_answer_body(&mut exchange, &mut answer, body.to_owned().into()))
        }
        _ => panic!("answers itself"),
    };
    let lines = answer.headers.iter().filter(|(name, _)| *name != "content-type");
    let mut told: Vec<String> =
        lines.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value))).collect();
    told.extend(body.map(|body| String::from_utf8_lossy(&body).into_owned()));
    told.join(" ")
}

#[test]
fn headers() {
    for (config, lines, expected) in [
        (
            json!({"remove": {"headers": ["Set-Cookie", "x"]}}),
            vec![("set-cookie", "a"), ("y", "1"), ("set-cookie", "b")],
            "y=1",
        ),
        (json!({"rename": {"headers": ["h1:h2"]}}), vec![("h1", "a"), ("h2", "b")], "h2=a"),
        (json!({"replace": {"headers": ["h1:v1", "h2:v2"]}}), vec![("h1", "a")], "h1=v1"),
        (json!({"add": {"headers": ["h1:v1", "h2:v:2"]}}), vec![("h1", "a")], "h1=a h2=v:2"),
        (json!({"append": {"headers": ["h1:v1", "h1:v2"]}}), vec![("h1", "a")], "h1=a h1=v1 h1=v2"),
        (
            json!({"remove": {"headers": ["content-length"]}, "add": {"headers": ["connection:close"]}}),
            vec![("content-length", "0")],
            "content-length=0",
        ),
        (json!({"add": {"headers": ["x:$(headers.y)"]}}), vec![], "x=$(headers.y)"),
    ] {
        assert_eq!(given(&config, "GET", 200, &lines, ""), expected, "{config}");
    }
}

#[test]
fn json_members() {
    let body = "{\"url\":\"x\",\"n\":12345678901234567890,\"l\":[1]}";
    for (config, expected) in [
        (json!({"remove": {"json": ["url", "none"]}}), "{\"n\":12345678901234567890,\"l\":[1]}"),
        (json!({"rename": {"json": ["url:uri"]}, "remove": {"json": ["n", "l"]}}), "{\"uri\":\"x\"}"),
        (
            json!({"replace": {"json": ["url:/hello/world", "none:1"]}, "remove": {"json": ["n", "l"]}}),
            "{\"url\":\"/hello/world\"}",
        ),
        (
            json!({"add": {"json": ["a:1", "b:true", "c:x", "d:007", "e:yes", "f:5", "g:12345678901234567890", "h:0x10", "url:2"],
                "json_types": ["number", "boolean", "number", "number", "boolean", "string", "number", "number"]},
                "remove": {"json": ["url", "n", "l"]}}),
            "{\"a\":1,\"b\":true,\"d\":7,\"e\":false,\"f\":\"5\",\"g\":12345678901234567890,\"h\":16,\"url\":\"2\"}",
        ),
        (
            json!({"append": {"json": ["l:2", "url:y", "m:z"], "json_types": ["number"]}, "remove": {"json": ["n"]}}),
            "{\"url\":[\"x\",\"y\"],\"l\":[1,2],\"m\":[\"z\"]}",
        ),
        (json!({"remove": {"json": ["none"]}}), body),
    ] {
        assert_eq!(given(&config, "GET", 200, &[("content-type", "application/json")], body), expected, "{config}");
    }
}

#[test]
fn other_bodies_stay_as_they_are() {
    let config = json!({"add": {"json": ["a:1"]}});
    let json =
        |body| given(&config, "GET", 200, &[("content-type", "text/html, Application/json; charset=utf-8")], body);
    assert_eq!(json("{}"), "{\"a\":\"1\"}");
    for body in ["", "[1]", "{\"a\":", "null", "\"x\""] {
        assert_eq!(json(body), body);
    }
    for (method, status, lines) in [
        ("GET", 200, vec![("content-type", "text/html")]),
        ("GET", 200, vec![("content-type", "application/problem+json")]),
        ("GET", 200, vec![]),
        ("HEAD", 200, vec![("content-type", "application/json")]),
        ("GET", 204, vec![("content-type", "application/json")]),
        ("GET", 304, vec![("content-type", "application/json")]),
    ] {
        assert_eq!(given(&config, method, status, &lines, "{}"), "", "{method} {status} {lines:?}");
    }
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(given(&config, "GET", 200, &compressed, "{}"), "content-encoding=gzip");
    let only_headers = json!({"add": {"headers": ["a:1"]}});
    assert_eq!(given(&only_headers, "GET", 200, &[("content-type", "application/json")], "{}"), "a=1");
}

#[test]
fn mistakes_are_told_when_the_file_is_loaded() {
    for (config, expected) in [
        (json!({"add": {"json": ["a"]}}), "add.json[0]: invalid value: a"),
        (json!({"rename": {"headers": ["a:b c"]}}), "rename.headers[0]: 'b c' is not a valid header"),
        (
            json!({"append": {"json_types": ["number", "int"]}}),
            "append.json_types[1]: int: expected one of: boolean, number, string",
        ),
        (json!({"remove": {"json_types": ["number"]}}), "remove.json_types: unknown field"),
        (json!({"add": {"querystring": ["a:1"]}}), "add.querystring: unknown field"),
    ] {
        assert_eq!(wrong("response-transformer", &config), [expected], "{config}");
    }
}

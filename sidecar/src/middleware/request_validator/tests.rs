//! Which requests are refused, and with what words.

use super::*;
use crate::command::testing;
use crate::exchange::{Says, Silent};
use crate::middleware::testing::{plugin, wrong};
use serde_json::{Value as Json, json};

/// What a request is answered; `next` when it goes on.
fn asked(middleware: &dyn Middleware, target: &str, lines: &[(&'static str, &str)], body: &str) -> String {
    let mut exchange = testing::exchange("POST", "/", lines);
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    exchange.request.set_target(path, query);
    if let Some(rest) = path.strip_prefix("/of/") {
        exchange.captures = vec![(None, path.into()), (Some("id".into()), rest.into())];
    }
    let verdict = match middleware.on_request(&mut exchange, &Silent) {
        Verdict::Body(BODY_MAX) => {
            exchange.seen = Seen::Whole(body.to_owned().into());
            middleware.on_request(&mut exchange, &Silent)
        }
        other => other,
    };
    match verdict {
        Verdict::Next => "next".into(),
        Verdict::Reply(reply) => match reply.says {
            Says::Json(json) => format!("{} {}", reply.status, String::from_utf8_lossy(&json)),
            _ => panic!("{reply:?}"),
        },
        _ => panic!("neither goes on nor answers"),
    }
}

fn said(message: &str) -> String {
    format!("400 {}", json!({ "message": message }))
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn bodies_in_kongs_form() {
    let schema = json!([
        {"name": {"type": "string", "required": true}},
        {"age": {"type": "integer", "between": [1, 10]}},
        {"address": {"type": "record", "fields": [{"zip": {"type": "string", "required": true, "match": "^%d+$"}}]}},
        {"born": {"type": "string", "format": "date-time"}},
        {"tags": {"type": "array", "elements": {"type": "string", "one_of": ["a", "b"]}, "len_max": 2}},
        {"flags": {"type": "map", "keys": {"type": "string"}, "values": {"type": "boolean"}}},
        {"note": {"type": "string", "len_min": 0}},
        {"ids": {"type": "set", "elements": {"type": "string", "uuid": true}}},
    ]);
    let config = json!({"body_schema": schema.to_string(), "verbose_response": true});
    let verbose = plugin("request-validator", &config);
    let quiet = plugin("request-validator", &json!({"body_schema": schema}));
    let uuid = "4f92afc9-c76c-36e3-0476-c45a4345b467";
    for (body, expected) in [
        (json!({"name": "x", "age": 4, "address": {"zip": "94108"}, "born": "2009-07-20T08:30:37.012Z"}), None),
        (json!({"name": "x", "tags": ["a", "b"], "flags": {"x": true}, "note": "", "age": null}), None),
        (json!({"name": "x", "ids": [uuid], "age": 4.0}), None),
        (json!({}), Some("required field missing: name")),
        (json!({"name": null}), Some("required field missing: name")),
        (json!({"name": ""}), Some("length must be at least 1: name")),
        (json!({"name": 1}), Some("expected a string: name")),
        (json!({"name": "x", "age": "4"}), Some("expected an integer: age")),
        (json!({"name": "x", "age": 4.5}), Some("expected an integer: age")),
        (json!({"name": "x", "age": 11}), Some("value should be between 1 and 10: age")),
        (json!({"name": "x", "address": {}}), Some("required field missing: address.zip")),
        (json!({"name": "x", "address": {"zip": "1a"}}), Some("invalid value: address.zip")),
        (json!({"name": "x", "address": []}), Some("expected a record: address")),
        (json!({"name": "x", "born": "yesterday"}), Some("invalid value: born")),
        (json!({"name": "x", "tags": ["a", "c"]}), Some("expected one of: a, b: tags.2")),
        (json!({"name": "x", "tags": ["a", "a", "a"]}), Some("length must be at most 2: tags")),
        (json!({"name": "x", "flags": {"x": 1}}), Some("expected a boolean: flags.x")),
        (json!({"name": "x", "ids": [uuid, uuid]}), Some("values must be unique: ids")),
        (json!({"name": "x", "ids": ["1"]}), Some("expected a valid UUID: ids.1")),
        (json!({"name": "x", "other": 1}), Some("unknown field: other")),
        (json!(["name"]), Some("expected a record")),
    ] {
        let body = body.to_string();
        assert_eq!(asked(&*verbose, "/", &[JSON], &body), expected.map_or("next".into(), said), "{body}");
        let quietly = if expected.is_some() { said(BODY) } else { "next".into() };
        assert_eq!(asked(&*quiet, "/", &[JSON], &body), quietly, "{body}");
    }
    for broken in ["", "{", "{\"name\":\"x\"} {}"] {
        assert_eq!(asked(&*quiet, "/", &[JSON], broken), said(BODY), "{broken}");
        assert_eq!(asked(&*verbose, "/", &[JSON], broken), said("request body is not valid JSON"), "{broken}");
    }
}

#[test]
fn bodies_by_json_schema() {
    let schema = r#"{"type": "object", "properties": {
        "name": {"type": "string", "pattern": "^(?=.*[0-9])[a-z0-9]+$"},
        "mail": {"format": "email"}, "born": {"format": "date"}, "n": {"minimum": 0, "exclusiveMinimum": true}},
        "required": ["name"], "additionalProperties": false}"#;
    let config = json!({"version": "draft4", "body_schema": schema, "verbose_response": true});
    let verbose = plugin("request-validator", &config);
    for (body, expected) in [
        (r#"{"name": "a1", "born": "2024-02-29", "n": 1}"#, None),
        // Only the formats that Kong looks at are held against.
        (r#"{"name": "a1", "mail": "nobody"}"#, None),
        (r#"{"name": "a"}"#, Some(r#"/name: value does not match "^(?=.*[0-9])[a-z0-9]+$""#)),
        (r#"{"name": "a1", "born": "2023-02-29"}"#, Some(r#"/born: value is not a "date""#)),
        (r#"{"name": "a1", "n": 0}"#, Some("/n: value is less than or equal to the minimum of 0")),
        ("{}", Some(r#""name" is a required property"#)),
        (r#"{"name": "a1", "x": "secret"}"#, Some("Additional properties are not allowed ('x' was unexpected)")),
        ("[]", Some(r#"value is not of type "object""#)),
    ] {
        assert_eq!(asked(&*verbose, "/", &[JSON], body), expected.map_or("next".into(), said), "{body}");
    }
    for version in ["draft6", "draft7", "draft201909", "draft202012"] {
        let newer = plugin("request-validator", &json!({"version": version, "body_schema": {"const": 1}}));
        assert_eq!(asked(&*newer, "/", &[JSON], "1"), "next");
        assert_eq!(asked(&*newer, "/", &[JSON], "2"), said(BODY));
    }
    let older = plugin("request-validator", &json!({"version": "draft4", "body_schema": {"const": 1}}));
    assert_eq!(asked(&*older, "/", &[JSON], "2"), "next");
}

#[test]
fn media_types() {
    let of = |config: Json| {
        let mut whole = json!({"version": "draft4", "body_schema": {"type": "object"}});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        plugin("request-validator", &whole)
    };
    let usual = of(json!({}));
    let charset = of(
        json!({"allowed_content_types": ["application/json; charset=UTF-8", "text/xml", "application/merge-patch+json"]}),
    );
    let loose = of(json!({"content_type_parameter_validation": false}));
    for (middleware, media, body, expected) in [
        (&usual, "Application/JSON", "{}", None),
        (&usual, "application/json;charset=utf-8", "{}", Some(MEDIA)),
        (&usual, "text/xml", "{}", Some(MEDIA)),
        (&usual, "json", "{}", Some(MEDIA)),
        (&charset, "application/json; Charset=\"utf-8\"", "{}", None),
        (&charset, "application/json", "{}", Some(MEDIA)),
        (&charset, "text/xml", "<x/>", None),
        (&charset, "application/merge-patch+json", "[]", Some(BODY)),
        (&loose, "application/json; charset=latin1", "{}", None),
    ] {
        let line = [("content-type", media)];
        assert_eq!(asked(&**middleware, "/", &line, body), expected.map_or("next".into(), said), "{media}");
    }
    assert_eq!(asked(&*usual, "/", &[], "{}"), said(MEDIA));
}

/// A parameter; targets that are right, and such that are wrong.
type Row = (Arc<dyn Middleware>, &'static [&'static str], &'static [&'static str]);

#[test]
fn parameters() {
    let parameter = |place: &str, style: &str, explode: bool, schema: Json| {
        plugin(
            "request-validator",
            &json!({"parameter_schema": [{"name": if place == "header" { "X-Id" } else { "id" }, "in": place, "required": true,
                "style": style, "explode": explode, "schema": schema.to_string()}]}),
        )
    };
    let number = || json!({"type": "integer", "maximum": 10});
    let list = || json!({"type": "array", "items": {"type": "integer"}, "minItems": 2});
    let object = || json!({"type": "object", "properties": {"R": {"type": "integer"}, "s": {"type": "string"}}, "required": ["R", "s"], "additionalProperties": false});
    let rows: Vec<Row> = vec![
        (parameter("path", "simple", false, number()), &["/of/10", "/of/-1"], &["/of/11", "/of/abc", "/of/1.5", "/"]),
        (parameter("path", "simple", false, list()), &["/of/3,4"], &["/of/3", "/of/3,a"]),
        (parameter("path", "simple", false, object()), &["/of/R,1,s,x"], &["/of/R,a,s,x", "/of/R,1"]),
        (parameter("path", "simple", true, object()), &["/of/R=1,s=x"], &["/of/R=1", "/of/R,1,s,x"]),
        (parameter("path", "label", false, number()), &["/of/.5"], &["/of/.11"]),
        (parameter("path", "label", true, list()), &["/of/.3.4"], &["/of/.3"]),
        (parameter("path", "matrix", false, list()), &["/of/;id=3,4"], &["/of/;id=3"]),
        (parameter("path", "matrix", true, list()), &["/of/;id=3;id=4"], &["/of/;id=3;id=a"]),
        (parameter("path", "matrix", true, object()), &["/of/;R=1;s=x"], &["/of/;R=1"]),
        (parameter("query", "form", true, number()), &["/?id=7", "/?x&id=7"], &["/?id=11", "/?id=", "/?other=1", "/"]),
        (parameter("query", "form", true, list()), &["/?id=3&id=4"], &["/?id=3", "/?id=3,4"]),
        (parameter("query", "form", false, list()), &["/?id=3,4"], &["/?id=3%2C4", "/?id=3"]),
        (parameter("query", "form", true, object()), &["/?R=1&s=x&other=2"], &["/?s=x", "/?R=x&s=x"]),
        (parameter("query", "form", false, object()), &["/?id=R,1,s,a%20b"], &["/?id=R,1"]),
        (parameter("query", "spaceDelimited", false, list()), &["/?id=3%204", "/?id=3+4"], &["/?id=3"]),
        (parameter("query", "pipeDelimited", false, list()), &["/?id=3|4", "/?id=3%7C4"], &["/?id=3"]),
        (parameter("query", "deepObject", true, object()), &["/?id[R]=1&id%5Bs%5D=x&y=2"], &["/?id[R]=1", "/?R=1&s=x"]),
        (parameter("query", "form", true, json!({"type": "boolean"})), &["/?id=true"], &["/?id=yes"]),
        (parameter("query", "form", true, json!({"type": "string", "minLength": 2})), &["/?id=12"], &["/?id=1"]),
    ];
    for (middleware, right, wrong) in &rows {
        assert!(middleware.wants_captures() || !right.iter().any(|t| t.starts_with("/of/")));
        for target in *right {
            assert_eq!(asked(&**middleware, target, &[], ""), "next", "{target}");
        }
        for target in *wrong {
            assert_eq!(asked(&**middleware, target, &[], ""), said(PARAMETER), "{target}");
        }
    }
    let header = parameter("header", "simple", false, list());
    assert_eq!(asked(&*header, "/", &[("x-id", "3, 4")], ""), "next");
    assert_eq!(asked(&*header, "/", &[("x-id", "3"), ("x-id", "4")], ""), "next");
    assert_eq!(asked(&*header, "/", &[("x-id", "3")], ""), said(PARAMETER));
}

#[test]
fn parameters_in_words() {
    let config = json!({"verbose_response": true, "parameter_schema": [
        {"name": "n", "in": "query", "required": false, "style": "form", "explode": true, "schema": {"type": "integer", "maximum": 10}},
        {"name": "X-Needed", "in": "header", "required": true},
        {"name": "q", "in": "query", "required": true},
    ]});
    let verbose = plugin("request-validator", &config);
    for (target, lines, expected) in [
        ("/?q", vec![("x-needed", "1")], None),
        (
            "/?q&n=11",
            vec![("x-needed", "1")],
            Some("query 'n' validation failed, [error] value is greater than the maximum of 10"),
        ),
        ("/?q", vec![], Some("header 'x-needed' validation failed, [error] required parameter value not found")),
        ("/", vec![("x-needed", "1")], Some("query 'q' validation failed, [error] required parameter value not found")),
    ] {
        assert_eq!(asked(&*verbose, target, &lines, ""), expected.map_or("next".into(), said), "{target}");
    }
}

#[test]
fn what_is_too_long_to_be_looked_at_is_refused() {
    let middleware = plugin("request-validator", &json!({"version": "draft4", "body_schema": {"type": "object"}}));
    let mut exchange = testing::exchange("POST", "/", &[JSON]);
    exchange.seen = Seen::TooLong;
    let verdict = middleware.on_request(&mut exchange, &Silent);
    assert!(matches!(verdict, Verdict::Refuse(fault) if fault.kind == FaultKind::BodyTooLarge));
}

#[test]
fn mistakes_are_told_when_the_file_is_loaded() {
    let parameter = |fields: Json| {
        let mut whole = json!({"name": "a", "in": "query", "required": true});
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({ "parameter_schema": [whole] })
    };
    let shaped = |schema: Json| parameter(json!({"style": "form", "explode": true, "schema": schema}));
    for (config, expected) in [
        (json!({}), "@entity: at least one of these fields must be non-empty: 'body_schema', 'parameter_schema'"),
        (
            json!({"body_schema": "{"}),
            "body_schema: failed decoding schema: EOF while parsing an object at line 1 column 1",
        ),
        (json!({"body_schema": "{}"}), "body_schema: expected a list of fields"),
        (json!({"body_schema": "[{\"a\":{}}]"}), "body_schema: a: type: required field missing"),
        (json!({"body_schema": "[{\"a\":{\"type\":\"array\"}}]"}), "body_schema: a: elements: required field missing"),
        (
            json!({"body_schema": "[{\"a\":{\"type\":\"string\",\"match\":\"[a\"}}]"}),
            "body_schema: a: match: malformed pattern (missing ']')",
        ),
        (json!({"body_schema": "[{\"a\":{\"type\":\"string\",\"len\":1}}]"}), "body_schema: a: len: unknown field"),
        (
            json!({"version": "draft4", "body_schema": "{\"type\":\"text\"}"}),
            "body_schema: /type: \"text\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        (
            json!({"version": "draft5", "body_schema": "[]"}),
            "version: expected one of: kong, draft4, draft6, draft7, draft201909, draft202012",
        ),
        (parameter(json!({"in": "cookie"})), "parameter_schema[0].in: expected one of: query, header, path"),
        (parameter(json!({"required": null})), "parameter_schema[0].required: required field missing"),
        (parameter(json!({"style": "form"})), "@entity"),
        (
            parameter(json!({"style": "simple", "explode": false, "schema": "{}"})),
            "parameter_schema[0].style: simple is not for query",
        ),
        (shaped(json!("{\"minimum\":\"a\"}")), "parameter_schema[0].schema: /minimum: \"a\" is not of type \"number\""),
        (
            json!({"parameter_schema": [], "allowed_content_types": ["json"]}),
            "allowed_content_types[0]: invalid value: json",
        ),
    ] {
        let told = wrong("request-validator", &config).join("; ");
        assert!(told == expected || (expected == "@entity" && told.contains("belong together")), "{config}: {told}");
    }
}

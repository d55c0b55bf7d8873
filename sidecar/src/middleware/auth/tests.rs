//! Whom the tests know, how they show what became of a request, and how several middlewares stand together.

use super::*;
use crate::command::testing::exchange;
use crate::config::kong;
use crate::exchange::{Reply, Says, Seen, Silent};
use crate::gateway::people::People;
use crate::middleware::Verdict;
use crate::middleware::testing::built;
use serde_json::{Value as Json, json};

/// The people of `people.yaml`.
pub(in crate::middleware) fn people() -> Arc<People> {
    let text = include_str!("tests/people.yaml");
    Arc::new(People::new(&kong("people.yaml", text, &[]).unwrap_or_else(|wrong| panic!("{wrong}")).entities))
}

/// Header lines of a request.
pub(in crate::middleware) type Lines<'a> = &'a [(&'static str, &'a str)];

/// A request: `GET /path?query`, its lines.
pub(in crate::middleware) fn request(line: &str, lines: &[(&'static str, &str)]) -> Exchange {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut exchange = exchange(method, path, lines);
    exchange.request.set_target(path, query);
    exchange
}

/// `status message | challenge`.
pub(in crate::middleware) fn refusal(reply: &Reply) -> String {
    let says = match &reply.says {
        Says::Message(message) => message.clone().into_owned(),
        Says::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
        Says::Raw(..) | Says::Nothing => "?".to_owned(),
    };
    let challenge = reply.headers.get(CHALLENGE).map(|c| format!(" | {c}")).unwrap_or_default();
    format!("{} {says}{challenge}", reply.status)
}

/// What the worker is told: `bob bobs-id #identifier`, `*anon` for who is anonymous, groups in brackets.
pub(in crate::middleware) fn told(exchange: &Exchange) -> String {
    let lines = &exchange.request.headers;
    let mut said = String::new();
    if lines.contains(ANONYMOUS) {
        assert_eq!(lines.get(ANONYMOUS), Some("true"));
        said.push('*');
    }
    let consumer = exchange.caller.consumer.as_deref();
    assert_eq!(lines.get(CONSUMER_ID), consumer.map(|c| &*c.id));
    assert_eq!(exchange.consumer.as_deref(), consumer.map(|c| &**c.label()));
    let with = [(CONSUMER_USERNAME, ""), (CONSUMER_CUSTOM_ID, " "), (CREDENTIAL_IDENTIFIER, " #")];
    for (name, mark) in with {
        let all: Vec<_> = lines.get_all(name).collect();
        assert!(all.len() < 2, "{name} stands there {} times", all.len());
        if let Some(value) = all.first() {
            said.push_str(&format!("{mark}{}", String::from_utf8_lossy(value)));
        }
    }
    for (name, mark) in [(CONSUMER_GROUPS, "["), (AUTHENTICATED_GROUPS, "auth[")] {
        if let Some(groups) = lines.get(name) {
            said.push_str(&format!(" {mark}{groups}]"));
        }
    }
    said.trim().to_owned()
}

/// Asks one, handing it the body when it wants one, and shows what became of the request.
pub(in crate::middleware) fn asked(
    middleware: &dyn crate::middleware::Middleware,
    exchange: &mut Exchange,
    body: &'static [u8],
) -> String {
    loop {
        match middleware.on_request(exchange, &Silent) {
            Verdict::Next => return told(exchange),
            Verdict::Reply(reply) => return refusal(&reply),
            Verdict::Body(most) => {
                assert!(matches!(exchange.seen, Seen::Not), "asks for the body again");
                exchange.seen = if body.len() > most { Seen::TooLong } else { Seen::Whole(body.into()) };
            }
            Verdict::Refuse(fault) => panic!("{fault:?}"),
            Verdict::Wait(_) => panic!("wants to wait"),
        }
    }
}

/// Asks several, by name and configuration, until one refuses.
pub(in crate::middleware) fn through(all: &[(&str, Json)], exchange: &mut Exchange) -> String {
    let people = people();
    let mut said = String::new();
    for (name, config) in all {
        let middleware = built(name, config, &people).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
        said = asked(&*middleware, exchange, b"");
        if said.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
    }
    said
}

const BOB: &str = "Basic dXNlcjEyMzpwYXNzd29yZDEyMw==";

#[test]
fn several_stand_together() {
    let both = [("key-auth", json!({})), ("basic-auth", json!({}))];
    let either = [("key-auth", json!({"anonymous": "anon"})), ("basic-auth", json!({"anonymous": "anon"}))];
    let mixed = [("key-auth", json!({"anonymous": "anon"})), ("basic-auth", json!({}))];
    type Row<'a> = (&'a [(&'a str, Json)], Lines<'a>, &'a str);
    let rows: &[Row<'_>] = &[
        (&both, &[("apikey", "k2")], "401 Unauthorized | Basic realm=\"service\""),
        (&both, &[("authorization", BOB)], "401 No API key found in request | Key"),
        // The later one tells who calls.
        (&both, &[("apikey", "k2"), ("authorization", BOB)], "bob bobs-id #user123"),
        (&either, &[("authorization", BOB)], "bob bobs-id #user123"),
        (&either, &[("apikey", "k1")], "bob bobs-id #11111111-1111-4111-8111-111111111111"),
        // The first one is enough: what the second would say is not asked.
        (
            &either,
            &[("apikey", "k1"), ("authorization", "Basic eA==")],
            "bob bobs-id #11111111-1111-4111-8111-111111111111",
        ),
        (&either, &[("apikey", "wrong")], "*anon"),
        (&either, &[], "*anon"),
        (&mixed, &[], "401 Unauthorized | Basic realm=\"service\""),
        (&mixed, &[("authorization", BOB)], "bob bobs-id #user123"),
    ];
    for (all, lines, expected) in rows {
        assert_eq!(through(all, &mut request("GET /", lines)), *expected, "{lines:?}");
    }
}

#[test]
fn what_a_caller_says_of_itself_is_not_believed() {
    let lies = [
        ("x-consumer-id", "1"),
        ("x-consumer-username", "root"),
        ("x-consumer-username", "root"),
        ("x-consumer-custom-id", "root"),
        ("x-credential-identifier", "root"),
        ("x-anonymous-consumer", "false"),
        ("x-consumer-groups", "admin"),
        ("x-authenticated-groups", "admin"),
    ];
    let with = |line| [&lies[..], &[line]].concat();
    for (config, line, lines, expected) in [
        (json!({}), "GET /", with(("apikey", "k3")), "only-id #"),
        (json!({"anonymous": "33333333-3333-4333-8333-333333333333"}), "GET /", lies.to_vec(), "*anon"),
        (json!({"run_on_preflight": false}), "OPTIONS /", lies.to_vec(), ""),
    ] {
        let mut exchange = request(line, &lines);
        let said = through(&[("key-auth", config)], &mut exchange);
        // The ids of credentials without one are made from their consumer's.
        assert_eq!(said.split_inclusive('#').next().unwrap_or_default(), expected);
    }
    // Who was found already stays known when another one has nothing to ask.
    let all = [("jwt", json!({"anonymous": "anon"})), ("key-auth", json!({"run_on_preflight": false}))];
    assert_eq!(through(&all, &mut request("OPTIONS /", &[])), "*anon");
}

#[test]
fn an_anonymous_that_is_nobody_is_told() {
    for name in ["key-auth", "basic-auth", "jwt", "hmac-auth", "mtls-auth"] {
        let said = through(&[(name, json!({"anonymous": "bobs-id"}))], &mut request("GET /", &[]));
        assert_eq!(said, "500 anonymous consumer bobs-id is configured but doesn't exist", "{name}");
        let said = through(&[(name, json!({"anonymous": "everybody"}))], &mut request("GET /", &[]));
        assert_eq!(said, "*everybody", "{name}");
    }
}

#[test]
fn mistakes_are_found_at_load() {
    use crate::middleware::testing::wrong;
    let claims = "claims_to_verify: expected to contain: exp";
    for (name, config, expected) in [
        (
            "key-auth",
            json!({"key_names": ["a b"]}),
            "key_names[0]: bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
        ),
        ("key-auth", json!({"keynames": ["a"]}), "keynames: unknown field"),
        ("basic-auth", json!({"realm": "a\"b"}), "realm: invalid value"),
        ("jwt", json!({"claims_to_verify": ["aud"]}), "claims_to_verify[0]: expected one of: exp, nbf"),
        ("jwt", json!({"maximum_expiration": 10}), claims),
        (
            "jwt",
            json!({"maximum_expiration": 31_536_001}),
            "maximum_expiration: value should be between 0 and 31536000",
        ),
        (
            "hmac-auth",
            json!({"algorithms": ["md5"]}),
            "algorithms[0]: expected one of: hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512",
        ),
        ("hmac-auth", json!({"clock_skew": 0}), "clock_skew: value must be greater than 0"),
        ("mtls-auth", json!({"consumer_by": ["id"]}), "consumer_by[0]: expected one of: username, custom_id"),
        ("mtls-auth", json!({"ca_certificates": ["x"]}), "ca_certificates: authorities are those of the listener"),
        ("acl", json!({}), "@entity: exactly one of these fields must be non-empty: 'config.allow', 'config.deny'"),
        (
            "acl",
            json!({"allow": ["a"], "deny": ["b"]}),
            "@entity: exactly one of these fields must be non-empty: 'config.allow', 'config.deny'",
        ),
    ] {
        assert_eq!(wrong(name, &config), [expected], "{name} {config}");
    }
}

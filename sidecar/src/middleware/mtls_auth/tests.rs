use super::super::auth::tests::{asked, people, request};
use super::super::testing::built;
use serde_json::json;

#[test]
fn the_name_of_a_certificate_is_that_of_a_consumer() {
    for (config, name, expected) in [
        (json!({}), None, "401 No required TLS certificate was sent"),
        (json!({}), Some("spiffe://ours/pay"), "spiffe://ours/pay #spiffe://ours/pay"),
        (json!({}), Some("spiffe://theirs/pay"), "401 Unauthorized"),
        (json!({}), Some("pay"), "401 Unauthorized"),
        (json!({}), Some("bobs-id"), "bob bobs-id #bobs-id"),
        (json!({"consumer_by": ["username"]}), Some("bobs-id"), "401 Unauthorized"),
        (json!({"consumer_by": ["custom_id"]}), Some("bob"), "401 Unauthorized"),
        (json!({"anonymous": "anon"}), Some("nobody"), "*anon"),
        (json!({"anonymous": "anon"}), None, "*anon"),
    ] {
        let mut exchange = request("GET /", &[]);
        exchange.peer_identity = name.map(Into::into);
        let middleware = built("mtls-auth", &config, &people()).unwrap();
        assert_eq!(asked(&*middleware, &mut exchange, b""), expected, "{config} {name:?}");
    }
}

#[test]
fn a_certificate_of_no_consumer_is_a_group() {
    let people = people();
    let skip = built("mtls-auth", &json!({"skip_consumer_lookup": true}), &people).unwrap();
    for (acl, expected) in [
        (json!({"allow": ["billing.internal"]}), "auth[billing.internal]"),
        (json!({"allow": ["other"]}), "403 You cannot consume this service"),
    ] {
        let mut exchange = request("GET /", &[("x-credential-identifier", "root")]);
        exchange.peer_identity = Some("billing.internal".into());
        assert_eq!(asked(&*skip, &mut exchange, b""), "");
        assert_eq!(asked(&*built("acl", &acl, &people).unwrap(), &mut exchange, b""), expected);
    }
}

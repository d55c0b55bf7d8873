use super::super::auth::tests::{asked, people, request};
use super::super::testing::built;
use crate::exchange::base64;
use serde_json::json;

const GOOD: &str = "Basic dXNlcjEyMzpwYXNzd29yZDEyMw==";

#[test]
fn names_and_passwords() {
    let people = people();
    let plain = built("basic-auth", &json!({}), &people).unwrap();
    let no = "401 Unauthorized | Basic realm=\"service\"";
    let yes = "bob bobs-id #user123";
    let of = |text: &str| format!("Basic {}", base64(text.as_bytes()));
    let (empty, nobody, colons) = (of(":password123"), of("nobody:password123"), of("user321:password:123"));
    let wrong = of("user123:password124");
    let huge = of(&format!("user123:{}", "p".repeat(1 << 20)));
    let rows: &[(&[(&'static str, &str)], &str)] = &[
        (&[], no),
        (&[("authorization", "foobar")], no),
        (&[("authorization", "Basic Ym9i")], no),
        (&[("authorization", "Basic")], no),
        (&[("authorization", "Basic ?")], no),
        (&[("authorization", &empty)], no),
        (&[("authorization", &nobody)], no),
        (&[("authorization", &wrong)], no),
        (&[("authorization", &huge)], no),
        (&[("authorization", "Bearer dXNlcjEyMzpwYXNzd29yZDEyMw==")], no),
        (&[("authorization", GOOD)], yes),
        (&[("authorization", "basic    dXNlcjEyMzpwYXNzd29yZDEyMw")], yes),
        (&[("authorization", &colons)], "bob bobs-id #user321"),
        (&[("proxy-authorization", GOOD)], yes),
        (&[("proxy-authorization", &wrong), ("authorization", GOOD)], no),
        (&[("proxy-authorization", &nobody), ("authorization", GOOD)], yes),
        // Nobody knows which of the two the worker would read.
        (&[("authorization", GOOD), ("authorization", &nobody)], no),
    ];
    for (lines, expected) in rows {
        let mut exchange = request("GET /", lines);
        assert_eq!(asked(&*plain, &mut exchange, b""), *expected, "{lines:?}");
        assert_eq!(exchange.request.headers.contains("authorization"), lines.iter().any(|l| l.0 == "authorization"));
    }
    let mut raw = request("GET /", &[]);
    assert!(raw.request.headers.append("authorization", b"Basic \xff\xfe\x80"));
    assert_eq!(asked(&*plain, &mut raw, b""), no);

    let realm = built("basic-auth", &json!({"realm": "test-realm"}), &people).unwrap();
    assert_eq!(asked(&*realm, &mut request("GET /", &[]), b""), "401 Unauthorized | Basic realm=\"test-realm\"");
    let hide = built("basic-auth", &json!({"hide_credentials": true, "anonymous": "anon"}), &people).unwrap();
    for (line, value, expected) in
        [("authorization", GOOD, yes), ("proxy-authorization", GOOD, yes), ("authorization", "Basic ?", "*anon")]
    {
        let mut exchange = request("GET /", &[(line, value)]);
        assert_eq!(asked(&*hide, &mut exchange, b""), expected);
        assert!(!exchange.request.headers.contains(line), "{line}");
    }
}

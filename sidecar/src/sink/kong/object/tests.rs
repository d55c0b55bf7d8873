use super::*;
use crate::exchange::{Exchange, Wants};
use crate::sink::kong::tests::{CONSUMER, ROUTE, SERVICE, entry, exchange, known, refused};
use serde_json::{Value as Json, json};

fn object_of(x: &Exchange, max: usize) -> (Json, String) {
    let mut out = Vec::new();
    let bytes = entry(x, Wants::All);
    assert!(Object { known: known(), max }.write(&mut out, &Entry::read(&bytes).unwrap()));
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\n'));
    (serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")), text)
}

#[test]
fn the_object_has_every_member_that_kongs_has() {
    let (object, text) = object_of(&exchange(), 1 << 20);
    let expected = json!({
        "request": {
            "id": "00000000000000000000000000000abc",
            "method": "POST",
            "uri": "/orders?a=1&k=[redacted]&a=2&flag&b=x%20y+z&token=[redacted]",
            "url": "http://shop.test:8000/orders?a=1&k=[redacted]&a=2&flag&b=x%20y+z&token=[redacted]",
            "querystring":
                {"a": ["1", "2"], "k": "[redacted]", "flag": true, "b": "x y z", "token": "[redacted]"},
            "headers": {
                "host": "shop.test:8000",
                "authorization": "[redacted]",
                "x-key": "[redacted]",
                "accept": ["a", "b"],
                "kong-request-id": "uuid#1",
                "cookie": "[redacted]",
            },
            "size": 310,
        },
        "upstream_uri": "/v1/orders?a=1&k=[redacted]&a=2&flag&b=x%20y+z&token=[redacted]",
        "upstream_status": "200",
        "response": {
            "status": 200,
            "headers": {"content-type": "text/plain", "set-cookie": "[redacted]"},
            "size": 120,
        },
        "latencies": {"kong": 1, "proxy": 11, "request": 12, "receive": 0},
        "tries": [{
            "balancer_start": 1_700_000_000_125_u64,
            "balancer_start_ns": 1_700_000_000_125_000_000_u64,
            "balancer_latency": 0,
            "balancer_latency_ns": 0,
            "ip": "127.0.0.1",
            "port": 8080,
        }],
        "authenticated_entity": {"id": "00000000-0000-0000-0000-000000000004", "consumer_id": CONSUMER},
        "route": {"id": ROUTE, "name": "all"},
        "service": {"id": SERVICE, "name": "shop.orders"},
        "consumer": {"id": CONSUMER, "name": "ann"},
        "client_ip": "10.1.2.3",
        "started_at": 1_700_000_000_125_u64,
        "source": "upstream",
        "workspace": WORKSPACE,
        "workspace_name": "default",
        "correlation_id": "uuid#1",
        "trace_id": {"w3c": "00000000000000000000000000000abc"},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&object[name], value, "{name}");
    }
    assert_eq!(object.as_object().unwrap().len(), expected.as_object().unwrap().len(), "{text}");
    assert!(!text.contains("secret"));
}

#[test]
fn what_the_gateway_answers_itself_has_no_upstream() {
    let mut x = refused();
    if let Some(whole) = &mut x.whole {
        (whole.secure, whole.session) = (true, Some(["TLSv1.3", "TLS_AES_256_GCM_SHA384"]));
    }
    x.peer_identity = Some("spiffe://test/one".into());
    let (object, _) = object_of(&x, 1 << 20);
    for (pointer, value) in [
        ("/source", json!("kong")),
        ("/latencies/proxy", json!(-1)),
        ("/latencies/kong", json!(12)),
        ("/upstream_uri", json!("")),
        ("/upstream_status", json!("")),
        ("/response/status", json!(401)),
        ("/tries", json!([])),
        ("/request/tls", json!({"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "client_verify": "SUCCESS"})),
        ("/service/id", json!(SERVICE)),
    ] {
        assert_eq!(object.pointer(pointer), Some(&value), "{pointer}");
    }
    assert!(object["request"]["url"].as_str().unwrap().starts_with("https://shop.test:8000/orders?"));
    for gone in ["consumer", "authenticated_entity"] {
        assert!(object.get(gone).is_none(), "{gone}");
    }
    // An instance answered, and something else went out in its place.
    let mut replaced = exchange();
    if let Some(whole) = &mut replaced.whole {
        whole.own = true;
    }
    assert_eq!(object_of(&replaced, 1 << 20).0["source"], "kong");
    // Nothing took it: there is no entity to show.
    x.via = None;
    let (object, _) = object_of(&x, 1 << 20);
    assert!(object.get("route").is_none() && object.get("service").is_none());
}

#[test]
fn an_object_that_is_too_long_loses_its_lines_and_says_so() {
    let mut x = exchange();
    for _ in 0..200 {
        x.request.headers.append("x-filler", "y".repeat(200));
    }
    let (object, text) = object_of(&x, 1 << 20);
    assert_eq!(object["request"]["headers"]["x-filler"].as_array().unwrap().len(), LINES_MAX - 7, "as many as Kong");
    assert!(text.len() > 4000 && object.get("truncated").is_none());
    let (object, text) = object_of(&x, 4000);
    assert!(text.len() <= 4000, "{}", text.len());
    assert_eq!((&object["request"]["headers"], &object["truncated"]), (&json!({}), &json!(true)));
    assert_eq!(object["response"]["status"], 200);
    // What is no command is no object.
    let line = Entry::line(6, 1, "a line", Vec::new());
    assert!(!Object { known: known(), max: 4000 }.write(&mut Vec::new(), &line));
}

#[test]
fn places_of_instances_are_taken_apart() {
    for (upstream, expected) in [
        ("http://10.0.0.1:8080", ("10.0.0.1", 8080)),
        ("https://orders.test", ("orders.test", 443)),
        ("[::1]:9000", ("::1", 9000)),
        ("unix:/run/w.sock", ("unix:/run/w.sock", 80)),
        ("", ("", 80)),
    ] {
        assert_eq!(place(upstream), expected, "{upstream}");
    }
}

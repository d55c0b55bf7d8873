use crate::exchange::Exchange;
use crate::sink::kong::tests::{CONSUMER, ROUTE, SERVICE, exchange, known, refused, written};
use crate::sink::kong::{Choice, Http, Plugin, Recorded, Scope, To, Zipkin};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

fn span(x: &Exchange, change: impl Fn(&mut Zipkin)) -> Option<Json> {
    let http = Http {
        url: "http://127.0.0.1:9/api/v2/spans".into(),
        method: "POST",
        content_type: "application/json",
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        batch: 1,
        linger: Duration::from_secs(1),
    };
    let mut zipkin = Zipkin {
        http,
        recorded: Recorded { ratio: 1.0 },
        local: "kong".into(),
        other: None,
        tags_header: "zipkin-tags".into(),
        credential: true,
        path: false,
        tags: vec![("team".into(), "orders".into())],
        short: false,
    };
    change(&mut zipkin);
    let choice = Arc::new(Choice::new([(Scope::default(), 1)].into_iter()));
    let to = To::Zipkin(zipkin);
    let direction = crate::exchange::Direction::Inbound;
    let plugin = Plugin { name: "zipkin", id: 1, direction, choice, known: known(), buffer: 1 << 20, to };
    written(plugin, x).map(|json| serde_json::from_slice(&json).unwrap())
}

#[test]
fn a_command_is_a_span_of_version_2() {
    let mut x = exchange();
    x.request.headers.append("zipkin-tags", "shop=7;token=secret; odd");
    x.trace.parent_span = 9;
    let told = span(&x, |_| {}).unwrap();
    for (pointer, value) in [
        ("/traceId", json!("00000000000000000000000000000abc")),
        ("/id", json!("0000000000000def")),
        ("/parentId", json!("0000000000000009")),
        ("/kind", json!("SERVER")),
        ("/name", json!("POST")),
        ("/timestamp", json!(1_700_000_000_125_000_u64)),
        ("/duration", json!(12_340)),
        ("/localEndpoint/serviceName", json!("kong")),
        ("/remoteEndpoint/ipv4", json!("10.1.2.3")),
        ("/tags/http.method", json!("POST")),
        ("/tags/http.path", json!("/orders")),
        ("/tags/http.status_code", json!("200")),
        ("/tags/kong.service", json!(SERVICE)),
        ("/tags/kong.service_name", json!("shop.orders")),
        ("/tags/kong.route", json!(ROUTE)),
        ("/tags/kong.consumer", json!(CONSUMER)),
        ("/tags/kong.credential", json!("00000000-0000-0000-0000-000000000004")),
        ("/tags/peer.address", json!("127.0.0.1:8080")),
        ("/tags/team", json!("orders")),
        ("/tags/shop", json!("7")),
        ("/tags/token", json!("[redacted]")),
    ] {
        assert_eq!(told.pointer(pointer), Some(&value), "{pointer}: {told}");
    }
    assert!(!told.to_string().contains("secret"));
    let changed = span(&x, |z| (z.short, z.path, z.credential) = (true, true, false)).unwrap();
    assert_eq!((&changed["traceId"], &changed["name"]), (&json!("0000000000000abc"), &json!("POST /orders")));
    assert!(changed["tags"].get("kong.credential").is_none());
}

#[test]
fn failures_are_errors_and_unrecorded_traces_are_none() {
    let mut x = refused();
    x.status = 503;
    assert_eq!(span(&x, |_| {}).unwrap()["tags"]["error"], "true");
    x.trace.flags = 0;
    assert_eq!(span(&x, |_| {}), None);
}

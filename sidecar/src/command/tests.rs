use super::*;
use crate::exchange::*;
use std::time::{Instant, SystemTime};

fn exchange(trusted: bool, lines: &[(&'static str, &str)]) -> Exchange {
    let mut headers = Headers::default();
    for (name, value) in lines {
        assert!(headers.append(name, value), "{name}");
    }
    Exchange {
        identity: Arc::new(Identity { service: "s".into(), env: "e".into(), hostname: "h".into(), tags: vec![] }),
        direction: Direction::Inbound,
        protocol: Protocol::Http11,
        peer: None,
        client: None,
        trusted,
        request: Head {
            method: http::Method::POST,
            path: "/orders/42".into(),
            query: None,
            authority: "shop".into(),
            headers,
            wire: None,
        },
        service: "s".into(),
        route: "worker".into(),
        consumer: None,
        command: Command::default(),
        trace: Trace::default(),
        timings: Timings { wall: SystemTime::now(), start: Instant::now(), sent: None, answered: None, end: None },
        attempt: 1,
        status: 0,
        grpc_status: None,
        outcome: None,
        fault: None,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
    }
}

/// Name, id if given, tags: what the rules made of a request.
fn identify(
    rules: &Rules,
    trusted: bool,
    lines: &[(&'static str, &str)],
    body: &str,
) -> (String, Option<String>, String) {
    let mut ex = exchange(trusted, lines);
    if from_head(rules, &mut ex) == Step::NeedsBody {
        assert_eq!(from_body(rules, &mut ex, body.as_bytes()), Batch::One);
    }
    settle(&mut ex, None);
    let id = ex.command.id_given.then(|| ex.command.id.clone());
    (ex.command.name.to_string(), id, tags::write(&ex.command.tags))
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn each_rule_and_their_order() {
    let pointers = Rules {
        name: Some("/command".into()),
        id: Some("/id".into()),
        tags: vec![("shop".into(), "/shop".into())],
        codec: None,
    };
    let codec = |codec| Rules { codec: Some(codec), ..Rules::default() };
    let event = [("ce-specversion", "1.0"), ("ce-type", "order.placed"), ("ce-source", "/shop%20a"), ("ce-id", "9")];
    let none = Rules::default();
    let of = |name: &str, id: Option<&str>, tags: &str| (name.to_owned(), id.map(str::to_owned), tags.to_owned());

    assert_eq!(identify(&none, true, &[], ""), of("POST.orders._", None, ""));
    let header =
        [("fourmi-command", "Pay\\Card"), ("fourmi-id", "7"), ("fourmi-tags", "a=1, b=2"), ("idempotency-key", "8")];
    assert_eq!(identify(&none, true, &header, ""), of("Pay.Card", Some("7"), "a=1, b=2"));
    assert_eq!(identify(&none, false, &header, ""), of("POST.orders._", Some("8"), ""));
    assert_eq!(identify(&none, true, &[("idempotency-key", "\"8e\"")], ""), of("POST.orders._", Some("8e"), ""));
    // A space in the source makes an id that cannot travel, so ours stands in.
    assert_eq!(identify(&none, true, &event, ""), of("order.placed", None, ""));
    let both = [event.as_slice(), &[("fourmi-command", "X")]].concat();
    assert_eq!(identify(&none, true, &both, "").0, "X");
    let structured = [("content-type", "application/cloudevents+json")];
    let body = r#"{"specversion":"1.0","type":"t.u","source":"/s","id":"1"}"#;
    assert_eq!(identify(&none, true, &structured, body), of("t.u", Some("/s#1"), ""));

    assert_eq!(
        identify(&codec(Codec::Symfony), true, &[("type", "App\\Command\\CreateOrder")], "").0,
        "App.Command.CreateOrder"
    );
    let laravel = r#"{"uuid":"u-1","displayName":"App\\Jobs\\Mail"}"#;
    assert_eq!(identify(&codec(Codec::Laravel), true, &[JSON], laravel), of("App.Jobs.Mail", Some("u-1"), ""));
    let prooph = r#"{"message_name":"buy","uuid":"u-2"}"#;
    assert_eq!(identify(&codec(Codec::Prooph), true, &[JSON], prooph), of("buy", Some("u-2"), ""));
    assert_eq!(identify(&codec(Codec::Bernard), true, &[JSON], r#"{"class":"A\\B"}"#).0, "A.B");
    assert_eq!(identify(&codec(Codec::SimpleBus), true, &[JSON], r#"{"message_type":"M"}"#).0, "M");

    let body = r#"{"command":"Print","id":12,"shop":"north"}"#;
    assert_eq!(identify(&pointers, true, &[JSON], body), of("Print", Some("12"), "shop=north"));
    let wins = [JSON, ("fourmi-tags", "shop=south"), ("fourmi-id", "h")];
    assert_eq!(identify(&pointers, true, &wins, body), of("Print", Some("h"), "shop=south"));
    // No JSON, broken JSON, too much JSON: the next rule.
    assert_eq!(identify(&pointers, true, &[("content-type", "text/plain")], body).0, "POST.orders._");
    assert_eq!(identify(&pointers, true, &[JSON], "{").0, "POST.orders._");
    let mut big = exchange(true, &[JSON, ("content-length", "5242880")]);
    assert_eq!(from_head(&pointers, &mut big), Step::Done);
}

#[test]
fn a_batch_is_many() {
    let mut ex = exchange(true, &[("content-type", "application/cloudevents-batch+json")]);
    assert_eq!(from_head(&Rules::default(), &mut ex), Step::NeedsBody);
    let body = br#"[{"specversion":"1.0","type":"t","source":"/s","id":"1"},{"type":"t"},7]"#;
    let Batch::Many(elements) = from_body(&Rules::default(), &mut ex, body) else { panic!("a batch") };
    let valid: Vec<bool> = elements.iter().map(|e| matches!(e, Element::Event(_))).collect();
    assert_eq!(valid, [true, false, false]);
}

#[test]
fn the_next_hop_is_told_and_the_answer_extends_the_record() {
    let mut ex = exchange(true, &[("fourmi-tags", "a=1")]);
    from_head(&Rules::default(), &mut ex);
    settle(&mut ex, Some(&"place-order".into()));
    assert!(ex.command.named_by_route);
    let mut headers = std::mem::take(&mut ex.request.headers);
    give(&ex, &mut headers);
    assert_eq!(headers.get("fourmi-command"), Some("place-order"));
    assert_eq!(headers.get("fourmi-id"), Some(ex.command.id.as_str()));
    assert_eq!(headers.get("fourmi-tags"), Some("a=1"));
    assert_eq!(headers.get("traceparent").map(str::len), Some(55));
    assert!(!headers.contains("fourmi-attempt"));
    let mut answer = Headers::default();
    answer.set("fourmi-tags", "paid=true, a=2");
    from_answer(&mut ex, &mut answer);
    assert_eq!(tags::write(&ex.command.tags), "a=2, paid=true");
    assert!(answer.is_empty());
}

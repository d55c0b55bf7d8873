//! Identification end to end, as tables.

use super::testing::exchange;
use super::trace::Sampler;
use super::*;
use crate::exchange::{Exchange, Headers};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

/// Every trace that begins is recorded.
const ALL: Sampler = Sampler::ALL;

fn rules(name: &str, id: &str, tags: &[(&str, &str)], codec: Option<Codec>) -> Rules {
    let pointer = |p: &str| (!p.is_empty()).then(|| p.to_owned());
    let tags = tags.iter().map(|(k, p)| ((*k).into(), (*p).to_owned())).collect();
    Rules { name: pointer(name), id: pointer(id), key: None, tags, codec }
}

/// Name, id (empty when it is ours) and tags.
fn told(ex: &Exchange) -> (String, String, Vec<String>) {
    let id = if ex.command.id_given { ex.command.id.clone() } else { String::new() };
    (ex.command.name.to_string(), id, ex.command.tags.iter().map(|(k, v)| format!("{k}={v}")).collect())
}

fn identified(rules: &Rules, lines: &[(&'static str, &str)], body: &str, route: Option<&str>) -> Exchange {
    let mut ex = exchange("POST", "/orders/17", lines);
    if from_head(rules, ALL, &mut ex) == Step::NeedsBody {
        assert_eq!(from_body(rules, &mut ex, body.as_bytes()), Batch::One);
    }
    settle(&mut ex, route.map(Into::into).as_ref());
    ex
}

const JSON: (&str, &str) = ("content-type", "Application/JSON; charset=utf-8");
const EVENT: (&str, &str) = ("content-type", "application/cloudevents+json");

#[test]
fn the_stronger_source_wins() {
    let rules = rules("/command", "/id", &[("shop", "/shop")], Some(Codec::Laravel));
    let body = r#"{"displayName":"App\\Jobs\\Mail","uuid":"u-1","command":"ptr","id":7,"shop":"b"}"#;
    let all = [
        JSON,
        ("fourmi-command", "Order.Create"),
        ("fourmi-id", "f-1"),
        ("idempotency-key", "\"k-1\""),
        ("ce-type", "com.shop.order"),
        ("ce-source", "/shop"),
        ("ce-id", "e-1"),
        ("fourmi-tags", "shop=a, vip=yes"),
    ];
    let without = |names: &[&str]| -> Vec<(&'static str, &str)> {
        all.iter().copied().filter(|(n, _)| !names.contains(n)).collect()
    };
    for (gone, name, id, tags) in [
        (&[][..], "Order.Create", "f-1", &["shop=a", "vip=yes"][..]),
        (&["fourmi-command", "fourmi-id"], "com.shop.order", "k-1", &["shop=a", "vip=yes"]),
        (
            &["fourmi-command", "fourmi-id", "idempotency-key", "fourmi-tags"],
            "com.shop.order",
            "/shop#e-1",
            &["shop=b"],
        ),
        (
            &["fourmi-command", "fourmi-id", "idempotency-key", "ce-type", "ce-id"],
            "App.Jobs.Mail",
            "u-1",
            &["shop=a", "vip=yes"],
        ),
    ] {
        let ex = identified(&rules, &without(gone), body, Some("orders"));
        let (n, i, t) = told(&ex);
        assert_eq!(
            (n.as_str(), i.as_str(), t.iter().map(String::as_str).collect::<Vec<_>>()),
            (name, id, tags.to_vec())
        );
        assert!(!ex.command.named_by_route);
    }
    let pointers = Rules { codec: None, ..rules.clone() };
    let (name, id, _) = told(&identified(&pointers, &[JSON], body, None));
    assert_eq!((name.as_str(), id.as_str()), ("ptr", "7"));

    let ex = identified(&pointers, &[JSON], "{\"command\": broken", Some("orders"));
    assert_eq!((&*ex.command.name, ex.command.named_by_route, ex.command.id_given), ("orders", true, false));
    let ex = identified(&Rules::default(), &[], "", None);
    assert_eq!((&*ex.command.name, ex.command.named_by_route), ("POST.orders._", false));
    assert_eq!(ex.command.id.len(), 36);
}

#[test]
fn envelopes_and_events() {
    for (codec, header, body, name, id) in [
        (Codec::Symfony, Some("App\\Command\\CreateOrder"), "{}", "App.Command.CreateOrder", ""),
        (Codec::Symfony, None, r#"{"body":"{}","headers":{"type":"App\\X"}}"#, "App.X", ""),
        (Codec::Symfony, None, r#"{"type":"App\\Y"}"#, "App.Y", ""),
        (Codec::Prooph, None, r#"{"message_name":"order-pay","uuid":"p-1"}"#, "order-pay", "p-1"),
        (Codec::Bernard, None, r#"{"class":"A\\B","name":"SendMail"}"#, "SendMail", ""),
        (Codec::Bernard, None, r#"{"class":"A\\B"}"#, "A.B", ""),
        (Codec::SimpleBus, None, r#"{"message_type":"\\Shop\\Pay"}"#, "Shop.Pay", ""),
    ] {
        let lines: Vec<_> = [JSON].into_iter().chain(header.map(|h| ("type", h))).collect();
        let (n, i, _) = told(&identified(&rules("", "", &[], Some(codec)), &lines, body, None));
        assert_eq!((n.as_str(), i.as_str()), (name, id), "{codec:?} {body}");
    }
    let event = r#"{"specversion":"1.0","type":"order/paid","source":"/s","id":"1","data":{}}"#;
    let symfony = rules("", "", &[], Some(Codec::Symfony));
    let (n, i, _) = told(&identified(&symfony, &[EVENT, ("type", "Other")], event, None));
    assert_eq!((n.as_str(), i.as_str()), ("order.paid", "/s#1"));
    let encoded = [("ce-type", "\"a%20b\""), ("ce-source", "/caf%65"), ("ce-id", "100%")];
    let (n, i, _) = told(&identified(&Rules::default(), &encoded, "", None));
    assert_eq!((n.as_str(), i.as_str()), ("a_b", "/cafe#100%"));
}

#[test]
fn the_body_is_asked_for_only_where_it_can_help() {
    let pointers = rules("/command", "/id", &[], None);
    let named = [("fourmi-command", "a"), ("fourmi-id", "b")];
    for (rules, method, lines, wanted) in [
        (&Rules::default(), "POST", &[JSON][..], false),
        (&pointers, "POST", &[JSON], true),
        (&pointers, "POST", &[("content-type", "application/vnd.shop+json")], true),
        (&pointers, "POST", &[("content-type", "text/plain")], false),
        (&pointers, "POST", &[], false),
        (&pointers, "POST", &[JSON, ("content-length", "0")], false),
        (&pointers, "POST", &[JSON, ("content-length", "262144")], true),
        (&pointers, "POST", &[JSON, ("content-length", "5242880")], false),
        (&pointers, "POST", &[JSON, ("content-length", "x")], false),
        (&pointers, "POST", &[JSON, ("content-encoding", "gzip")], false),
        (&pointers, "GET", &[JSON], false),
        (&pointers, "GET", &[JSON, ("content-length", "2")], true),
        (&pointers, "GET", &[JSON, ("transfer-encoding", "chunked")], true),
        (&pointers, "POST", &[JSON, named[0]], true),
        (&pointers, "POST", &[JSON, named[0], named[1]], false),
        (&Rules::default(), "POST", &[EVENT], true),
        (&Rules::default(), "POST", &[EVENT, named[0], named[1]], false),
        (
            &Rules::default(),
            "POST",
            &[("content-type", "application/cloudevents-batch+json"), named[0], named[1]],
            true,
        ),
    ] {
        let step = from_head(rules, ALL, &mut exchange(method, "/", lines));
        assert_eq!(step == Step::NeedsBody, wanted, "{method} {lines:?}");
    }
    let mut ex = exchange("POST", "/", &[JSON]);
    let body = format!("{{\"command\":\"x\",\"pad\":\"{}\"}}", "a".repeat(BODY_MAX));
    from_body(&pointers, &mut ex, body.as_bytes());
    assert!(ex.command.name.is_empty());
}

#[test]
fn strangers_are_not_believed() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let lines = [
        ("host", "a"),
        ("fourmi-command", "x"),
        ("fourmi-id", "y"),
        ("fourmi-priority", "9"),
        ("ce-type", "z"),
        ("traceparent", parent),
        ("tracestate", "a=b"),
        ("idempotency-key", "mine"),
    ];
    let mut ex = exchange("GET", "/", &lines);
    ex.trusted = false;
    from_head(&Rules::default(), ALL, &mut ex);
    settle(&mut ex, None);
    let mut left: Vec<_> = ex.request.headers.iter().map(|(n, _)| n.to_owned()).collect();
    left.sort();
    assert_eq!(left, ["host", "idempotency-key"]);
    assert_eq!((told(&ex).0.as_str(), told(&ex).1.as_str()), ("GET", "mine"));
    assert_eq!((ex.trace.parent_span, ex.trace.flags), (0, 1));
    assert_ne!(ex.trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);

    let mut ex = exchange("GET", "/", &lines);
    from_head(&Rules::default(), ALL, &mut ex);
    assert_eq!(ex.trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert!(ex.request.headers.contains("tracestate"));
}

#[test]
fn names() {
    for (raw, expected) in [
        ("App\\Command\\CreateOrder", Some("App.Command.CreateOrder")),
        ("\\App/Mail", Some("App.Mail")),
        ("...x", Some("x")),
        ("Shop::pay now é", Some("Shop__pay_now__")),
        ("a-b_c.d", Some("a-b_c.d")),
        (" ", None),
        ("./\\", None),
    ] {
        assert_eq!(name::normalized(raw).as_deref(), expected, "{raw}");
    }
    assert_eq!(name::normalized(&"é".repeat(300)).unwrap().len(), 128);
    for (method, path, expected) in [
        ("GET", "/", "GET"),
        ("OPTIONS", "*", "OPTIONS"),
        ("GET", "/orders/17", "GET.orders._"),
        ("POST", "/v1/commands/", "POST.v1.commands"),
        ("GET", "/u/0190a6f2-6b7c-7d8e-9f00-112233445566/x", "GET.u._.x"),
        ("GET", "/u/deadbeef1", "GET.u._"),
        ("GET", "/u/deadbeef/add/a1", "GET.u.deadbeef.add.a1"),
        ("GET", "/t/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP", "GET.t._"),
        ("GET", "/a%20b/~me", "GET.a_20b._me"),
    ] {
        assert_eq!(&*name::template(method, path), expected);
    }
    assert_eq!(name::template("GET", &"/abc".repeat(200)).len(), 128);
    for i in 0..3_000 {
        name::normalized(&format!("n{i}"));
    }
    assert!(std::sync::Arc::ptr_eq(&name::normalized("same").unwrap(), &name::normalized("same").unwrap()));
}

#[test]
fn ids() {
    for (raw, expected) in [
        ("\"8e03\"", Some("8e03")),
        ("8e03", Some("8e03")),
        (r#""a\"b\\c";x=1"#, Some(r#"a"b\c"#)),
        ("\"open", None),
        ("\"a\"b", None),
        ("\"a b\"", None),
        ("\"\"", None),
        ("", None),
    ] {
        assert_eq!(id::idempotency_key(raw.as_bytes()).as_deref(), expected, "{raw}");
    }
    assert!(id::given(&"x".repeat(256)).is_some() && id::given(&"x".repeat(257)).is_none() && id::given("é").is_none());
    let ex = identified(&Rules::default(), &[("fourmi-id", "a b")], "", None);
    assert!(!ex.command.id_given && ex.command.id.len() == 36);

    let at = UNIX_EPOCH + Duration::from_millis(0x0190_a6f2_6b7c);
    let many: HashSet<String> = (0..1_000).map(|_| id::uuid_v7(at)).collect();
    assert_eq!(many.len(), 1_000);
    for text in &many {
        assert!(text.starts_with("0190a6f2-6b7c-7"), "{text}");
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        assert!([8, 13, 18, 23].iter().all(|i| text.as_bytes()[*i] == b'-'));
    }
}

#[test]
fn tags_are_few_short_and_travel() {
    let many = (0..20).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let lines = [("fourmi-tags", many.as_str()), ("fourmi-tags", "k3=late, bad key=1, nothing,=x, k4=")];
    let mut ex = identified(&Rules::default(), &lines, "", None);
    assert_eq!(ex.command.tags.len(), 16);
    assert_eq!((ex.command.tags[3].1.as_str(), ex.command.tags[4].1.as_str()), ("late", ""));

    ex.command.tags.truncate(1);
    let mut answer = Headers::default();
    assert!(answer.append("fourmi-tags", "k0=new, note=\"a, \\\"b\\\"\""));
    assert!(answer.append("fourmi-tags", format!("city=Z\u{fc}rich,long={}", "\u{e9}".repeat(100))));
    from_answer(&mut ex, &mut answer);
    assert!(answer.is_empty());
    let (_, _, tags) = told(&ex);
    assert_eq!(tags[..3], ["k0=new", "note=a, \"b\"", "city=Zürich"]);
    assert_eq!(ex.command.tags[3].1.len(), 128);

    let mut again = Vec::new();
    tags::read(&tags::line(&ex.command.tags), &mut again);
    assert_eq!(again, ex.command.tags);
}

#[test]
fn what_the_worker_is_told() {
    let mut ex = exchange("POST", "/", &[("fourmi-command", "App\\Pay"), ("fourmi-tags", "a=1")]);
    from_head(&Rules::default(), ALL, &mut ex);
    settle(&mut ex, None);
    give(&mut ex);
    let headers = ex.request.headers.clone();
    assert_eq!(headers.get("fourmi-command"), Some("App.Pay"));
    assert_eq!(headers.get("fourmi-id"), Some(ex.command.id.as_str()));
    assert_eq!(headers.get("fourmi-tags"), Some("a=1"));
    assert!(!headers.contains("fourmi-attempt"));
    let parent = trace::parse(headers.get_bytes("traceparent").unwrap()).unwrap();
    assert_eq!((parent.trace_id, parent.parent_span, parent.flags), (ex.trace.trace_id, ex.trace.span_id, 1));
    ex.attempt = 2;
    give(&mut ex);
    let headers = ex.request.headers.clone();
    assert_eq!((headers.get("fourmi-attempt"), headers.get_all("fourmi-id").count()), (Some("2"), 1));
}

#[test]
fn a_batch_is_many_commands() {
    let batch = |body: &str| {
        let mut ex = exchange("POST", "/", &[("content-type", "application/cloudevents-batch+json")]);
        assert_eq!(from_head(&Rules::default(), ALL, &mut ex), Step::NeedsBody);
        from_body(&Rules::default(), &mut ex, body.as_bytes())
    };
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a","data":{"n":[1.10,"],[\"{"]}}"#;
    let Batch::Many(elements) = batch(&format!(" [ {one} ,{{\"id\":\"2\"}},\n{one}, 5]")) else { panic!("no batch") };
    assert_eq!(elements[0], Element::Event(Bytes::copy_from_slice(one.as_bytes())));
    assert_eq!(elements[1], Element::Invalid("'specversion' is missing".into()));
    assert_eq!(elements[2], elements[0]);
    assert_eq!((elements.len(), &elements[3]), (4, &Element::Invalid("not a JSON object".into())));
    assert_eq!(batch("[]"), Batch::Many(Vec::new()));
    assert_eq!(batch("{}"), Batch::One);
    assert_eq!(batch("[1,"), Batch::One);
    let Batch::Many(over) = batch(&format!("[{}1]", "1,".repeat(1_000))) else { panic!("no batch") };
    assert!(matches!(&over[..], [Element::Invalid(why)] if why.contains("1001")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_a_caller_sends_breaks_it(line in proptest::collection::vec(any::<u8>(), 0..200), path in ".{0,60}") {
        let mut tags = Vec::new();
        tags::read(&line, &mut tags);
        let mut again = Vec::new();
        tags::read(&tags::line(&tags), &mut again);
        prop_assert_eq!(again, tags);
        cloudevents::decoded(&line);
        id::idempotency_key(&line);
        trace::parse(&line);
        let name = name::template("GET", &path);
        prop_assert!(name.len() <= 128 && name.bytes().all(name::is_legal));
        let mut ex = exchange("POST", "/", &[JSON]);
        from_body(&rules("/a", "/b", &[("c", "/c")], None), &mut ex, &line);
        settle(&mut ex, None);
        prop_assert!(!ex.command.name.is_empty() && !ex.command.id.is_empty());
    }
}

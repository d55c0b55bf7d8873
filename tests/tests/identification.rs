//! Which command is this? Name, id, tags, trace: read, given to the worker, written on the record, and gone after it.

use fourmi_tests::{Fourmi, GelfServer, Setup, Worker};
use serde_json::Value;

fn watched(more: &str) -> (Worker, GelfServer, Fourmi) {
    let (worker, gelf) = (Worker::echo(), GelfServer::start());
    let fourmi = Setup::beside(worker.address()).gelf(&gelf).more(more).start();
    (worker, gelf, fourmi)
}

/// The record of the only command so far.
#[track_caller]
fn only(gelf: &GelfServer) -> Value {
    gelf.wait_for(1).remove(0)
}

#[test]
fn headers_name_the_command_and_the_worker_is_told() {
    let (worker, gelf, fourmi) = watched("");
    fourmi.post("/", "Fourmi-Command: CreateOrder\r\nFourmi-Id: 42\r\nFourmi-Tags: shop=7, lang=fr\r\n", "{}");
    let seen = worker.last();
    assert_eq!((seen.header("fourmi-command"), seen.header("fourmi-id")), (Some("CreateOrder"), Some("42")));
    let tags = seen.header("fourmi-tags").unwrap_or("").replace(' ', "");
    assert!(tags.split(',').any(|t| t == "shop=7") && tags.split(',').any(|t| t == "lang=fr"), "{tags}");
    assert!(seen.header("traceparent").is_some());
    let record = only(&gelf);
    assert_eq!((&record["_command"], &record["_command_id"]), (&"CreateOrder".into(), &"42".into()));
    assert_eq!((&record["_tag_shop"], &record["_tag_lang"]), (&"7".into(), &"fr".into()));
}

#[test]
fn names_are_normalised_and_ids_are_made() {
    for (given, name) in [(r"App\Command\CreateOrder", "App.Command.CreateOrder"), ("/orders/create", "orders.create")]
    {
        let (worker, gelf, fourmi) = watched("");
        fourmi.post("/", &format!("Fourmi-Command: {given}\r\n"), "");
        let record = only(&gelf);
        assert_eq!(record["_command"], name);
        let id = record["_command_id"].as_str().unwrap();
        assert_eq!((id.len(), &id[14..15]), (36, "7"), "a UUIDv7: {id}");
        assert_eq!(worker.last().header("fourmi-id"), Some(id), "the worker knows the same id");
    }
    let (_worker, gelf, fourmi) = watched("");
    fourmi.get("/orders/7281/9f86d081-884c-4d65-9a2f-eaa0c55ad015?x=1");
    let name = only(&gelf)["_command"].as_str().unwrap().to_owned();
    assert!(!name.is_empty() && !name.contains("7281") && !name.contains("9f86"), "a raw path is no name: {name}");
}

#[test]
fn the_first_rule_that_knows_wins() {
    let pointers = "commands: {identify: {name: /command, id: /id, tags: {shop: /shop}}}";
    let body = r#"{"command": "FromBody", "id": "b1", "shop": 7}"#;
    let json = "Content-Type: application/json\r\n";
    let event = "ce-specversion: 1.0\r\nce-type: FromEvent\r\nce-source: /shop\r\nce-id: e1\r\n";
    let header = "Fourmi-Command: FromHeader\r\nFourmi-Id: h1\r\nFourmi-Tags: shop=8\r\n";
    let rows = [
        (format!("{json}{event}{header}"), "FromHeader", "h1", "8"),
        (format!("{json}{event}"), "FromEvent", "/shop#e1", "7"),
        (format!("{json}{event}Idempotency-Key: \"k1\"\r\n"), "FromEvent", "k1", "7"),
        (json.to_owned(), "FromBody", "b1", "7"),
    ];
    for (headers, name, id, shop) in rows {
        let (_worker, gelf, fourmi) = watched(pointers);
        assert_eq!(fourmi.post("/", &headers, body).status(), 200);
        let record = only(&gelf);
        assert_eq!((&record["_command"], &record["_command_id"]), (&name.into(), &id.into()), "{headers}");
        assert_eq!(record["_tag_shop"], shop, "{headers}");
    }
    // A body that is no JSON, or not said to be, is never an error: the next rule applies.
    for (headers, body) in [(json, "{broken"), ("", body), (json, "")] {
        let (worker, gelf, fourmi) = watched(pointers);
        assert_eq!(fourmi.post("/", headers, body).status(), 200);
        assert_eq!(worker.last().text(), body, "the body is whole");
        assert_ne!(only(&gelf)["_command"], "FromBody");
    }
}

#[test]
fn a_body_too_big_to_read_passes_unread() {
    let (worker, gelf, fourmi) = watched("commands: {identify: {name: /command}}");
    let body = format!(r#"{{"filler": "{}", "command": "FromBody"}}"#, "x".repeat(5 << 20));
    assert_eq!(fourmi.post("/", "Content-Type: application/json\r\n", &body).status(), 200);
    assert_eq!(worker.last().body.len(), body.len());
    assert_ne!(only(&gelf)["_command"], "FromBody");
}

#[test]
fn cloud_events_in_their_three_modes() {
    let event = r#"{"specversion": "1.0", "type": "PayOrder", "source": "shop", "id": "9", "data": {"a": 1}}"#;
    let (worker, gelf, fourmi) = watched("");
    fourmi.post("/", "Content-Type: application/cloudevents+json; charset=utf-8\r\n", event);
    let record = only(&gelf);
    assert_eq!((&record["_command"], &record["_command_id"]), (&"PayOrder".into(), &"shop#9".into()));
    assert_eq!(worker.last().text(), event);

    let (worker, gelf, fourmi) = watched("");
    fourmi.post("/", "ce-specversion: 1.0\r\nce-type: ShipOrder\r\nce-source: shop\r\nce-id: 10\r\n", "data");
    let record = only(&gelf);
    assert_eq!((&record["_command"], &record["_command_id"]), (&"ShipOrder".into(), &"shop#10".into()));
    assert_eq!(worker.last().header("ce-type"), Some("ShipOrder"), "an event stays one");

    let second = event.replace("PayOrder", "Refund").replace("\"9\"", "\"11\"");
    let (_worker, gelf, fourmi) = watched("");
    let batch = format!("[{event}, {second}, {{\"specversion\": \"1.0\"}}]");
    let answer = fourmi.post("/", "Content-Type: application/cloudevents-batch+json\r\n", batch);
    assert_eq!(answer.json().as_array().map(Vec::len), Some(3), "one result an element: {}", answer.text());
    let records = gelf.wait_for(2);
    for name in ["PayOrder", "Refund"] {
        assert!(records.iter().any(|r| r["_command"] == name), "{name} in {records:?}");
    }
}

#[test]
fn envelopes_of_frameworks() {
    let json = "Content-Type: application/json\r\n";
    let symfony = format!("{json}type: App\\Command\\CreateOrder\r\n");
    for (codec, headers, body, name, id) in [
        ("symfony", symfony.as_str(), "{}", "App.Command.CreateOrder", None),
        (
            "laravel",
            json,
            r#"{"uuid": "u-1", "displayName": "App\\Jobs\\Pay", "data": {}}"#,
            "App.Jobs.Pay",
            Some("u-1"),
        ),
        ("prooph", json, r#"{"message_name": "Pay", "uuid": "u-2", "payload": {}}"#, "Pay", Some("u-2")),
        ("bernard", json, r#"{"class": "Bernard\\Message", "name": "Pay"}"#, "Pay", None),
        ("simplebus", json, r#"{"message_type": "App\\Pay", "serialized_message": "{}"}"#, "App.Pay", None),
    ] {
        let (_worker, gelf, fourmi) = watched(&format!("commands: {{identify: {{codec: {codec}}}}}"));
        assert_eq!(fourmi.post("/", headers, body).status(), 200);
        let record = only(&gelf);
        assert_eq!(record["_command"], name, "{codec}");
        if let Some(id) = id {
            assert_eq!(record["_command_id"], id, "{codec}");
        }
    }
}

#[test]
fn the_worker_may_add_tags_to_the_record() {
    let worker = Worker::answering("HTTP/1.1 200 OK\r\nFourmi-Tags: paid=yes, shop=9\r\nContent-Length: 0\r\n\r\n");
    let gelf = GelfServer::start();
    let fourmi = Setup::beside(worker.address()).gelf(&gelf).more("tags: {team: orders}").start();
    fourmi.post("/", "Fourmi-Command: Pay\r\nFourmi-Tags: shop=7\r\n", "");
    let record = only(&gelf);
    assert_eq!((&record["_tag_team"], &record["_tag_paid"]), (&"orders".into(), &"yes".into()));
    assert_eq!(record["_tag_shop"], "9", "the worker has the last word");
}

#[test]
fn strangers_are_not_believed() {
    let (worker, gelf, fourmi) = watched("trusted: [10.0.0.0/8]");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let forged = format!(
        "Fourmi-Command: Forged\r\nFourmi-Id: 1\r\nFourmi-Tags: admin=1\r\nFourmi-Anything: x\r\ntraceparent: {parent}\r\n"
    );
    assert_eq!(fourmi.post("/", &forged, "").status(), 200);
    let seen = worker.last();
    assert_ne!(seen.header("fourmi-command"), Some("Forged"));
    assert_ne!(seen.header("fourmi-id"), Some("1"));
    assert_eq!((seen.header("fourmi-anything"), seen.all("fourmi-id").len()), (None, 1));
    assert!(!seen.header("fourmi-tags").unwrap_or("").contains("admin"));
    assert!(!seen.header("traceparent").unwrap().contains("4bf92f3577b34da6"), "a new trace begins");
    let record = only(&gelf);
    assert_ne!(record["_command"], "Forged");
    assert!(record.get("_tag_admin").is_none());
}

#[test]
fn interleaved_commands_share_nothing() {
    let (worker, gelf, fourmi) = watched("");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let fourmi = &fourmi;
            scope.spawn(move || {
                let mut client = fourmi.client();
                for round in 0..5 {
                    let headers =
                        format!("Fourmi-Command: C{n}\r\nFourmi-Id: {n}-{round}\r\nFourmi-Tags: t{n}=v{round}\r\n");
                    assert_eq!(client.post(&format!("/slow/{}", n * 3), &headers, "").status(), 200);
                }
            });
        }
    });
    // On a connection that had tags, a command without any.
    let mut client = fourmi.client();
    client.post("/", "Fourmi-Command: Tagged\r\nFourmi-Tags: last=1\r\n", "");
    client.post("/", "Fourmi-Command: Plain\r\n", "");
    for record in gelf.wait_for(42) {
        let tags: Vec<&str> = record.as_object().unwrap().keys().filter_map(|k| k.strip_prefix("_tag_")).collect();
        match record["_command"].as_str().unwrap() {
            "Plain" => assert!(tags.is_empty(), "{record}"),
            "Tagged" => assert_eq!(tags, ["last"]),
            name => {
                let n = &name[1..];
                assert_eq!(tags, [format!("t{n}")], "{record}");
                let (of, round) = record["_command_id"].as_str().unwrap().split_once('-').unwrap();
                assert_eq!((of, &record[format!("_tag_t{n}")]), (n, &format!("v{round}").into()));
            }
        }
    }
    assert!(
        worker
            .requests()
            .iter()
            .filter(|r| r.header("fourmi-command") == Some("Plain"))
            .all(|r| r.header("fourmi-tags").is_none_or(str::is_empty))
    );
}

#[test]
fn tags_have_limits() {
    let (_worker, gelf, fourmi) = watched("");
    let many: Vec<String> = (0..40).map(|n| format!("k{n}={}", "v".repeat(300))).collect();
    assert_eq!(
        fourmi.post("/", &format!("Fourmi-Command: Many\r\nFourmi-Tags: {}\r\n", many.join(", ")), "").status(),
        200
    );
    let record = only(&gelf);
    let tags: Vec<(&String, &Value)> =
        record.as_object().unwrap().iter().filter(|(k, _)| k.starts_with("_tag_")).collect();
    assert_eq!(tags.len(), 16);
    assert!(tags.iter().all(|(_, v)| v.as_str().is_some_and(|v| v.len() <= 128)));
}

fn trace_of(traceparent: &str) -> (&str, &str) {
    assert_eq!((traceparent.len(), &traceparent[..3]), (55, "00-"), "{traceparent}");
    (&traceparent[3..35], &traceparent[36..52])
}

#[test]
fn traces_are_continued_and_broken_ones_begin_anew() {
    let (worker, gelf, fourmi) = watched("");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    fourmi.get_with("/", &format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\ntracestate: a=1,b=2\r\n"));
    let seen = worker.last();
    let (id, span) = trace_of(seen.header("traceparent").unwrap());
    assert_eq!((id, seen.header("tracestate")), (trace, Some("a=1,b=2")));
    assert_ne!(span, "00f067aa0ba902b7", "a span of our own");
    assert!(seen.header("traceparent").unwrap().ends_with("-01"), "flags are kept");
    assert_eq!(only(&gelf)["_trace_id"], trace);
    for broken in [
        format!("traceparent: 00-{}-00f067aa0ba902b7-01\r\n", trace.to_uppercase()),
        format!("traceparent: 00-{}-00f067aa0ba902b7-01\r\n", "0".repeat(32)),
        format!("traceparent: 00-{trace}-0000000000000000-01\r\n"),
        format!("traceparent: ff-{trace}-00f067aa0ba902b7-01\r\n"),
        format!("traceparent: 00-{trace}-00f067aa0ba902b7-0\r\n"),
        format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\ntraceparent: 00-{trace}-00f067aa0ba902b8-01\r\n"),
    ] {
        fourmi.get_with("/", &broken);
        let seen = worker.last();
        assert_eq!(seen.all("traceparent").len(), 1, "{broken}");
        assert_ne!(trace_of(seen.header("traceparent").unwrap()).0, trace, "{broken}");
    }
}

#[test]
fn what_the_worker_sends_inherits_from_what_it_handles() {
    let stock = Worker::echo();
    let port = fourmi_tests::free_port();
    let outbound = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(0));
    let to = outbound.clone();
    // The worker asks the stock while it handles a command, with and without passing the trace on.
    let worker = Worker::replying_on(port, move |request| {
        let mut client = fourmi_tests::Client::connect(to.load(std::sync::atomic::Ordering::Acquire));
        let passed = match request.target() {
            "/passes" => format!("traceparent: {}\r\n", request.header("traceparent").unwrap_or("")),
            "/names" => format!("Fourmi-Id: {}\r\n", request.header("fourmi-id").unwrap_or("")),
            _ => String::new(),
        };
        client.send(format!("GET {} HTTP/1.1\r\nHost: stock\r\n{passed}\r\n", request.target())).answer();
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
    let fourmi = Setup::beside(worker.address()).outbound(services).start();
    outbound.store(fourmi.outbound_port(), std::sync::atomic::Ordering::Release);
    for path in ["/passes", "/names", "/silent"] {
        assert_eq!(fourmi.get(path).status(), 200);
        let (asked, handled) = (stock.last(), worker.last());
        let (of_worker, of_stock) =
            (trace_of(handled.header("traceparent").unwrap()), trace_of(asked.header("traceparent").unwrap()));
        assert_eq!(of_worker.0, of_stock.0, "{path}: one trace");
        assert_ne!(of_worker.1, of_stock.1, "{path}: a span of its own");
    }
}

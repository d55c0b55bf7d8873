//! A trace from its caller over the worker to a service behind: each hop a span of its own, told in the caller's form.

use fourmi_tests::{Client, Fourmi, GelfServer, Message, Setup, Worker, free_port};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// What a worker passes on to stay in its trace.
const CONTEXT: [&str; 9] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// A worker that asks the stock for everything it is asked, and passes its trace context on.
struct Shop {
    worker: Worker,
    stock: Worker,
    gelf: GelfServer,
    fourmi: Fourmi,
}

impl Shop {
    fn open(more: &str) -> Self {
        let (stock, gelf) = (Worker::echo(), GelfServer::start());
        let outbound = Arc::new(AtomicU16::new(0));
        let to = outbound.clone();
        let worker = Worker::replying_on(free_port(), move |request| {
            let mut lines = String::new();
            for name in CONTEXT {
                for value in request.all(name) {
                    lines += &format!("{name}: {value}\r\n");
                }
            }
            if request.target() == "/refuses" {
                lines = "b3: 0\r\n".to_owned();
            }
            let mut client = Client::connect(to.load(Ordering::Acquire));
            client.send(format!("GET / HTTP/1.1\r\nHost: stock\r\n{lines}\r\n")).answer();
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
        });
        let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
        let fourmi = Setup::beside(worker.address()).outbound(services).gelf(&gelf).more(more).start();
        outbound.store(fourmi.outbound_port(), Ordering::Release);
        Shop { worker, stock, gelf, fourmi }
    }

    /// What the worker and the stock were told.
    #[track_caller]
    fn ask(&self, path: &str, headers: &str) -> (Message, Message) {
        assert_eq!(self.fourmi.get_with(path, headers).status(), 200, "{headers}");
        (self.worker.last(), self.stock.last())
    }
}

/// Trace id, span and flags.
#[track_caller]
fn parent(message: &Message) -> (&str, &str, &str) {
    let lines = message.all("traceparent");
    assert!(lines.len() == 1 && lines[0].len() == 55 && lines[0].starts_with("00-"), "{lines:?}");
    (&lines[0][3..35], &lines[0][36..52], &lines[0][53..])
}

#[track_caller]
fn has_no_b3(message: &Message) {
    for name in &CONTEXT[3..] {
        assert_eq!(message.header(name), None, "{name}");
    }
}

#[test]
fn a_w3c_trace_runs_through_both_hops() {
    let shop = Shop::open("");
    for flags in ["01", "00"] {
        let headers = format!(
            "traceparent: 00-{TRACE}-{SPAN}-{flags}\r\ntracestate: a=1\r\ntracestate: b=2\r\nbaggage: user=7;p, shop=9\r\n"
        );
        let (asked, behind) = shop.ask("/", &headers);
        let (of_worker, of_stock) = (parent(&asked), parent(&behind));
        assert_eq!((of_worker.0, of_stock.0), (TRACE, TRACE));
        assert_eq!((of_worker.2, of_stock.2), (flags, flags), "the caller has decided");
        assert!(of_worker.1 != SPAN && of_stock.1 != SPAN && of_worker.1 != of_stock.1, "a span for each hop");
        for seen in [&asked, &behind] {
            assert_eq!(seen.all("tracestate"), ["a=1,b=2"]);
            assert_eq!(seen.all("baggage"), ["user=7;p, shop=9"]);
            has_no_b3(seen);
        }
        // The spans are those of the records: the outbound hop is the child of what it was sent in the handling of.
        let inbound = shop.gelf.record("_span_id", of_worker.1);
        let outbound = shop.gelf.record("_span_id", of_stock.1);
        assert_eq!((&inbound["_trace_id"], &outbound["_trace_id"]), (&TRACE.into(), &TRACE.into()));
        assert_eq!((&inbound["_direction"], &outbound["_direction"]), (&"inbound".into(), &"outbound".into()));
    }
}

#[test]
fn b3_goes_out_in_the_form_in_which_it_came() {
    let shop = Shop::open("");
    for (trace, decision, flags) in
        [(TRACE, "1", "01"), (TRACE, "0", "00"), (TRACE, "d", "01"), (&TRACE[16..], "1", "01")]
    {
        let (asked, behind) = shop.ask("/", &format!("b3: {trace}-{SPAN}-{decision}\r\ntracestate: a=1\r\n"));
        let (of_worker, of_stock) = (parent(&asked), parent(&behind));
        let padded = format!("{trace:0>32}");
        assert_eq!((of_worker.0, of_worker.2, of_stock.0, of_stock.2), (&*padded, flags, &*padded, flags));
        assert_eq!(asked.all("b3"), [format!("{trace}-{}-{decision}-{SPAN}", of_worker.1)]);
        assert_eq!(asked.header("tracestate"), None, "it belongs to a traceparent");
        // The worker passed both on: the traceparent counts, and b3 says the same.
        let kept = if decision == "d" { "d" } else { &flags[1..] };
        assert_eq!(behind.all("b3"), [format!("{trace}-{}-{kept}-{}", of_stock.1, of_worker.1)]);
        assert!(asked.header("x-b3-traceid").is_none() && behind.header("x-b3-traceid").is_none());
    }
    for (line, sampled, debug) in
        [("X-B3-Sampled: 1", Some("1"), None), ("X-B3-Sampled: 0", Some("0"), None), ("X-B3-Flags: 1", None, Some("1"))]
    {
        let headers =
            format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-ParentSpanId: {SPAN}\r\n{line}\r\n");
        let (asked, behind) = shop.ask("/", &headers);
        let (of_worker, of_stock) = (parent(&asked), parent(&behind));
        for (seen, own, above) in [(&asked, of_worker, SPAN), (&behind, of_stock, of_worker.1)] {
            assert_eq!((own.0, own.2), (TRACE, if sampled == Some("0") { "00" } else { "01" }), "{line}");
            assert_eq!((seen.all("x-b3-traceid"), seen.all("x-b3-spanid")), (vec![TRACE], vec![own.1]), "{line}");
            assert_eq!(seen.all("x-b3-parentspanid"), [above], "{line}");
            assert_eq!((seen.header("x-b3-sampled"), seen.header("x-b3-flags")), (sampled, debug), "{line}");
            assert_eq!(seen.header("b3"), None);
        }
    }
}

#[test]
fn a_decision_without_ids_stays_one() {
    let shop = Shop::open("");
    let (asked, _) = shop.ask("/", "b3: 0\r\n");
    assert_eq!((asked.all("b3"), parent(&asked).2), (vec!["0"], "00"));
    let (asked, _) = shop.ask("/", "X-B3-Sampled: 0\r\n");
    assert_eq!((asked.all("x-b3-sampled"), asked.header("x-b3-traceid"), parent(&asked).2), (vec!["0"], None, "00"));
    // A worker that wants no record of what it sends has its way, though the trace is that of what it handles.
    let (asked, behind) = shop.ask("/refuses", "");
    assert_eq!((parent(&asked).2, parent(&behind).2), ("01", "00"));
    assert_eq!(parent(&asked).0, parent(&behind).0);
}

#[test]
fn strangers_do_not_continue_traces() {
    let shop = Shop::open("trusted: [10.0.0.0/8]");
    for headers in [
        format!("traceparent: 00-{TRACE}-{SPAN}-00\r\ntracestate: a=1\r\n"),
        format!("b3: {TRACE}-{SPAN}-0\r\n"),
        format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Flags: 1\r\n"),
        format!("x_b3_traceid: {TRACE}\r\nX_B3_Sampled: 0\r\n"),
    ] {
        let (asked, _) = shop.ask("/", &headers);
        let (trace, _, flags) = parent(&asked);
        assert!(trace != TRACE && flags == "01", "{headers}");
        assert_eq!(asked.header("tracestate"), None);
        has_no_b3(&asked);
        assert!(!asked.headers.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("x_b3")), "{headers}");
    }
}

#[test]
fn what_is_too_much_or_ambiguous() {
    let shop = Shop::open("");
    let good = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    let (asked, _) = shop.ask("/", &format!("{good}{good}tracestate: a=1\r\nb3: {TRACE}-{SPAN}-1\r\n"));
    let (trace, span, _) = parent(&asked);
    assert_ne!(trace, TRACE, "two are none");
    assert_eq!(asked.header("tracestate"), None);
    assert_eq!(asked.all("b3"), [format!("{trace}-{span}-1")], "and b3 tells the new one");

    let state = |n: usize| (1..=n).map(|i| format!("v{i}={}", "x".repeat(20))).collect::<Vec<_>>().join(",");
    let (asked, behind) = shop.ask("/", &format!("{good}tracestate: {}\r\n", state(33)));
    for seen in [asked, behind] {
        assert_eq!(seen.all("tracestate"), [state(32)], "the last goes; more than 512 characters stay");
    }

    let baggage = |n: usize| (10..10 + n).map(|i| format!("k{i}={}", "v".repeat(500))).collect::<Vec<_>>().join(",");
    let (asked, _) = shop.ask("/", &format!("baggage: {}\r\n", baggage(17)));
    assert_eq!(asked.all("baggage"), [baggage(16)], "16 of 504 bytes and their commas are 8079");
    let (asked, _) = shop.ask("/", &format!("baggage: {}\r\n", baggage(16)));
    assert_eq!(asked.all("baggage"), [baggage(16)]);
}

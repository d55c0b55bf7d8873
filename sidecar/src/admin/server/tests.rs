use super::super::{Control, Hand, Part, Reloaded, Request};
use super::serve;
use crate::config::Admin;
use crate::exchange::Identity;
use crate::sink::Eyes;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct Fake {
    broken: RefCell<Option<&'static str>>,
    draining: Cell<bool>,
    stopped: Cell<bool>,
}

impl Control for Fake {
    fn settings(&self) -> Admin {
        Admin { listen: ([127, 0, 0, 1], 9901).into(), token_file: None, read_only: false, peers: Vec::new() }
    }
    fn eyes(&self) -> Eyes {
        Eyes::default()
    }
    fn spool(&self) -> Option<crate::spool::Spool> {
        None
    }
    fn registry(&self) -> Option<Value> {
        None
    }
    fn check(&self) -> Value {
        json!({"result": "ok", "checks": []})
    }
    fn explain_command(&self, request: &[String], lines: &[String]) -> Result<Value, String> {
        Ok(json!([request, lines]))
    }
    fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            service: "pay<ment".into(),
            env: "test".into(),
            hostname: "Pay-3".into(),
            tags: Vec::new(),
        })
    }
    fn ready(&self) -> Vec<Part> {
        let part = |name: &str, ready, detail: &str| Part { name: name.into(), ready, detail: detail.into() };
        vec![part("listeners", true, "2 open"), part("worker", !self.draining.get(), "connection refused")]
    }
    fn metrics(&self, into: &mut String) {
        into.push_str(
            "fourmi_commands_total{service=\"pay<ment\",command=\"Charge\",direction=\"inbound\",outcome=\"success\"} 90\n\
             fourmi_commands_total{service=\"pay<ment\",command=\"Charge\",direction=\"inbound\",outcome=\"timeout\"} 10\n\
             fourmi_sink_records_total{sink=\"graylog\",result=\"sent\"} 97\n\
             fourmi_sink_records_total{sink=\"graylog\",result=\"dropped_full\"} 3\n",
        );
    }
    fn config(&self) -> Value {
        json!({"service": "payment"})
    }
    fn sinks(&self) -> Value {
        json!([])
    }
    fn upstreams(&self) -> Value {
        json!([])
    }
    fn explain(&self, service: &str, request: &Request) -> Option<Value> {
        (service == "sto ck").then(|| json!({"picked": "http://a:1", "of": format!("{request:?}")}))
    }
    fn set_health(&self, service: &str, instance: Option<&str>, hand: Hand) -> Result<Value, String> {
        match service {
            "stock" => Ok(json!([service, instance, format!("{hand:?}")])),
            _ => Err("no service is called so".into()),
        }
    }
    fn gateway(&self) -> Option<Value> {
        None
    }
    fn has_gateway(&self) -> bool {
        false
    }
    fn consumers(&self, like: Option<&str>) -> Option<Value> {
        Some(json!({"like": like}))
    }
    fn limits(&self) -> Value {
        json!({"counters": []})
    }
    fn status(&self) -> Value {
        json!({"in_flight": 0})
    }
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded>>> {
        let result = self.broken.borrow().map_or(Ok("reloaded".to_owned()), |report| Err(report.to_owned()));
        Box::pin(std::future::ready(result))
    }
    fn drain(&self) {
        self.draining.set(true);
    }
    fn stop(&self) {
        self.stopped.set(true);
    }
}

async fn raw(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    // A refused connection may end by a reset, as our request was never read.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn ask(to: SocketAddr, line: &str, more: &str) -> String {
    raw(to, &format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n")).await
}

fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr, Rc<Fake>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let fake = Rc::new(Fake::default());
        let control: Rc<dyn Control> = fake.clone();
        let server = tokio::task::spawn_local(serve(listener, control));
        test(to, fake).await;
        server.abort();
    });
}

#[test]
fn health_metrics_and_api() {
    with_server(|to, fake| async move {
        let ready = ask(to, "GET /readyz?verbose", "").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("ready\n[+] listeners: 2 open\n"), "{ready}");
        assert!(ask(to, "GET /livez", "").await.ends_with("\r\n\r\nlive\n"));
        fake.draining.set(true);
        let not = ask(to, "GET /healthz", "").await;
        assert!(
            not.starts_with("HTTP/1.1 503") && not.ends_with("not ready\n[-] worker: connection refused\n"),
            "{not}"
        );
        assert!(ask(to, "GET /livez", "").await.starts_with("HTTP/1.1 200"), "alive is not ready");
        for (line, more) in [("GET /readyz?format=json", ""), ("GET /readyz", "accept: application/json\r\n")] {
            let answer = ask(to, line, more).await;
            let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            assert_eq!((&body["ready"], &body["parts"][1]["name"]), (&json!(false), &json!("worker")));
        }
        let metrics = ask(to, "GET /metrics", "").await;
        assert!(metrics.contains("content-type: text/plain; version=0.0.4") && metrics.contains("} 97\n"));
        assert!(ask(to, "GET /api/v1/config", "").await.contains("\"service\": \"payment\""));
        let head = ask(to, "HEAD /livez", "").await;
        assert!(head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn the_page_is_whole_and_safe() {
    with_server(|to, _| async move {
        let page = ask(to, "GET /", "").await;
        assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(page.contains("<h1>pay&lt;ment</h1>") && !page.contains("pay<ment") && !page.contains("<style"));
        for shown in ["Charge", "90.0 %", "timeout 10", "dropped_full 3", "<noscript><meta http-equiv", "</html>"] {
            assert!(page.contains(shown), "{shown}\n{page}");
        }
        // Whatever the page names is there, and is asked for once.
        let mut named = 0;
        for path in page.split('"').filter(|part| part.starts_with("/eyes/")) {
            named += 1;
            let plain = ask(to, &format!("GET {path}"), "").await;
            assert!(
                plain.starts_with("HTTP/1.1 200") && plain.contains("immutable") && !plain.contains("content-encoding")
            );
            let packed = ask(to, &format!("HEAD {path}"), "accept-encoding: br, gzip\r\n").await;
            assert!(packed.contains("content-encoding: gzip"), "{packed}");
            let tag = plain.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
            let again = ask(to, &format!("GET {path}"), &format!("if-none-match: {tag}\r\n")).await;
            assert!(again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"), "{again}");
        }
        assert!(named >= 3, "{page}");
        assert!(ask(to, "GET /eyes/other/eyes.css", "").await.contains("cache-control: no-cache"));
        assert!(ask(to, "GET /eyes/other/none.css", "").await.starts_with("HTTP/1.1 404"));
    });
}

#[test]
fn changes_by_post_from_here_only() {
    with_server(|to, fake| async move {
        let get = ask(to, "GET /api/v1/stop", "").await;
        assert!(get.starts_with("HTTP/1.1 405") && get.contains("allow: POST\r\n"), "{get}");
        assert!(ask(to, "POST /metrics", "content-length: 0\r\n").await.contains("allow: GET, HEAD\r\n"));
        let cross = ask(to, "POST /api/v1/stop", "origin: http://evil.example\r\n").await;
        assert!(cross.starts_with("HTTP/1.1 403") && !fake.stopped.get());
        assert!(ask(to, "POST /api/v1/reload", "").await.ends_with("\r\n\r\nreloaded\n"));
        *fake.broken.borrow_mut() = Some("fourmi.yaml:3:1: error[config/unknown-key]: unknown key `rat`\n");
        let refused = ask(to, "POST /api/v1/reload", "").await;
        assert!(
            refused.starts_with("HTTP/1.1 422")
                && refused.ends_with("\r\n\r\nfourmi.yaml:3:1: error[config/unknown-key]: unknown key `rat`\n")
        );
        let refused = ask(to, "POST /api/v1/reload", "accept: application/json\r\n").await;
        assert!(refused.contains("application/problem+json") && refused.contains("unknown key `rat`"));
        assert!(
            ask(to, "GET /api/v1/upstreams/explain?service=sto%20ck", "").await.contains("\"picked\": \"http://a:1\"")
        );
        let line = "GET /api/v1/upstreams/explain?service=sto%20ck&target=/a%3Fb&headers=X-User:%201%0Ab:2";
        let of = ask(to, line, "").await;
        assert!(of.contains(r#"target: \"/a?b\""#) && of.contains(r#"(\"x-user\", \"1\"), (\"b\", \"2\")"#), "{of}");
        for (query, status) in [("", 400), ("?service=", 400), ("?service=other", 404)] {
            let answer = ask(to, &format!("GET /api/v1/upstreams/explain{query}"), "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{query}: {answer}");
        }
        let path = "/api/v1/upstreams/health";
        let set = ask(to, &format!("POST {path}?service=stock&instance=http%3A%2F%2Fa:1&state=down"), "").await;
        assert!(set.starts_with("HTTP/1.1 200") && set.contains("\"http://a:1\"") && set.contains("Down"), "{set}");
        for (query, status) in [("?service=stock", 400), ("?state=up", 400), ("?service=other&state=auto", 404)] {
            let answer = ask(to, &format!("POST {path}{query}"), "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{query}: {answer}");
        }
        assert!(ask(to, &format!("GET {path}?service=stock&state=up"), "").await.starts_with("HTTP/1.1 405"));
        assert!(ask(to, "POST /api/v1/drain", "").await.ends_with("draining\n") && fake.draining.get());
        assert!(ask(to, "POST /api/v1/stop", "").await.ends_with("stopping\n") && fake.stopped.get());
    });
}

#[test]
fn strangers_and_giants_are_refused() {
    with_server(|to, _| async move {
        let foreign = raw(to, "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await;
        assert!(foreign.starts_with("HTTP/1.1 403") && foreign.contains("application/problem+json"));
        let own = raw(to, "GET /livez HTTP/1.1\r\nhost: pay-3:9901\r\nconnection: close\r\n\r\n").await;
        assert!(own.starts_with("HTTP/1.1 200"));
        let unknown = ask(to, "GET /nothing", "").await;
        assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("application/problem+json"));
        let large = ask(to, "POST /api/v1/drain", "content-length: 65537\r\n").await;
        assert!(large.starts_with("HTTP/1.1 413"), "{large}");
        let head = ask(to, "GET /livez", &format!("x: {}\r\n", "y".repeat(20 << 10))).await;
        assert!(head.starts_with("HTTP/1.1 431"), "{head}");
        // Two requests on one connection: bodies are read away.
        let two = "POST /api/v1/drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nhi\
                   GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        assert_eq!(raw(to, two).await.matches("HTTP/1.1 200").count(), 2);
    });
}

#[test]
fn whoever_is_refused_is_refused_by_the_head_alone() {
    with_server(|to, _| async move {
        // None of these sends the body that it announces.
        for (line, more, status) in [
            ("POST /api/v1/commands/import", "origin: http://evil.example\r\ncontent-length: 40000000\r\n", 403),
            ("POST /api/v1/commands/import", "content-length: 60000000\r\n", 413),
            ("POST /api/v1/stop", "sec-fetch-site: cross-site\r\ncontent-length: 10\r\n", 403),
            ("PUT /api/v1/stop", "transfer-encoding: chunked\r\n", 405),
            ("POST /nothing", "content-length: 10\r\n", 404),
            ("GET /livez", "content-length: 10\r\n", 200),
        ] {
            let answer = raw(to, &format!("{line} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
        }
        let foreign = "POST /api/v1/commands/import HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 40000000\r\n\r\n";
        assert!(raw(to, foreign).await.starts_with("HTTP/1.1 403"));
    });
}

#[test]
fn connections_have_a_limit() {
    with_server(|to, _| async move {
        let mut held = Vec::new();
        for _ in 0..super::CONNECTIONS {
            held.push(TcpStream::connect(to).await.unwrap());
        }
        // Connected is not yet accepted.
        while ask(to, "GET /livez", "").await.starts_with("HTTP/1.1 200") {}
        held.clear();
        while !ask(to, "GET /livez", "").await.starts_with("HTTP/1.1 200") {}
    });
}

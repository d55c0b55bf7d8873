//! Middlewares of a gateway that answer instead of a service, or bound what reaches it, from outside.

use fourmi_tests::h2::{H2Client, Pieces, run};
use fourmi_tests::sidecar::{Fourmi, Setup, run_fourmi_in};
use fourmi_tests::wire::Message;
use fourmi_tests::worker::Worker;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fourmi beside a worker, with a Kong file of one service for it.
fn gateway(worker: &Worker, routes: &str, more: &str) -> Fourmi {
    let setup = Setup::beside(worker.address()).more("gateway: kong.yaml");
    let text = format!(
        "_format_version: \"3.0\"\nservices:\n- {{name: worker, url: \"http://worker\", routes: {routes}}}\n{more}\n"
    );
    std::fs::write(setup.folder().join("kong.yaml"), text).unwrap();
    setup.start()
}

/// One route for every path, with these plugins.
fn all(plugins: &str) -> String {
    format!("[{{name: all, paths: [/], plugins: {plugins}}}]")
}

fn says(answer: &Message, status: u16, message: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(answer.json()["message"], message, "{answer:?}");
}

#[test]
fn browsers_are_told_who_may_read() {
    let worker = Worker::echo();
    let dead = Worker::scripted(|mut conn| drop(conn.head()));
    let plugins = "[{name: cors, config: {origins: ['http://a.test', 'https://.*[.]b[.]test'], credentials: true, \
                   exposed_headers: [x-own], max_age: 600}}]";
    let more = format!(
        "- {{name: dead, url: \"{}\", routes: [{{name: dead, paths: [/dead]}}]}}\n\
         plugins:\n- {{name: cors, route: dead}}\n- {{name: key-auth, route: locked}}\n- {{name: cors, route: locked}}",
        dead.address()
    );
    let routes = format!("[{{name: all, paths: [/], plugins: {plugins}}}, {{name: locked, paths: [/locked]}}]");
    let fourmi = gateway(&worker, &routes, &more);
    run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let asking = [("origin", "https://x.b.test"), ("access-control-request-method", "PUT")];
        let answer = client.send("OPTIONS", "/orders", &asking, Pieces::default()).await.unwrap();
        assert_eq!((answer.status, answer.body.len(), answer.header("content-length")), (200, 0, Some("0")));
        for (name, value) in [
            ("access-control-allow-origin", Some("https://x.b.test")),
            ("access-control-allow-credentials", Some("true")),
            ("access-control-allow-methods", Some("GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT")),
            ("access-control-max-age", Some("600")),
            ("access-control-expose-headers", None),
            ("vary", Some("Origin")),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let answer = client.send("GET", "/", &[("origin", "http://a.test:80")], Pieces::default()).await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://a.test"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("x-own"));
        let evil = [("origin", "https://x.b.test.evil.test")];
        let answer = client.send("GET", "/", &evil, Pieces::default()).await.unwrap();
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    });
    assert!(worker.requests().iter().all(|r| r.method() == "GET"), "preflights are answered here");
    for (path, status) in [("/locked", 401), ("/dead", 502)] {
        let answer = fourmi.get_with(path, "Origin: http://a.test\r\n");
        assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (status, Some("*")), "{answer:?}");
    }
    let plain = fourmi.client().send("OPTIONS /plain HTTP/1.1\r\nHost: a\r\nOrigin: http://a.test\r\n\r\n").answer();
    assert_eq!((plain.status(), worker.last().target()), (200, "/plain"), "no preflight without a method");
}

#[test]
fn answers_are_given_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let worker = Worker::replying(move |request| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if request.target().starts_with("/missing") { "404 Not Found" } else { "200 OK" };
        let cookie = if request.target() == "/cookie" { "Set-Cookie: a=b\r\n" } else { "" };
        let body = if request.method() == "HEAD" { String::new() } else { format!("answer {n}") };
        let head = format!("Content-Type: text/plain\r\nServer: own\r\nX-N: {n}\r\n{cookie}Cache-Control: max-age=600");
        format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len().max(8)).into_bytes()
    });
    let routes = "[{name: plain, paths: [/], plugins: [{name: proxy-cache, config: {strategy: memory}}]}, \
                  {name: controlled, paths: [/own], plugins: [{name: proxy-cache, \
                  config: {strategy: memory, cache_control: true}}]}]";
    let fourmi = gateway(&worker, routes, "");
    let status = |answer: &Message| answer.header("x-cache-status").unwrap_or_default().to_owned();
    let mut client = fourmi.client();
    let (first, second) = (client.get("/a?x=1&y=2"), client.get("/a?y=2&x=1"));
    assert_eq!((status(&first), status(&second)), ("Miss".into(), "Hit".into()));
    assert_eq!((first.text(), second.text()), ("answer 1".into(), "answer 1".into()));
    assert_eq!(second.header("age"), Some("0"));
    assert_eq!((second.all("server"), second.all("content-type")), (vec!["own"], vec!["text/plain"]));
    assert_eq!(first.header("x-cache-key"), second.header("x-cache-key"));
    run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let headers = [("host", "test")];
        let answer = client.send("GET", "/h2", &headers, Pieces::default()).await.unwrap();
        assert_eq!((answer.status, answer.header("x-cache-status")), (200, Some("Miss")));
        let answer = client.send("GET", "/h2", &headers, Pieces::default()).await.unwrap();
        assert_eq!((answer.header("x-cache-status"), &*answer.body), (Some("Hit"), &b"answer 2"[..]));
        // A body that comes with it is another question.
        let answer = client.send("GET", "/h2", &headers, Pieces::of("fat")).await.unwrap();
        assert_eq!((answer.header("x-cache-status"), &*answer.body), (Some("Miss"), &b"answer 3"[..]));
    });
    for answer in ["Miss", "Hit"] {
        let head = client.send("HEAD /head HTTP/1.1\r\nHost: test\r\n\r\n").answer_to("HEAD");
        assert_eq!((status(&head).as_str(), head.header("content-length")), (answer, Some("8")));
    }
    assert_eq!(client.post("/a", "", "x").header("x-cache-status"), Some("Bypass"));
    assert_eq!((status(&client.get("/cookie")), status(&client.get("/cookie"))), ("Bypass".into(), "Bypass".into()));
    let lines = |lines: &str| fourmi.get_with("/session", lines);
    assert_eq!(status(&lines("Authorization: a\r\n")), "Miss");
    assert_eq!(status(&lines("Authorization: b\r\n")), "Miss");
    assert_eq!(status(&lines("Authorization: a\r\n")), "Hit");
    assert_eq!((client.get("/missing").status(), status(&client.get("/missing"))), (404, "Hit".into()));

    let own = |line: &str| fourmi.get_with("/own", line);
    let only = own("Cache-Control: only-if-cached\r\n");
    assert_eq!((only.status(), only.text()), (504, String::new()));
    assert_eq!(status(&own("")), "Miss");
    assert_eq!(status(&own("Cache-Control: only-if-cached\r\n")), "Hit");
    assert_eq!(status(&own("Cache-Control: no-cache\r\n")), "Bypass");
    let before = asked.load(Ordering::SeqCst);
    let refreshed = own("Cache-Control: min-fresh=9999\r\n");
    assert_eq!((status(&refreshed), refreshed.text()), ("Refresh".into(), format!("answer {}", before + 1)));
    assert_eq!(own("").text(), refreshed.text(), "the new one is kept");
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);
    // What was given again is counted as what it is: an answer, not a refusal.
    fourmi.counts("fourmi_commands_total", &[("outcome", "client_error")], 2.0);
    fourmi.counts("fourmi_rejected_total", &[("reason", "proxy-cache")], 1.0);
}

#[test]
fn bodies_have_a_size() {
    let worker = Worker::echo();
    let plugin = |keys: &str| format!("plugins: [{{name: request-size-limiting, config: {{{keys}}}}}]");
    let routes = format!(
        "[{{name: small, paths: [/small], {}}}, {{name: large, paths: [/large], {}}}, {{name: strict, paths: [/strict], {}}}]",
        plugin("allowed_payload_size: 10, size_unit: bytes"),
        plugin("allowed_payload_size: 2"),
        plugin("require_content_length: true"),
    );
    let fourmi = gateway(&worker, &routes, "");
    const TOO_LARGE: &str = "Request size limit exceeded";
    assert_eq!(fourmi.post("/small", "", "0123456789").status(), 200);
    says(&fourmi.post("/small", "", "0123456789a"), 413, TOO_LARGE);
    assert_eq!(fourmi.post("/large", "", vec![b'x'; 2 << 20]).status(), 200);
    let seen = worker.requests().len();

    // Who asks first is told so without having sent anything.
    let mut asking = fourmi.client();
    asking.send("POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    let head = asking.answer_head();
    assert_eq!(head.status(), 417, "{head:?}");
    let chunked = |path: &str, body: &[u8]| {
        let mut client = fourmi.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for piece in body.chunks(64 << 10) {
            client.try_send(format!("{:x}\r\n", piece.len())).try_send(piece).try_send("\r\n");
        }
        client.try_send("0\r\n\r\n").answer()
    };
    says(&chunked("/small", b"0123456789a"), 413, TOO_LARGE);
    says(&fourmi.get("/strict"), 411, "A valid Content-Length header is required");
    assert_eq!(worker.requests().len(), seen, "none of them reached the worker");
    let passed = chunked("/small", b"0123456789");
    assert_eq!((passed.status(), worker.last().text()), (200, "0123456789".into()));
    // A larger one is counted on its way: the service gets a part that never ends.
    says(&chunked("/large", &vec![b'x'; (2 << 20) + 1]), 413, TOO_LARGE);
    assert_eq!(chunked("/large", &vec![b'x'; 2 << 20]).status(), 200);
    run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        for (body, status) in [("0123456789", 200), ("0123456789a", 413)] {
            let answer = client.send("POST", "/small", &[], Pieces::of(body)).await.unwrap();
            assert_eq!(answer.status, status);
            let trailing = Pieces::of(body).with_trailers(&[("x-end", "1")]);
            assert_eq!(client.send("POST", "/small", &[], trailing).await.unwrap().status, status);
        }
    });
}

#[test]
fn who_may_call_from_where() {
    let worker = Worker::echo();
    let routes = all("[{name: ip-restriction, config: {deny: [10.0.0.0/8, 'fd00::/8']}}, \
         {name: bot-detection, config: {deny: ['^evil']}}, \
         {name: correlation-id, config: {header_name: X-Own-ID, echo_downstream: true, generator: uuid}}]");
    let fourmi = gateway(&worker, &routes, "");
    assert_eq!(fourmi.get("/").status(), 200);
    for (client, allowed) in
        [("10.1.2.3", false), ("11.1.2.3", true), ("::ffff:10.1.2.3", false), ("\"[fd00::1]:80\"", false)]
    {
        let line = if client.starts_with('"') {
            format!("Forwarded: for={client}\r\n")
        } else {
            format!("X-Forwarded-For: {client}\r\n")
        };
        let answer = fourmi.get_with("/", &line);
        assert_eq!(answer.status(), if allowed { 200 } else { 403 }, "{client} {answer:?}");
        assert_eq!(answer.header("x-own-id").map(str::len), Some(36), "{answer:?}");
    }
    let own = fourmi.get_with("/", "X-Forwarded-For: 10.1.2.3\r\nX-Own-ID: mine\r\n");
    says(&own, 403, "IP address not allowed: 10.1.2.3");
    assert_eq!(own.all("x-own-id"), ["mine"]);
    for (agent, status) in [("evil/1", 403), ("Googlebot/2.1", 403), ("curl/8", 200)] {
        assert_eq!(fourmi.get_with("/", &format!("User-Agent: {agent}\r\n")).status(), status, "{agent}");
    }
    says(&fourmi.get_with("/", "User-Agent: a\r\nUser-Agent: b\r\n"), 400, "Only one User-Agent header allowed");
    let given = fourmi.get("/given");
    assert_eq!(worker.last().header("x-own-id"), given.header("x-own-id"));
    run(async {
        let mut client = H2Client::connect(fourmi.port()).await;
        let lines = [("content-type", "application/grpc"), ("te", "trailers"), ("x-forwarded-for", "10.9.9.9")];
        let answer = client.send("POST", "/orders.Orders/Get", &lines, Pieces::of(vec![0; 5])).await.unwrap();
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("7")));
        assert_eq!(answer.header("grpc-message"), Some("IP address not allowed: 10.9.9.9"));
        assert_eq!(answer.header("x-own-id").map(str::len), Some(36));
    });
}

#[test]
fn answers_instead_of_a_service() {
    let worker = Worker::echo();
    let routes = "[{name: all, paths: [/], plugins: [{name: request-termination, \
                  config: {trigger: x-stop, echo: true, status_code: 404}}]}, \
                  {name: moved, paths: [/old], plugins: [{name: redirect, \
                  config: {location: 'https://new.test', keep_incoming_path: true, status_code: 308}}]}]";
    let more = "routes:\n- {name: closed, paths: [/closed]}\n- {name: page, paths: [/page]}\n\
                plugins:\n- {name: request-termination, route: closed}\n\
                - {name: request-termination, route: page, config: {status_code: 451, body: '<p>', content_type: text/html}}\n\
                - {name: correlation-id, config: {echo_downstream: true}}";
    let fourmi = gateway(&worker, routes, more);
    assert_eq!(fourmi.get("/").status(), 200);
    let echo = fourmi.post("/a?x-stop", "Content-Type: application/json\r\n", "{\"a\":1}");
    says(&echo, 404, "Not found");
    let echoed = &echo.json()["request"];
    assert_eq!((&echoed["body"]["a"], &echoed["method"], &echoed["path"]), (&1.into(), &"POST".into(), &"/a".into()));
    assert_eq!((&echoed["scheme"], &echoed["port"]), (&"http".into(), &fourmi.port().into()));
    assert_eq!(echo.json()["matched_service"]["name"], "worker");
    let closed = fourmi.get("/closed");
    assert_eq!((closed.status(), closed.text()), (503, "{\"message\":\"Service unavailable\"}".into()));
    assert!(closed.header("kong-request-id").is_some_and(|id| id.contains('#')), "{closed:?}");
    let page = fourmi.get("/page");
    assert_eq!((page.status(), page.text(), page.header("content-type")), (451, "<p>".into(), Some("text/html")));
    let moved = fourmi.get("/old/x?y=1");
    assert_eq!((moved.status(), moved.header("location")), (308, Some("https://new.test/old/x?y=1")));
    assert_eq!(worker.requests().len(), 1);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let folder = tempfile::TempDir::with_prefix("kong-").unwrap();
    let text = "_format_version: \"3.0\"\nplugins:\n- name: cors\n  config:\n    origins: [\"*\", \"(?!a)b\"]\n\
                - name: proxy-cache\n  config: {cache_ttl: 0}\n";
    std::fs::write(folder.path().join("kong.yaml"), text).unwrap();
    let ended = run_fourmi_in(folder.path(), &["validate", "kong.yaml"]);
    assert_eq!(ended.code, 78, "{ended:?}");
    for words in [
        "kong.yaml:5:20: error[config/bad-value]: `plugins[0].config.origins[1]`: '(?!a)b' is not a valid regex (look-around",
        "fix: write it without look-around and backreferences",
        "`plugins[1].config.strategy`: required field missing",
        "kong.yaml:7:23: error[config/bad-value]: `plugins[1].config.cache_ttl`: value should be between 1 and",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

/// Whoever is refused only after a body was read or a turn waited for is told under its name, as any other.
#[test]
fn what_is_refused_late_has_its_name() {
    let worker = Worker::echo();
    let routes = "[{name: keyed, paths: [/keyed], plugins: [{name: key-auth, config: {key_in_body: true}}]},\n\
                  {name: shaped, paths: [/shaped], plugins: [{name: rate-shaping, config: {limit: 20, per: 1s}},\n\
                  {name: request-termination, config: {status_code: 403, message: no}}]},\n\
                  {name: valid, paths: [/valid], plugins: [{name: request-validator, config: {version: draft4,\n\
                  body_schema: '{\"type\":\"object\"}'}}]}]";
    let routes = routes.replace("message: no}", "message: 'no'}");
    let fourmi = gateway(&worker, &routes, "");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for command in ["First", "Second"] {
        let named = format!("Fourmi-Command: {command}\r\n");
        assert_eq!(fourmi.post("/keyed", &format!("{named}{form}"), "a=1").status(), 401);
        // The second of them waits for its turn.
        assert_eq!(fourmi.post("/shaped", &named, "").status(), 403);
        let json = format!("{named}Content-Type: application/json\r\n");
        assert_eq!(fourmi.post("/valid", &json, "[]").status(), 400);
    }
    assert!(worker.requests().is_empty());
    let metrics = fourmi.admin("GET", "/metrics").text();
    let of = |command: &str, route: &str| {
        let has = |line: &&str| {
            line.starts_with("fourmi_commands_total{")
                && line.contains(&format!("command=\"{command}\""))
                && line.contains(&format!("route=\"{route}\""))
        };
        metrics.lines().find(has).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    for route in ["keyed", "shaped", "valid"] {
        assert_eq!((of("First", route), of("Second", route)), (Some(1.0), Some(1.0)), "{route}: {metrics}");
        assert_eq!(of("", route), None, "{route}");
    }
}

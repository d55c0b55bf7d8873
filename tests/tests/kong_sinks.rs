//! The log and metric plugins of a Kong file, with the receivers that they are for.

use fourmi_tests::peers::http_sink::HttpSink;
use fourmi_tests::peers::oteltap::{OtelTap, attribute};
use fourmi_tests::peers::{Certificates, printed, statsd, statsd_says};
use fourmi_tests::statsd::StatsdServer;
use fourmi_tests::{Fourmi, Setup, Worker, eventually, free_port, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// A key that must not be seen anywhere behind the gateway's door.
const KEY: &str = "0penSesame-0penSesame";

/// A service with a key, one without, and these plugins.
fn gateway(worker: &Worker, plugins: &[String]) -> String {
    let (port, plugins) = (worker.port(), plugins.join(",\n    "));
    format!(
        "gateway:
  services:
  - name: orders.v1
    url: http://127.0.0.1:{port}/base
    routes: [{{name: all, paths: [/orders]}}]
    plugins: [{{name: key-auth, config: {{key_names: [x-my-key]}}}}]
  - name: open
    url: http://pool/
    routes: [{{name: open, paths: [/open], strip_path: false}}]
  upstreams: [{{name: pool, targets: [{{target: '127.0.0.1:{port}'}}]}}]
  consumers: [{{username: ann, custom_id: c-7, keyauth_credentials: [{{key: {KEY}}}]}}]
  plugins: [
    {plugins}
  ]"
    )
}

fn started(worker: &Worker, plugins: &[String]) -> Fourmi {
    Setup::beside(worker.address()).more(&gateway(worker, plugins)).start()
}

/// Lines that come over TCP.
fn lines() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let all: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = all.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let heard = heard.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line));
            });
        }
    });
    (port, all)
}

/// Datagrams that come over UDP.
fn datagrams() -> (u16, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let all: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = all.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(n) = socket.recv(&mut buffer) {
            heard.lock().unwrap().push(String::from_utf8(buffer[..n].to_vec()).unwrap());
        }
    });
    (port, all)
}

/// Waits for the object of a command with this path.
#[track_caller]
fn object(what: &str, path: &str, texts: impl Fn() -> Vec<String>) -> Value {
    eventually(&format!("{what} has {path}"), || {
        let all = texts().into_iter().filter_map(|text| serde_json::from_str::<Value>(&text).ok());
        all.flat_map(|v| if let Value::Array(all) = v { all } else { vec![v] })
            .find(|v| v["request"]["uri"].as_str().is_some_and(|uri| uri.starts_with(path)))
    })
}

#[test]
fn every_logger_is_told_kongs_object() {
    let worker = Worker::echo();
    let (http, batched, anns) = (HttpSink::answering(200), HttpSink::answering(200), HttpSink::answering(200));
    let ((tcp, tcp_lines), (udp, udp_texts), (loggly, loggly_texts)) = (lines(), datagrams(), datagrams());
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("access.log");
    let to = |sink: &HttpSink, more: &str| {
        let port = sink.port();
        format!("config: {{http_endpoint: \"http://user:pass@127.0.0.1:{port}/in?team=orders\"{more}}}")
    };
    let fourmi = started(
        &worker,
        &[
            format!("{{name: http-log, {}}}", to(&http, "")),
            format!(
                "{{name: http-log, service: open, {}}}",
                to(&batched, ", queue: {max_batch_size: 20, max_coalescing_delay: 0.2}")
            ),
            format!("{{name: http-log, consumer: ann, {}}}", to(&anns, ", method: PUT, headers: {X-Team: a}")),
            format!("{{name: tcp-log, config: {{host: 127.0.0.1, port: {tcp}}}}}"),
            format!("{{name: udp-log, config: {{host: 127.0.0.1, port: {udp}}}}}"),
            format!("{{name: file-log, config: {{path: {}}}}}", file.display()),
            format!(
                "{{name: loggly, config: {{host: 127.0.0.1, port: {loggly}, key: t0ken, tags: [a], client_errors_severity: err}}}}"
            ),
        ],
    );
    let key = format!("x-my-key: {KEY}\r\n");
    assert_eq!(fourmi.get_with("/orders/7?a=1&x-my-key=other", &key).status(), 200);
    assert_eq!(fourmi.get(&format!("/orders/8?x-my-key={KEY}")).status(), 200);
    assert_eq!(fourmi.get("/orders/9").status(), 401);
    for n in 0..3 {
        assert_eq!(fourmi.get(&format!("/open/{n}")).status(), 200);
    }
    assert_eq!(fourmi.get("/nowhere").status(), 404);

    let texts = |sink: &HttpSink| sink.heard().iter().map(|h| h.text()).collect::<Vec<_>>();
    // Exactly one configuration of a plugin holds: the consumer's, the service's, and that for all others.
    let told = object("ann's receiver", "/orders/7", || texts(&anns));
    let heard = anns.wait_for(2);
    assert!(heard.iter().all(|h| h.method == "PUT" && h.path == "/in" && h.query == "team=orders"));
    assert!(heard.iter().all(|h| h.header("x-team") == Some("a")
        && h.header("authorization") == Some("Basic dXNlcjpwYXNz")
        && h.header("content-type") == Some("application/json")));
    let refused = object("the receiver of all", "/orders/9", || texts(&http));
    let unmatched = object("the receiver of all", "/nowhere", || texts(&http));
    assert_eq!(http.wait_for(2).len(), 2);
    for n in 0..3 {
        object("the service's receiver", &format!("/open/{n}"), || texts(&batched));
    }
    assert!(batched.heard().iter().all(|h| h.text().starts_with('[')), "many go in a list");

    for (pointer, value) in [
        ("/request/method", json!("GET")),
        ("/request/querystring/a", json!("1")),
        ("/request/headers/host", json!("test")),
        ("/request/headers/x-my-key", json!("[redacted]")),
        ("/request/headers/x-consumer-username", json!("ann")),
        ("/response/status", json!(200)),
        ("/upstream_status", json!("200")),
        ("/source", json!("upstream")),
        ("/service/name", json!("orders.v1")),
        ("/service/host", json!("127.0.0.1")),
        ("/service/path", json!("/base")),
        ("/route/name", json!("all")),
        ("/route/paths", json!(["/orders"])),
        ("/consumer/username", json!("ann")),
        ("/consumer/custom_id", json!("c-7")),
        ("/authenticated_entity/consumer_id", told["consumer"]["id"].clone()),
        ("/client_ip", json!("127.0.0.1")),
        ("/workspace_name", json!("default")),
        ("/tries/0/port", json!(worker.port())),
    ] {
        assert_eq!(told.pointer(pointer), Some(&value), "{pointer}: {told}");
    }
    assert!(told["upstream_uri"].as_str().unwrap().starts_with("/base/7?a=1&"), "{told}");
    let url = format!("http://test:{}/orders/7?", fourmi.port());
    assert!(told["request"]["url"].as_str().unwrap().starts_with(&url), "{told}");
    assert!(told["request"]["size"].as_u64() > Some(50) && told["response"]["size"].as_u64() > Some(50), "{told}");
    let latencies = |name: &str| told["latencies"][name].as_i64().unwrap();
    assert_eq!(latencies("kong") + latencies("proxy"), latencies("request"), "{told}");
    let pointed = |o: &Value, p: &str| o.pointer(p).cloned().unwrap_or_default();
    assert_eq!((pointed(&refused, "/response/status"), pointed(&refused, "/source")), (json!(401), json!("kong")));
    assert_eq!((pointed(&refused, "/latencies/proxy"), pointed(&refused, "/consumer")), (json!(-1), Value::Null));
    assert!(unmatched.get("service").is_none() && unmatched.get("route").is_none());

    // The others tell the same of every command.
    let contents = || std::fs::read_to_string(&file).unwrap_or_default();
    let all_lines = |all: &Arc<Mutex<Vec<String>>>| all.lock().unwrap().clone();
    for path in ["/orders/7", "/orders/8", "/orders/9", "/open/2", "/nowhere"] {
        let same = |what: &str, o: Value| {
            let of = (&o["request"]["id"], &o["started_at"]);
            let file = object("the file", path, || contents().lines().map(str::to_owned).collect());
            assert_eq!(of, (&file["request"]["id"], &file["started_at"]), "{what} {path}");
        };
        same("tcp-log", object("the TCP receiver", path, || all_lines(&tcp_lines)));
        same("udp-log", object("the UDP receiver", path, || all_lines(&udp_texts)));
        let syslog = |text: &String| text.split_once("] ").map(|(_, object)| object.to_owned());
        same("loggly", object("Loggly", path, || all_lines(&loggly_texts).iter().filter_map(syslog).collect()));
    }
    let head = |path: &str| {
        let of = |text: &String| text.contains(&format!("\"uri\":\"{path}"));
        all_lines(&loggly_texts).into_iter().find(of).unwrap()
    };
    assert!(
        head("/orders/7").starts_with("<14>1 ") && head("/orders/9").starts_with("<11>1 "),
        "{}",
        head("/orders/9")
    );
    assert!(head("/orders/7").contains(" box kong - - [t0ken@41058 tag=\"a\"] {"), "{}", head("/orders/7"));

    let everything =
        [texts(&http), texts(&batched), texts(&anns), all_lines(&tcp_lines), all_lines(&udp_texts)].concat();
    assert!(everything.iter().chain([&contents()]).all(|text| !text.contains(KEY)), "a key was told");
    assert!(!fourmi.stderr().contains(KEY) && !fourmi.stdout().contains(KEY));
    fourmi.counts("fourmi_sink_records_total", &[("sink", "udp-log"), ("result", "sent")], 7.0);
}

#[test]
fn numbers_have_kongs_names_for_their_receivers() {
    let worker = Worker::echo();
    let (daemon, management) = statsd();
    let datadog = StatsdServer::start();
    let fourmi = started(
        &worker,
        &[
            format!(
                "{{name: statsd, config: {{host: 127.0.0.1, port: {}, prefix: gate, consumer_identifier_default: username, \
             queue: {{max_coalescing_delay: 0.1}}}}}}",
                daemon.port
            ),
            format!(
                "{{name: datadog, config: {{host: 127.0.0.1, port: {}, queue: {{max_coalescing_delay: 0.1}}}}}}",
                datadog.port()
            ),
            "{name: prometheus, config: {status_code_metrics: true, latency_metrics: true, bandwidth_metrics: true, \
         upstream_health_metrics: true, per_consumer: true}}"
                .to_owned(),
        ],
    );
    let key = format!("x-my-key: {KEY}\r\n");
    for _ in 0..5 {
        assert_eq!(fourmi.get_with("/orders/7", &key).status(), 200);
    }
    assert_eq!(fourmi.get("/orders/7").status(), 401);
    assert_eq!(fourmi.get("/nowhere").status(), 404);

    // Etsy's daemon keeps what it counted until it is asked.
    let counter = |name: &str| {
        let all = statsd_says(management, "counters");
        let after = all.split_once(&format!("'{name}': ")).map(|(_, after)| after.to_owned());
        after.and_then(|after| after.split([',', '\n', ' ']).next()?.parse::<f64>().ok())
    };
    for (name, expected) in [
        ("gate.service.orders_v1.request.count", 6.0),
        ("gate.service.orders_v1.status.200", 5.0),
        ("gate.service.orders_v1.status.401", 1.0),
        ("gate.service.orders_v1.user.ann.request.count", 5.0),
        ("gate.service.orders_v1.user.ann.status.200", 5.0),
        ("gate.service.orders_v1.workspace.0dc6f45b-8f8d-40d2-a504-473544ee190b.status.200", 5.0),
        ("gate.global.unmatched.request.count", 1.0),
    ] {
        until(&format!("{name} is {expected}: {}", statsd_says(management, "counters")), || {
            counter(name) == Some(expected)
        });
    }
    until("the latencies have come", || {
        statsd_says(management, "timers").contains("gate.service.orders_v1.upstream_latency")
    });
    let tags = [("name", "orders_v1"), ("status", "200"), ("consumer", "c-7"), ("app", "kong")];
    datadog.counts("kong.request.count", &tags, 5.0);
    until("Datadog has every size", || {
        let sizes = datadog.lines().into_iter().filter(|l| l.name == "kong.response.size" && l.has(&tags));
        sizes.filter(|l| l.kind == "ms" && l.value > 50.0).count() == 5
    });

    let of = |code: &'static str, source: &'static str, consumer: &'static str| {
        [("service", "orders.v1"), ("route", "all"), ("code", code), ("source", source), ("consumer", consumer)]
    };
    fourmi.counts("kong_http_requests_total", &of("200", "service", "ann"), 5.0);
    fourmi.counts("kong_http_requests_total", &of("401", "kong", ""), 1.0);
    let metrics = fourmi.metrics();
    let service = [("service", "orders.v1"), ("route", "all"), ("workspace", "default")];
    assert_eq!(metrics.sum("kong_request_latency_ms_count", &service), 6.0);
    assert_eq!(metrics.sum("kong_upstream_latency_ms_count", &service), 5.0);
    assert!(metrics.sum("kong_bandwidth_bytes", &[("direction", "egress")]) > 300.0);
    assert_eq!(metrics.sum("kong_nginx_requests_total", &[("node_id", "box")]), 7.0);
    assert_eq!(metrics.values("kong_http_requests_total", "service"), ["orders.v1"], "nothing of what no route took");
    let target = format!("127.0.0.1:{}", worker.port());
    for (state, expected) in [("healthchecks_off", 1.0), ("healthy", 0.0), ("unhealthy", 0.0), ("dns_error", 0.0)] {
        let labels = [("upstream", "pool"), ("target", &target), ("address", &target), ("state", state)];
        assert_eq!(metrics.sum("kong_upstream_target_health", &labels), expected, "{state}\n{}", metrics.text());
        assert_eq!(metrics.find("kong_upstream_target_health", &labels).count(), 1);
    }
    // The series go on over a reload; without the plugin they are not shown.
    let yaml = fourmi.yaml();
    fourmi.rewrite(&yaml.replace("per_consumer: true", "per_consumer: false"));
    fourmi.signal(nix::sys::signal::Signal::SIGHUP);
    until("the reload is done", || fourmi.metrics().sum("fourmi_reloads_total", &[("result", "ok")]) == 1.0);
    assert_eq!(fourmi.get_with("/orders/7", &key).status(), 200);
    fourmi.counts("kong_http_requests_total", &of("200", "service", "ann"), 5.0);
    fourmi.counts("kong_http_requests_total", &of("200", "service", ""), 1.0);
}

#[test]
fn spans_and_records_go_to_their_receivers() {
    let worker = Worker::echo();
    let (tap, zipkin) = (OtelTap::start(), HttpSink::answering(202));
    let fourmi = started(
        &worker,
        &[
            format!(
                "{{name: opentelemetry, config: {{traces_endpoint: \"http://127.0.0.1:{0}/v1/traces\", \
             logs_endpoint: \"http://127.0.0.1:{0}/v1/logs\", sampling_rate: 1, \
             resource_attributes: {{service.name: gate}}}}}}",
                tap.port()
            ),
            format!(
                "{{name: zipkin, config: {{http_endpoint: \"http://127.0.0.1:{}/api/v2/spans\", sample_ratio: 1, \
             static_tags: [{{name: team, value: orders}}], http_span_name: method_path}}}}",
                zipkin.port()
            ),
        ],
    );
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\nx-my-key: {KEY}\r\n");
    assert_eq!(fourmi.get_with("/orders/7", &parent).status(), 200);
    let span = tap.span("http.response.status_code", "200");
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(trace), &json!("b7ad6b7169203331")));
    let record = tap.log("route", "all");
    assert_eq!(attribute(&record, "consumer").as_deref(), Some("ann"), "{record}");
    assert_eq!(record["traceId"], trace);
    let told = eventually("Zipkin has the span", || {
        let all = zipkin.heard().into_iter().filter(|h| h.path == "/api/v2/spans");
        all.flat_map(|h| serde_json::from_str::<Vec<Value>>(&h.text()).unwrap()).find(|s| s["traceId"] == trace)
    });
    assert_eq!(
        (&told["id"], &told["parentId"], &told["kind"]),
        (&span["spanId"], &span["parentSpanId"], &json!("SERVER"))
    );
    assert_eq!((&told["name"], &told["tags"]["team"]), (&json!("GET /orders/7"), &json!("orders")));
    assert_eq!(
        (&told["tags"]["kong.service_name"], &told["tags"]["http.status_code"]),
        (&json!("orders.v1"), &json!("200"))
    );
}

#[test]
fn what_comes_encrypted_and_what_the_worker_sends_is_told_where_it_belongs() {
    let worker = Worker::echo();
    let certificates = Certificates::new();
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pair = certificates.good();
    let (certificate, key) = (file("c.pem", &pair.certificate), file("k.pem", &pair.key));
    let ((inbound, inbound_texts), (outbound, outbound_texts)) = (datagrams(), datagrams());
    let to = |port: u16| format!("{{name: udp-log, config: {{host: 127.0.0.1, port: {port}}}}}");
    let port = free_port();
    let services = format!("{{open: {{address: \"{}\", plugins: [{}]}}}}", worker.address(), to(outbound));
    let listener =
        format!("inbound: [{{listen: \"https://127.0.0.1:{port}\", tls: {{certificate: {certificate}, key: {key}}}}}]");
    let fourmi = Setup::alone().outbound(services).more(&listener).more(&gateway(&worker, &[to(inbound)])).start();
    for version in ["1.2", "1.3"] {
        let url = format!("https://localhost:{port}/open/{version}");
        let max = ["--tls-max", version, "--noproxy", "*", "-sS", "-k", "-o", "/dev/null", "-w", "%{http_code}"];
        assert_eq!(printed("curl", &[&max[..], &[url.as_str()]].concat()), "200");
    }
    assert_eq!(fourmi.outbound().send("GET /sent HTTP/1.1\r\nHost: open\r\n\r\n").answer().status(), 200);
    let texts = |all: &Arc<Mutex<Vec<String>>>| all.lock().unwrap().clone();
    for version in ["1.2", "1.3"] {
        let told = object("the receiver", &format!("/open/{version}"), || texts(&inbound_texts));
        assert_eq!(told["request"]["tls"]["version"], format!("TLSv{version}"), "{told}");
        let cipher = told["request"]["tls"]["cipher"].as_str().unwrap();
        let looks = if version == "1.2" { cipher.starts_with("ECDHE-") } else { cipher.starts_with("TLS_") };
        assert!(looks && told["request"]["tls"]["client_verify"] == "NONE", "{told}");
        assert_eq!(told["request"]["url"], format!("https://localhost:{port}/open/{version}"));
    }
    // Both services are called the same, and yet each tells its own.
    let told = object("the receiver of what is sent", "/sent", || texts(&outbound_texts));
    assert_eq!(told["service"]["name"], "open", "{told}");
    fourmi.counts("fourmi_sink_records_total", &[("sink", "udp-log"), ("result", "sent")], 3.0);
    assert_eq!((texts(&inbound_texts).len(), texts(&outbound_texts).len()), (2, 1));
}

#[test]
fn a_mistake_in_a_plugin_is_told_at_its_line() {
    let file = "_format_version: \"3.0\"\nplugins:\n- name: http-log\n  config:\n    http_endpoint: http://h\n    \
                methd: PUT\n- name: statsd\n  config: {port: 99999}\n";
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("kong.yaml"), file).unwrap();
    let ended = fourmi_tests::sidecar::run_fourmi_in(folder.path(), &["validate", "kong.yaml"]);
    assert_eq!(ended.code, 78, "{ended:?}");
    for words in [
        "kong.yaml:6:12: error[config/bad-value]: `plugins[0].config.methd`: unknown field",
        "kong.yaml:8:18: error[config/bad-value]: `plugins[1].config.port`: value should be between 0 and 65535",
    ] {
        assert!(ended.stderr.contains(words), "{words}\n{}", ended.stderr);
    }
}

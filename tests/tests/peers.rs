//! The receivers themselves, without Fourmi: each starts, understands what is known to be good, and says so. What a
//! conformance test reads there can then be trusted; and our stubs of what cannot be run here refuse what they must.

use fourmi_tests::peers::http_sink::{Answer, Fault, HttpSink};
use fourmi_tests::peers::oteltap::attribute;
use fourmi_tests::peers::{
    self, Carbon, Certificates, Collectd, DatadogLogs, DdApm, FrameSink, Framing, GelfHttp, GoGelf, GraphiteWeb,
    Loggly, Netdata, OtelTap, Rsyslog, Splunk, UnixgramSink, gelf_http, python_program, run, splunk,
};
use fourmi_tests::{StatsdServer, Worker, until};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Output};

fn datagram(port: u16, bytes: impl AsRef<[u8]>) {
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(bytes.as_ref(), ("127.0.0.1", port)).unwrap();
}

fn stream(port: u16, bytes: impl AsRef<[u8]>) {
    TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(bytes.as_ref()).unwrap();
}

/// Sends bytes over TLS with openssl's own client, and says what that client saw.
fn over_tls(port: u16, certificates: &Certificates, bytes: &[u8], more: &[&str]) -> Output {
    let address = format!("127.0.0.1:{port}");
    let mut child = Command::new(peers::program("openssl"))
        .args(["s_client", "-connect", &address, "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"])
        .arg(certificates.ca_file())
        .args(["-quiet", "-nocommands", "-no_ign_eof"])
        .args(more)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

/// A script of `tests/peers` on the Python of the peers.
fn python(script: &str, arguments: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let output = Command::new(python_program("python")).arg(path).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Exception"), "{script} {arguments:?}: {said}");
}

/// What curl sends, and what it is answered: the status and the body.
fn curl(url: &str, more: &[&str]) -> (u16, String) {
    let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "20", "-w", "\n%{http_code}", url];
    arguments.extend(more);
    let text = String::from_utf8(run("curl", &arguments).stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn peer_go_gelf_understands_udp_chunks_and_tcp() {
    let go = GoGelf::start();
    let message = |id: &str| {
        format!(
            "{{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"é\",\"timestamp\":1.5,\"level\":6,\"_id_\":\"{id}\"}}"
        )
    };
    datagram(go.port(), message("plain"));
    let record = go.record("_id_", "plain");
    assert_eq!((&record["host"], &record["short_message"], &record["level"]), (&"h".into(), &"é".into(), &6.into()));
    let whole = message("chunked");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let parts: Vec<&[u8]> = whole.as_bytes().chunks(40).collect();
    for (nth, part) in parts.iter().enumerate() {
        let head = [&[0x1e, 0x0f][..], b"12345678", &[nth as u8, parts.len() as u8]].concat();
        socket.send_to(&[&head, *part].concat(), ("127.0.0.1", go.port())).unwrap();
    }
    go.record("_id_", "chunked");
    stream(go.port(), format!("{}\0{}\0{{\"torn", message("one"), message("two")));
    go.record("_id_", "two");
    until("a torn frame is told", || go.complaints().iter().any(|c| c.contains("torn frame of 6")));
}

#[test]
fn peer_rsyslog_understands_udp_tcp_and_tls() {
    let rsyslog = Rsyslog::start();
    let message = |name: &str| {
        format!(
            "<134>1 2026-01-31T10:00:00.123456Z box fourmi 12 {name} [fourmi@32473 k=\"a\\\"b\\]c\\\\d\"][x@1 y=\"1\"] \u{feff}hé\nllo"
        )
    };
    let counted = |name: &str| format!("{} {}", message(name).len(), message(name));
    datagram(rsyslog.udp(), message("ByUdp"));
    stream(rsyslog.tcp(), format!("{}<134>1 - - - - ByLine - lf framed\n", counted("ByTcp")));
    over_tls(rsyslog.tls(), rsyslog.certificates(), counted("ByTls").as_bytes(), &[]);
    for (name, input) in [("ByUdp", "udp"), ("ByTcp", "tcp"), ("ByTls", "tls")] {
        let record = rsyslog.record("msgid", name);
        assert_eq!(record["data"], json!({"fourmi@32473": {"k": "a\"b]c\\d"}, "x@1": {"y": "1"}}), "{record}");
        for (field, value) in [("pri", "134"), ("host", "box"), ("app", "fourmi"), ("procid", "12"), ("input", input)] {
            assert_eq!(record[field], value, "{record}");
        }
        assert_eq!(record["timestamp"], "2026-01-31T10:00:00.123456Z");
        assert_eq!(record["msg"], "\u{feff}hé\nllo");
    }
    assert_eq!(rsyslog.record("msgid", "ByLine")["msg"], "lf framed");
}

#[test]
fn peer_netdata_understands_udp_and_tcp() {
    let netdata = Netdata::start();
    datagram(netdata.port(), "a.b:3|c\na.g:7|g\na.t:12|ms\na.t:18|ms\n");
    stream(netdata.port(), "a.b:4|c\n");
    netdata.counts("a.b", 7.0);
    until("the gauge is there", || netdata.gauge("a.g") == Some(7.0));
    until("the timer is there", || netdata.longest("a.t") == 18.0);
}

#[test]
fn peer_collectd_understands_lines_without_tags_only() {
    let collectd = Collectd::start();
    datagram(collectd.port(), "a.b:3|c\na.g:7|g\na.t:12|ms\n");
    datagram(collectd.port(), "a.b:4|c\nx:1|c|#k:v\n");
    collectd.counts("a.b", 7.0);
    assert_eq!(collectd.last("gauge-a.g"), Some(7.0));
    assert!(collectd.series().contains(&"latency-a.t-average".to_owned()), "{:?}", collectd.series());
    assert_eq!(collectd.refused(), ["x:1|c|#k:v"]);
}

#[test]
fn peer_carbon_and_graphite_web_have_what_was_sent() {
    let carbon = Carbon::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    stream(carbon.port(), format!("a.tcp 5 {now}\na.bad;tag 6 {now}\n"));
    datagram(carbon.port(), format!("a.udp 7 {now}\n"));
    carbon.has("a.tcp", 5.0);
    carbon.has("a.udp", 7.0);
    until("the bad line is told", || carbon.output().contains("a.bad;tag"));
    let web = GraphiteWeb::start(&carbon);
    web.has("a.udp", 7.0);
    web.has("sumSeries(a.*)", 12.0);
    assert_eq!(web.render("noSuchFunction(a.tcp)"), None);
    let mut names = web.find("a.*");
    names.sort();
    assert_eq!(names, ["tcp", "udp"]);
}

#[test]
fn peer_oteltap_and_the_datadog_agent_understand_otlp() {
    let (tap, agent) = (OtelTap::start(), DdApm::start());
    python("otlp.py", &[tap.port().to_string(), agent.http().to_string()]);
    python("otlp.py", &["gzip".to_owned(), agent.http().to_string()]);
    let log = tap.log("fourmi.command", "CreateOrder");
    assert_eq!((&log["body"]["stringValue"], &log["severityNumber"]), (&"done".into(), &9.into()), "{log}");
    assert_eq!(log["traceId"], "000102030405060708090a0b0c0d0e0f");
    let span = tap.span("fourmi.command", "CreateOrder");
    assert_eq!((&span["name"], &span["traceId"]), (&"CreateOrder".into(), &log["traceId"]), "{span}");
    let metric = tap.metric("fourmi.commands");
    let point = &metric["sum"]["dataPoints"][0];
    assert_eq!(attribute(point, "fourmi.command").as_deref(), Some("CreateOrder"), "{metric}");
    assert_eq!((tap.logs().len(), tap.spans().len(), tap.metrics().len()), (1, 1, 1), "{}", tap.output());
    let records = agent.wait_for("logs", 2);
    let record = &records[0]["resource_logs"][0]["scope_logs"][0]["log_records"][0];
    assert_eq!(record["body"]["string_value"], "done", "{records:?}");
    agent.wait_for("metrics", 2);
    agent.wait_for("traces", 2);
    let url = format!("http://127.0.0.1:{}/v1/logs", agent.http());
    let nonsense = curl(&url, &["-H", "Content-Type: application/x-protobuf", "-d", "not protobuf at all"]);
    assert!(nonsense.0 >= 400, "{nonsense:?}");
    assert!(TcpStream::connect(("127.0.0.1", agent.grpc())).is_ok());
}

#[test]
fn peer_envoy_and_traefik_send_dogstatsd() {
    let worker = Worker::echo();
    let statsd = StatsdServer::start();
    let (envoy, traefik) = (peers::envoy(worker.port(), statsd.port()), peers::traefik(worker.port(), statsd.port()));
    // A proxy may answer for itself until its routes are there.
    for (peer, path) in [(&envoy, "envoy"), (&traefik, "traefik")] {
        let url = format!("http://127.0.0.1:{}/{path}", peer.port);
        until("the proxy has its routes", || curl(&url, &[]).0 == 200);
    }
    statsd.counts("envoy.cluster.upstream_rq_total", &[("envoy.cluster_name", "worker")], 1.0);
    let routed = [("router", "all@file"), ("code", "200")];
    until("Traefik counts", || statsd.sum("traefik.router.request.total", &routed) == 1.0);
    assert!(statsd.datagrams().iter().all(|d| d.len() <= 1432));
}

#[test]
fn peer_php_and_supervisor_run() {
    let worker = peers::printed("php", &["-r", "fwrite(STDERR, 'x'); echo json_encode(['a' => PHP_INT_SIZE]);"]);
    assert_eq!(worker, "{\"a\":8}");
    let output = Command::new(python_program("supervisord")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "4.3.0");
}

#[test]
fn stub_splunk_understands_a_client_of_others() {
    let splunk = Splunk::start();
    python("clients.py", &["splunk".to_owned(), splunk.port().to_string(), splunk.token().to_owned()]);
    let events = splunk.wait_for(3);
    assert_eq!((&events[2]["event"], &events[0]["host"]), (&"{\"n\": 2}".into(), &"box".into()), "{events:?}");
}

#[test]
fn stub_splunk_refuses_with_splunks_codes() {
    let splunk = Splunk::with(
        splunk::Rules { indexes: vec!["main".to_owned()], max_content: 1000, ..splunk::Rules::default() },
        None,
    );
    let token = format!("Authorization: Splunk {}", splunk.token());
    let at = |path: &str| format!("http://127.0.0.1:{}/services/collector{path}", splunk.port());
    let send = |path: &str, headers: &[&str], body: &str| -> (u16, Value) {
        let mut arguments = vec!["--data-binary", body];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        let (status, body) = curl(&at(path), &arguments);
        let body: Value = serde_json::from_str(&body).unwrap();
        (status, json!([body["code"], body["invalid-event-number"]]))
    };
    let good = r#"{"event":"a"}"#;
    for (headers, status, code) in [
        (&[][..], 401, 2),
        (&["Authorization: 8a3f1f4e"], 401, 3),
        (&["Authorization: Splunk wrong"], 403, 4),
        (&[token.as_str(), "Content-Encoding: gzip"], 400, 6),
    ] {
        assert_eq!(send("/event", headers, good), (status, json!([code, null])), "{headers:?}");
    }
    let taken = || splunk.events().len();
    for (body, code, number, more) in [
        (" \n", 5, None, 0),
        (r#"[{"event":"a"}]"#, 6, Some(0), 0),
        (r#"{"event":"a"}{"event":1}nonsense"#, 6, Some(2), 2),
        (r#"{"event":"a"}{"host":"h"}{"event":"b"}"#, 12, Some(1), 1),
        (r#"{"event":" "}"#, 13, Some(0), 0),
        (r#"{"event":null}"#, 13, Some(0), 0),
        (r#"{"event":"a","index":"other"}"#, 7, Some(0), 0),
        (r#"{"event":"a","time":"soon"}"#, 6, Some(0), 0),
        (r#"{"event":"a","fields":{"a":{"b":1}}}"#, 15, Some(0), 0),
    ] {
        let before = taken();
        assert_eq!(send("", &[&token], body), (400, json!([code, number])), "{body}");
        assert_eq!(taken() - before, more, "{body}");
    }
    assert_eq!(send("", &[&token], &format!("{{\"event\":\"{}\"}}", "a".repeat(1000))).0, 413);
    assert_eq!(send("/raw", &[&token], "a").1[0], 10);
    assert_eq!(send("/raw?channel=1", &[&token], "a").1[0], 11);
    assert_eq!(send("/ack?channel=8a3f1f4e-5c1d-4f0b-9a51-2f4c3b7d9e10", &[&token], "{\"acks\":[0]}").1[0], 14);
    let full = r#"{"event":{"a":1},"time":1.5,"host":"h","index":"main","fields":{"a":"b","c":["d"]}} {"event":"z"}"#;
    splunk.refuse_event(1);
    assert_eq!(send("/event/1.0", &[&token], full), (400, json!([6, 1])));
    assert_eq!(send("/event/1.0", &[&token], full), (200, json!([0, null])));
    assert_eq!(splunk.events().last(), Some(&json!({"event": "z"})));
    assert_eq!(curl(&at("/health"), &[]), (200, r#"{"text":"HEC is healthy","code":17}"#.to_owned()));
    let off = Splunk::with(splunk::Rules { disabled: true, ..splunk::Rules::default() }, None);
    let url = format!("http://127.0.0.1:{}/services/collector", off.port());
    assert_eq!(curl(&url, &["-H", &token, "-d", good]), (403, r#"{"text":"Token disabled","code":1}"#.to_owned()));
}

#[test]
fn stub_splunk_acknowledges_by_channel() {
    let splunk = Splunk::with(splunk::Rules { ack: true, ..splunk::Rules::default() }, None);
    let token = format!("Authorization: Splunk {}", splunk.token());
    let channel = "X-Splunk-Request-Channel: 8a3f1f4e-5c1d-4f0b-9a51-2f4c3b7d9e10";
    let send = |path: &str, headers: &[&str], body: &str| {
        let mut arguments = vec!["-d", body, "-H", &token];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        curl(&format!("http://127.0.0.1:{}/services/collector{path}", splunk.port()), &arguments).1
    };
    assert!(send("", &[], "{\"event\":1}").contains("\"code\":10"));
    assert!(send("", &["X-Splunk-Request-Channel: mine"], "{\"event\":1}").contains("\"code\":11"));
    for id in 0..3 {
        assert_eq!(
            send("", &[channel], "{\"event\":1}"),
            format!("{{\"text\":\"Success\",\"code\":0,\"ackId\":{id}}}")
        );
    }
    let ask = || send("/ack", &[channel], "{\"acks\":[1]}");
    splunk.acks(splunk::Acks::Never);
    assert_eq!(ask(), r#"{"acks":{"1":false}}"#);
    splunk.acks(splunk::Acks::After(3));
    assert_eq!((ask(), ask()), (r#"{"acks":{"1":false}}"#.to_owned(), r#"{"acks":{"1":true}}"#.to_owned()));
    assert_eq!(ask(), r#"{"acks":{"1":false}}"#, "what was said once is forgotten");
    let other = "X-Splunk-Request-Channel: 00000000-5c1d-4f0b-9a51-2f4c3b7d9e10";
    splunk.acks(splunk::Acks::AtOnce);
    assert_eq!(send("/ack", &[other], "{\"acks\":[0]}"), r#"{"acks":{"0":false}}"#, "another channel's");
    assert_eq!(splunk.polls(), 5);
}

#[test]
fn stub_loggly_understands_a_client_of_others() {
    let certificates = Certificates::new();
    let loggly = Loggly::with(Some(certificates.server(certificates.good())));
    let script = format!(
        "const c = require('loggly').createClient({{token: '{}', subdomain: 's', host: 'localhost:{}', \
         json: true, useTagHeader: false, tags: ['aa', 'b.c']}});\
         c.log([0, 1, 2].map(n => ({{n, timestamp: new Date()}})), () => c.log({{n: 'single'}}));",
        loggly.token(),
        loggly.port()
    );
    let output = Command::new(peers::program("node"))
        .args(["-e", &script])
        .env("NODE_EXTRA_CA_CERTS", certificates.ca_file())
        .env("NO_PROXY", "*")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let events = loggly.wait_for(4);
    let numbers: Vec<Value> = events.iter().map(|e| e.json.as_ref().unwrap()["n"].clone()).collect();
    assert_eq!(json!(numbers), json!([0, 1, 2, "single"]), "{said}");
    assert_eq!(events[2].tags, ["aa", "b.c"]);
    assert!(loggly.sink.heard()[0].path.starts_with("/bulk/") && output.status.success(), "{said}");
}

#[test]
fn stub_loggly_refuses() {
    let loggly = Loggly::start();
    let token = loggly.token().to_owned();
    let long = format!("{{\"a\":\"{}\"}}", "b".repeat(1 << 20));
    let folder = tempfile_with(&long);
    let long = format!("@{}", folder.path().join("body").display());
    let json = "Content-Type: application/json";
    for (path, header, body, status) in [
        (format!("/bulk/{token}/tag/a,b-c/"), json, "{\"a\":1}\n{\"a\":2}\n", 200),
        (format!("/inputs/{token}/tag/http/"), json, "{\"a\":1,\"timestamp\":\"2026-01-31T10:00:00.123Z\"}", 200),
        (format!("/inputs/{token}/"), "Content-Type: text/plain", "just text", 200),
        ("/inputs/wrong/tag/a/".to_owned(), json, "{}", 403),
        (format!("/other/{token}"), json, "{}", 404),
        (format!("/inputs/{token}/tag/-a/"), json, "{}", 400),
        (format!("/inputs/{token}/tag/a/"), "Content-Type: image/png", "{}", 415),
        (format!("/inputs/{token}/tag/a/"), json, "{\"timestamp\":1700000000.5}", 400),
        (format!("/inputs/{token}/tag/a/"), json, "{\"timestamp\":\"31/01/2026\"}", 400),
        (format!("/bulk/{token}/tag/a/"), json, "{\"a\":1}\nnonsense", 400),
        (format!("/bulk/{token}/tag/a/"), json, "\n", 400),
        (format!("/bulk/{token}/tag/a/"), json, &long, 413),
    ] {
        let url = format!("http://127.0.0.1:{}{path}", loggly.port());
        let said = curl(&url, &["-H", header, "--data-binary", body]);
        assert_eq!(said.0, status, "{path} {body}: {said:?}");
    }
    let events = loggly.events();
    assert_eq!(events.len(), 4, "nothing of what was refused: {events:?}");
    assert_eq!((&*events[1].tags, events[1].text.as_str()), (&["a".into(), "b-c".into()][..], "{\"a\":2}"));
}

fn tempfile_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("body"), text).unwrap();
    folder
}

#[test]
fn stub_datadog_understands_a_client_of_others() {
    let datadog = DatadogLogs::start();
    python("clients.py", &["datadog".to_owned(), datadog.port().to_string(), datadog.key().to_owned()]);
    let logs = datadog.wait_for(3);
    assert_eq!((&logs[2]["message"], &logs[2]["ddtags"]), (&"n2".into(), &"env:test".into()), "{logs:?}");
    assert_eq!(datadog.sink.heard()[0].header("content-encoding"), Some("gzip"));
}

#[test]
fn stub_datadog_refuses() {
    let datadog = DatadogLogs::start();
    let (key, url) =
        (format!("DD-API-KEY: {}", datadog.key()), format!("http://127.0.0.1:{}/api/v2/logs", datadog.port()));
    let long = tempfile_with(&json!([{"message": "a".repeat(5_000_000)}]).to_string());
    let many = tempfile_with(&json!(vec![json!({"message": "a"}); 1001]).to_string());
    let (long, many) = (long.path().join("body"), many.path().join("body"));
    let (long, many) = (format!("@{}", long.display()), format!("@{}", many.display()));
    let one = r#"[{"message":"a","ddtags":"a:b"}]"#;
    for (key, body, status) in [
        (key.as_str(), one, 202),
        (&key, r#"{"message":"a"}"#, 202),
        ("X: y", one, 401),
        ("DD-API-KEY: wrong", one, 403),
        (&key, r#"{"message":"a"}{"message":"b"}"#, 400),
        (&key, r#"[{"message":1}]"#, 400),
        (&key, &long, 413),
        (&key, &many, 413),
    ] {
        let said = curl(&url, &["-H", key, "-H", "Content-Type: application/json", "--data-binary", body]);
        assert_eq!(said.0, status, "{body}: {said:?}");
    }
    assert_eq!(datadog.logs().len(), 2);
    let middle = tempfile_with(&json!([{"message": "a".repeat(1_000_001)}]).to_string());
    let body = format!("@{}", middle.path().join("body").display());
    assert_eq!(curl(&url, &["-H", &key, "-H", "Content-Type: application/json", "--data-binary", &body]).0, 202);
    assert_eq!((datadog.cut(), curl(&url.replace("logs", "log"), &["-d", "x"]).0), (1, 404));
}

#[test]
fn stub_gelf_http_answers_as_graylog_does() {
    let rules = gelf_http::Rules { header: Some(("X-Key".into(), "k".into())), ..gelf_http::Rules::default() };
    let graylog = GelfHttp::with(rules, None);
    let url = format!("http://127.0.0.1:{}/gelf", graylog.port());
    let good = r#"{"version":"1.1","host":"h","short_message":"m","_a":"b"}"#;
    let key = ["-H", "X-Key: k", "--data-binary"];
    let send = |url: &str, body: &str| curl(url, &[&key[..], &[body]].concat()).0;
    assert_eq!(send(&url, good), 202);
    assert_eq!(send(&url, &format!("{good}\n{good}")), 202);
    assert_eq!(send(&url, "nonsense"), 202, "202 proves nothing");
    assert_eq!(curl(&url, &["-d", good]).0, 401);
    assert_eq!(send(&url.replace("/gelf", "/other"), good), 404);
    assert_eq!(curl(&url, &["-H", "X-Key: k"]).0, 405);
    assert_eq!(curl(&url, &["-X", "OPTIONS"]).0, 200);
    let long = tempfile_with(&"a".repeat(65_537));
    assert_eq!(send(&url, &format!("@{}", long.path().join("body").display())), 413);
    assert_eq!(graylog.records().len(), 2);
    assert_eq!(graylog.discarded(), [good, "nonsense"]);
}

#[test]
fn stub_http_is_as_sick_as_the_test_wants() {
    let certificates = Certificates::new();
    for tls in [None, Some(certificates.server(certificates.good()))] {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let sink = HttpSink::start_on(fourmi_tests::free_port(), tls, |heard| Answer::new(200, heard.text()));
        let url = format!("{scheme}://127.0.0.1:{}/", sink.port());
        let ca = certificates.ca_file().display().to_string();
        let send = || curl(&url, &["--cacert", &ca, "-d", "hello", "-i"]);
        sink.next([Fault::status(503), Fault::retry_after(429, 2), Fault::Close, Fault::Garbage]);
        assert_eq!(send().0, 503);
        let (status, text) = send();
        assert!(status == 429 && text.contains("retry-after: 2"), "{text}");
        assert_eq!((send().0, send().0), (0, 0), "no answer that is one");
        let (status, text) = send();
        assert!(status == 200 && text.ends_with("hello"), "{text}");
        sink.next([Fault::Silence]);
        assert_eq!(curl(&url, &["--cacert", &ca, "-d", "hello", "-m", "1"]).0, 0);
        sink.always(Some(Fault::status(500)));
        assert_eq!((send().0, send().0), (500, 500));
        sink.always(None);
        sink.close_listener();
        assert_eq!(send().0, 0);
        sink.reopen();
        assert_eq!(send().0, 200);
        let statuses: Vec<u16> = sink.heard().iter().map(|h| h.status).collect();
        assert_eq!(statuses, [503, 429, 0, 0, 200, 0, 500, 500, 200]);
        until("curl's connections have ended", || sink.open() == 0);
        let _held = TcpStream::connect(("127.0.0.1", sink.port())).unwrap();
        until("the connection is seen", || sink.open() == 1);
        sink.kill_connections();
    }
}

#[test]
fn stub_frames_are_cut_over_every_stream() {
    let certificates = Certificates::new();
    for (framing, bytes, frames, torn) in [
        (Framing::Nul, &b"{\"a\":1}\0{}\0{\"b"[..], &["{\"a\":1}", "{}"][..], "{\"b"),
        (Framing::Line, b"one\ntwo\nthr", &["one", "two"], "thr"),
        (Framing::OctetCounted, "6 é abc3 a\nb12 c".as_bytes(), &["é abc", "a\nb"], "12 c"),
        (Framing::LengthPrefixed, b"\x03\0\0\0a:1\x05\0\0\0b", &["a:1"], "\u{5}\0\0\0b"),
    ] {
        let tcp = FrameSink::tcp(framing);
        stream(tcp.port(), bytes);
        let tls = FrameSink::tls(certificates.server(certificates.good()), framing);
        over_tls(tls.port(), &certificates, bytes, &[]);
        let unix = FrameSink::unix(framing);
        UnixStream::connect(unix.path()).unwrap().write_all(bytes).unwrap();
        for sink in [&tcp, &tls, &unix] {
            until("the connection ends", || sink.accepted() == 1 && sink.open() == 0);
            assert_eq!(sink.texts(), frames, "{framing:?} {:?}", sink.failures());
            assert_eq!(sink.torn(), [torn.as_bytes()], "{framing:?}");
        }
    }
}

#[test]
fn stub_frames_pause_die_and_come_back() {
    let sink = FrameSink::tcp(Framing::Line);
    let connect = || TcpStream::connect(("127.0.0.1", sink.port()));
    let mut sender = connect().unwrap();
    sink.pause();
    sender.set_nonblocking(true).unwrap();
    let line = [&[b'a'; 999][..], b"\n"].concat();
    // Full lines only: what the kernel took of the last one is written on later.
    let (mut sent, mut rest) = (0, Vec::new());
    while let Ok(n) = sender.write(&line) {
        sent += 1;
        rest = line[n..].to_vec();
        assert!(sent < 50_000, "the buffers never run full");
        if n < line.len() {
            break;
        }
    }
    assert_eq!(sink.count(), 0);
    sink.resume();
    sender.set_nonblocking(false).unwrap();
    sender.write_all(&rest).unwrap();
    sink.wait_for(sent);
    sink.crash();
    assert!(connect().is_err());
    until("the sender notices", || sender.write_all(b"x").is_err());
    sink.reopen();
    connect().unwrap().write_all(b"back\n").unwrap();
    until("it takes frames again", || sink.texts().last().is_some_and(|t| t == "back"));
    assert_eq!(sink.accepted(), 2);
}

#[test]
fn stub_certificates_are_what_they_say() {
    let certificates = Certificates::new();
    for (pair, good, fault) in [
        (certificates.good(), true, ""),
        (certificates.expired(), false, "certificate has expired"),
        (certificates.wrong_name(), false, "IP address mismatch"),
        (certificates.stranger(), false, "unable to get local issuer certificate"),
    ] {
        let sink = FrameSink::tls(certificates.server(pair), Framing::Line);
        let output = over_tls(sink.port(), &certificates, b"hello\n", &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), good, "{said}");
        assert!(said.contains(fault), "{said}");
        if good {
            sink.wait_for(1);
        } else {
            until("the receiver says why", || !sink.failures().is_empty());
        }
    }
    let sink = FrameSink::tls(certificates.server_for_known_clients(), Framing::Line);
    over_tls(sink.port(), &certificates, b"unknown\n", &[]);
    until("the receiver wants to know who it is", || !sink.failures().is_empty());
    let (certificate, key) = certificates.client_files();
    let show = ["-cert", certificate.to_str().unwrap(), "-key", key.to_str().unwrap()];
    let output = over_tls(sink.port(), &certificates, b"known\n", &show);
    until("the receiver knows the client", || sink.accepted() == 2 && sink.open() == 0);
    assert_eq!(sink.count(), 1, "{:?} {}", sink.failures(), String::from_utf8_lossy(&output.stderr));
    assert_eq!(sink.texts(), ["known"]);
}

#[test]
fn stub_unixgram_is_absent_full_gone_and_back() {
    let sink = UnixgramSink::absent();
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let send = || socket.send_to(b"a:1|c\n", sink.path()).map_err(|e| e.kind());
    assert_eq!(send(), Err(std::io::ErrorKind::NotFound));
    sink.reopen();
    send().unwrap();
    assert_eq!(sink.line("a:1"), "a:1|c");
    sink.pause();
    until("the kernel holds no more", || send() == Err(std::io::ErrorKind::WouldBlock));
    sink.resume();
    sink.close();
    assert_eq!(send(), Err(std::io::ErrorKind::ConnectionRefused));
    sink.remove_file();
    assert_eq!(send(), Err(std::io::ErrorKind::NotFound));
    sink.reopen();
    assert!(send().is_ok());
}

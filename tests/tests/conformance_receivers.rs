//! Real receivers at the other end: graygelf, the StatsD daemon, Prometheus; nginx as the worker, curl as the caller.

use fourmi_tests::peers::{self, printed, prometheus_says, run, statsd_says};
use fourmi_tests::{Fourmi, Setup, eventually};
use serde_json::Value;

fn curl(fourmi: &Fourmi, path: &str, more: &[&str]) -> String {
    let url = format!("http://127.0.0.1:{}{path}", fourmi.port());
    let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "20", url.as_str()];
    arguments.extend(more);
    printed("curl", &arguments)
}

#[test]
fn conformance_one_command_from_curl_to_nginx_is_known_everywhere() {
    let (nginx, graylog, (statsd, management)) = (peers::nginx(), peers::graygelf(), peers::statsd());
    let logs = format!("[{{graylog: {{to: \"udp://127.0.0.1:{}\", compress: gzip}}}}]", graylog.port);
    let sinks = format!(
        "{{statsd: {{to: \"udp://127.0.0.1:{}\", dialect: plain, interval: 100ms}}}}, {{prometheus: {{}}}}",
        statsd.port
    );
    let setup = Setup::beside(&format!("http://127.0.0.1:{}", nginx.port)).logs(logs).labels("shop");
    let yaml = setup.yaml().replace("sinks: [{prometheus: {}}]", &format!("sinks: [{sinks}]"));
    let fourmi = setup.start();
    fourmi.rewrite(&yaml);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    let prometheus = peers::prometheus(fourmi.admin_port());

    let named = ["-H", "Fourmi-Command: CreateOrder", "-H", "Fourmi-Id: order-42", "-H", "Fourmi-Tags: shop=7"];
    assert_eq!(curl(&fourmi, "/", &named), "hello");
    for _ in 0..2 {
        curl(&fourmi, "/missing", &["-H", "Fourmi-Command: CreateOrder", "-H", "Fourmi-Tags: shop=7"]);
    }

    // The GELF server prints the record with the documented names.
    let record: Value = eventually("graygelf prints the record", || {
        peers::printed_records(&graylog).into_iter().find(|r| r["_command_id"] == "order-42")
    });
    for (field, value) in [
        ("version", "1.1"),
        ("host", "box"),
        ("_facility", "test"),
        ("_env", "test"),
        ("_service", "payment"),
        ("_command", "CreateOrder"),
        ("_tag_shop", "7"),
        ("_outcome", "success"),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    assert!(record["_status"] == 200 && record["_duration_ms"].is_number(), "{record}");

    // The StatsD daemon has the counter per tag and the timer.
    let has = |what: &str, line: &str| {
        eventually(&format!("statsd {what} has {line}"), || statsd_says(management, what).contains(line).then_some(()));
    };
    has("counters", "'fourmi.test.payment.CreateOrder.success': 1");
    has("counters", "'fourmi.test.payment.CreateOrder.client_error': 2");
    has("counters", "'fourmi.test.payment.tag.shop.7': 3");
    has("timers", "'fourmi.test.payment.CreateOrder.duration'");
    let counters = statsd_says(management, "counters");
    assert!(counters.contains("'statsd.bad_lines_seen': 0"), "{counters}");

    // Prometheus answers queries for it.
    let series = |outcome: &str| {
        format!("sum(fourmi_commands_total{{command=\"CreateOrder\",outcome=\"{outcome}\",shop=\"7\"}})")
    };
    prometheus_says(&prometheus, &series("success"), |v| v == 1.0);
    prometheus_says(&prometheus, &series("client_error"), |v| v == 2.0);
    prometheus_says(&prometheus, "sum(fourmi_tag_total{tag=\"shop\",value=\"7\"})", |v| v == 3.0);
    prometheus_says(
        &prometheus,
        "histogram_quantile(0.99, sum by (le) (fourmi_command_duration_seconds_bucket))",
        |v| v > 0.0,
    );
    prometheus_says(&prometheus, "up", |v| v == 1.0);

    // The worker was told who it serves.
    let log = eventually("nginx logs", || {
        let log = std::fs::read_to_string(nginx.folder.path().join("access.log")).ok()?;
        log.contains("id=order-42").then_some(log)
    });
    let line = log.lines().find(|l| l.contains("id=order-42")).unwrap();
    let trace = record["_trace_id"].as_str().unwrap();
    assert!(line.contains(&format!("trace=00-{trace}-")) && line.contains("name=CreateOrder"), "{line}");
}

#[test]
fn conformance_promtool_finds_no_fault_in_the_exposition() {
    let nginx = peers::nginx();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{}", nginx.port)).labels("shop").start();
    curl(&fourmi, "/", &["-H", "Fourmi-Command: A \"b\" \\ c", "-H", "Fourmi-Tags: shop=a\"b\\c"]);
    curl(&fourmi, "/fail", &[]);
    let text = fourmi.metrics().text();
    let mut child = std::process::Command::new(peers::program("promtool"))
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[test]
fn conformance_sent_is_received_and_counted_losses() {
    let nginx = peers::nginx();
    let port = fourmi_tests::free_port();
    let logs = format!("[{{graylog: {{to: \"udp://127.0.0.1:{port}\", compress: gzip}}}}]");
    let graylog = peers::graygelf_on(port);
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{}", nginx.port)).logs(logs).start();
    let send = |from: usize, to: usize| {
        let mut client = fourmi.client();
        for n in from..to {
            assert_eq!(client.post("/", &format!("Fourmi-Id: n{n}\r\n"), "").status(), 200);
        }
        let told = || fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog")]);
        eventually("every record has a fate", || (told() == to as f64).then_some(()));
    };
    send(0, 100);
    eventually("all before the fault", || (peers::printed_records(&graylog).len() == 100).then_some(()));
    drop(graylog);
    send(100, 200);
    let graylog = peers::graygelf_on(port);
    send(200, 300);
    let after = eventually("all after the fault", || {
        let records = peers::printed_records(&graylog);
        records.iter().any(|r| r["_command_id"] == "n299").then_some(records)
    });
    let lost = fourmi.metrics().sum("fourmi_sink_records_total", &[("sink", "graylog"), ("result", "dropped_error")]);
    assert!(lost >= 50.0, "refusals are noticed: {lost}");
    // UDP says "refused" of a datagram only with the next one: what is not counted as lost is at most that.
    assert!(after.len() >= 98, "{} of 100 after the fault", after.len());
}

#[test]
fn conformance_peers_are_who_they_say() {
    for (program, argument, word) in
        [("nginx", "-v", "nginx"), ("curl", "--version", "curl"), ("nghttp", "--version", "nghttp2")]
    {
        let output = run(program, &[argument]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(word), "{program}: {text}");
    }
}

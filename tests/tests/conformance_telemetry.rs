//! One command, told to every real receiver at once: what each of them has of it stands side by side.
//! `cargo test -p fourmi-tests --test conformance_telemetry -- --nocapture` shows it.

use fourmi_tests::peers::carbon::Carbon;
use fourmi_tests::peers::collectd::Collectd;
use fourmi_tests::peers::go_gelf::GoGelf;
use fourmi_tests::peers::graphite_web::GraphiteWeb;
use fourmi_tests::peers::netdata::Netdata;
use fourmi_tests::peers::oteltap::{OtelTap, attribute};
use fourmi_tests::peers::rsyslog::Rsyslog;
use fourmi_tests::peers::splunk::Splunk;
use fourmi_tests::peers::{self, prometheus_says, statsd_says};
use fourmi_tests::{Setup, Worker, eventually};
use serde_json::Value;

#[test]
fn conformance_one_command_is_the_same_everywhere() {
    let worker = Worker::echo();
    let (graylog, go, rsyslog) = (peers::graygelf(), GoGelf::start(), Rsyslog::start());
    let (tap, splunk) = (OtelTap::start(), Splunk::start());
    let (statsd, management) = peers::statsd();
    let (netdata, collectd, carbon) = (Netdata::start(), Collectd::start(), Carbon::start());
    let (to_carbon, _management) = peers::statsd_to_graphite(carbon.port());
    let web = GraphiteWeb::start(&carbon);
    let udp = |port: u16| format!("{{statsd: {{to: \"udp://127.0.0.1:{port}\", interval: 1s}}}}");
    let mut setup = Setup::beside(worker.address())
        .logs(format!(
            "[{{graylog: {{to: \"udp://127.0.0.1:{}\"}}}}, {{graylog: {{to: \"tcp://127.0.0.1:{}\"}}}}, \
             {{syslog: {{to: \"tcp://127.0.0.1:{}\"}}}}, {{otlp: {{endpoint: \"http://127.0.0.1:{}\", compress: none}}}}, \
             {{splunk: {{url: \"http://127.0.0.1:{}\", token: \"{}\"}}}}]",
            graylog.port,
            go.port(),
            rsyslog.tcp(),
            tap.port(),
            splunk.sink.port(),
            splunk.token(),
        ))
        .labels("shop");
    for port in [statsd.port, netdata.port(), collectd.port(), to_carbon.port] {
        setup = setup.metric_sink(udp(port));
    }
    let fourmi = setup.start();
    let prometheus = peers::prometheus(fourmi.admin_port());
    fourmi.post(
        "/status/200",
        "Fourmi-Command: CreateOrder\r\nFourmi-Id: order-42\r\nFourmi-Tags: shop=7,note=a\"b]c\\d é\r\n",
        "body",
    );

    // What each receiver says of the same fields.
    let gelf: Value = eventually("graygelf has the record", || {
        peers::printed_records(&graylog).into_iter().find(|r| r["_command_id"] == "order-42")
    });
    let go = go.record("_command_id", "order-42");
    let syslog = rsyslog.record("msgid", "CreateOrder");
    let otlp = tap.log("command_id", "order-42");
    let hec = eventually("Splunk has the event", || {
        splunk.events().into_iter().find(|e| e["event"]["command_id"] == "order-42")
    });
    let fields = [
        "env",
        "service",
        "hostname",
        "command",
        "command_id",
        "tags",
        "tag_shop",
        "tag_note",
        "direction",
        "protocol",
        "status",
        "outcome",
        "duration_ms",
        "attempt",
        "bytes_in",
        "bytes_out",
        "client",
        "upstream",
        "trace_id",
        "span_id",
    ];
    let data = syslog["data"].as_object().and_then(|d| d.values().next()).cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let heads = ["graygelf", "go-gelf", "rsyslog", "OTLP", "Splunk"].map(|h| format!("{h:<28}"));
    println!("{:<12} {}", "field", heads.join(" "));
    for field in fields {
        let all = [
            text(&gelf[format!("_{field}")]),
            text(&go[format!("_{field}")]),
            text(&data[field]),
            match field {
                // Who speaks is the resource there, and not in every record.
                "env" | "service" | "hostname" => text(&gelf[format!("_{field}")]),
                "trace_id" => text(&otlp["traceId"]),
                "span_id" => text(&otlp["spanId"]),
                _ => attribute(&otlp, field).unwrap_or_else(|| "null".to_owned()),
            },
            // What searches begin with is indexed apart from the event.
            text(if hec["event"][field].is_null() { &hec["fields"][field] } else { &hec["event"][field] }),
        ];
        println!("{field:<12} {:<28} {:<28} {:<28} {:<28} {}", all[0], all[1], all[2], all[3], all[4]);
        let number = |t: &str| t.parse::<f64>().ok();
        for other in &all[1..] {
            // OTLP has all nine decimals of a duration, the others three.
            let near = |a: f64, b: f64| (a - b).abs() < 0.001;
            let same = other == &all[0] || number(other).zip(number(&all[0])).is_some_and(|(a, b)| near(a, b));
            assert!(same, "{field}: {all:?}\n{syslog}\n{otlp}\n{hec}");
        }
        assert_ne!(all[0], "null", "{field} of {gelf}");
    }

    // And of its counters.
    let plain = "fourmi.test.payment.CreateOrder.success";
    let line = format!("'{plain}': 1");
    eventually("statsd has it", || statsd_says(management, "counters").contains(&line).then_some(()));
    // netdata draws its charts under names in lower case.
    netdata.counts(&plain.to_lowercase(), 1.0);
    collectd.counts(plain, 1.0);
    assert!(collectd.refused().is_empty(), "{:?}", collectd.refused());
    web.has(&format!("stats.counters.{plain}.count"), 1.0);
    prometheus_says(&prometheus, "sum(fourmi_commands_total{command=\"CreateOrder\",outcome=\"success\"})", |v| {
        v == 1.0
    });
    let tag = "fourmi.test.payment.tag.shop.7";
    netdata.counts(tag, 1.0);
    prometheus_says(&prometheus, "sum(fourmi_tag_total{tag=\"shop\",value=\"7\"})", |v| v == 1.0);
    println!("{plain} and {tag}: 1 in statsd, netdata, collectd, graphite-web, Prometheus");
}

#[test]
fn row_58_collectd_takes_plain_lines_and_refuses_tagged_ones() {
    let (worker, plain, tagged) = (Worker::echo(), Collectd::start(), Collectd::start());
    let fourmi = Setup::beside(worker.address())
        .metric_sink(format!("{{statsd: {{to: \"udp://127.0.0.1:{}\", interval: 200ms}}}}", plain.port()))
        .metric_sink(format!(
            "{{statsd: {{to: \"udp://127.0.0.1:{}\", dialect: datadog, interval: 200ms}}}}",
            tagged.port()
        ))
        .start();
    fourmi.post("/", "Fourmi-Command: Buy\r\n", "");
    plain.counts("fourmi.test.payment.Buy.success", 1.0);
    assert!(plain.refused().is_empty(), "{:?}", plain.refused());
    eventually("the tagged lines are refused, as the page on metrics says", || {
        tagged.refused().iter().any(|l| l.starts_with("fourmi.commands:1|c|#")).then_some(())
    });
}

use super::*;
use crate::sink::Dialect;
use crate::sink::StatsdPlace;
use crate::sink::logs::tests::values;
use crate::sink::record::tests::{identity, sample};
use serde_json::json;
use std::net::UdpSocket;

fn receiver() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

fn received(socket: &UdpSocket) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(n) = socket.recv(&mut buffer) {
        all.extend(std::str::from_utf8(&buffer[..n]).unwrap().lines().map(str::to_owned));
    }
    all
}

fn counted(lines: &[String], name: &str) -> u64 {
    lines.iter().filter_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.strip_suffix("|c")?.parse::<u64>().ok()).sum()
}

fn graylog(socket: &UdpSocket) -> LogSettings {
    let port = socket.local_addr().unwrap().port();
    let to = format!("udp://127.0.0.1:{port}");
    LogSettings::new("graylog", values(json!({"to": to, "compress": "none", "chunk": 1420}))).unwrap()
}

fn metrics(socket: &UdpSocket, interval: Duration) -> MetricSettings {
    let statsd = StatsdSettings {
        place: StatsdPlace::Udp { host: "127.0.0.1".into(), port: socket.local_addr().unwrap().port() },
        dialect: Dialect::Plain,
        interval,
        packet: 1432,
        samples: 64,
    };
    MetricSettings { labels: vec!["shop".into()], statsd: vec![statsd], otlp: Vec::new(), prometheus: true }
}

#[tokio::test]
async fn sums_add_up_over_reloads_and_the_end() {
    let (first, second, statsd) = (receiver(), receiver(), receiver());
    let who = identity(&[("team", "orders")]);
    let long = Duration::from_secs(60);
    let (hub, tellers) = Hub::new(&who, &[graylog(&first)], &metrics(&statsd, long), 2);
    hub.start();
    let tell = |tellers: Vec<Teller>| {
        let threads: Vec<_> = tellers
            .into_iter()
            .map(|teller| {
                let who = who.clone();
                std::thread::spawn(move || {
                    let x = sample(&who);
                    for _ in 0..50 {
                        teller.beginning(&x);
                        teller.told(&x);
                    }
                    teller.rejected("overloaded");
                    teller.connection(crate::exchange::ConnectionSide::Upstream, 1);
                    teller.beginning(&x);
                    teller
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    };
    let old = tell(tellers);
    // The log sink is replaced, the StatsD sink too (by its interval); the old tellers still tell.
    let new = hub.reload(&who, &[graylog(&second)], &metrics(&statsd, long * 2));
    let old = tell(old);
    let new = tell(new);
    let mut text = String::new();
    hub.prometheus(&mut text);
    let series = "{service=\"order\",command=\"CreateOrder\",route=\"worker\",direction=\"inbound\",protocol=\"http/1.1\",shop=\"7\"";
    for line in [
        format!("fourmi_commands_total{series},outcome=\"success\"}} 300"),
        format!("fourmi_command_duration_seconds_bucket{series},le=\"0.01\"}} 0"),
        format!("fourmi_command_duration_seconds_bucket{series},le=\"0.025\"}} 300"),
        format!("fourmi_command_duration_seconds_bucket{series},le=\"+Inf\"}} 300"),
        format!("fourmi_command_duration_seconds_count{series}}} 300"),
        "fourmi_tag_total{tag=\"shop\",value=\"7\"} 300".to_owned(),
        "fourmi_commands_in_flight{direction=\"inbound\"} 6".to_owned(),
        "fourmi_connections{side=\"upstream\"} 6".to_owned(),
        "fourmi_rejected_total{reason=\"overloaded\"} 6".to_owned(),
        "fourmi_reloads_total{result=\"ok\"} 0".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    drop((old, new));
    // A receiver's buffer holds fewer than come, so somebody reads.
    let [first, second, statsd] = [first, second, statsd].map(|socket| std::thread::spawn(move || received(&socket)));
    hub.shutdown(Duration::from_secs(2)).await;
    let [first, second, lines] = [first, second, statsd].map(|thread| thread.join().unwrap());
    assert_eq!((first.len(), second.len()), (200, 100));
    assert_eq!(counted(&lines, "fourmi.prod.order.CreateOrder.success"), 300, "{lines:?}");
    assert_eq!(counted(&lines, "fourmi.prod.order.tag.shop.7"), 300);
    text.clear();
    hub.prometheus(&mut text);
    assert!(text.contains("fourmi_sink_records_total{sink=\"graylog\",result=\"sent\"} 300\n"), "{text}");
    assert!(text.contains(&format!("{series},outcome=\"success\"}} 300\n")), "sums outlive the workers");
}

#[tokio::test]
async fn silence_after_one_command_is_told_by_the_clock() {
    let statsd = receiver();
    let who = identity(&[]);
    let (hub, tellers) = Hub::new(&who, &[], &metrics(&statsd, Duration::from_millis(100)), 1);
    hub.start();
    tellers[0].told(&sample(&who));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let lines = received(&statsd);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(counted(&lines, "fourmi.prod.order.CreateOrder.success"), 1);
    let stats = hub.stats();
    assert_eq!((stats[0].sink, stats[0].sent, stats[0].dropped_error), ("statsd", 3, 0));
}

#[tokio::test]
async fn a_full_ring_drops_and_counts() {
    let socket = receiver();
    let who = identity(&[]);
    let settings = MetricSettings { labels: Vec::new(), statsd: Vec::new(), otlp: Vec::new(), prometheus: false };
    // Not started: nobody empties the ring.
    let (hub, tellers) = Hub::new(&who, &[graylog(&socket)], &settings, 1);
    let x = sample(&who);
    for _ in 0..20_000 {
        tellers[0].told(&x);
    }
    let lost = hub.stats()[0].dropped_full;
    assert!(lost > 0 && lost < 20_000, "{lost}");
    hub.start();
    drop(tellers);
    hub.shutdown(Duration::from_secs(5)).await;
    // In the burst that follows the sink's own ring may overflow as well; every record is counted once.
    let s = &hub.stats()[0];
    assert_eq!((s.sent + s.dropped_full, s.dropped_error), (20_000, 0));
}

#[test]
fn the_text_of_metrics_is_escaped_and_in_order() {
    let who = identity(&[]);
    let settings =
        MetricSettings { labels: vec!["shop".into()], statsd: Vec::new(), otlp: Vec::new(), prometheus: true };
    let (hub, tellers) = Hub::new(&who, &[], &settings, 1);
    let mut x = sample(&who);
    x.command.tags = vec![("shop".into(), "a\"b\\c\nd".into())];
    tellers[0].told(&x);
    hub.set_instances("order", "up", 3);
    hub.set_certificates([("a.pem".to_owned(), 1_796_807_012)].into());
    hub.count_reload(true);
    let mut text = String::new();
    hub.prometheus(&mut text);
    assert!(text.contains(r#"shop="a\"b\\c\nd""#), "{text}");
    assert!(text.contains("fourmi_certificate_expires_timestamp_seconds{file=\"a.pem\"} 1796807012\n"));
    assert!(text.contains("fourmi_instances{service=\"order\",state=\"up\"} 3\n"));
    let mut family = "";
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => family = rest.split(' ').next().unwrap(),
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(family), "{line} under {family}"),
        }
    }
    if let Some(path) = std::env::var_os("FOURMI_METRICS_TO") {
        std::fs::write(path, &text).unwrap();
    }
}

use super::known::number;
use super::*;
use crate::exchange::{
    Caller, Consumer, Credential, Direction, Exchange, FaultKind, Headers, Named, Via, Wants, Whole,
};
use crate::sink::entry::{self, Entry, What};
use crate::sink::fields::Who;
use crate::sink::record::tests::{identity, sample};
use crate::sink::{LogSettings, MetricSettings, Redactor, StatsdPlace};
use serde_json::Value as Json;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

pub(super) const SERVICE: &str = "00000000-0000-0000-0000-000000000001";
pub(super) const ROUTE: &str = "00000000-0000-0000-0000-000000000002";
pub(super) const CONSUMER: &str = "00000000-0000-0000-0000-000000000003";
const CREDENTIAL: &str = "00000000-0000-0000-0000-000000000004";

/// Whom the tests know.
pub(super) fn known() -> Arc<Known> {
    let entity = |id: &str, name: &str, other: Option<&str>| {
        let json = json!({"id": id, "name": name}).to_string().into();
        let name = Some(name.into());
        (number(id), Entity { json, id: id.into(), name, other: other.map(Box::from), groups: vec![7] })
    };
    Arc::new(Known {
        services: [entity(SERVICE, "shop.orders", Some("orders.test"))].into(),
        routes: [entity(ROUTE, "all", None)].into(),
        consumers: [entity(CONSUMER, "ann", Some("c-7"))].into(),
        redactor: Redactor::new(&["x-key".to_owned()], &["k".to_owned()], &[]),
        correlation: vec!["kong-request-id".to_owned()],
    })
}

fn named(id: &str) -> Option<Named> {
    Some(Named { id: id.into(), name: None, label: "l".into() })
}

/// A command that came through a gateway, as the road leaves it.
pub(super) fn exchange() -> Exchange {
    let mut x = sample(&identity(&[]));
    x.request.set_target("/v1/orders", Some("a=1&k=secret&a=2&flag&b=x%20y+z&token=secret"));
    x.request.authority = "shop.test:8000".into();
    for (name, value) in [
        ("host", "orders.test"),
        ("authorization", "Bearer secret"),
        ("x-key", "secret"),
        ("accept", "a"),
        ("accept", "b"),
        ("kong-request-id", "uuid#1"),
        ("cookie", "session=secret"),
    ] {
        x.request.headers.append(name, value);
    }
    let mut whole = Whole::begin(Wants::All, &x.request).unwrap();
    x.request.authority = "orders.test".into();
    whole.port = 8000;
    whole.target = "/orders?a=1&k=secret&a=2&flag&b=x%20y+z&token=secret".into();
    whole.head_in = 300;
    let mut answer = Headers::default();
    answer.append("content-type", "text/plain");
    answer.append("set-cookie", "session=secret");
    whole.answered(&answer, false);
    whole.head_out = 100;
    x.whole = Some(whole);
    x.via = Some(Arc::new(Via { route: named(ROUTE), service: named(SERVICE) }));
    x.caller = Caller {
        consumer: Some(Arc::new(Consumer {
            id: CONSUMER.into(),
            username: Some("ann".into()),
            custom_id: Some("c-7".into()),
            place: 0,
            acls: Box::default(),
            groups: Box::default(),
        })),
        credential: Some(Credential { id: CREDENTIAL.into(), identifier: "i".into() }),
        ..Caller::default()
    };
    x
}

/// It was refused before any instance saw it, and nobody knows who called.
pub(super) fn refused() -> Exchange {
    let mut x = exchange();
    x.caller = Caller::default();
    (x.timings.sent, x.timings.answered, x.upstream, x.status) = (None, None, None, 401);
    x
}

/// Its entry, by the way that it goes.
pub(super) fn entry(x: &Exchange, wants: Wants) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entry = Entry::of(What::Command, x);
    entry.whole = entry::Whole::of(x, wants);
    entry.write(&mut bytes);
    bytes
}

/// A plugin that holds for everything.
fn everywhere(name: &'static str, to: To) -> Plugin {
    let choice = Choice::new([(Scope::default(), 1)].into_iter());
    Plugin { name, id: 1, direction: Direction::Inbound, choice: Arc::new(choice), known: known(), buffer: 1 << 20, to }
}

/// What a plugin writes of a command.
pub(super) fn written(plugin: Plugin, x: &Exchange) -> Option<Vec<u8>> {
    let wants = plugin.to.wants();
    let mut sink = build(&Arc::new(plugin), &Arc::default()).unwrap();
    let bytes = entry(x, wants);
    let mut out = Vec::new();
    let told = sink.encode.encode(&mut out, &Entry::read(&bytes).unwrap(), &Who::new(&identity(&[])));
    told.then_some(out)
}

fn place() -> Place {
    Place { host: "127.0.0.1".into(), port: 9 }
}

#[test]
fn what_is_packed_is_read_and_torn_bytes_are_refused() {
    let x = exchange();
    let bytes = entry(&x, Wants::All);
    let read = Entry::read(&bytes).unwrap();
    let whole = read.whole.as_ref().unwrap();
    assert_eq!((whole.route, whole.service, whole.consumer, whole.credential), (ROUTE, SERVICE, CONSUMER, CREDENTIAL));
    assert_eq!((whole.head_in, whole.head_out, whole.port, whole.answered), (300, 100, 8000, true));
    assert_eq!((whole.headers.len(), whole.answer.len()), (7, 2));
    let mut again = Vec::new();
    read.write(&mut again);
    assert_eq!(again, bytes);
    for n in 0..bytes.len() {
        let _ = Entry::read(&bytes[..n]);
        for flip in [1, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[n] ^= flip;
            if let Some(whole) = Entry::read(&other).and_then(|e| e.whole) {
                whole.headers.iter().chain(whole.answer.iter()).count();
            }
        }
    }
    let few = entry(&x, Wants::Numbers);
    assert!(few.len() < bytes.len() && !String::from_utf8_lossy(&few).contains("orders?"), "no lines, no targets");
    assert!(Entry::read(&entry(&x, Wants::Nothing)).unwrap().whole.is_none());
}

#[test]
fn severities_choose_the_level_and_what_is_sent() {
    let severities = Severities { least: 6, successful: 7, client: 4, server: 3 };
    let syslog = |x: &Exchange| {
        written(everywhere("syslog", To::Syslog(Syslog { severities, facility: 17 })), x)
            .map(|line| String::from_utf8(line).unwrap())
    };
    assert_eq!(syslog(&exchange()), None, "debug is less grave than info");
    let line = syslog(&refused()).unwrap();
    // Local time, the day padded with a space, as the C library has it.
    let (head, object) = line.split_once(": ").unwrap();
    let day = head.strip_prefix("<140>Nov 1").unwrap_or_else(|| panic!("{head}"));
    assert!(day.len() > "4 22:13:20".len() && head.ends_with(&format!(" kong[{}]", std::process::id())), "{head}");
    assert_eq!(serde_json::from_str::<Json>(object).unwrap()["response"]["status"], 401);

    let loggly = Loggly { place: place(), key: "t0ken".into(), tags: vec!["a".into(), "b".into()], severities };
    let mut failed = refused();
    failed.status = 503;
    let line = String::from_utf8(written(everywhere("loggly", To::Loggly(loggly)), &failed).unwrap()).unwrap();
    let head = "<11>1 2023-11-14T22:13:20.125Z pay-3 kong - - [t0ken@41058 tag=\"a\" tag=\"b\"] {";
    assert!(line.starts_with(head), "{line}");
}

#[test]
fn exactly_one_configuration_of_a_plugin_is_told() {
    let at =
        |route: &str, consumer: &str| Scope { route: number(route), consumer: number(consumer), ..Scope::default() };
    let scopes = [Scope::default(), at(ROUTE, ""), at("", CONSUMER), Scope { group: 7, ..Scope::default() }];
    let choice = Arc::new(Choice::new(scopes.into_iter().zip(1..)));
    let [mut elsewhere, mut outbound] = [refused(), refused()];
    (elsewhere.via, outbound.via, outbound.direction) = (None, None, Direction::Outbound);
    for (x, expected) in [(exchange(), Some(3)), (refused(), Some(2)), (elsewhere, Some(1)), (outbound, None)] {
        let told = (1..=4).filter(|id| {
            let plugin = Plugin { id: *id, choice: choice.clone(), ..everywhere("udp-log", To::Udp(place())) };
            written(plugin, &x).is_some()
        });
        assert_eq!(told.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn only_the_traces_that_are_asked_for_are_told() {
    let otlp = || Otlp {
        url: "http://127.0.0.1:9/v1/traces".into(),
        headers: Vec::new(),
        resource: vec![("service.name".into(), "kong".into())],
        timeout: Duration::from_secs(1),
    };
    let told =
        |ratio, x: &Exchange| written(everywhere("opentelemetry", To::Spans(otlp(), Recorded { ratio })), x).is_some();
    let mut x = exchange();
    x.trace.trace_id = u128::MAX;
    assert!(told(1.0, &x) && !told(0.5, &x), "the share is that of the ids");
    x.trace.parent_span = 5;
    assert!(told(0.0, &x), "what a caller records is recorded");
    x.trace.flags = 0;
    assert!(!told(1.0, &x), "and what it does not is not");
    assert!(written(everywhere("opentelemetry", To::Records(otlp())), &x).is_some());
}

/// From the data thread's side to a receiver's, and over a change of the configuration.
#[tokio::test]
async fn sinks_of_a_file_send_what_the_road_tells() {
    use crate::sink::Hub;
    let receiver = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, Place { host: "127.0.0.1".into(), port })
    };
    let ((log, log_at), (numbers, numbers_at)) = (receiver(), receiver());
    let statsd = Statsd {
        place: StatsdPlace::Udp { host: numbers_at.host, port: numbers_at.port },
        packet: 0,
        interval: Duration::from_millis(100),
        prefix: "kong".into(),
        hostname: false,
        metrics: vec![Metric {
            of: Of::StatusCountPerUser,
            kind: StatKind::Counter,
            consumer: Some(ConsumerName::Username),
            service: ServiceName::NameOrHost,
            workspace_name: false,
            tags: Vec::new(),
        }],
        tags: TagStyle::None,
        allow: None,
    };
    let switches = Switches { status: true, ..Switches::default() };
    let plugins = [
        everywhere("udp-log", To::Udp(log_at)),
        everywhere("statsd", To::Statsd(statsd)),
        everywhere("prometheus", To::Prometheus(switches)),
    ];
    let logs: Vec<LogSettings> = plugins.into_iter().map(|p| LogSettings::plugin(p).unwrap()).collect();
    let metrics = MetricSettings { labels: Vec::new(), statsd: Vec::new(), otlp: Vec::new(), prometheus: true };
    let identity = identity(&[]);
    let (hub, tellers) = Hub::new(&identity, &logs, &metrics, 1);
    hub.start();
    let told = || {
        let x = exchange();
        assert!(x.whole.is_some());
        x
    };
    tellers[0].told(&told());
    tellers[0].told(&told());
    let heard = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 65_536];
        let n = log.recv(&mut buffer).unwrap();
        let object: Json = serde_json::from_slice(&buffer[..n]).unwrap();
        // Both may have come in one interval, or each in its own.
        let (mut sum, mut lines) = (0, Vec::new());
        while sum < 2 {
            let n = numbers.recv(&mut buffer).unwrap();
            let line = String::from_utf8(buffer[..n].to_vec()).unwrap();
            let (name, rest) = line.split_once(':').unwrap();
            assert_eq!(name, "kong.service.shop_orders.user.ann.status.200");
            sum += rest.strip_suffix("|c").unwrap().parse::<u64>().unwrap();
            lines.push(line);
        }
        assert_eq!(sum, 2, "{lines:?}");
        object
    });
    let object = heard.await.unwrap();
    assert_eq!(object["service"]["id"], SERVICE);
    // A reload with the same plugins keeps them, and the series go on; without the plugin they are not shown.
    let tellers = hub.reload(&identity, &logs, &metrics);
    tellers[0].told(&told());
    let text = || {
        let mut out = String::new();
        hub.prometheus(&mut out);
        out
    };
    let series = "kong_http_requests_total{service=\"shop.orders\",route=\"all\",code=\"200\",source=\"service\",\
                  workspace=\"default\",consumer=\"\"} 3";
    let until = Instant::now() + Duration::from_secs(20);
    while !text().contains(series) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(text().contains(series), "{}", text());
    let stats = hub.stats();
    assert!(stats.iter().any(|s| s.sink == "udp-log" && s.sent >= 2), "{stats:?}");
    drop(tellers);
    hub.reload(&identity, &logs[..2], &metrics);
    assert!(!text().contains("kong_http_requests_total"));
    hub.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn a_failed_try_has_its_place_and_code() {
    let mut x = exchange();
    let at = x.timings.start + Duration::from_millis(5);
    x.attempt_failed(&"http://10.0.0.1:81".into(), at, FaultKind::Unreachable, "no");
    let object = written(everywhere("udp-log", To::Udp(place())), &x).unwrap();
    let object: Json = serde_json::from_slice(&object).unwrap();
    let tries = object["tries"].as_array().unwrap();
    let told = |t: &Json| (t["ip"].clone(), t["port"].clone(), t["state"].clone(), t["code"].clone());
    assert_eq!(told(&tries[0]), (json!("10.0.0.1"), json!(81), json!("failed"), json!(502)));
    assert_eq!(told(&tries[1]), (json!("127.0.0.1"), json!(8080), Json::Null, Json::Null));
    let start = |n: usize| tries[n]["balancer_start"].as_u64().unwrap();
    assert_eq!(start(1) - start(0), 5);
}

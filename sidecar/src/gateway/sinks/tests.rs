use super::*;
use crate::gateway::entity::{Consumer, PathHandling, Route, Service};
use serde_json::{Value as Json, json};

fn plugin(name: &str, config: Json) -> Plugin {
    Plugin {
        id: Id::of("plugins", &format!("{name}{config}")),
        name: name.to_owned(),
        instance_name: None,
        service: None,
        route: None,
        consumer: None,
        consumer_group: None,
        config,
        protocols: vec![Protocol::Http],
        enabled: true,
        tags: Vec::new(),
    }
}

fn read(name: &str, config: Json) -> Result<Asked, Vec<Wrong>> {
    let (_, read) = ALL.iter().find(|(n, _)| *n == name).unwrap();
    read(&plugin(name, config))
}

fn one(name: &str, config: Json) -> To {
    let mut asked = read(name, config.clone()).unwrap_or_else(|w| panic!("{name} {config}: {w:?}"));
    assert_eq!(asked.to.len(), 1, "{name} {config}");
    asked.to.remove(0)
}

#[test]
fn every_default_is_kongs() {
    let To::Http(http) = one("http-log", json!({"http_endpoint": "http://h/x"})) else { panic!() };
    assert_eq!(
        (http.method, http.content_type, http.timeout.as_secs(), http.batch),
        ("POST", "application/json", 10, 1)
    );
    assert_eq!(http.linger.as_secs(), 1);
    let To::Loggly(loggly) = one("loggly", json!({"key": "k"})) else { panic!() };
    assert_eq!((loggly.place.host.as_str(), loggly.place.port), ("logs-01.loggly.com", 514));
    let kong::Severities { least, successful, client, server } = loggly.severities;
    assert_eq!((loggly.tags, least, successful, client, server), (vec!["kong".to_owned()], 6, 6, 6, 6));
    let To::Syslog(syslog) = one("syslog", json!({})) else { panic!() };
    assert_eq!(syslog.facility, 1);
    let To::Statsd(statsd) = one("statsd", Json::Null) else { panic!() };
    assert_eq!((statsd.place.to_string().as_str(), statsd.packet), ("udp://localhost:8125", 0));
    assert_eq!((statsd.prefix.as_str(), statsd.metrics.len(), statsd.allow), ("kong", 13, None));
    let kinds = |of: kong::Of| statsd.metrics.iter().find(|m| m.of == of).unwrap().kind;
    assert_eq!(
        (kinds(kong::Of::RequestSize), kinds(kong::Of::Latency)),
        (kong::StatKind::Counter, kong::StatKind::Timer)
    );
    let To::Statsd(datadog) = one("datadog", json!({})) else { panic!() };
    assert!(datadog.metrics.len() == 6 && datadog.metrics.iter().all(|m| m.tags == ["app:kong"]));
    let To::Prometheus(switches) = one("prometheus", json!({})) else { panic!() };
    assert_eq!(switches, kong::Switches::default());
    let asked = read("opentelemetry", json!({"traces_endpoint": "http://c:4318/v1/traces"})).unwrap();
    assert_eq!((asked.to.len(), asked.sampling), (1, Some(0.01)));
    let To::Spans(spans, _) = &asked.to[0] else { panic!() };
    assert_eq!(spans.resource, [("service.name".to_owned(), "kong".to_owned())]);
    let asked = read("zipkin", json!({"http_endpoint": "http://z:9411/api/v2/spans"})).unwrap();
    assert_eq!(asked.sampling, Some(0.001));
    assert!(read("zipkin", json!({})).unwrap().to.is_empty(), "without a receiver nothing is told");
}

#[test]
fn what_is_said_is_taken() {
    let To::Http(http) = one(
        "http-log",
        json!({
            "http_endpoint": "https://us%65r:pa%3Ass@h:8443/in?x=1", "method": "PUT", "timeout": 500, "keepalive": 1,
            "content_type": "application/json; charset=utf-8", "headers": {"X-Team": "orders"},
            "queue": {"max_batch_size": 20, "max_coalescing_delay": 0.5, "concurrency_limit": -1, "max_bytes": 1 << 20},
            "custom_fields_by_lua": {},
        }),
    ) else {
        panic!()
    };
    assert_eq!((http.url.as_str(), http.method, http.batch), ("https://h:8443/in?x=1", "PUT", 20));
    let basic = ("authorization".to_owned(), "Basic dXNlcjpwYTpzcw==".to_owned());
    assert_eq!(http.headers, [("X-Team".to_owned(), "orders".to_owned()), basic]);
    assert_eq!((http.timeout.as_millis(), http.linger.as_millis()), (500, 500));
    // What stood in the place of `queue` before.
    let config = json!({"http_endpoint": "http://h", "queue_size": 5, "flush_timeout": 3, "retry_count": 1});
    let To::Http(http) = one("http-log", config) else { panic!() };
    assert_eq!((http.batch, http.linger.as_secs()), (5, 3));
    let To::Tcp(tcp) = one("tcp-log", json!({"host": "h", "port": 9000, "tls": true, "tls_sni": "s"})) else {
        panic!()
    };
    assert!(tcp.tls && tcp.sni.as_deref() == Some("s") && tcp.place.port == 9000);
    let To::Statsd(statsd) = one(
        "statsd",
        json!({
            "host": "s", "port": 1, "use_tcp": true, "udp_packet_size": 1000, "tag_style": "influxdb",
            "allow_status_codes": ["200-299", "404-404"], "consumer_identifier_default": "username",
            "metrics": [
                {"name": "unique_users", "stat_type": "set", "consumer_identifier": "consumer_id"},
                {"name": "latency", "stat_type": "histogram", "service_identifier": "service_host"},
            ],
        }),
    ) else {
        panic!()
    };
    assert_eq!((statsd.place.to_string().as_str(), statsd.packet), ("tcp://s:1", 1000));
    assert_eq!((statsd.tags, statsd.allow), (kong::TagStyle::Influxdb, Some(vec![(200, 299), (404, 404)])));
    let told: Vec<_> = statsd.metrics.iter().map(|m| (m.consumer, m.service)).collect();
    use kong::{ConsumerName as C, ServiceName as S};
    assert_eq!(told, [(Some(C::Id), S::NameOrHost), (Some(C::Username), S::Host)]);
    let both =
        json!({"traces_endpoint": "http://c/v1/traces", "logs_endpoint": "http://c/v1/logs", "sampling_rate": 1});
    assert_eq!(read("opentelemetry", both).unwrap().to.len(), 2);
}

#[test]
fn mistakes_are_told_all_at_once_in_kongs_words() {
    for (name, config, expected) in [
        ("http-log", json!({}), vec![("http_endpoint", "required field missing")]),
        (
            "http-log",
            json!({"http_endpoint": "h", "method": "GET", "headers": {"host": "x"}, "queue": {"max_batch_size": 0}, "tmeout": 1}),
            vec![
                ("headers", "cannot contain 'Host' header"),
                ("http_endpoint", "missing host in url"),
                ("method", "expected one of: POST, PUT, PATCH"),
                ("queue.max_batch_size", "value should be between 1 and 1000000"),
                ("tmeout", "unknown field"),
            ],
        ),
        (
            "tcp-log",
            json!({"host": "a b", "port": 70_000}),
            vec![("host", "invalid value: a b"), ("port", "value should be between 0 and 65535")],
        ),
        ("udp-log", json!({}), vec![("host", "required field missing"), ("port", "required field missing")]),
        ("file-log", json!({"path": "/tmp/*.log"}), vec![("path", "not a valid filename")]),
        (
            "syslog",
            json!({"log_level": "error"}),
            vec![("log_level", "expected one of: emerg, alert, crit, err, warning, notice, info, debug")],
        ),
        (
            "statsd",
            json!({"allow_status_codes": ["2xx"], "metrics": [
                {"name": "unique_users", "stat_type": "counter", "sample_rate": 1},
                {"name": "latency", "stat_type": "gauge"},
                {"stat_type": "counter", "sample_rate": 0},
            ]}),
            vec![
                ("allow_status_codes[0]", "invalid value: 2xx"),
                ("metrics[0].stat_type", "value must be set"),
                ("metrics[1].sample_rate", "required field missing"),
                ("metrics[2].name", "required field missing"),
                ("metrics[2].sample_rate", "value must be greater than 0"),
            ],
        ),
        (
            "datadog",
            json!({"metrics": [{"name": "status_count", "stat_type": "counter", "sample_rate": 1, "tags": ["a:"]}]}),
            vec![
                (
                    "metrics[0].name",
                    "expected one of: kong_latency, latency, request_count, request_size, response_size, upstream_latency",
                ),
                ("metrics[0].tags[0]", "invalid value: a:"),
            ],
        ),
        ("prometheus", json!({"per_consumer": "yes"}), vec![("per_consumer", "expected a boolean")]),
        (
            "opentelemetry",
            json!({"http_response_header_for_traceid": "X-T", "header_type": "jaeger"}),
            vec![
                ("@entity", "at least one of these fields must be non-empty: 'traces_endpoint', 'logs_endpoint'"),
                ("header_type", "`jaeger` is not supported yet"),
                ("http_response_header_for_traceid", "this header is not supported yet"),
            ],
        ),
        ("zipkin", json!({"traceid_byte_count": 9}), vec![("traceid_byte_count", "expected one of: 8, 16")]),
    ] {
        let mut wrong = read(name, config.clone()).err().unwrap_or_else(|| panic!("{name} {config} is taken"));
        wrong.sort_by(|a, b| a.field.cmp(&b.field));
        let told: Vec<_> = wrong.iter().map(|w| (w.field.as_str(), w.message.as_str())).collect();
        assert_eq!(told, expected, "{name} {config}");
        assert!(wrong.iter().all(|w| !w.fix.is_empty()), "{wrong:?}");
    }
    // What only the sender sees has its field, too, and its plugin's place.
    let plugins = vec![plugin("acl", json!({})), plugin("http-log", json!({"http_endpoint": "ftp://h"}))];
    let wrong = sinks(&Entities { plugins, ..Entities::default() }).unwrap_err();
    assert!(wrong.len() == 1 && wrong[0].0 == 1 && wrong[0].1.field == "http_endpoint", "{wrong:?}");
}

#[test]
fn a_file_has_a_sink_for_every_plugin_that_holds() {
    let mut off = plugin("udp-log", json!({"host": "h", "port": 1}));
    off.enabled = false;
    let mut stream = plugin("udp-log", json!({"host": "h", "port": 2}));
    stream.protocols = vec![Protocol::Tcp];
    let otel = json!({"traces_endpoint": "http://c", "logs_endpoint": "http://c", "sampling_rate": 0.5});
    let plugins = vec![
        plugin("key-auth", json!({"key_names": ["x-my-key"]})),
        off,
        stream,
        plugin("udp-log", json!({"host": "h", "port": 3})),
        plugin("prometheus", json!({})),
        plugin("opentelemetry", otel),
        plugin("zipkin", json!({"http_endpoint": "http://z", "sample_ratio": 0.25})),
    ];
    let mut entities = Entities { plugins, ..Entities::default() };
    let made = sinks(&entities).unwrap();
    let names: Vec<_> = made.logs.iter().map(LogSettings::name).collect();
    assert_eq!(names, ["udp-log", "prometheus", "opentelemetry", "opentelemetry", "zipkin"]);
    assert_eq!((made.prometheus, made.sampling), (true, Some(0.5)));
    let wants: Vec<_> = made.logs.iter().map(LogSettings::wants).collect();
    use crate::exchange::Wants::{All, Numbers};
    assert_eq!(wants, [All, Numbers, Numbers, Numbers, All]);
    // The same file gives the same sinks, another one others.
    let again = sinks(&entities).unwrap();
    assert!(made.logs == again.logs);
    entities.plugins[3].config = json!({"host": "h", "port": 4});
    assert!(made.logs != sinks(&entities).unwrap().logs);
}

#[test]
fn entities_are_shown_without_what_they_do_not_have() {
    let service = Service {
        id: Id::of("services", "orders"),
        name: Some("orders".to_owned()),
        enabled: true,
        protocol: Protocol::Http,
        host: "orders.test".to_owned(),
        port: 80,
        path: None,
        retries: 5,
        connect_timeout: 60_000,
        write_timeout: 60_000,
        read_timeout: 60_000,
        client_certificate: None,
        tls_verify: None,
        tls_verify_depth: None,
        ca_certificates: None,
        tags: Vec::new(),
    };
    let route = Route {
        id: Id::of("routes", "all"),
        name: Some("all".to_owned()),
        service: Some(0),
        protocols: vec![Protocol::Http, Protocol::Https],
        hosts: Vec::new(),
        paths: vec!["/orders".to_owned()],
        methods: Vec::new(),
        headers: Vec::new(),
        snis: Vec::new(),
        sources: Vec::new(),
        destinations: Vec::new(),
        regex_priority: 0,
        strip_path: true,
        preserve_host: false,
        https_redirect_status_code: 426,
        path_handling: PathHandling::V0,
        request_buffering: true,
        response_buffering: true,
        tags: vec!["a".to_owned()],
        order: 0,
    };
    let consumer = Consumer {
        id: Id::of("consumers", "ann"),
        username: Some("ann".to_owned()),
        custom_id: None,
        groups: Vec::new(),
        tags: Vec::new(),
    };
    let entities = Entities {
        services: vec![service],
        routes: vec![route],
        consumers: vec![consumer],
        plugins: vec![plugin("key-auth", json!({"key_names": ["x-my-key"]})), plugin("correlation-id", json!({}))],
        ..Entities::default()
    };
    let known = entities::known(&entities);
    let shown = |entity: &kong::Entity| serde_json::from_str::<Json>(&entity.json).unwrap();
    let id = |list, name| Id::of(list, name).to_string();
    let ws = "0dc6f45b-8f8d-40d2-a504-473544ee190b";
    assert_eq!(
        shown(&known.services[&Id::of("services", "orders").number()]),
        json!({
            "id": "580c8aca-d632-5804-b307-a24326e1e2d5", "name": "orders", "enabled": true, "protocol": "http",
            "host": "orders.test", "port": 80, "retries": 5, "connect_timeout": 60_000, "write_timeout": 60_000,
            "read_timeout": 60_000, "ws_id": ws,
        })
    );
    assert_eq!(
        shown(&known.routes[&Id::of("routes", "all").number()]),
        json!({
            "id": id("routes", "all"), "name": "all", "service": {"id": id("services", "orders")},
            "protocols": ["http", "https"], "paths": ["/orders"], "regex_priority": 0, "strip_path": true,
            "preserve_host": false, "https_redirect_status_code": 426, "path_handling": "v0",
            "request_buffering": true, "response_buffering": true, "tags": ["a"], "ws_id": ws,
        })
    );
    let consumers = &known.consumers[&Id::of("consumers", "ann").number()];
    assert_eq!(shown(consumers), json!({"id": id("consumers", "ann"), "username": "ann", "ws_id": ws}));
    // Keys are credentials under the names that the file gives them.
    assert_eq!(known.redactor.header("X-My-Key", "v"), "[redacted]");
    assert_eq!(known.redactor.query("x-my-key=v&a=1"), "x-my-key=[redacted]&a=1");
    assert_eq!(known.correlation, ["kong-request-id"]);
}

use super::*;
use crate::command::Codec;
use crate::exchange::Direction;
use crate::pipeline::{Limits, Timeouts};
use crate::sink::Dialect;
use crate::upstream::{Place, Scheme};
use std::time::Duration;

mod admin;
mod habits;
mod healthchecks;
mod secrets;
mod sinks;

fn good(text: &str) -> Loaded {
    match parse("fourmi.yaml", text, &[]) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{report}"),
    }
}

/// `line:column code` of every problem.
fn bad(text: &str) -> Vec<String> {
    parse("fourmi.yaml", text, &[]).map_or_else(|report| places(&report), |_| vec!["accepted".to_owned()])
}

fn places(report: &Report) -> Vec<String> {
    report.problems.iter().map(|p| format!("{}:{} {}", p.line, p.column, p.code)).collect()
}

fn root_file(name: &str) -> String {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).display().to_string()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let plan = good("").plan;
    assert_eq!(plan.timeouts, Timeouts::default());
    assert_eq!(plan.limits, Limits::default());
    assert_eq!(plan.threads, 1);
    assert_eq!(&*plan.identity.service, &*plan.identity.hostname);
    assert_eq!(&*plan.identity.env, "development");
    assert_eq!(plan.logs.iter().map(|l| l.name()).collect::<Vec<_>>(), ["stdout"]);
    assert!(plan.metrics.prometheus && plan.metrics.statsd.is_empty());
    assert!(plan.listeners.is_empty() && plan.worker.is_none());
    assert_eq!(plan.admin.as_ref().map(|a| a.listen.to_string()).as_deref(), Some("127.0.0.1:9901"));
    assert_eq!(plan.trusted.len(), 2);
}

#[test]
fn a_worker_alone_opens_inbound() {
    let plan = good("worker: http://localhost:8080/\n").plan;
    assert_eq!(plan.listeners.len(), 1);
    assert_eq!(plan.listeners[0].bind, Bind::Tcp(([0, 0, 0, 0], 25001).into()));
    assert_eq!(plan.worker.as_ref().map(|w| w.ready.clone()), Some(Ready::Connect));
}

#[test]
fn every_supported_key_is_read() {
    let text = "
service: payment
env: production
tags: {team: orders, shop: 7}
hostname: pay-3
threads: 3
worker:
  address: [http://10.0.0.1:8080, 'h2c://[::1]:9', unix:/run/w.sock, h2c+unix:/run/x.sock]
  ready: {http: /healthz, interval: 250ms}
inbound:
  - {listen: 'http://[::]:1000', proxy_protocol: true}
  - listen: unix:/tmp/f.sock
outbound:
  - listen: http://127.0.0.1:15001
    services:
      Mail: {address: http://mail:25}
      bank: {address: [http://a, http://b]}
trusted: [10.0.0.0/8, 192.168.1.1]
commands:
  identify: {name: /command, id: /id, tags: {shop: /a~1b}, codec: prooph}
timeouts: {head: 1s, idle: 1m30s, connect: 5ms, answer: 1h, whole: 2m, upstream_idle: 1s, drain: 0s, hold: 1s}
limits: {head: 8KiB, headers: 10, body: 10MB, connections: 5}
logs:
  - stdout: {format: json}
  - graylog: {to: udp://Graylog, compress: zlib, chunk: 8192}
metrics:
  labels: [team, shop, team]
  sinks:
    - statsd: {to: 'udp://[::1]:9125', dialect: datadog, interval: 1s, packet: 512}
admin: {listen: 127.0.0.1:1234}
";
    let loaded = good(text);
    assert_eq!(loaded.warnings, []);
    let plan = loaded.plan;
    assert_eq!(
        plan.identity.tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["team=orders", "shop=7"]
    );
    let worker = plan.worker.as_ref().expect("there is a worker");
    let shown: Vec<String> = worker.addresses.iter().map(|a| a.target.to_string()).collect();
    assert_eq!(shown, ["http://10.0.0.1:8080", "h2c://[::1]:9", "unix:/run/w.sock", "h2c+unix:/run/x.sock"]);
    assert_eq!(worker.ready, Ready::Http { path: "/healthz".into(), interval: Duration::from_millis(250) });
    assert_eq!(plan.listeners.len(), 3);
    assert!(plan.listeners[0].proxy_protocol && !plan.listeners[1].proxy_protocol);
    assert_eq!(plan.listeners[2].direction, Direction::Outbound);
    assert_eq!(&*plan.outbound[0].name, "mail");
    assert_eq!(plan.outbound[1].addresses.len(), 2);
    assert_eq!(plan.outbound[1].addresses[0].target.place, Place::Tcp("a".into(), 80));
    assert_eq!(plan.outbound[1].addresses[0].target.scheme, Scheme::Http);
    assert_eq!(plan.trusted[1].to_string(), "192.168.1.1/32");
    assert_eq!((plan.identify.codec, plan.identify.name.as_deref()), (Some(Codec::Prooph), Some("/command")));
    assert_eq!(plan.timeouts.whole, Some(Duration::from_secs(120)));
    assert_eq!((plan.timeouts.idle, plan.timeouts.drain), (Duration::from_secs(90), Duration::ZERO));
    assert_eq!((plan.limits.head, plan.limits.body), (8192, 10_000_000));
    let graylog = &plan.logs[1];
    assert_eq!((graylog.name(), graylog.value("chunk")), ("graylog", Some(&8192.into())));
    assert_eq!((graylog.value("compress"), graylog.value("sample")), (Some(&"zlib".into()), Some(&1.0.into())));
    assert_eq!(plan.metrics.labels, ["team", "shop"]);
    assert_eq!(
        (plan.metrics.statsd[0].place.to_string(), plan.metrics.statsd[0].dialect),
        ("udp://[::1]:9125".to_owned(), Dialect::Datadog)
    );
    assert!(!plan.metrics.prometheus);
}

#[test]
fn short_forms_and_switches() {
    let plan = good("worker: [http://a:1, http://b:2]\nadmin: off\nlogs: []\nmetrics: {sinks: [prometheus]}\n").plan;
    assert_eq!(plan.worker.as_ref().map(|w| w.addresses.len()), Some(2));
    assert!(plan.admin.is_none() && plan.logs.is_empty() && plan.metrics.prometheus);
    let plan = good("admin: false\nmetrics: {sinks: []}\nlogs:\n  - stdout:\nworker: http://a\ninbound: []\n").plan;
    assert!(plan.admin.is_none() && !plan.metrics.prometheus && plan.listeners.is_empty());
    let plan = good("x: &x {head: 1s}\n".replace("x: &x", "timeouts: &x").as_str()).plan;
    assert_eq!(plan.timeouts.head, Duration::from_secs(1));
    assert!(good("admin: off").warnings.iter().any(|w| w.code == "nothing-to-do"));
}

#[test]
fn the_broken_example_reports_all_five_in_one_run() {
    let path = root_file("examples/broken/fourmi.yaml");
    let report = load(&LoadOptions { path: Some(path.into()) }).expect_err("it is broken");
    assert_eq!(report.exit(), 78);
    assert_eq!(
        places(&report),
        ["3:9 bad-value", "6:13 conflict", "9:11 bad-value", "12:3 unknown-key", "15:14 missing-key"],
        "{report}"
    );
    assert!(report.problems.iter().all(|p| !p.fix.is_empty() && !p.text.is_empty()), "{report}");
    let text = report.render(false);
    assert!(
        text.contains(":12:3: error[config/unknown-key]: unknown key `lables` in `metrics`, did you mean `labels`?\n"),
        "{text}"
    );
    assert!(text.contains("\n 12 |   lables: [team]\n    |   ^^^^^^\nfix: rename it to `labels`"), "{text}");
    assert!(!text.contains('\u{1b}') && report.render(true).contains('\u{1b}'));
    assert_eq!(report.json()[0]["code"], "config/bad-value");
}

#[test]
fn every_kind_of_problem_has_its_place() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        ("service: [a]\n", "1:10 wrong-type"),
        ("threads: many\n", "1:10 wrong-type"),
        ("threads: 0\n", "1:10 bad-value"),
        ("limits: {body: 0}\n", "1:16 bad-value"),
        ("limits: {body: 5 apples}\n", "1:16 bad-value"),
        ("timeouts: {hold: 0s}\n", "1:18 bad-value"),
        ("timeouts: {hold: soon}\n", "1:18 bad-value"),
        ("service: a\nservice: b\n", "2:1 duplicate-key"),
        ("worker: zmq+inproc://a\n", "1:9 not-supported"),
        ("worker: zmq+tcp://a/path\n", "1:9 bad-value"),
        ("worker: {address: zmq+tcp://a, zmq: {frames: [body, name]}}\n", "1:37 bad-value"),
        ("worker: {address: zmq+tcp://a, zmq: {error_when: status}}\n", "1:37 bad-value"),
        ("worker: zmq+tcp://a:1\ninbound: [{listen: http://0.0.0.0:1, zmq: {frames: [name]}}]\n", "2:52 bad-value"),
        ("worker: zmq+tcp://a:1\ninbound: [{listen: http://0.0.0.0:1, zmq: {service: x}}]\n", "2:53 conflict"),
        ("outbound: [{listen: zmq+tcp://127.0.0.1:1}]\n", "1:12 missing-key"),
        ("outbound: [{listen: zmq+tcp://127.0.0.1:1, zmq: {service: x}}]\n", "1:59 unknown-reference"),
        ("outbound: [{listen: http://127.0.0.1:1, zmq: {frames: [body]}}]\n", "1:41 missing-key"),
        ("worker: zmq+tcp://127.0.0.1\n", "1:9 bad-value"),
        ("worker: {address: zmq+tcp://a, ready: {http: /up}}\n", "1:46 conflict"),
        ("worker: http://a:1\ninbound: [{listen: http://0.0.0.0:1, zmq: {errors: '{nope}'}}]\n", "2:52 bad-value"),
        ("worker: http://a:1\ninbound: [{listen: http://0.0.0.0:1, zmq: {accepted: Silent}}]\n", "2:54 bad-value"),
        ("worker: fcgi://a:1\n", "1:9 not-supported"),
        ("worker: http://a:1/path\n", "1:9 bad-value"),
        ("worker: http://a:99999\n", "1:9 bad-value"),
        ("worker: http://u:p@a\n", "1:9 bad-value"),
        ("worker: {address: []}\n", "1:19 bad-value"),
        ("worker: {ready: {http: /x}}\n", "1:9 missing-key"),
        ("worker: {address: http://a, ready: {http: x}}\n", "1:43 bad-value"),
        ("worker: http://127.0.0.1:25001\n", "1:9 loop"),
        ("inbound: [{listen: http://0.0.0.0:1}]\n", "1:1 missing-worker"),
        ("outbound: [{listen: http://a.example:1}]\n", "1:21 bad-value"),
        ("outbound: [{listen: http://127.0.0.1:9901}]\n", "1:21 conflict"),
        ("outbound: [{listen: 'http://127.0.0.1:1', services: {s: }}]\n", "1:54 missing-key"),
        ("discovery: {services: [{name: a, port: 1}, {name: b, check: {tcp: x}}]}\n", "1:44 bad-value"),
        ("discovery: {dns: {ttl: 500ms}}\n", "1:24 bad-value"),
        ("discovery: {dns: {listen: 127.0.0.1:9901}}\n", "1:27 conflict"),
        ("discovery: {records: {a_b..c: {}}}\n", "1:23 bad-value"),
        ("discovery: {join: ftp://a}\n", "1:19 bad-value"),
        ("discovery: {node_name: a}\n", "1:13 unknown-key"),
        ("discovery: {join: http://a, store: memory}\n", "1:36 bad-value"),
        ("discovery: {store: {etcd: {endpoints: [a]}}}\n", "1:27 bad-value"),
        ("discovery: {http: {access: [{name: a}]}}\n", "1:28 bad-value"),
        ("discovery: {entries: /nowhere.txt}\n", "1:22 bad-value"),
        ("outbound: [{listen: 'http://127.0.0.1:1', services: {s: {address: 'http://localhost:1'}}}]\n", "1:67 loop"),
        ("outbound: [{listen: 'unix:/no/such/dir/s'}]\n", "1:21 no-directory"),
        (
            "outbound: [{listen: 'http://127.0.0.1:1', services: {s: {address: http://b, bind: 1}}}]\n",
            "1:77 not-supported",
        ),
        ("trusted: [10.0.0.1/8]\n", "1:11 bad-value"),
        ("tags: {'a b': c}\n", "1:8 bad-value"),
        ("commands: {identify: {name: command}}\n", "1:29 bad-value"),
        ("commands: {identify: {codec: symphony}}\n", "1:30 bad-value"),
        ("logs: [{stdout: {}, graylog: {}}]\n", "1:8 wrong-type"),
        ("logs: [kafka: {to: x}]\n", "1:8 unknown-key"),
        ("logs: [graylog: {to: 'ftp://a'}]\n", "1:22 bad-value"),
        ("tags: {api_token: x}\n", "1:8 bad-value"),
        ("metrics: {labels: [password]}\n", "1:20 bad-value"),
        ("commands: {identify: {tags: {who: /user/iban}}}\nrecord: {redact: {json: [/user/iban]}}\n", "1:35 bad-value"),
        ("record: {headers: ['a b']}\n", "1:20 bad-value"),
        ("logs: [stdout: {sample: 2}]\n", "1:25 bad-value"),
        ("logs: [stdout: {rename: {client: id}}]\n", "1:34 bad-value"),
        ("metrics: {sinks: [prometheus, prometheus: {}]}\n", "1:31 conflict"),
        ("admin: {listen: 9901}\n", "1:17 bad-value"),
        ("service: ${NO_SUCH_NAME}\n", "1:10 unset-variable"),
        ("a: [\n", "1:4 syntax"),
        ("timeouts:\n\thead: 1s\n", "2:2 syntax"),
        ("service: a\n---\nservice: b\n", "2:1 syntax"),
        ("service: !ruby/object x\n", "1:23 syntax"),
        ("[a, b]\n", "1:1 wrong-type"),
        ("kubernetes: true\n", "1:1 unknown-key"),
    ] {
        let got = bad(text);
        if got != [expected] {
            wrong.push(format!("{text}  wanted {expected}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_not_landed_is_refused_by_name() {
    let report = parse("f", "redis: {a: b}\n", &[]).expect_err("not there yet");
    assert_eq!(report.problems[0].message, "`redis` is not supported yet");
    assert_eq!(bad("commands: {callbacks: {}}\n").len(), 1);
}

#[test]
fn hostile_text_is_bounded() {
    let bomb: String = (1..40).fold("a0: &a0 [x]\n".to_owned(), |t, i| {
        let before = i - 1;
        t + &format!("a{i}: &a{i} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    assert!(bad(&bomb).iter().any(|p| p.contains("too-large")));
    assert!(!bad(&"[".repeat(100_000)).is_empty());
    assert!(bad(&"- a\n".repeat(20_000)).iter().any(|p| p.contains("too-large")));
    assert!(bad(&(0..3_000).map(|i| format!("k{i}: 1\n")).collect::<String>()).len() <= 200);
    let report = parse("f", "serv\u{7}ice\u{1b}[31m: a\n", &[]).expect_err("refused");
    assert!(!report.render(false).contains('\u{1b}'), "{report}");
}

#[test]
fn the_environment_is_laid_over_the_file() {
    let env: Vec<(String, String)> = [
        ("WORKER_PORT", "8081"),
        ("EMPTY", ""),
        ("FOURMI_TIMEOUTS__ANSWER", "5s"),
        ("FOURMI_METRICS__LABELS", "[team]"),
        ("FOURMI_TAGS__TEAM", "orders"),
        ("FOURMI_WORKER__READY__HTTP", "/up"),
        ("FOURMI_CONFIG", "ignored here"),
        ("FOURMI_TIMEOUT__ANSWER", "5s"),
        ("FOURMI_SERVICE_PORT", "tcp://1.2.3.4"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    let text = "worker: http://${HOST_NAME:-localhost}:${WORKER_PORT}\nenv: '${EMPTY:-staging}'\nservice: a-$${b}\n";
    let loaded = parse("fourmi.yaml", text, &env).expect("it is fine");
    let plan = &loaded.plan;
    assert_eq!(
        plan.worker.as_ref().map(|w| w.addresses[0].target.to_string()).as_deref(),
        Some("http://localhost:8081")
    );
    assert!(matches!(plan.worker.as_ref().map(|w| &w.ready), Some(Ready::Http { path, .. }) if path == "/up"));
    assert_eq!((&*plan.identity.env, &*plan.identity.service), ("staging", "a-${b}"));
    assert_eq!(plan.timeouts.answer, Duration::from_secs(5));
    assert_eq!(plan.metrics.labels, ["team"]);
    // A Kubernetes service link is nobody's mistake.
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].message.contains("did you mean `FOURMI_TIMEOUTS__ANSWER`"), "{:?}", loaded.warnings);
    let shown = loaded.shown.json();
    assert_eq!(shown["origins"]["timeouts.answer"]["name"], "FOURMI_TIMEOUTS__ANSWER");
    assert_eq!(shown["origins"]["env"]["line"], 2);
    assert_eq!(shown["origins"]["limits.body"]["from"], "default");
    assert_eq!(shown["values"]["threads"], 1);

    let env = [("FOURMI_THREADS".to_owned(), "many".to_owned()), ("FOURMI_REDIS".to_owned(), "x".to_owned())];
    let report = parse("fourmi.yaml", "", &env).expect_err("refused");
    assert_eq!(report.problems[1].file, "$FOURMI_THREADS");
    assert!(report.render(false).contains("$FOURMI_REDIS:1:1: error[config/not-supported]"), "{report}");
}

#[test]
fn what_is_shown_is_a_configuration_with_the_same_plan() {
    let text = std::fs::read_to_string(root_file("examples/minimal/fourmi.yaml")).expect("the example is there");
    let loaded = good(&text);
    let shown = loaded.shown.yaml();
    assert!(
        shown.contains("threads: 1  # default\n") && shown.contains("env: production  # fourmi.yaml:3\n"),
        "{shown}"
    );
    let again = good(&shown);
    assert_eq!(format!("{:?}", loaded.plan), format!("{:?}", again.plan), "{shown}");
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let missing = load(&LoadOptions { path: Some("/no/such/fourmi.yaml".into()) }).expect_err("it is not there");
    assert_eq!((missing.exit(), missing.problems[0].code), (66, "no-file"));
    let directory = load(&LoadOptions { path: Some("/tmp".into()) }).expect_err("it is a directory");
    assert_eq!((directory.exit(), directory.problems[0].code), (78, "unreadable"));
}

#[test]
fn the_starter_is_valid_with_and_without_its_comments() {
    good(&starter());
    // `## ` begins a sentence, `# ` a key.
    let open: String = starter().lines().map(|l| format!("{}\n", l.strip_prefix("# ").unwrap_or(l))).collect();
    assert!(open.contains("\ntimeouts:\n  head: 10s"), "{open}");
    good(&open);
}

#[test]
fn the_reference_page_is_current() {
    let path = root_file("docs/configuration.md");
    if std::env::var_os("RENEW_DOCS").is_some() {
        std::fs::write(&path, reference()).expect("the page is written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reference(), "renew it: RENEW_DOCS=1 cargo test -p fourmi --lib reference_page");
}

#[test]
fn the_schema_knows_every_key() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["threads"]["default"], 1);
    assert!(schema["properties"]["redis"]["description"].as_str().is_some_and(|d| d.contains("Not supported yet")));
    assert_eq!(schema["properties"]["logs"]["default"][0]["stdout"]["format"], "auto");
    assert!(environment().lines().any(|l| l.starts_with("FOURMI_TIMEOUTS__ANSWER ") && l.ends_with("default 60s")));
}

#[test]
fn durations_and_sizes() {
    for (text, want) in [("1h30m", 5_400_000), ("1.5s", 1_500), ("2d", 172_800_000), ("0", 0), ("250ms", 250)] {
        assert_eq!(duration(text), Ok(Duration::from_millis(want)), "{text}");
    }
    for text in ["", "5", "s", "1.2.3s", "-1s", "1w", "9999999999999d", "1 s"] {
        assert!(duration(text).is_err(), "{text}");
    }
    for d in [0, 1, 1_500, 60_000, 90_000, 3_600_000].map(Duration::from_millis) {
        assert_eq!(duration(&duration_text(d)), Ok(d));
    }
    assert_eq!(value::bytes("1 GiB").ok(), Some(1 << 30));
    assert!(value::bytes("99999999999999TiB").is_err() && value::bytes("-1").is_err() && value::bytes("").is_err());
}

proptest::proptest! {
    /// No text makes the check panic, and every place lies in the text.
    #[test]
    fn any_text_is_survived(text in "(\\PC|[\n\t:{}\\[\\]&*!|>'\"#$-]){0,200}") {
        if let Err(report) = parse("f", &text, &[]) {
            let lines = text.matches('\n').count() + 1;
            for p in &report.problems {
                assert!(p.line <= lines, "{p:?}");
                let _ = p.render(true);
            }
        }
    }
}

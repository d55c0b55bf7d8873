//! Limits of a gateway, from outside: exact on several threads and in several processes, whatever becomes of Redis.

use fourmi_tests::net::free_port;
use fourmi_tests::patience::{eventually, until};
use fourmi_tests::peers::Certificates;
use fourmi_tests::peers::redis::Redis;
use fourmi_tests::sidecar::{Fourmi, Setup, run_fourmi};
use fourmi_tests::wire::Message;
use fourmi_tests::worker::Worker;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway whose only service has this plugin.
fn gateway(name: &str, config: &str) -> String {
    format!(
        "_format_version: '3.0'\n\
         services:\n\
         - name: orders\n  \
           url: http://worker\n  \
           routes: [{{name: all, paths: [/]}}]\n  \
           plugins: [{{name: {name}, config: {config}}}]\n"
    )
}

fn setup(worker: &Worker, plugin: &str, config: &str) -> Setup {
    let setup = Setup::beside(worker.address()).more("gateway: kong.yaml").more("threads: 2");
    std::fs::write(setup.folder().join("kong.yaml"), gateway(plugin, config)).unwrap();
    setup
}

fn limited(worker: &Worker, config: &str) -> Fourmi {
    setup(worker, "rate-limiting", config).start()
}

/// From so many connections so many requests each, to all of these in turn: how many answers of each status.
fn race(fourmis: &[&Fourmi], connections: usize, each: usize) -> BTreeMap<u16, usize> {
    let all = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for n in 0..connections {
            let all = &all;
            let mut client = fourmis[n % fourmis.len()].client();
            threads.spawn(move || {
                for _ in 0..each {
                    let status = client.get("/").status();
                    *all.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
    });
    all.into_inner().unwrap()
}

fn fallbacks(fourmi: &Fourmi, reason: Option<&str>) -> f64 {
    let labels: Vec<(&str, &str)> = reason.iter().map(|reason| ("reason", *reason)).collect();
    fourmi.metrics().sum("fourmi_limit_fallbacks_total", &labels)
}

fn is_counted(answer: &Message) -> bool {
    answer.header("x-ratelimit-remaining-year").is_some()
}

#[test]
fn exactly_the_limit_passes_on_two_threads() {
    let worker = Worker::answering(OK);
    // The year is there because the minute may turn meanwhile.
    let fourmi = limited(&worker, "{minute: 100, year: 100, limit_by: ip}");
    assert_eq!(race(&[&fourmi], 64, 10), BTreeMap::from([(200, 100), (429, 540)]));
    assert_eq!(worker.requests().len(), 100);
    let answer = fourmi.get("/");
    assert_eq!((answer.status(), answer.json()["message"].as_str()), (429, Some("API rate limit exceeded")));
    assert_eq!(answer.header("x-ratelimit-remaining-year"), Some("0"));
    assert_eq!(answer.header("retry-after"), answer.header("ratelimit-reset"));
    fourmi.counts("fourmi_rejected_total", &[("reason", "rate-limiting")], 541.0);
}

#[test]
fn counters_survive_a_reload() {
    let worker = Worker::answering(OK);
    let fourmi = limited(&worker, "{year: 3, limit_by: ip}");
    assert_eq!(fourmi.get("/").header("x-ratelimit-remaining-year"), Some("2"));
    let file = fourmi.file().with_file_name("kong.yaml");
    std::fs::write(file, gateway("rate-limiting", "{year: 5, limit_by: ip}")).unwrap();
    fourmi.signal(nix::sys::signal::Signal::SIGHUP);
    fourmi.counts("fourmi_reloads_total", &[("result", "ok")], 1.0);
    // A connection may still see the plan of before.
    let answer = eventually("the new limit holds", || {
        Some(fourmi.get("/")).filter(|a| a.header("x-ratelimit-limit-year") == Some("5") || a.status() == 429)
    });
    assert_eq!(answer.status(), 200);
    let passed = worker.requests().len();
    assert_eq!(answer.header("x-ratelimit-remaining-year"), Some((5 - passed).to_string().as_str()));
}

#[test]
fn two_processes_share_a_limit_in_redis() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config = format!(
        "{{minute: 100, year: 100, limit_by: ip, policy: redis, fault_tolerant: false, redis: {{host: 127.0.0.1, port: {}, database: 3}}}}",
        redis.port()
    );
    let (one, other) = (limited(&worker, &config), limited(&worker, &config));
    let answers = race(&[&one, &other], 64, 10);
    let passed = answers.get(&200).copied().unwrap_or(0);
    // On a busy machine some answers of Redis come after their deadline; those were counted, and did not pass.
    let late = fallbacks(&one, None) + fallbacks(&other, None);
    assert!(passed <= 100 && passed as f64 + late >= 100.0, "{answers:?}, {late}");
    assert_eq!(answers.get(&500).copied().unwrap_or(0) as f64, late, "{answers:?}");
    let keys = redis.says(&["-n", "3", "--raw", "KEYS", "ratelimit:*:year"]);
    let parts: Vec<&str> = keys.split(':').collect();
    let [kind, route, service, who, start, "year"] = parts[..] else { panic!("{keys}") };
    assert_eq!((kind, route, who), ("ratelimit", "00000000-0000-0000-0000-000000000000", "127.0.0.1"));
    assert!(service.len() == 36 && start.ends_with("00000"), "{keys}");
    until("all are used", || one.get("/").status() != 200 && redis.says(&["-n", "3", "GET", &keys]) == "100");
    let left: u64 = redis.says(&["-n", "3", "TTL", &keys]).parse().unwrap();
    assert!(left > 31_000_000 && left <= 31_536_000, "{left}");
}

#[test]
fn row_202_a_tolerant_limit_goes_on_without_redis() {
    let (worker, mut redis) = (Worker::answering(OK), Redis::start());
    let port = redis.port();
    let config = format!("{{year: 100000, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {port}}}}}");
    let fourmi = limited(&worker, &config);
    until("Redis counts", || is_counted(&fourmi.get("/")));
    std::thread::scope(|threads| {
        let load = threads.spawn(|| race(&[&fourmi], 16, 100));
        redis.kill_9();
        assert_eq!(load.join().unwrap(), BTreeMap::from([(200, 1_600)]));
    });
    let answer = eventually("it counts here", || Some(fourmi.get("/")).filter(|a| !is_counted(a)));
    assert!(answer.status() == 200 && answer.header("ratelimit-limit").is_none());
    until("that is told", || fallbacks(&fourmi, Some("redis-away")) > 0.0);
    fourmi.says("Redis does not answer");
    let _again = Redis::start_on(port, &[]);
    until("Redis counts again", || is_counted(&fourmi.get("/")));
    fourmi.says("Redis answers again");
}

#[test]
fn row_203_a_strict_limit_says_500_without_redis() {
    let worker = Worker::answering(OK);
    let port = free_port();
    let redis = format!("{{host: 127.0.0.1, port: {port}, password: secret-of-redis}}");
    let config = format!("{{year: 3, limit_by: ip, policy: redis, fault_tolerant: false, redis: {redis}}}");
    let fourmi = limited(&worker, &config);
    let answer = fourmi.get("/");
    assert_eq!((answer.status(), answer.json()["message"].as_str()), (500, Some("An unexpected error occurred")));
    assert!(!is_counted(&answer) && worker.requests().is_empty());
    // A wrong password is no better.
    let wrong = Redis::start_on(port, &["--requirepass", "another"]);
    fourmi.says("it refuses our name or password");
    assert_eq!(fourmi.get("/").status(), 500);
    drop(wrong);
    let _right = Redis::start_on(port, &["--requirepass", "secret-of-redis"]);
    until("Redis counts", || fourmi.get("/").status() == 200);
    assert_eq!(race(&[&fourmi], 4, 5).get(&200).copied().unwrap_or(0), 2);
    assert!(!fourmi.stderr().contains("secret-of-redis"));
}

#[test]
fn a_strict_limit_under_load_says_500_until_redis_is_back() {
    let (worker, mut redis) = (Worker::answering(OK), Redis::start());
    let port = redis.port();
    let config = format!(
        "{{year: 100000, limit_by: ip, policy: redis, fault_tolerant: false, redis: {{host: 127.0.0.1, port: {port}}}}}"
    );
    let fourmi = limited(&worker, &config);
    until("Redis counts", || is_counted(&fourmi.get("/")));
    let answers = std::thread::scope(|threads| {
        let load = threads.spawn(|| race(&[&fourmi], 16, 200));
        redis.kill_9();
        load.join().unwrap()
    });
    assert_eq!(answers.values().sum::<usize>(), 3_200, "{answers:?}");
    assert!(answers[&500] > 0 && answers.keys().all(|status| [200, 500].contains(status)), "{answers:?}");
    // What was refused never reached the worker.
    assert!(worker.requests().len() <= 3_201 - answers[&500]);
    assert_eq!(fourmi.get("/").status(), 500);
    let _again = Redis::start_on(port, &[]);
    until("Redis counts again", || is_counted(&fourmi.get("/")));
}

#[test]
fn a_connection_that_redis_closes_is_replaced_before_anybody_asks() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config = format!(
        "{{year: 100, limit_by: ip, policy: redis, fault_tolerant: false, redis: {{host: 127.0.0.1, port: {}}}}}",
        redis.port()
    );
    let fourmi = limited(&worker, &config);
    until("Redis counts", || is_counted(&fourmi.get("/")));
    // Only a connection that has lived for a while is taken for one that was idle.
    let clients = || redis.says(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
    let field = |line: &str, name: &str| line.split(' ').find_map(|f| f.strip_prefix(name)?.parse::<u64>().ok());
    let ours = || {
        clients()
            .lines()
            .filter(|l| !l.contains("cmd=client"))
            .find_map(|l| Some((field(l, "id=")?, field(l, "age=")?)))
    };
    let (id, _) = eventually("it is connected for a while", || ours().filter(|(_, age)| *age >= 2));
    let before = fallbacks(&fourmi, None);
    redis.says(&["CLIENT", "KILL", "ID", &id.to_string()]);
    until("it is connected anew", || ours().is_some_and(|(new, _)| new != id));
    assert!(is_counted(&fourmi.get("/")) && fallbacks(&fourmi, None) == before);
    assert!(!fourmi.stderr().contains("the connection broke"), "{}", fourmi.stderr());
}

#[test]
fn redis_is_spoken_to_over_tls() {
    let worker = Worker::answering(OK);
    let certificates = Certificates::new();
    let port = free_port();
    let folder = tempfile::TempDir::with_prefix("redis-tls-").unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (pair, ca) = (certificates.good(), certificates.ca_file());
    let (certificate, key) = (file("cert.pem", &pair.certificate), file("key.pem", &pair.key));
    let on = port.to_string();
    let more = ["--tls-port", &on, "--tls-cert-file", &certificate, "--tls-key-file", &key]
        .into_iter()
        .chain(["--tls-ca-cert-file", ca.to_str().unwrap(), "--tls-auth-clients", "no", "--requirepass", "secret"])
        .collect::<Vec<_>>();
    let _redis = Redis::start_tls(port, &more);
    let config = |keys: &str| {
        format!(
            "{{year: 9, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {port}, password: secret, ssl: true{keys}}}}}"
        )
    };
    // Whoever answers is believed, as in Kong; or only whom the system's authorities know.
    for (keys, trusted) in
        [("", false), (", ssl_verify: true", true), (", ssl_verify: true, server_name: localhost", true)]
    {
        let mut setup = setup(&worker, "rate-limiting", &config(keys));
        if trusted {
            setup = setup.env("SSL_CERT_FILE", ca.to_str().unwrap());
        }
        let fourmi = setup.start();
        until("Redis counts", || is_counted(&fourmi.get("/")));
    }
    let fourmi = limited(&worker, &config(", ssl_verify: true"));
    fourmi.get("/");
    fourmi.says("Redis does not answer");
    assert!(!is_counted(&fourmi.get("/")));
}

#[test]
fn what_is_known_of_redis_holds_when_it_goes() {
    let (worker, mut redis) = (Worker::answering(OK), Redis::start());
    let config =
        format!("{{year: 10, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {}}}}}", redis.port());
    let fourmi = limited(&worker, &config);
    until("Redis counts", || is_counted(&fourmi.get("/")));
    // Another process has used all but one.
    let keys = redis.says(&["--raw", "KEYS", "ratelimit:*:year"]);
    redis.says(&["SET", &keys, "8", "KEEPTTL"]);
    let answer = eventually("Redis counts", || Some(fourmi.get("/")).filter(is_counted));
    assert_eq!(answer.status(), 200);
    redis.kill_9();
    let answers = race(&[&fourmi], 4, 5);
    assert!(answers.get(&200).copied().unwrap_or(0) <= 1 && answers[&429] >= 19, "{answers:?}");
}

#[test]
fn a_slow_redis_costs_three_commands_their_deadline_and_no_more() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config =
        format!("{{year: 100000, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {}}}}}", redis.port());
    let fourmi = limited(&worker, &config);
    until("Redis counts", || is_counted(&fourmi.get("/")));
    let before = fallbacks(&fourmi, None);
    redis.says(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let mut client = fourmi.client();
    (0..100).for_each(|_| assert_eq!(client.get("/").status(), 200));
    // The numbers are told with the next command at the latest.
    until("all are told", || fallbacks(&fourmi, None) >= before + 100.0);
    let (late, away) = (fallbacks(&fourmi, Some("redis-late")), fallbacks(&fourmi, Some("redis-away")));
    // One may be asked while the third is given up.
    assert!(late <= before + 3.0 && away >= 95.0, "late {late}, away {away}, before {before}");
    redis.says(&["CLIENT", "UNPAUSE"]);
    until("Redis counts again", || is_counted(&fourmi.get("/")));
}

#[test]
fn a_replica_is_no_place_to_count() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config = format!(
        "{{year: 100000, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {}, timeout: 1}}}}",
        redis.port()
    );
    let fourmi = limited(&worker, &config.replace(", timeout: 1", ""));
    until("Redis counts", || is_counted(&fourmi.get("/")));
    redis.says(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    assert_eq!(race(&[&fourmi], 8, 20), BTreeMap::from([(200, 160)]));
    fourmi.says("READONLY");
    assert!(!is_counted(&fourmi.get("/")));
    redis.says(&["REPLICAOF", "NO", "ONE"]);
    until("Redis counts again", || is_counted(&fourmi.get("/")));
}

#[test]
fn a_window_that_slides_does_so_in_redis() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config = format!(
        "{{day: 100, limit_by: ip, window_type: sliding, policy: redis, redis: {{host: 127.0.0.1, port: {}}}}}",
        redis.port()
    );
    let fourmi = limited(&worker, &config);
    let left = |answer: &Message| answer.header("x-ratelimit-remaining-day").and_then(|n| n.parse::<f64>().ok());
    let (day, key) = eventually("Redis counts", || {
        left(&fourmi.get("/"))?;
        let keys = redis.says(&["--raw", "KEYS", "ratelimit:*:day"]);
        let start: u64 = keys.lines().next()?.rsplit(':').nth(1)?.parse().ok()?;
        Some((start, keys.lines().next()?.to_owned()))
    });
    let before = key.replace(&day.to_string(), &(day - 86_400_000).to_string());
    redis.says(&["SET", &before, "100"]);
    redis.says(&["SET", &key, "0"]);
    let gone = |now: SystemTime| {
        let now = now.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        100.0 * (now - day) as f64 / 86_400_000.0
    };
    let (least, answer) = (gone(SystemTime::now()), eventually("Redis counts", || left(&fourmi.get("/"))));
    // As much is left as of the day before is gone, but for what was asked meanwhile, and rounding.
    assert!(answer <= gone(SystemTime::now()) && answer >= least - 12.0, "{least} {answer}");
}

#[test]
fn answers_are_counted_in_redis_too() {
    let redis = Redis::start();
    let answer = b"HTTP/1.1 200 OK\r\nX-Kong-Limit: video=2\r\nContent-Length: 2\r\n\r\nok";
    let worker = Worker::answering(answer);
    let config = format!(
        "{{limits: {{video: {{year: 5}}}}, limit_by: ip, policy: redis, redis: {{host: 127.0.0.1, port: {}}}}}",
        redis.port()
    );
    let left = |answer: &Message| answer.header("x-ratelimit-remaining-video-year").map(str::to_owned);
    let (one, other) = (
        setup(&worker, "response-ratelimiting", &config).start(),
        setup(&worker, "response-ratelimiting", &config).start(),
    );
    let first = eventually("Redis counts", || Some(one.get("/")).filter(|a| left(a).is_some()));
    assert!(first.status() == 200 && first.header("x-kong-limit").is_none());
    let count = || {
        redis.says(&[
            "--raw",
            "EVAL",
            "return redis.call('GET', redis.call('KEYS', 'response-ratelimit:*:video:year')[1])",
            "0",
        ])
    };
    race(&[&one, &other], 8, 10);
    until("all is used", || one.get("/").status() != 200 && count() == "6");
    let last = eventually("Redis refuses", || Some(other.get("/")).filter(|a| left(a).is_some()));
    assert_eq!((last.status(), last.text().as_str(), left(&last).as_deref()), (429, "", Some("0")));
    assert_eq!(worker.last().header("x-ratelimit-remaining-video"), Some("0"));
}

#[test]
fn commands_wait_for_their_turn_in_order() {
    const COMMANDS: usize = 12;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let worker = Worker::replying(move |request| {
        log.lock().unwrap().push(request.target().to_owned());
        OK.to_vec()
    });
    let fourmi = setup(&worker, "rate-shaping", "{limit: 10, per: 1s, max_waiting: 11}").start();
    let began = Instant::now();
    let mut clients = Vec::new();
    for n in 0..COMMANDS {
        let mut client = fourmi.client();
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
        // The next one comes after it.
        until("it has come", || {
            let came = fourmi.metrics().sum("fourmi_commands_in_flight", &[]) as usize + seen.lock().unwrap().len();
            came > n
        });
        clients.push(client);
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
    assert!(began.elapsed() >= Duration::from_millis(100) * (COMMANDS as u32 - 1), "{:?}", began.elapsed());
    let wanted: Vec<String> = (0..COMMANDS).map(|n| format!("/{n}")).collect();
    assert_eq!(*seen.lock().unwrap(), wanted);
}

#[test]
fn two_processes_share_a_pace_in_redis() {
    let (worker, redis) = (Worker::answering(OK), Redis::start());
    let config = format!(
        "{{limit: 10, per: 1s, policy: redis, fault_tolerant: false, redis: {{host: 127.0.0.1, port: {}}}}}",
        redis.port()
    );
    let pair = [(); 2].map(|()| setup(&worker, "rate-shaping", &config).start());
    let began = Instant::now();
    let answers = race(&[&pair[0], &pair[1]], 12, 1);
    let passed = answers.get(&200).copied().unwrap_or(0);
    assert_eq!(passed + answers.get(&500).copied().unwrap_or(0), 12, "{answers:?}");
    assert!(passed > 2 && began.elapsed() >= Duration::from_millis(100) * (passed as u32 - 1), "{answers:?}");
    assert!(redis.says(&["--raw", "KEYS", "shape:*"]).starts_with("shape:00000000-0000-0000-0000-000000000000:"));
}

#[test]
fn people_see_whose_limit_it_is_under_its_name() {
    const FILE: &str = "
_format_version: '3.0'
consumers:
- {username: big, keyauth_credentials: [{key: of-big}]}
- {username: small, keyauth_credentials: [{key: of-small}]}
services:
- name: orders
  url: http://worker
  routes: [{name: all, paths: [/orders]}]
  plugins:
  - {name: key-auth}
  - {name: rate-limiting, config: {year: 1000}}
- name: mail
  url: http://worker
  routes: [{name: post, paths: [/mail], plugins: [{name: rate-shaping, config: {limit: 1, per: 50m, wait: 1h}}]}]
- name: slides
  url: http://worker
  routes: [{paths: [/slides]}]
  plugins: [{name: rate-limiting, config: {year: 10, limit_by: ip, window_type: sliding}}]
plugins:
- {name: rate-limiting, service: orders, consumer: small, config: {year: 5}}
";
    let worker = Worker::answering(OK);
    let setup = Setup::beside(worker.address()).more("gateway: kong.yaml").more("threads: 2");
    std::fs::write(setup.folder().join("kong.yaml"), FILE).unwrap();
    let fourmi = setup.start();
    let run = |line: &[&str]| {
        let admin = format!("http://127.0.0.1:{}", fourmi.admin_port());
        run_fourmi(&[line, &["--admin", &admin]].concat())
    };
    for (key, times) in [("of-big", 7), ("of-small", 6)] {
        (0..times).for_each(|_| drop(fourmi.get_with("/orders", &format!("apikey: {key}\r\n"))));
    }
    fourmi.get("/slides");
    let mut waits = [fourmi.client(), fourmi.client()];
    for client in &mut waits {
        client.send("GET /mail HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let api = eventually("one waits", || {
        Some(fourmi.admin("GET", "/api/v1/limits").json()).filter(|all| all["waiting"][0]["waiting"] == 1)
    });
    let shown = run(&["limits"]).stdout;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |parts: &[&str]| {
        let is = |row: &&Vec<&str>| row.iter().take(parts.len()).eq(parts);
        assert!(rows.iter().any(|row| is(&row)), "{parts:?}\n{shown}");
    };
    row(&["LIMIT", "ROUTE", "SERVICE", "BY", "IDENTIFIER", "PERIOD", "USED", "OF", "RESET"]);
    row(&["rate-limiting", "-", "orders", "consumer", "small", "year", "5", "5"]);
    row(&["rate-limiting", "-", "orders", "consumer", "big", "year", "7", "1000"]);
    row(&["rate-limiting", "-", "slides", "ip", "127.0.0.1", "year,", "sliding", "1", "10"]);
    row(&["LINE", "ROUTE", "SERVICE", "BY", "IDENTIFIER", "WAITING"]);
    row(&["rate-shaping", "post", "-", "service", "mail", "1"]);
    // What the table is tested with has the same form.
    let sample: Value = serde_json::from_str(include_str!("../../sidecar/src/cli/limits.json")).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&api), keys(&sample));
    for part in ["counters", "waiting"] {
        assert_eq!(keys(&api[part][0]), keys(&sample[part][0]), "{part}");
    }
    assert_eq!(keys(&api["counters"][0]["periods"]["year"]), keys(&sample["counters"][0]["periods"]["hour"]));
    assert!(api["counters"][0]["service"].as_str().is_some_and(|id| id.len() == 36), "{api}");

    assert!(run(&["consumers", "mal"]).stdout.contains("small"));
    for line in [&["consumers", "nosuch"][..], &["consumers", "nosuch", "--output", "json"]] {
        let nobody = run(line);
        assert!(nobody.code == 1 && nobody.stderr.contains("holds \"nosuch\""), "{nobody:?}");
        assert_eq!(nobody.stdout.is_empty(), line.len() == 2, "{nobody:?}");
    }
}

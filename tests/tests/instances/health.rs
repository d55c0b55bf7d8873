//! Who is left alone, why, and how it comes back: checks, commands, people, and all that over a reload.

use super::{ask, explained, hand, named, one, shown, why};
use fourmi_tests::h2::{H2Worker, Pieces};
use fourmi_tests::peers::Certificates;
use fourmi_tests::peers::tls::nginx_with;
use fourmi_tests::{Fourmi, Load, Setup, Worker, free_port, until};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Asked ten times a second; twice the same changes its mind.
const OFTEN: &str = "healthy: {interval: 0.1, successes: 2}, \
                     unhealthy: {interval: 0.1, http_failures: 2, tcp_failures: 2, timeouts: 2}";

fn checked(name: &str, addresses: &[&str], more: &str) -> String {
    let all: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
    format!(
        "{name}: {{algorithm: round-robin, address: [{}], healthchecks: {{active: {{{more}, {OFTEN}}}}}",
        all.join(", ")
    )
}

fn state(fourmi: &Fourmi, service: &str, address: &str) -> String {
    one(fourmi, service, address)["state"].as_str().unwrap().to_owned()
}

#[track_caller]
fn becomes(fourmi: &Fourmi, service: &str, address: &str, wanted: &str) {
    let mut last = String::new();
    until(&format!("{address} of {service} is {wanted}"), || {
        last = state(fourmi, service, address);
        last == wanted
    });
}

/// The answers of so many commands, each on a connection of its own; every one must be a 200.
#[track_caller]
fn answers(fourmi: &Fourmi, service: &str, commands: usize) -> Vec<String> {
    let once = |_| {
        let (status, text) = ask(fourmi, service);
        assert_eq!(status, 200, "{service}: {text}");
        text
    };
    (0..commands).map(once).collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Other users read from here: nginx's workers, for one.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn questions_take_out_and_bring_back() {
    let (files, folder) = (Certificates::new(), folder());
    let at = folder.path().display();
    let path = |file: &str| folder.path().join(file);
    for (name, pair) in [("good", files.good()), ("stranger", files.stranger())] {
        std::fs::write(path(&format!("{name}.pem")), &pair.certificate).unwrap();
        std::fs::write(path(&format!("{name}.key")), &pair.key).unwrap();
    }
    let [a, b, good, stranger] = [free_port(), free_port(), free_port(), free_port()];
    let server = |port: u16, name: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ return 200 {name}; }} \
             location /health {{ if (-f {at}/{name}.sick) {{ return 503; }} return 200 well; }} }}"
        )
    };
    let secured = |port: u16, name: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/{name}.pem; ssl_certificate_key {at}/{name}.key; \
             location / {{ return 200 {name}; }} }}"
        )
    };
    let servers = [server(a, "a"), server(b, "b"), secured(good, "good"), secured(stranger, "stranger")];
    let _nginx = nginx_with(a, &servers.join("\n"));

    let serving = Arc::new(AtomicBool::new(true));
    let grpc = {
        let serving = serving.clone();
        H2Worker::replying(move |request| {
            let body = match request.path.as_str() {
                // A frame with a HealthCheckResponse: SERVING is 1, NOT_SERVING 2.
                "/grpc.health.v1.Health/Check" => {
                    let status = if serving.load(Ordering::Acquire) { 1 } else { 2 };
                    Pieces::of(vec![0, 0, 0, 0, 2, 8, status]).with_trailers(&[("grpc-status", "0")])
                }
                _ => Pieces::of("grpc"),
            };
            http::Response::new(body)
        })
    };
    let (other, fallback) = (H2Worker::replying(|_| http::Response::new(Pieces::of("other"))), named("fallback"));
    let tcp = named("tcp");
    let port = tcp.port();
    // What this one says to checks is a test's choice; it counts them.
    let (says, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let scripted = {
        let (says, asked) = (says.clone(), asked.clone());
        Worker::replying(move |_| {
            let nth = asked.fetch_add(1, Ordering::AcqRel);
            let status = match says.load(Ordering::Acquire) {
                0 => [503, 200][nth % 2],
                status => status,
            };
            format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").into()
        })
    };
    let http = |port: u16| format!("http://127.0.0.1:{port}");
    let https = |port: u16| format!("https://127.0.0.1:{port}");
    let (a, b, good, stranger) = (http(a), http(b), https(good), https(stranger));
    let ca = format!("tls: {{ca: {:?}}}", files.ca_file());
    let grpc_address = grpc.address();
    let services = [
        checked("web", &[&a, &b], "type: http, http_path: /health") + "}",
        checked("tcp", &[tcp.address(), fallback.address()], "type: tcp") + "}",
        checked("grpc", &[&grpc_address], "type: grpc") + "}",
        checked("unknown", &[&other.address()], "type: grpc") + "}",
        checked("safe", &[&good, &stranger], "type: https") + &format!(", {ca}}}"),
        checked("blind", &[&good, &stranger], "type: https, https_verify_certificate: false") + &format!(", {ca}}}"),
        checked("scripted", &[scripted.address()], "type: http") + "}",
    ];
    // Commands find nobody at once, and do not wait until somebody comes back.
    let fourmi = Setup::alone().outbound(format!("{{{}}}", services.join(", "))).more("timeouts: {hold: 10ms}").start();

    // HTTP, and nginx that is asked by a file to be sick.
    let both = answers(&fourmi, "web", 20);
    assert_eq!(both.iter().filter(|n| *n == "a").count(), 10, "{both:?}");
    std::fs::write(path("a.sick"), "").unwrap();
    becomes(&fourmi, "web", &a, "unhealthy");
    let instance = one(&fourmi, "web", &a);
    assert_eq!((&instance["ready"], &instance["last_failure"]), (&false.into(), &"status 503".into()), "{instance}");
    assert_eq!(why(&fourmi, "web", &a), "it is unhealthy: status 503");
    assert_eq!(explained(&fourmi, "web")["picked"], b.as_str());
    let given = &instance["commands"];
    assert_eq!(answers(&fourmi, "web", 10), ["b"; 10]);
    assert_eq!(&one(&fourmi, "web", &a)["commands"], given, "no command");
    std::fs::remove_file(path("a.sick")).unwrap();
    becomes(&fourmi, "web", &a, "healthy");
    assert!(answers(&fourmi, "web", 4).contains(&"a".to_owned()));

    // A connection is enough.
    becomes(&fourmi, "tcp", tcp.address(), "healthy");
    drop(tcp);
    let tcp = format!("http://127.0.0.1:{port}");
    becomes(&fourmi, "tcp", &tcp, "unhealthy");
    assert_eq!(answers(&fourmi, "tcp", 4), ["fallback"; 4]);
    let again = Worker::replying_on(port, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntcp".to_vec());
    becomes(&fourmi, "tcp", &tcp, "healthy");
    until("commands go there again", || answers(&fourmi, "tcp", 4).contains(&"tcp".to_owned()));
    drop(again);

    // The gRPC health service; and one that does not have it.
    becomes(&fourmi, "grpc", &grpc_address, "healthy");
    assert_eq!(ask(&fourmi, "grpc"), (200, "grpc".to_owned()));
    serving.store(false, Ordering::Release);
    becomes(&fourmi, "grpc", &grpc_address, "unhealthy");
    assert_eq!(one(&fourmi, "grpc", &grpc_address)["last_failure"], "not serving");
    assert_eq!(ask(&fourmi, "grpc").0, 503);
    serving.store(true, Ordering::Release);
    becomes(&fourmi, "grpc", &grpc_address, "healthy");
    assert_eq!(ask(&fourmi, "grpc").0, 200);

    // Over TLS, and who it is counts.
    becomes(&fourmi, "safe", &good, "healthy");
    becomes(&fourmi, "safe", &stranger, "unhealthy");
    let said = one(&fourmi, "safe", &stranger)["last_failure"].as_str().unwrap().to_owned();
    assert!(said.contains("an authority that is not known here"), "{said}");
    assert_eq!(answers(&fourmi, "safe", 6), ["good"; 6]);
    becomes(&fourmi, "blind", &stranger, "healthy");

    // One failure between successes is none, two in a row are; and so is the way back.
    let service = scripted.address();
    let probes = |n: usize| {
        let from = asked.load(Ordering::Acquire);
        until("it is asked again", || asked.load(Ordering::Acquire) >= from + n);
    };
    says.store(0, Ordering::Release);
    probes(12);
    assert_eq!(state(&fourmi, "scripted", service), "healthy");
    assert_eq!(one(&fourmi, "scripted", service)["last_failure"], serde_json::Value::Null);
    says.store(503, Ordering::Release);
    becomes(&fourmi, "scripted", service, "unhealthy");
    says.store(0, Ordering::Release);
    probes(12);
    assert_eq!(state(&fourmi, "scripted", service), "unhealthy");
    says.store(200, Ordering::Release);
    becomes(&fourmi, "scripted", service, "healthy");
}

/// A worker that goes away with every request while it is sick, and is held by a gate when it is well again.
struct Sick {
    worker: Worker,
    well: Arc<AtomicBool>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

fn sick() -> Sick {
    let (well, gate) = (Arc::new(AtomicBool::new(false)), Arc::new((Mutex::new(true), Condvar::new())));
    let worker = {
        let (well, gate) = (well.clone(), gate.clone());
        Worker::scripted(move |mut conn| {
            while conn.request().is_some() && well.load(Ordering::Acquire) {
                let (open, opened) = &*gate;
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
                conn.ok("sick");
            }
        })
    };
    Sick { worker, well, gate }
}

impl Sick {
    fn shut(&self, shut: bool) {
        *self.gate.0.lock().unwrap() = !shut;
        self.gate.1.notify_all();
    }
    fn asked(&self) -> usize {
        self.worker.requests().len()
    }
}

fn service(workers: &[&Worker], more: &str) -> String {
    let all: Vec<String> = workers.iter().map(|w| format!("\"{}\"", w.address())).collect();
    format!("{{stock: {{algorithm: round-robin, address: [{}], {more}}}}}", all.join(", "))
}

#[test]
fn commands_eject_and_one_proves_that_it_is_well_again() {
    let (bad, good) = (sick(), named("good"));
    let address = bad.worker.address();
    let keys = "healthchecks: {passive: {ejection: {base: 4s}}}, retries: {budget: {least: 100}}";
    let fourmi = Setup::alone().outbound(service(&[&bad.worker, &good], keys)).start();
    until("it is ejected", || {
        assert_eq!(ask(&fourmi, "stock"), (200, "good".to_owned()));
        state(&fourmi, "stock", address) == "ejected"
    });
    assert_eq!(bad.asked(), 5, "after five failures in a row");
    let instance = one(&fourmi, "stock", address);
    assert_eq!((&instance["ejections"], &instance["ready"]), (&1.into(), &false.into()), "{instance}");
    assert_eq!(instance["last_failure"], "a failed connection, 5 in a row");
    assert!(instance["ejected_for_seconds"].as_f64().is_some_and(|s| s > 0.0 && s <= 4.0), "{instance}");
    assert_eq!(why(&fourmi, "stock", address), "it is ejected: a failed connection, 5 in a row");
    assert_eq!(answers(&fourmi, "stock", 10), ["good"; 10]);
    assert_eq!(bad.asked(), 5, "it is left alone");
    fourmi.says("ejected for 4s: a failed connection");

    // Its time is over. What may not run twice is not risked.
    bad.well.store(true, Ordering::Release);
    bad.shut(true);
    becomes(&fourmi, "stock", address, "half-open");
    let post = "POST / HTTP/1.1\r\nHost: stock\r\nContent-Length: 1\r\n\r\nx";
    for _ in 0..6 {
        assert_eq!(fourmi.outbound().send(post).answer().text(), "good");
    }
    assert_eq!(bad.asked(), 5);
    // One command finds out, and only one.
    let mut callers = Vec::new();
    until("a command is given to it", || {
        let mut caller = fourmi.outbound();
        caller.send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n");
        callers.push(caller);
        bad.asked() == 6
    });
    assert_eq!(answers(&fourmi, "stock", 10), ["good"; 10]);
    assert_eq!((bad.asked(), state(&fourmi, "stock", address).as_str()), (6, "half-open"));
    bad.shut(false);
    let told: Vec<String> = callers.iter_mut().map(|caller| caller.answer().text()).collect();
    assert_eq!(told.iter().filter(|t| *t == "sick").count(), 1, "{told:?}");
    becomes(&fourmi, "stock", address, "healthy");
    assert_eq!(answers(&fourmi, "stock", 20).iter().filter(|t| *t == "sick").count(), 10);
    fourmi.says("proved itself and is back");
}

#[test]
fn never_too_many_are_ejected_and_too_few_are_none() {
    let all = [sick(), sick(), sick(), sick()];
    let workers = all.each_ref().map(|s| &s.worker);
    let fourmi = Setup::alone().outbound(service(&workers, "healthchecks: {passive: {max_ejected: 0.5}}")).start();
    let spared = || shown(&fourmi, "stock")["spared"].as_u64().unwrap();
    until("one is spared", || {
        ask(&fourmi, "stock");
        spared() > 0
    });
    let ejected = || workers.iter().filter(|w| state(&fourmi, "stock", w.address()) == "ejected").count();
    assert_eq!(ejected(), 2, "half of them, whatever the rest does");
    fourmi.says("not ejected, too few would be left");

    let workers = [named("one"), named("two"), named("three")];
    let keys = "healthchecks: {threshold: 50}";
    let all = service(&workers.each_ref(), keys);
    let fourmi = Setup::alone().outbound(all).more("timeouts: {hold: 10ms}").start();
    let down = |worker: &Worker| hand(&fourmi, "stock", worker.address(), "down");
    down(&workers[0]);
    assert_eq!(ask(&fourmi, "stock").0, 200, "two thirds are more than half");
    down(&workers[1]);
    let answer = ask(&fourmi, "stock");
    assert_eq!(answer.0, 503, "one third is not: {}", answer.1);
    hand(&fourmi, "stock", workers[0].address(), "auto");
    assert_eq!(ask(&fourmi, "stock").0, 200);
}

#[test]
fn what_is_known_outlives_a_reload() {
    let (a, [b, c, d]) = (sick(), [named("b"), named("c"), named("d")]);
    let list = |all: &[(&Worker, u32)]| {
        let each: Vec<String> =
            all.iter().map(|(w, weight)| format!("{{url: \"{}\", weight: {weight}}}", w.address())).collect();
        format!("address: [{}]", each.join(", "))
    };
    let keys = "algorithm: round-robin, retries: {budget: {least: 100}}";
    let first = list(&[(&a.worker, 100), (&b, 100), (&c, 100)]);
    let fourmi = Setup::alone().outbound(format!("{{stock: {{{first}, {keys}}}}}")).start();
    let with = |addresses: &str| fourmi.yaml().replace(&first, addresses);
    let is = |worker: &Worker| one(&fourmi, "stock", worker.address());
    until("one is ejected", || {
        ask(&fourmi, "stock");
        is(&a.worker)["state"] == "ejected"
    });
    hand(&fourmi, "stock", b.address(), "down");
    let (asked, left) = (a.asked(), is(&a.worker)["ejected_for_seconds"].as_f64().unwrap());
    let given = is(&c)["commands"].as_u64().unwrap();

    // New weights and one more, by a signal.
    fourmi.rewrite(&with(&list(&[(&a.worker, 50), (&b, 60), (&c, 70), (&d, 70)])));
    fourmi.signal(Signal::SIGHUP);
    until("the new weights hold", || is(&c)["weight"] == 70 && is(&b)["weight"] == 60 && is(&a.worker)["weight"] == 50);
    assert_eq!(is(&b)["state"], "forced-down");
    let instance = is(&a.worker);
    assert_eq!((&instance["state"], &instance["ejections"]), (&"ejected".into(), &1.into()), "{instance}");
    assert!(instance["ejected_for_seconds"].as_f64().unwrap() <= left, "{instance}");
    assert_eq!(is(&c)["commands"].as_u64().unwrap(), given, "what was counted stays");
    let said = answers(&fourmi, "stock", 20);
    assert!(said.iter().all(|n| n == "c" || n == "d") && said.contains(&"d".to_owned()), "{said:?}");
    assert_eq!((a.asked(), b.requests().len() as u64), (asked, is(&b)["commands"].as_u64().unwrap()));

    // One less, through the API and under load: from then on it gets nothing.
    let load = Load::on(fourmi.outbound_port(), 4, "GET / HTTP/1.1\r\nHost: stock\r\n\r\n");
    until("the load runs", || load.answered() > 100);
    fourmi.rewrite(&with(&list(&[(&a.worker, 50), (&b, 60), (&d, 70)])));
    let answer = fourmi.admin("POST", "/api/v1/reload");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    // What was on its way is answered.
    let reloaded = load.answered();
    until("what was on its way is answered", || load.answered() > reloaded + 200);
    let (gone, now) = (c.requests().len(), load.answered());
    until("the load goes on", || load.answered() > now + 200);
    let tally = load.stop();
    assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "{tally:?}");
    assert_eq!(c.requests().len(), gone);
    let service = shown(&fourmi, "stock");
    assert_eq!(service["instances"].as_array().unwrap().len(), 3, "{service}");
    assert_eq!(is(&b)["state"], "forced-down");
    assert_eq!(why(&fourmi, "stock", b.address()), "it is forced-down");
    assert_eq!(is(&a.worker)["ejections"], 1);

    // By hand in, whatever its commands said; by hand as it was.
    a.well.store(true, Ordering::Release);
    hand(&fourmi, "stock", a.worker.address(), "up");
    hand(&fourmi, "stock", b.address(), "auto");
    assert_eq!((&is(&a.worker)["state"], &is(&b)["state"]), (&"forced-up".into(), &"healthy".into()));
    let said = answers(&fourmi, "stock", 180);
    let of = |name: &str| said.iter().filter(|n| *n == name).count();
    assert_eq!((of("sick"), of("b"), of("d")), (50, 60, 70), "by the weights of now");
    let instance = is(&d);
    assert!(instance["latency_ms"].as_f64().unwrap() > 0.0 && instance["in_flight"] == 0, "{instance}");
    assert_eq!(instance["commands"].as_u64().unwrap(), d.requests().len() as u64);
    let answer = fourmi.admin("POST", "/api/v1/upstreams/health?service=stock&instance=http://127.0.0.1:1&state=up");
    assert!(answer.status() == 404 && answer.text().contains(d.address()), "{}", answer.text());
}

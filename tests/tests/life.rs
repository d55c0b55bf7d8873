//! Start, reload, drain, end; field pains G. Each name that begins with a row proves it.

use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Load, Setup, Worker, eventually, free_port, peers, run_fourmi, until};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

#[test]
fn g1_run_ends_with_the_workers_exit_code() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let port = free_port();
        let setup = Setup::beside(&format!("http://127.0.0.1:{port}")).running(&["sh", "-c", script]);
        assert_eq!(setup.spawn().ends(), code, "{script}");
    }
    let setup = Setup::beside(&format!("http://127.0.0.1:{}", free_port())).running(&["/no/such/program"]);
    assert_ne!(setup.spawn().ends(), 0);
}

#[test]
fn g1_the_worker_starts_when_the_listeners_are_ready_and_is_told_to_stop() {
    let stock = Worker::echo();
    let setup = Setup::beside(&format!("http://127.0.0.1:{}", free_port()));
    let marker = setup.folder().join("said");
    let script = format!(
        "trap 'echo stopped >> {0}; exit 0' TERM; curl -sS --noproxy '*' -H 'Host: stock' $ASK > /dev/null 2>> {0} && echo asked >> {0}; \
         while :; do sleep 0.05; done",
        marker.display()
    );
    let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
    let setup = setup.outbound(services).running(&["sh", "-c", &script]);
    let outbound = setup.yaml().split("outbound: [{listen: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut fourmi = setup.env("ASK", outbound).spawn();
    let said = || std::fs::read_to_string(&marker).unwrap_or_default();
    // No sleep, no retry: the first outbound call of the worker works.
    eventually("the worker's first call", || said().contains("asked").then_some(()));
    assert_eq!(said(), "asked\n");
    fourmi.signal(Signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
    assert_eq!(said(), "asked\nstopped\n");
}

#[test]
fn g2_the_outbound_side_is_up_at_once() {
    let stock = Worker::echo();
    let nobody = free_port();
    let setup = Setup::beside(&format!("http://127.0.0.1:{nobody}"));
    let fourmi = setup.outbound(format!("{{stock: {{address: \"{}\"}}}}", stock.address())).spawn();
    let port = fourmi.outbound_port();
    until("outbound listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let took = fourmi.started.elapsed();
    // The limit is 100 ms for a release build on a quiet machine.
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(fourmi.outbound().send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer().status(), 200);
}

#[test]
fn g3_g5_draining_is_inbound_only_and_finishes_what_is_in_flight() {
    let (worker, stock) = (Worker::echo(), Worker::echo());
    let services = format!("{{stock: {{address: \"{}\"}}}}", stock.address());
    let mut fourmi = Setup::beside(worker.address()).outbound(services).start();
    let mut kept = fourmi.outbound();
    assert_eq!(kept.send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer().status(), 200);
    let mut idle = fourmi.client();
    idle.get("/");
    let mut busy = fourmi.client();
    busy.send("GET /slow/1200 HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the worker has it", || worker.requests().len() == 2);
    fourmi.signal(Signal::SIGTERM);
    // Idle callers are let go, new ones are not taken.
    assert_eq!(idle.rest(), "");
    until("inbound is closed", || std::net::TcpStream::connect(("127.0.0.1", fourmi.port())).is_err());
    // The worker still reaches the world, and nobody asks it to close its connections.
    let answer = kept.send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
    assert_eq!((answer.status(), answer.says("connection", "close")), (200, false));
    let answer = busy.answer();
    assert_eq!((answer.status(), answer.says("connection", "close")), (200, true));
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn g4_one_sigterm_drains_and_a_second_forces() {
    for signals in [[Signal::SIGTERM, Signal::SIGTERM], [Signal::SIGINT, Signal::SIGINT]] {
        let worker = Worker::echo();
        let mut fourmi = Setup::beside(worker.address()).start();
        let mut busy = fourmi.client();
        busy.send("GET /slow/20000 HTTP/1.1\r\nHost: a\r\n\r\n");
        until("the worker has it", || worker.requests().len() == 1);
        fourmi.signal(signals[0]);
        until("it is stopping", || fourmi.try_admin("GET", "/readyz").is_some_and(|a| a.status() == 503));
        assert!(fourmi.is_running(), "it waits for what is in flight");
        let second = Instant::now();
        fourmi.signal(signals[1]);
        let code = fourmi.ends();
        assert!(second.elapsed() < Duration::from_secs(3), "{:?}", second.elapsed());
        assert_eq!(code, 130, "forced");
    }
}

#[test]
fn g6_the_grace_is_configurable_and_25_seconds_by_default() {
    assert_eq!(fourmi::pipeline::Timeouts::default().drain, Duration::from_secs(25));
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).more("timeouts: {drain: 500ms}").start();
    let mut busy = fourmi.client();
    busy.send("GET /slow/20000 HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the worker has it", || worker.requests().len() == 1);
    let told = Instant::now();
    fourmi.signal(Signal::SIGTERM);
    fourmi.ends();
    assert!((400..5000).contains(&(told.elapsed().as_millis() as u64)), "{:?}", told.elapsed());
}

#[test]
fn g7_an_attempt_of_a_stored_command_ends_inside_the_grace() {
    let (worker, latch) = Worker::held("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let mut fourmi = Setup::beside(worker.address()).more("spool: {path: ./spool}").start();
    fourmi.later("/held", "Fourmi-Id: g7\r\n", "x");
    until("the worker has it", || worker.had("g7") == 1);
    fourmi.signal(Signal::SIGTERM);
    until("inbound is closed", || std::net::TcpStream::connect(("127.0.0.1", fourmi.port())).is_err());
    assert!(fourmi.is_running(), "it waits for what it has sent");
    latch.open();
    assert_eq!(fourmi.ends(), 0);
    fourmi.spawn_again();
    fourmi.wait_ready();
    let one = fourmi.becomes("g7", "succeeded");
    assert_eq!((worker.had("g7"), &one["attempt"]), (1, &serde_json::json!(1)), "it is not sent twice");
}

#[test]
fn g8_ports_that_are_taken_or_the_workers_own() {
    use fourmi::names::port;
    for port in [port::INBOUND, port::OUTBOUND, port::ADMIN] {
        assert!(port < 32_768, "{port} is in the range of outgoing connections");
    }
    let worker = Worker::echo();
    let setup = Setup::beside(worker.address());
    let port = setup.inbound_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut fourmi = setup.spawn();
    assert_ne!(fourmi.ends(), 0);
    fourmi.says(&port.to_string());

    let setup = Setup::beside("http://127.0.0.1:1");
    let own = setup.inbound_port();
    let setup = setup.worker(format!("{{address: \"http://127.0.0.1:{own}\"}}"));
    let mut fourmi = setup.spawn();
    assert_eq!(fourmi.ends(), 78, "{}", fourmi.stderr());
    // A log shows no line of the file, which may hold secrets.
    fourmi.says("fourmi.yaml:4:19: error[config/loop]: `worker.address` is Fourmi's own listener `inbound[0].listen`");
}

#[test]
fn exit_codes_tell_what_was_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.yaml", "worker: {address: \"http://127.0.0.1:8080\"}\n");
    let bad = file("bad.yaml", "wroker: {address: \"http://127.0.0.1:8080\"}\n");
    let broken = file("broken.yaml", "worker: {address: [\n");
    let missing = folder.path().join("missing.yaml").display().to_string();
    for (arguments, code) in [
        (vec!["--nonsense"], 2),
        (vec!["nonsense"], 2),
        (vec!["run", "-c", &missing], 66),
        (vec!["run", "-c", &bad], 78),
        (vec!["run", "-c", &broken], 78),
        (vec!["validate", &missing], 66),
        (vec!["validate", &bad], 78),
        (vec!["validate", &good], 0),
        (vec!["reload", "--admin", "http://127.0.0.1:9"], 69),
        (vec!["version"], 0),
        (vec!["--help"], 0),
    ] {
        let ended = run_fourmi(&arguments);
        assert_eq!(ended.code, code, "fourmi {arguments:?}\n{}{}", ended.stdout, ended.stderr);
        assert!(code == 0 || !ended.stderr.trim().is_empty(), "{arguments:?} says why");
    }
}

#[test]
fn validate_shows_every_mistake_with_its_place_and_fix() {
    let folder = tempfile::tempdir().unwrap();
    let text = "service: payment\nworker:\n  adress: http://127.0.0.1:8080\ninbound:\n  - listen: 127.0.0.1:banana\nlimits:\n  body: lots\n\
                timeouts: {connect: 5 parsecs}\nlogs:\n  - grailog: {to: \"udp://127.0.0.1:12201\"}\n";
    std::fs::write(folder.path().join("five.yaml"), text).unwrap();
    let ended = run_fourmi_in(folder.path(), &["validate", "five.yaml"]);
    assert_eq!(ended.code, 78);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for place in ["five.yaml:3:", "five.yaml:5:", "five.yaml:7:", "five.yaml:8:", "five.yaml:10:"] {
        assert!(said.contains(place), "{place} is missing in\n{said}");
    }
    for fix in ["did you mean `address`", "did you mean `graylog`"] {
        assert!(said.contains(fix), "{fix} is missing in\n{said}");
    }
    assert!(said.contains('^'), "no caret in\n{said}");
}

#[test]
fn readiness_names_what_is_not_ready_and_liveness_does_not_care() {
    let port = free_port();
    let address = format!("http://127.0.0.1:{port}");
    let setup = Setup::beside(&address)
        .worker(format!("{{address: \"{address}\", ready: {{http: /healthz, interval: 100ms}}}}"));
    let mut fourmi = setup.spawn();
    fourmi.wait_live();
    let ready = fourmi.admin("GET", "/readyz");
    assert_eq!(ready.status(), 503);
    assert!(ready.text().contains("worker"), "{}", ready.text());
    let worker = Worker::replying_on(port, |request| {
        let status = if request.target() == "/healthz" { "204 No Content" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\n{}\r\n", if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" })
            .into()
    });
    fourmi.wait_ready();
    assert_eq!(fourmi.get("/").status(), 200);
    drop(worker);
    eventually("the loss of the worker is seen", || (fourmi.admin("GET", "/readyz").status() == 503).then_some(()));
    assert_eq!(fourmi.admin("GET", "/livez").status(), 200);
}

#[test]
fn commands_are_held_for_a_worker_that_is_slower_than_fourmi() {
    let port = free_port();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{port}")).more("timeouts: {hold: 8s}").spawn();
    fourmi.wait_live();
    let mut early = fourmi.client();
    early.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
    fourmi.counts("fourmi_commands_in_flight", &[("direction", "inbound")], 1.0);
    let _worker = Worker::echo_on(port);
    assert_eq!(early.answer().json()["target"], "/early");
}

#[test]
fn a_worker_that_does_not_come_is_a_503_that_says_when_to_ask_again() {
    let port = free_port();
    let fourmi = Setup::beside(&format!("http://127.0.0.1:{port}")).more("timeouts: {hold: 300ms}").spawn();
    fourmi.wait_live();
    let asked = Instant::now();
    let answer = fourmi.get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.header("retry-after").is_some_and(|v| v.parse::<u32>().is_ok()), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(answer.json()["status"], 503);
    fourmi.counts("fourmi_commands_total", &[("outcome", "unreachable")], 1.0);
}

#[test]
fn reloading_under_load_loses_nothing_even_with_broken_files() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let load = Load::on(fourmi.port(), 8, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let good = fourmi.yaml();
    for round in 1..=60 {
        let broken = round % 10 == 0;
        let more = if broken { "wroker: 1\n".to_owned() } else { format!("tags: {{round: r{round}}}\n") };
        fourmi.rewrite(&format!("{good}{more}"));
        if round % 2 == 0 && !broken {
            fourmi.signal(Signal::SIGHUP);
            fourmi.counts("fourmi_reloads_total", &[], f64::from(round));
        } else {
            let answer = fourmi.admin("POST", "/api/v1/reload");
            assert_eq!(answer.status() >= 400, broken, "round {round}: {}", answer.text());
            assert!(!broken || answer.text().contains("wroker"), "{}", answer.text());
        }
    }
    let answered = load.answered();
    until("the load went on", || load.answered() > answered + 50);
    let tally = load.stop();
    assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "{tally:?}");
    fourmi.says("wroker");
    fourmi.counts("fourmi_commands_total", &[("outcome", "success")], tally.sent() as f64);
}

#[test]
fn reload_applies_what_it_read_and_a_bad_file_keeps_the_old() {
    let (first, second) = (
        Worker::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"),
        Worker::answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"),
    );
    let fourmi = Setup::beside(first.address()).start();
    let mut client = fourmi.client();
    assert_eq!(client.get("/").text(), "first");
    let other = fourmi.yaml().replace(first.address(), second.address());
    fourmi.rewrite(&other);
    fourmi.signal(Signal::SIGHUP);
    eventually("the new worker answers", || (client.get("/").text() == "second").then_some(()));
    fourmi.rewrite("worker: {address: [}\n");
    fourmi.signal(Signal::SIGHUP);
    fourmi.says("fourmi.yaml:1:");
    assert_eq!(client.get("/").text(), "second");
    assert_eq!(fourmi.admin("GET", "/readyz").status(), 200);
}

#[test]
fn listeners_come_and_go_with_the_file() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).start();
    let extra = free_port();
    let old = format!("inbound: [{{listen: \"http://127.0.0.1:{}\"}}]", fourmi.port());
    let both = format!(
        "inbound: [{{listen: \"http://127.0.0.1:{}\"}}, {{listen: \"http://127.0.0.1:{extra}\"}}]",
        fourmi.port()
    );
    let yaml = fourmi.yaml();
    assert!(yaml.contains(&old));
    fourmi.rewrite(&yaml.replace(&old, &both));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    until("the new port listens", || std::net::TcpStream::connect(("127.0.0.1", extra)).is_ok());
    assert_eq!(fourmi_tests::Client::connect(extra).get("/").status(), 200);
    fourmi.rewrite(&yaml);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    until("it is closed again", || std::net::TcpStream::connect(("127.0.0.1", extra)).is_err());
    assert_eq!(fourmi.get("/").status(), 200);
}

#[test]
fn the_admin_api_is_not_for_web_pages_of_others() {
    let worker = Worker::echo();
    let mut fourmi = Setup::beside(worker.address()).start();
    let ask = |host: &str| {
        let mut client = fourmi_tests::Client::connect(fourmi.admin_port());
        client.send(format!("GET /api/v1/config HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
    };
    assert_eq!(ask("evil.example").status(), 403);
    let config = ask(&format!("127.0.0.1:{}", fourmi.admin_port()));
    assert_eq!(config.status(), 200);
    assert!(config.text().contains("payment"), "{}", config.text());
    assert_eq!(fourmi.admin("GET", "/api/v1/stop").status(), 405, "changes are POST");
    assert_eq!(fourmi.admin("GET", "/nowhere").status(), 404);
    assert!(fourmi.admin("POST", "/api/v1/drain").status() < 300);
    eventually("draining is not ready", || (fourmi.try_admin("GET", "/readyz")?.status() == 503).then_some(()));
    fourmi.admin("POST", "/api/v1/stop");
    assert_eq!(fourmi.ends(), 0);
}

#[test]
fn killing_one_of_four_workers_costs_at_most_what_it_held() {
    let mut workers: Vec<peers::Peer> = (0..4).map(|_| peers::node_worker()).collect();
    let addresses: Vec<String> = workers.iter().map(|w| format!("http://127.0.0.1:{}", w.port)).collect();
    let fourmi = Setup::beside_all(addresses.iter().map(String::as_str)).start();
    let callers = 8;
    let load = Load::on(fourmi.port(), callers, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    until("the load runs", || load.answered() > 300);
    workers[1].kill_9();
    let then = load.answered();
    until("the load goes on", || load.answered() > then + 1000);
    let tally = load.stop();
    let failed = tally.sent() - tally.with(200);
    assert_eq!(tally.lost, 0, "every caller gets an answer: {tally:?}");
    assert!(failed <= callers as u64, "more failed than the dead worker can have held: {tally:?}");
    fourmi.counts("fourmi_commands_total", &[("outcome", "unreachable")], failed as f64);
    fourmi.counts("fourmi_commands_total", &[], tally.sent() as f64);
}

#[test]
fn without_a_file_it_says_so_and_help_leads_with_examples() {
    let folder = tempfile::tempdir().unwrap();
    let help = run_fourmi_in(folder.path(), &["--help"]);
    assert!(help.stdout.contains("fourmi run") && help.stderr.is_empty(), "{help:?}");
    let init = run_fourmi_in(folder.path(), &["init"]);
    assert_eq!(init.code, 0, "{init:?}");
    assert!(folder.path().join("fourmi.yaml").exists());
    assert_eq!(run_fourmi_in(folder.path(), &["validate"]).code, 0, "what init writes is valid");
    assert_ne!(run_fourmi_in(folder.path(), &["init"]).code, 0, "an existing file is not overwritten");
}

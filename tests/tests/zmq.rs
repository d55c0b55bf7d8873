//! Commands over ZeroMQ, with libzmq's own sockets on both sides: what must hold when things go wrong.

use fourmi_tests::peers::{Binding, php_prints, php_runs, zmq_case, zmq_client, zmq_worker, zmq_worker_with};
use fourmi_tests::{Fourmi, GelfServer, Setup, Worker, free_port, run_fourmi, until};
use serde_json::{Value, json};

/// Fourmi beside a worker of ZeroMQ, with more keys of the worker's section and of the listener's `zmq`.
fn beside(port: u16, worker: &str, zmq: &str) -> Setup {
    let setup = Setup::beside("").worker(format!("{{address: \"zmq+tcp://127.0.0.1:{port}\"{worker}}}"));
    if zmq.is_empty() { setup } else { setup.inbound(format!("zmq: {{{zmq}}}")) }
}

/// Started while its worker is away.
fn away(setup: Setup) -> Fourmi {
    let fourmi = setup.spawn();
    fourmi.wait_live();
    fourmi
}

fn case(name: &str, fourmi: &Fourmi, more: &[&str]) -> String {
    let port = fourmi.port().to_string();
    let arguments: Vec<&str> = std::iter::once(port.as_str()).chain(more.iter().copied()).collect();
    zmq_case(name, &arguments).trim_end().to_owned()
}

fn frames(fourmi: &Fourmi, texts: &[&str]) -> Vec<String> {
    serde_json::from_str(&case("frames", fourmi, texts)).unwrap()
}

fn got(worker: &fourmi_tests::peers::Peer, text: &str) -> usize {
    worker.output().lines().filter(|line| *line == format!("got {text}")).count()
}

#[test]
fn the_wire_holds_what_it_promises() {
    let gelf = GelfServer::start();
    let worker = zmq_worker(Binding::Python, "rep", None);
    let fourmi = beside(worker.port, "", "").gelf(&gelf).start();
    assert_eq!(case("large", &fourmi, &["10"]), "True");
    assert_eq!(case("large", &fourmi, &["17"]), "no answer");
    until("its size is in the log", || fourmi.stderr().contains("a frame of 17825792 bytes would make a message"));
    assert_eq!(case("correlate", &fourmi, &[]), "[b'two']");
    assert_eq!(case("hostile", &fourmi, &[&fourmi.pid().to_string()]), "[b'after'] True");
    assert_eq!(case("heartbeats", &fourmi, &[]), "[b'sleep 1500']");
    let answer = case("bare", &fourmi, &[]);
    assert!(answer.contains("no empty frame before it") && answer.contains("zmq.envelope: raw"), "{answer}");
    // Every one is told, with its protocol.
    let records = gelf.wait_for(8);
    assert!(records.iter().all(|r| r["_protocol"] == "zmq" && r["_command"] == "message"), "{records:#?}");
    let refused = records.iter().find(|r| r["_outcome"] == "rejected").unwrap();
    assert_eq!(refused["_status"], 400);

    let raw = beside(worker.port, "", "envelope: raw").start();
    assert_eq!(case("bare", &raw, &[]), "['hello', 'there']");
    let patient = beside(worker.port, "", "").more("timeouts: {head: 1s}").start();
    assert_eq!(case("silent", &patient, &["1000"]), "[b'me'] all closed");
}

#[test]
fn a_rep_has_one_command_at_a_time() {
    let overlaps = |worker: &str| -> u32 {
        let port = free_port();
        let at = port.to_string();
        let rep = std::thread::spawn(move || zmq_case("lonely", &[&at, "50"]));
        until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let fourmi = beside(port, worker, "").start();
        std::thread::scope(|scope| {
            let crowd = scope.spawn(|| case("crowd", &fourmi, &["50"]));
            // How many wait is told.
            until("most wait", || fourmi.metrics().sum("fourmi_commands_waiting", &[("service", "payment")]) > 10.0);
            assert_eq!(crowd.join().unwrap(), "50");
        });
        fourmi.counts("fourmi_commands_waiting", &[("service", "payment")], 0.0);
        let said = rep.join().unwrap();
        said.strip_prefix("ready\ndone 50 overlaps ").unwrap_or_else(|| panic!("{said}")).trim().parse().unwrap()
    };
    assert_eq!(overlaps(""), 0);
    // Unless it is wished: a command lies there already when it is done with the one before.
    assert!(overlaps(", zmq: {ahead: 3}") > 20);
}

#[test]
fn commands_keep_their_order_while_their_worker_is_away() {
    let port = free_port();
    let fourmi = away(beside(port, "", "").more("timeouts: {hold: 20s}"));
    for _ in 0..2 {
        let (answers, worker) = std::thread::scope(|scope| {
            let asked = scope.spawn(|| case("ordered", &fourmi, &["40"]));
            until("all wait", || fourmi.metrics().sum("fourmi_commands_waiting", &[]) == 40.0);
            let worker = zmq_worker(Binding::Python, "rep", Some(port));
            (asked.join().unwrap(), worker)
        });
        let expected: Vec<u32> = (0..40).collect();
        assert_eq!(serde_json::from_str::<Vec<u32>>(&answers).unwrap(), expected);
        let done: Vec<u32> =
            worker.output().lines().filter_map(|line| line.strip_prefix("got ")?.parse().ok()).collect();
        assert_eq!(done, expected);
    }
    let worker = zmq_worker(Binding::Python, "rep", Some(port));
    assert_eq!(case("full", &fourmi, &[]), "100 0", "{}", worker.output());
}

#[test]
fn a_worker_that_dies_leaves_nobody_hanging() {
    let port = free_port();
    let mut worker = zmq_worker(Binding::Php, "rep", Some(port));
    let fourmi = beside(port, "", "").more("timeouts: {hold: 10s}").start();
    assert_eq!(frames(&fourmi, &["before"]), ["before"]);
    // Killed with a command in its hands: nobody knows whether it was done, and it is not done again.
    let lost = std::thread::scope(|scope| {
        let asked = scope.spawn(|| frames(&fourmi, &["sleep 5000"]));
        until("it has the command", || got(&worker, "sleep 5000") == 1);
        worker.kill_9();
        asked.join().unwrap()
    });
    let problem: Value = serde_json::from_str(&lost[0]).unwrap();
    assert_eq!((&problem["status"], &problem["type"]), (&json!(502), &json!("urn:fourmi:error:broken")));
    // What comes while it is away waits for it.
    let (answer, back) = std::thread::scope(|scope| {
        let waits = scope.spawn(|| frames(&fourmi, &["next"]));
        std::thread::sleep(std::time::Duration::from_secs(2));
        let back = zmq_worker(Binding::Php, "rep", Some(port));
        (waits.join().unwrap(), back)
    });
    assert_eq!(answer, ["next"]);
    assert_eq!((got(&back, "next"), got(&back, "sleep 5000")), (1, 0));

    // What may run twice does.
    let mut worker = zmq_worker(Binding::Python, "rep", None);
    let fourmi = beside(worker.port, ", retries: {idempotent: true}", "").more("timeouts: {hold: 10s}").start();
    assert_eq!(frames(&fourmi, &["before"]), ["before"]);
    let (answer, back) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| frames(&fourmi, &["sleep 700"]));
        until("it has the command", || got(&worker, "sleep 700") == 1);
        worker.kill_9();
        let back = zmq_worker(Binding::Python, "rep", Some(worker.port));
        (asked.join().unwrap(), back)
    });
    assert_eq!((answer, got(&back, "sleep 700")), (vec!["sleep 700".to_owned()], 1));

    // An answer that is late goes to nobody else, and its worker is given nothing before.
    let fourmi = beside(back.port, "", "").more("timeouts: {answer: 400ms, hold: 10s}").start();
    let said: Value = serde_json::from_str(&case("late", &fourmi, &[])).unwrap();
    assert_eq!(said[0], 504, "{said}");
    fourmi.counts("fourmi_answers_dropped_total", &[("reason", "late")], 1.0);
}

#[test]
fn callers_are_answered_before_their_patience_ends() {
    let setup = |zmq: &str| beside(free_port(), "", &format!("client_timeout: 1s{zmq}"));
    let said: Value = serde_json::from_str(&case("impatient", &away(setup("")), &["1000", "x"])).unwrap();
    let problem: Value = serde_json::from_str(said[0].as_str().unwrap()).unwrap();
    assert!([503, 504].contains(&problem["status"].as_u64().unwrap()), "{problem}");
    let text = away(setup(", errors: '{\"failed\": {status}, \"why\": \"{code}\"}'"));
    let said: Value = serde_json::from_str(&case("impatient", &text, &["1000", "x"])).unwrap();
    let document: Value = serde_json::from_str(said[0].as_str().unwrap()).unwrap();
    assert!([503, 504].contains(&document["failed"].as_u64().unwrap()), "{document}");

    // With a store, what nobody could do is kept, and its caller is told so.
    let kept = setup(", accepted: 'STORED {state}', frames: [id, body]");
    let kept = away(kept.more("commands: {save_on_fail: true}\nspool: {path: ./spool}"));
    let port = kept.port().to_string();
    let said = zmq_case("frames", &[&port, "order-7", "{\"a\": 1}"]);
    assert!(said.starts_with("[\"STORED "), "{said}");
    let list = kept.spools(&["list"]);
    assert!(list.contains("order-7") && list.contains("retrying") || list.contains("ready"), "{list}");
}

#[test]
fn callers_prove_who_they_are() {
    let worker = zmq_worker(Binding::Python, "rep", None);
    let setup = beside(worker.port, "", "");
    let folder = setup.folder().display().to_string();
    std::fs::write(setup.folder().join("users"), "# who may\nalice:wonder:land\nbob:builder\n").unwrap();
    let plain = setup.inbound(format!("zmq: {{plain: {{users_file: {folder}/users}}}}")).start();
    assert_eq!(case("login", &plain, &["alice", "wonder:land"]), "['hello']");
    assert_eq!(case("login", &plain, &["bob", "secretive"]), "no answer");
    assert_eq!(case("null", &plain, &[]), "no answer");
    until("the log names the user", || plain.stderr().contains("bob could not prove who it is"));
    assert!(!plain.stderr().contains("secretive"), "{}", plain.stderr());
    assert!(plain.metrics().sum("fourmi_rejected_total", &[("reason", "login")]) >= 1.0);

    let keys: Vec<[String; 2]> = serde_json::from_str(&zmq_case("keys", &["3"])).unwrap();
    let [[server, secret], [alice, alices], [carol, carols]] = &keys[..] else { panic!("{keys:?}") };
    let setup = beside(worker.port, "", "");
    std::fs::write(setup.folder().join("secret"), secret).unwrap();
    std::fs::write(setup.folder().join("clients"), format!("{alice} alice\n")).unwrap();
    let files = format!("secret_key_file: {0}/secret, clients_file: {0}/clients", setup.folder().display());
    let curve = setup.inbound(format!("zmq: {{curve: {{{files}}}}}")).start();
    assert_eq!(case("curve", &curve, &[server, alice, alices]), "[b'hello']");
    assert_eq!(case("curve", &curve, &[server, carol, carols]), "no answer");
    assert_eq!(case("curve", &curve, &[alice, alice, alices]), "no answer");
    // Where it is the worker that wants a proof, or an encryption.
    let plain = zmq_worker_with(Binding::Python, "rep", None, &["plain"]);
    let fourmi = beside(plain.port, ", zmq: {plain: {user: us, password: pass}}", "").start();
    assert_eq!(frames(&fourmi, &["plain"]), ["plain"]);
    let encrypted = zmq_worker_with(Binding::Python, "router", None, &[secret]);
    let fourmi = beside(encrypted.port, &format!(", zmq: {{server_key: '{server}'}}"), "").start();
    assert_eq!(frames(&fourmi, &["curve"]), ["curve"]);
    assert!(curve.stderr().contains(&format!("{carol} could not prove who it is")), "{}", curve.stderr());
}

#[test]
fn a_reload_holds_for_connections_that_stand() {
    let worker = zmq_worker(Binding::Python, "rep", None);
    let fourmi = beside(worker.port, "", "frames: [name, body], reply: [status, body]").start();
    let file = fourmi.folder().join("fourmi.yaml").display().to_string();
    let reads = |fourmi: &Fourmi, sockets: Value, steps: Value| -> (Value, Value) {
        let script = json!({ "sockets": sockets, "steps": steps }).to_string();
        serde_json::from_str(&case("reloads", fourmi, &[&fourmi.admin_port().to_string(), &script])).unwrap()
    };
    let yaml = fourmi.yaml();
    let body = yaml.replace("frames: [name, body], reply: [status, body]", "frames: [body]");
    let small = yaml.replace("reply: [status, body]", "reply: [status, body], max_message: 100");
    let (said, lost) = reads(
        &fourmi,
        json!({"a": {}, "b": {}}),
        json!([
            {"ask": ["a", "Place", "x"]},
            {"ask": ["b", "Place", "x"]},
            {"write": {&file: body}, "ask": ["a", "Cancel", "y"]},
            {"write": {&file: small}, "ask": ["a", "Place", "x".repeat(90)]},
            {"ask": ["b", "Place", "x".repeat(100)]},
        ]),
    );
    let ok = ["200", "Place", "x"];
    assert_eq!(said, json!([ok, ok, ["Cancel", "y"], ["200", "Place", "x".repeat(90)], "no answer"]));
    assert_eq!(lost, json!({"a": false, "b": true}));
    let names = fourmi.metrics();
    let of = |name: &str| names.sum("fourmi_commands_total", &[("command", name)]);
    assert_eq!((of("Place"), of("message")), (3.0, 1.0), "{}", names.text());

    // Who is not in the file of users any more is not let on; who is, does not notice.
    let setup = beside(worker.port, "", "");
    let users = setup.folder().join("users").display().to_string();
    std::fs::write(&users, "alice:wonder\nbob:builder\n").unwrap();
    let plain = setup.inbound(format!("zmq: {{plain: {{users_file: {users}}}}}")).start();
    let (said, lost) = reads(
        &plain,
        json!({
            "alice": {"PLAIN_USERNAME": "alice", "PLAIN_PASSWORD": "wonder"},
            "bob": {"PLAIN_USERNAME": "bob", "PLAIN_PASSWORD": "builder"},
        }),
        json!([
            {"ask": ["alice", "1"]},
            {"ask": ["bob", "2"]},
            {"write": {&users: "carol:c\nalice:wonder\n"}, "ask": ["alice", "3"]},
            {"ask": ["bob", "4"]},
        ]),
    );
    assert_eq!((said, lost), (json!([["1"], ["2"], ["3"], "no answer"]), json!({"alice": false, "bob": true})));
}

#[test]
fn messages_that_do_not_come_to_their_end_have_limits() {
    let worker = zmq_worker(Binding::Python, "router", None);
    let fourmi = beside(worker.port, "", "").more("timeouts: {answer: 2s}").start();
    assert_eq!(case("half", &fourmi, &[]), "[b'after']");
    fourmi.says("a message did not come to its end in time (timeouts.answer)");
    assert_eq!(case("unread", &fourmi, &[&fourmi.admin_port().to_string()]), "True");
    fourmi.counts("fourmi_rejected_total", &[("reason", "bad-request")], 2.0);
    let fourmi = beside(worker.port, "", "").start();
    assert_eq!(case("greedy", &fourmi, &[&fourmi.pid().to_string()]), "True True [b'small'] True");
    assert_eq!(case("parting", &fourmi, &[&fourmi.pid().to_string()]), "True");
}

#[test]
fn a_gateway_guards_messages_as_it_guards_requests() {
    let gelf = GelfServer::start();
    let worker = zmq_worker(Binding::Python, "rep", None);
    let kong = "gateway:
  _format_version: '3.0'
  services:
    - name: shop
      url: http://worker
      routes: [{name: orders, paths: [/PlaceOrder], strip_path: false}]
      plugins: [{name: key-auth}, {name: rate-limiting, config: {minute: 2, policy: local}}]
  consumers: [{username: alice, keyauth_credentials: [{key: wonder}]}]
";
    let fourmi = beside(worker.port, "", "frames: [name, apikey, body]").gelf(&gelf).more(kong).start();
    let ask = |name: &str, key: &str| frames(&fourmi, &[name, key, "body"]);
    // The worker gets the frames that came.
    assert_eq!(ask("PlaceOrder", "wonder"), ["PlaceOrder", "wonder", "body"]);
    assert!(ask("PlaceOrder", "")[0].contains("No API key found in request"));
    assert!(ask("PlaceOrder", "wrong")[0].contains("Unauthorized"));
    assert!(ask("Elsewhere", "wonder")[0].contains("no Route matched"));
    assert_eq!(ask("PlaceOrder", "wonder")[2], "body");
    assert!(ask("PlaceOrder", "wonder")[0].contains("API rate limit exceeded"));
    let records = gelf.wait_for(6);
    let statuses: Vec<i64> = records.iter().map(|r| r["_status"].as_i64().unwrap()).collect();
    assert_eq!(statuses, [200, 401, 401, 404, 200, 429]);
    assert_eq!((&records[0]["_consumer"], &records[0]["_command"]), (&json!("alice"), &json!("PlaceOrder")));
    assert!(records[1]["_error"].as_str().unwrap().contains("key-auth"), "{:#?}", records[1]);
    assert!(records.iter().all(|r| !r.to_string().contains("wonder")), "no record has the key");
    assert_eq!(fourmi.metrics().sum("fourmi_rejected_total", &[("reason", "key-auth")]), 2.0);
    assert_eq!(got(&worker, "body"), 2);
}

#[test]
fn requests_and_messages_cross() {
    // HTTP to a worker of ZeroMQ, whose answers have a status.
    let echo = zmq_worker(Binding::Php, "rep", None);
    let fourmi = beside(echo.port, ", zmq: {error_when: '/status >= 400'}", "").start();
    let answer = fourmi.post("/orders", "Content-Type: application/json\r\n", "{\"a\": 1}");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "{\"a\": 1}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(fourmi.post("/orders", "", "{\"status\": 422}").status(), 422);
    let several = fourmi.post("/orders", "Fourmi-Frames: 1,0,2\r\n", "abc");
    assert_eq!((several.text().as_str(), several.header("fourmi-frames")), ("abc", Some("1,0,2")));

    let named = beside(echo.port, ", zmq: {frames: [name, body]}", "").start();
    let answer = named.post("/orders", "Fourmi-Command: Place\r\n", "body");
    assert_eq!((answer.text().as_str(), answer.header("fourmi-frames")), ("Placebody", Some("5,4")));
    // The name comes back where a status is expected, and is none.
    let odd = beside(echo.port, ", zmq: {frames: [name, body], reply: [status, body]}", "").start();
    let answer = odd.post("/orders", "Fourmi-Command: Place\r\n", "body");
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("bad-answer") && answer.text().contains("(zmq.reply)"), "{}", answer.text());
    // What is too long is not said to be the worker's going away.
    let short = beside(echo.port, ", zmq: {frames: [name, body], max_message: 40}", "").start();
    let answer = short.post("/orders", "Fourmi-Command: Place\r\n", "x".repeat(35));
    assert_eq!(answer.status(), 200);
    let answer = short.post("/orders", "Fourmi-Command: Place\r\n", "x".repeat(36));
    assert!(answer.text().contains("bad-answer") && answer.text().contains("(zmq.max_message)"), "{}", answer.text());

    // A message to a worker of HTTP.
    let http = Worker::replying(|request| {
        let body = format!(
            "{} {} {} {}",
            request.first,
            request.header("fourmi-command").unwrap_or("-"),
            request.header("fourmi-id").unwrap_or("-"),
            request.header("x-shop").unwrap_or("-")
        );
        let status = if request.target() == "/Refuse" { "409 X" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
    });
    let setup = || Setup::beside(http.address());
    let fourmi = setup().more("commands: {identify: {name: /command, id: /id}}").start();
    assert_eq!(frames(&fourmi, &["{\"command\": \"Place\", \"id\": \"o-7\"}"]), ["POST /Place HTTP/1.1 Place o-7 -"]);
    let layout = "zmq: {frames: [name, headers, body], reply: [status, body]}";
    let fourmi = setup().inbound(layout).start();
    let lines = "{\"X-Shop\": \"berlin\", \"Fourmi-Id\": \"o-8\"}";
    assert_eq!(frames(&fourmi, &["Place", lines, "{}"]), ["200", "POST /Place HTTP/1.1 Place o-8 berlin"]);
    assert_eq!(frames(&fourmi, &["Refuse", "", "x"])[0], "409");
    assert_eq!(frames(&fourmi, &["Place", "[]", "x"])[0], "400");
    assert_eq!(frames(&fourmi, &["Place"])[0], "400");

    // Later: the caller gets its `OK`, the worker its command.
    let later = "zmq: {frames: [name, body], accepted: OK}";
    let fourmi = setup().inbound(later).more("commands: {mode: async}\nspool: {path: ./spool}").start();
    assert_eq!(frames(&fourmi, &["Later", "x"]), ["OK"]);
    fourmi.has_states(&[("succeeded", 1)]);
    let both = [Binding::Php, Binding::Node];
    let fourmi = setup().start();
    for binding in both {
        assert!(std::panic::catch_unwind(|| zmq_client(binding, "req", fourmi.port(), 1)).is_err(), "no echo");
    }
}

#[test]
fn stored_messages_reach_their_worker_frame_by_frame() {
    let port = free_port();
    let setup = beside(port, "", "frames: [name, body], accepted: OK, client_timeout: 2s");
    let more = "commands: {mode: async, retry: {delays: [50ms]}}\nspool: {path: ./spool}";
    let fourmi = away(setup.more(more));
    for n in 0..20 {
        assert_eq!(frames(&fourmi, &["App\\Command\\Mail", "a", "", &format!("last {n}")]), ["OK"]);
    }
    let worker = zmq_worker(Binding::Python, "rep", Some(port));
    fourmi.has_states(&[("succeeded", 20)]);
    let all: Vec<String> = worker.output().lines().filter(|l| l.starts_with("got")).map(str::to_owned).collect();
    let mut expected: Vec<String> = (0..20).map(|n| format!("got last {n}")).collect();
    let mut seen = all.clone();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected, "each once");
}

#[test]
fn the_example_and_the_demo_do_what_they_say() {
    let (inbound, at) = (free_port(), free_port());
    let folder = "../../examples/zeromq";
    let yaml = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/zeromq/fourmi.yaml")).unwrap();
    let yaml = yaml.replace("25001", &inbound.to_string()).replace("25101", &at.to_string());
    let yaml = yaml.replace("service: order\n", "");
    let fourmi = away(Setup::alone().more(&yaml));
    let address = format!("tcp://127.0.0.1:{inbound}");
    let ask = |name: &str| php_prints(&format!("{folder}/client.php"), &[&address, name, r#"{"order": 7}"#]);
    // Nobody is there yet: the one is told so, the other is kept.
    assert_eq!(ask("MailInvoice"), "OK\n");
    assert!(ask("PlaceOrder").starts_with("{\"failed\": 50"));
    let worker = php_runs(&format!("{folder}/worker.php"), at);
    assert_eq!(ask("PlaceOrder"), "{\"done\":\"PlaceOrder\",\"order\":7}\n");
    fourmi.has_states(&[("succeeded", 1)]);
    assert_eq!(worker.output().lines().filter(|l| l.starts_with("MailInvoice ")).count(), 1);

    let demo = run_fourmi(&["demo", "--for", "4s", "--rate", "20", "--with", "php"]);
    assert_eq!(demo.code, 0, "{}{}", demo.stdout, demo.stderr);
    assert!(demo.stdout.contains("every sum adds up"), "{}", demo.stdout);
}

#[test]
fn what_the_worker_sends_goes_to_services() {
    let stock = zmq_worker(Binding::Python, "rep", None);
    let (http, zmq) = (free_port(), free_port());
    let folder = tempfile::TempDir::with_prefix("zmq-").unwrap();
    let socket = folder.path().join("out.sock").display().to_string();
    let outbound = format!(
        "outbound:
  - {{listen: 'zmq+tcp://127.0.0.1:{zmq}', zmq: {{service: stock}}}}
  - {{listen: 'zmq+ipc://{socket}', zmq: {{service: stock.service.fourmi}}}}
  - {{listen: 'http://127.0.0.1:{http}', services: {{stock: {{address: 'zmq+tcp://127.0.0.1:{}'}}}}}}
",
        stock.port
    )
    .replace("stock.service.fourmi", "stock");
    let fourmi = Setup::alone().more(&outbound).start();
    let ask = |to: &str| zmq_case("frames", &[to, "reserve", "1"]);
    assert_eq!(ask(&zmq.to_string()), "[\"reserve\", \"1\"]\n");
    assert_eq!(ask(&format!("ipc://{socket}")), "[\"reserve\", \"1\"]\n");
    let labels = [("protocol", "zmq"), ("direction", "outbound"), ("service", "stock"), ("outcome", "success")];
    assert_eq!(fourmi.metrics().sum("fourmi_commands_total", &labels), 2.0);
    // Nothing else is spoken there.
    let raw = std::net::TcpStream::connect(("127.0.0.1", zmq)).unwrap();
    std::io::Write::write_all(&mut &raw, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(std::io::Read::read(&mut &raw, &mut [0; 16]).unwrap_or(0), 0);
    until("it is told", || fourmi.stderr().contains("what it sent is not ZeroMQ's"));
}

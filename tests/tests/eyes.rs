//! What people look at: the page in a real browser, `fourmi tap` and `fourmi top` in a real terminal, and who may.

use fourmi_tests::peers::{node_prints_with, program};
use fourmi_tests::sidecar::{Setup, binary, run_fourmi, run_fourmi_with};
use fourmi_tests::wire::Client;
use fourmi_tests::worker::Worker;
use fourmi_tests::{eventually, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The demo, and where the page of its first service is.
struct Demo {
    child: Child,
    page: String,
}

impl Demo {
    fn start() -> Demo {
        let mut command = Command::new(binary());
        command.args(["demo", "--rate", "25"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let page = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the demo ended: {said:?}")).unwrap();
            said.push(line.clone());
            if let Some(at) = line.trim().strip_prefix("order").and_then(|rest| rest.trim().strip_prefix("http://")) {
                break format!("http://{at}");
            }
        };
        // What it goes on to say must find a reader.
        let told: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|l| !l.contains("Ctrl-C")).collect();
        for wanted in
            [format!("open {page}"), format!("fourmi top --admin {page}"), format!("fourmi tap --admin {page}")]
        {
            assert!(told.iter().any(|line| line.contains(&wanted)), "{wanted} is not among {told:?}");
        }
        let top = told.iter().find(|line| line.contains("fourmi top")).and_then(|line| line.split_whitespace().next());
        assert!(top.is_some_and(|program| Path::new(program).is_file()), "it cannot be typed as it stands: {top:?}");
        std::thread::spawn(move || lines.for_each(drop));
        Demo { child, page }
    }

    /// The one worker of a service.
    fn worker(&self, service: &str) -> u32 {
        let is_it = |pid: u32| {
            let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let line = read("cmdline").replace('\0', " ");
            line.contains(&format!("demo-part worker {service} "))
                && read("status").contains(&format!("PPid:\t{}\n", self.child.id()))
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = all.filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.find(|pid| is_it(*pid)).expect("a worker of the demo")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Its processes die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_shows_a_whole_system_to_everybody() {
    let demo = Demo::start();
    let pictures = std::env::var("FOURMI_TEST_PICTURES").map(PathBuf::from);
    let folder = pictures.as_deref().map_or("-", |p| p.to_str().unwrap());
    let worker = demo.worker("payment").to_string();
    let told = node_prints_with("eyes.js", &[&demo.page, &worker, folder]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    println!("{told}");
    assert_eq!(told["console"], serde_json::json!([]), "a policy that is broken is told here too");
    assert_eq!(told["elsewhere"], serde_json::json!([]), "nothing is loaded from elsewhere");
    let weight = told["weight"].as_u64().unwrap();
    assert!((5_000..60 << 10).contains(&weight), "the page weighs {weight} bytes");
    assert_eq!((told["panels"].as_array().unwrap().len(), told["axe"].as_u64()), (10, Some(21)));
    for shot in told["shots"].as_array().unwrap() {
        assert!(shot[1].as_u64().unwrap() <= 150 << 10, "{shot}");
    }
}

/// A terminal in which something runs.
struct Terminal(String);

impl Terminal {
    fn run(name: &str, command: &str) -> Terminal {
        let socket = format!("fourmi-{name}-{}", std::process::id());
        let terminal = Terminal(socket);
        // It stays when the command has ended, so that what it left can be seen.
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "24", "sh"]);
        terminal.tmux(&["send-keys", &format!("clear; {command}"), "Enter"]);
        terminal
    }
    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("tmux"));
        let command = command.args(["-L", &self.0]).args(arguments).env("TERM", "xterm").stdin(Stdio::null());
        let output = command.output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }
    fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }
    #[track_caller]
    fn shows(&self, what: &str) -> String {
        let mut last = String::new();
        let seen = || {
            last = self.shown();
            last.contains(what).then(|| last.clone())
        };
        eventually(what, seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn commands_are_followed_in_a_terminal_and_in_a_pipe() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).labels("shop").start();
    let admin = format!("http://127.0.0.1:{}", fourmi.admin_port());
    let (bin, port) = (binary(), fourmi.port());
    let send = move |name: &str, id: &str, shop: &str| {
        let lines = format!("Fourmi-Command: {name}\r\nFourmi-Id: {id}\r\nFourmi-Tags: shop={shop}\r\n");
        Client::connect(port).post("/", &lines, "{}").status()
    };

    // A full screen that is drawn again, and gone at `q`.
    let top = Terminal::run("top", &format!("{} top --admin {admin}; echo left $?", bin.display()));
    let first = top.shows("q quits");
    assert!(first.contains("COMMAND") && first.contains("IN FLIGHT"), "{first}");
    for n in 0..20 {
        assert_eq!(send("Charge", &format!("c-{n}"), "berlin"), 200);
    }
    let drawn = top.shows("Charge");
    assert!(drawn.contains("100%") && drawn.contains("ms"), "{drawn}");
    top.tmux(&["send-keys", "q"]);
    let left = top.shows("left 0");
    assert!(!left.contains("COMMAND"), "the screen is as it was before: {left}");

    // Lines as they come, only those that are wanted, so many and then the end.
    let filter = "--command 'Ch*' --tag shop=berlin --result success --min-latency 0ms -n 3";
    let tap = Terminal::run("tap", &format!("{} tap --admin {admin} {filter}; echo left $?", bin.display()));
    let mut n = 0;
    until("three are told", || {
        n += 1;
        send("Other", "o-1", "berlin");
        send("Charge", "p-1", "oslo");
        send("Charge", &format!("q-{n}"), "berlin");
        tap.shown().contains("left 0")
    });
    let said = tap.shown();
    assert_eq!(said.matches("id=q-").count(), 3, "{said}");
    assert!(!said.contains("id=o-1") && !said.contains("id=p-1") && said.contains("tags=shop=berlin"), "{said}");

    // Off a terminal the same without colour; what is too much is counted on standard error.
    let table = run_fourmi(&["top", "--admin", &admin]);
    assert!(table.code == 0 && table.stdout.contains("Charge") && !table.stdout.contains('\u{1b}'), "{table:?}");
    let json = run_fourmi(&["top", "--admin", &admin, "-o", "json"]);
    let all: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(all["rows"].as_array().unwrap().iter().any(|row| row["command"] == "Charge"), "{all}");
    let mut command = Command::new(&bin);
    command.args(["tap", "--admin", &admin, "--max-rps", "1", "-n", "2", "-o", "json"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    until("two are told", || {
        send("Charge", "r-1", "oslo");
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && out.lines().count() == 2 && err.contains(" skipped"), "{out} {err}");
    for line in out.lines() {
        let one: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&one["command_id"], &one["outcome"], &one["tag_shop"]),
            (&"r-1".into(), &"success".into(), &"oslo".into())
        );
    }
    let wrong = run_fourmi(&["tap", "--admin", &admin, "--result", "good"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("client_error"), "{wrong:?}");
    let nobody = run_fourmi(&["tap", "--admin", "127.0.0.1:1"]);
    assert_eq!(nobody.code, 69, "{nobody:?}");
}

#[test]
fn without_a_sink_commands_are_kept_from_the_first_look_on() {
    let worker = Worker::echo();
    let fourmi = Setup::beside(worker.address()).logs("[]").start();
    let recent = || -> Value { serde_json::from_str(&fourmi.admin("GET", "/api/v1/recent").text()).unwrap() };
    assert_eq!(fourmi.post("/", "Fourmi-Id: unseen\r\n", "").status(), 200);
    assert_eq!(recent()["kept"], 0);
    assert_eq!(fourmi.post("/", "Fourmi-Command: Seen\r\nFourmi-Id: seen\r\n", "").status(), 200);
    until("it is kept", || recent()["commands"][0]["command_id"] == "seen");
    let journey: Value = serde_json::from_str(&fourmi.admin("GET", "/api/v1/journey?id=seen").text()).unwrap();
    assert_eq!(
        (journey["hops"][0]["command"].as_str(), journey["unanswered"].as_array().map(Vec::len)),
        (Some("Seen"), Some(0))
    );
    let bad = fourmi.admin("GET", "/api/v1/journey?trace=xyz");
    assert!(bad.status() == 400 && bad.text().contains("hexadecimal"), "{}", bad.text());
}

#[test]
fn a_journey_goes_on_where_another_fourmi_has_it_and_says_who_is_silent() {
    let worker = Worker::echo();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-the-other-one\n").unwrap();
    let stock = Setup::beside(worker.address())
        .logs("[stdout]")
        .env("FOURMI_SERVICE", "stock")
        .admin_keys(&format!("token_file: \"{}\", read_only: true", token.display()))
        .start();
    let other = format!("http://127.0.0.1:{}", stock.admin_port());
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_at = mute.local_addr().unwrap().to_string();
    let own = format!("{{address: \"{other}\", token_file: \"{}\"}}", token.display());
    let peers = format!("peers: [{own}, \"http://127.0.0.1:1\", \"http://{mute_at}\"]");
    let order = Setup::beside(worker.address())
        .logs("[stdout]")
        .outbound(format!("{{stock: {{address: \"http://127.0.0.1:{}\"}}}}", stock.port()))
        .env("FOURMI_SERVICE", "order")
        .admin_keys(&peers)
        .start();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let lines =
        format!("Fourmi-Command: Reserve\r\nFourmi-Id: order-17\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let sent = format!("POST /reserve HTTP/1.1\r\nHost: stock\r\nContent-Length: 0\r\n{lines}\r\n");
    assert_eq!(order.outbound().send(sent).answer().status(), 200);
    let journey = eventually("both hops", || {
        let said = order.admin("GET", "/api/v1/journey?id=order-17").text();
        let journey: Value = serde_json::from_str(&said).unwrap();
        (journey["hops"].as_array()?.len() == 2).then_some(journey)
    });
    let (first, second) = (&journey["hops"][0], &journey["hops"][1]);
    assert_eq!((&first["service"], &first["direction"]), (&"order".into(), &"outbound".into()), "{journey}");
    assert_eq!((&second["service"], &second["direction"]), (&"stock".into(), &"inbound".into()));
    assert_eq!((&second["parent_span_id"], &journey["trace_id"]), (&first["span_id"], &trace.into()));
    let silent = journey["unanswered"].as_array().unwrap();
    let said: Vec<_> = silent.iter().map(|s| (s["address"].as_str().unwrap(), s["why"].as_str().unwrap())).collect();
    assert_eq!(said.len(), 2, "{journey}");
    assert!(said[0].0 == "127.0.0.1:1" && said[0].1.contains("refused"), "{journey}");
    assert!(said[1].0 == mute_at && said[1].1.contains("no answer within"), "{journey}");
    let topology: Value = serde_json::from_str(&order.admin("GET", "/api/v1/topology").text()).unwrap();
    let nodes: Vec<_> = topology["nodes"].as_array().unwrap().iter().map(|n| n["service"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["order", "stock"]);

    // Who has no token gets nothing but health; who has it reads; nobody changes what is read-only.
    assert_eq!(stock.admin("GET", "/readyz").status(), 200);
    for path in ["/", "/metrics", "/api/v1/config", "/api/v1/tap"] {
        assert_eq!(stock.admin("GET", path).status(), 401, "{path}");
    }
    let page = stock.admin("GET", "/").text();
    assert!(page.contains("<form id=\"login\"") && !page.contains("a-token"), "{page}");
    let shown = BTreeMap::from([
        ("FOURMI_ADMIN_URL".to_owned(), other.clone()),
        ("FOURMI_ADMIN_TOKEN_FILE".to_owned(), token.display().to_string()),
    ]);
    let table = run_fourmi_with(Path::new("/"), &shown, &["top"]);
    assert!(table.code == 0 && table.stdout.starts_with("stock "), "{table:?}");
    let refused = run_fourmi_with(Path::new("/"), &shown, &["reload"]);
    assert!(refused.code == 1 && refused.stderr.contains("read_only"), "{refused:?}");
    let unknown = run_fourmi(&["top", "--admin", &other]);
    assert!(unknown.code == 1 && unknown.stderr.contains("admin.token_file"), "{unknown:?}");
    // A browser's login: the token as a header, then a cookie that is not the token.
    let login = |token: &str| {
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nOrigin: http://localhost\r\n\
             Fourmi-Change: login\r\nContent-Length: 0\r\n\r\n"
        );
        Client::connect(stock.admin_port()).send(head).answer()
    };
    assert_eq!(login("not-the-token-of-anybody").status(), 401);
    let welcome = login("a-token-of-the-other-one");
    let cookie = welcome.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("a-token"),
        "{cookie}"
    );
    let kept = cookie.split(';').next().unwrap();
    let head = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nCookie: {kept}\r\n\r\n");
    assert_eq!(Client::connect(stock.admin_port()).send(head).answer().status(), 200);
}

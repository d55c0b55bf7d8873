//! `examples/consul` and `examples/skydns` answer what their READMEs say; registries on the command line.

use fourmi_tests::sidecar::{binary, run_fourmi_with};
use fourmi_tests::wire::Client;
use fourmi_tests::{dns, eventually, free_port, until};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// An example in a folder of its own, on free ports. Ends with the test.
struct Example {
    folder: TempDir,
    child: Child,
    dns: SocketAddr,
    http: u16,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Example {
    fn start(name: &str) -> Example {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let (dns, http, admin) = (free_port(), free_port(), free_port());
        for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = text.replace(":8600", &format!(":{dns}")).replace(":8500", &format!(":{http}"));
            std::fs::write(folder.path().join(file.file_name()), text).unwrap();
        }
        let child = spawn(folder.path(), admin);
        let example = Example { folder, child, dns: ([127, 0, 0, 1], dns).into(), http };
        until("it answers names", || TcpStream::connect(example.dns).is_ok());
        example
    }

    /// A `fourmi` command that asks this registry.
    fn fourmi(&self, arguments: &[&str]) -> (i32, String, String) {
        let url = format!("http://127.0.0.1:{}", self.http);
        let environment = BTreeMap::from([("CONSUL_HTTP_ADDR".to_owned(), url)]);
        let ended = run_fourmi_with(self.folder.path(), &environment, arguments);
        (ended.code, ended.stdout, ended.stderr)
    }

    /// The same with something on standard input.
    fn piped(&self, arguments: &[&str], input: &[u8]) -> std::process::Output {
        use std::io::Write as _;
        let mut command = Command::new(binary());
        command.env("CONSUL_HTTP_ADDR", format!("http://127.0.0.1:{}", self.http));
        let piped = command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::piped());
        let mut child = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Status and body.
    fn asks(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = Client::connect(self.http).send(request).answer();
        (answer.status(), answer.text())
    }

    #[track_caller]
    fn tells(&self, name: &str, kind: &str, answers: &[&str]) {
        let reply = dns::dig(self.dns, name, kind);
        assert!(reply.is(answers), "{name} {kind}: {}", reply.said);
    }
}

fn spawn(folder: &Path, admin: u16) -> Child {
    let mut command = Command::new(binary());
    command.args(["run", "-c", "fourmi.yaml"]).current_dir(folder);
    command.env("FOURMI_ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn skydns_moves_over() {
    let example = Example::start("skydns");
    let reply = dns::dig(example.dns, "orders.production.skydns.local", "SRV");
    let targets = ["1", "2"].map(|n| format!("{n}.orders.production.skydns.local."));
    let [one, two] = [(66, &targets[0]), (33, &targets[1])].map(|(share, to)| format!("SRV 10 {share} 8080 {to}"));
    assert!(reply.is(&[&one, &two]) && reply.beside.iter().any(|r| r == "A 10.0.0.1"), "{}", reply.said);
    let reply = dns::dig(example.dns, "orders.production.skydns.local", "A");
    assert!(reply.is(&["A 10.0.0.1", "A 10.0.0.2"]) && reply.ttls == [60, 60], "{}", reply.said);
    example.tells("1.orders.production.skydns.local", "A", &["A 10.0.0.1"]);
    assert_eq!(dns::dig(example.dns, "*.orders.*.skydns.local", "SRV").answers.len(), 3);
    let web = ["A 10.0.0.1", "A 10.0.0.2", "CNAME orders.production.skydns.local."];
    example.tells("web.production.skydns.local", "A", &web);
    example.tells("note.staging.skydns.local", "TXT", &["TXT \"moved on Monday\""]);
    example.tells("skydns.local", "NS", &["NS a.ns.dns.skydns.local."]);
    example.tells("1.0.0.10.in-addr.arpa", "PTR", &["PTR 1.orders.production.skydns.local."]);
    for (name, kind, status) in
        [("nothing.skydns.local", "A", "NXDOMAIN"), ("skydns.local", "ANY", "REFUSED"), ("example.org", "A", "REFUSED")]
    {
        assert_eq!(dns::dig(example.dns, name, kind).status, status, "{name}");
    }
}

#[test]
fn consul_moves_over() {
    let example = Example::start("consul");
    let web = std::fs::read_to_string(example.folder.path().join("web.json")).unwrap();
    until("the API answers", || TcpStream::connect(("127.0.0.1", example.http)).is_ok());
    assert_eq!(example.asks("PUT", "/v1/agent/service/register", &web), (200, String::new()));
    let (status, body) = example.asks("GET", "/v1/catalog/service/web", "");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let of = |key: &str| told[0][key].clone();
    assert_eq!(status, 200);
    let wanted = serde_json::json!(["web-1", "10.0.0.7", 8080, ["v1"]]);
    let got = ["ServiceID", "ServiceAddress", "ServicePort", "ServiceTags"].map(of);
    assert_eq!(serde_json::json!(got), wanted);
    example.tells("web.service.consul", "A", &["A 10.0.0.7"]);
    example.tells("v1.web.service.consul", "A", &["A 10.0.0.7"]);
    example.tells("_web._tcp.service.consul", "SRV", &["SRV 1 1 8080 0a000007.addr.dc1.consul."]);
    assert_eq!(dns::dig(example.dns, "nobody.service.consul", "A").status, "NXDOMAIN");
    assert_eq!(example.asks("PUT", "/v1/agent/check/fail/service:web-1", "").0, 200);
    assert_eq!(dns::dig(example.dns, "web.service.consul", "A").status, "NXDOMAIN");
    assert_eq!(example.asks("PUT", "/v1/agent/check/pass/service:web-1", "").0, 200);
    example.tells("web.service.consul", "A", &["A 10.0.0.7"]);
    let (status, why) = example.asks("PUT", "/v1/agent/service/deregister/nobody", "");
    assert!(status == 404 && why.contains("Unknown service ID \"nobody\""), "{status} {why}");
}

/// Leaves `app/limit` at 60.
fn keys_on_the_command_line(example: &Example) {
    let kv = |arguments: &[&str]| example.fourmi(&[&["kv"], arguments].concat());
    assert_eq!((kv(&["get", "app/limit"]).0, kv(&["list"])), (1, (0, String::new(), String::new())));
    let (code, printed, says) = kv(&["put", "app/limit", "50", "--flags", "7", "--cas", "0"]);
    assert!(code == 0 && printed.is_empty() && says.contains("app/limit is set"), "{printed} {says}");
    assert_eq!(kv(&["get", "app/limit"]), (0, "50".into(), String::new()), "byte for byte");
    let row: serde_json::Value = serde_json::from_str(&kv(&["get", "app/limit", "--json"]).1).unwrap();
    assert_eq!(row[0]["Flags"], 7);
    let index = row[0]["ModifyIndex"].to_string();
    assert_eq!(kv(&["put", "app/limit", "-1", "--cas", &index, "-q"]), (0, String::new(), String::new()));
    let (code, _, why) = kv(&["put", "app/limit", "70", "--cas", &index]);
    assert!(code == 1 && why.contains("nothing is changed"), "{why}");
    assert_eq!(kv(&["get", "app/limit"]).1, "-1");
    assert_eq!(kv(&["put", "app/limit", "60"]).0, 0);
    let binary = [0xff, 0, b'\n'];
    let piped = example.piped(&["kv", "put", "app/a b/\u{e4}", "-"], &binary);
    assert_eq!((piped.status.code(), piped.stdout.is_empty()), (Some(0), true));
    assert_eq!(example.piped(&["kv", "get", "app/a b/\u{e4}"], b"").stdout, binary);
    assert_eq!(kv(&["list", "app/"]).1, "app/a b/\u{e4}\napp/limit\n");
    assert_eq!(kv(&["list", "app/", "--separator", "/"]).1, "app/a b/\napp/limit\n");
    let table = kv(&["get", "-r", "app/"]).1;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[1].last(), lines[2][0]), ("KEY", Some(&"bytes)"), "app/limit"), "{table}");
    assert_eq!((kv(&["delete", "app/a", "-r"]).0, kv(&["list"]).1), (0, "app/limit\n".into()));
    assert_eq!(kv(&["delete", "app/limit", "--cas", &index]).0, 1, "it has changed");
    let long = "x".repeat(512 * 1024 + 1);
    let refused = example.piped(&["kv", "put", "long", "-"], long.as_bytes());
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && why.contains("longer than 524288"), "{why}");
    for usage in
        [&["kv", "get"][..], &["kv", "put", "a"], &["kv", "put", "", "1"], &["kv", "delete", "a", "-r", "--cas", "1"]]
    {
        assert_eq!(example.fourmi(usage).0, 2, "{usage:?}");
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    assert_eq!(kv(&["get", "a", "--registry", &nobody]).0, 69);
    assert_eq!(kv(&["get", "a", "--token-file", "/none"]).0, 66);
}

#[test]
fn a_registry_on_the_command_line_survives_a_kill() {
    let mut example = Example::start("consul");
    until("the API answers", || TcpStream::connect(("127.0.0.1", example.http)).is_ok());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, gone) = (listener.local_addr().unwrap().port(), free_port());
    let (port, check) = (port.to_string(), format!("127.0.0.1:{port}"));
    let well = ["register", "stock", "--port", &port, "--tag", "v1", "--check-tcp", &check, "--interval", "1s"];
    assert_eq!(example.fourmi(&well).0, 0);
    let url = format!("http://127.0.0.1:{gone}/");
    assert_eq!(example.fourmi(&["register", "bank", "--id", "b1", "--port", "1", "--check-http", &url]).0, 0);
    assert_eq!(example.fourmi(&["register", "-f", "web.json"]).0, 0);
    let place = format!("{check}\n");
    eventually("stock is seen well", || (example.fourmi(&["resolve", "stock"]).1 == place).then_some(()));
    for name in ["v1.stock", "v1.stock.service.consul", "stock.service.dc1.consul"] {
        assert_eq!(example.fourmi(&["resolve", name]).1, place, "{name}");
    }
    let (code, _, why) = example.fourmi(&["resolve", "bank"]);
    assert!(code == 1 && why.contains("critical"), "{why}");
    let list = example.fourmi(&["services"]).1;
    assert!(
        list.lines().any(|l| l.split_whitespace().collect::<Vec<_>>() == ["bank", "1", "0", "0", "1", "-"]),
        "{list}"
    );
    assert!(
        list.lines().any(|l| l.split_whitespace().collect::<Vec<_>>() == ["stock", "1", "1", "0", "0", "v1"]),
        "{list}"
    );
    let list = example.fourmi(&["services", "stock"]).1;
    assert!(list.contains("n1") && list.contains(&check) && list.contains("passing"), "{list}");
    let list = example.fourmi(&["members"]).1;
    assert!(list.contains("bank,stock,web"), "{list}");
    let json: serde_json::Value = serde_json::from_str(&example.fourmi(&["services", "-o", "json"]).1).unwrap();
    assert_eq!(json["stock"], serde_json::json!(["v1"]));

    keys_on_the_command_line(&example);

    // Everything is there after a kill, and nobody is announced who was not seen well since.
    example.child.kill().unwrap();
    example.child.wait().unwrap();
    drop(listener);
    example.child = spawn(example.folder.path(), free_port());
    until("the API answers again", || TcpStream::connect(("127.0.0.1", example.http)).is_ok());
    assert_eq!(example.fourmi(&["kv", "get", "app/limit"]), (0, "60".into(), String::new()), "keys too");
    let list = example.fourmi(&["services", "stock"]).1;
    assert!(list.contains("critical"), "{list}");
    assert_eq!(dns::dig(example.dns, "stock.service.consul", "A").status, "NXDOMAIN");
    let again = std::net::TcpListener::bind(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
    eventually("stock is seen well again", || (example.fourmi(&["resolve", "stock"]).1 == place).then_some(()));
    drop(again);

    assert_eq!(example.fourmi(&["deregister", "b1"]).0, 0);
    assert_eq!(example.fourmi(&["deregister", "b1"]).0, 1);
    let (code, _, why) = example.fourmi(&["services", "bank"]);
    assert!(code == 1 && why.contains("bank"), "{why}");
    let nobody = format!("http://127.0.0.1:{gone}");
    assert_eq!(example.fourmi(&["services", "--registry", &nobody]).0, 69);
}

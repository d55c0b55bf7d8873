//! Registries on several machines, as processes: one that is followed, and one that lies in an etcd.

use fourmi_tests::peers::{Certificates, Etcd, run};
use fourmi_tests::sidecar::run_fourmi;
use fourmi_tests::wire::Client;
use fourmi_tests::{Fourmi, Instance, Setup, dns, eventually, free_port, until};
use std::net::SocketAddr;

/// A process with a registry: where it answers names and the API, and whether others may register there.
struct Node {
    fourmi: Fourmi,
    dns: SocketAddr,
    http: u16,
}

/// Starts one; `more` is the rest of its section.
fn node(name: &str, api: bool, more: &str) -> Node {
    let (dns, http) = (SocketAddr::from(([127, 0, 0, 1], free_port())), free_port());
    let api = if api { format!("http: {{listen: \"127.0.0.1:{http}\"}}, ") } else { String::new() };
    let section = format!("discovery: {{node: {name}, address: 127.0.0.1, dns: {{listen: \"{dns}\"}}, {api}{more}}}");
    Node { fourmi: Setup::alone().outbound("").more(&section).start(), dns, http }
}

impl Node {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// A `fourmi` command to this registry.
    fn cli(&self, arguments: &[&str]) -> (i32, String) {
        let url = self.url();
        let ended = run_fourmi(&[arguments, &["--registry", &url]].concat());
        (ended.code, ended.stdout + &ended.stderr)
    }

    #[track_caller]
    fn comes_to_tell(&self, name: &str, answers: &[&str]) {
        let mut last = dns::Reply::default();
        eventually(&format!("{name} is {answers:?}"), || {
            last = dns::dig(self.dns, name, "A");
            last.is(answers).then_some(())
        });
    }

    /// A command to a service by its name.
    fn command(&self, service: &str) -> (u16, String) {
        let request = format!("GET /x HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n");
        let answer = self.fourmi.outbound().send(request).answer();
        (answer.status(), answer.text())
    }

    /// What `/readyz` says of it.
    fn ready(&self) -> String {
        let request = "GET /readyz?verbose HTTP/1.1\r\nHost: localhost\r\n\r\n";
        Client::connect(self.fourmi.admin_port()).send(request).answer().text()
    }
}

#[test]
fn a_sidecar_registers_at_another_registry_and_keeps_what_it_knew() {
    let [one, two] = Instance::several(0);
    let registry = node("center", true, "store: memory");
    let check = "{http: /healthz, interval: 1s}";
    let of = |instance: &Instance, name: &str| {
        let services = instance.registered("stock", check);
        node(name, false, &format!("join: {{to: \"{}\", ttl: 3s}}, services: [{services}]", registry.url()))
    };
    let (first, second) = (of(&one, "a"), of(&two, "b"));
    let both = ["A 127.0.0.2", "A 127.0.0.3"];
    for node in [&registry, &first, &second] {
        node.comes_to_tell("stock.service.consul", &both);
    }
    // From the registry's own API, too.
    assert_eq!(registry.cli(&["register", "bank", "--address", "127.0.0.9", "--port", "9"]).0, 0);
    first.comes_to_tell("bank.service.fourmi", &["A 127.0.0.9"]);
    let list = registry.cli(&["services", "stock"]).1;
    assert!(list.lines().filter(|l| l.contains(" passing ")).count() == 2, "{list}");

    // A check that fails here is known everywhere, and so is that it is well again.
    two.feels(500);
    for node in [&registry, &first] {
        node.comes_to_tell("stock.service.consul", &both[..1]);
    }
    assert_eq!(first.command("stock"), (200, "s1".into()));
    two.feels(200);
    first.comes_to_tell("stock.service.consul", &both);

    // One that dies without a word runs out; one that stops takes its instance along.
    let mut second = second;
    second.fourmi.signal(nix::sys::signal::Signal::SIGKILL);
    second.fourmi.ends();
    registry.comes_to_tell("stock.service.consul", &both[..1]);

    // The registry is gone: what was known holds, and it is said.
    let mut registry = registry;
    registry.fourmi.signal(nix::sys::signal::Signal::SIGKILL);
    registry.fourmi.ends();
    until("it is said", || first.ready().contains("the other registry is away"));
    until("it is counted", || first.fourmi.metrics().sum("fourmi_registry_away_seconds", &[]) > 0.0);
    assert!(dns::dig(first.dns, "stock.service.consul", "A").answers.contains(&"A 127.0.0.2".to_owned()));
    assert_eq!(first.command("stock"), (200, "s1".into()));
}

/// What `fourmi check` says of a part: its result and detail.
fn checked(node: &Node, check: &str, subject: &str) -> Vec<(String, String)> {
    let ended = run_fourmi(&["check", "-o", "json", "-c", node.fourmi.file().to_str().unwrap()]);
    let said: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let lines = said["checks"].as_array().unwrap().iter();
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let wanted = lines.filter(|line| line["check"] == check && text(line, "subject") == subject);
    wanted.map(|line| (text(line, "result"), text(line, "detail"))).collect()
}

#[test]
fn programs_beside_a_sidecar_that_follows_speak_to_it() {
    let mut registry = node("center", true, "store: memory");
    let join = format!("join: {{to: \"{}\", ttl: 3s}}", registry.url());
    let side = node("side", true, &join);
    let [one] = Instance::several(0);
    let (ip, port, place) = (one.at.ip().to_string(), one.at.port().to_string(), one.at.to_string());
    let registers = ["register", "stock", "--address", &ip, "--port", &port, "--check-tcp", &place, "--interval", "1s"];
    let (code, said) = side.cli(&registers);
    assert_eq!(code, 0, "{said}");
    // When that is answered it is there.
    assert!(registry.cli(&["services", "stock"]).1.contains("side-stock"), "under the node's name");
    for node in [&registry, &side] {
        node.comes_to_tell("stock.service.consul", &["A 127.0.0.2"]);
        assert_eq!(node.command("stock"), (200, "s1".into()));
    }
    assert_eq!(side.cli(&["kv", "put", "app/limit", "50"]).0, 0);
    assert_eq!(registry.cli(&["kv", "get", "app/limit"]), (0, "50".into()));
    assert_eq!(registry.cli(&["register", "bank", "--address", "127.0.0.9", "--port", "9"]).0, 0);
    side.comes_to_tell("bank.service.fourmi", &["A 127.0.0.9"]);
    let list = side.cli(&["members"]).1;
    assert!(list.contains("center"), "{list}");
    assert_eq!(checked(&side, "ready", "registry")[0].0, "ok");

    // A key that only a restart would follow is no secret.
    assert_eq!(checked(&side, "same-configuration", "").len(), 1);
    let yaml = side.fourmi.yaml();
    side.fourmi.rewrite(&yaml.replace("ttl: 3s", "ttl: 4s"));
    side.fourmi.signal(nix::sys::signal::Signal::SIGHUP);
    until("it is said", || {
        checked(&side, "same-configuration", "")
            .iter()
            .any(|(result, detail)| result == "warning" && detail.contains("discovery.join"))
    });

    // Alone it goes on with what it knows, and says so.
    registry.fourmi.signal(nix::sys::signal::Signal::SIGKILL);
    registry.fourmi.ends();
    until("the absence is a warning", || {
        checked(&side, "ready", "registry").first().is_some_and(|(r, _)| r == "warning")
    });
    assert_eq!(side.cli(&["resolve", "stock"]), (0, format!("{place}\n")));
    assert_eq!(side.cli(&["deregister", "stock"]).0, 0);
    let (code, why) = side.cli(&["kv", "put", "app/limit", "60"]);
    assert!(code == 1 && why.contains("not known"), "{why}");
}

#[test]
fn the_api_speaks_tls_and_its_certificate_is_renewed() {
    let certificates = Certificates::new();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["api.pem", "api.key"].map(|name| folder.path().join(name));
    let put = |texts: [&String; 2]| {
        for (to, text) in [&certificate, &key].into_iter().zip(texts) {
            std::fs::write(folder.path().join("new"), text).unwrap();
            std::fs::rename(folder.path().join("new"), to).unwrap();
        }
    };
    let (wrong, good) = (certificates.wrong_name(), certificates.good());
    put([&wrong.certificate, &wrong.key]);
    let http = free_port();
    let tls = format!(
        "{{certificate: {}, key: {}, client_ca: {}}}",
        certificate.display(),
        key.display(),
        certificates.ca_file().display()
    );
    let section = format!(
        "discovery: {{node: n1, address: 127.0.0.1, store: memory, http: {{listen: \"127.0.0.1:{http}\", tls: {tls}}}}}"
    );
    let _fourmi = Setup::alone().more(&section).start();
    let (client, client_key) = certificates.client_files();
    let ca = certificates.ca_file();
    let known = ["--cert", client.to_str().unwrap(), "--key", client_key.to_str().unwrap()];
    let ask = |more: &[&str]| {
        let url = format!("https://localhost:{http}/v1/status/leader");
        let arguments =
            [&["-sS", "--noproxy", "*", "--max-time", "20", "--cacert", ca.to_str().unwrap()], more, &[&url]].concat();
        let done = run("curl", &arguments);
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    assert!(!ask(&known).0, "it is of another name");
    put([&good.certificate, &good.key]);
    until("the new one is shown", || ask(&known).0);
    assert!(ask(&known).1.starts_with("\"127.0.0.1:"));
    assert!(!ask(&[]).0, "nobody without a certificate");
    // The command line too.
    let url = format!("https://localhost:{http}");
    let known = [
        "--ca-file",
        ca.to_str().unwrap(),
        "--client-cert",
        client.to_str().unwrap(),
        "--client-key",
        client_key.to_str().unwrap(),
    ];
    let cli = |more: &[&str]| run_fourmi(&[&["kv", "put", "a", "1", "--registry", &url], more].concat());
    assert_eq!(cli(&known).code, 0, "{:?}", cli(&known));
    let stranger = cli(&known[..2]);
    assert!(stranger.code == 69 && stranger.stderr.contains("https://localhost"), "{stranger:?}");
    assert_eq!(cli(&["--ca-file", "/none.pem"]).code, 2);
}

#[test]
fn registries_share_an_etcd_and_read_on_without_it() {
    let mut etcd = Etcd::start();
    let store = format!("store: {{etcd: {{endpoints: \"{}\", lease: 2s}}}}", etcd.url());
    let [one] = Instance::several(0);
    let (first, second) = (node("a", true, &store), node("b", true, &store));
    let place = one.at.to_string();
    let (ip, port) = (one.at.ip().to_string(), one.at.port().to_string());
    let registers = ["register", "stock", "--address", &ip, "--port", &port, "--check-tcp", &place, "--interval", "1s"];
    assert_eq!(first.cli(&registers).0, 0);
    for node in [&first, &second] {
        node.comes_to_tell("stock.service.consul", &["A 127.0.0.2"]);
        assert_eq!(node.command("stock"), (200, "s1".into()));
    }
    // SkyDNS and CoreDNS read the same.
    let keys = etcd.says(&["get", "--prefix", "/skydns/local/skydns/stock"]);
    assert!(keys.contains(&ip) && keys.contains(&port), "{keys}");
    etcd.says(&["put", "/skydns/local/skydns/old/1", r#"{"host":"10.0.0.7","port":80}"#]);
    second.comes_to_tell("old.skydns.local", &["A 10.0.0.7"]);

    etcd.kill_9();
    until("it is said", || first.ready().contains("etcd is away"));
    let (code, why) = first.cli(&["register", "late", "--port", "1"]);
    assert!(code == 1 && why.contains("503") && why.contains("etcd"), "{code} {why}");
    for node in [&first, &second] {
        assert!(dns::dig(node.dns, "stock.service.consul", "A").is(&["A 127.0.0.2"]));
        assert_eq!(node.command("stock"), (200, "s1".into()));
    }
}

#[test]
fn nobody_gives_orders_in_our_name() {
    let node = node("a", true, "store: memory");
    let ask = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = Client::connect(node.http).send(request).answer();
        (answer.status(), answer.text())
    };
    let admin = node.fourmi.admin_port();
    let check = |name: &str, path: &str, more: &str| {
        let url = format!("http://127.0.0.1:{admin}{path}");
        let body = format!("{{\"Name\": \"{name}\", \"HTTP\": \"{url}\", \"Interval\": \"1s\"{more}}}");
        ask("PUT", "/v1/agent/check/register", &body)
    };
    // By a check.
    let (status, why) = check("stop", "/api/v1/stop", ", \"Method\": \"POST\"");
    assert!(status == 400 && why.contains("GET and HEAD"), "{status} {why}");
    assert_eq!(check("config", "/api/v1/config", "").0, 200);
    assert_eq!(check("ready", "/readyz", "").0, 200);
    eventually("the checks were done", || {
        let checks = ask("GET", "/v1/agent/checks", "").1;
        let checks: serde_json::Value = serde_json::from_str(&checks).unwrap();
        let refused = checks["config"]["Output"].as_str().is_some_and(|said| said.contains("this Fourmi itself"));
        (refused && checks["ready"]["Status"] == "passing").then_some(())
    });
    // By a command.
    for port in [node.http, node.dns.port(), admin] {
        let (status, why) = node.command(&format!("127.0.0.1:{port}"));
        assert!(status == 404 && why.contains("this Fourmi itself"), "{port}: {status} {why}");
    }
    // By a question that looks like two.
    let sick = "{\"Name\": \"web\", \"Check\": {\"TTL\": \"1h\", \"Status\": \"critical\"}}";
    assert_eq!(ask("PUT", "/v1/agent/service/register", sick).0, 200);
    ask("GET", "/v1/health/service/web?passing%001%00dc=dc1", "");
    assert_eq!(ask("GET", "/v1/health/service/web?passing=1&dc=dc1", ""), (200, "[]".into()));
}

//! Programs made for Consul, as they are, against Fourmi's registry: npm's `consul`, py-consul, python-consul2,
//! Traefik's catalogue, VictoriaMetrics' agent.

use fourmi_tests::peers::{node_prints_with, python_prints, python_prints_with, traefik_of, vmagent_of};
use fourmi_tests::wire::Client;
use fourmi_tests::{Fourmi, Instance, Setup, eventually, free_port, until};
use serde_json::{Value, json};

/// A registry whose API is on this port.
fn registry() -> (Fourmi, u16) {
    let port = free_port();
    let section =
        format!("discovery: {{node: n1, address: 127.0.0.1, store: memory, http: {{listen: \"127.0.0.1:{port}\"}}}}");
    (Setup::alone().more(&section).start(), port)
}

fn told(printed: &str) -> Value {
    serde_json::from_str(printed).unwrap_or_else(|e| panic!("{e}: {printed}"))
}

#[test]
fn the_client_of_npm() {
    let (_fourmi, port) = registry();
    let told = told(&node_prints_with("consul_client.js", &[&port.to_string(), "8080"]));
    let wanted = json!({
        "services": ["js-1"], "passing": ["js-1"], "tags": ["v1"], "port": 8080, "datacenters": ["dc1"], "node": "n1",
        "watched": [1, 0], "again": ["js-1"], "maintained": [], "kv": "hello", "gone": [],
    });
    assert_eq!(told, wanted);
}

#[test]
fn clients_of_pypi() {
    let wanted = json!({
        "before": 0, "passing": ["py-1"], "checks": ["fine"], "services": ["v1"], "nodes": ["n1"], "leader": true,
        "woken": [true, 0], "critical": 2, "kv": "green", "gone": 0, "fired": "deploy", "events": ["now"],
    });
    // Each with a registry of its own: events and keys stay.
    let (_first, port) = registry();
    assert_eq!(told(&python_prints("consul_client.py", &[&port.to_string(), "8080", "py-consul"])), wanted);
    let (_second, port) = registry();
    let arguments = [&port.to_string(), "8080", "python-consul2"];
    assert_eq!(told(&python_prints_with("consul2", "consul_client.py", &arguments)), wanted);
}

#[test]
fn vmagent_scrapes_whom_it_finds() {
    let (_fourmi, api) = registry();
    let [one, two] = Instance::several(0);
    let register = |instance: &Instance, more: &str| {
        let (ip, port) = (instance.at.ip(), instance.at.port());
        let body = format!(
            "{{\"Name\": \"web\", \"ID\": \"{}\", \"Address\": \"{ip}\", \"Port\": {port}{more}}}",
            instance.id
        );
        put(api, "/v1/agent/service/register", &body);
    };
    register(&one, ", \"Tags\": [\"v1\"]");
    let agent = vmagent_of(api, "web", None);
    let targets = |wanted: &[&Instance]| {
        eventually(&format!("{} are scraped", wanted.len()), || {
            let request = "GET /api/v1/targets?state=active HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let found: Value = serde_json::from_str(&Client::connect(agent.port).send(request).answer().text()).ok()?;
            let targets = found["data"]["activeTargets"].as_array()?;
            let mut urls: Vec<_> = targets.iter().filter_map(|target| target["scrapeUrl"].as_str()).collect();
            urls.sort_unstable();
            let expected: Vec<_> = wanted.iter().map(|instance| format!("http://{}/metrics", instance.at)).collect();
            (urls == expected).then(|| targets.clone())
        })
    };
    let found = targets(&[&one]);
    let labels = &found[0]["discoveredLabels"];
    let label = |name: &str| labels[format!("__meta_consul_{name}")].as_str().unwrap_or_default();
    assert_eq!(
        (label("service_id"), label("tags"), label("dc"), label("node")),
        ("s1", ",v1,", "dc1", "n1"),
        "{labels}"
    );
    register(&two, "");
    targets(&[&one, &two]);
    until("both are scraped", || one.done() > 0 && two.done() > 0);
    put(api, "/v1/agent/service/deregister/s1", "");
    targets(&[&two]);
}

fn put(port: u16, path: &str, body: &str) {
    let length = body.len();
    let request = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = Client::connect(port).send(request).answer();
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
}

#[test]
fn traefik_routes_by_its_catalogue() {
    let (_fourmi, api) = registry();
    let [one, two] = Instance::several(0);
    let url = format!("http://127.0.0.1:{api}");
    let cli = |arguments: &[&str]| {
        let ended = fourmi_tests::sidecar::run_fourmi(&[arguments, &["--registry", &url]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    let registers = |instance: &Instance| {
        let (ip, port) = (instance.at.ip().to_string(), instance.at.port().to_string());
        // Traefik is told of services and of checks: without one it would not hear of a second instance.
        let place = instance.at.to_string();
        let check = ["--check-tcp", &place, "--interval", "1s"];
        cli(&[&["register", "web", "--id", &instance.id, "--address", &ip, "--port", &port][..], &check].concat());
    };
    registers(&one);
    let traefik = traefik_of(api);
    let ask = || {
        let request = "GET / HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n";
        let answer = Client::connect(traefik.port).send(request).answer();
        (answer.status(), answer.text())
    };
    let goes_to = |ids: &[&str]| {
        eventually(&format!("Traefik sends to {ids:?}"), || {
            let seen: Vec<_> = (0..8).map(|_| ask()).collect();
            let all = seen.iter().all(|(status, id)| *status == 200 && ids.contains(&id.as_str()));
            (all && ids.iter().all(|id| seen.iter().any(|(_, seen)| seen == id))).then_some(())
        });
    };
    goes_to(&["s1"]);
    registers(&two);
    goes_to(&["s1", "s2"]);
    cli(&["deregister", "s1"]);
    goes_to(&["s2"]);
    cli(&["deregister", "s2"]);
    eventually("nobody is left", || (ask().0 == 404).then_some(()));
}

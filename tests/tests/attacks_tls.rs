//! Hostile files, hostile names and careless operators against TLS.

use fourmi_tests::peers::Resolver;
use fourmi_tests::peers::tls::openssl_server;
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Fourmi, Setup, until};
use std::path::Path;
use tempfile::TempDir;

/// An authority and certificates for these services, by Fourmi itself.
fn pki(names: &[&str]) -> TempDir {
    let folder = TempDir::with_prefix("pki-").unwrap();
    let run = |arguments: &[&str]| {
        let ended = run_fourmi_in(folder.path(), arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
    };
    run(&["cert", "init", "--dir", "."]);
    for name in names {
        run(&["cert", "issue", name, "--dir", ".", "--out", "."]);
    }
    folder
}

fn status(fourmi: &Fourmi) -> u16 {
    fourmi.outbound().send("GET / HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n").answer().status()
}

/// Pipes, devices and folders where PEM files are expected are told, and nobody waits for them.
#[test]
fn what_is_no_file_is_told_and_not_waited_for() {
    let pki = pki(&["payment"]);
    let at = |name: &str| pki.path().join(name).display().to_string();
    nix::unistd::mkfifo(&pki.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let config = |certificate: &str, key: &str, ca: &str| {
        format!(
            "worker: {{address: \"http://127.0.0.1:1\"}}\nadmin: {{listen: \"127.0.0.1:0\"}}\ninbound: [{{listen: \
             \"https://127.0.0.1:25443\", tls: {{certificate: \"{certificate}\", key: \"{key}\", client_ca: \
             \"{ca}\"}}}}]\n"
        )
    };
    let (fine, key, ca) = (at("payment.pem"), at("payment.key"), at("ca.pem"));
    let file = pki.path().join("fourmi.yaml");
    for bad in [at("pipe"), "/dev/zero".to_owned(), at("."), "/dev/full".to_owned()] {
        for config in [config(&bad, &key, &ca), config(&fine, &bad, &ca), config(&fine, &key, &bad)] {
            std::fs::write(&file, config).unwrap();
            let ended = run_fourmi_in(pki.path(), &["validate", "-c", "fourmi.yaml"]);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(ended.code != 0 && said.contains("name a PEM file"), "{bad}: {} {said}", ended.code);
        }
    }
}

/// A file that becomes a pipe while Fourmi runs: the old one stays, and reloads and the end are not held up.
#[test]
fn a_file_that_becomes_a_pipe_holds_nothing_up() {
    let pki = pki(&["payment"]);
    let at = |name: &str| pki.path().join(name).display().to_string();
    let (ca, pem, key) = (at("ca.pem"), at("payment.pem"), at("payment.key"));
    let peer = openssl_server(Path::new(&pem), Path::new(&key), &[]);
    let tls = format!("tls: {{ca: \"{ca}\", server_name: payment}}");
    let services = format!("{{stock: {{address: \"https://127.0.0.1:{}\", {tls}}}}}", peer.port);
    let mut fourmi = Setup::alone().outbound(services).start();
    assert_eq!(status(&fourmi), 200);
    std::fs::remove_file(&ca).unwrap();
    nix::unistd::mkfifo(Path::new(&ca), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fourmi.says("not usable, the old ones stay");
    assert_eq!(status(&fourmi), 200);
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 422, "the new configuration names no file");
    fourmi.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(fourmi.ends(), 0);
}

/// One instance under another name: its certificate has to be for the name that the configuration has now.
#[test]
fn an_instance_is_verified_by_the_name_of_now() {
    let pki = pki(&["first"]);
    let at = |name: &str| pki.path().join(name);
    let peer = openssl_server(&at("first.pem"), &at("first.key"), &[]);
    let dns = Resolver::start();
    dns.has("first.service.fourmi", 60, &["A 127.0.0.1"]);
    dns.has("second.test", 60, &["A 127.0.0.1"]);
    let address = |name: &str| format!("https://{name}:{}", peer.port);
    let tls = format!("tls: {{ca: \"{}\"}}", at("ca.pem").display());
    let services = format!("{{stock: {{address: \"{}\", {tls}}}}}", address("first.service.fourmi"));
    let more = format!("dns: {{nameservers: [\"{}\"]}}\n", dns.address());
    let fourmi = Setup::alone().outbound(services).more(&more).start();
    until("it is reached", || status(&fourmi) == 200);
    fourmi.rewrite(&fourmi.yaml().replace("first.service.fourmi", "second.test"));
    assert_eq!(fourmi.admin("POST", "/api/v1/reload").status(), 200);
    until("the new name is looked up", || {
        fourmi.admin("GET", "/api/v1/upstreams").text().contains(&format!("https://second.test:{}", peer.port))
    });
    for _ in 0..3 {
        let answer = fourmi.outbound().send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
        assert_ne!(answer.status(), 200);
        assert!(answer.text().contains("another name"), "{}", answer.text());
    }
}

/// Checks over TLS of their own notice a new authority, as commands do.
#[test]
fn checks_follow_a_new_authority() {
    let (old, new) = (pki(&["payment"]), pki(&["payment"]));
    let in_use = TempDir::with_prefix("in-use-").unwrap();
    let ca = in_use.path().join("ca.pem");
    std::fs::copy(new.path().join("ca.pem"), &ca).unwrap();
    // The instance is ahead: it shows the old authority's certificate, which becomes known later.
    let peer = openssl_server(&old.path().join("payment.pem"), &old.path().join("payment.key"), &[]);
    let checks = "healthchecks: {active: {type: https, https_sni: payment, healthy: {interval: 0.1, successes: 1}, \
                  unhealthy: {interval: 0.1, tcp_failures: 1}}}";
    let services = format!(
        "{{stock: {{address: [\"https://127.0.0.1:{0}\", \"https://localhost:{0}\"], tls: {{ca: \"{1}\", server_name: \
         payment}}, {checks}}}}}",
        peer.port,
        ca.display()
    );
    let fourmi = Setup::alone().outbound(services).start();
    let states = || {
        let all = fourmi.admin("GET", "/api/v1/upstreams").json();
        all[0]["instances"].as_array().unwrap().iter().map(|i| i["state"].clone()).collect::<Vec<_>>()
    };
    until("checks refuse it", || states().iter().all(|s| s == "unhealthy"));
    std::fs::copy(old.path().join("ca.pem"), in_use.path().join("ca.new")).unwrap();
    std::fs::rename(in_use.path().join("ca.new"), &ca).unwrap();
    until("checks trust it", || states().iter().all(|s| s == "healthy"));
}

//! What people are told: why an instance is out, why a service refuses, and where a command would really go.

use super::{explained, named, one, shown};
use fourmi_tests::peers::certificates::Certificates;
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Setup, Worker, until};
use std::net::TcpListener;

#[test]
fn a_session_that_fails_is_told_where_an_operator_looks() {
    // An instance that speaks no TLS at all, and one that shows a certificate of nobody that is known.
    let plain = Worker::echo();
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = theirs.server(theirs.good());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
        }
    });
    let ca = ours.ca_file();
    let tls = format!("tls: {{ca: \"{}\"}}", ca.display());
    let services = format!(
        "{{stock: {{address: \"https://localhost:{port}\", {tls}}}, mail: {{address: \"https://localhost:{}\", {tls}}}}}",
        plain.port()
    );
    let fourmi = Setup::alone().outbound(services).start();
    let failure = |service: &str| shown(&fourmi, service)["instances"][0]["last_failure"].clone();
    until("both are known to fail", || !failure("stock").is_null() && !failure("mail").is_null());
    let why = failure("stock");
    assert!(why.as_str().is_some_and(|w| w.contains("authority")), "{why}");
    fourmi.says("waiting for an instance: ");
    let list = run_fourmi_in(fourmi.file().parent().unwrap(), &["upstreams", "-c", fourmi.file().to_str().unwrap()]);
    assert!(list.stdout.lines().any(|l| l.starts_with("stock ") && l.contains("authority")), "{list:?}");
}

#[test]
fn explain_tells_where_the_key_leads_and_why_a_service_refuses() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let all = format!("[\"{}\", \"{}\", \"{}\"]", a.address(), b.address(), c.address());
    let services = format!(
        "{{hash: {{address: {all}, hash_on: header, hash_on_header: X-User}}, \
          half: {{address: {all}, healthchecks: {{threshold: 50}}}}}}"
    );
    let fourmi = Setup::alone().outbound(services).start();
    let file = fourmi.file().to_str().unwrap().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..8 {
        let request = format!("GET / HTTP/1.1\r\nHost: hash\r\nX-User: {user}\r\n\r\n");
        let got = fourmi.outbound().send(request).answer().text();
        let header = format!("X-User: {user}");
        let told = run_fourmi_in(
            fourmi.file().parent().unwrap(),
            &["explain", "http://hash/", "-H", &header, "-c", &file, "-o", "json"],
        );
        let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        let worker = [("a", &a), ("b", &b), ("c", &c)].into_iter().find(|(name, _)| *name == got).unwrap().1;
        assert_eq!(told["now"]["picked"], worker.address(), "{user}: {told}");
        seen.insert(got);
    }
    assert!(seen.len() > 1, "eight users go to more than one instance: {seen:?}");

    assert!(explained(&fourmi, "half")["refuses"].is_null());
    for worker in [&a, &b] {
        super::hand(&fourmi, "half", worker.address(), "down");
    }
    let refuses = explained(&fourmi, "half");
    assert!(refuses["refuses"].as_str().is_some_and(|w| w.contains("threshold")) && refuses["picked"].is_null());
    assert_eq!(one(&fourmi, "half", a.address())["state"], "forced-down");
    let list = run_fourmi_in(fourmi.file().parent().unwrap(), &["upstreams", "-c", &file]).stdout;
    assert!(list.contains("half: refuses commands: no more than 50 %"), "{list}");
}

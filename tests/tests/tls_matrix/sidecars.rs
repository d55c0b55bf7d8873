//! Two Fourmis with certificates of `fourmi cert`, one calling the other.

use super::clients::{Hello, openssl};
use super::{record, secured};
use fourmi_tests::sidecar::run_fourmi_in;
use fourmi_tests::{Client, Setup, Worker, until};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

#[track_caller]
fn fourmi(folder: &Path, line: &str) -> String {
    let ended = run_fourmi_in(folder, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(ended.code, 0, "{line}: {ended:?}");
    ended.stdout
}

#[test]
fn two_sidecars_know_each_other_and_renewal_disturbs_nobody() {
    let folder = TempDir::with_prefix("sidecars-").unwrap();
    let at = folder.path();
    fourmi(at, "cert init");
    fourmi(at, "cert init --dir other --trust-domain fourmi.local");
    fourmi(at, "cert issue payment");
    fourmi(at, "cert issue orders");
    fourmi(at, "cert issue intruder --dir other");
    let file = |name: &str| at.join(name).display().to_string();
    let (ca, worker) = (file("fourmi-ca/ca.pem"), Worker::echo());
    // As it is while an authority is replaced: both are trusted.
    let both = ["other/ca.pem", "fourmi-ca/ca.pem"].map(|f| std::fs::read_to_string(file(f)).unwrap()).concat();
    std::fs::write(at.join("both.pem"), both).unwrap();
    let both = file("both.pem");
    let pair = |name: &str| {
        format!("certificate: {:?}, key: {:?}", at.join(format!("{name}.pem")), at.join(format!("{name}.key")))
    };

    let payment = secured(&worker, &format!("{}, client_ca: {ca:?}", pair("payment")));
    let services: Vec<String> = [("one", "https", "orders"), ("two", "h2", "orders"), ("foreign", "https", "intruder")]
        .map(|(name, scheme, shows)| {
            format!(
                "{name}: {{address: \"{scheme}://127.0.0.1:{}\", tls: {{ca: {both:?}, {}, server_name: payment.service.fourmi}}}}",
                payment.port(),
                pair(shows)
            )
        })
        .to_vec();
    let orders = Setup::alone()
        .logs("[{stdout: {format: json}}]")
        .outbound(format!("{{{}}}", services.join(", ")))
        .more("timeouts: {hold: 300ms}")
        .start();
    let send = |service: &str, id: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {service}.service.fourmi\r\nFourmi-Id: {id}\r\n\r\n");
        Client::connect(orders.outbound_port()).send(request).answer().status()
    };
    for (service, protocol) in [("one", "http/1.1"), ("two", "http/2")] {
        assert_eq!(send(service, service), 200);
        let told = record(&payment, service);
        assert_eq!(
            (&told["client_identity"], &told["protocol"]),
            (&"spiffe://fourmi.local/orders".into(), &protocol.into())
        );
        assert_eq!(record(&orders, service)["client_identity"], Value::Null);
    }
    // The same name of the same trust domain, but signed by somebody else.
    assert!(send("foreign", "foreign") >= 500);
    payment.says("signed by none of `client_ca`");

    let (mut before, shows) = (serial(at), (file("orders.pem"), file("orders.key")));
    for round in 0..3 {
        fourmi(at, "cert issue payment");
        fourmi(at, "cert issue orders");
        assert_ne!(serial(at), before);
        before = serial(at);
        until("new connections see the new certificate", || {
            for service in ["one", "two"] {
                assert_eq!(send(service, &format!("{service}-{round}")), 200, "{}", orders.stdout());
            }
            let shows = Some((shows.0.as_str(), shows.1.as_str()));
            let hello =
                Hello { port: payment.port(), version: "1.3", sni: None, alpn: None, ca: &ca, shows, id: "look" };
            let (came, said) = openssl(hello, &[]);
            assert!(came.starts_with("200 payment"), "{said}");
            let shown = at.join("shown.pem");
            std::fs::write(&shown, pem(&said)).unwrap();
            serial_of(at, "shown.pem") == before
        });
    }
    for log in [payment.stderr(), orders.stderr()] {
        assert!(!log.contains("not usable"), "{log}");
    }
}

/// The certificate that openssl printed.
fn pem(said: &str) -> String {
    let from = said.find("-----BEGIN CERTIFICATE-----").unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let to = said[from..].find(end).unwrap();
    said[from..from + to + end.len()].to_owned()
}

fn serial(at: &Path) -> String {
    serial_of(at, "payment.pem")
}

fn serial_of(at: &Path, file: &str) -> String {
    let shown: Value = serde_json::from_str(&fourmi(at, &format!("cert show --json {file}"))).unwrap();
    shown[0]["serial"].as_str().unwrap().to_owned()
}

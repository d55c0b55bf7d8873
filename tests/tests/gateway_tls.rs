//! Certificates of a Kong file: what its services are shown and whom they are believed by, and what callers are shown.

use fourmi_tests::peers::certificates::{Certificates, Pair};
use fourmi_tests::peers::tls::nginx_with;
use fourmi_tests::peers::{program, run};
use fourmi_tests::{Client, Fourmi, Setup, Worker, free_port, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tempfile::TempDir;

const OWN: &str = "11111111-1111-1111-1111-111111111111";
const OURS: &str = "22222222-2222-2222-2222-222222222222";
const OTHERS: &str = "33333333-3333-3333-3333-333333333333";

fn kong(folder: &Path, mut file: Value) {
    file["_format_version"] = "3.0".into();
    std::fs::write(folder.join("new.json"), file.to_string()).unwrap();
    std::fs::rename(folder.join("new.json"), folder.join("kong.json")).unwrap();
}

/// Nothing that anybody can read shows a key.
fn keeps_its_keys(fourmi: &Fourmi) {
    let config = fourmi.admin("GET", "/api/v1/config").text();
    for said in [fourmi.stdout(), fourmi.stderr(), fourmi.metrics().text(), config] {
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}

/// A server that lets in whom the authority signed, and says who came and what name it was asked for.
fn asking_nginx(papers: &Certificates, port: u16) -> (TempDir, fourmi_tests::peers::Peer) {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = papers.issue(&["localhost"]);
    for (name, text) in [("s.pem", &*server.certificate), ("s.key", &*server.key), ("ca.pem", papers.ca())] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let at = folder.path().display();
    let http = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/s.pem; ssl_certificate_key {at}/s.key;\n\
         ssl_client_certificate {at}/ca.pem; ssl_verify_client on;\n\
         location / {{ return 200 \"$ssl_client_s_dn for $ssl_server_name\"; }} }}"
    );
    (folder, nginx_with(port, &http))
}

#[test]
fn a_service_is_shown_our_certificate_and_believed_by_its_authority() {
    let (papers, others, port) = (Certificates::new(), Certificates::new(), free_port());
    let (_files, _nginx) = asking_nginx(&papers, port);
    let url = format!("https://localhost:{port}");
    let service = |name: &str, more: Value| {
        let mut service = json!({"name": name, "url": url, "retries": 0, "routes": [{"paths": [format!("/{name}")]}]});
        more.as_object().unwrap().iter().for_each(|(key, value)| service[key] = value.clone());
        service
    };
    let mut services = vec![
        service("known", json!({"client_certificate": OWN, "ca_certificates": [OURS], "tls_verify_depth": 2})),
        service("nobody", json!({"ca_certificates": [OTHERS, OURS]})),
        service("system", json!({"client_certificate": OWN})),
        service("foreign", json!({"client_certificate": OWN, "ca_certificates": [OTHERS]})),
        service("blind", json!({"client_certificate": OWN, "tls_verify": false})),
    ];
    services.push(json!({"name": "pool", "host": "pool", "protocol": "https", "ca_certificates": [OURS], "retries": 0,
                         "routes": [{"paths": ["/pool"]}]}));
    let client = papers.issue(&["gate.test"]);
    let setup = Setup::alone().logs("[{stdout: {format: json}}]");
    kong(
        setup.folder(),
        json!({
            "certificates": [{"id": OWN, "cert": client.certificate, "key": client.key}],
            "ca_certificates": [{"id": OURS, "cert": papers.ca()}, {"id": OTHERS, "cert": others.ca()}],
            "services": services,
            "upstreams": [{"name": "pool", "host_header": format!("localhost:{port}"), "client_certificate": OWN,
                           "targets": [{"target": format!("127.0.0.1:{port}")}]}],
        }),
    );
    let inbound = setup.inbound_port();
    let fourmi = setup
        .more("gateway: kong.json\ntimeouts: {hold: 300ms}")
        .more(&format!("inbound: [{{listen: \"http://127.0.0.1:{inbound}\"}}]"))
        .start();
    let answer = |path: &str| fourmi.get(path);
    for path in ["/known", "/blind", "/pool"] {
        let answer = answer(path);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "CN=gate.test for localhost"), "{path}");
    }
    let nobody = answer("/nobody");
    assert!(nobody.status() == 400 && nobody.text().contains("No required SSL certificate"), "{nobody:?}");
    for (service, why) in
        [("system", "an authority that is not known here"), ("foreign", "not signed by the authority")]
    {
        assert!(answer(&format!("/{service}")).status() >= 500, "{service}");
        until("the log says why", || {
            let lines = fourmi.stderr();
            lines.lines().any(|l| l.contains(&format!("\"{service}\"")) && l.contains(why))
        });
    }
    let file = format!("gateway:certificates/{OWN}");
    until("its end is told", || {
        fourmi.metrics().sum("fourmi_certificate_expires_timestamp_seconds", &[("file", &file)]) > 0.0
    });
    keeps_its_keys(&fourmi);
}

/// The certificate that `openssl s_client` is shown, without its line breaks.
#[track_caller]
fn shown(port: u16, sni: Option<&str>) -> String {
    let mut command = Command::new(program("openssl"));
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    match sni {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = said.find("-----BEGIN CERTIFICATE-----");
    let end = said.find("-----END CERTIFICATE-----");
    match (begin, end) {
        (Some(begin), Some(end)) => bare(&said[begin..end]),
        _ => panic!("no certificate: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn bare(pem: &str) -> String {
    pem.split_once("-----END").map_or(pem, |(pem, _)| pem).split_whitespace().collect()
}

/// The status that curl is answered.
#[track_caller]
fn curl(scheme: &str, port: u16, host: &str, path: &str) -> String {
    let resolve = format!("{host}:{port}:127.0.0.1");
    let url = format!("{scheme}://{host}:{port}{path}");
    let told = ["-w", "%{http_code}", "--max-time", "20", "--resolve", &resolve, &url];
    let output = run("curl", &[&["-sSk", "-o", "/dev/null", "--noproxy", "*"][..], &told].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn certificate(pair: &Pair, snis: &[&str]) -> Value {
    json!({"cert": pair.certificate, "key": pair.key, "snis": snis})
}

#[test]
fn callers_are_shown_what_their_name_asks_for_and_routed_by_it() {
    let (papers, worker) = (Certificates::new(), Worker::echo());
    // What stands in a certificate does not count, only its SNIs do.
    let [shop, wild, begin] = ["shop", "wild", "begin"].map(|name| papers.issue(&[name]));
    let own = papers.good();
    let (setup, plain, beside) = (Setup::alone(), free_port(), free_port());
    kong(
        setup.folder(),
        json!({
            "certificates": [
                certificate(&shop, &["shop.test", "x.wild.test"]),
                certificate(&wild, &["*.wild.test"]),
                certificate(&begin, &["begin.*"]),
            ],
            "services": [{"url": worker.address(), "routes": [
                {"name": "wild", "snis": ["*.sni.test"], "protocols": ["https"]},
                {"name": "both", "snis": ["a.test"], "paths": ["/both"], "protocols": ["http", "https"]},
            ]}],
        }),
    );
    for (name, text) in [("own.pem", &own.certificate), ("own.key", &own.key)] {
        std::fs::write(setup.folder().join(name), text).unwrap();
    }
    let (port, at) = (setup.inbound_port(), setup.folder().display().to_string());
    let fourmi = setup
        .more("gateway: kong.json")
        .more(&format!(
            "inbound: [{{listen: \"https://127.0.0.1:{port}\"}}, {{listen: \"http://127.0.0.1:{plain}\"}}, \
             {{listen: \"https://127.0.0.1:{beside}\", tls: {{certificate: {at}/own.pem, key: {at}/own.key}}}}]"
        ))
        .start();
    for (port, other) in [(port, &shop), (beside, own)] {
        for (sni, expected) in [
            (Some("shop.test"), &shop),
            (Some("SHOP.test"), &shop),
            (Some("x.wild.test"), &shop),
            (Some("y.wild.test"), &wild),
            (Some("begin.example"), &begin),
            // Of one label.
            (Some("a.y.wild.test"), other),
            (Some("unknown.test"), other),
            (None, other),
        ] {
            assert_eq!(shown(port, sni), bare(&expected.certificate), "{port} {sni:?}");
        }
    }
    assert_eq!(shown(beside, Some("localhost")), bare(&own.certificate));
    for (scheme, to, host, path, status) in [
        ("https", port, "foo.bar.sni.test", "/", "200"),
        ("https", port, "foo.sni.test.bar", "/", "404"),
        ("https", beside, "foo.sni.test", "/any", "200"),
        // Without a session its name is not asked for; the first route wants one.
        ("http", plain, "foo.bar.sni.test", "/", "426"),
        ("http", plain, "b.test", "/both", "200"),
        ("https", port, "b.test", "/both", "404"),
        ("https", port, "a.test", "/both", "200"),
    ] {
        assert_eq!(curl(scheme, to, host, path), status, "{scheme} {host} {path}");
    }
    keeps_its_keys(&fourmi);
}

/// A session of `openssl s_client` that stays.
struct Kept {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Kept {
    fn open(port: u16, sni: &str) -> Kept {
        let mut command = Command::new(program("openssl"));
        command.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}"), "-servername", sni]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Kept { child, answers }
    }

    /// The first line of the answer to one more request.
    #[track_caller]
    fn ask(&mut self) -> String {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(b"GET /kept HTTP/1.1\r\nHost: shop.test\r\n\r\n").unwrap();
        let (mut first, mut length) = (String::new(), 0);
        self.answers.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).unwrap();
        first.trim_end().to_owned()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_reload_under_load_swaps_one_and_drops_nobody() {
    let (papers, worker) = (Certificates::new(), Worker::echo());
    let [stays, first] = [["stays.test"], ["shop.test"]].map(|names| papers.issue(&names));
    let setup = Setup::alone();
    let (port, at) = (setup.inbound_port(), setup.folder().to_owned());
    let write = |shop: &Pair| {
        let certificates = [certificate(&stays, &["stays.test"]), certificate(shop, &["shop.test"])];
        let service = json!({"url": worker.address(), "routes": [{"paths": ["/"]}]});
        kong(&at, json!({"certificates": certificates, "services": [service]}));
    };
    write(&first);
    let fourmi =
        setup.more("gateway: kong.json").more(&format!("inbound: [{{listen: \"https://127.0.0.1:{port}\"}}]")).start();
    let mut kept = Kept::open(port, "shop.test");
    assert_eq!(kept.ask(), "HTTP/1.1 200 OK");

    // Each call is several requests over a connection of its own, by someone who believes the authority alone.
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = ["stays.test", "shop.test"]
        .map(|host| {
            let (stop, calls, ca) = (stop.clone(), calls.clone(), papers.ca_file().display().to_string());
            std::thread::spawn(move || {
                let (resolve, url) = (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}/[1-20]"));
                let told = ["-sSf", "-o", "/dev/null", "--noproxy", "*", "--max-time", "60", "--cacert", &ca];
                while !stop.load(Ordering::Acquire) {
                    let output = run("curl", &[&told[..], &["--resolve", &resolve, &url]].concat());
                    assert!(output.status.success(), "{host}: {}", String::from_utf8_lossy(&output.stderr));
                    calls.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .into();
    let more_calls = || {
        let before = calls.load(Ordering::Acquire);
        until("four more calls", || {
            assert!(!callers.iter().any(|c| c.is_finished()), "a call failed");
            calls.load(Ordering::Acquire) >= before + 4
        });
    };
    for _ in 0..3 {
        let next = papers.issue(&["shop.test"]);
        more_calls();
        write(&next);
        fourmi.signal(Signal::SIGHUP);
        until("the new one is shown", || shown(port, Some("shop.test")) == bare(&next.certificate));
        assert_eq!(shown(port, Some("stays.test")), bare(&stays.certificate));
        assert_eq!(kept.ask(), "HTTP/1.1 200 OK", "who was there stays");
        more_calls();
    }
    // A file that is not usable changes nothing.
    let before = shown(port, Some("shop.test"));
    write(&Pair { key: papers.good().key.clone(), ..first });
    fourmi.signal(Signal::SIGHUP);
    fourmi.says("certificate does not match key");
    assert_eq!(shown(port, Some("shop.test")), before);
    assert_eq!(kept.ask(), "HTTP/1.1 200 OK");
    stop.store(true, Ordering::Release);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert!(!fourmi.stderr().contains("handshake"), "{}", fourmi.stderr());
    keeps_its_keys(&fourmi);
    let plain = Client::connect(port).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert_eq!(plain.status(), 400);
}

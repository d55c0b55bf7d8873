//! nginx, HAProxy and Envoy as instances of one service, over HTTP/1 and HTTP/2, and all of them replaced under load.

use super::shown;
use fourmi_tests::peers::instances::{envoy_beside, haproxy_with};
use fourmi_tests::peers::tls::nginx_with;
use fourmi_tests::peers::{Certificates, printed};
use fourmi_tests::{Fourmi, Load, Setup, free_port, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const NAMES: [&str; 3] = ["nginx", "haproxy", "envoy"];

/// The ports of one proxy: HTTP/1, HTTP/2 with prior knowledge, and HTTP/2 over TLS.
#[derive(Clone, Copy)]
struct Ports {
    one: u16,
    two: u16,
    secure: u16,
}

impl Ports {
    fn new() -> Ports {
        Ports { one: free_port(), two: free_port(), secure: free_port() }
    }
    fn all(self) -> [u16; 3] {
        [self.one, self.two, self.secure]
    }
}

fn nginx(ports: Ports, at: &Path) -> String {
    let at = at.display();
    let server = |listen: &str| {
        format!(
            "server {{ listen 127.0.0.1:{listen}; ssl_certificate {at}/good.pem; ssl_certificate_key {at}/good.key; \
             location / {{ add_header X-Instance nginx; add_header X-From $remote_port; return 200 hello; }} }}"
        )
    };
    let Ports { one, two, secure } = ports;
    let servers = [one.to_string(), format!("{two} http2"), format!("{secure} ssl http2")].map(|l| server(&l));
    format!("keepalive_requests 1000000;\n{}", servers.join("\n"))
}

fn haproxy(ports: Ports, at: &Path) -> String {
    let Ports { one, two, secure } = ports;
    format!(
        "frontend all\n  bind 127.0.0.1:{one}\n  bind 127.0.0.1:{two} proto h2\n  \
         bind 127.0.0.1:{secure} ssl crt {}/both.pem alpn h2\n  \
         http-request return status 200 content-type text/plain string hello hdr X-Instance haproxy hdr X-From %[src_port]\n",
        at.display()
    )
}

fn envoy(ports: Ports, at: &Path) -> Value {
    let listener = |port: u16, secure: bool| {
        let mut chain = json!({
            "filters": [{ "name": "http", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "instance",
                "drain_timeout": "1s",
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
                    "response_headers_to_add": [
                        { "header": { "key": "x-instance", "value": "envoy" } },
                        { "header": { "key": "x-from", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%" } }
                    ],
                    "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }] }] },
                "http_filters": [{ "name": "router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }]
            } }]
        });
        if secure {
            chain["transport_socket"] = json!({ "name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_certificates": [{ "certificate_chain": { "filename": at.join("good.pem") },
                        "private_key": { "filename": at.join("good.key") } }]
                }
            } });
        }
        json!({
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
            "filter_chains": [chain]
        })
    };
    // Without TLS it finds out by itself which HTTP it is.
    json!([listener(ports.one, false), listener(ports.two, false), listener(ports.secure, true)])
}

/// The connections over which each instance saw commands that were sent one after another.
fn connections(fourmi: &Fourmi, service: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut caller = fourmi.outbound();
    for _ in 0..30 {
        let answer = caller.send(format!("GET / HTTP/1.1\r\nHost: {service}\r\n\r\n")).answer();
        assert_eq!(answer.status(), 200, "{service}: {}", answer.text());
        let of = |name| answer.header(name).unwrap_or_else(|| panic!("{name}: {:?}", answer.headers)).to_owned();
        seen.entry(of("x-instance")).or_default().insert(of("x-from"));
    }
    seen
}

#[test]
fn each_is_replaced_under_load_and_no_command_feels_it() {
    let (files, folder) = (Certificates::new(), tempfile::tempdir().unwrap());
    let at = folder.path();
    // Other users read from here: nginx's workers, for one.
    std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let good = files.good();
    std::fs::write(at.join("good.pem"), &good.certificate).unwrap();
    std::fs::write(at.join("good.key"), &good.key).unwrap();
    std::fs::write(at.join("both.pem"), format!("{}{}", good.certificate, good.key)).unwrap();

    let ports = [Ports::new(), Ports::new(), Ports::new()];
    let nginx = nginx_with(ports[0].one, &nginx(ports[0], at));
    let haproxy = haproxy_with(ports[1].one, &haproxy(ports[1], at));
    let listeners = envoy(ports[2], at);
    let admin = free_port();
    let envoy = envoy_beside(admin, &listeners);

    let service = |name: &str, scheme: &str, of: usize| {
        let all: Vec<String> = ports.iter().map(|p| format!("\"{scheme}://127.0.0.1:{}\"", p.all()[of])).collect();
        format!("{name}: {{algorithm: round-robin, address: [{}], tls: {{ca: {:?}}}}}", all.join(", "), files.ca_file())
    };
    let plain = |name: &str, scheme: &str, of: usize| {
        let text = service(name, scheme, of);
        text.split(", tls:").next().unwrap().to_owned() + "}"
    };
    let services = [plain("one", "http", 0), plain("two", "h2c", 1), service("secure", "h2", 2)];
    let fourmi = Setup::alone().outbound(format!("{{{}}}", services.join(", "))).start();

    let names = ["one", "two", "secure"];
    for name in names {
        let seen = connections(&fourmi, name);
        assert_eq!(seen.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(NAMES), "{name}");
        assert!(seen.values().all(|from| from.len() == 1), "{name}: one connection each is enough: {seen:?}");
    }

    let load = |name: &str| Load::on(fourmi.outbound_port(), 3, &format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
    let loads = names.map(load);
    let goes_on = |what: &str| {
        let from: Vec<u64> = loads.iter().map(Load::answered).collect();
        until(what, || loads.iter().zip(&from).all(|(load, from)| load.answered() > from + 150));
    };
    goes_on("the load runs");
    for _ in 0..3 {
        nginx.signal(Signal::SIGHUP);
        goes_on("nginx has been told to reload");
    }
    for _ in 0..2 {
        haproxy.signal(Signal::SIGUSR2);
        goes_on("HAProxy has been told to reload");
    }
    // Another Envoy takes the place of the first, which says goodbye and goes.
    let other = envoy_beside(free_port(), &listeners);
    goes_on("there are two of them");
    printed(
        "curl",
        &["-sS", "-f", "--noproxy", "*", "-X", "POST", &format!("http://127.0.0.1:{admin}/drain_listeners?graceful")],
    );
    goes_on("the first one drains");
    drop(envoy);
    goes_on("the first one is gone");

    for (name, load) in names.into_iter().zip(loads) {
        let tally = load.stop();
        println!("{name}: {} commands", tally.sent());
        assert_eq!((tally.with(200), tally.lost), (tally.sent(), 0), "{name}: {tally:?}\n{}", fourmi.stderr());
        let service = shown(&fourmi, name);
        let instances = service["instances"].as_array().unwrap();
        assert!(instances.iter().all(|i| i["state"] == "healthy" && i["ejections"] == 0), "{service}");
        let seen = connections(&fourmi, name);
        assert_eq!(seen.len(), 3, "{name}: {seen:?}");
    }
    let metrics = fourmi.metrics();
    for reason in ["stale", "connect", "broken", "timeout"] {
        println!("sent again, {reason}: {}", metrics.sum("fourmi_retries_total", &[("reason", reason)]) as u64);
    }
    drop((nginx, haproxy, other));
}

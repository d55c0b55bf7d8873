//! Fourmi as the client of nginx, Envoy and openssl.

use super::VERSIONS;
use super::pki::Pki;
use super::record;
use super::table::Table;
use fourmi_tests::peers::Peer;
use fourmi_tests::peers::tls::{envoy_with, nginx_with, openssl_server};
use fourmi_tests::{Client, Fourmi, Setup, free_port};
use serde_json::{Value, json};

/// What a server shows and wants.
struct Server {
    shows: &'static str,
    version: &'static str,
    /// It asks for certificates of our authority.
    asks: bool,
    port: u16,
}

fn all() -> Vec<Server> {
    let mut all = Vec::new();
    let mut add = |shows, version, asks| all.push(Server { shows, version, asks, port: free_port() });
    for version in VERSIONS {
        for shows in ["default", "stranger", "wrong-name", "expired"] {
            add(shows, version, false);
        }
        add("default", version, true);
    }
    all
}

/// One way to call a server: its name, more of the `tls` section, and what must come of it. A refusal is a word of the
/// record's error.
struct Way {
    what: &'static str,
    tls: String,
    outcome: Result<(), &'static str>,
}

fn ways(server: &Server, pki: &Pki) -> Vec<Way> {
    let ca = format!("ca: {:?}", pki.ca());
    let way = |what, more: &str, outcome| Way { what, tls: format!("{ca}{more}"), outcome };
    let shows = |client: &str| format!(", {}", pki.yaml(&format!("client-{client}")));
    if server.asks {
        return vec![
            way("our certificate", &shows("good"), Ok(())),
            way("no certificate", "", Err("client certificate")),
            way("a stranger's certificate", &shows("stranger"), Err("client certificate")),
            way("an expired certificate", &shows("expired"), Err("client certificate")),
        ];
    }
    let unverified = Way { what: "verify: false", tls: "verify: false".to_owned(), outcome: Ok(()) };
    match server.shows {
        "default" => {
            let newest = if server.version == "1.2" { Err("no version or cipher of TLS in common") } else { Ok(()) };
            let system = Way {
                what: "the system's authorities",
                tls: "verify: true".to_owned(),
                outcome: Err("an authority that is not known here"),
            };
            vec![
                way("our authority", "", Ok(())),
                way("a certificate that nobody asks for", &shows("good"), Ok(())),
                way("server_name: other", ", server_name: other.test", Err("for another name")),
                way("min_version: 1.3", ", min_version: \"1.3\"", newest),
                system,
                unverified,
            ]
        }
        "wrong-name" => vec![
            way("our authority", "", Err("for another name")),
            way("server_name: its own", ", server_name: elsewhere.test", Ok(())),
            unverified,
        ],
        "expired" => vec![way("our authority", "", Err("has expired")), unverified],
        _ => vec![way("our authority", "", Err("an authority that is not known here")), unverified],
    }
}

/// A cell of the table: the service's name, what it is, the protocol, and what must come.
struct Cell {
    id: String,
    what: String,
    expected: Result<String, String>,
}

/// Fourmi with a service for each way to call each of the servers over each of the protocols.
fn callers(
    peer: &str,
    servers: &[Server],
    pki: &Pki,
    protocols: &[(&'static str, &'static str)],
    told: impl Fn(&Server, &Way) -> Option<&'static str>,
) -> (Fourmi, Vec<Cell>) {
    let (mut services, mut cells) = (Vec::new(), Vec::new());
    for server in servers {
        for way in ways(server, pki) {
            for (scheme, protocol) in protocols {
                let id = format!("{peer}-{}", cells.len());
                let Server { port, version, shows, asks } = server;
                services.push(format!("{id}: {{address: \"{scheme}://127.0.0.1:{port}\", tls: {{{}}}}}", way.tls));
                let asks = if *asks { " that asks" } else { "" };
                let what = format!("{peer} {version} {shows}{asks}, {}, {scheme}", way.what);
                let expected = match (told(server, &way), way.outcome) {
                    (Some(other), _) => Ok(other.to_owned()),
                    (None, Ok(())) => Ok(format!("200 {protocol}")),
                    (None, Err(word)) => Err(word.to_owned()),
                };
                cells.push(Cell { id, what, expected });
            }
        }
    }
    let fourmi = Setup::alone()
        .logs("[{stdout: {format: json}}]")
        .outbound(format!("{{{}}}", services.join(", ")))
        .more("timeouts: {hold: 300ms}")
        .start();
    (fourmi, cells)
}

#[track_caller]
fn judge(title: &'static str, fourmi: &Fourmi, cells: Vec<Cell>) {
    let mut table = Table::new(title);
    for Cell { id, what, expected } in cells {
        let request = format!("GET / HTTP/1.1\r\nHost: {id}.service.fourmi\r\nFourmi-Id: {id}\r\n\r\n");
        let answer = Client::connect(fourmi.outbound_port()).send(request).answer();
        let record = record(fourmi, &id);
        let error = record["error"].as_str().unwrap_or_default();
        let came = match error {
            "" => format!("{} {}", answer.status(), answer.header("X-Protocol").unwrap_or("-")),
            error => format!("{} {error}", answer.status()),
        };
        match expected {
            Ok(expected) => table.cell(&what, &expected, &came, &record.to_string()),
            // The rest of the words may change.
            Err(word) => {
                let refused = (502..=503).contains(&answer.status()) && error.contains(&word);
                let expected = if refused { came.clone() } else { format!("502 or 503 with `{word}`") };
                table.cell(&what, &expected, &came, &record.to_string());
            }
        }
    }
    table.end();
}

#[test]
fn nginx_is_an_instance() {
    let (pki, servers) = (Pki::new(), all());
    let sections: Vec<String> = servers
        .iter()
        .map(|Server { shows, version, asks, port }| {
            let files = pki.files(shows);
            let asks = match asks {
                true => format!("ssl_verify_client on; ssl_client_certificate {};", pki.ca()),
                false => String::new(),
            };
            format!(
                "server {{ listen 127.0.0.1:{port} ssl http2; ssl_protocols TLSv{version}; ssl_certificate {}; \
                 ssl_certificate_key {}; {asks} add_header X-Protocol $server_protocol; \
                 location / {{ return 200 hello; }} }}",
                files.certificate.display(),
                files.key.display()
            )
        })
        .collect();
    let _nginx = nginx_with(servers[0].port, &sections.join("\n"));
    // nginx lets the handshake pass and answers 400.
    let told = |server: &Server, way: &Way| (server.asks && way.outcome.is_err()).then_some("400 -");
    let protocols = [("https", "HTTP/1.1"), ("h2", "HTTP/2.0")];
    let (fourmi, cells) = callers("nginx", &servers, &pki, &protocols, told);
    judge("nginx as instances", &fourmi, cells);
}

#[test]
fn envoy_is_an_instance() {
    let (pki, servers) = (Pki::new(), all());
    let listeners: Vec<Value> = servers.iter().map(|server| envoy_listener(server, &pki)).collect();
    let _envoy = envoy_with(servers[0].port, json!(listeners), json!([]));
    let protocols = [("https", "HTTP/1.1"), ("h2", "HTTP/2")];
    let (fourmi, cells) = callers("envoy", &servers, &pki, &protocols, |_, _| None);
    judge("Envoy as instances", &fourmi, cells);
}

fn envoy_listener(server: &Server, pki: &Pki) -> Value {
    let files = pki.files(server.shows);
    let version = format!("TLSv{}", server.version.replace('.', "_"));
    let validation = match server.asks {
        true => json!({ "trusted_ca": { "filename": pki.ca() } }),
        false => json!({}),
    };
    json!({
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": server.port } },
        "filter_chains": [{
            "filters": [{ "name": "http", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "instance",
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
                    "response_headers_to_add": [{ "header": { "key": "x-protocol", "value": "%PROTOCOL%" } }],
                    "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }] }] },
                "http_filters": [{ "name": "router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }]
            } }],
            "transport_socket": { "name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": server.asks,
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": { "tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version },
                    "tls_certificates": [{ "certificate_chain": { "filename": files.certificate },
                        "private_key": { "filename": files.key } }],
                    "validation_context": validation
                }
            } }
        }]
    })
}

#[test]
fn openssl_is_an_instance() {
    let (pki, mut servers) = (Pki::new(), all());
    let peers: Vec<Peer> = servers
        .iter_mut()
        .map(|server| {
            let (files, ca) = (pki.files(server.shows), pki.ca());
            let mut options = vec![if server.version == "1.2" { "-tls1_2" } else { "-tls1_3" }];
            if server.asks {
                options.extend(["-Verify", "1", "-verify_return_error", "-CAfile", &ca]);
            }
            let peer = openssl_server(&files.certificate, &files.key, &options);
            server.port = peer.port;
            peer
        })
        .collect();
    let (fourmi, mut cells) = callers("openssl", &servers, &pki, &[("https", "-")], |_, _| None);
    // It knows nothing of HTTP/2 and agrees to nothing.
    let (two, more) = callers("openssl-h2", &servers[..1], &pki, &[("h2", "-")], |_, _| None);
    judge("openssl s_server as instances", &fourmi, std::mem::take(&mut cells));
    let refused =
        more.into_iter().take(1).map(|cell| Cell { expected: Err("does not agree to HTTP/2".to_owned()), ..cell });
    judge("openssl s_server without ALPN", &two, refused.collect());
    drop(peers);
}

#[test]
fn a_session_with_an_instance_is_resumed() {
    let pki = Pki::new();
    let ports = VERSIONS.map(|_| free_port());
    let files = pki.files("default");
    let section = |(port, version): (&u16, &str)| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv{version}; ssl_certificate {}; \
             ssl_certificate_key {}; ssl_verify_client on; ssl_client_certificate {}; keepalive_timeout 0; \
             add_header X-Reused $ssl_session_reused; add_header X-Subject $ssl_client_s_dn; \
             location / {{ return 200 hello; }} }}\n",
            files.certificate.display(),
            files.key.display(),
            pki.ca()
        )
    };
    let sections: String = ports.iter().zip(VERSIONS).map(section).collect();
    let _nginx = nginx_with(ports[0], &sections);
    let tls = format!("{{ca: {:?}, {}}}", pki.ca(), pki.yaml("client-good"));
    let services: Vec<String> = ports
        .iter()
        .zip(["old", "new"])
        .map(|(port, name)| format!("{name}: {{address: \"https://127.0.0.1:{port}\", tls: {tls}}}"))
        .collect();
    let fourmi = Setup::alone().outbound(format!("{{{}}}", services.join(", "))).start();
    let mut table = Table::new("Fourmi resumes with nginx");
    for (service, version) in ["old", "new"].into_iter().zip(VERSIONS) {
        let send = || {
            let request = format!("GET / HTTP/1.1\r\nHost: {service}.service.fourmi\r\n\r\n");
            Client::connect(fourmi.outbound_port()).send(request).answer()
        };
        // The first one is new, unless a look at whether the instance is there has begun a session.
        assert_eq!(send().status(), 200);
        for n in ["second", "third"] {
            let answer = send();
            let header = |name| answer.header(name).unwrap_or("-");
            let came = format!("{} {} {}", answer.status(), header("X-Reused"), header("X-Subject"));
            table.cell(&format!("{version} {n}"), "200 r CN=client", &came, &answer.text());
        }
    }
    table.end();
}

//! nginx and Envoy before Fourmi, speaking TLS to it.

use super::pki::{IDENTITY, Pki};
use super::table::Table;
use super::{CLIENTS, NAMES, VERSIONS, client_files, fits, listener, record};
use fourmi_tests::peers::tls::{envoy_with, nginx_with};
use fourmi_tests::{Client, Fourmi, Worker, free_port};
use serde_json::json;

/// Sends a command through the front; what came of it, as Fourmi recorded it.
fn through(front: u16, fourmi: &Fourmi, id: &str) -> (String, String) {
    let answer = Client::connect(front)
        .send(format!("GET /{id} HTTP/1.1\r\nHost: test\r\nFourmi-Id: {id}\r\nConnection: close\r\n\r\n"))
        .answer();
    if answer.status() != 200 {
        return (format!("{} of the front", answer.status()), answer.text());
    }
    let record = record(fourmi, id);
    let word = |key: &str| record[key].as_str().unwrap_or("-").to_owned();
    (format!("200 {} by {}", word("protocol"), word("client_identity")), record.to_string())
}

#[test]
fn nginx_is_a_caller() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let fourmi = listener(&worker, &pki, &format!(", client_ca: {:?}", pki.ca()));
    let (port, behind) = (free_port(), fourmi.port());
    let mut cells = Vec::new();
    let mut locations = String::new();
    for version in VERSIONS {
        for (client, good) in CLIENTS {
            for (name, sni, subject) in NAMES {
                let id = format!("nginx-{}", cells.len());
                let shows = client_files(&pki, client).map_or(String::new(), |(certificate, key)| {
                    format!("proxy_ssl_certificate {certificate}; proxy_ssl_certificate_key {key};")
                });
                // Without a name nginx still wants to know whom the certificate is for.
                let (asks, wanted) = if sni.is_some() { ("on", sni.unwrap_or_default()) } else { ("off", subject) };
                locations += &format!(
                    "location = /{id} {{ proxy_pass https://127.0.0.1:{behind}; proxy_ssl_protocols TLSv{version}; \
                     proxy_ssl_server_name {asks}; proxy_ssl_name {wanted}; {shows} }}\n"
                );
                // Its name is not in the certificate that is due.
                let good = good && fits(name);
                cells.push((id, format!("nginx {version} {client} {name}"), good));
            }
        }
    }
    let front = nginx_with(
        port,
        &format!(
            "proxy_http_version 1.1; proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_session_reuse off;\n\
             server {{ listen 127.0.0.1:{port};\n{locations} }}",
            pki.ca()
        ),
    );
    let mut table = Table::new("nginx against client_auth: required");
    for (id, cell, good) in cells {
        let expected = if good { format!("200 http/1.1 by {IDENTITY}") } else { "502 of the front".to_owned() };
        let (came, said) = through(front.port, &fourmi, &id);
        table.cell(&cell, &expected, &came, &format!("{said}\n{}", last_lines(&front.output())));
    }
    table.end();
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n")
}

#[test]
fn envoy_is_a_caller() {
    let (worker, pki) = (Worker::echo(), Pki::new());
    let fourmi = listener(&worker, &pki, &format!(", client_ca: {:?}", pki.ca()));
    let (port, behind) = (free_port(), fourmi.port());
    let (mut cells, mut routes, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
    for version in VERSIONS {
        for (client, good) in CLIENTS {
            for (name, sni, subject) in NAMES {
                for protocol in ["http/2", "http/1.1"] {
                    let id = format!("envoy-{}", cells.len());
                    routes.push(json!({ "match": { "path": format!("/{id}") }, "route": { "cluster": id } }));
                    clusters.push(cluster(&id, behind, &pki, version, client, sni, subject, protocol));
                    cells.push((id, format!("envoy {version} {client} {name} {protocol}"), good, protocol));
                }
            }
        }
    }
    let listeners = json!([{
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
            "http_filters": [{ "name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }]
        } }] }]
    }]);
    let front = envoy_with(port, listeners, json!(clusters));
    let mut table = Table::new("Envoy against client_auth: required");
    for (id, cell, good, protocol) in cells {
        let expected = if good { format!("200 {protocol} by {IDENTITY}") } else { "503 of the front".to_owned() };
        let (came, said) = through(front.port, &fourmi, &id);
        table.cell(&cell, &expected, &came, &format!("{said}\n{}", last_lines(&front.output())));
    }
    table.end();
}

/// Envoy looks into the certificate for the subject that is due, whatever name it asked for.
#[allow(clippy::too_many_arguments)]
fn cluster(
    id: &str,
    behind: u16,
    pki: &Pki,
    version: &str,
    client: &str,
    sni: Option<&str>,
    subject: &str,
    protocol: &str,
) -> serde_json::Value {
    let version = format!("TLSv{}", version.replace('.', "_"));
    let shows: Vec<_> = client_files(pki, client)
        .into_iter()
        .map(|(c, k)| json!({ "certificate_chain": { "filename": c }, "private_key": { "filename": k } }))
        .collect();
    let (alpn, options) = match protocol {
        "http/2" => ("h2", json!({ "http2_protocol_options": {} })),
        _ => ("http/1.1", json!({ "http_protocol_options": {} })),
    };
    json!({
        "name": id,
        "type": "STATIC",
        "connect_timeout": "20s",
        "load_assignment": { "cluster_name": id, "endpoints": [{ "lb_endpoints": [{ "endpoint": {
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": behind } } } }] }] },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": options } },
        "transport_socket": { "name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": sni.unwrap_or_default(),
            "common_tls_context": {
                "alpn_protocols": [alpn],
                "tls_params": { "tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version },
                "tls_certificates": shows,
                "validation_context": {
                    "trusted_ca": { "filename": pki.ca() },
                    "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": subject } }]
                }
            }
        } }
    })
}

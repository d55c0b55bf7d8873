//! Envoy and Traefik as senders of DogStatsD: what a good emitter sends; Traefik on a catalogue of Consul's.

use super::{Peer, program, python_program};
use crate::net::free_port;
use std::process::Command;
use tempfile::TempDir;

/// `{port}`, `{admin}`, `{statsd}`, `{worker}` are filled in.
const ENVOY: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
stats_flush_interval: 1s
stats_sinks:
- name: envoy.stat_sinks.dog_statsd
  typed_config:
    "@type": type.googleapis.com/envoy.config.metrics.v3.DogStatsdSink
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: {statsd}}}
    prefix: envoy
    max_bytes_per_datagram: 1432
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: {port}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: worker}}]}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: worker
    type: STATIC
    load_assignment:
      cluster_name: worker
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {worker}}}}}]}]
"#;

/// Envoy in front of the worker on this port; it sends DogStatsD over UDP each second.
#[track_caller]
pub fn envoy(worker: u16, statsd: u16) -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("envoy-").unwrap());
    let mut config = ENVOY.to_owned();
    for (hole, port) in [("{port}", port), ("{admin}", free_port()), ("{statsd}", statsd), ("{worker}", worker)] {
        config = config.replace(hole, &port.to_string());
    }
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(python_program("envoy"));
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    Peer::start("envoy", port, folder, &mut command).listens(port)
}

/// Traefik in front of the worker on this port; it sends DogStatsD over UDP each second.
#[track_caller]
pub fn traefik(worker: u16, statsd: u16) -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("traefik-").unwrap());
    let (file, routes) = (folder.path().join("traefik.yaml"), folder.path().join("routes.yaml"));
    let config = format!(
        "entryPoints: {{web: {{address: \"127.0.0.1:{port}\"}}}}\n\
         global: {{checkNewVersion: false, sendAnonymousUsage: false}}\n\
         providers: {{file: {{filename: \"{}\", watch: false}}}}\n\
         metrics: {{datadog: {{address: \"127.0.0.1:{statsd}\", pushInterval: 1s, addRoutersLabels: true}}}}\n",
        routes.display()
    );
    let routing = format!(
        "http:\n  routers: {{all: {{rule: \"PathPrefix(`/`)\", service: worker, entryPoints: [web]}}}}\n  \
         services: {{worker: {{loadBalancer: {{servers: [{{url: \"http://127.0.0.1:{worker}\"}}]}}}}}}\n"
    );
    std::fs::write(&file, config).unwrap();
    std::fs::write(routes, routing).unwrap();
    let mut command = Command::new(python_program("traefik"));
    command.arg(format!("--configFile={}", file.display()));
    Peer::start("traefik", port, folder, &mut command).listens(port)
}

/// VictoriaMetrics' agent that scrapes the instances of this service which the registry on this port knows, every second
/// and so often looked for there; with a token when there is one.
#[track_caller]
pub fn vmagent_of(registry: u16, service: &str, token: Option<&str>) -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("vmagent-").unwrap());
    let file = folder.path().join("scrape.yml");
    let token = token.map(|token| format!(", token: {token}")).unwrap_or_default();
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: found, consul_sd_configs: [{{server: \"127.0.0.1:{registry}\", services: [{service}]{token}}}]}}]\n"
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program("vmagent"));
    command.arg(format!("-promscrape.config={}", file.display())).arg("-promscrape.consulSDCheckInterval=1s");
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.arg(format!("-remoteWrite.tmpDataPath={}", folder.path().join("data").display()));
    // Nobody is there: what it found is asked of itself.
    command.arg(format!("-remoteWrite.url=http://127.0.0.1:{}/", free_port()));
    Peer::start("vmagent", port, folder, &mut command).listens(port)
}

/// Traefik that takes its services from the registry on this port: `NAME.test`.
#[track_caller]
pub fn traefik_of(registry: u16) -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("traefik-").unwrap());
    let file = folder.path().join("traefik.yaml");
    let config = format!(
        "entryPoints: {{web: {{address: \"127.0.0.1:{port}\"}}}}\n\
         global: {{checkNewVersion: false, sendAnonymousUsage: false}}\n\
         providers: {{providersThrottleDuration: 100ms, consulCatalog: {{watch: true, defaultRule: 'Host(`{{{{ .Name }}}}.test`)', \
         endpoint: {{address: \"127.0.0.1:{registry}\"}}}}}}\n"
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(python_program("traefik"));
    command.arg(format!("--configFile={}", file.display()));
    Peer::start("traefik", port, folder, &mut command).listens(port)
}

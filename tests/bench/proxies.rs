//! The proxies: one thread each, no logs, connections kept for as long as the load lasts.

use crate::cells::Cell;
use crate::process::{Placed, Running};
use crate::worker::Kind;
use fourmi_tests::free_port;
use fourmi_tests::peers::{program, python_program};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// Fourmi.
    Fourmi,
    /// Envoy.
    Envoy,
    /// nginx.
    Nginx,
}

/// A proxy that runs, and its folder.
pub(crate) struct Started {
    running: Running,
    _folder: TempDir,
}

impl std::ops::Deref for Started {
    type Target = Running;
    fn deref(&self) -> &Running {
        &self.running
    }
}

const FOURMI: &str = "service: payment
threads: 1
worker: {worker}
inbound: [{listen: 'http://127.0.0.1:{port}'}]
admin: {listen: '127.0.0.1:{admin}'}
logs: []
metrics: {sinks: []}
";

const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: {port}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: HTTP2
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: worker}}]}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: worker
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{upstream}: {}}
    load_assignment:
      cluster_name: worker
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {to}}}}}]}]
"#;

const NGINX: &str = "daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream worker { server 127.0.0.1:{to}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:{port} http2;
    location / { {pass} }
  }
}
";

impl Proxy {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Proxy::Fourmi => "Fourmi",
            Proxy::Envoy => "Envoy",
            Proxy::Nginx => "nginx",
        }
    }

    /// Starts it in front of the worker on this port.
    pub(crate) fn start(self, cell: &Cell, worker: u16, placed: Placed) -> Started {
        let (port, folder) = (free_port(), TempDir::with_prefix("bench-").unwrap());
        let file = folder.path().join("config.yaml");
        let (config, mut command) = match self {
            Proxy::Fourmi => (FOURMI, placed.command(fourmi())),
            Proxy::Envoy => (ENVOY, placed.command(python_program("envoy"))),
            Proxy::Nginx => (NGINX, placed.command(program("nginx"))),
        };
        let (scheme, upstream, pass) = match cell.worker {
            Kind::Http1 => (
                "http",
                "http_protocol_options",
                "proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection '';",
            ),
            Kind::Http2 | Kind::Grpc => ("h2c", "http2_protocol_options", "grpc_pass grpc://worker;"),
        };
        let holes = [
            ("{port}", port.to_string()),
            ("{admin}", free_port().to_string()),
            ("{to}", worker.to_string()),
            ("{worker}", format!("{scheme}://127.0.0.1:{worker}")),
            ("{upstream}", upstream.to_owned()),
            ("{pass}", pass.to_owned()),
            ("{folder}", folder.path().display().to_string()),
        ];
        let config = holes.iter().fold(config.to_owned(), |text, (hole, filling)| text.replace(hole, filling));
        std::fs::write(&file, config).unwrap();
        match self {
            Proxy::Fourmi => command.arg("run"),
            Proxy::Envoy => command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]),
            Proxy::Nginx => command.args(["-e", "stderr"]),
        };
        command.arg("-c").arg(file);
        let said = folder.path().join("said");
        Started { running: Running::start(self.name(), command, port, &said), _folder: folder }
    }
}

/// `FOURMI_BIN`, or what the release build made.
fn fourmi() -> PathBuf {
    if let Some(path) = std::env::var_os("FOURMI_BIN") {
        return path.into();
    }
    let this = std::env::current_exe().unwrap();
    let target = this.ancestors().nth(3).unwrap_or(Path::new("target"));
    let path = target.join("release/fourmi");
    assert!(path.exists(), "{} is missing: run `cargo build --release` first, or set FOURMI_BIN", path.display());
    path
}

/// Who they are, in one line.
pub(crate) fn versions() -> String {
    let asked = [(fourmi(), "--version"), (python_program("envoy"), "--version"), (program("nginx"), "-v")];
    let said = asked.map(|(program, how)| {
        let output = Command::new(&program).arg(how).output().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        text.split_whitespace().last().unwrap_or("?").to_owned()
    });
    // Envoy says commit/version/state/build/library; nginx says nginx/version.
    let part = |of: &str, n| of.split('/').nth(n).unwrap_or(of).to_owned();
    format!("Fourmi {}, Envoy {}, nginx {}", said[0], part(&said[1], 1), part(&said[2], 1))
}

//! The proxies: one thread each, no logs, connections kept for as long as the load lasts.

use crate::cells::{Caller, Cell};
use crate::load::CIPHER;
use crate::process::{Placed, Running};
use crate::worker::Kind;
use fourmi_tests::free_port;
use fourmi_tests::peers::{Certificates, program, python_program};
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
    /// HAProxy.
    Haproxy,
    /// An older Fourmi.
    Before,
}

/// The variable that names the binary of an older Fourmi.
pub(crate) const BEFORE: &str = "FOURMI_BEFORE";

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
worker: {address: {workers}}
inbound: [{listen: '{inbound}'{tls}}]
admin: {listen: '127.0.0.1:{admin}'}
logs: []
metrics: {sinks: []}
";

const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: {port}}}
    filter_chains:
    - {tls}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: AUTO
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: worker}}]}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: worker
    type: STATIC
    lb_policy: LEAST_REQUEST
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{upstream}: {}}
    load_assignment:
      cluster_name: worker
      endpoints: [{lb_endpoints: [{workers}]}]
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
  upstream worker { least_conn; {workers} keepalive {keep}; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:{port} {tls};
    location / { {pass} }
  }
}
";

const HAPROXY: &str = "global
  maxconn 4096
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
  option http-keep-alive
frontend front
  bind 127.0.0.1:{port}{tls}
  default_backend worker
backend worker
  balance leastconn
{workers}
";

impl Proxy {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Proxy::Fourmi => "Fourmi",
            Proxy::Envoy => "Envoy",
            Proxy::Nginx => "nginx",
            Proxy::Haproxy => "HAProxy",
            Proxy::Before => "Fourmi before",
        }
    }

    /// Starts it in front of the worker on these ports.
    pub(crate) fn start(self, cell: &Cell, instances: &[u16], placed: Placed) -> Started {
        let (port, folder) = (free_port(), TempDir::with_prefix("bench-").unwrap());
        let file = folder.path().join("config.yaml");
        let (config, mut command) = match self {
            Proxy::Fourmi => (FOURMI, placed.command(fourmi())),
            Proxy::Before => (FOURMI, placed.command(std::env::var_os(BEFORE).unwrap())),
            Proxy::Envoy => (ENVOY, placed.command(python_program("envoy"))),
            Proxy::Nginx => (NGINX, placed.command(program("nginx"))),
            Proxy::Haproxy => (HAPROXY, placed.command(program("haproxy"))),
        };
        let upstream = if cell.worker == Kind::Http1 { "http_protocol_options" } else { "http2_protocol_options" };
        let pass = match cell.worker {
            Kind::Http1 => "proxy_pass http://worker; proxy_http_version 1.1; proxy_set_header Connection '';",
            Kind::Http2 | Kind::Grpc => "grpc_pass grpc://worker;",
        };
        let scheme = if cell.caller.is_secure() { "https" } else { "http" };
        let holes = [
            ("{inbound}", format!("{scheme}://127.0.0.1:{port}")),
            ("{tls}", self.listens(cell.caller, folder.path())),
            ("{workers}", self.workers(cell.worker, instances)),
            ("{port}", port.to_string()),
            ("{admin}", free_port().to_string()),
            ("{keep}", (64 * instances.len()).to_string()),
            ("{upstream}", upstream.to_owned()),
            ("{pass}", pass.to_owned()),
            ("{folder}", folder.path().display().to_string()),
        ];
        let config = holes.iter().fold(config.to_owned(), |text, (hole, filling)| text.replace(hole, filling));
        std::fs::write(&file, config).unwrap();
        match self {
            Proxy::Fourmi | Proxy::Before => command.arg("run"),
            Proxy::Envoy => command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]),
            Proxy::Nginx => command.args(["-e", "stderr"]),
            Proxy::Haproxy => command.args(["-db", "-q"]),
        };
        command.arg(if self == Proxy::Haproxy { "-f" } else { "-c" }).arg(file);
        let said = folder.path().join("said");
        Started { running: Running::start(self.name(), command, port, &said), _folder: folder }
    }

    /// How a listener is told to speak TLS; the pair is put into this folder.
    fn listens(self, caller: Caller, folder: &Path) -> String {
        if !caller.is_secure() {
            return if self == Proxy::Nginx && caller.is_two() { "http2" } else { "" }.to_owned();
        }
        let made = Certificates::new();
        let pair = made.good();
        let [certificate, key, both] = ["cert.pem", "key.pem", "both.pem"].map(|name| folder.join(name));
        std::fs::write(&certificate, &pair.certificate).unwrap();
        std::fs::write(&key, &pair.key).unwrap();
        std::fs::write(&both, format!("{}{}", pair.certificate, pair.key)).unwrap();
        let (cert, key, both) = (certificate.display(), key.display(), both.display());
        let two = caller.is_two();
        match self {
            Proxy::Fourmi | Proxy::Before => format!(", tls: {{certificate: {cert}, key: {key}}}"),
            Proxy::Nginx => {
                let http2 = if two { " http2" } else { "" };
                format!("ssl{http2}; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3")
            }
            Proxy::Haproxy => format!(" ssl crt {both} alpn {}", if two { "h2,http/1.1" } else { "http/1.1" }),
            Proxy::Envoy => format!(
                r#"transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{}]
            tls_certificates: [{{certificate_chain: {{filename: {cert}}}, private_key: {{filename: {key}}}}}]
            tls_params: {{tls_maximum_protocol_version: TLSv1_3}}"#,
                if two { "h2, http/1.1" } else { "http/1.1" },
            ),
        }
    }

    /// The instances, as its configuration lists them.
    fn workers(self, kind: Kind, instances: &[u16]) -> String {
        let scheme = if kind == Kind::Http1 { "http" } else { "h2c" };
        let one = |(at, port): (usize, &u16)| match self {
            Proxy::Fourmi | Proxy::Before => format!("{scheme}://127.0.0.1:{port}"),
            Proxy::Nginx => format!("server 127.0.0.1:{port};"),
            Proxy::Haproxy => format!("  server w{at} 127.0.0.1:{port} pool-max-conn -1"),
            Proxy::Envoy => {
                format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")
            }
        };
        let all: Vec<String> = instances.iter().enumerate().map(one).collect();
        match self {
            Proxy::Fourmi | Proxy::Before if all.len() == 1 => format!("'{}'", all[0]),
            Proxy::Fourmi | Proxy::Before => format!("['{}']", all.join("', '")),
            Proxy::Nginx => all.join(" "),
            Proxy::Haproxy => all.join("\n"),
            Proxy::Envoy => all.join(", "),
        }
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
    let asked = [
        (fourmi(), "--version"),
        (python_program("envoy"), "--version"),
        (program("nginx"), "-v"),
        (program("haproxy"), "-v"),
    ];
    let said = asked.map(|(program, how)| {
        let output = Command::new(&program).arg(how).output().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    });
    let word = |of: &str, n: usize| of.split_whitespace().nth(n).unwrap_or("?").to_owned();
    // Envoy says commit/version/state/build/library behind "version:"; nginx says nginx/version.
    let part = |of: &str, n: usize| of.split('/').nth(n).unwrap_or(of).trim().to_owned();
    format!(
        "Fourmi {}, Envoy {}, nginx {}, HAProxy {}; TLS 1.3 with {CIPHER}",
        word(&said[0], 1),
        part(said[1].split_whitespace().last().unwrap_or("?"), 1),
        part(&word(&said[2], 2), 1),
        word(&said[3], 2),
    )
}

//! nginx, HAProxy and Envoy as proxies before a port, as lenient as they can be told to be: whatever they let
//! through is what the next hop must cope with. Each says in `X-Front` which target it understood.

use super::{Peer, program, python_program};
use crate::net::free_port;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// A proxy of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

impl Front {
    /// All of them.
    pub const ALL: [Front; 3] = [Front::Nginx, Front::Haproxy, Front::Envoy];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Front::Nginx => "nginx",
            Front::Haproxy => "haproxy",
            Front::Envoy => "envoy",
        }
    }

    /// Starts it before whoever listens on this port; connections to there are kept and shared by all callers.
    #[track_caller]
    pub fn before(self, behind: u16) -> Peer {
        let (port, folder) = (free_port(), TempDir::with_prefix(self.name()).unwrap());
        let at = folder.path().display().to_string();
        let template = match self {
            Front::Nginx => NGINX,
            Front::Haproxy => HAPROXY,
            Front::Envoy => ENVOY,
        };
        let mut config = template.to_owned();
        for (hole, value) in [("{at}", &at), ("{port}", &port.to_string()), ("{behind}", &behind.to_string())] {
            config = config.replace(hole, value);
        }
        // Run by root, nginx's workers are another user, who must reach the files.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = match self {
            Front::Nginx => {
                let mut command = Command::new(program("nginx"));
                command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
                command
            }
            Front::Haproxy => {
                let mut command = Command::new(program("haproxy"));
                command.arg("-db").arg("-f").arg(&file);
                command
            }
            Front::Envoy => {
                let mut command = Command::new(python_program("envoy"));
                command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
                command
            }
        };
        Peer::start(self.name(), port, folder, &mut command).listens(port)
    }
}

const NGINX: &str = r#"
worker_processes 1; daemon off; pid {at}/pid; error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
  ignore_invalid_headers off; underscores_in_headers on; merge_slashes off; client_header_timeout 3s; client_body_timeout 3s;
  upstream behind { server 127.0.0.1:{behind} max_fails=0; keepalive 8; }
  server {
    listen 127.0.0.1:{port};
    location / {
      proxy_pass http://behind; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off;
      proxy_next_upstream off; proxy_read_timeout 5s;
      proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Front $request_uri;
    }
  }
}
"#;

// `accept-invalid-*` is HAProxy's own switch for software that needs to be understood whatever it says.
const HAPROXY: &str = r#"
global
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 4s
  timeout server 5s
  timeout http-request 3s
  retries 0
  option accept-invalid-http-request
  option accept-invalid-http-response
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  http-request set-header X-Front %[url]
  default_backend behind
backend behind
  server one 127.0.0.1:{behind}
"#;

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
          request_headers_timeout: 3s
          stream_idle_timeout: 4s
          http_protocol_options: {allow_chunked_length: true, enable_trailers: true, accept_http_10: true, default_host_for_http_10: a}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              request_headers_to_add: [{header: {key: x-front, value: "%REQ(:PATH)%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]
              routes: [{match: {prefix: "/"}, route: {cluster: behind}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: behind
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {allow_chunked_length: true, enable_trailers: true}}
    load_assignment:
      cluster_name: behind
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {behind}}}}}]}]
"#;

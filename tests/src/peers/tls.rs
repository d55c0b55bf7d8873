//! nginx, Envoy and openssl with configurations of the test's own: clients and servers of TLS.

use super::{Peer, program, python_program};
use crate::net::free_port;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn folder(name: &str) -> TempDir {
    let folder = TempDir::with_prefix(name).unwrap();
    // Run by root, nginx's workers are another user, who must reach the files.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// nginx with this `http` section; it is there when it listens on `port`.
#[track_caller]
pub fn nginx_with(port: u16, http: &str) -> Peer {
    let folder = folder("nginx-");
    let at = folder.path().display();
    let conf = format!(
        "worker_processes 1;\ndaemon off;\npid {at}/pid;\nerror_log stderr error;\nevents {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{http}\n}}\n"
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let mut command = Command::new(program("nginx"));
    command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
    Peer::start("nginx", port, folder, &mut command).listens(port)
}

/// Envoy with these listeners and clusters; it is there when it listens on `port`.
#[track_caller]
pub fn envoy_with(port: u16, listeners: serde_json::Value, clusters: serde_json::Value) -> Peer {
    let folder = folder("envoy-");
    let config = serde_json::json!({ "static_resources": { "listeners": listeners, "clusters": clusters } });
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(python_program("envoy"));
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    Peer::start("envoy", port, folder, &mut command).listens(port)
}

/// `openssl s_server`, answering HTTP with a page; `options` are more of its own.
#[track_caller]
pub fn openssl_server(certificate: &Path, key: &Path, options: &[&str]) -> Peer {
    let port = free_port();
    let mut command = Command::new(program("openssl"));
    command.args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(certificate).arg("-key").arg(key).args(options);
    Peer::start("openssl", port, folder("openssl-"), &mut command).listens(port)
}

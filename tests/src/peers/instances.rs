//! Instances of a service: some that can fall sick and say of every request that they saw it, and proxies that answer
//! by themselves and can be replaced while they serve.

use super::{Peer, program, python_program};
use crate::net::free_port;
use std::process::Command;
use tempfile::TempDir;

/// How long one takes that is well, in milliseconds.
const WELL: u32 = 20;

/// An HTTP server on node. It answers with its port after 20 ms; SIGUSR2 makes it slower by 200 ms.
#[track_caller]
pub fn instance() -> Peer {
    let port = free_port();
    let script = format!(
        "let ms = {WELL}; process.on('SIGUSR2', () => ms += 200); \
         require('http').createServer((q, s) => {{ console.log('REQUEST'); q.resume(); \
         q.on('end', () => setTimeout(() => s.end('{port}'), ms)); }}).listen({port}, '127.0.0.1')"
    );
    let mut command = Command::new(program("node"));
    command.arg("-e").arg(script);
    Peer::start("node", port, TempDir::new().unwrap(), &mut command).listens(port)
}

/// Requests that an [`instance`] saw so far.
pub fn requests(peer: &Peer) -> usize {
    peer.output().lines().filter(|l| *l == "REQUEST").count()
}

/// HAProxy with these sections, as master and worker: SIGUSR2 puts another worker in the place of the one that is
/// there. It is there when it listens on `port`.
#[track_caller]
pub fn haproxy_with(port: u16, sections: &str) -> Peer {
    let folder = TempDir::with_prefix("haproxy-").unwrap();
    let file = folder.path().join("haproxy.cfg");
    let defaults = "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n";
    std::fs::write(&file, format!("global\n  nbthread 1\n{defaults}{sections}\n")).unwrap();
    let mut command = Command::new(program("haproxy"));
    command.args(["-W", "-db", "-f"]).arg(&file);
    Peer::start("haproxy", port, folder, &mut command).listens(port)
}

/// Envoy with these listeners; it is there when its admin port listens. A second one may have the same listeners.
#[track_caller]
pub fn envoy_beside(admin: u16, listeners: &serde_json::Value) -> Peer {
    let folder = TempDir::with_prefix("envoy-").unwrap();
    let config = serde_json::json!({
        "static_resources": { "listeners": listeners },
        "admin": { "address": { "socket_address": { "address": "127.0.0.1", "port_value": admin } } }
    });
    let file = folder.path().join("envoy.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(python_program("envoy"));
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
    command.args(["--drain-time-s", "2", "--drain-strategy", "immediate"]);
    Peer::start("envoy", admin, folder, &mut command).listens(admin)
}

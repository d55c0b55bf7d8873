//! Sockets of libzmq by the bindings of three languages: real callers, and real workers.

use super::scripts::{node, php, python};
use super::{Peer, run_within};
use crate::net::free_port;
use std::process::Command;
use tempfile::TempDir;

/// A binding of libzmq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Debian's php-zmq.
    Php,
    /// PyPI's pyzmq.
    Python,
    /// npm's zeromq.
    Node,
}

impl Binding {
    fn script(self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Binding::Php => php("zmq_peer.php"),
            Binding::Python => python("zmq_peer.py"),
            Binding::Node => node("zmq_peer.js"),
        };
        command.args(arguments);
        command
    }
}

/// A worker that answers with what it gets, on this port or a free one.
#[track_caller]
pub fn zmq_worker(binding: Binding, kind: &str, port: Option<u16>) -> Peer {
    zmq_worker_with(binding, kind, port, &[])
}

/// The same with more arguments, such as `plain`.
#[track_caller]
pub fn zmq_worker_with(binding: Binding, kind: &str, port: Option<u16>, more: &[&str]) -> Peer {
    let port = port.unwrap_or_else(free_port);
    let mut command = binding.script(&["worker", kind, &format!("tcp://127.0.0.1:{port}")]);
    command.args(more);
    Peer::start("a worker of ZeroMQ", port, TempDir::with_prefix("zmq-").unwrap(), &mut command).prints("ready")
}

/// Sends so many commands and checks each answer.
#[track_caller]
pub fn zmq_client(binding: Binding, kind: &str, port: u16, count: usize) {
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let mut command = binding.script(&["client", kind, &endpoint, &count.to_string()]);
    let what = format!("{binding:?} {kind}");
    let said = run_within(&what, &mut command).stdout;
    assert_eq!(String::from_utf8_lossy(&said), format!("answered {count}\n"), "{what}");
}

/// What a case of `zmq_cases.py` prints; it must succeed.
#[track_caller]
pub fn zmq_case(name: &str, arguments: &[&str]) -> String {
    let mut command = python("zmq_cases.py");
    let said = run_within(name, command.arg(name).args(arguments)).stdout;
    String::from_utf8(said).unwrap()
}

/// What a PHP program prints; it must succeed.
#[track_caller]
pub fn php_prints(name: &str, arguments: &[&str]) -> String {
    let said = run_within(name, php(name).args(arguments)).stdout;
    String::from_utf8(said).unwrap()
}

/// A PHP worker of ZeroMQ that binds to this port.
#[track_caller]
pub fn php_runs(name: &str, port: u16) -> Peer {
    let mut command = php(name);
    command.arg(format!("tcp://127.0.0.1:{port}"));
    Peer::start("a worker of PHP", port, TempDir::with_prefix("zmq-").unwrap(), &mut command).listens(port)
}

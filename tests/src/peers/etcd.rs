//! etcd, from Debian.

use super::{Peer, program};
use crate::net::free_port;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running etcd.
pub struct Etcd {
    peer: Peer,
}

impl Etcd {
    /// On a free port, knowing nothing.
    #[track_caller]
    pub fn start() -> Self {
        let (port, peers) = (free_port(), free_port());
        let folder = TempDir::with_prefix("etcd-").unwrap();
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let mut command = Command::new(program("etcd"));
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        Etcd { peer: Peer::start("etcd", port, folder, &mut command).listens(port) }
    }

    /// Where clients ask.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer.port)
    }

    /// What `etcdctl` prints; it must have succeeded.
    #[track_caller]
    pub fn says(&self, command: &[&str]) -> String {
        let mut etcdctl = Command::new(program("etcdctl"));
        etcdctl.env("ETCDCTL_API", "3").arg("--endpoints").arg(self.url()).args(command).stdin(Stdio::null());
        let output = etcdctl.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "etcdctl {command:?}: {text}");
        text
    }

    /// Ends it as `kill -9` does.
    pub fn kill_9(&mut self) {
        self.peer.kill_9();
    }
}

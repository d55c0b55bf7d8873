//! Redis, from Debian.

use super::{Peer, program};
use crate::net::free_port;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running redis-server without persistence.
pub struct Redis {
    peer: Peer,
}

impl Redis {
    /// On a free port.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_on(free_port(), &[])
    }

    /// On this port, with more of its configuration, e.g. `["--requirepass", "x"]`.
    #[track_caller]
    pub fn start_on(port: u16, more: &[&str]) -> Self {
        Self::run(port, &[&["--port", &port.to_string()], more].concat())
    }

    /// The same with nothing but TLS on this port, which is among the rest of its configuration.
    #[track_caller]
    pub fn start_tls(port: u16, more: &[&str]) -> Self {
        Self::run(port, &[&["--port", "0"], more].concat())
    }

    #[track_caller]
    fn run(port: u16, more: &[&str]) -> Self {
        let folder = TempDir::with_prefix("redis-").unwrap();
        let mut command = Command::new(program("redis-server"));
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(folder.path()).args(more);
        Redis { peer: Peer::start("redis-server", port, folder, &mut command).listens(port) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.peer.port
    }

    /// What it answers, as `redis-cli` prints it.
    #[track_caller]
    pub fn says(&self, command: &[&str]) -> String {
        let mut cli = Command::new(program("redis-cli"));
        cli.args(["-p", &self.peer.port.to_string()]).args(command).stdin(Stdio::null());
        let output = cli.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "redis-cli {command:?}: {text}");
        text
    }

    /// Ends it as `kill -9` does.
    pub fn kill_9(&mut self) {
        self.peer.kill_9();
    }
}

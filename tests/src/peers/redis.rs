//! Redis, where sidecars share their counters.

use super::{Peer, program};
use crate::net::free_port;
use std::process::Command;
use tempfile::TempDir;

/// The server; it ends when dropped.
pub struct Redis {
    peer: Peer,
}

impl Redis {
    /// On a free port, for everybody who knows the password; it keeps nothing on disk.
    #[track_caller]
    pub fn with_password(password: &str) -> Self {
        let (port, folder) = (free_port(), TempDir::with_prefix("redis-").unwrap());
        let mut command = Command::new(program("redis-server"));
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", password, "--dir"]).arg(folder.path());
        Redis { peer: Peer::start("redis", port, folder, &mut command).listens(port) }
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.peer.port
    }
}

//! Graylog's own Go library as a GELF receiver, over UDP and TCP.

use super::{Peer, peers_folder, printed_records};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A process with the library. Over UDP it takes plain messages of at most 1420 bytes, and chunks of one message after
/// the other only: chunks of two messages that come mixed are [`GoGelf::complaints`].
pub struct GoGelf(Peer);

impl GoGelf {
    /// On a free port, the same for UDP and TCP.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_on(free_port())
    }
    /// On this port.
    #[track_caller]
    pub fn start_on(port: u16) -> Self {
        let program = peers_folder("gogelf").join("gogelf");
        let mut command = Command::new(program);
        command.arg(format!("127.0.0.1:{port}"));
        GoGelf(Peer::start("gogelf", port, TempDir::new().unwrap(), &mut command).prints("LISTENING"))
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }
    /// Every message that the library understood, as it writes it again.
    pub fn records(&self) -> Vec<Value> {
        printed_records(&self.0)
    }
    /// What the library refused, and why.
    pub fn complaints(&self) -> Vec<String> {
        self.0.output().lines().filter_map(|l| l.strip_prefix("BAD ")).map(str::to_owned).collect()
    }
    /// Waits for the message whose field has this value.
    #[track_caller]
    pub fn record(&self, field: &str, value: &str) -> Value {
        eventually(&format!("the Go library has {field} = {value}, it said {}", self.0.output()), || {
            self.records().into_iter().find(|r| r[field] == value)
        })
    }
}

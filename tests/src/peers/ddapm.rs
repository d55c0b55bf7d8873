//! Datadog's own test agent: OTLP over HTTP and gRPC, kept as the messages came.

use super::{Peer, http_get, python_program};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A running ddapm-test-agent. It answers 4xx to what it cannot read.
pub struct DdApm {
    peer: Peer,
    grpc: u16,
}

impl DdApm {
    /// On free ports.
    #[track_caller]
    pub fn start() -> Self {
        let (agent, http, grpc) = (free_port(), free_port(), free_port());
        let folder = TempDir::with_prefix("ddapm-").unwrap();
        let mut command = Command::new(python_program("ddapm-test-agent"));
        command.args(["--host", "127.0.0.1", "--port", &agent.to_string(), "--web-ui-port", "0"]);
        command.args(["--otlp-http-port", &http.to_string(), "--otlp-grpc-port", &grpc.to_string()]);
        command.current_dir(folder.path());
        let peer = Peer::start("ddapm-test-agent", http, folder, &mut command).listens(http).listens(grpc);
        DdApm { peer, grpc }
    }
    /// OTLP over HTTP.
    pub fn http(&self) -> u16 {
        self.peer.port
    }
    /// OTLP over gRPC.
    pub fn grpc(&self) -> u16 {
        self.grpc
    }
    /// The export requests of a signal (`logs`, `metrics`, `traces`) so far, with the names of the protocol's own fields
    /// (`resource_logs`, …) and ids in base64.
    pub fn received(&self, signal: &str) -> Vec<Value> {
        let text = http_get(self.peer.port, &format!("/test/session/{signal}")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
    /// Waits until a signal has at least so many export requests.
    #[track_caller]
    pub fn wait_for(&self, signal: &str, count: usize) -> Vec<Value> {
        eventually(&format!("the Datadog test agent has {count} of {signal}: {}", self.peer.output()), || {
            Some(self.received(signal)).filter(|r| r.len() >= count)
        })
    }
}

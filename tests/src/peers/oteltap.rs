//! The PyPI package oteltap: OTLP over HTTP with protobuf, decoded by the OpenTelemetry project's own messages.

use super::{Peer, python_program};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A running oteltap; it prints each log record, metric and span as one JSON object.
pub struct OtelTap(Peer);

impl OtelTap {
    /// On a free port.
    #[track_caller]
    pub fn start() -> Self {
        let port = free_port();
        let mut command = Command::new(python_program("oteltap"));
        command.args(["--port", &port.to_string()]).env("PYTHONUNBUFFERED", "1");
        OtelTap(Peer::start("oteltap", port, TempDir::new().unwrap(), &mut command).listens(port))
    }
    /// Its port: `/v1/logs`, `/v1/metrics`, `/v1/traces`.
    pub fn port(&self) -> u16 {
        self.0.port
    }
    /// Every log record: `body.stringValue`, `attributes` (see [`attribute`]), `traceId` and `spanId` in hex, …
    pub fn logs(&self) -> Vec<Value> {
        self.all(|v| v.get("severityNumber").is_some())
    }
    /// Every metric: `name`, and `sum`, `gauge` or `histogram` with `dataPoints`.
    pub fn metrics(&self) -> Vec<Value> {
        self.all(|v| v.get("unit").is_some())
    }
    /// Every span: `name`, `kind`, `traceId`, `spanId`, `parentSpanId`, `attributes`, `events`, `status`.
    pub fn spans(&self) -> Vec<Value> {
        self.all(|v| v.get("parentSpanId").is_some())
    }
    /// Waits for the log record with this attribute.
    #[track_caller]
    pub fn log(&self, key: &str, value: &str) -> Value {
        eventually(&format!("oteltap has a log record with {key} = {value}"), || {
            self.logs().into_iter().find(|l| attribute(l, key).as_deref() == Some(value))
        })
    }
    /// Waits for the span with this attribute.
    #[track_caller]
    pub fn span(&self, key: &str, value: &str) -> Value {
        eventually(&format!("oteltap has a span with {key} = {value}"), || {
            self.spans().into_iter().find(|s| attribute(s, key).as_deref() == Some(value))
        })
    }
    /// Waits for the metric of this name.
    #[track_caller]
    pub fn metric(&self, name: &str) -> Value {
        eventually(&format!("oteltap has the metric {name}"), || self.metrics().into_iter().find(|m| m["name"] == name))
    }
    /// What it printed.
    pub fn output(&self) -> String {
        self.0.output()
    }
    fn all(&self, kind: impl Fn(&Value) -> bool) -> Vec<Value> {
        let output = self.0.output();
        output.lines().filter_map(|l| serde_json::from_str(l).ok()).filter(|v| kind(v)).collect()
    }
}

/// An attribute of a log record, a data point or a span of OTLP's JSON, as text whatever its type.
pub fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = of["attributes"].as_array()?.iter().find(|a| a["key"] == key)?;
    match found["value"].as_object()?.values().next()? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

//! Talking to a running Fourmi through its admin listener.

use crate::config::LoadOptions;
use std::time::Duration;

/// Which Fourmi to talk to, and how to answer.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its admin address, if it was given.
    pub admin: Option<String>,
    /// The configuration that says it otherwise.
    pub load: LoadOptions,
    /// Whether programs read the answer.
    pub json: bool,
}

/// How is it?
pub fn health(_: &Target, _wait: Option<Duration>, _live: bool) -> u8 {
    69
}
/// Read the configuration again.
pub fn reload(_: &Target) -> u8 {
    69
}
/// Stop being ready.
pub fn drain(_: &Target, _wait: bool, _timeout: Duration) -> u8 {
    69
}
/// End.
pub fn stop(_: &Target) -> u8 {
    69
}

//! Fourmi's own log: to standard error, text on a terminal and JSON elsewhere.

use super::args::{Global, LogFormat, LogLevel};
use super::out;
use clap::ValueEnum;
use std::io::IsTerminal as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins logging. Only what runs for long does; the others print.
pub(crate) fn begin(global: &Global) {
    let format = global.log_format.or_else(|| named("FOURMI_LOG_FORMAT")).unwrap_or(LogFormat::Auto);
    let level = match (global.log_level, global.verbose, global.quiet) {
        (Some(level), ..) => filter(level),
        (None, 0, true) => LevelFilter::WARN,
        (None, 0, false) => named("FOURMI_LOG_LEVEL").map_or(LevelFilter::INFO, filter),
        (None, 1, _) => LevelFilter::DEBUG,
        (None, ..) => LevelFilter::TRACE,
    };
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    // It tells of every question at `info`.
    let dns = if level > LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    let targets = Targets::new().with_default(level).with_target("hickory_server", dns).with_target("hickory_net", dns);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    // A second start of the log (in a test) is no reason to fail.
    let _ = match text {
        true => registry.with(layer.with_ansi(out::colored(global.color))).try_init(),
        false => {
            let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(json).try_init()
        }
    };
}

/// A word of the environment; one that means nothing is passed over.
fn named<T: ValueEnum>(name: &str) -> Option<T> {
    T::from_str(&std::env::var(name).ok()?, true).ok()
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

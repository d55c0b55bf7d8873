//! demo

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Stop after this long; without it, at Ctrl-C.
    pub duration: Option<std::time::Duration>,
    /// A configuration to use instead of its own.
    pub config: Option<std::path::PathBuf>,
}

/// Runs the demo; the exit code.
pub fn run(_: Options) -> u8 {
    69
}

/// Runs one part of the demo in a process of its own; the exit code.
pub fn part(_: Vec<String>) -> u8 {
    69
}

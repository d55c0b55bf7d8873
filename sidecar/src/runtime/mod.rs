//! runtime

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the configuration is.
    pub load: crate::config::LoadOptions,
    /// The worker's command line; empty when it runs by itself.
    pub command: Vec<std::ffi::OsString>,
    /// Print no banner.
    pub quiet: bool,
}

/// Runs the sidecar until it is told to stop; the exit code.
pub fn run(_: Options) -> u8 {
    69
}

//! The flags of `fourmi spool`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which commands are meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FilterArgs {
    /// Only in this state, such as dead; may be repeated
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<String>,
    /// Only of this name; a `*` at its end stands for any rest
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only to this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only by this route
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// Only with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Only from this consumer
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Only with this tag
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) tag: Option<String>,
    /// Only those that came longer ago than this, such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<String>,
}

/// One command, or those that a filter means.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WhichArgs {
    /// This one
    pub(crate) id: Option<String>,
    /// Its place, where several callers have used the id
    #[arg(long, value_name = "N", requires = "id")]
    pub(crate) seq: Option<i64>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say how many it would be
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Of which service.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServiceArgs {
    /// Only this service; without it everything
    pub(crate) service: Option<String>,
    /// It is one that the worker sends to
    #[arg(long, requires = "service")]
    pub(crate) outbound: bool,
}

/// What is done with stored commands.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SpoolCommand {
    /// List stored commands, the oldest first
    List {
        #[command(flatten)]
        filter: FilterArgs,
        /// So many at most
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one, with what has become of it so far
    Show {
        /// Its id
        id: String,
        /// Its place, where several callers have used the id
        #[arg(long, value_name = "N")]
        seq: Option<i64>,
        /// Also what is sent: it may hold secrets of your callers
        #[arg(long)]
        body: bool,
    },
    /// Send again what is dead or unknown; also what was cancelled or has expired, when a state or id says so
    Retry {
        #[command(flatten)]
        which: WhichArgs,
        /// Count its attempts from the beginning
        #[arg(long)]
        reset: bool,
    },
    /// Take back what waits
    Cancel {
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Forget commands for ever
    Discard {
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Write what is not finished to standard output or a file, a line each, to put it into another spool
    Export {
        #[command(flatten)]
        filter: FilterArgs,
        /// Into this file
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Put in what was exported; what is there already stays
    Import {
        /// The file; `-` for standard input
        file: PathBuf,
    },
    /// Send nothing of a service for now
    Pause {
        #[command(flatten)]
        of: ServiceArgs,
    },
    /// Send again
    Resume {
        #[command(flatten)]
        of: ServiceArgs,
    },
}

//! The flags of `fourmi tap`.

use clap::Args;

/// Which commands are told.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TapArgs {
    /// Only to this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only of this name; a `*` at its end stands for any rest
    #[arg(long, value_name = "NAME")]
    pub(crate) command: Option<String>,
    /// Only this one
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Only of this trace
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// Only from this consumer
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Only inbound, or only outbound ones
    #[arg(long, value_name = "WAY")]
    pub(crate) direction: Option<String>,
    /// Only with this tag, `KEY=` for any value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) tag: Vec<String>,
    /// Only with this outcome, such as timeout, or `failed` for all that did not go well; may be repeated
    #[arg(long, value_name = "OUTCOME")]
    pub(crate) result: Vec<String>,
    /// Only those that took at least this long, such as 250ms
    #[arg(long, value_name = "MS")]
    pub(crate) min_latency: Option<String>,
    /// So many a second at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max_rps: u32,
    /// End after so many
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

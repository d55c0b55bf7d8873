//! The command line as a struct. Its doc comments are the help.

mod registry;
pub(crate) mod spool;
mod tap;

use super::kv::KvCommand;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use registry::{RegisterArgs, RegistryArgs};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
pub(crate) use tap::TapArgs;

/// A hundred years of certificates.
const DAYS_MAX: i64 = 36_500;

const EXAMPLES: &str = "\
Examples:
  fourmi demo                                  see it work, nothing to install
  fourmi run -c fourmi.yaml -- php worker.php  stand beside a worker

Documentation: https://github.com/fourmi-proxy/fourmi
Problems: https://github.com/fourmi-proxy/fourmi/issues";

/// A small process beside every worker: names, logs, counts and guards every command that passes.
#[derive(Debug, Parser)]
#[command(name = "fourmi", version, after_help = EXAMPLES, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that stand before or after the subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file, `-` for standard input [default: $FOURMI_CONFIG, ./fourmi.yaml, /etc/fourmi/fourmi.yaml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Admin listener of the Fourmi to talk to [default: the configuration's]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// How results are written
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// The same as --output json
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say less
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// How Fourmi's own log is written [default: $FOURMI_LOG_FORMAT, auto]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// What Fourmi's own log tells [default: $FOURMI_LOG_LEVEL, info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
}

impl Global {
    /// Whether programs read the result.
    pub(crate) fn json(&self) -> bool {
        self.json || self.output == Some(Output::Json)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[value(alias = "table")]
    Text,
    /// Stable, for programs
    Json,
    /// Where the result is a configuration
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that wants it
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the sidecar; with `-- CMD` also start the worker and stop with it
    Run {
        /// The worker's command line
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Show it working: five services, traffic with failures, and sums that add up
    Demo {
        /// Stop after this long; without it, at Ctrl-C
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        duration: Option<Duration>,
        /// Orders a second; each causes up to four more commands
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
        rate: u32,
        /// The invoice service's worker is PHP's, and speaks ZeroMQ; needs php-cli and php-zmq
        #[arg(long, value_name = "LANGUAGE")]
        with: Option<DemoWith>,
    },
    /// Check a configuration: every problem at once, each with its place and what to do
    Validate {
        /// The file, `-` for standard input
        file: Option<PathBuf>,
        /// Fail on warnings too
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Ask a running Fourmi how it is; for container health checks
    Health {
        /// Wait until it is well, this long at most
        #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "30s")]
        wait: Option<Duration>,
        /// Only whether it is alive
        #[arg(long, conflicts_with = "ready")]
        live: bool,
        /// Whether it takes commands (the default)
        #[arg(long)]
        ready: bool,
    },
    /// Look over everything: configuration, the running Fourmi, every sink; each trouble with its reason and help
    #[command(
        after_help = "Examples:\n  fourmi check --pre           before it starts: receivers reachable, ports free\n  fourmi check --wait 60s      after a deploy\n  fourmi check -o json"
    )]
    Check {
        /// Before Fourmi runs: the machine, and whether receivers can be reached from here
        #[arg(long)]
        pre: bool,
        /// Go on until nothing fails, this long at most
        #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "60s")]
        wait: Option<Duration>,
    },
    /// Read the configuration again; waits, and says what is wrong with it
    Reload,
    /// Stop being ready but go on serving, so that callers look elsewhere
    Drain {
        /// For this long at least (5s without a value), so that balancers notice; then until no command is in flight
        #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, default_missing_value = "5s")]
        wait: Option<Duration>,
        /// How long to wait for commands in flight at most
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
        timeout: Duration,
    },
    /// Finish what is in flight, then end
    Stop,
    /// Write a commented configuration to begin with
    Init {
        /// To standard output instead of fourmi.yaml
        #[arg(long)]
        stdout: bool,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the JSON Schema of the configuration
    Schema,
    /// List the environment variables that override it
    Env,
    /// Make and look at certificates: a small authority for mutual TLS between sidecars
    #[command(
        after_help = "Examples:\n  fourmi cert init                                   an authority in ./fourmi-ca\n  fourmi cert issue payment --out /etc/fourmi/tls    payment.pem and payment.key; again to renew\n  fourmi cert show /etc/fourmi/tls/*.pem"
    )]
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Say what would happen to a command: listener, service, instances, name, limits
    #[command(
        after_help = "Examples:\n  fourmi explain http://stock.service.fourmi/items\n  fourmi explain POST /pay -H 'Fourmi-Command: pay'"
    )]
    Explain {
        /// [METHOD] URL
        #[arg(value_name = "METHOD URL", num_args = 1..=2, required = true)]
        request: Vec<String>,
        /// A header line, `Name: value`
        #[arg(short = 'H', long = "header", value_name = "LINE")]
        headers: Vec<String>,
    },
    /// List services and instances of a running Fourmi: health, load, ejections
    #[command(
        after_help = "Examples:\n  fourmi upstreams | grep ejected\n  fourmi upstreams set down stock http://10.0.0.7:8080\n  fourmi upstreams set auto stock"
    )]
    Upstreams {
        #[command(subcommand)]
        command: Option<UpstreamsCommand>,
    },
    /// List the services of a registry, or the instances of one
    #[command(
        after_help = "Examples:\n  fourmi services\n  fourmi services stock\n  fourmi services --registry http://consul:8500\n\nThe registry is a Fourmi with `discovery.http`, or a Consul."
    )]
    Services {
        /// Only this one, with its instances and checks
        name: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List the nodes of a registry
    Members {
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Say where commands to a service would go: the instances that are well, a line each
    #[command(after_help = "Examples:\n  fourmi resolve stock\n  fourmi resolve v1.stock.service.fourmi")]
    Resolve {
        /// The service, alone or as its DNS name; with a tag before it, only those
        name: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Register an instance at a registry
    #[command(
        after_help = "Examples:\n  fourmi register stock --port 25001 --check-http http://127.0.0.1:8080/healthz\n  fourmi register stock --id stock-2 --address 10.0.0.7 --port 25001 --tag v1 --ttl 15s\n  fourmi register -f stock.json   # Consul's JSON"
    )]
    Register(RegisterArgs),
    /// Take an instance out of a registry
    Deregister {
        /// Its id, as `fourmi services NAME` shows it
        id: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Read and change keys and values of a registry
    #[command(
        after_help = "Examples:\n  fourmi kv put app/limit 50\n  fourmi kv get app/limit\n  fourmi kv put app/limit 60 --cas 812   # only if it is as `fourmi kv get --json` showed it\n  fourmi kv put app/key - < key.pem\n  fourmi kv list app/\n  fourmi kv delete -r app/\n\nThe registry is a Fourmi with `discovery.http`, or a Consul."
    )]
    Kv {
        #[command(subcommand)]
        command: KvCommand,
    },
    /// Show the consumers of a running Fourmi's gateway
    Consumers {
        /// Only those whose name, custom id or id holds this
        name: Option<String>,
    },
    /// Show how much of each limit is used, the one nearest to its end first
    Limits,
    /// Follow the commands of a running Fourmi as they end, a line each
    #[command(
        after_help = "Examples:\n  fourmi tap --result failed\n  fourmi tap --command 'Charge*' --tag shop=berlin --min-latency 250ms\n  fourmi tap -n 20 -o json | jq .duration_ms\n\nNever more than --max-rps a second: it chooses whole journeys, and says on standard error how many it left out."
    )]
    Tap(TapArgs),
    /// Show the commands of a running Fourmi by how many there are: rate, success, latency; q quits
    #[command(
        after_help = "Where standard output is no terminal, one table is printed. IN FLIGHT is the average of the last seconds."
    )]
    Top,
    /// Show and change stored commands of a running Fourmi
    #[command(
        after_help = "Examples:\n  fourmi spool                                  how many, and how old\n  fourmi spool list --state dead\n  fourmi spool retry --state dead --name 'Mail*' --dry-run\n  fourmi spool show 01997c4c-6e6a-7d2b-9d55-0242ac120002"
    )]
    Spool {
        #[command(subcommand)]
        command: Option<spool::SpoolCommand>,
    },
    /// Write dashboards or alerts, as files for Grafana, Prometheus, Datadog and Graylog
    #[command(after_help = "Examples:\n  fourmi generate dashboards ./dashboards\n  fourmi generate alerts ./alerts")]
    Generate {
        /// What to write
        what: Generated,
        /// Below this folder, which is made if it is missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Replace files that were changed
        #[arg(long)]
        force: bool,
    },
    /// Print the version
    Version,
    /// Print a completion script
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// One page a subcommand, into this directory
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// One part of the demo, started by it
    #[command(hide = true)]
    DemoPart {
        /// What the part wants
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// A worker of the demo, started by it
    #[command(hide = true)]
    DemoWorker {
        /// What the worker wants
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// In which language a worker of the demo may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoWith {
    /// PHP, over ZeroMQ
    Php,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generated {
    /// Grafana's dashboards and provisioning, Datadog's dashboard, Graylog's content pack
    Dashboards,
    /// Prometheus' rules with their tests, and the same for Grafana
    Alerts,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every value that holds, and who gave it
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UpstreamsCommand {
    /// Take an instance in or out by hand
    Set {
        /// `up` and `down` hold whatever is found out; `auto` goes back to that, and forgets what was counted
        state: HandWord,
        /// The service
        service: String,
        /// The instance's address, as `fourmi upstreams` shows it; without it, all of the service
        instance: Option<String>,
    },
}

/// What is done to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandWord {
    /// In
    Up,
    /// Out
    Down,
    /// As it is found out
    Auto,
}

impl HandWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            HandWord::Up => "up",
            HandWord::Down => "down",
            HandWord::Auto => "auto",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make an authority: ca.pem, which everybody may have, and ca.key, which nobody else may
    Init {
        /// The folder of its files
        #[arg(long, value_name = "DIR", default_value = "./fourmi-ca")]
        dir: PathBuf,
        /// Whose identities it signs: spiffe://DOMAIN/NAME
        #[arg(long, value_name = "DOMAIN", default_value = "fourmi.local")]
        trust_domain: String,
        /// How long it holds
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: u32,
    },
    /// Make a service's certificate and key, NAME.pem and NAME.key; over older ones it renews them, and what no option
    /// says stays as it was
    Issue {
        /// The service; a host name too, beside NAME.service.fourmi
        name: String,
        /// The authority's folder
        #[arg(long, value_name = "DIR", default_value = "./fourmi-ca")]
        dir: PathBuf,
        /// Where the files go
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// One more host name, such as localhost or *.example.com; may be repeated
        #[arg(long, value_name = "HOST")]
        dns: Vec<String>,
        /// An address, such as 127.0.0.1; may be repeated
        #[arg(long, value_name = "ADDRESS")]
        ip: Vec<IpAddr>,
        /// How long it holds; never longer than the authority [default: 30]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: Option<u32>,
        /// Only for who opens connections
        #[arg(long, conflicts_with = "server_only")]
        client_only: bool,
        /// Only for who takes connections
        #[arg(long)]
        server_only: bool,
    },
    /// Show what is in certificate files, one line a certificate
    Show {
        /// PEM files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
}

//! The flags of the commands that ask a registry.

use super::duration;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Which registry, and by which right.
#[derive(Debug, Clone, Args)]
pub(crate) struct RegistryArgs {
    /// Where its HTTP API is [default: $FOURMI_REGISTRY_URL, $CONSUL_HTTP_ADDR, the configuration's, 127.0.0.1:8500]
    #[arg(long, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// A file that holds the token [default: $CONSUL_HTTP_TOKEN_FILE, $CONSUL_HTTP_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// For https: whom to trust, as PEM [default: $CONSUL_CACERT, the system's authorities]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// For https: our own certificate [default: $CONSUL_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// And its key [default: $CONSUL_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
}

/// An instance to register.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The service
    #[arg(required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// A file with all of it in Consul's JSON, `-` for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) file: Option<PathBuf>,
    /// What tells it from others on the node [default: the name]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Where it is [default: the registry's node]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
    /// Its port; 0 when it has none: then only its address can be asked for, and no command goes to it
    #[arg(long, required_unless_present = "file")]
    pub(crate) port: Option<u16>,
    /// A word to choose by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// What else is known of it; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) meta: Vec<(String, String)>,
    /// Its weight
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u16>,
    /// It is well while this URL answers 2xx
    #[arg(long, value_name = "URL", group = "check", value_parser = url)]
    pub(crate) check_http: Option<String>,
    /// It is well while this place takes connections
    #[arg(long, value_name = "HOST:PORT", group = "check", value_parser = place)]
    pub(crate) check_tcp: Option<String>,
    /// It is well while gRPC's health service there says so
    #[arg(long, value_name = "HOST:PORT", group = "check")]
    pub(crate) check_grpc: Option<String>,
    /// It is well while somebody says so at least this often
    #[arg(long, value_name = "DURATION", value_parser = duration, group = "check")]
    pub(crate) ttl: Option<Duration>,
    /// How often it is looked at
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) interval: Duration,
    /// It is removed when it was critical that long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) deregister_after: Option<Duration>,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
    if host { Ok(text.to_owned()) } else { Err("write the whole URL, http://HOST:PORT/PATH".into()) }
}

fn place(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(1..))) { Ok(text.to_owned()) } else { Err("write HOST:PORT".into()) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

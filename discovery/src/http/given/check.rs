//! A check as a client sends it.

use super::fields::{Fields, wrong};
use crate::http::failure::Failure;
use crate::http::time;
use crate::{Alias, Check, Definition, Probe, SCRIPTS_REFUSED, State, Timing, Tls};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The keys of a check.
pub(crate) const CHECK: &[&str] = &[
    "ID",
    "CheckID",
    "Name",
    "Notes",
    "Status",
    "ServiceID",
    "HTTP",
    "Method",
    "Header",
    "Body",
    "DisableRedirects",
    "TCP",
    "TCPUseTLS",
    "UDP",
    "GRPC",
    "GRPCUseTLS",
    "H2PING",
    "H2PingUseTLS",
    "TTL",
    "ScriptArgs",
    "Args",
    "DockerContainerID",
    "Shell",
    "OSService",
    "AliasNode",
    "AliasService",
    "Interval",
    "Timeout",
    "TLSServerName",
    "TLSSkipVerify",
    "SuccessBeforePassing",
    "FailuresBeforeWarning",
    "FailuresBeforeCritical",
    "DeregisterCriticalServiceAfter",
    "OutputMaxSize",
    "ExposedPort",
    "ProxyHTTP",
    "ProxyGRPC",
    "Token",
    "Namespace",
    "Partition",
];

/// A check as a client sent it, valid but without a node.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// Empty when it has none of its own.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) notes: String,
    /// The word as it was sent.
    pub(crate) status: String,
    pub(crate) output: String,
    /// The instance; only where a check is registered by itself.
    pub(crate) instance: String,
    pub(crate) probe: Probe,
    pub(crate) timing: Timing,
    pub(crate) tls: Tls,
    pub(crate) output_max: usize,
}

impl Given {
    /// The check on a node. One that was there before under the id keeps how it was.
    pub(crate) fn on(self, node: &str, instance: Option<&str>, before: Option<&Check>) -> Check {
        let definition = Definition {
            id: self.id,
            node: node.into(),
            instance: instance.map(str::to_owned),
            name: self.name,
            notes: self.notes,
            probe: self.probe,
            timing: self.timing,
            tls: self.tls,
            output_max: self.output_max,
        };
        let (state, output, since) = match before {
            Some(before) => (before.state, Arc::clone(&before.output), before.since),
            None => {
                let state = State::parse(&self.status).unwrap_or(State::Critical);
                (state, self.output.into(), Instant::now())
            }
        };
        let unseen = before.is_some_and(|before| before.unseen);
        Check { definition: Arc::new(definition), state, output, since, held: false, unseen }
    }
}

/// Reads a check. Everything that can be said against it is said here.
pub(crate) fn check(fields: &Fields<'_>) -> Result<Given, Failure> {
    let interval = fields.time("Interval")?;
    let ttl = fields.time("TTL")?;
    let timeout = fields.time("Timeout")?;
    let after = fields.time("DeregisterCriticalServiceAfter")?;
    let refuse = |why: &str| Failure::bad(format!("Invalid check: {why}"));
    let is = |name: &str| Ok::<_, Failure>(!fields.text(name)?.is_empty());
    let scripted = !fields.texts("ScriptArgs")?.is_empty() || !fields.texts("Args")?.is_empty();
    let alias = is("AliasNode")? || is("AliasService")?;
    let looked_at = ["HTTP", "TCP", "UDP", "GRPC", "H2PING", "OSService"].map(is);
    let looked_at = looked_at.into_iter().collect::<Result<Vec<_>, _>>()?.contains(&true) || scripted;
    let output_max = fields.number("OutputMaxSize")?.unwrap_or(0);
    let [successes, warnings, failures] = [
        count(fields, "SuccessBeforePassing")?,
        count(fields, "FailuresBeforeWarning")?,
        count(fields, "FailuresBeforeCritical")?,
    ];
    if interval > 0 && ttl > 0 {
        return Err(refuse("Interval and TTL cannot both be specified"));
    }
    if looked_at && interval <= 0 {
        return Err(refuse("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"));
    }
    if alias && (looked_at || interval > 0) {
        return Err(refuse("Interval cannot be set for Alias checks"));
    }
    if alias && ttl > 0 {
        return Err(refuse("TTL must be not be set for Alias checks"));
    }
    if !looked_at && !alias && ttl <= 0 {
        return Err(refuse("TTL must be > 0 for TTL checks"));
    }
    if output_max < 0 {
        return Err(refuse("MaxOutputMaxSize must be positive"));
    }
    if warnings > failures {
        return Err(refuse("FailuresBeforeWarning can't be higher than FailuresBeforeCritical"));
    }
    let usual = Timing::default();
    let timing = Timing {
        interval: if interval > 0 { time::positive(interval) } else { usual.interval },
        timeout: if timeout > 0 { time::positive(timeout) } else { usual.timeout },
        success_before_passing: successes,
        failures_before_warning: warnings,
        failures_before_critical: failures,
        deregister_after: (after > 0).then(|| time::positive(after)),
    };
    let id = fields.text("CheckID")?;
    Ok(Given {
        id: if id.is_empty() { fields.text("ID")? } else { id },
        name: fields.text("Name")?,
        notes: fields.text("Notes")?,
        status: fields.text("Status")?,
        output: String::new(),
        instance: fields.text("ServiceID")?,
        probe: probe(fields, time::positive(ttl))?,
        timing,
        tls: tls(fields)?,
        output_max: usize::try_from(output_max).unwrap_or(0),
    })
}

/// Reads a check of the catalog: how it is, and in its definition how that is found out. One that says nothing about
/// that is as somebody says.
pub(crate) fn told(fields: &Fields<'_>, definition: &Fields<'_>) -> Result<Given, Failure> {
    // Somebody may send back what he has read, where no time is an empty text.
    let time = |name: &str| match definition.get(name) {
        Some(value) if value.as_str() == Some("") => Ok(0),
        _ => definition.time(name),
    };
    let time = |name: &str| match time(&format!("{name}Duration"))? {
        0 => time(name),
        time => Ok::<_, Failure>(time),
    };
    let (interval, timeout, after) = (time("Interval")?, time("Timeout")?, time("DeregisterCriticalServiceAfter")?);
    let usual = Timing::default();
    let id = fields.text("CheckID")?;
    Ok(Given {
        id: if id.is_empty() { fields.text("ID")? } else { id },
        name: fields.text("Name")?,
        notes: fields.text("Notes")?,
        status: fields.text("Status")?,
        output: fields.text("Output")?,
        instance: fields.text("ServiceID")?,
        probe: probe(definition, time::positive(definition.time("TTL")?))?,
        timing: Timing {
            interval: if interval > 0 { time::positive(interval) } else { usual.interval },
            timeout: if timeout > 0 { time::positive(timeout) } else { usual.timeout },
            deregister_after: (after > 0).then(|| time::positive(after)),
            ..usual
        },
        tls: tls(definition)?,
        output_max: 0,
    })
}

fn count(fields: &Fields<'_>, name: &str) -> Result<u16, Failure> {
    u16::try_from(fields.number(name)?.unwrap_or(0)).map_err(|_| wrong(name, "a number up to 65535"))
}

/// How TLS trusts.
pub(super) fn tls(fields: &Fields<'_>) -> Result<Tls, Failure> {
    let skip_verify = fields.flag("TLSSkipVerify")?.unwrap_or(false);
    Ok(Tls { server_name: fields.text("TLSServerName")?, skip_verify })
}

/// What is done. With several kinds the first of Consul's order counts.
pub(super) fn probe(fields: &Fields<'_>, ttl: Duration) -> Result<Probe, Failure> {
    let is_on = |name: &str, usual: bool| Ok::<_, Failure>(fields.flag(name)?.unwrap_or(usual));
    let [grpc, url, tcp, udp, h2ping] = ["GRPC", "HTTP", "TCP", "UDP", "H2PING"].map(|name| fields.text(name));
    let (grpc, url, tcp, udp, h2ping) = (grpc?, url?, tcp?, udp?, h2ping?);
    let alias = Alias { node: fields.text("AliasNode")?, instance: fields.text("AliasService")? };
    let headers = fields.lists("Header")?;
    let scripted = !fields.texts("ScriptArgs")?.is_empty() || !fields.texts("Args")?.is_empty();
    Ok(if !grpc.is_empty() {
        let (address, service) = grpc.split_once('/').unwrap_or((&grpc, ""));
        Probe::Grpc { address: address.into(), service: service.into(), tls: is_on("GRPCUseTLS", false)? }
    } else if !url.is_empty() {
        let redirects = !is_on("DisableRedirects", false)?;
        let method = fields.text("Method")?;
        if !method.is_empty() && !["GET", "HEAD"].iter().any(|allowed| allowed.eq_ignore_ascii_case(&method)) {
            // What listens on this machine for this machine alone would do what it says.
            return Err(Failure::bad("Invalid check: whoever registers here may look with GET and HEAD only"));
        }
        Probe::Http { url, method, headers, body: fields.text("Body")?, redirects }
    } else if !ttl.is_zero() {
        Probe::Ttl(ttl)
    } else if !tcp.is_empty() {
        Probe::Tcp { address: tcp, tls: is_on("TCPUseTLS", false)? }
    } else if !udp.is_empty() {
        Probe::Udp { address: udp }
    } else if !alias.node.is_empty() || !alias.instance.is_empty() {
        Probe::Alias(alias)
    } else if scripted || !fields.text("DockerContainerID")?.is_empty() {
        return Err(Failure::internal(format!("Scripts are disabled on this agent: {SCRIPTS_REFUSED}")));
    } else if !h2ping.is_empty() {
        Probe::H2Ping { address: h2ping, tls: is_on("H2PingUseTLS", true)? }
    } else if !fields.text("OSService")?.is_empty() {
        return Err(Failure::bad(
            "Invalid check: OSService checks are not done here; use an http, tcp, grpc or ttl check",
        ));
    } else {
        // Somebody else says how it is.
        Probe::Manual
    })
}

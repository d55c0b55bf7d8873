//! How it is found out whether an instance or a node is well.

use super::State;
use super::limits::{Invalid, LONG_MAX, TEXT_MAX, is_id};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a check that runs a command is refused.
pub const SCRIPTS_REFUSED: &str =
    "script checks are not run: whoever may register could run any command here; use an http, tcp, grpc or ttl check";

/// How the id of a check begins whose instance came back from the store without one.
const RETURNED: &str = "_returned:";
/// The shortest interval and timeout; shorter ones are raised to it.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The shortest time to be critical before an instance is removed.
const DEREGISTER_MIN: Duration = Duration::from_secs(10);
/// The longest of all times.
const TIME_MAX: Duration = Duration::from_secs(30 * 86_400);
/// What is kept of a check's output when it does not say.
const OUTPUT_MAX: usize = 4096;

/// What is done to find out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A request; 2xx passes, 429 warns.
    Http {
        /// The whole URL, http or https.
        url: String,
        /// GET when empty.
        method: String,
        /// Header lines; `Host` sets the host that is asked for.
        headers: Vec<(String, String)>,
        /// The body that is sent.
        body: String,
        /// Whether redirects are followed.
        redirects: bool,
    },
    /// A connection.
    Tcp {
        /// Host and port.
        address: String,
        /// Whether TLS must succeed too.
        tls: bool,
    },
    /// A datagram; silence passes, a refusal does not.
    Udp {
        /// Host and port.
        address: String,
    },
    /// gRPC's own health service.
    Grpc {
        /// Host and port.
        address: String,
        /// The service asked for; empty is the whole server.
        service: String,
        /// Whether it speaks TLS.
        tls: bool,
    },
    /// A PING frame of HTTP/2.
    H2Ping {
        /// Host and port.
        address: String,
        /// Whether it speaks TLS.
        tls: bool,
    },
    /// Somebody must report before that time is over.
    Ttl(Duration),
    /// As another instance or node is.
    Alias(Alias),
    /// Nothing: its state is what it was set to, as in maintenance.
    Manual,
    /// An instance without checks of its own came back from the store: a connection shows that it is there. The
    /// check goes away when it passes.
    Returned,
}

/// Whose state an alias takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The node; empty is the check's own.
    pub node: String,
    /// The instance on it; empty is the node itself.
    pub instance: String,
}

impl Probe {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Probe::Http { .. } => "http",
            Probe::Tcp { .. } | Probe::Returned => "tcp",
            Probe::Udp { .. } => "udp",
            Probe::Grpc { .. } => "grpc",
            Probe::H2Ping { .. } => "h2ping",
            Probe::Ttl(_) => "ttl",
            Probe::Alias(_) => "alias",
            Probe::Manual => "maintenance",
        }
    }

    /// Whether it is done again and again by us.
    pub fn is_active(&self) -> bool {
        !matches!(self, Probe::Ttl(_) | Probe::Alias(_) | Probe::Manual)
    }
}

/// When a check is done, and how much of its results it takes to change the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between the starts of two probes.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// So many successes in a row until it passes; 0 is 1.
    pub success_before_passing: u16,
    /// So many failures in a row until it warns; 0 is as many as for critical.
    pub failures_before_warning: u16,
    /// So many failures in a row until it is critical; 0 is 1.
    pub failures_before_critical: u16,
    /// The instance is removed when it was critical that long.
    pub deregister_after: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            success_before_passing: 0,
            failures_before_warning: 0,
            failures_before_critical: 0,
            deregister_after: None,
        }
    }
}

/// How a check that speaks TLS trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The name the certificate must be for; empty is the host that is connected to.
    pub server_name: String,
    /// Whether any certificate will do.
    pub skip_verify: bool,
}

/// What a check is; how it stands is in [`Check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Unique on its node.
    pub id: String,
    /// The node.
    pub node: String,
    /// The instance it speaks of; None speaks of the node and so of all its instances.
    pub instance: Option<String>,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub notes: String,
    /// What is done.
    pub probe: Probe,
    /// When, and how often it must fail.
    #[serde(default)]
    pub timing: Timing,
    /// How TLS trusts.
    #[serde(default)]
    pub tls: Tls,
    /// What is kept of an output.
    pub output_max: usize,
}

impl Definition {
    /// A check of an instance, with the usual timing.
    pub fn of(instance: &super::Instance, id: impl Into<String>, probe: Probe) -> Self {
        let mut made = Self::of_node(&instance.node, id, probe);
        made.instance = Some(instance.id.clone());
        made
    }

    /// A check of a node, with the usual timing.
    pub fn of_node(node: &str, id: impl Into<String>, probe: Probe) -> Self {
        let id = id.into();
        Definition {
            name: id.clone(),
            id,
            node: node.into(),
            instance: None,
            notes: String::new(),
            probe,
            timing: Timing::default(),
            tls: Tls::default(),
            output_max: OUTPUT_MAX,
        }
    }

    /// The check of an instance that came back from the store without one.
    pub(crate) fn returned(instance: &super::Instance) -> Self {
        Definition::of(instance, format!("{RETURNED}{}", instance.id), Probe::Returned)
    }

    /// Raises what is too short.
    pub(crate) fn settled(mut self) -> Self {
        self.timing.interval = self.timing.interval.max(INTERVAL_MIN);
        self.timing.deregister_after = self.timing.deregister_after.map(|after| after.max(DEREGISTER_MIN));
        if self.output_max == 0 || self.output_max > OUTPUT_MAX {
            self.output_max = OUTPUT_MAX;
        }
        self
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        if !is_id(&self.id) || self.instance.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(Invalid::Id);
        }
        let timing = &self.timing;
        let critical = timing.failures_before_critical.max(1);
        if timing.failures_before_warning > critical {
            return Err(Invalid::Check("a check cannot warn after more failures than it takes to be critical"));
        }
        let ttl = if let Probe::Ttl(ttl) = self.probe { ttl } else { TIME_MAX };
        let longest = timing.interval.max(timing.timeout).max(timing.deregister_after.unwrap_or_default()).max(ttl);
        if longest > TIME_MAX {
            return Err(Invalid::Check("the times of a check are at most 30 days"));
        }
        if ttl.is_zero() {
            return Err(Invalid::Check("the time of a ttl check is more than nothing"));
        }
        if timing.timeout.is_zero() && self.probe.is_active() {
            return Err(Invalid::Check("the timeout of a check is more than nothing"));
        }
        let long = match &self.probe {
            Probe::Http { url, method, headers, body, .. } => {
                let lines: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                url.len().max(body.len()).max(lines) > LONG_MAX || method.len() > TEXT_MAX
            }
            Probe::Tcp { address, .. } | Probe::Udp { address } | Probe::H2Ping { address, .. } => {
                address.len() > LONG_MAX
            }
            Probe::Grpc { address, service, .. } => address.len().max(service.len()) > LONG_MAX,
            Probe::Alias(alias) => alias.node.len().max(alias.instance.len()) > TEXT_MAX,
            Probe::Ttl(_) | Probe::Manual | Probe::Returned => false,
        };
        if long || self.name.len().max(self.tls.server_name.len()) > TEXT_MAX || self.notes.len() > LONG_MAX {
            return Err(Invalid::Check("a text of the check is too long"));
        }
        Ok(())
    }
}

/// A check and how it stands.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it is.
    pub definition: Arc<Definition>,
    /// How it stands.
    pub state: State,
    /// What the last probe that changed anything said.
    pub output: Arc<str>,
    /// Since when it is in that state.
    pub since: Instant,
    /// The probes pass, yet it is held critical because it changed too often of late.
    pub held: bool,
    /// It came back from the store, and nobody has looked since: its state says nothing.
    pub unseen: bool,
}

impl Check {
    /// A check nobody has done yet: critical, because unknown is not healthy.
    pub fn new(definition: Definition) -> Self {
        Check {
            definition: Arc::new(definition),
            state: State::Critical,
            output: "".into(),
            since: Instant::now(),
            held: false,
            unseen: false,
        }
    }

    /// The same, in another state.
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }
}

//! From a name as it is written to the names that are asked for: hosts file, search domains, servers.

use super::look::{Addresses, Memory, look};
use super::question::{NoReply, Reply, Servers};
use super::system::{self, System};
use super::{Found, all};
use hickory_proto::rr::{Name, RecordType};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What the configuration says about DNS; what it does not say, the system does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers to ask.
    pub nameservers: Vec<SocketAddr>,
    /// The domains to try.
    pub search: Option<Vec<String>>,
    /// How long a server has for one try.
    pub timeout: Option<Duration>,
    /// How often a silent one is asked.
    pub attempts: Option<u32>,
    /// Whether `/etc/hosts` counts.
    pub hosts: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { nameservers: Vec::new(), search: None, timeout: None, attempts: None, hosts: true }
    }
}

/// Asks for names; one for the control thread. It keeps no answers: who follows a name knows how long one holds.
pub struct Resolver {
    settings: Settings,
    servers: Servers,
    hosts: PathBuf,
    resolv: PathBuf,
}

/// What is known about a host's addresses.
pub(super) enum Host {
    /// From the hosts file, which has no time to live.
    File(Addresses),
    /// From DNS, under this full name.
    Dns { name: String, v4: Result<Reply, NoReply>, v6: Result<Reply, NoReply> },
}

impl Host {
    /// One that was not asked for, since nobody answers.
    pub(super) fn unasked(host: &str) -> Host {
        let no = NoReply { why: "not asked for, since no server answers".into(), silence: true };
        Host::Dns { name: host.to_owned(), v4: Err(no.clone()), v6: Err(no) }
    }

    /// The full name under which DNS has addresses.
    pub(super) fn has_records(&self) -> Option<&str> {
        match self {
            Host::Dns { name, v4, v6 } => [v4, v6].into_iter().flatten().any(|r| !r.records.is_empty()).then_some(name),
            Host::File(_) => None,
        }
    }

    pub(super) fn is_silence(&self) -> bool {
        match self {
            Host::File(_) => false,
            Host::Dns { v4, v6, .. } => [v4, v6].iter().any(|h| h.as_ref().is_err_and(|no| no.silence)),
        }
    }
}

impl Resolver {
    /// One that asks as these settings say.
    pub fn new(settings: Settings) -> Resolver {
        Resolver::with_files(settings, "/etc/hosts".into(), "/etc/resolv.conf".into())
    }

    pub(super) fn with_files(settings: Settings, hosts: PathBuf, resolv: PathBuf) -> Resolver {
        Resolver { settings, servers: Servers::default(), hosts, resolv }
    }

    /// Looks a name up once, for who has no use for following it.
    pub async fn resolve(&self, name: &super::Name) -> io::Result<Vec<Found>> {
        let look = Box::pin(look(name, self, &Memory::default())).await;
        if !look.found.is_empty() {
            return Ok(look.found);
        }
        let kind = if look.failed { io::ErrorKind::Other } else { io::ErrorKind::NotFound };
        Err(io::Error::new(kind, look.trouble.unwrap_or_default()))
    }

    /// Whom to ask now.
    pub(super) fn system(&self) -> System {
        let mut system = System::of(&system::text(&self.resolv));
        let Settings { nameservers, search, timeout, attempts, hosts: _ } = &self.settings;
        if !nameservers.is_empty() {
            system.servers.clone_from(nameservers);
        }
        if let Some(search) = search {
            system.search.clone_from(search);
        }
        system.timeout = timeout.unwrap_or(system.timeout);
        system.attempts = attempts.unwrap_or(system.attempts);
        system
    }

    /// The hosts file's text, for one look-up.
    pub(super) fn hosts(&self) -> String {
        if self.settings.hosts { system::text(&self.hosts) } else { String::new() }
    }

    /// The addresses of a host. `settled` is the full name that had them before.
    pub(super) async fn host(&self, system: &System, hosts: &str, host: &str, settled: Option<&str>) -> Host {
        let bare = host.strip_suffix('.').unwrap_or(host);
        let mut local = system::in_hosts(hosts, bare);
        if local.is_empty() && is_localhost(bare) {
            // Never a question for a server (RFC 6761).
            local = Addresses { v4: vec![Ipv4Addr::LOCALHOST], v6: vec![Ipv6Addr::LOCALHOST] };
        }
        if !local.is_empty() {
            return Host::File(local);
        }
        let kinds = [RecordType::A, RecordType::AAAA];
        let (name, heard) = self.search(system, host, kinds, settled).await;
        let [v4, v6] = heard;
        Host::Dns { name, v4, v6 }
    }

    /// The SRV records of a service.
    pub(super) async fn service(
        &self,
        system: &System,
        service: &str,
        settled: Option<&str>,
    ) -> (String, Result<Reply, NoReply>) {
        let (name, [heard]) = self.search(system, service, [RecordType::SRV], settled).await;
        (name, heard)
    }

    /// Asks for all kinds at once under each full name that is meant, until one has records. A failure ends the
    /// search where the records were the last time, since a further domain's host of that name is another one; so does
    /// silence, since nobody will know more about the next name. Else the search goes on, as the system's own does.
    async fn search<const N: usize>(
        &self,
        system: &System,
        host: &str,
        kinds: [RecordType; N],
        settled: Option<&str>,
    ) -> (String, [Result<Reply, NoReply>; N]) {
        let (mut failed, mut nothing) = (None, None);
        for name in candidates(system, host) {
            let text = name.to_ascii();
            let heard = all(kinds.map(|kind| self.servers.question(system, &name, kind))).await;
            let Ok(heard) = <[Result<Reply, NoReply>; N]>::try_from(heard) else { break };
            let some = heard.iter().flatten().any(|reply| !reply.records.is_empty());
            let failure = heard.iter().any(Result::is_err);
            let silence = heard.iter().any(|h| h.as_ref().is_err_and(|e| e.silence));
            if some || silence || failure && settled == Some(text.as_str()) {
                return (text, heard);
            }
            let kept = if failure { &mut failed } else { &mut nothing };
            kept.get_or_insert((text, heard));
        }
        failed.or(nothing).unwrap_or_else(|| {
            let why = format!("`{host}` is no name that DNS has");
            (host.to_owned(), std::array::from_fn(|_| Err(NoReply { why: why.clone(), silence: false })))
        })
    }
}

fn is_localhost(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    last.eq_ignore_ascii_case("localhost")
}

/// The full names that may be meant, in their order.
fn candidates(system: &System, host: &str) -> Vec<Name> {
    let full = |text: &str| {
        let mut name = Name::from_ascii(text).ok()?;
        name.set_fqdn(true);
        Some(name)
    };
    if host.ends_with('.') {
        return full(host).into_iter().collect();
    }
    let searched = system.search.iter().map(|domain| format!("{host}.{}", domain.trim_matches('.')));
    let mut texts: Vec<String> = searched.collect();
    let at = if host.matches('.').count() >= system.ndots { 0 } else { texts.len() };
    texts.insert(at, host.to_owned());
    texts.iter().filter_map(|text| full(text.trim_end_matches('.'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_searched_as_the_system_does() {
        let system = System { search: vec!["a.example".into(), "b.example.".into()], ndots: 2, ..System::default() };
        let names = |host: &str| candidates(&system, host).iter().map(Name::to_ascii).collect::<Vec<_>>();
        assert_eq!(names("stock"), ["stock.a.example.", "stock.b.example.", "stock."]);
        assert_eq!(names("stock.eu.test"), ["stock.eu.test.", "stock.eu.test.a.example.", "stock.eu.test.b.example."]);
        assert_eq!(names("stock."), ["stock."]);
        assert!(names(&"x".repeat(64)).is_empty());
        assert!(is_localhost("Localhost") && is_localhost("a.localhost") && !is_localhost("localhost.example"));
    }
}

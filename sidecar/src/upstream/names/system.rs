//! What the system says about names: `/etc/resolv.conf` and `/etc/hosts`. Both are read at every look-up, so a change
//! holds at once.

use super::look::Addresses;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

/// The most servers, search domains, and bytes of a file that are used.
const SERVERS_MAX: usize = 8;
const SEARCH_MAX: usize = 16;
const FILE_MAX: u64 = 4 << 20;
/// The bounds that the system's own resolver has.
const NDOTS_MAX: usize = 15;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// A name with fewer dots is tried in the search domains first.
    pub(super) ndots: usize,
    /// For one try.
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    /// Begin with another server each time.
    pub(super) rotate: bool,
    /// Always TCP.
    pub(super) tcp: bool,
}

impl Default for System {
    fn default() -> System {
        System {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(2),
            attempts: 2,
            rotate: false,
            tcp: false,
        }
    }
}

impl System {
    /// What `resolv.conf` says; without a server it means the one on this machine, as for everyone.
    pub(super) fn of(text: &str) -> System {
        let mut system = System::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if system.servers.len() < SERVERS_MAX => {
                    system.servers.extend(words.next().and_then(server));
                }
                Some("search" | "domain") => system.search = words.take(SEARCH_MAX).map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| system.option(option)),
                _ => {}
            }
        }
        if system.servers.is_empty() {
            system.servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        system
    }

    fn option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match (name, value.parse::<u32>()) {
            ("ndots", Ok(n)) => self.ndots = (n as usize).min(NDOTS_MAX),
            ("timeout", Ok(n)) => self.timeout = Duration::from_secs(u64::from(n).clamp(1, TIMEOUT_MAX)),
            ("attempts", Ok(n)) => self.attempts = n.clamp(1, ATTEMPTS_MAX),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.tcp = true,
            _ => {}
        }
    }
}

/// The address of a server; a link-local one names its interface.
fn server(text: &str) -> Option<SocketAddr> {
    let Some((ip, scope)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53));
    };
    let scope = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
    Some(SocketAddrV6::new(ip.parse().ok()?, 53, 0, scope).into())
}

/// The addresses that a hosts file gives the name.
pub(super) fn in_hosts(text: &str, name: &str) -> Addresses {
    let mut found = Addresses::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(ip) = words.next() else { continue };
        if words.any(|alias| alias.eq_ignore_ascii_case(name)) {
            match ip.parse() {
                Ok(IpAddr::V4(ip)) => found.v4.push(ip),
                Ok(IpAddr::V6(ip)) => found.v6.push(ip),
                // With a scope, which an endpoint cannot have.
                Err(_) => {}
            }
        }
    }
    found.sorted()
}

/// A file's text; one that cannot be read is as good as empty.
pub(super) fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(FILE_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_resolver_is_understood() {
        let system = System::of(
            "# made by hand\n; also a comment\nnameserver 10.0.0.2\nnameserver fd00::53\nnameserver fe80::1%1\n\
             nameserver nonsense\ndomain old.example\nsearch svc.cluster.local cluster.local\n\
             options ndots:5 timeout:1 attempts:99 use-vc rotate edns0 ndots:x\nsortlist 1.2.3.4\n",
        );
        let servers = ["10.0.0.2:53", "[fd00::53]:53", "[fe80::1%1]:53"];
        assert_eq!(system.servers, servers.map(|s| s.parse::<SocketAddr>().unwrap()));
        assert_eq!(system.search, ["svc.cluster.local", "cluster.local"]);
        assert_eq!((system.ndots, system.timeout, system.attempts), (5, Duration::from_secs(1), ATTEMPTS_MAX));
        assert!(system.rotate && system.tcp);
        let none = System::of("");
        assert_eq!(none, System { servers: vec!["127.0.0.1:53".parse().unwrap()], ..System::default() });
    }

    #[test]
    fn hosts_have_several_names_and_addresses() {
        let text = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # stock\n10.0.0.3 stock.example Stock\n\
                    10.0.0.2 stock\nbroken stock\n#10.0.0.9 stock\n\n10.0.0.2 stock again";
        let found = in_hosts(text, "stock");
        assert_eq!(found.v4, ["10.0.0.2", "10.0.0.3"].map(|a| a.parse::<std::net::Ipv4Addr>().unwrap()));
        assert!(found.v6.is_empty());
        assert_eq!(in_hosts(text, "LOCALHOST").v6.len(), 1);
        assert_eq!(in_hosts(text, "broken"), Addresses::default());
    }
}

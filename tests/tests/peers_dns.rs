//! The peers that ask and answer names, without Fourmi: what they are used for elsewhere works with a server that is
//! known to be good.

use fourmi_tests::dns::{Tool, addresses};
use fourmi_tests::peers::{NameServer, NameSpace, Resolver, dns_example, program};
use fourmi_tests::until;
use std::net::Ipv4Addr;
use std::path::Path;

/// Unbound, knowing a name of each kind.
fn known() -> Resolver {
    let dns = Resolver::start();
    dns.has("stock.test", 7, &["A 127.0.0.2", "A 127.0.0.3", "SRV 1 10 8080 one.test."]);
    dns.forgets("nobody.test");
    dns
}

#[test]
fn tools_tell_what_a_server_said() {
    let dns = known();
    for tool in Tool::ALL {
        for tcp in [false, true] {
            let reply = tool.asks(dns.address(), tcp, "stock.test", "A");
            assert!(reply.is(&["A 127.0.0.2", "A 127.0.0.3"]) && reply.ttls == [7, 7], "{tool:?}: {}", reply.said);
            let reply = tool.asks(dns.address(), tcp, "stock.test", "SRV");
            assert!(reply.is(&["SRV 1 10 8080 one.test."]), "{tool:?}: {}", reply.said);
            let gone = tool.asks(dns.address(), tcp, "nobody.test", "A");
            let status = if tool == Tool::Delv { "ncache nxdomain" } else { "NXDOMAIN" };
            assert!(gone.answers.is_empty() && gone.status == status, "{tool:?}: {}", gone.said);
        }
    }
    let mut found = addresses(dns.address(), "stock.test").unwrap();
    found.sort_unstable();
    assert_eq!(found, [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)]);
    assert_eq!(addresses(dns.address(), "nobody.test"), Some(Vec::new()));
}

#[test]
fn name_servers_ask_another_for_its_domains() {
    let dns = Resolver::start();
    dns.has("stock.service.consul", 1, &["A 127.0.0.2"]);
    for server in NameServer::ALL {
        let (_peer, at) = server.before(dns.address().port());
        until(&format!("{server:?} asks unbound"), || {
            Tool::Dig.asks(at, false, "stock.service.consul", "A").is(&["A 127.0.0.2"])
        });
    }
}

#[test]
fn a_program_sees_another_resolv_conf_and_this_machine_does_not() {
    let resolv = dns_example("resolv.conf", 0);
    let seen = NameSpace::new(&resolv).prints(&program("cat"), &["/etc/resolv.conf"]);
    assert_eq!(seen, resolv.lines().collect::<Vec<_>>());
    assert_ne!(std::fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap_or_default(), resolv);
}

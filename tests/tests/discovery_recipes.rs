//! The name servers of `docs/dns-recipes.md` in front of Fourmi, run with the files that users copy.

use fourmi_tests::dns::{Reply, Tool, dig};
use fourmi_tests::peers::NameServer;
use fourmi_tests::{Section, Setup, eventually};
use std::net::SocketAddr;

/// Waits until a name server says these records.
#[track_caller]
fn says(who: NameServer, at: SocketAddr, name: &str, kind: &str, records: &[&str]) {
    let mut last = Reply::default();
    eventually(&format!("{who:?} says of {name} {kind}: {records:?}"), || {
        last = dig(at, name, kind);
        last.is(records).then_some(())
    });
    assert_eq!(last.status, "NOERROR", "{}", last.said);
}

#[track_caller]
fn becomes(who: NameServer, at: SocketAddr, name: &str, status: &str) {
    eventually(&format!("{who:?} says of {name}: {status}"), || (dig(at, name, "A").status == status).then_some(()));
}

#[track_caller]
fn in_front(who: NameServer) {
    let section = Section::new()
        .dns("skydns: {ttl: 1s, min_ttl: 1s}")
        .service("{name: stock, id: s1, address: 127.0.0.2, port: 8081, tags: [v1]}")
        .service("{name: stock, id: s2, address: 127.0.0.3, port: 8081, tags: [v2]}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9, port: 80}")
        .record("alias.shop.skydns.local", "{host: one.shop.skydns.local}");
    let fourmi = Setup::alone().more(&section.yaml()).start();
    let (_peer, at) = who.before(section.at.port());
    let both = ["A 127.0.0.2", "A 127.0.0.3"];
    for name in ["stock.service.consul", "stock.service.dc1.consul", "stock.service.fourmi", "stock.skydns.local"] {
        says(who, at, name, "A", &both);
    }
    says(who, at, "v2.stock.service.consul", "A", &both[1..]);
    let srv = ["SRV 1 1 8081 7f000002.addr.dc1.consul.", "SRV 1 1 8081 7f000003.addr.dc1.consul."];
    says(who, at, "_stock._tcp.service.consul", "SRV", &srv);
    says(who, at, "stock.service.consul", "AAAA", &[]);
    says(who, at, "one.shop.skydns.local", "SRV", &["SRV 10 100 80 one.shop.skydns.local."]);
    says(who, at, "alias.shop.skydns.local", "A", &["A 10.0.0.9", "CNAME one.shop.skydns.local."]);
    becomes(who, at, "late.service.consul", "NXDOMAIN");
    becomes(who, at, "late.shop.skydns.local", "NXDOMAIN");
    let by_tcp = Tool::Dig.asks(at, true, "stock.service.consul", "A");
    assert!(by_tcp.is(&both), "{}", by_tcp.said);

    // Somebody goes, somebody comes, somebody moves.
    let other = Section::at(section.at)
        .dns("skydns: {ttl: 1s, min_ttl: 1s}")
        .service("{name: stock, id: s2, address: 127.0.0.3, port: 8081, tags: [v2]}")
        .service("{name: late, id: l1, address: 127.0.0.5, port: 8081}")
        .record("one.shop.skydns.local", "{host: 10.0.0.10, port: 81}")
        .record("late.shop.skydns.local", "{host: 10.0.0.11}");
    section.becomes(&fourmi, &other);
    says(who, at, "stock.service.consul", "A", &both[1..]);
    says(who, at, "stock.skydns.local", "A", &both[1..]);
    says(who, at, "late.service.consul", "A", &["A 127.0.0.5"]);
    says(who, at, "one.shop.skydns.local", "A", &["A 10.0.0.10"]);
    says(who, at, "late.shop.skydns.local", "A", &["A 10.0.0.11"]);
    becomes(who, at, "alias.shop.skydns.local", "NXDOMAIN");
}

#[test]
fn dnsmasq_asks_fourmi_for_its_domains() {
    in_front(NameServer::Dnsmasq);
}

#[test]
fn unbound_asks_fourmi_for_its_domains() {
    in_front(NameServer::Unbound);
}

#[test]
fn named_asks_fourmi_for_its_domains() {
    in_front(NameServer::Named);
}

#[test]
fn the_other_files_name_the_same_port_and_domains() {
    let read = |name: &str| fourmi_tests::peers::dns_example(name, 8600);
    let all = ["dnsmasq.conf", "unbound.conf", "named.conf", "resolved.conf", "Corefile"];
    for name in all {
        let text = read(name);
        assert!(text.contains("8600"), "{name}: {text}");
        for domain in ["consul", "fourmi", "skydns.local"] {
            assert!(text.contains(domain), "{name} says nothing of {domain}: {text}");
        }
    }
    let daemon: serde_json::Value = serde_json::from_str(&read("daemon.json")).unwrap();
    assert!(read("compose.yaml").contains(daemon["dns"][0].as_str().unwrap()));
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dns-recipes.md");
    let page = std::fs::read_to_string(page).unwrap();
    for name in all.into_iter().chain(["resolv.conf", "daemon.json", "compose.yaml", "fourmi.yaml"]) {
        assert!(page.contains(&format!("(../examples/deploy/dns/{name})")), "the page does not name {name}");
    }
}

//! Each program asks each kind of question of both dialects, by UDP and by TCP.

use fourmi_tests::dns::Tool;
use fourmi_tests::{Section, Setup, eventually, free_port};

/// Asks with every tool; every answer must be these records.
#[track_caller]
fn everybody_gets(section: &Section, name: &str, kind: &str, records: &[&str]) {
    for tool in Tool::ALL {
        for tcp in [false, true] {
            let reply = tool.asks(section.at, tcp, name, kind);
            assert!(reply.is(records), "{tool:?} tcp={tcp} {name} {kind}: not {records:?} but\n{}", reply.said);
            let status = match (tool, records) {
                (Tool::Delv, []) => "ncache nxrrset",
                (Tool::Delv, _) => "",
                _ => "NOERROR",
            };
            assert_eq!(reply.status, status, "{tool:?} tcp={tcp} {name} {kind}: {}", reply.said);
        }
    }
}

/// Asks with every tool; nobody may get a record, and each says this, delv in its own words.
#[track_caller]
fn nobody_gets(section: &Section, name: &str, kind: &str, status: &str, of_delv: &str) {
    for tool in Tool::ALL {
        for tcp in [false, true] {
            let reply = tool.asks(section.at, tcp, name, kind);
            let wanted = if tool == Tool::Delv { of_delv } else { status };
            assert!(
                reply.answers.is_empty() && reply.status == wanted,
                "{tool:?} tcp={tcp} {name} {kind}: not {wanted} but\n{}",
                reply.said
            );
        }
    }
}

fn section() -> Section {
    Section::new()
        .node("meta: {rack: r1}")
        .service("{name: stock, id: s1, address: 127.0.0.2, port: 8081, tags: [v1]}")
        .service("{name: stock, id: s2, address: 127.0.0.3, port: 8082, tags: [v2], weights: {passing: 3}}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9, port: 80, text: hello}")
        .record("mail.shop.skydns.local", "{host: one.shop.skydns.local, port: 25, mail: true}")
        .record("9.0.0.10.in-addr.arpa", "{host: one.shop.skydns.local}")
}

#[test]
fn every_program_understands_consuls_names() {
    let section = section();
    let _fourmi = Setup::alone().more(&section.yaml()).start();
    let both = ["A 127.0.0.2", "A 127.0.0.3"];
    for name in ["stock.service.consul", "STOCK.Service.dc1.consul", "stock.service.fourmi", "stock.service.dc1.fourmi"]
    {
        everybody_gets(&section, name, "A", &both);
    }
    everybody_gets(&section, "stock.service.consul", "ANY", &both);
    everybody_gets(&section, "stock.service.consul", "TXT", &[]);
    everybody_gets(&section, "stock.service.consul", "AAAA", &[]);
    everybody_gets(&section, "v2.stock.service.consul", "A", &["A 127.0.0.3"]);
    let srv = ["SRV 1 1 8081 7f000002.addr.dc1.consul.", "SRV 1 3 8082 7f000003.addr.dc1.consul."];
    for name in ["stock.service.consul", "_stock._tcp.service.consul", "_stock._tcp.consul"] {
        everybody_gets(&section, name, "SRV", &srv);
    }
    everybody_gets(&section, "_stock._v1.service.consul", "SRV", &srv[..1]);
    everybody_gets(&section, "7f000002.addr.dc1.consul", "A", &["A 127.0.0.2"]);
    everybody_gets(&section, "n1.node.consul", "A", &["A 127.0.0.1"]);
    everybody_gets(&section, "n1.node.consul", "TXT", &["TXT \"rack=r1\""]);
    everybody_gets(&section, "1.0.0.127.in-addr.arpa", "PTR", &["PTR n1.node.dc1.fourmi."]);
    everybody_gets(&section, "2.0.0.127.in-addr.arpa", "PTR", &["PTR stock.service.dc1.fourmi."]);
    nobody_gets(&section, "nobody.service.consul", "A", "NXDOMAIN", "ncache nxdomain");
    nobody_gets(&section, "stock.service.dc2.consul", "A", "NXDOMAIN", "ncache nxdomain");
    nobody_gets(&section, "www.example.org", "A", "REFUSED", "failure");
}

#[test]
fn every_program_understands_skydnss_names() {
    let section = section();
    let _fourmi = Setup::alone().more(&section.yaml()).start();
    everybody_gets(&section, "stock.skydns.local", "A", &["A 127.0.0.2", "A 127.0.0.3"]);
    everybody_gets(&section, "s1.stock.skydns.local", "A", &["A 127.0.0.2"]);
    everybody_gets(&section, "s1.stock.skydns.local", "SRV", &["SRV 10 100 8081 s1.stock.skydns.local."]);
    // Weights are shares of 100.
    let srv = ["SRV 10 25 8081 s1.stock.skydns.local.", "SRV 10 75 8082 s2.stock.skydns.local."];
    everybody_gets(&section, "stock.skydns.local", "SRV", &srv);
    everybody_gets(&section, "*.stock.skydns.local", "A", &["A 127.0.0.2", "A 127.0.0.3"]);
    everybody_gets(&section, "one.shop.skydns.local", "A", &["A 10.0.0.9"]);
    everybody_gets(&section, "one.shop.skydns.local", "TXT", &["TXT \"hello\""]);
    everybody_gets(&section, "mail.shop.skydns.local", "MX", &["MX 10 one.shop.skydns.local."]);
    let chain = ["A 10.0.0.9", "CNAME one.shop.skydns.local."];
    everybody_gets(&section, "mail.shop.skydns.local", "A", &chain);
    everybody_gets(&section, "9.0.0.10.in-addr.arpa", "PTR", &["PTR one.shop.skydns.local."]);
    nobody_gets(&section, "nobody.skydns.local", "A", "NXDOMAIN", "ncache nxdomain");
    nobody_gets(&section, "stock.skydns.local", "ANY", "REFUSED", "failure");
}

#[test]
fn many_instances_are_cut_by_udp_and_whole_by_tcp() {
    let instance = |i: u8| format!("{{name: stock, id: s{i}, address: 10.9.0.{i}, port: 8080}}");
    let section = (1..=100).fold(Section::new(), |section, i| section.service(instance(i)));
    let _fourmi = Setup::alone().more(&section.yaml()).start();
    // drill asks without EDNS: three, as Consul has it, and TC.
    let cut = Tool::Drill.asks(section.at, false, "stock.service.consul", "A");
    let flags = cut.said.lines().find(|l| l.starts_with(";; flags:")).unwrap_or_default();
    assert!(cut.answers.len() == 3 && flags.contains(" tc"), "{}", cut.said);
    for tool in Tool::ALL {
        let whole = tool.asks(section.at, true, "stock.service.consul", "A");
        assert_eq!(whole.answers.len(), 100, "{tool:?}: {}", whole.said);
    }
}

#[test]
fn several_addresses_answer_the_same() {
    let port = free_port();
    let addresses = ["127.0.0.1", "127.0.0.7", "[::1]"].map(|ip| format!("{ip}:{port}").parse().unwrap());
    let section = Section::at(addresses[0]).service("{name: stock, address: 127.0.0.2, port: 8081}");
    let yaml = section.yaml().replace(
        &format!("listen: \"{}\"", addresses[0]),
        &format!("listen: [\"{}\", \"{}\", \"{}\"]", addresses[0], addresses[1], addresses[2]),
    );
    let _fourmi = Setup::alone().more(&yaml).start();
    for at in addresses {
        everybody_gets(&Section::at(at), "stock.service.consul", "A", &["A 127.0.0.2"]);
    }
}

#[test]
fn answers_follow_a_reload() {
    let section = Section::new().service("{name: stock, address: 127.0.0.2, port: 8081}");
    let fourmi = Setup::alone().more(&section.yaml()).start();
    everybody_gets(&section, "stock.service.consul", "A", &["A 127.0.0.2"]);
    let other = Section::at(section.at)
        .dns("ttl: 7s")
        .service("{name: stock, address: 127.0.0.4, port: 8081}")
        .service("{name: mail, port: 25}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9}");
    section.becomes(&fourmi, &other);
    eventually("there is another service", || {
        Tool::Dig.asks(section.at, false, "mail.service.consul", "A").is(&["A 127.0.0.1"]).then_some(())
    });
    everybody_gets(&section, "stock.service.consul", "A", &["A 127.0.0.4"]);
    everybody_gets(&section, "one.shop.skydns.local", "A", &["A 10.0.0.9"]);
    eventually("answers may be kept for 7 s", || {
        (Tool::Dig.asks(section.at, false, "stock.service.consul", "A").ttls == [7]).then_some(())
    });
    section.becomes(&fourmi, &Section::at(section.at));
    eventually("nobody is left", || {
        (Tool::Dig.asks(section.at, false, "mail.service.consul", "A").status == "NXDOMAIN").then_some(())
    });
    nobody_gets(&section, "stock.service.consul", "A", "NXDOMAIN", "ncache nxdomain");
    nobody_gets(&section, "one.shop.skydns.local", "A", "NXDOMAIN", "ncache nxdomain");
}

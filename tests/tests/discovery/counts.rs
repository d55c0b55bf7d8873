//! What the metrics say adds up to what was asked and to who is there.

use super::{CHECK, has, with};
use fourmi_tests::dns::Tool;
use fourmi_tests::peers::printed;
use fourmi_tests::{Instance, Section};

#[test]
fn questions_are_counted_by_type_and_code() {
    let section = Section::new()
        .service("{name: stock, address: 127.0.0.2, port: 8081}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9, text: hello}");
    let fourmi = with(&section);
    let asked = [
        ("stock.service.consul", "A", "noerror", 3),
        ("nobody.service.consul", "A", "nxdomain", 2),
        ("www.example.org", "A", "refused", 4),
        ("stock.service.fourmi", "SRV", "noerror", 5),
        ("stock.service.consul", "AAAA", "noerror", 1),
        ("one.shop.skydns.local", "TXT", "noerror", 2),
        ("2.0.0.127.in-addr.arpa", "PTR", "noerror", 1),
        ("stock.service.consul", "ANY", "noerror", 2),
        ("stock.skydns.local", "ANY", "refused", 1),
    ];
    for (name, kind, _, times) in asked {
        for nth in 0..times {
            Tool::Kdig.asks(section.at, nth % 2 == 1, name, kind);
        }
    }
    for (_, kind, code, times) in asked {
        fourmi.counts("fourmi_dns_queries_total", &[("type", kind), ("rcode", code)], f64::from(times));
    }
    let all: i32 = asked.iter().map(|(.., times)| times).sum();
    fourmi.counts("fourmi_dns_queries_total", &[], f64::from(all));
}

/// dnsperf asks as fast as it is answered, from several sockets.
#[test]
fn many_questions_at_once_are_all_answered_and_counted() {
    let section = Section::new()
        .service("{name: stock, address: 127.0.0.2, port: 8081}")
        .record("one.shop.skydns.local", "{host: 10.0.0.9}");
    let fourmi = with(&section);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("questions");
    let questions = "stock.service.consul A\nstock.service.fourmi SRV\none.shop.skydns.local A\nnobody.consul A\n";
    std::fs::write(&file, questions).unwrap();
    let (port, rounds) = (section.at.port().to_string(), 2000);
    let (file, many) = (file.to_str().unwrap(), rounds.to_string());
    for mode in ["udp", "tcp"] {
        let said =
            printed("dnsperf", &["-s", "127.0.0.1", "-p", &port, "-m", mode, "-c", "4", "-d", file, "-n", &many]);
        let told = said.lines().filter(|l| ["Queries ", "Response codes"].iter().any(|k| l.trim().starts_with(k)));
        println!("{mode}: {}", told.map(str::trim).collect::<Vec<_>>().join("; "));
        assert!(said.contains("Queries lost:         0 (0.00%)"), "{said}");
        assert!(said.contains("NOERROR 6000 (75.00%), NXDOMAIN 2000 (25.00%)"), "{said}");
    }
    let both = f64::from(2 * rounds);
    for (kind, code, n) in [("A", "noerror", 2.0), ("SRV", "noerror", 1.0), ("A", "nxdomain", 1.0)] {
        fourmi.counts("fourmi_dns_queries_total", &[("type", kind), ("rcode", code)], n * both);
    }
}

#[test]
fn instances_are_counted_by_state() {
    let [one, two, three] = Instance::several(0);
    let section = Section::new().stock([&one, &two, &three], CHECK).service("{name: mail, port: 25}");
    let fourmi = with(&section);
    let states = |service: &str, passing: f64, warning: f64, critical: f64| {
        for (state, n) in [("passing", passing), ("warning", warning), ("critical", critical)] {
            fourmi.counts("fourmi_instances", &[("service", service), ("state", state)], n);
        }
    };
    has(&section, "stock.service.consul", &[&one, &two, &three]);
    states("stock", 3.0, 0.0, 0.0);
    states("mail", 1.0, 0.0, 0.0);
    one.feels(429);
    two.feels(404);
    states("stock", 1.0, 1.0, 1.0);
    // A service that is gone has no series any more.
    section.becomes(&fourmi, &Section::at(section.at).stock([&one], CHECK));
    states("stock", 0.0, 1.0, 0.0);
    fourmi_tests::until("mail has no series", || {
        !fourmi.metrics().values("fourmi_instances", "service").contains(&"mail".into())
    });
}

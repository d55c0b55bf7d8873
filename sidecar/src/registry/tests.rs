use super::*;
use serde_json::{Value, json};

fn settings(values: Value) -> Result<Settings, Vec<crate::section::Wrong>> {
    Settings::new(values, "host-1")
}

#[test]
fn the_section_is_understood() {
    let plain = settings(json!({})).unwrap();
    assert_eq!((plain.node.name.as_str(), plain.store, plain.dns.len()), ("host-1", Place::Memory, 0));
    assert!(plain.node.address.ip().is_some());
    let all = settings(json!({
        "node": "n1", "address": "10.0.0.1", "datacenter": "Eu", "store": {"embedded": {"path": "/r.db"}},
        "dns": {
            "listen": ["127.0.0.1:8600", "[::1]:8600"], "domains": [{"name": "Corp"}, {"name": "skydns.local"}],
            "ttl": {"secs": 5, "nanos": 0}, "recursors": ["10.0.0.2", "[fd00::53]:5353"], "amplification": 0,
        },
        "services": [
            {"name": "stock", "port": 25001, "tags": ["v1"], "check": [{"http": "/healthz"}]},
            {"name": "mail", "id": "m1", "address": "fd00::7", "port": 25,
             "check": [{"tcp": "25", "tls": true}, {"id": "own", "grpc": "g.example:50051/mail"}]},
        ],
        "records": {"1.stock.skydns.local": {"host": "10.0.0.9", "port": 80}},
    }))
    .unwrap();
    assert_eq!(all.store, Place::File("/r.db".into()));
    assert_eq!(*all.suffixes(), [".service.corp", ".service.eu.corp"]);
    assert_eq!((all.answers.ttls.service, all.answers.ttls.node, all.answers.amplification), (5, 5, None));
    let servers: Vec<String> = all.answers.recursors.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "[fd00::53]:5353"]);
    let probes: Vec<String> = all
        .services
        .iter()
        .flat_map(|(_, checks)| checks)
        .map(|c| format!("{} {:?}", c.definition.id, c.definition.probe))
        .collect();
    assert!(probes[0].starts_with("service:stock ") && probes[0].contains("\"http://10.0.0.1:25001/healthz\""));
    assert!(probes[1].starts_with("service:m1:1 ") && probes[1].contains("\"[fd00::7]:25\""), "{probes:?}");
    assert!(probes[2].starts_with("own ") && probes[2].contains("service: \"mail\""), "{probes:?}");
    assert!(all.services.iter().all(|(instance, _)| instance.transient));
    assert_eq!(all.records[0].1.port, 80);
}

#[test]
fn what_cannot_be_says_where() {
    let one = |check: Value| json!({"services": [{"name": "a", "check": [check]}]});
    for (values, key, says) in [
        (json!({"node": "no name"}), "node", "no name"),
        (json!({"address": "0.0.0.0"}), "address", "reached"),
        (json!({"dns": {"listen": ["here"]}}), "dns.listen", "here"),
        (json!({"dns": {"ttl": {"secs": 0, "nanos": 500_000_000}}}), "dns.ttl", "whole seconds"),
        (json!({"dns": {"recursors": ["dns.example"]}}), "dns.recursors", "dns.example"),
        (json!({"dns": {"zones": ["else.example"]}}), "dns", "else.example"),
        (json!({"services": [{"name": "a"}, {"name": "a"}]}), "services", "entry 2: the id `a`"),
        (one(json!({})), "services", "what is looked at"),
        (one(json!({"http": "/", "tcp": "80"})), "services", "several kinds"),
        (one(json!({"tcp": "nowhere"})), "services", "nowhere"),
        (one(json!({"http": "ftp://x"})), "services", "ftp://x"),
    ] {
        let [wrong] = &settings(values).unwrap_err()[..] else { panic!("{key}") };
        assert_eq!(wrong.key, Some(key), "{wrong:?}");
        assert!(wrong.message.contains(says), "{wrong:?}");
    }
}

#[test]
fn all_that_cannot_be_is_said_at_once() {
    let all = settings(json!({
        "node": "no name", "dns": {"listen": ["here"]}, "join": {"to": ["ftp://x"]}, "store": {"memory": {}},
        "http": {"listen": ["there"]}, "services": [{"name": "a b"}, {"name": "c", "meta": {"scheme": "tcp"}}, {"name": "d"}],
        "entries": {"path": "/none"},
    }));
    let keys: Vec<_> = all.unwrap_err().iter().filter_map(|wrong| wrong.key).collect();
    assert_eq!(keys, ["node", "dns.listen", "store", "join", "http.listen", "services", "services", "entries"]);
    let both = settings(json!({"join": {"to": ["http://r:8500"]}, "http": {"listen": ["127.0.0.1:1"]}})).unwrap();
    assert_eq!((both.store, both.join.is_some(), both.http.len()), (Place::Memory, true, 1), "nothing is kept here");
}

use super::check::Given;
use super::*;
use crate::{Probe, State};
use serde_json::{Value, json};
use std::time::Duration;

fn read(value: &Value) -> Given {
    check(&Fields::of(value, &[CHECK]).unwrap()).unwrap()
}

#[test]
fn a_ping_is_by_tls_unless_told_otherwise() {
    let tls = |value: Value| match read(&value).probe {
        Probe::H2Ping { tls, .. } => tls,
        other => panic!("{other:?}"),
    };
    assert!(tls(json!({"H2PING": "a:1", "Interval": "10s"})));
    assert!(!tls(json!({"H2PING": "a:1", "Interval": "10s", "H2PingUseTLS": false})));
    assert!(!tls(json!({"H2Ping": "a:1", "Interval": "10s", "h2ping_use_tls": false})));
}

#[test]
fn the_documented_key_counts() {
    let after = |value: Value| read(&value).timing.deregister_after;
    let documented = json!({
        "TTL": "10s", "deregister_critical_service_after": "3h", "DeregisterCriticalServiceAfter": "2h",
    });
    assert_eq!(after(documented), Some(Duration::from_secs(7200)));
    let other = json!({"ttl": "10s", "deregister_critical_service_after": "3h"});
    assert_eq!(after(other), Some(Duration::from_secs(10_800)));
    assert_eq!(after(json!({"ttl": "10s", "DeregisterCriticalServiceAfter": "-3h"})), None);
}

#[test]
fn of_several_kinds_the_first_of_consuls_order_counts() {
    let all = json!({
        "Interval": "10s", "HTTP": "http://a/", "TCP": "a:1", "UDP": "a:1", "GRPC": "a:1/svc", "H2PING": "a:1",
        "DisableRedirects": true, "Header": {"Host": ["b"]},
    });
    let grpc = Probe::Grpc { address: "a:1".into(), service: "svc".into(), tls: false };
    assert_eq!(read(&all).probe, grpc);
    let http = json!({
        "Interval": "10s", "HTTP": "http://a/", "TCP": "a:1", "Method": "HEAD", "Body": "x", "disable_redirects": true,
        "header": {"Host": ["b"], "X": ["1", "2"]},
    });
    let headers = [("Host", "b"), ("X", "1"), ("X", "2")].map(|(name, value)| (name.into(), value.into()));
    let (url, method, body) = ("http://a/".into(), "HEAD".into(), "x".into());
    let expected = Probe::Http { url, method, headers: headers.into(), body, redirects: false };
    assert_eq!(read(&http).probe, expected);
    for method in ["POST", "put", "DELETE"] {
        let order = json!({"Interval": "10s", "HTTP": "http://a/", "Method": method});
        assert!(check(&Fields::of(&order, &[CHECK]).unwrap()).is_err(), "{method}");
    }
    assert_eq!(read(&json!({"Interval": "10s", "UDP": "a:1"})).probe, Probe::Udp { address: "a:1".into() });
}

#[test]
fn a_check_that_is_registered_again_stays_as_it_was() {
    let given = read(&json!({"CheckID": "c", "Name": "c", "TTL": "10s", "Status": "passing"}));
    let first = given.clone().on("n1", None, None);
    assert_eq!(first.state, State::Passing);
    let again = given.on("n1", None, Some(&first.state(State::Warning)));
    assert_eq!(again.state, State::Warning);
}

#[test]
fn kinds_that_are_not_done_here_are_refused_with_a_reason() {
    let refused = |value: Value| check(&Fields::of(&value, &[CHECK]).unwrap()).unwrap_err().text;
    let docker = json!({"DockerContainerID": "a", "Shell": "/bin/sh", "Args": ["x"], "Interval": "10s"});
    assert!(refused(docker).starts_with("Scripts are disabled on this agent"));
    assert!(refused(json!({"OSService": "a", "Interval": "10s"})).contains("OSService"));
}

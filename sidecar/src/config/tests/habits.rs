//! What people write who come from elsewhere, and what is accepted and does nothing.

use crate::config::{Problem, parse};

fn problems(text: &str) -> Vec<Problem> {
    parse("fourmi.yaml", text, &[]).map_or_else(|report| report.problems, |loaded| loaded.warnings)
}

fn service(keys: &str) -> String {
    format!("outbound: [{{listen: 'http://127.0.0.1:1', services: {{s: {{{keys}}}}}}}]\n")
}

/// One problem whose message and fix have the words.
fn one(text: &str, code: &str, words: &str, wrong: &mut Vec<String>) {
    let found = problems(text);
    let said = |p: &Problem| format!("{} {} / {}", p.code, p.message, p.fix);
    if !matches!(&found[..], [p] if p.code == code && p.line > 0 && said(p).contains(words)) {
        wrong.push(format!("{text}  wanted {code} {words}, got {:?}", found.iter().map(said).collect::<Vec<_>>()));
    }
}

#[test]
fn keys_and_words_of_others_have_a_right_answer() {
    let mut wrong = Vec::new();
    let both = "belongs to `worker` and to `outbound[].services.NAME`";
    for (text, code, words) in [
        ("tls: {a: b}", "misplaced-key", "under `worker`"),
        ("retries: 2", "misplaced-key", both),
        ("healthchecks: {}", "misplaced-key", both),
        ("algorithm: latency", "misplaced-key", both),
        ("worker: {address: http://a, passive: {}}", "misplaced-key", "belongs to `healthchecks`"),
        ("worker: {address: http://a, env: x}", "misplaced-key", "belongs to the top"),
        ("limits: {answer: 1s}", "misplaced-key", "belongs to `timeouts`"),
        ("upstreams: []", "unknown-key", "a Kong file goes under `gateway:`"),
        ("services: {a: b}", "unknown-key", "`outbound[].services`"),
        ("timeouts: {read: 1s}", "unknown-key", "write `answer`"),
        ("discovery: {node_name: n1}", "unknown-key", "write `node`"),
        ("discovery: {ports: {dns: 53}}", "unknown-key", "write `dns: {listen:"),
        ("discovery: {client_addr: 0.0.0.0}", "unknown-key", "`http: {listen:"),
        ("discovery: {recursors: [1.1.1.1]}", "unknown-key", "write `dns: {recursors:"),
        ("discovery: {acl: {enabled: true}}", "unknown-key", "default: deny"),
        ("discovery: {services: [{name: a}]}", "no-port", "has no `port`"),
        ("discovery: {services: [{name: a, port: 1, meta: {scheme: redis}}]}", "bad-value", "write one of http, h2c"),
        ("discovery: {services: [{name: a, port: 1, address: 10.0.0.300}]}", "bad-value", "neither an IP address"),
        ("timeout: {}", "unknown-key", "did you mean `timeouts`"),
        ("worker: {address: http://a, weight: 5}", "unknown-key", "address: [{url:"),
        ("worker: {address: http://a, algorithm: leastconn}", "bad-value", "write least-connections"),
        ("worker: {address: http://a, algorithm: least_conn}", "bad-value", "write least-connections"),
        ("worker: {address: http://a, algorithm: random}", "bad-value", "write latency"),
        ("worker: {address: http://a, algorithm: ring_hash}", "bad-value", "write consistent-hashing"),
        ("worker: {address: http://a, hash_on: uri_capture}", "not-supported", "`uri_capture` is not supported yet"),
        ("worker: {address: http://a, retries: off}", "wrong-type", "write 0: that is off"),
        ("worker: {address: http://a, retries: [1]}", "wrong-type", "must be a whole number"),
        ("worker: {address: http://a, hedge: 0s}", "bad-value", "write `off`"),
        ("worker: {address: http://a, retries: {budget: 50%}}", "bad-value", "write 0.5"),
        ("worker: 'http://a:1,http://b:2'", "bad-value", "write a list: [\"http://a:1\", \"http://b:2\"]"),
    ] {
        one(text, code, words, &mut wrong);
    }
    for (key, words) in [
        ("outlier_detection: {}", "healthchecks.passive"),
        ("lb_policy: x", "write `algorithm`"),
        ("balance: x", "write `algorithm`"),
        ("targets: []", "write `address: http://HOST:PORT`"),
        ("host: a", "write `address: http://HOST:PORT`"),
        ("port: 1", "write `address: http://HOST:PORT`"),
        ("url: http://a", "write `address: http://HOST:PORT`"),
    ] {
        one(&service(&format!("address: http://a, {key}")), "unknown-key", words, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_does_nothing_is_told() {
    let mut wrong = Vec::new();
    let ask = "healthy: {interval: 1, successes: 1}";
    for (keys, words) in [
        ("address: http://a, healthchecks: {active: {healthy: {interval: 1}}}", "takes nothing out"),
        (&format!("address: https://a, healthchecks: {{active: {{{ask}}}}}"), "`type: https`"),
        (&format!("address: http://a, healthchecks: {{active: {{type: https, {ask}}}}}"), "`type: http`"),
        ("address: http://_a._tcp.b:80", "remove the port"),
        ("address: [http://a, http://b, 'http://a:80']", "twice"),
        ("address: [{url: http://a, weight: 0}, {url: http://b, weight: 0}]", "every weight is 0"),
        ("address: http://a, healthchecks: {threshold: 100}", "write 99 or less"),
        ("address: http://a, hash_on: ip, slow_start: 1s", "no effect with `hash_on`"),
    ] {
        one(&service(keys), "no-effect", words, &mut wrong);
        let worker = format!("worker: {{{keys}}}\n");
        one(&worker, "no-effect", words, &mut wrong);
    }
    one("outbound: [{listen: http://0.0.0.0:1}]", "open-proxy", "anywhere", &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for fine in [
        "address: [http://a, 'http://a:81', {url: http://b, weight: 0}], slow_start: 1s",
        "address: http://_a._tcp.b, healthchecks: {threshold: 99}",
        &format!("address: https://a, healthchecks: {{active: {{type: https, {ask}}}}}"),
        &format!("address: [https://a, http://b], healthchecks: {{active: {{type: tcp, {ask}}}}}"),
    ] {
        assert_eq!(problems(&service(fine)), []);
    }
}

//! Requests and rules that want to be expensive. A matcher that backtracks would not come to an end here.

use super::super::compile::VALUES_MAX;
use super::{Request, rule, table};
use crate::route::{Rule, Table};

#[test]
fn expressions_are_linear() {
    let table =
        table(r"A paths=~/(a+)+$; B paths=~/(a|aa)+$; C paths=~/(?:.*.*.*)*x$; D paths=/ order=1; E h.k=~*(a*)*b$");
    let mut request = Request::read("GET - /");
    request.path = [b"/".as_slice(), &b"a".repeat(16 << 10), b"!"].concat();
    request.headers.append("k", "a".repeat(16 << 10));
    let found = table.find(&request.asked()).unwrap();
    assert_eq!(table.rule(found.rule).unwrap().name, "D");
}

#[test]
fn long_paths_and_hosts() {
    let prefixes: Vec<String> = (1..200).map(|n| format!("/{}", "a".repeat(n))).collect();
    let mut rules = vec![Rule { paths: prefixes, ..Rule::default() }];
    rules.push(rule(1, "B hosts=*.a.a hosts=a.*"));
    let table = Table::new(rules).unwrap();
    let mut request = Request::read("GET - /");
    request.path = b"/".iter().chain(&b"a".repeat(1 << 20)).copied().collect();
    request.host = "a.".repeat(1 << 16);
    let mut steps = 0;
    let (_, matched) = table.look(&request.asked(), &mut steps).unwrap();
    assert_eq!(matched, Some(200));
    assert!(steps < 500, "{steps}");
    for path in [&b""[..], b"*", b"\0", b"\xff\xfe", b"//", b"/.."] {
        request.path = path.to_vec();
        assert!(table.find(&request.asked()).is_none_or(|f| f.rule == 1));
    }
}

#[test]
fn a_header_bomb_is_not_read_to_its_end() {
    let rules: Vec<Rule> = (0..2_000).map(|n| rule(n, &format!("A h.k=v{n} methods=POST"))).collect();
    let table = Table::new(rules).unwrap();
    let mut request = Request::read("GET - /");
    for n in 0..2_000 {
        request.headers.append("k", format!("v{n}"));
    }
    let mut steps = 0;
    assert!(table.look(&request.asked(), &mut steps).is_none());
    assert!(steps as usize <= 2 * VALUES_MAX + 10, "{steps}");
}

#[test]
fn hosts_times_paths_have_a_limit() {
    let hosts: Vec<String> = (0..3_000).map(|n| format!("h{n}.test")).collect();
    let paths: Vec<String> = (0..3_000).map(|n| format!("/{n}")).collect();
    let wrong = Table::new(vec![Rule { hosts, paths, ..Rule::default() }]).err().unwrap();
    assert!(wrong[0].message.starts_with("hosts times paths"), "{wrong:?}");
}

//! Random tables and requests: the index has to answer what the literal reading answers.

use super::{Request, naive};
use crate::route::{Found, Rule, Scheme, Table};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const HOSTS: &[&str] = &["a.x", "b.x", "a.x:80", "*.x", "a.*", "*.x:81", "a.*:80", "c.a.x", "*.a.x", "x.*"];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/ab",
    "/a/b",
    "/a/b/c",
    "/abc",
    "~/a",
    "~/a/\\d+",
    "~/(a|b)/c",
    "~/.*",
    "~/a/b$",
    "~/[ab]+",
    "~/a/b|/b/a",
    "~/a(?:/b)?",
];
const METHODS: &[&str] = &["GET", "POST", "PUT"];
const SNIS: &[&str] = &["s.x", "t.x", "*.x", "s.*"];
const VALUES: &[&str] = &["one", "Two", "~*^t", "three"];

fn some(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let filled = subsequence(from, 1..=most).prop_shuffle();
    prop_oneof![1 => Just(Vec::new()), 2 => filled.prop_map(|l| l.into_iter().map(str::to_owned).collect())]
}

fn one_rule() -> impl Strategy<Value = Rule> {
    let headers = prop_oneof![
        2 => Just(Vec::new()),
        1 => some(VALUES, 2).prop_map(|v| vec![("k".to_owned(), v)]),
        1 => (some(VALUES, 2), some(VALUES, 1)).prop_map(|(v, w)| vec![("k".to_owned(), v), ("l".to_owned(), w)]),
    ];
    (some(HOSTS, 3), some(PATHS, 4), some(METHODS, 2), headers, some(SNIS, 2), -1..2_i32, 0..3_u128).prop_map(
        |(hosts, paths, methods, headers, snis, regex_priority, order)| {
            let headers: Vec<_> = headers.into_iter().filter(|(_, v): &(_, Vec<_>)| !v.is_empty()).collect();
            let protocols = vec![Scheme::Http, Scheme::Https];
            Rule { protocols, hosts, paths, methods, headers, snis, regex_priority, order, ..Rule::default() }
        },
    )
}

fn one_request() -> impl Strategy<Value = String> {
    (
        select(&["", "https "][..]),
        select(METHODS),
        select(&["a.x", "b.x", "c.a.x", "a.y", "x.z", "-", "q"][..]),
        select(&["", ":80", ":81"][..]),
        vec(select(&["/a", "/b", "/c", "b", "/7", "/"][..]), 1..4),
        select(&["", " sni=s.x", " sni=s.y", " sni=t.x", " sni=q"][..]),
        select(&["", " h.k=ONE", " h.k=two", " h.k=three h.k=one", " h.k=one h.l=two"][..]),
    )
        .prop_map(|(scheme, method, host, port, path, sni, headers)| {
            format!("{scheme}{method} {host}{port} /{}{sni}{headers}", path.concat())
        })
}

/// What asks anything at all; the others are refused.
fn meant(rules: Vec<Rule>) -> Vec<Rule> {
    let lists = |r: &Rule| r.hosts.len() + r.paths.len() + r.headers.len() + r.methods.len() + r.snis.len();
    rules.into_iter().filter(|r| lists(r) > 0).collect()
}

fn compare(rules: &[Rule], requests: &[String]) -> Result<(), TestCaseError> {
    let table = Table::new(rules.to_vec()).unwrap();
    for text in requests {
        let request = Request::read(text);
        let place = |f: &Found<'_>| {
            let path = f.path.map(|p| rules[f.rule].paths.iter().position(|q| q == p).unwrap());
            (f.rule, path, f.matched)
        };
        let expected = naive::all(rules, &request);
        let asked = request.asked();
        prop_assert_eq!(table.find(&asked).as_ref().map(place), expected.first().copied(), "{}", text);
        prop_assert_eq!(table.all(&asked).iter().map(place).collect::<Vec<_>>(), expected, "{}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_table_finds_what_a_scan_finds(rules in vec(one_rule(), 1..40), requests in vec(one_request(), 40)) {
        compare(&meant(rules), &requests)?;
    }

    /// All at one host and one path, where the lists are sorted further.
    #[test]
    fn also_where_many_lie_together(rules in vec(one_rule(), 20..60), requests in vec(one_request(), 40)) {
        let mut rules = rules;
        for rule in &mut rules {
            rule.hosts.truncate(usize::from(rule.order == 0));
            rule.paths = vec!["/".to_owned()];
        }
        compare(&rules, &requests)?;
    }
}

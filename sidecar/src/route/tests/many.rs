//! Ten thousand rules are found in about as many steps as ten.

use super::{Request, rule};
use crate::route::{Rule, Table};

/// How one rule of many looks, and the request that it takes.
const SHAPES: &[(&str, &str)] = &[
    ("A hosts=h#.test", "GET h#.test /any/path"),
    ("A paths=/service#/orders", "GET - /service#/orders/7"),
    ("A hosts=h#.test paths=/", "GET h#.test /x"),
    ("A hosts=one.test paths=/service#/", "GET one.test /service#/x"),
    ("A hosts=*.h#.test", "GET a.h#.test /"),
    ("A hosts=h#.*", "GET h#.test /"),
    ("A hosts=h.test:80 h.version=v# paths=/", "GET h.test:80 / h.version=V#"),
    ("A h.accept=json h.version=v# methods=GET paths=/", "GET - / h.version=v# h.accept=json"),
    ("A snis=s#.test paths=/", "https GET - / sni=s#.test"),
    ("A snis=s#.test paths=/", "GET - / sni=s#.test"),
    (r"A paths=~/service#/\d+", "GET - /service#/17"),
    (r"A methods=GET,POST paths=~/service#/(?<id>\d+)/x", "POST - /service#/17/x"),
];

fn many(shape: &str, count: usize) -> Table {
    // Expressions are compiled without optimisation here; the steps do not depend on how many there are.
    let rules: Vec<Rule> = (0..count).map(|n| rule(n, &shape.replace('#', &format!("{n:05}")))).collect();
    Table::new(rules).unwrap()
}

fn steps(table: &Table, request: &Request) -> u32 {
    let mut steps = 0;
    assert!(table.look(&request.asked(), &mut steps).is_some());
    steps
}

#[test]
fn ten_thousand_cost_as_much_as_ten() {
    for (shape, request) in SHAPES {
        let (few, lots) = (many(shape, 10), many(shape, 10_000));
        for (n, target) in [(0, &few), (9, &few), (0, &lots), (9, &lots), (5_000, &lots), (9_999, &lots)] {
            let request = Request::read(&request.replace('#', &format!("{n:05}")));
            let found = target.find(&request.asked()).unwrap();
            // Without TLS no server name is asked, and the first rule takes all.
            let expected = if shape.contains("snis") && !request.scheme.tls() { 0 } else { n };
            assert_eq!(found.target, expected, "{shape}");
            let took = steps(target, &request);
            // A tree of five digits is at most five nodes deeper than one of one.
            assert!(took <= 20, "{shape}: {took} steps for rule {n}");
        }
        let request = Request::read("GET nowhere /nothing");
        let mut steps = 0;
        lots.look(&request.asked(), &mut steps);
        assert!(steps <= 20, "{shape}: {steps} steps for nothing");
    }
}

#[test]
fn finding_allocates_nothing() {
    let table = many(r"A hosts=h#.test paths=~/a/\d+,/b h.version=v#,~*^w", 100);
    for (text, expected) in [
        ("GET h00042.test /a/77/b h.version=v00042", true),
        ("GET h00042.test /b/77/b h.version=W00042", true),
        ("GET h00042.test /c h.version=v00042", false),
    ] {
        let request = Request::read(text);
        // Expressions take their working memory once.
        table.find(&request.asked());
        let mut found = false;
        let counted = allocation_counter::measure(|| found = table.find(&request.asked()).is_some());
        assert_eq!((found, counted.count_total), (expected, 0), "{text}");
    }
}

#[test]
fn a_clone_answers_alike_on_another_thread() {
    let table = many(r"A paths=~/a#/(\d+)", 20);
    let clone = table.clone();
    let other = std::thread::spawn(move || {
        let request = Request::read("GET - /a00007/12");
        clone.find(&request.asked()).map(|f| f.target)
    });
    let request = Request::read("GET - /a00008/12");
    assert_eq!(table.find(&request.asked()).map(|f| f.target), Some(8));
    assert_eq!(other.join().unwrap(), Some(7));
}

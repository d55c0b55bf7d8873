//! The path that goes up, row by row.

use super::{Request, rule, table};
use crate::route::{PathHandling, forwarded_prefix, upstream_path};

type Row = (&'static str, &'static str, &'static [bool], &'static str, &'static str, &'static str);

/// Service path, route path (empty for none), strip, request, `V0`, `V1` (`=` where it is the same).
const ROWS: &[Row] = &[
    ("/", "/", &[true, false], "/route/req", "/route/req", "="),
    ("/", "/route", &[false], "/routereq", "/routereq", "="),
    ("/", "/route", &[true], "/route", "/", "="),
    ("/", "/route", &[true], "/route/", "/", "="),
    ("/", "/route", &[true], "/routereq", "/req", "="),
    ("/", "/route/", &[true], "/route/req", "/req", "="),
    ("/srv", "/rou", &[false], "/roureq", "/srv/roureq", "/srvroureq"),
    ("/srv", "/rou", &[true], "/roureq", "/srv/req", "/srvreq"),
    ("/srv/", "/rou", &[false], "/rou", "/srv/rou", "/srv/rou"),
    ("/srv/", "/rou", &[true], "/rou", "/srv", "/srv/"),
    ("/service", "/", &[true, false], "/", "/service", "="),
    ("/service", "/", &[true, false], "/route", "/service/route", "/serviceroute"),
    ("/service", "/route", &[true], "/route", "/service", "="),
    ("/service", "/route", &[true], "/route/", "/service/", "="),
    ("/service", "/route", &[true], "/routereq", "/service/req", "/servicereq"),
    ("/service", "/route/", &[true], "/route/", "/service/", "/service"),
    ("/service", "/route/", &[true], "/route/req", "/service/req", "/servicereq"),
    ("/service/", "/", &[true, false], "/", "/service/", "="),
    ("/service/", "/route", &[true], "/route", "/service", "/service/"),
    ("/service/", "/route", &[true], "/route/", "/service/", "="),
    ("/service/", "/route/", &[false], "/route/req", "/service/route/req", "="),
    ("/service", "", &[true, false], "/route/", "/service/route/", "/serviceroute/"),
    ("/service/", "", &[true, false], "/", "/service/", "="),
    ("/service", "/route", &[true], "/route./req", "/service/req", "/servicereq"),
    ("/service", "/route", &[true], "/route%2E%2E/req", "/service/req", "/servicereq"),
    ("/service", "/route", &[false], "/route%2E/req", "/service/route./req", "/serviceroute./req"),
    // Beyond the table.
    ("", "/route", &[true], "/route", "/", "="),
    ("", "/route", &[false], "/route", "/route", "="),
    ("/s", "", &[true, false], "*", "*", "="),
    ("/", "", &[true, false], "/a%20b/%C3%A9", "/a%20b/%C3%A9", "="),
    ("/", "/a b", &[true], "/a%20b/%C3%A9%2F", "/%C3%A9%2F", "="),
    ("/s", "/route", &[true], "/route..", "/s", "="),
    ("/s", "/route", &[true], "/route.", "/s", "="),
    ("/s", "/route", &[true], "/route...", "/s/...", "/s..."),
    ("/s", r"~/users/\d+/profile", &[true], "/users/123/profile/hello/world", "/s/hello/world", "="),
    ("/", r"~/users/(\d+)/profile", &[true], "/users/123/profile/hello/world", "/hello/world", "="),
    ("/", r"~/users/(\d+)/profile", &[false], "/users/123/profile/x", "/users/123/profile/x", "="),
];

#[test]
#[allow(clippy::print_stdout, reason = "says how many rows pass")]
fn the_path_that_goes_up() {
    let mut failed = Vec::new();
    let mut total = 0;
    for (service, route, strips, path, v0, v1) in ROWS {
        for (strip, handling, expected) in strips
            .iter()
            .flat_map(|s| [(*s, PathHandling::V0, *v0), (*s, PathHandling::V1, if *v1 == "=" { *v0 } else { *v1 })])
        {
            let mut rule = rule(0, "A hosts=h");
            rule.paths = [*route].iter().filter(|r| !r.is_empty()).map(|r| (*r).to_owned()).collect();
            let table = crate::route::Table::new(vec![rule]).unwrap();
            let request = Request::read(&format!("GET h {path}"));
            let matched = table.find(&request.asked()).unwrap().matched;
            let found = upstream_path(service, matched, strip, handling, &request.path);
            total += 1;
            if found != expected {
                failed.push(format!("{service} {route} {strip} {path} {handling:?}: {found} instead of {expected}"));
            }
        }
    }
    println!("{} of {total} rows pass", total - failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_prefix_that_was_cut() {
    for (rules, path, strip, expected) in [
        (r"A paths=~/users/\d+/profile", "/users/123/profile/hello", true, Some("/users/123/profile")),
        (r"A paths=~/users/\d+/profile", "/users/123/profile/hello", false, None),
        ("A paths=/", "/a", true, None),
        ("A hosts=h", "/a", true, None),
        ("A paths=/é", "/%C3%A9/x", true, Some("/%C3%A9")),
    ] {
        let table = table(rules);
        let request = Request::read(&format!("GET h {path}"));
        let matched = table.find(&request.asked()).unwrap().matched;
        assert_eq!(forwarded_prefix(matched, strip, &request.path).as_deref(), expected, "{rules} {path}");
    }
}

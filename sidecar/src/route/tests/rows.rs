//! Which rule wins, row by row, as users of Kong know it.

use super::{Request, rules, table};
use crate::codec::normalize;
use crate::route::{Mismatch, Rule, Scheme, Table};

/// Rules, request, and the name of the rule that wins (`-` for none).
const ROWS: &[(&str, &str, &str)] = &[
    ("A hosts=h.test", "GET inexistent /", "-"),
    ("A hosts=h.test", "GET h.test /", "A"),
    ("A hosts=h.test", "https GET h.test /", "A"),
    // Methods.
    ("A methods=POST,PUT paths=/post,/put", "POST - /post", "A"),
    ("A methods=POST,PUT paths=/post,/put", "PUT - /put", "A"),
    ("A methods=POST,PUT paths=/post,/put", "DELETE - /post", "-"),
    ("A methods=GET; B paths=/example", "GET - /example/status/200", "B"),
    ("A hosts=d2.org; B methods=TRACE", "TRACE d2.org /", "A"),
    // Ports.
    ("A hosts=d.org", "GET d.org:80 /", "A"),
    ("A hosts=d.org", "GET d.org:4711 /", "A"),
    ("A hosts=d.org:321 order=2; B hosts=d.org order=1", "GET d.org:321 /", "A"),
    ("A hosts=d.org:321 order=2; B hosts=d.org order=1", "GET d.org:322 /", "B"),
    ("A hosts=d3.org:321", "GET d3.org:123 /", "-"),
    // Prefixes.
    ("A paths=/my-route", "GET - /my-route/some/path", "A"),
    ("A paths=/my-route", "GET - /my-routeX", "A"),
    ("A paths=/my-route", "GET - /my-rout", "-"),
    ("A paths=/my-route/hello; B paths=/my-route", "GET - /my-route/hello/world", "A"),
    ("A paths=/my-route/hello; B paths=/my-route", "GET - /my-route/world", "B"),
    ("A methods=GET paths=/my-route; B methods=GET paths=/my-route/hello", "GET - /my-route/hello", "B"),
    (
        "A hosts=example.com paths=/my-route; B hosts=example.com paths=/my-route/hello; \
         C hosts=example.net paths=/my-route/hello/world",
        "GET example.com /my-route/hello/world",
        "B",
    ),
    ("A paths=/something/my-route; B hosts=example.com paths=/my-route", "GET example.com /something/my-route", "A"),
    ("A hosts=host1 paths=/v1/path; B hosts=host2 paths=/", "GET host2 /v1/path", "B"),
    ("A paths=/a,/bbbbbbb; B paths=/a/bb", "GET - /a/bb/foobar", "B"),
    ("A paths=/", "GET - /foobar/baz", "A"),
    ("A paths=/plain/a.b.c", "GET - /plain/aab.c", "-"),
    ("A paths=/a; B paths=/b/c", "GET - /a/../b//c", "B"),
    ("A paths=/a", "GET - /a/../b//c", "-"),
    ("A paths=/a", "GET - /%61", "A"),
    ("A paths=/a%2Fb", "GET - /a%2fb", "A"),
    ("A paths=/a%2Fb", "GET - /a/b", "-"),
    ("A paths=/é", "GET - /%C3%A9t%C3%A9", "A"),
    // Expressions.
    (r"A paths=~/users/\d+/profile", "GET - /users/123/profile", "A"),
    (r"A paths=/route/persons; B paths=~/route/persons/\d+/profile", "GET - /route/persons/123/profile", "B"),
    (r"A paths=/route/persons; B paths=~/route/persons/\d+/profile", "GET - /route/persons/x/profile", "A"),
    ("A paths=/route/fixture; B paths=~/route/(fixture)", "GET - /route/fixture", "B"),
    (
        "A hosts=route.com paths=/pat; B hosts=route.com paths=/path methods=POST; C hosts=route.com paths=~/(path)",
        "GET route.com /path",
        "C",
    ),
    ("A paths=~/prefix/[0-9]+", "GET - /extra/prefix/123", "-"),
    (
        r"A methods=GET paths=~/users/\d+/profile; B methods=POST paths=~/users/\d*/profile",
        "POST - /users/1/profile",
        "B",
    ),
    ("A hosts=d paths=~/some/thing/else,/foo; B hosts=d paths=/foo/bar", "GET d /foo/bar", "B"),
    ("A hosts=d paths=~/some/thing/else,/foo; B hosts=d paths=/foo/bar", "GET d /some/thing/else", "A"),
    ("A hosts=h paths=/ priority=5; B hosts=h paths=/v1", "GET h /v1", "B"),
    ("A paths=~/a.*; B paths=~/ab priority=10", "GET - /ab", "B"),
    ("A paths=~/a.* priority=10; B paths=~/ab", "GET - /ab", "A"),
    ("A paths=~/regex-reserved%2Fabc", "GET - /regex-reserved%2Fabc", "A"),
    ("A paths=~/regex-reserved%2Fabc", "GET - /regex-reserved/abc", "-"),
    ("A paths=~/Case", "GET - /case", "-"),
    // What a disabled service leaves: its rules are not in the table.
    ("B paths=/", "GET - /x", "B"),
    // Wildcards.
    ("A hosts=*.route.com; B hosts=route.*", "GET foo.route.com /", "A"),
    ("A hosts=*.route.com; B hosts=route.*", "GET route.org /", "B"),
    ("A hosts=*.route.com; B hosts=route.*", "GET foo.route.com:123 /", "A"),
    ("A hosts=*.route.com; B hosts=route.*", "GET route.org:123 /", "B"),
    ("A hosts=*.route.com; B hosts=route.*", "GET route.com.x.y /", "B"),
    ("A hosts=*.route.com", "GET route.com /", "-"),
    ("A hosts=*.route.com; C hosts=*.route.net:123; D hosts=route.*:123", "GET foo.route.net:456 /", "-"),
    ("A hosts=*.route.com; B hosts=route.*; D hosts=route.*:123 order=1", "GET route.org:123 /", "D"),
    ("A hosts=plain.route.com; B hosts=*.route.com", "GET plain.route.com /", "A"),
    ("A hosts=plain.route.com; B hosts=*.route.com", "GET foo.route.com /", "B"),
    ("A hosts=*.route.com paths=/path1; B hosts=plain.route.com paths=/path2", "GET plain.route.com /path1", "A"),
    ("A hosts=route.*; B hosts=route.*:80,route.com.* order=1", "GET route.org:80 /", "B"),
    ("A methods=GET; B hosts=domain.* order=1", "GET domain.com /", "B"),
    // A wildcard beside plain hosts takes the precedence of plain hosts away.
    ("A hosts=a.test,*.b.test; B hosts=a.test", "GET a.test /", "B"),
    // Headers.
    (
        "A h.version=v1,v2 h.user_agent=foo,bar; B h.version=v1,v2 h.user_agent=foo,bar h.location=east,west",
        "GET - / h.version=v1 h.user-agent=bar h.location=east",
        "B",
    ),
    (
        "A h.version=v1,v2 h.user_agent=foo,bar; B h.version=v1,v2 h.user_agent=foo,bar h.location=east,west",
        "GET - / h.version=v1 h.user-agent=bar h.location=north",
        "A",
    ),
    ("A h.user_agent=BAZ", "GET - / h.user-agent=baz", "A"),
    ("A h.USER_AGENT=foo", "GET - / h.user-agent=FOO", "A"),
    ("A h.user-agent=foo", "GET - / h.user_agent=foo", "A"),
    ("A hosts=h h.version=v1", "GET h /", "-"),
    ("A hosts=h h.version=v1", "GET h / h.version=v2 h.version=v1", "A"),
    ("A h.version=~*^v[0-9]$", "GET - / h.version=V7", "A"),
    ("A h.version=~*^v[0-9]$", "GET - / h.version=v77", "-"),
    ("A h.version=x,~*7", "GET - / h.version=v77", "A"),
    ("A h.a=1 h.b=1 paths=/x; B h.a=1 paths=/x/longer", "GET - /x/longer h.a=1 h.b=1", "A"),
    // Server names.
    ("A snis=*.sni.test", "https GET - / sni=foo.bar.sni.test", "A"),
    ("A snis=*.sni.test", "https GET - / sni=foo.sni.test.bar", "-"),
    ("A snis=*.sni.test", "https GET - /", "-"),
    ("A snis=a.test.", "https GET - / sni=a.test", "A"),
    ("A snis=a.test", "GET - /", "A"),
    ("A snis=a.test protocols=grpcs", "grpcs POST - /s/m sni=b.test", "-"),
    ("A snis=a.test paths=/; B paths=/long", "https GET - /long sni=a.test", "A"),
    // Kinds before all, then plain hosts, then headers, then expressions.
    ("A hosts=*.t paths=/; B hosts=x.t", "GET x.t /", "A"),
    ("A hosts=x.t h.a=1; B paths=~/y h.a=1 h.b=1", "GET x.t /y h.a=1 h.b=1", "A"),
    ("A paths=~/.* h.a=1; B paths=/y h.a=1 h.b=1", "GET - /y h.a=1 h.b=1", "B"),
    // Equal rank: the higher order, then the place in the file.
    ("A paths=/x order=1; B paths=/x order=2", "GET - /x", "B"),
    ("A paths=/x; B paths=/x", "GET - /x", "A"),
];

/// Rule, request, and what each group matched.
type GroupRow = (&'static str, &'static str, &'static [(&'static str, Option<&'static str>)]);

/// Where Kong answers otherwise, and why we do not.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("A paths=~/a|/b", "GET - /x/b", "-", "an expression is anchored as a whole, not only its first alternative"),
    (r"A h.v=~*^\D+$", "GET - / h.v=abc", "A", "Kong writes the expression in lower case, which makes \\d of \\D"),
    ("A paths=~/a priority=-1; B hosts=h paths=/a", "GET h /a", "B", "the sign does not run into the higher bits"),
    ("A paths=/", "GET - /a/..;x/b", "400", "a dot segment that only some servers see is refused by the codec"),
    ("A paths=/", "GET - /a/..%2Fb", "400", "the same behind an escaped slash"),
    ("A paths=/", "GET - /a%00", "400", "a zero byte is refused by the codec"),
];

fn winner(rules: &str, request: &str) -> String {
    let table = table(rules);
    let path = request.split(' ').find(|word| word.starts_with('/'));
    if path.is_some_and(|p| normalize::path(p).is_err()) {
        return "400".to_owned();
    }
    let request = Request::read(request);
    let found = table.find(&request.asked());
    found.map_or("-".to_owned(), |f| table.rule(f.rule).unwrap().name.clone())
}

#[test]
#[allow(clippy::print_stdout, reason = "says how many rows pass")]
fn the_rule_that_wins() {
    let mut failed = Vec::new();
    for (rules, request, expected) in ROWS {
        let found = winner(rules, request);
        if found != *expected {
            failed.push(format!("{rules} | {request} | {found} instead of {expected}"));
        }
    }
    for (rules, request, expected, why) in DIFFERENCES {
        let found = winner(rules, request);
        println!("differs from Kong: {rules} | {request} | {expected}: {why}");
        if found != *expected {
            failed.push(format!("{rules} | {request} | {found} instead of {expected}"));
        }
    }
    let total = ROWS.len() + DIFFERENCES.len();
    println!(
        "{} of {total} rows pass, {} of them differ from Kong on purpose",
        total - failed.len(),
        DIFFERENCES.len()
    );
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn groups_of_expressions() {
    let cases: &[GroupRow] = &[
        (
            r"A paths=~/users/(?P<user_id>\d+)/profile/?(?P<scope>[a-z]*)",
            "GET - /users/1984/profile/email",
            &[
                ("0", Some("/users/1984/profile/email")),
                ("1", Some("1984")),
                ("user_id", Some("1984")),
                ("2", Some("email")),
                ("scope", Some("email")),
                ("3", None),
                ("other", None),
            ],
        ),
        (
            r"A paths=~/users/(?<fullname>[a-zA-Z\s\d%]+)/profile",
            "GET - /users/%6aohn%20doe/profile",
            &[("fullname", Some("john doe"))],
        ),
        (
            r"A paths=~/(users/)?1984/(?<subpath>profile)$",
            "GET - /1984/profile",
            &[("1", None), ("subpath", Some("profile")), ("2", Some("profile"))],
        ),
    ];
    for (rules, request, expected) in cases {
        let table = table(rules);
        let request = Request::read(request);
        let found = table.find(&request.asked()).unwrap();
        let captures = found.captures.unwrap();
        for (group, value) in *expected {
            let got = match group.parse() {
                Ok(number) => captures.get(number, &request.path),
                Err(_) => captures.named(group, &request.path),
            };
            assert_eq!(got.map(String::from_utf8_lossy).as_deref(), *value, "{rules}: {group}");
        }
    }
    let table = table(r"A paths=~/users/\d+,/plain");
    let request = Request::read("GET - /users/12/x");
    let found = table.find(&request.asked()).unwrap();
    assert!(found.captures.is_none());
    assert_eq!((found.path, found.matched), (Some(r"~/users/\d+"), Some(9)));
    let request = Request::read("GET - /plainer");
    let found = table.find(&request.asked()).unwrap();
    assert_eq!((found.path, found.matched, found.target), (Some("/plain"), Some(6), 0));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut wrong = rules(
        "A paths=/ok; B paths=/fine,/foo//bar,~/(; C hosts=a*b,h:99999 methods=get; D h.a=~*( h.host=x; \
         E h.x-y=1 h.X_Y=2; F snis=a..*.b,*; G protocols=http; H protocols=grpc methods=GET",
    );
    wrong.push(Rule { headers: vec![("a b".into(), vec![])], ..Rule::default() });
    let told: Vec<String> = Table::new(wrong).err().unwrap().iter().map(|w| format!("{} {w}", w.rule)).collect();
    for expected in [
        "1 paths[1]: must not have empty segments",
        "1 paths[2]: invalid regex: '/('",
        "2 hosts[0]: invalid wildcard",
        "2 hosts[1]: invalid port: 99999",
        "2 methods[0]: invalid value: get",
        "3 headers.a[0]: invalid regex",
        "3 headers.host: cannot contain 'host' header",
        "4 headers.X_Y: is there twice",
        "5 snis[0]: invalid wildcard",
        "5 snis[1]: invalid wildcard",
        "6 @entity: must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'",
        "7 @entity: must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'",
        "8 headers.a b: is no header name",
        "8 headers.a b: has no values",
    ] {
        assert!(told.iter().any(|t| t.starts_with(expected)), "{expected} is not in {told:#?}");
    }
    assert_eq!(told.len(), 14, "{told:#?}");
}

#[test]
fn how_it_may_come() {
    use Scheme::{Grpc, Grpcs, Http, Https};
    for (protocols, (tls, http2, grpc), expected) in [
        (&[Http, Https][..], (false, false, false), None),
        (&[Https], (false, false, false), Some(Mismatch::NeedsTls)),
        (&[Https], (true, false, false), None),
        (&[Http], (true, false, false), None),
        (&[Grpc, Grpcs], (false, false, true), Some(Mismatch::NeedsHttp2)),
        (&[Grpc, Grpcs], (false, false, false), Some(Mismatch::NotGrpc)),
        (&[Grpc, Grpcs], (false, true, true), None),
        (&[Grpcs], (false, true, true), Some(Mismatch::NeedsGrpcs)),
        (&[Grpcs], (true, true, true), None),
    ] {
        let rule = Rule { protocols: protocols.to_vec(), ..Rule::default() };
        assert_eq!(rule.mismatch(tls, http2, grpc), expected, "{protocols:?} {tls} {http2} {grpc}");
    }
}

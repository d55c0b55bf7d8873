//! Who is chosen: every algorithm, weights, zones and slow start.

use super::{explained, hand, named, one, why};
use fourmi_tests::peers::printed;
use fourmi_tests::wire::Message;
use fourmi_tests::{Fourmi, Setup, Worker, until};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// `address:` with something said of each.
fn addresses(of: &[(&Worker, &str)]) -> String {
    let all: Vec<String> = of.iter().map(|(w, more)| format!("{{url: \"{}\", {more}}}", w.address())).collect();
    format!("address: [{}]", all.join(", "))
}

/// Who answered each of so many commands on one connection.
fn answered(fourmi: &Fourmi, commands: usize) -> Vec<String> {
    let mut caller = fourmi.outbound();
    let mut once = || {
        let answer = caller.send("GET / HTTP/1.1\r\nHost: stock\r\n\r\n").answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text()
    };
    (0..commands).map(|_| once()).collect()
}

fn of(answers: &[String], name: &str) -> usize {
    answers.iter().filter(|a| *a == name).count()
}

#[test]
fn turns_follow_the_weights() {
    let (first, second, drained) = (named("one"), named("two"), named("drained"));
    let all = addresses(&[(&first, "weight: 3"), (&second, "weight: 1"), (&drained, "weight: 0")]);
    let fourmi = Setup::alone().outbound(format!("{{stock: {{algorithm: round-robin, {all}}}}}")).start();
    let answers = answered(&fourmi, 400);
    assert_eq!((of(&answers, "one"), of(&answers, "two")), (300, 100), "exactly, and none to the drained one");
    assert!(answers.windows(4).all(|four| of(four, "two") == 1), "evenly spread: {answers:?}");
    assert_eq!(drained.requests().len(), 0);
    assert_eq!(why(&fourmi, "stock", drained.address()), "its weight is 0");
    assert_eq!(one(&fourmi, "stock", first.address())["commands"], 300);
    // One that is out is passed over, and nobody takes its turn twice.
    hand(&fourmi, "stock", first.address(), "down");
    assert_eq!(of(&answered(&fourmi, 8), "two"), 8);
    assert_eq!(explained(&fourmi, "stock")["picked"], second.address());
    assert_eq!(why(&fourmi, "stock", first.address()), "it is forced-down");
}

#[test]
fn the_one_with_fewer_commands_is_given_the_next() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let holding = |name: &'static str| {
        let gate = gate.clone();
        Worker::replying(move |request| {
            if request.target() == "/hold" {
                let (open, opened) = &*gate;
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            }
            format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{name}").into()
        })
    };
    let (first, second) = (holding("one"), holding("two"));
    let all = addresses(&[(&first, "weight: 100"), (&second, "weight: 100")]);
    let fourmi = Setup::alone().outbound(format!("{{stock: {{algorithm: least-connections, {all}}}}}")).start();
    let hold = |n: usize| {
        let mut caller = fourmi.outbound();
        caller.send("GET /hold HTTP/1.1\r\nHost: stock\r\n\r\n");
        let held = |w: &Worker| w.requests().iter().filter(|r| r.target() == "/hold").count();
        until("it is held", || held(&first) + held(&second) == n);
        caller
    };
    let mut held = vec![hold(1)];
    let (busy, free) = if first.requests().is_empty() { (&second, "one") } else { (&first, "two") };
    assert_eq!(of(&answered(&fourmi, 20), free), 20, "never to the one that holds a command");
    assert_eq!(one(&fourmi, "stock", busy.address())["in_flight"], 1);
    held.push(hold(2));
    let answers = answered(&fourmi, 20);
    assert_eq!((of(&answers, "one"), of(&answers, "two")), (10, 10), "equal again, in turn: {answers:?}");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let mut ends: Vec<String> = held.iter_mut().map(|caller| caller.answer().text()).collect();
    ends.sort();
    assert_eq!(ends, ["one", "two"]);
}

/// Every way to hash: the name of its service, its keys, and how a command with this key is sent.
const WAYS: [(&str, &str); 5] = [
    ("header", "hash_on: header, hash_on_header: x-user, hash_fallback: query_arg, hash_fallback_query_arg: user"),
    ("cookie", "hash_on: cookie, hash_on_cookie: sticky, hash_on_cookie_path: /shop"),
    ("path", "hash_on: path"),
    ("argument", "hash_on: query_arg, hash_on_query_arg: user"),
    ("tag", "hash_on: tag, hash_on_tag: shop"),
];

fn keyed(fourmi: &Fourmi, way: &str, key: usize) -> Message {
    let (target, line) = match way {
        // Every other command has only what comes in the header's place.
        "header" if key.is_multiple_of(2) => (format!("/?user=u{key}"), String::new()),
        "header" => ("/".to_owned(), format!("X-User: u{key}\r\n")),
        "cookie" => ("/".to_owned(), format!("Cookie: other=1; sticky=u{key}\r\n")),
        "path" => (format!("/u{key}"), String::new()),
        "argument" => (format!("/?a=b&user=u{key}"), String::new()),
        _ => ("/".to_owned(), format!("Fourmi-Tags: shop=u{key}, x=y\r\n")),
    };
    let answer = fourmi.outbound().send(format!("GET {target} HTTP/1.1\r\nHost: {way}\r\n{line}\r\n")).answer();
    assert_eq!(answer.status(), 200, "{way}: {}", answer.text());
    answer
}

/// The owner of each key, by each way.
fn owners(fourmi: &Fourmi) -> BTreeMap<(String, usize), String> {
    let mut owners = BTreeMap::new();
    for (way, _) in WAYS {
        for key in 0..40 {
            let answer = keyed(fourmi, way, key);
            assert_eq!(answer.header("set-cookie"), None, "{way}: who has a cookie is given none");
            owners.insert((way.to_owned(), key), answer.text());
        }
    }
    for n in 1..=12 {
        let (from, url) = (format!("127.0.0.{n}"), format!("http://127.0.0.1:{}/", fourmi.outbound_port()));
        let arguments = ["-sS", "-f", "--noproxy", "*", "--interface", &from, "-H", "Host: ip", &url];
        owners.insert(("ip".to_owned(), n), printed("curl", &arguments));
    }
    owners
}

#[test]
fn keys_stay_where_they_are() {
    let workers = NAMES.map(named);
    let each: Vec<(&Worker, &str)> = workers.iter().map(|w| (w, "weight: 100")).collect();
    let all = addresses(&each);
    let way = |(name, keys): &(&str, &str)| format!("{name}: {{algorithm: consistent-hashing, {keys}, {all}}}");
    let services: Vec<String> = WAYS.iter().chain(&[("ip", "hash_on: ip")]).map(way).collect();
    let fourmi = Setup::alone().outbound(format!("{{{}}}", services.join(", "))).start();

    let first = owners(&fourmi);
    assert_eq!(owners(&fourmi), first, "the same key, the same instance");
    for way in WAYS.iter().map(|(way, _)| *way).chain(["ip"]) {
        let of = |name| first.iter().filter(|((w, _), owner)| w == way && *owner == name).count();
        let counts = NAMES.map(of);
        println!("{way}: {counts:?}");
        assert!(counts.iter().all(|n| *n > 0), "{way}: all instances have keys: {counts:?}");
    }

    // A caller without the cookie is given one, once, and stays where it came first.
    let mut caller = fourmi.outbound();
    let given = caller.send("GET / HTTP/1.1\r\nHost: cookie\r\n\r\n").answer();
    let cookie = given.header("set-cookie").expect("a cookie").to_owned();
    let value = cookie.strip_suffix("; Path=/shop; SameSite=Lax; HttpOnly").unwrap_or_else(|| panic!("{cookie}"));
    assert!(value.starts_with("sticky="), "{cookie}");
    for _ in 0..10 {
        let again = caller.send(format!("GET / HTTP/1.1\r\nHost: cookie\r\nCookie: {value}\r\n\r\n")).answer();
        assert_eq!((again.text(), again.header("set-cookie")), (given.text(), None));
    }

    // One is gone: its keys go elsewhere, all others stay. It comes back to its own ones.
    let [one, two, three] = workers;
    let port = two.port();
    drop(two);
    let moved = owners(&fourmi);
    for (key, owner) in &first {
        match owner.as_str() {
            "two" => assert!(["one", "three"].contains(&moved[key].as_str()), "{key:?}"),
            owner => assert_eq!(moved[key], owner, "{key:?} stays"),
        }
    }
    let heirs = first.iter().filter(|(_, owner)| *owner == "two").map(|(key, _)| moved[key].as_str());
    let heirs: Vec<&str> = heirs.collect();
    assert!(heirs.contains(&"one") && heirs.contains(&"three"), "shared by both: {heirs:?}");
    let two = Worker::replying_on(port, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo".to_vec());
    until("every key is where it was", || owners(&fourmi) == first);
    // Nobody else's keys had to find out that it is back.
    let mut own = 0;
    for request in two.requests() {
        let text = format!("{} {:?}", request.target(), request.headers);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let Some(key) = words.filter_map(|w| w.strip_prefix('u')).find_map(|n| n.parse().ok()) else { continue };
        let way = request.header("host").unwrap().to_owned();
        assert_eq!(first[&(way, key)], "two", "{text}");
        own += 1;
    }
    assert!(own > 0);
    drop((one, two, three));
}

#[test]
fn the_own_zone_comes_first() {
    let [one, two, three] = NAMES.map(named);
    let all = addresses(&[(&one, "zone: eu-1"), (&two, "zone: eu-1"), (&three, "zone: eu-2")]);
    let service = format!("{{stock: {{algorithm: round-robin, {all}}}}}");
    let fourmi = Setup::alone().outbound(service).more("zone: eu-1").start();
    let answers = answered(&fourmi, 40);
    assert_eq!((of(&answers, "one"), of(&answers, "two"), of(&answers, "three")), (20, 20, 0));
    assert_eq!(why(&fourmi, "stock", three.address()), "it is in another zone, and ours is enough");
    assert_eq!(super::one(&fourmi, "stock", three.address())["near"], false);
    // Half of ours can take seven tenths of it.
    hand(&fourmi, "stock", one.address(), "down");
    let answers = answered(&fourmi, 400);
    let (near, far) = (of(&answers, "two"), of(&answers, "three"));
    println!("half of the zone is out: {near} stay, {far} leave it");
    assert!(near + far == 400 && (60..=180).contains(&far), "{near} and {far}");
    hand(&fourmi, "stock", two.address(), "down");
    assert_eq!(of(&answered(&fourmi, 20), "three"), 20, "none is left here");
    hand(&fourmi, "stock", one.address(), "auto");
    hand(&fourmi, "stock", two.address(), "auto");
    let answers = answered(&fourmi, 40);
    assert_eq!((of(&answers, "one"), of(&answers, "two")), (20, 20));
}

#[test]
fn who_has_just_come_is_spared() {
    const WINDOW: Duration = Duration::from_secs(8);
    let (old, new) = (named("old"), named("new"));
    let all = addresses(&[(&old, "weight: 100"), (&new, "weight: 100")]);
    let service = format!("{{stock: {{algorithm: round-robin, slow_start: 8s, {all}}}}}");
    let fourmi = Setup::alone().outbound(service).start();
    // The old one has to be old.
    std::thread::sleep(WINDOW);
    let answers = answered(&fourmi, 40);
    assert_eq!(of(&answers, "new"), 20);
    hand(&fourmi, "stock", new.address(), "down");
    hand(&fourmi, "stock", new.address(), "auto");
    let answers = answered(&fourmi, 60);
    println!("it has just come, and is given {} of 60", of(&answers, "new"));
    assert!(of(&answers, "new") < 24, "{answers:?}");
    until("it has its full share", || of(&answered(&fourmi, 40), "new") == 20);
}

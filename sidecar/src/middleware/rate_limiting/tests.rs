use super::super::limits::window::NOW;
use super::super::testing::{ask, plugin, wrong};
use super::*;
use crate::exchange::{Consumer, Credential, Direction, Head, Identity, Named, Protocol, Says, Silent, Via};
use crate::middleware::plugin::{Scope, find};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 2026-01-31T12:00:00Z.
const NOON: u64 = 1_769_860_800;

fn exchange(ip: &str) -> Exchange {
    let identity = Arc::new(Identity { service: "".into(), env: "".into(), hostname: "".into(), tags: vec![] });
    let mut x = Exchange::begin(&identity, Direction::Inbound, Protocol::Http11, Head::default(), &"".into());
    x.client = Some(ip.parse().unwrap());
    x
}

/// Every test has counters of its own.
fn scoped(config: &Json, route: Option<&str>, service: Option<&str>) -> Arc<dyn Middleware> {
    let scope = Scope { route, service, consumer: None };
    let setup = Setup { id: "p", config, scope, people: &Arc::default() };
    (find(NAME).unwrap().build)(&setup).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

fn fresh(config: &Json) -> Arc<dyn Middleware> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    scoped(config, Some(&format!("rate-{}", NEXT.fetch_add(1, Relaxed))), None)
}

/// The status (0: it passes) and what the caller is told.
fn told(limiter: &dyn Middleware, x: &mut Exchange) -> (u16, HashMap<String, String>) {
    let reply = ask(limiter, x);
    let lines = x.added.iter().chain(reply.iter().flat_map(|r| r.headers.iter()));
    let text = |v: &[u8]| String::from_utf8(v.to_vec()).unwrap();
    let told = lines.map(|(name, value)| (name.to_owned(), text(value))).collect();
    x.added = Headers::default();
    (reply.map_or(0, |r| r.status), told)
}

fn passes(limiter: &dyn Middleware, x: &mut Exchange) -> bool {
    told(limiter, x).0 == 0
}

fn map(lines: &[(&str, &str)]) -> HashMap<String, String> {
    lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn row_187_188_189_a_window_is_counted_and_told() {
    NOW.set(Some(NOON + 10));
    let limiter = fresh(&json!({"minute": 6, "limit_by": "ip"}));
    let mut x = exchange("10.0.0.1");
    let first = [
        ("x-ratelimit-limit-minute", "6"),
        ("x-ratelimit-remaining-minute", "5"),
        ("ratelimit-limit", "6"),
        ("ratelimit-remaining", "5"),
        ("ratelimit-reset", "50"),
    ];
    assert_eq!(told(&*limiter, &mut x), (0, map(&first)));
    (0..5).for_each(|_| assert!(passes(&*limiter, &mut x)));
    let reply = ask(&*limiter, &mut x).unwrap();
    assert!(matches!(reply.says, Says::Message(text) if text == "API rate limit exceeded"));
    assert_eq!((reply.status, reply.headers.get("retry-after"), reply.by), (429, Some("50"), "rate-limiting"));
    assert_eq!(x.added.get("x-ratelimit-remaining-minute"), Some("0"));
    assert_eq!(x.added.get("ratelimit-reset"), Some("50"));
    assert!(passes(&*limiter, &mut exchange("10.0.0.2")));
    NOW.set(Some(NOON + 60));
    x.added = Headers::default();
    assert_eq!(told(&*limiter, &mut x).1["ratelimit-remaining"], "5");
}

#[test]
fn row_190_191_192_193_several_windows_hidden_headers_and_other_words() {
    NOW.set(Some(NOON));
    let limiter = fresh(&json!({"minute": 6, "hour": 10, "limit_by": "ip"}));
    let mut x = exchange("10.0.0.1");
    let (_, first) = told(&*limiter, &mut x);
    assert_eq!((&*first["ratelimit-limit"], &*first["x-ratelimit-remaining-hour"]), ("6", "9"));

    let limiter = fresh(&json!({"minute": 3, "hour": 5, "limit_by": "ip"}));
    (0..3).for_each(|_| assert!(passes(&*limiter, &mut x)));
    // Nothing is counted for what is refused: the hour still has two.
    let (status, refused) = told(&*limiter, &mut x);
    assert_eq!((status, &*refused["x-ratelimit-remaining-hour"], &*refused["retry-after"]), (429, "2", "60"));
    NOW.set(Some(NOON + 60));
    let (_, next) = told(&*limiter, &mut x);
    assert_eq!(
        (&*next["ratelimit-limit"], &*next["ratelimit-remaining"], &*next["ratelimit-reset"]),
        ("5", "1", "3540")
    );

    let limiter = fresh(&json!({"minute": 1, "limit_by": "ip", "hide_client_headers": true}));
    assert_eq!(told(&*limiter, &mut x), (0, HashMap::new()));
    assert_eq!(told(&*limiter, &mut x), (429, HashMap::new()));

    let limiter = fresh(&json!({"minute": 1, "limit_by": "ip", "error_code": 404, "error_message": "Fake Not Found"}));
    assert!(passes(&*limiter, &mut x));
    let reply = ask(&*limiter, &mut x).unwrap();
    assert!(reply.status == 404 && matches!(reply.says, Says::Message(text) if text == "Fake Not Found"));
}

#[test]
fn row_194_a_second() {
    NOW.set(Some(NOON));
    let limiter = fresh(&json!({"second": 1, "limit_by": "ip"}));
    let mut x = exchange("10.0.0.1");
    assert_eq!([told(&*limiter, &mut x).0, told(&*limiter, &mut x).0], [0, 429]);
    NOW.set(Some(NOON + 1));
    assert!(passes(&*limiter, &mut x));
}

#[test]
fn row_195_196_by_header_and_by_path() {
    NOW.set(Some(NOON));
    let limiter = fresh(&json!({"minute": 1, "limit_by": "header", "header_name": "X-Id"}));
    let with = |value: Option<&[u8]>| {
        let mut x = exchange("10.0.0.1");
        value.map(|value| x.request.headers.append("x-id", value));
        passes(&*limiter, &mut x)
    };
    assert_eq!([with(Some(b"a")), with(Some(b"b")), with(Some(b"a"))], [true, true, false]);
    // By address where there is none, and that is not the header's value.
    assert_eq!([with(None), with(None), with(Some(b"10.0.0.1"))], [true, false, false]);
    let (long, other) = (vec![b'x'; 9_000], vec![b'\xe9'; 9]);
    assert_eq!(
        [with(Some(&long)), with(Some(&long)), with(Some(&other)), with(Some(&other))],
        [true, false, true, false]
    );

    let limiter = fresh(&json!({"minute": 1, "limit_by": "path", "path": "/t"}));
    let on = |ip: &str, path: &str| {
        let mut x = exchange(ip);
        x.request.set_target(path, None);
        passes(&*limiter, &mut x)
    };
    assert_eq!([on("10.0.0.1", "/t"), on("10.0.0.2", "/t")], [true, false]);
    assert_eq!([on("10.0.0.1", "/t/x"), on("10.0.0.2", "/t/x"), on("10.0.0.1", "/t/y")], [true, true, false]);
}

#[test]
fn row_197_200_201_counters_belong_to_the_scope_of_the_plugin() {
    NOW.set(Some(NOON));
    let config = json!({"minute": 1, "limit_by": "service"});
    let via = |route: &str| {
        let named = |id: &str| Some(Named { id: id.into(), name: None, label: id.into() });
        let mut x = exchange("10.0.0.1");
        x.via = Some(Arc::new(Via { route: named(route), service: named("s") }));
        x
    };
    let of_service = scoped(&config, None, Some("row-197"));
    assert_eq!([passes(&*of_service, &mut via("a")), passes(&*of_service, &mut via("b"))], [true, false]);
    // A reload makes another middleware for the same scope, perhaps with another limit.
    let again = scoped(&json!({"minute": 2, "limit_by": "service"}), None, Some("row-197"));
    assert_eq!([passes(&*again, &mut via("a")), passes(&*again, &mut via("a"))], [true, false]);

    let config = json!({"minute": 1, "limit_by": "ip"});
    let (one, other) = (scoped(&config, Some("row-201-a"), None), scoped(&config, Some("row-201-b"), None));
    assert_eq!([passes(&*one, &mut via("a")), passes(&*other, &mut via("b"))], [true, true]);
    let everywhere = fresh(&config);
    assert_eq!([passes(&*everywhere, &mut via("a")), passes(&*everywhere, &mut via("b"))], [true, false]);
}

#[test]
fn row_198_199_by_credential_and_by_consumer() {
    NOW.set(Some(NOON));
    let consumer = Arc::new(Consumer {
        id: "c".into(),
        username: None,
        custom_id: None,
        place: 0,
        acls: [].into(),
        groups: [].into(),
    });
    let by = |limiter: &dyn Middleware, consumer: Option<&Arc<Consumer>>, key: &str| {
        let mut x = exchange("10.0.0.1");
        x.caller.consumer = consumer.cloned();
        x.caller.credential = Some(Credential { id: key.into(), identifier: key.into() });
        passes(limiter, &mut x)
    };
    let credential = fresh(&json!({"minute": 1, "limit_by": "credential"}));
    let c = Some(&consumer);
    assert_eq!([by(&*credential, c, "k1"), by(&*credential, c, "k2"), by(&*credential, c, "k1")], [true, true, false]);
    let usual = fresh(&json!({"minute": 1}));
    assert_eq!([by(&*usual, c, "k1"), by(&*usual, c, "k2")], [true, false]);
    assert_eq!([by(&*usual, None, "k1"), by(&*usual, None, "k1"), by(&*usual, None, "k2")], [true, false, true]);
}

#[test]
fn row_204_205_what_is_wrong_is_said_in_kongs_words() {
    let lower = "@entity: The limit for hour(5.0) cannot be lower than the limit for minute(10.0)";
    assert_eq!(wrong(NAME, &json!({"minute": 10, "hour": 5})), [lower]);
    assert_eq!(wrong(NAME, &json!({"minute": 1, "policy": "redis"})), ["redis.host: required field missing"]);
    assert_eq!(wrong(NAME, &json!({"minute": 1, "policy": "cluster"})), ["policy: expected one of: local, redis"]);
    assert_eq!(wrong(NAME, &json!({"minute": 0})), ["minute: value must be greater than 0"]);
    let none = "@entity: at least one of these fields must be non-empty: \
                'second', 'minute', 'hour', 'day', 'month', 'year'";
    assert_eq!(wrong(NAME, &json!({})), [none]);
    assert_eq!(wrong(NAME, &json!({"minute": 1, "limit_by": "header"})), ["header_name: required field missing"]);
    assert_eq!(wrong(NAME, &json!({"minute": 1, "limit_by": "path"})), ["path: required field missing"]);
    assert_eq!(
        wrong(NAME, &json!({"minute": 1, "sync_rate": 0.01})),
        ["sync_rate: value should be -1 or at least 0.02"]
    );
    let old = json!({"minute": 1, "policy": "redis", "redis_host": "r", "redis_port": 1, "sync_rate": 10});
    assert_eq!(wrong(NAME, &old), [""; 0]);
    let explained = plugin(NAME, &json!({"minute": 6, "hour": 10, "limit_by": "ip"})).explain(&exchange("::1"));
    assert_eq!(explained, "6 a minute, 10 an hour by ip");
}

#[test]
fn many_threads_pass_exactly_the_limit() {
    const THREADS: usize = 8;
    const EACH: usize = 2_000;
    NOW.set(Some(NOON));
    // A middle window is the narrow one, so that the others have to take back.
    let limiter = fresh(&json!({"minute": 5_000, "hour": 5_000, "day": 5_003, "limit_by": "ip"}));
    let race = |second: u64| -> usize {
        std::thread::scope(|threads| {
            let run = || {
                threads.spawn(|| {
                    NOW.set(Some(second));
                    let mut x = exchange("10.0.0.1");
                    (0..EACH).filter(|_| passes(&*limiter, &mut x)).count()
                })
            };
            let running: Vec<_> = (0..THREADS).map(|_| run()).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    };
    assert_eq!(race(NOON), 5_000);
    // The next hour has only what the day still lets through.
    assert_eq!(race(NOON + 3_600), 3);
    NOW.set(Some(NOON + 3_600));
    let shown = limits::show(1_000);
    let mine = |c: &&Json| {
        c["route"].as_str().is_some_and(|r| r.starts_with("rate-")) && c["periods"]["day"]["limit"] == 5_003
    };
    let counter = shown["counters"].as_array().unwrap().iter().find(mine).unwrap().clone();
    assert_eq!(counter["periods"]["day"], json!({"limit": 5_003, "used": 5_003, "reset": 39_600}));
    assert_eq!((&counter["periods"]["hour"]["used"], &counter["identifier"]), (&json!(3), &json!("10.0.0.1")));
}

/// Of one plugin among several in the same scope.
fn of_plugin(id: &str, config: &Json, service: &str, consumer: Option<&str>) -> Arc<dyn Middleware> {
    let scope = Scope { route: None, service: Some(service), consumer };
    (find(NAME).unwrap().build)(&Setup { id, config, scope, people: &Arc::default() }).unwrap()
}

/// How often which limit of a year is shown, and to whom, in the counters of a service.
fn shown(service: &str) -> Vec<(u64, u64, String, String)> {
    let number = |c: &Json, what: &str| c["periods"]["year"][what].as_u64().unwrap();
    let text = |c: &Json, what: &str| c[what].as_str().unwrap().to_owned();
    let all = limits::show(1_000);
    let mine = all["counters"].as_array().unwrap().iter().filter(|c| c["service"] == service);
    let mut mine: Vec<_> =
        mine.map(|c| (number(c, "used"), number(c, "limit"), text(c, "by"), text(c, "identifier"))).collect();
    mine.sort();
    mine
}

#[test]
fn plugins_in_one_scope_show_their_own_limits() {
    NOW.set(Some(NOON));
    let with = |limiter: &dyn Middleware, ip: &str, id: Option<&str>| {
        let mut x = exchange(ip);
        id.map(|id| x.request.headers.append("x-id", id.as_bytes()));
        passes(limiter, &mut x)
    };
    let all = |most: u64| of_plugin("all", &json!({"year": most, "limit_by": "ip"}), "own", None);
    let everybody = all(1_000);
    let small = of_plugin("small", &json!({"year": 5, "limit_by": "ip"}), "own", Some("small"));
    let by_header = json!({"year": 9, "limit_by": "header", "header_name": "x-id"});
    let secret = of_plugin("secret", &by_header, "own", Some("secret"));
    (0..7).for_each(|_| assert!(with(&*everybody, "10.0.0.1", None)));
    (0..6).for_each(|n| assert_eq!(with(&*small, "10.0.0.2", None), n < 5));
    assert!(with(&*secret, "10.0.0.3", Some("a-secret")));
    let ip = |used, most, ip: &str| (used, most, "ip".to_owned(), ip.to_owned());
    let now = shown("own");
    assert!(now.contains(&ip(7, 1_000, "10.0.0.1")) && now.contains(&ip(5, 5, "10.0.0.2")), "{now:?}");
    assert!(now.iter().any(|c| (c.1, &*c.2) == (9, "header") && c.3.starts_with("sha256:")), "{now:?}");
    // Counters that they have in common: the limit of who counted last, as it is after a reload.
    assert!(with(&*everybody, "10.0.0.2", None));
    let again = all(2_000);
    let now = shown("own");
    assert!(now.contains(&ip(6, 2_000, "10.0.0.2")) && now.contains(&ip(7, 2_000, "10.0.0.1")), "{now:?}");
    // What nobody limits any more is not shown.
    drop((everybody, again));
    let now = shown("own");
    assert_eq!((now.len(), now[0].1), (1, 9), "{now:?}");
}

#[test]
fn a_window_that_slides_lets_no_second_limit_through_at_the_turn() {
    NOW.set(Some(NOON + 59));
    let fixed = fresh(&json!({"minute": 60, "limit_by": "ip"}));
    let sliding = fresh(&json!({"minute": 60, "limit_by": "ip", "window_type": "sliding"}));
    let mut x = exchange("10.0.0.1");
    let mut many = |limiter: &dyn Middleware| (0..100).filter(|_| passes(limiter, &mut x)).count();
    assert_eq!((many(&*fixed), many(&*sliding)), (60, 60));
    NOW.set(Some(NOON + 60));
    assert_eq!((many(&*fixed), many(&*sliding)), (60, 0));
    // With each second, one of the minute before is over.
    NOW.set(Some(NOON + 75));
    assert_eq!(many(&*sliding), 15);
    NOW.set(Some(NOON + 240));
    assert_eq!(many(&*sliding), 60);
    let too_many = json!({"day": 5_000_000, "window_type": "sliding"});
    assert_eq!(wrong(NAME, &too_many), ["day: value should be at most 4194302 in a window that slides"]);
}

#[test]
fn no_more_is_remembered_than_holds_the_next_back() {
    NOW.set(Some(NOON));
    let some = [Limit { period: Period::Minute, most: 6 }, Limit { period: Period::Hour, most: 9 }];
    let place = Place::anywhere(limits::RATE_LIMITING, "remembered", &some);
    let windows = limits::windows(&some, Moment::now());
    limits::remember(&place, "x", (&some, &windows), [1 << 62, 4].into_iter());
    assert_eq!(limits::with(&place, "x", |entry| entry.used(&some, &windows))[..2], [7, 4]);
}

#[test]
fn what_passes_costs_no_allocation() {
    NOW.set(Some(NOON));
    let limiter = fresh(&json!({"second": 1_000, "minute": 10_000, "year": 100_000, "limit_by": "ip"}));
    let mut x = exchange("2001:db8::1");
    let mut pass = || {
        assert!(matches!(limiter.on_request(&mut x, &Silent), Verdict::Next));
        x.added = Headers::default();
    };
    (0..3).for_each(|_| pass());
    assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| pass())).count_total, 0);
}

/// What Kong would do if nothing came between reading and counting.
fn naive(limits: &[(Period, u64)], counts: &mut HashMap<(u8, u8, u64), u64>, who: u8, now: Moment) -> bool {
    let keys: Vec<_> = limits.iter().map(|(p, most)| ((who, *p as u8, p.window(now).number), *most)).collect();
    let passes = keys.iter().all(|(key, most)| counts.get(key).copied().unwrap_or(0) < *most);
    if passes {
        keys.into_iter().for_each(|(key, _)| *counts.entry(key).or_default() += 1);
    }
    passes
}

proptest! {
    #[test]
    fn is_the_same_as_counting_in_a_map(
        most in prop::collection::vec(1u64..6, 3),
        steps in prop::collection::vec((0u8..3, 0u64..45), 1..120),
    ) {
        let limits: Vec<(Period, u64)> = [Period::Second, Period::Minute, Period::Hour]
            .into_iter()
            .zip(most.iter().scan(0, |sum, n| { *sum += n; Some(*sum) }))
            .collect();
        let config: serde_json::Map<String, Json> =
            limits.iter().map(|(p, n)| (p.word().to_owned(), json!(n))).chain([("limit_by".to_owned(), json!("ip"))]).collect();
        let limiter = fresh(&Json::Object(config));
        let mut counts = HashMap::new();
        let mut now = NOON;
        for (who, after) in steps {
            now += after / 10;
            NOW.set(Some(now));
            let expected = naive(&limits, &mut counts, who, Moment { second: now, milli: 0 });
            let mut x = exchange(&format!("10.0.0.{who}"));
            prop_assert_eq!(passes(&*limiter, &mut x), expected);
        }
    }
}

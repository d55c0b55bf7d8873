//! The section `healthchecks:`, from text to settings.

use crate::config::problem::Problems;
use crate::config::source::Origin;
use crate::config::{fill, raw, tree, walk};
use crate::section::Kind;
use crate::upstream::health::section::KEYS;
use crate::upstream::health::{Active, Ejection, Health, Limits, Passive, Speak, Statuses};
use std::time::Duration;

/// What a text says, or what is wrong with it.
fn read(text: &str) -> Result<Health, Vec<String>> {
    let mut problems = Problems::new();
    let source = problems.sources.add("fourmi.yaml", text, Origin::File);
    let mut node = tree::parse(source, &mut problems).unwrap();
    walk::walk(&mut node, &Kind::Section(KEYS), "healthchecks", &mut problems);
    fill::section(&mut node, KEYS, &mut problems);
    let values = raw::section(&node, KEYS);
    let found: Vec<String> = problems.into_list().0.into_iter().map(|p| p.message).collect();
    if !found.is_empty() {
        return Err(found);
    }
    Health::new(&values).map_err(|w| vec![format!("{}: {}", w.key.unwrap_or_default(), w.message)])
}

#[test]
fn what_is_not_said_is_ours_or_kongs() {
    assert_eq!(read("{}"), Ok(Health::default()));
    assert!(Active::default().is_off() && !Passive::default().limits.is_off() && Passive::kong().limits.is_off());
    assert_eq!(read("{active: {}, passive: {}}"), Ok(Health::default()));
    assert_eq!(read("{active: , passive: , threshold: }"), Ok(Health::default()));
    // One word of what counts, and all of it is as with Kong.
    let kong = Passive::kong();
    let limits = Limits { successes: 3, ..kong.limits };
    assert_eq!(read("passive: {healthy: {successes: 3}}").map(|h| h.passive), Ok(Passive { limits, ..kong }));
    let limits = Limits { timeouts: 3, ..kong.limits };
    assert_eq!(read("passive: {unhealthy: {timeouts: 3}}").map(|h| h.passive), Ok(Passive { limits, ..kong }));
    // What is ours alone changes nothing of that.
    let ejection = Ejection { base: Duration::from_millis(500), max: Duration::from_secs(60), share: 0.25 };
    let ours = read("passive: {type: tcp, ejection: {base: 500ms, max: 1m}, max_ejected: 0.25}");
    assert_eq!(ours.map(|h| h.passive), Ok(Passive { ejection, ..Passive::default() }));
}

#[test]
fn a_section_of_kongs_is_read() {
    let text = "
active:
  type: https
  timeout: 2
  concurrency: 3
  http_path: /status?full=1
  headers: {x-one: [a, b], X-Two: c}
  https_sni: shop.example
  https_verify_certificate: false
  healthy: {interval: 0.5, http_statuses: [200, 204], successes: 2}
  unhealthy: {interval: 1500ms, http_statuses: [500], tcp_failures: 1, timeouts: 4, http_failures: 255}
passive:
  type: http
  healthy: {http_statuses: [201], successes: 5}
  unhealthy: {http_statuses: [429], tcp_failures: 2, timeouts: 7, http_failures: 6}
threshold: 55
";
    let headers = [("X-Two", "c"), ("x-one", "a"), ("x-one", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let expected = Health {
        active: Active {
            speak: Speak::Https,
            timeout: Duration::from_secs(2),
            concurrency: 3,
            path: "/status?full=1".into(),
            headers: headers.to_vec(),
            sni: Some("shop.example".into()),
            verify: false,
            limits: Limits {
                healthy: Statuses::of([200, 204]),
                successes: 2,
                unhealthy: Statuses::of([500]),
                http_failures: 255,
                tcp_failures: 1,
                timeouts: 4,
            },
            healthy_interval: Duration::from_millis(500),
            unhealthy_interval: Duration::from_millis(1500),
        },
        passive: Passive {
            limits: Limits {
                healthy: Statuses::of([201]),
                successes: 5,
                unhealthy: Statuses::of([429]),
                http_failures: 6,
                tcp_failures: 2,
                timeouts: 7,
            },
            ejection: Ejection::default(),
        },
        threshold: 55,
    };
    assert_eq!(read(text), Ok(expected));
    assert_eq!(read("active: {timeout: 0}").map(|h| h.active.timeout), Ok(Duration::from_secs(1)));
}

#[test]
fn what_cannot_be_is_named() {
    for (text, words) in [
        ("active: {type: udp}", "`healthchecks.active.type` can't be `udp`"),
        ("active: {intervall: 5}", "unknown key `intervall` in `healthchecks.active`"),
        ("active: {timeout: 65536}", "at most 65535 seconds"),
        ("active: {timeout: 1w}", "no duration"),
        ("active: {timeout: -1}", "no duration"),
        ("active: {healthy: {interval: [1]}}", "must be a number of seconds"),
        ("active: {healthy: {successes: 256}}", "at most 255"),
        ("active: {unhealthy: {http_statuses: [99]}}", "at least 100"),
        ("active: {unhealthy: {http_statuses: [200, 1000]}}", "at most 999"),
        ("active: {concurrency: 0}", "at least 1"),
        ("active: {http_path: status}", "no path"),
        ("active: {headers: {'a b': c}}", "no header's name"),
        ("active: {https_sni: 'no name'}", "active.https_sni: `no name`"),
        ("passive: {max_ejected: 2}", "from 0 to 1"),
        ("passive: {ejection: {base: 10}}", "no unit"),
        ("passive: {ejection: {base: 10s, max: 5s}}", "passive.ejection.max"),
        ("threshold: 101", "at most 100"),
    ] {
        let wrong = read(text).err().unwrap_or_default();
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{text}: {wrong:?}");
    }
}

#[test]
fn seconds_stand_in_the_schema() {
    let schema = crate::config::schema::kind(&Kind::Seconds { max: Duration::from_secs(65_535) });
    assert_eq!(schema["anyOf"][0]["maximum"], 65_535);
    assert!(schema["anyOf"][1]["pattern"].as_str().is_some_and(|p| p.contains("ms|s|m")));
}

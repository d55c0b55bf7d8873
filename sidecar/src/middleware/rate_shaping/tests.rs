use super::super::testing::wrong;
use super::*;
use crate::exchange::{Direction, Head, Identity, Protocol, Silent};
use crate::middleware::plugin::{Scope, find};
use serde_json::json;

fn built(route: &str, config: &Json) -> Arc<dyn Middleware> {
    let scope = Scope { route: Some(route), ..Scope::default() };
    let setup = Setup { id: "p", config, scope, people: &Arc::default() };
    (find(NAME).unwrap().build)(&setup).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

fn exchange() -> Exchange {
    let identity = Arc::new(Identity { service: "mail".into(), env: "".into(), hostname: "".into(), tags: vec![] });
    Exchange::begin(&identity, Direction::Outbound, Protocol::Http11, Head::default(), &"".into())
}

/// What it says, with `Retry-After`.
fn said(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Next => ("next", None),
        Verdict::Wait(_) => ("wait", None),
        Verdict::Reply(reply) if reply.status == 429 => ("429", reply.headers.get("retry-after")),
        _ => panic!("nothing of that kind"),
    }
}

/// After how many seconds one that is refused may come again.
fn after(verdict: &Verdict) -> Option<u64> {
    said(verdict).1?.parse().ok()
}

#[test]
fn waits_up_to_a_deadline_and_a_number() {
    let shaper = built("shape-a", &json!({"limit": 1, "per": "1m", "burst": 1, "wait": "90s"}));
    let come = |x: &mut Exchange| shaper.on_request(x, &Silent);
    assert_eq!(said(&come(&mut exchange())), ("next", None));
    let mut hasty = exchange();
    hasty.deadline = Some(Instant::now() + Duration::from_secs(30));
    assert_eq!(said(&come(&mut hasty)), ("429", Some("1")));
    let second = come(&mut exchange());
    assert_eq!(said(&second), ("wait", None));
    // The third would wait for more than two minutes.
    assert!(after(&come(&mut exchange())).is_some_and(|after| (2..=32).contains(&after)));
    // Whoever leaves makes room for the next.
    drop(second);
    assert_eq!(said(&come(&mut exchange())), ("wait", None));

    let shaper = built("shape-b", &json!({"limit": 1, "per": 60, "max_waiting": 1, "limit_by": "ip"}));
    let come = |ip: [u8; 4]| {
        let mut x = exchange();
        x.client = Some(ip.into());
        shaper.on_request(&mut x, &Silent)
    };
    let short = built("shape-b", &json!({"limit": 1, "per": 60, "wait": 3_600, "max_waiting": 1, "limit_by": "ip"}));
    assert_eq!(said(&come([10, 0, 0, 1])), ("next", None));
    assert_eq!(said(&come([10, 0, 0, 2])), ("next", None));
    // The line is that of the middleware before it.
    let mut x = exchange();
    x.client = Some([10, 0, 0, 1].into());
    let waiting = short.on_request(&mut x, &Silent);
    assert_eq!(said(&waiting), ("wait", None));
    assert!(after(&short.on_request(&mut x, &Silent)).is_some_and(|after| (2..=61).contains(&after)));
}

#[test]
fn the_turn_comes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shaper = built("shape-c", &json!({"limit": 100, "per": "1s"}));
    let mut x = exchange();
    let began = Instant::now();
    runtime.block_on(async {
        for _ in 0..4 {
            match shaper.on_request(&mut x, &Silent) {
                Verdict::Next => {}
                Verdict::Wait(turn) => assert!(matches!(turn.await(&mut x), Verdict::Next)),
                other => panic!("{:?}", said(&other)),
            }
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(30), "three turns are three steps");
    assert_eq!(shaper.explain(&x), "waits for its turn: 100 in 1s by service, at most 30s");
}

#[test]
fn nobody_believes_a_redis_that_is_wrong() {
    let read = |answer: &[i64]| read(answer, Duration::from_secs(30));
    assert_eq!(read(&[0, 30_000_000]), Ok((false, Duration::from_secs(30))));
    assert_eq!(read(&[1, 40_000_000]), Ok((true, Duration::from_secs(40))));
    for wrong in [&[0, 30_000_001][..], &[0, i64::MAX], &[0, i64::MIN], &[1, i64::MAX], &[1, -1], &[2, 0], &[0], &[]] {
        assert_eq!(read(wrong), Err(Away::Failed), "{wrong:?}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(wrong(NAME, &json!({})), ["limit: required field missing"]);
    let config = json!({"limit": 5, "per": "1 week", "wait": 0, "burst": 6, "policy": "cluster"});
    let said = wrong(NAME, &config);
    for words in [
        "per: expected a duration",
        "wait: expected a duration",
        "burst: value should be between 1 and 5",
        "policy: expected one of: local, redis",
    ] {
        assert!(said.iter().any(|said| said == words), "{words}: {said:?}");
    }
}

use super::*;
use crate::exchange::Exchange;
use crate::sink::record::tests::{identity, sample};
use std::time::UNIX_EPOCH;

/// Tells the eyes of an exchange as the rings bring it.
fn see(eyes: &Eyes, x: &Exchange, generation: &Arc<Generation>) {
    let mut bytes = Vec::new();
    Entry::of(What::Command, x).write(&mut bytes);
    eyes.see(&Entry::read(&bytes).unwrap(), &bytes, generation);
}

fn generation() -> Arc<Generation> {
    let who = Who::new(&identity(&[("team", "orders")]));
    Arc::new(Generation { who: Some(who), ..Generation::default() })
}

#[test]
fn a_tail_is_told_what_it_wants_and_how_much_it_was_spared() {
    let (eyes, generation, mut x) = (Eyes::default(), generation(), sample(&identity(&[])));
    let wanted = |pairs: &[(&str, &str)]| Wanted::of(pairs.iter().copied()).unwrap();
    for (pairs, is) in [
        (&[][..], true),
        (&[("command", "CreateOrder"), ("service", "order"), ("id", "42"), ("tag", "shop=7")], true),
        (&[("command", "Create*"), ("tag", "team=orders"), ("result", "success"), ("min-latency", "12ms")], true),
        (&[("tag", "shop="), ("direction", "inbound"), ("trace", "abc"), ("else", "x"), ("id", "")], true),
        (&[("command", "Create")], false),
        (&[("tag", "shop=8")], false),
        (&[("result", "failed")], false),
        (&[("result", "timeout"), ("result", "dead")], false),
        (&[("min-latency", "13")], false),
        (&[("direction", "outbound")], false),
        (&[("consumer", "robot")], false),
    ] {
        let mut tail = eyes.follow(wanted(pairs)).unwrap();
        see(&eyes, &x, &generation);
        assert_eq!(tail.take().commands.len(), usize::from(is), "{pairs:?}");
    }
    for (name, value) in [
        ("trace", "xyz"),
        ("result", "good"),
        ("tag", "x"),
        ("min-latency", "soon"),
        ("max-rps", "0"),
        ("direction", "up"),
    ] {
        assert!(Wanted::of([(name, value)]).unwrap_err().starts_with(name), "{name}");
    }
    // Beyond the rate nothing is told, and it is said how much.
    let mut tail = eyes.follow(wanted(&[("max-rps", "5")])).unwrap();
    assert_eq!(tail.take(), Batch::default());
    for n in 0..20 {
        x.trace.trace_id = 1 << 64 | n;
        see(&eyes, &x, &generation);
    }
    eyes.missed();
    let batch = tail.take();
    assert_eq!((batch.commands.len(), batch.skipped), (5, 16), "what was lost on the way is said too");
    let one: Value = serde_json::from_str(&batch.commands[0]).unwrap();
    for (key, value) in [("command", "CreateOrder"), ("command_id", "42"), ("tag_shop", "7"), ("service", "order")] {
        assert_eq!(one[key], value, "{one}");
    }
    assert!(one["timestamp"].is_f64() && one["duration_ms"] == 12.34 && one["span_id"] == "0000000000000def", "{one}");
    // There are only so many.
    let more: Vec<_> = (0..TAILS_MAX - 1).map(|_| eyes.follow(Wanted::default()).unwrap()).collect();
    assert!(eyes.follow(Wanted::default()).is_err());
    drop(more);
    assert!(eyes.follow(Wanted::default()).is_ok());
}

#[test]
fn whole_journeys_stay_and_the_rest_is_bounded() {
    let (one, other, generation) = (Eyes::default(), Eyes::default(), generation());
    let mut x = sample(&identity(&[]));
    let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(1_000_000 + ms);
    // 100 a second here, 400 there; both keep whole journeys, and those of the last seconds.
    for n in 0..6_000u128 {
        x.trace.trace_id = n << 64 | n;
        x.timings.wall = at(n as u64 * 10);
        see(&one, &x, &generation);
        for _ in 0..4 {
            see(&other, &x, &generation);
        }
    }
    let all = |eyes: &Eyes| eyes.recent(&Which::default(), usize::MAX);
    let (mine, theirs) = (all(&one), all(&other));
    assert!(mine["kept"].as_u64() <= Some(500) && theirs["kept"].as_u64() <= Some(500));
    assert!(mine["one_in"].as_u64() < theirs["one_in"].as_u64() && theirs["one_in"].as_u64() < Some(256));
    let since = at(60_000).duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - theirs["since"].as_f64().unwrap();
    assert!(since > 15.0, "journeys stay for {since} s");
    let hops = theirs["commands"].as_array().unwrap();
    // The oldest one may be half gone, and one of the two may reach further back.
    let oldest = &hops[hops.len() - 1]["trace_id"];
    let both = |hop: &Value| hop["trace_id"] != *oldest && hop["timestamp"].as_f64() >= mine["since"].as_f64();
    let journeys: Vec<_> = hops.iter().filter(|hop| both(hop)).collect();
    assert!(journeys.len() > 100);
    for hop in journeys {
        let trace = u128::from_str_radix(hop["trace_id"].as_str().unwrap(), 16).unwrap();
        let which = Which { trace: Some(trace), id: Some("42".into()) };
        let (here, there) = (one.recent(&which, 10), other.recent(&which, 10));
        assert_eq!((here["commands"].as_array().unwrap().len(), there["commands"].as_array().unwrap().len()), (1, 4));
    }
    assert!(hops.len() > 100 && other.recent(&Which::default(), 3)["more"].as_u64() > Some(100));
    // A failure has some room, whatever the lot says.
    x.status = 500;
    x.outcome = Some(crate::exchange::Outcome::ServerError);
    let lost = (0..64u128)
        .find(|n| {
            x.trace.trace_id = *n;
            !drawn(lot(&Entry::of(What::Command, &x)), 9)
        })
        .unwrap();
    see(&other, &x, &generation);
    assert_eq!(other.recent(&Which { trace: Some(lost), id: None }, 9)["commands"][0]["status"], 500);
}

#[test]
fn nobody_looks_for_ever() {
    let (eyes, generation, x) = (Eyes::default(), generation(), sample(&identity(&[])));
    assert!(!eyes.is_open());
    eyes.look();
    see(&eyes, &x, &generation);
    assert!(eyes.is_open());
    eyes.state().until = Instant::now().checked_sub(Duration::from_secs(1));
    see(&eyes, &x, &generation);
    assert!(!eyes.is_open(), "who does not ask again has gone");
    let mut tail = eyes.follow(Wanted::default()).unwrap();
    see(&eyes, &x, &generation);
    assert!(eyes.is_open() && tail.take().commands.len() == 1);
    drop(tail);
    see(&eyes, &x, &generation);
    see(&eyes, &x, &generation);
    assert!(!eyes.is_open());
}

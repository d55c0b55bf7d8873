use super::super::limits::window::NOW;
use super::super::testing::{ask, wrong};
use super::*;
use crate::exchange::{Direction, Head, Identity, Protocol, Says};
use crate::middleware::plugin::{Scope, find};
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 2026-01-31T12:00:00Z.
const NOON: u64 = 1_769_860_800;

/// Every test has counters of its own.
fn fresh(config: &Json) -> Arc<dyn Middleware> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NOW.set(Some(NOON));
    let route = format!("response-{}", NEXT.fetch_add(1, Relaxed));
    let scope = Scope { route: Some(&route), ..Scope::default() };
    let setup = Setup { id: "p", config, scope, people: &Arc::default() };
    (find(NAME).unwrap().build)(&setup).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// What came of one command, if it got as far as the service.
struct Came {
    /// What the service was told.
    upstream: Option<String>,
    /// 0: the service's answer passes.
    status: u16,
    head: AnswerHead,
    added: Headers,
}

fn run(limiter: &dyn Middleware, says: &[&str]) -> Result<Came, Box<Reply>> {
    let identity = Arc::new(Identity { service: "".into(), env: "".into(), hostname: "".into(), tags: vec![] });
    let mut x = Exchange::begin(&identity, Direction::Inbound, Protocol::Http11, Head::default(), &"".into());
    x.client = Some([10, 0, 0, 1].into());
    if let Some(reply) = ask(limiter, &mut x) {
        assert!(x.added.is_empty(), "{:?}", x.added);
        return Err(reply);
    }
    let upstream = x.request.headers.get("x-ratelimit-remaining-video").map(str::to_owned);
    let mut head = AnswerHead { status: 200, headers: Headers::default(), own: false };
    says.iter().for_each(|says| assert!(head.headers.append("x-kong-limit", says)));
    let status = match limiter.on_answer(&mut x, &mut head) {
        After::Next => 0,
        After::Reply(reply) => {
            assert!(matches!(reply.says, Says::Nothing));
            reply.status
        }
        _ => panic!("it has all that it needs"),
    };
    Ok(Came { upstream, status, head, added: std::mem::take(&mut x.added) })
}

impl Came {
    fn left(&self, name: &str) -> Option<&str> {
        self.added.get(&format!("x-ratelimit-remaining-{name}"))
    }
}

#[test]
fn row_208_209_210_211_answers_say_what_they_cost() {
    let limiter = fresh(&json!({"limits": {"video": {"second": 10}, "image": {"second": 5, "minute": 6}}}));
    let came = run(&*limiter, &["video=1"]).ok().unwrap();
    assert_eq!((came.status, came.upstream.as_deref(), came.left("video-second")), (0, Some("10"), Some("9")));
    assert_eq!(came.added.get("x-ratelimit-limit-video-second"), Some("10"));
    assert!(!came.head.headers.contains("x-kong-limit"));
    let came = run(&*limiter, &["video=2, image=1"]).ok().unwrap();
    assert_eq!(
        (came.upstream.as_deref(), came.left("video-second"), came.left("image-minute")),
        (Some("9"), Some("7"), Some("5"))
    );
    // An unknown name, no number, two lines.
    let came = run(&*limiter, &["video=x, other=9, video", " video = 6 ", "image=2"]).ok().unwrap();
    assert_eq!((came.status, came.left("video-second"), came.left("image-second")), (0, Some("1"), Some("2")));
    // There was something left, so this one passes although it costs more.
    assert_eq!(run(&*limiter, &["video=5"]).ok().unwrap().status, 0);
    // Nothing is counted of what is held back.
    let came = run(&*limiter, &["video=1, image=1"]).ok().unwrap();
    assert_eq!((came.status, came.upstream.as_deref(), came.left("video-second")), (429, Some("0"), Some("0")));
    let came = run(&*limiter, &["image=1"]).ok().unwrap();
    assert_eq!((came.status, came.left("image-second")), (0, Some("1")));
    assert_eq!(run(&*limiter, &[]).ok().unwrap().left("video-second"), Some("0"));
    NOW.set(Some(NOON + 1));
    let came = run(&*limiter, &["image=2"]).ok().unwrap();
    assert_eq!(
        (came.left("image-second"), came.left("image-minute"), came.left("video-second")),
        (Some("3"), Some("0"), Some("10"))
    );
}

#[test]
fn row_212_what_is_used_up_is_refused_at_once() {
    let config = json!({"limits": {"video": {"minute": 9}, "image": {"minute": 1}}, "block_on_first_violation": true});
    let limiter = fresh(&config);
    assert_eq!(run(&*limiter, &["image=1"]).ok().unwrap().status, 0);
    let Err(reply) = run(&*limiter, &[]) else { panic!("it passed") };
    assert_eq!(reply.status, 429);
    assert!(matches!(reply.says, Says::Message(text) if text == "API rate limit exceeded for 'image'"));
}

#[test]
fn hidden_and_own_answers() {
    let limiter =
        fresh(&json!({"limits": {"video": {"minute": 1}}, "header_name": "X-Cost", "hide_client_headers": true}));
    let mut x = {
        let came = run(&*limiter, &["video=1"]).ok().unwrap();
        assert!(came.added.is_empty() && came.head.headers.contains("x-kong-limit"));
        let identity = Arc::new(Identity { service: "".into(), env: "".into(), hostname: "".into(), tags: vec![] });
        Exchange::begin(&identity, Direction::Inbound, Protocol::Http11, Head::default(), &"".into())
    };
    x.client = Some([10, 0, 0, 1].into());
    let mut costs = |own| {
        let mut head = AnswerHead { status: 200, headers: Headers::default(), own };
        head.headers.append("x-cost", "video=1");
        matches!(limiter.on_answer(&mut x, &mut head), After::Next)
    };
    // An answer of ours costs nothing, whatever it says.
    assert_eq!([costs(true), costs(true), costs(false), costs(false)], [true, true, true, false]);
}

#[test]
fn what_is_wrong_is_said_in_kongs_words() {
    assert_eq!(wrong(NAME, &json!({})), ["limits: required field missing"]);
    let config = json!({"limits": {"video": {"minute": 9, "hour": 1}, "a b": {"weekly": 1}}, "limit_by": "path"});
    let said = wrong(NAME, &config);
    for words in [
        "limit_by: expected one of: consumer, credential, ip",
        "limits.video: The limit for hour(1.0) cannot be lower than the limit for minute(9.0)",
        "limits.a b: it names header lines",
        "limits.a b.weekly: unknown field",
    ] {
        assert!(said.iter().any(|said| said == words), "{words}: {said:?}");
    }
}

#[test]
fn many_threads_count_all_that_passes() {
    const THREADS: u64 = 8;
    const EACH: u64 = 500;
    let limiter = fresh(&json!({"limits": {"video": {"minute": 3_000}, "image": {"day": 100_000}}}));
    let passed: u64 = std::thread::scope(|threads| {
        let run = || {
            threads.spawn(|| {
                NOW.set(Some(NOON));
                (0..EACH).filter(|_| run(&*limiter, &["video=1, image=3"]).is_ok_and(|came| came.status == 0)).count()
                    as u64
            })
        };
        let running: Vec<_> = (0..THREADS).map(|_| run()).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 3_000);
    assert_eq!(run(&*limiter, &[]).ok().unwrap().left("image-day"), Some("91000"));
}

//! The store against real files: what is promised, kept, sent, and found again.

mod kept;
mod turns;

use super::writer::{Change, What};
use super::*;
use bytes::Bytes;
use std::path::Path;
use std::time::Duration;

fn settings(folder: &Path) -> Settings {
    Settings { path: folder.to_owned(), min_free: 0, ..Settings::default() }
}

fn now() -> i64 {
    super::writer::now()
}

/// A command of a service.
fn new(id: &str) -> New {
    let lines = [("host", &b"x"[..]), ("x-odd", &b"\xff: v"[..])];
    New {
        told: Told {
            id: id.into(),
            name: "order.place".into(),
            direction: "inbound".into(),
            service: "order".into(),
            route: "worker".into(),
            tags: vec![("shop".into(), "7".into())],
            ..Told::default()
        },
        request: Request::new("POST", "/orders?a=b", lines.into_iter(), Bytes::from(format!("body of {id}"))),
        fingerprint: [1; 16],
        state: State::Ready,
        attempt: 0,
        created: now(),
        due: now(),
        expires: None,
        error: None,
        status: 0,
        finished: None,
        promised: false,
        in_turn: false,
    }
}

fn keyed(id: &str, key: &str) -> New {
    let mut new = new(id);
    new.told.key = Some(key.into());
    new
}

async fn put(spool: &Spool, new: New) -> (i64, State) {
    match spool.accept(new).await.unwrap() {
        Accepted::New { seq, state, .. } => (seq, state),
        same => panic!("{same:?}"),
    }
}

async fn jobs(spool: &Spool, most: usize) -> Vec<Job> {
    let work = tokio::time::timeout(Duration::from_secs(5), spool.claim(most)).await.unwrap().unwrap();
    work.into_iter()
        .filter_map(|w| match w {
            Work::Run(job) => Some(*job),
            Work::Over(_) => None,
        })
        .collect()
}

async fn job(spool: &Spool) -> Job {
    loop {
        if let Some(job) = jobs(spool, 1).await.pop() {
            return job;
        }
    }
}

fn done() -> Ending {
    let answer = Kept {
        lines: vec![("content-type".into(), "text/plain".into())],
        body: Bytes::from_static(b"yes"),
        cut: false,
    };
    Ending::Final { state: State::Succeeded, status: 201, error: None, answer }
}

async fn row(spool: &Spool, seq: i64) -> (Row, Kept) {
    spool.one(seq).await.unwrap().unwrap()
}

fn states(row: &Row) -> Vec<String> {
    row.history.lines().map(|l| l.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")).collect()
}

const SOON: Duration = Duration::from_millis(3);

#[tokio::test]
async fn a_command_is_kept_sent_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (seq, state) = put(&spool, new("a")).await;
    assert_eq!(state, State::Ready);
    let job = job(&spool).await;
    assert_eq!((job.seq, job.attempt, &*job.told.id), (seq, 1, "a"));
    assert_eq!(job.request.first(), Some(("POST", "/orders?a=b")));
    assert_eq!(job.request.lines().collect::<Vec<_>>(), [("host", &b"x"[..]), ("x-odd", &b"\xff: v"[..])]);
    assert_eq!(job.request.body, "body of a");
    spool.finish(seq, done(), SOON).await;
    let (row, answer) = row(&spool, seq).await;
    assert_eq!((row.state, row.status, row.attempt, row.bytes), (State::Succeeded, 201, 1, 0));
    assert_eq!(answer.body, "yes");
    assert_eq!(states(&row), ["ready 0", "running 1", "succeeded 1"]);
    spool.close();
    // The next process finds it as it was.
    let spool = Spool::open(&settings(folder.path())).unwrap();
    assert_eq!(spool.one(seq).await.unwrap().unwrap(), (row, answer));
    assert_eq!(spool.summary().of(State::Succeeded), 1);
    spool.close();
}

#[tokio::test]
async fn what_was_being_sent_is_sent_again_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (first, _) = put(&spool, new("a")).await;
    assert_eq!(job(&spool).await.seq, first);
    // The gate has found out with one; until that has ended no other is sent.
    spool.finish(first, Ending::Again { after: Duration::ZERO, status: 503, error: "503".into() }, SOON).await;
    // Due after the first one, so that the first one is what is being sent.
    let mut most = new("b");
    most.told.came.at_most_once = true;
    let (second, _) = put(&spool, most).await;
    let _ = (jobs(&spool, 2).await, spool.clone());
    spool.close();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let summary = spool.summary();
    assert_eq!(summary.of(State::Running), 0, "{summary:?}");
    let (row, _) = row(&spool, first).await;
    assert!(matches!(row.state, State::Ready | State::Retrying), "{row:?}");
    let mut seen = vec![job(&spool).await];
    spool.finish(seen[0].seq, done(), SOON).await;
    seen.push(job(&spool).await);
    let mut seqs: Vec<i64> = seen.iter().map(|j| j.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [first, second]);
    spool.finish(seen[1].seq, done(), SOON).await;
    spool.close();
}

#[tokio::test]
async fn what_must_not_run_twice_becomes_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let mut most = new("a");
    most.told.came.at_most_once = true;
    most.told.came.id_given = true;
    let (seq, _) = put(&spool, most.clone()).await;
    assert_eq!(job(&spool).await.seq, seq);
    spool.close();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (found, _) = row(&spool, seq).await;
    assert_eq!(found.state, State::Unknown);
    assert_eq!(spool.accept(most).await.unwrap_err(), Refused::Unknown);
    // An operator may say that it did not run.
    let again = Change::One { what: What::Retry { reset: false }, seq };
    assert_eq!(spool.change(again).await.unwrap().count, 1);
    let job = job(&spool).await;
    assert_eq!((job.seq, job.attempt), (seq, 2));
    spool.finish(seq, done(), SOON).await;
    spool.close();
}

#[tokio::test]
async fn an_id_makes_a_command_one() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let given = |id: &str| {
        let mut new = new(id);
        new.told.came.id_given = true;
        new
    };
    let (seq, _) = put(&spool, given("a")).await;
    let same = |accepted: Accepted| match accepted {
        Accepted::Same { seq, state, status, answer, .. } => (seq, state, status, answer.body),
        new => panic!("{new:?}"),
    };
    assert_eq!(same(spool.accept(given("a")).await.unwrap()), (seq, State::Ready, 0, Bytes::new()));
    let other = New { fingerprint: [2; 16], ..given("a") };
    assert_eq!(spool.accept(other).await.unwrap_err(), Refused::Other);
    // Somebody else's id is another id.
    let mut theirs = given("a");
    theirs.told.consumer = Some("bob".into());
    let (second, _) = put(&spool, theirs).await;
    assert_ne!(second, seq);
    assert_eq!(job(&spool).await.seq, seq);
    spool.finish(seq, done(), SOON).await;
    assert_eq!(same(spool.accept(given("a")).await.unwrap()), (seq, State::Succeeded, 201, "yes".into()));
    // What has failed may be done anew; what was refused for good is not.
    for (id, status, anew) in [("b", 500, true), ("c", 422, false)] {
        let (seq, _) = put(&spool, given(id)).await;
        while job(&spool).await.seq != seq {}
        let dead = Ending::Final { state: State::Dead, status, error: None, answer: Kept::default() };
        spool.finish(seq, dead, SOON).await;
        let is_new = matches!(spool.accept(given(id)).await.unwrap(), Accepted::New { .. });
        assert_eq!(is_new, anew, "{status}");
    }
    spool.close();
}

#[tokio::test]
async fn commands_of_a_key_run_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let mut seqs = Vec::new();
    for id in ["1", "2", "3"] {
        seqs.push(put(&spool, keyed(id, "order-7")).await.0);
    }
    let (other, _) = put(&spool, keyed("x", "order-8")).await;
    let (mut seen, mut failures) = (Vec::new(), 2);
    while seen.len() < 6 {
        for job in jobs(&spool, 8).await {
            seen.push(job.told.id.clone());
            let fails = job.told.id == "1" && failures > 0;
            let ending = match fails {
                true => Ending::Again { after: Duration::from_millis(20), status: 503, error: "503".into() },
                false => done(),
            };
            failures -= u32::from(fails);
            spool.finish(job.seq, ending, SOON).await;
        }
    }
    let of_key: Vec<&str> = seen.iter().map(|s| &**s).filter(|s| *s != "x").collect();
    assert_eq!(of_key, ["1", "1", "1", "2", "3"]);
    assert!(seen.iter().position(|s| s == "x").unwrap() < 3, "another key is not held up: {seen:?}");
    assert_eq!(row(&spool, other).await.0.state, State::Succeeded);
    spool.close();
}

#[tokio::test]
async fn time_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let at = |id: &str, after: i64| New { state: State::Scheduled, due: now() + after, ..new(id) };
    put(&spool, at("later", 400)).await;
    put(&spool, at("soon", 150)).await;
    let over = New { expires: Some(now() + 50), ..at("over", 300) };
    let (over, _) = put(&spool, over).await;
    let before = now();
    let first = job(&spool).await;
    assert_eq!(first.told.id, "soon");
    assert!(now() - before >= 140, "never before its time");
    spool.finish(first.seq, done(), SOON).await;
    let second = job(&spool).await;
    assert_eq!(second.told.id, "later");
    spool.finish(second.seq, done(), SOON).await;
    // The sinks are told of the one that nobody sent.
    let work = tokio::time::timeout(Duration::from_secs(5), spool.claim(1)).await;
    let state = row(&spool, over).await.0.state;
    assert_eq!(state, State::Expired);
    if let Ok(Some(work)) = work {
        assert!(matches!(&work[..], [Work::Over(ended)] if ended.state == State::Expired && ended.told.id == "over"));
    }
    spool.close();
}

#[tokio::test]
async fn a_service_that_is_away_burns_no_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    for id in ["a", "b", "c"] {
        put(&spool, new(id)).await;
    }
    let mut tries = 0;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        let jobs = jobs(&spool, 8).await;
        assert_eq!(jobs.len(), 1, "one probe");
        assert_eq!(jobs[0].attempt, 1);
        tries += 1;
        spool.finish(jobs[0].seq, Ending::Nobody { error: "refused".into() }, SOON).await;
    }
    assert!(tries <= 5, "{tries} tries");
    let listing = spool.list(Filter::default(), 0, 10).await.unwrap();
    assert!(listing.rows.iter().all(|r| r.attempt == 0 && r.state == State::Ready), "{listing:?}");
    spool.close();
}

#[tokio::test]
async fn an_operator_finds_and_changes_them() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    for n in 0..10 {
        let mut new = New { state: State::Scheduled, due: now() + 60_000, ..new(&n.to_string()) };
        new.told.name = if n % 2 == 0 { "order.place" } else { "order.cancel" }.into();
        new.told.tags = vec![("shop".into(), (n % 3).to_string())];
        put(&spool, new).await;
    }
    let count = |filter: Filter| async { spool.count(filter).await.unwrap() };
    assert_eq!(count(Filter { name: Some("order.place".into()), ..Filter::default() }).await, 5);
    assert_eq!(count(Filter { name: Some("order.*".into()), ..Filter::default() }).await, 10);
    assert_eq!(count(Filter { name: Some("*".into()), ..Filter::default() }).await, 10);
    assert_eq!(count(Filter { tag: Some(("shop".into(), "0".into())), ..Filter::default() }).await, 4);
    assert_eq!(count(Filter { tag: Some(("a\"'b".into(), "0".into())), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { before: Some(now() - 60_000), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { states: vec![State::Dead], ..Filter::default() }).await, 0);
    let page = spool.list(Filter::default(), 0, 4).await.unwrap();
    assert_eq!(page.rows.iter().map(|r| &*r.id).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let rest = spool.list(Filter::default(), page.next.unwrap(), 100).await.unwrap();
    assert_eq!((rest.rows.len(), rest.next), (6, None));
    let places = Filter { name: Some("order.place".into()), ..Filter::default() };
    let cancel = Change::Many { what: What::Cancel, filter: places.clone().into(), after: 0 };
    assert_eq!(spool.change(cancel.clone()).await.unwrap().count, 5);
    assert_eq!(spool.change(cancel).await.unwrap().count, 0, "they are cancelled");
    let retry = Change::Many { what: What::Retry { reset: true }, filter: places.clone().into(), after: 0 };
    assert_eq!(spool.change(retry).await.unwrap().count, 5);
    let one = job(&spool).await;
    let cannot = spool.change(Change::One { what: What::Cancel, seq: one.seq }).await.unwrap_err();
    assert_eq!(cannot, "it is running; only what waits can be cancelled");
    spool.finish(one.seq, done(), SOON).await;
    let discard = Change::Many { what: What::Discard, filter: places.into(), after: 0 };
    assert_eq!(spool.change(discard).await.unwrap().count, 5);
    assert_eq!(count(Filter::default()).await, 5);
    let summary = spool.summary();
    assert_eq!((summary.of(State::Scheduled), summary.counts.values().sum::<i64>()), (5, 5));
    // Paused, nothing leaves; that holds over a restart.
    spool.change(Change::Pause(None)).await.unwrap();
    put(&spool, new("p")).await;
    spool.close();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    assert_eq!(spool.summary().paused, ["*", "inbound order"]);
    assert!(tokio::time::timeout(Duration::from_millis(200), spool.claim(1)).await.is_err());
    spool.change(Change::Resume(None)).await.unwrap();
    assert_eq!(job(&spool).await.told.id, "p");
    spool.close();
}

#[tokio::test]
async fn what_is_encrypted_needs_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = |byte: u8| {
        let path = folder.path().join(format!("key{byte}"));
        std::fs::write(&path, [byte; 32]).unwrap();
        path
    };
    let path = folder.path().join("spool");
    let with = |key: Option<std::path::PathBuf>| Settings { key_file: key, ..settings(&path) };
    let spool = Spool::open(&with(Some(key(1)))).unwrap();
    let (seq, _) = put(&spool, new("a")).await;
    let mut file = std::fs::read(path.join("spool.db")).unwrap();
    file.extend(std::fs::read(path.join("spool.db-wal")).unwrap());
    assert!(!file.windows(9).any(|w| w == b"body of a"), "the body can be read");
    spool.close();
    let wrong = Spool::open(&with(Some(key(2)))).unwrap_err();
    assert!(wrong.message.contains("another key") && wrong.configuration, "{wrong}");
    let none = Spool::open(&with(None)).unwrap_err();
    assert!(none.message.contains("set spool.key_file"), "{none}");
    let spool = Spool::open(&with(Some(key(1)))).unwrap();
    let job = job(&spool).await;
    assert_eq!(job.request.body, "body of a");
    spool.finish(seq, done(), SOON).await;
    assert_eq!(row(&spool, seq).await.1.body, "yes");
    spool.close();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let second = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(second.message.contains(&format!("process {}", std::process::id())), "{second}");
    assert!(second.message.contains("set spool.path"), "{second}");
    spool.close();
    drop(spool);
    let file = settings(folder.path()).file();
    let db = rusqlite::Connection::open(&file).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let later = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(later.message.contains("a later version (form 99"), "{later}");
    std::fs::write(&file, b"no database at all, but long enough to be looked at as one").unwrap();
    let broken = Spool::open(&settings(folder.path())).unwrap_err();
    assert!(broken.message.contains("damaged"), "{broken}");
}

#[tokio::test]
async fn it_takes_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let small = Settings { max_commands: 3, ..settings(folder.path()) };
    let spool = Spool::open(&small).unwrap();
    for id in ["a", "b", "c"] {
        put(&spool, new(id)).await;
    }
    let full = spool.accept(new("d")).await.unwrap_err();
    assert!(matches!(&full, Refused::Full(why) if why.contains("spool.max_commands")), "{full:?}");
    assert_eq!(spool.summary().refused, 1);
    spool.close();
    drop(spool);
    let folder = tempfile::tempdir().unwrap();
    let small = Settings { max_bytes: 1 << 20, ..settings(folder.path()) };
    let spool = Spool::open(&small).unwrap();
    let large = |n: usize| {
        let mut new = new(&n.to_string());
        new.request.body = Bytes::from(vec![b'x'; 100_000]);
        new
    };
    let mut taken = 0;
    let full = loop {
        match spool.accept(large(taken)).await {
            Ok(_) => taken += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(&full, Refused::Full(why) if why.contains("spool.max_bytes")), "{full:?}");
    assert!((7..=10).contains(&taken), "{taken}");
    // What is in it can still be finished.
    let job = job(&spool).await;
    spool.finish(job.seq, done(), SOON).await;
    assert_eq!(row(&spool, job.seq).await.0.state, State::Succeeded);
    spool.close();
}

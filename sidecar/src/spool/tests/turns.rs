//! Whose turn it is, what is promised to whom, and what is left when something goes wrong in between.

use super::*;
use crate::spool::Import;

/// One that is sent by whoever stores it.
fn running(id: &str) -> New {
    let mut new = New { state: State::Running, attempt: 1, ..new(id) };
    new.told.came.id_given = true;
    new
}

fn db(settings: &Settings) -> rusqlite::Connection {
    rusqlite::Connection::open(settings.file()).unwrap()
}

/// What is counted is what is there.
fn adds_up(settings: &Settings) {
    let db = db(settings);
    let all = |sql: &str| -> Vec<(String, String, i64)> {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let counted = all("SELECT target, state, n FROM counts WHERE n <> 0 ORDER BY 1, 2");
    assert_eq!(counted, all("SELECT target, state, count(*) FROM commands GROUP BY 1, 2 ORDER BY 1, 2"));
}

#[tokio::test]
async fn what_is_forgotten_holds_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    for once in [true, false] {
        let mut first = running(&format!("first {once}"));
        first.told.key = Some(format!("key {once}"));
        first.told.came.once = once;
        let (seq, _) = put(&spool, first).await;
        let (next, _) = put(&spool, keyed(&format!("next {once}"), &format!("key {once}"))).await;
        spool.finish(seq, Ending::Forget, SOON).await;
        assert!(spool.one(seq).await.unwrap().is_none());
        assert_eq!(job(&spool).await.seq, next, "once: {once}");
        spool.finish(next, done(), SOON).await;
    }
    spool.close();
    adds_up(&settings(folder.path()));
}

#[tokio::test]
async fn a_key_that_nobody_has_the_turn_of_gets_one_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    spool.change(Change::Pause(None)).await.unwrap();
    let (seq, _) = put(&spool, keyed("a", "order-7")).await;
    spool.change(Change::Resume(None)).await.unwrap();
    spool.close();
    drop(spool);
    db(&settings).execute("UPDATE commands SET due_at = NULL", []).unwrap();
    let spool = Spool::open(&settings).unwrap();
    assert_eq!(job(&spool).await.seq, seq);
    spool.close();
}

#[tokio::test]
async fn two_of_a_key_never_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (old, _) = put(&spool, keyed("old", "k")).await;
    assert_eq!(job(&spool).await.seq, old);
    let dead = Ending::Final { state: State::Dead, status: 422, error: None, answer: Kept::default() };
    spool.finish(old, dead, SOON).await;
    let (now, _) = put(&spool, keyed("now", "k")).await;
    assert_eq!(job(&spool).await.seq, now);
    let (after, _) = put(&spool, keyed("after", "k")).await;
    // An old one is wanted again while a younger one runs, and a third one goes: whose turn is it?
    spool.change(Change::One { what: What::Retry { reset: false }, seq: old }).await.unwrap();
    spool.change(Change::One { what: What::Cancel, seq: after }).await.unwrap();
    assert_eq!(row(&spool, old).await.0.due, None, "the one that runs has it");
    // It fails for now: the old one waits on.
    let again = Ending::Again { after: Duration::ZERO, status: 503, error: "503".into() };
    spool.finish(now, again, SOON).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let one = job(&spool).await;
        let running = spool.count(Filter { states: vec![State::Running], ..Filter::default() }).await.unwrap();
        assert_eq!(running, 1);
        seen.push(one.seq);
        spool.finish(one.seq, done(), SOON).await;
    }
    assert_eq!(seen, [now, old]);
    spool.close();
    adds_up(&settings(folder.path()));
}

#[tokio::test]
async fn nobody_is_promised_what_may_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (seq, _) = put(&spool, running("a")).await;
    let asked = || New { state: State::Ready, attempt: 0, ..running("a") };
    assert_eq!(spool.accept(asked()).await.unwrap_err(), Refused::InProgress);
    spool.promise(seq).await.unwrap();
    assert!(matches!(spool.accept(asked()).await, Ok(Accepted::Same { state: State::Running, .. })));
    // One that is told of its storage at once is promised from the beginning.
    put(&spool, New { promised: true, ..running("b") }).await;
    let asked = New { state: State::Ready, attempt: 0, ..running("b") };
    assert!(matches!(spool.accept(asked).await, Ok(Accepted::Same { .. })));
    spool.finish(seq, Ending::Forget, SOON).await;
    assert!(spool.promise(seq).await.is_err(), "it has ended");
    spool.close();
}

#[tokio::test]
async fn ids_are_those_of_whoever_proved_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let of = |caller: &str| {
        let mut new = new("1");
        new.told.came.id_given = true;
        new.told.came.caller = caller.into();
        new
    };
    let (alice, _) = put(&spool, of("alice")).await;
    let (bob, _) = put(&spool, of("bob")).await;
    assert_ne!(alice, bob);
    assert!(matches!(spool.accept(of("alice")).await, Ok(Accepted::Same { seq, .. }) if seq == alice));
    spool.close();
}

#[tokio::test]
async fn what_is_dead_stays_when_there_is_no_room_for_another_try() {
    let folder = tempfile::tempdir().unwrap();
    let small = Settings { max_bytes: 1 << 20, ..settings(folder.path()) };
    let spool = Spool::open(&small).unwrap();
    let large = |id: &str| {
        let mut new = new(id);
        new.told.came.id_given = true;
        new.request.body = Bytes::from(vec![b'x'; 200_000]);
        new
    };
    let (seq, _) = put(&spool, large("a")).await;
    assert_eq!(job(&spool).await.seq, seq);
    let dead = Ending::Final { state: State::Dead, status: 500, error: None, answer: Kept::default() };
    spool.finish(seq, dead, SOON).await;
    let mut n = 0;
    while spool.accept(large(&format!("more {n}"))).await.is_ok() {
        n += 1;
    }
    assert!(matches!(spool.accept(large("a")).await, Err(Refused::Full(_))));
    assert_eq!(row(&spool, seq).await.0.state, State::Dead);
    assert_eq!(spool.job(seq).await.unwrap().request.body.len(), 200_000, "somebody may still let it run again");
    spool.close();
    drop(spool);
    // Where only their number is the limit, one takes the other's place.
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&Settings { max_commands: 1, ..settings(folder.path()) }).unwrap();
    let (seq, _) = put(&spool, large("a")).await;
    assert_eq!(job(&spool).await.seq, seq);
    let dead = Ending::Final { state: State::Dead, status: 500, error: None, answer: Kept::default() };
    spool.finish(seq, dead, SOON).await;
    assert!(matches!(spool.accept(large("a")).await, Ok(Accepted::New { .. })));
    spool.close();
    adds_up(&settings(folder.path()));
}

#[tokio::test]
async fn one_without_a_way_does_not_shut_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (lost, _) = put(&spool, new("lost")).await;
    assert_eq!(job(&spool).await.seq, lost);
    let held = Ending::Held { error: "its route is gone".into(), after: Duration::from_secs(3600) };
    spool.finish(lost, held, SOON).await;
    let (good, _) = put(&spool, new("good")).await;
    let found = job(&spool).await;
    assert_eq!(found.seq, good);
    let (shown, _) = row(&spool, lost).await;
    assert_eq!((shown.state, shown.attempt, shown.error.as_deref()), (State::Ready, 0, Some("its route is gone")));
    spool.close();
}

#[tokio::test]
async fn a_thread_that_takes_nothing_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    // It asks, and is gone by the time that there is something.
    let asking = tokio::spawn({
        let spool = spool.clone();
        async move { spool.claim(8).await }
    });
    tokio::task::yield_now().await;
    asking.abort();
    let _ = asking.await;
    let (seq, _) = put(&spool, new("a")).await;
    let found = job(&spool).await;
    assert_eq!((found.seq, found.attempt), (seq, 1));
    spool.finish(seq, done(), SOON).await;
    spool.close();
    adds_up(&settings(folder.path()));
}

#[tokio::test]
async fn what_moves_keeps_its_time_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let most = |mut new: New| {
        new.told.came.at_most_once = true;
        new
    };
    let long_ago = now() - 30 * 24 * 3_600_000;
    let all = [
        New { state: State::Running, ..most(new("was running")) },
        New { state: State::Scheduled, due: now() + 3_600_000, ..new("later") },
        New { state: State::Dead, created: long_ago, finished: Some(now()), attempt: u32::MAX, ..new("dead") },
    ];
    let all = all.into_iter().map(|new| Import { new, history: String::new() }).collect();
    assert_eq!(spool.change(Change::Import(all)).await.unwrap().count, 3);
    let listing = spool.list(Filter::default(), 0, 10).await.unwrap();
    let states: Vec<(&str, State)> = listing.rows.iter().map(|r| (&*r.id, r.state)).collect();
    assert_eq!(states, [("was running", State::Unknown), ("later", State::Scheduled), ("dead", State::Dead)]);
    assert!(listing.rows[1].wants > now() + 3_000_000);
    assert!(listing.rows[2].finished.unwrap() > long_ago);
    // As often as it may have been tried, one more is no fault.
    let seq = listing.rows[2].seq;
    spool.change(Change::One { what: What::Retry { reset: false }, seq }).await.unwrap();
    assert_eq!(job(&spool).await.attempt, u32::MAX);
    spool.close();
    adds_up(&settings(folder.path()));
}

/// As many are sent at once as this.
async fn opened_to(spool: &Spool, room: usize) {
    while spool.summary().of(State::Succeeded) < 8 * room as i64 {
        let (seq, _) = put(spool, new(&fastrand::u64(..).to_string())).await;
        assert_eq!(job(spool).await.seq, seq);
        spool.finish(seq, done(), SOON).await;
    }
}

/// Takes the one that there is, and asks for more; it ends so, and is given out again at once.
async fn given_out_again(spool: &Spool, seq: i64, attempt: u32, ending: Ending) {
    let asking = tokio::spawn({
        let spool = spool.clone();
        async move { job(&spool).await }
    });
    tokio::time::sleep(SOON).await;
    spool.finish(seq, ending, SOON).await;
    let again = asking.await.unwrap();
    assert_eq!((again.seq, again.attempt), (seq, attempt));
}

#[tokio::test]
async fn what_is_given_out_by_the_transaction_that_ends_it_has_an_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    opened_to(&spool, 4).await;
    let (seq, _) = put(&spool, new("a")).await;
    assert_eq!(job(&spool).await.seq, seq);
    let (after, error) = (Duration::ZERO, "once more".to_owned());
    given_out_again(&spool, seq, 2, Ending::Again { after, status: 503, error: error.clone() }).await;
    given_out_again(&spool, seq, 2, Ending::Held { after, error: error.clone() }).await;
    // The disk does not take it: all of it is done once more.
    db(&settings)
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON counts BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let mending = tokio::spawn({
        let settings = settings.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            db(&settings).execute_batch("DROP TRIGGER no").unwrap();
        }
    });
    given_out_again(&spool, seq, 3, Ending::Again { after, status: 503, error }).await;
    mending.await.unwrap();
    spool.finish(seq, done(), SOON).await;
    assert_eq!(row(&spool, seq).await.0.state, State::Succeeded);
    // None of them is counted as being sent: there is room for as many as before.
    for nth in 0..4 {
        put(&spool, new(&format!("more {nth}"))).await;
    }
    let mut held = Vec::new();
    while held.len() < 4 {
        held.push(job(&spool).await.seq);
    }
    spool.close();
    adds_up(&settings);
}

#[tokio::test]
async fn whoever_else_writes_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    let other = db(&settings);
    for nth in 0..3 {
        other.execute_batch("BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta VALUES ('operator', 'was here')").unwrap();
        let accepted = tokio::spawn({
            let spool = spool.clone();
            // Its id is looked for before it is written.
            async move { spool.accept(New { state: State::Ready, ..running(&nth.to_string()) }).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.execute_batch("COMMIT").unwrap();
        assert!(matches!(accepted.await.unwrap(), Ok(Accepted::New { .. })));
    }
    assert_eq!(spool.summary().trouble, None);
    spool.close();
}

#[tokio::test]
async fn what_is_retried_while_its_end_is_written_has_an_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    opened_to(&spool, 4).await;
    let dead = || Ending::Final { state: State::Dead, status: 400, error: None, answer: Kept::default() };
    let (seq, _) = put(&spool, new("a")).await;
    assert_eq!(job(&spool).await.seq, seq);
    // Somebody else writes: what is asked meanwhile is one transaction.
    let other = db(&settings);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = tokio::spawn({
        let spool = spool.clone();
        async move {
            let waits = spool.change(Change::Resume(None));
            let ends = spool.finish(seq, dead(), SOON);
            let again = spool.change(Change::One { what: What::Retry { reset: false }, seq });
            let (_, _, again, job) = tokio::join!(waits, ends, again, job(&spool));
            (again, job)
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    other.execute_batch("COMMIT").unwrap();
    let (again, job) = asked.await.unwrap();
    assert_eq!((again.unwrap().count, job.seq, job.attempt), (1, seq, 2));
    spool.finish(seq, dead(), SOON).await;
    assert_eq!(row(&spool, seq).await.0.state, State::Dead);
    spool.close();
    adds_up(&settings);
}

#[tokio::test]
async fn what_may_have_been_done_is_seen_and_left_to_somebody() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    let once = |id: &str, at_most_once: bool| {
        let mut new = running(id);
        (new.told.came.once, new.told.came.at_most_once) = (true, at_most_once);
        new.told.key = Some("k".into());
        new
    };
    let (cut, _) = put(&spool, once("cut", true)).await;
    let (_, _) = put(&spool, once("again", false)).await;
    let (silent, _) = put(&spool, once("silent", true)).await;
    let unknown = Ending::Final { state: State::Unknown, status: 0, error: None, answer: Kept::default() };
    spool.finish(silent, unknown, SOON).await;
    // This one can be sent.
    let mut most = new("stored");
    most.told.came.at_most_once = true;
    let (stored, _) = put(&spool, most).await;
    assert_eq!(job(&spool).await.seq, stored);
    spool.close();
    drop(spool);
    let spool = Spool::open(&settings).unwrap();
    // What was at the worker when Fourmi died may have been done, whoever waited for it.
    let listed = spool.list(Filter::default(), 0, 10).await.unwrap().rows;
    let listed: Vec<(&str, State)> = listed.iter().map(|row| (&*row.id, row.state)).collect();
    let all = ["cut", "silent", "stored"].map(|id| (id, State::Unknown));
    assert_eq!(listed, all);
    assert_eq!(spool.count(Filter { states: vec![State::Unknown], ..Filter::default() }).await.unwrap(), 3);
    assert_eq!(spool.accept(once("cut", true)).await.unwrap_err(), Refused::Unknown);
    assert!(matches!(spool.accept(once("again", false)).await, Ok(Accepted::New { .. })));
    // There is nothing to send of it.
    let retry = What::Retry { reset: false };
    let refused = spool.change(Change::One { what: retry, seq: cut }).await.unwrap_err();
    assert!(refused.contains("was not kept") && refused.contains("discard it"), "{refused}");
    let filter = Box::new(Filter { states: vec![State::Unknown], ..Filter::default() });
    let changed = spool.change(Change::Many { what: retry, filter: filter.clone(), after: 0 }).await.unwrap();
    assert_eq!((changed.count, changed.left), (1, 0), "what can be sent");
    assert_eq!(spool.change(Change::One { what: What::Discard, seq: cut }).await.unwrap().count, 1);
    assert!(matches!(spool.accept(once("cut", true)).await, Ok(Accepted::New { .. })));
    let changed = spool.change(Change::Many { what: What::Discard, filter, after: 0 }).await.unwrap();
    assert_eq!(changed.count, 1);
    spool.close();
    adds_up(&settings);
}

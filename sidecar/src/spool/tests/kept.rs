//! What an earlier version, or a process with another clock, has left in the file.

use super::*;
use crate::spool::store::rows;

fn db(settings: &Settings) -> rusqlite::Connection {
    rusqlite::Connection::open(settings.file()).unwrap()
}

#[tokio::test]
async fn a_file_of_an_earlier_form_is_brought_up() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    spool.change(Change::Pause(None)).await.unwrap();
    for id in ["1", "2"] {
        put(&spool, keyed(id, "k")).await;
    }
    spool.close();
    drop(spool);
    // As the first form was.
    let file = db(&settings);
    file.execute_batch("DROP INDEX commands_turn; PRAGMA user_version = 1").unwrap();
    drop(file);
    let spool = Spool::open(&settings).unwrap();
    spool.change(Change::Resume(None)).await.unwrap();
    for id in ["1", "2"] {
        let job = job(&spool).await;
        assert_eq!(job.told.id, id);
        spool.finish(job.seq, done(), SOON).await;
    }
    spool.close();
    let form: i64 = db(&settings).query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    assert_eq!(form, 2);
    // However many wait for their turn, they are not walked through.
    let file = db(&settings);
    for (sql, index) in [
        (rows::RELEASE, "commands_key (target=? AND key=?)"),
        (rows::RELEASE, "commands_turn (target=? AND key=?)"),
        (rows::RELEASE, "SEARCH commands USING INTEGER PRIMARY KEY (rowid=?)"),
        (rows::HAS_TURN, "commands_turn (target=? AND key=?)"),
        (rows::IS_HELD, "commands_key (target=? AND key=?)"),
    ] {
        let mut plan = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let n = plan.parameter_count();
        let steps = plan.query_map(rusqlite::params_from_iter(vec!["x"; n]), |r| r.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert!(steps.iter().any(|step| step.contains(index)), "{index}: {steps:#?}");
        assert!(!steps.iter().any(|step| step.contains("SCAN commands") || step.contains("B-TREE")), "{steps:#?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nobody_back() {
    const HOUR: i64 = 3_600_000;
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let spool = Spool::open(&settings).unwrap();
    let (retried, _) = put(&spool, new("retried")).await;
    assert_eq!(job(&spool).await.seq, retried);
    let again = |after| Ending::Again { after, status: 503, error: "503".into() };
    spool.finish(retried, again(Duration::from_secs(7200)), SOON).await;
    spool.change(Change::Pause(None)).await.unwrap();
    let (turn, _) = put(&spool, keyed("turn", "k")).await;
    let (held, _) = put(&spool, keyed("held", "k")).await;
    let (later, _) = put(&spool, New { state: State::Scheduled, due: now() + HOUR, ..new("later") }).await;
    let at = row(&spool, later).await.0.due;
    spool.close();
    drop(spool);
    // All of that was a day later by the clock of then.
    let file = db(&settings);
    let noted: i64 = file.query_row("SELECT value FROM meta WHERE name = 'clock'", [], |r| r.get(0)).unwrap();
    assert!((now() - 60_000..=now()).contains(&noted), "{noted}");
    file.execute("UPDATE commands SET due_at = due_at + ?1, wants_at = wants_at + ?1", [24 * HOUR]).unwrap();
    file.execute("UPDATE meta SET value = ?1 WHERE name = 'clock'", [now() + 24 * HOUR]).unwrap();
    drop(file);
    let spool = Spool::open(&settings).unwrap();
    for seq in [turn, held] {
        let (row, _) = row(&spool, seq).await;
        assert!(row.wants <= now(), "{row:?}");
    }
    let (waits, _) = row(&spool, retried).await;
    let left = waits.due.unwrap() - now();
    assert!((HOUR..=2 * HOUR).contains(&left), "what was left of its wait: {left}");
    assert_eq!(row(&spool, later).await.0.due, at.map(|at| at + 24 * HOUR), "that is what its caller said");
    spool.change(Change::Resume(None)).await.unwrap();
    for seq in [turn, held] {
        assert_eq!(job(&spool).await.seq, seq);
        spool.finish(seq, done(), SOON).await;
    }
    spool.close();
}

#[tokio::test]
async fn however_many_ask_at_once_each_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&settings(folder.path())).unwrap();
    let (seq, _) = put(&spool, New { state: State::Scheduled, due: now() + 60_000, ..new("a") }).await;
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let slow = tokio::spawn({
        let spool = spool.clone();
        async move { spool.read(move |_, _| Ok(wait.recv().is_ok())).await }
    });
    let all: Vec<_> = (0..500)
        .map(|_| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.one(seq).await.unwrap().unwrap().0.seq })
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    for one in all {
        assert_eq!(one.await.unwrap(), seq);
    }
    assert!(slow.await.unwrap().unwrap());
    spool.close();
}

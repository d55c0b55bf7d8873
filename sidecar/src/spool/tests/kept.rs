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

//! Rows of facts about Consul's HTTP API, asked through real sockets. Where we differ on purpose, the row says why and
//! expects ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod calling;

use calling::{Row, run};

#[tokio::test]
async fn consul_rows() {
    let rows = Row::parse_all(include_str!("rows/http.txt"));
    assert!(rows.len() > 50, "the rows are read: {}", rows.len());
    let mut running = tokio::task::JoinSet::new();
    // Some of them wait.
    for row in rows.clone() {
        running.spawn(async move { (run(&row).await, row) });
    }
    let mut failed = Vec::new();
    for (result, row) in running.join_all().await {
        if let Err(why) = result {
            failed.push(format!("{} {}: {why}", row.id, row.title));
        }
    }
    let differ: Vec<&Row> = rows.iter().filter(|row| row.differs.is_some()).collect();
    println!("{} of {} rows hold, {} of them differ on purpose:", rows.len() - failed.len(), rows.len(), differ.len());
    for row in differ {
        println!("  {} {}: {}", row.id, row.title, row.differs.as_deref().unwrap_or_default());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

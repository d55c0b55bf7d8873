//! Rows of facts about Consul's HTTP API, asked through real sockets. Where we differ on purpose, the row says why and
//! expects ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod calling;
mod rows;

use calling::run;
use rows::{Row, conclude};

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
    conclude(&rows, &failed);
}

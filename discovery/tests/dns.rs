//! Rows of facts about Consul's and SkyDNS's DNS, asked through real sockets. Where we differ on purpose, the row says
//! why and expects ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod asking;
mod rows;

use asking::run;
use rows::{Row, conclude};

#[tokio::test]
async fn consul_rows() {
    all(include_str!("rows/consul.txt")).await;
}

#[tokio::test]
async fn skydns_rows() {
    all(include_str!("rows/skydns.txt")).await;
}

async fn all(text: &str) {
    let rows = Row::parse_all(text);
    assert!(rows.len() > 50, "the rows are read: {}", rows.len());
    let mut failed = Vec::new();
    for row in &rows {
        if let Err(why) = run(row).await {
            failed.push(format!("{} {}: {why}", row.id, row.title));
        }
    }
    conclude(&rows, &failed);
}

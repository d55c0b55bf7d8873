//! Rows of facts about Consul's and SkyDNS's DNS, asked through real sockets. Where we differ on purpose, the row says
//! why and expects ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod asking;

use asking::{Row, run};

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
    let differ: Vec<&Row> = rows.iter().filter(|row| row.differs.is_some()).collect();
    println!("{} of {} rows hold, {} of them differ on purpose:", rows.len() - failed.len(), rows.len(), differ.len());
    for row in differ {
        println!("  {} {}: {}", row.id, row.title, row.differs.as_deref().unwrap_or_default());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

//! Many who write at once, and one who waits: every write that was acknowledged has a number of its own, in the order in
//! which its writer wrote, and whoever waits misses none. The registry has a file, so that acknowledged means kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use fourmi_discovery::http::{Server, Settings};
use fourmi_discovery::{Limits, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Who write at once, and how often each does: a key and a service each time.
const WRITERS: usize = 32;
const ROUNDS: usize = 60;

/// A connection that stays.
struct Client(BufReader<TcpStream>);

struct Answer {
    index: u64,
    body: String,
}

impl Client {
    async fn to(address: SocketAddr) -> Self {
        Client(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        let request =
            format!("{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut index, mut length) = (String::new(), 0, 0);
        self.0.read_line(&mut status).await.unwrap();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name {
                "x-consul-index" => index = value.parse().unwrap(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut read = vec![0; length];
        self.0.read_exact(&mut read).await.unwrap();
        let body = String::from_utf8(read).unwrap();
        assert!(status.contains(" 200 "), "{method} {path}: {status} {body}");
        Answer { index, body }
    }
}

/// The numbers that one writer's keys and services have, each in the order of writing.
async fn write(address: SocketAddr, writer: usize) -> (Vec<u64>, Vec<u64>) {
    let mut client = Client::to(address).await;
    let (mut keys, mut services) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let name = format!("w{writer}-{round}");
        assert_eq!(client.ask("PUT", &format!("kv/all/{name}?cas=0"), "x").await.body, "true");
        client.ask("PUT", "agent/service/register", &format!("{{\"Name\":\"{name}\",\"Port\":80}}")).await;
        let row: serde_json::Value =
            serde_json::from_str(&client.ask("GET", &format!("kv/all/{name}"), "").await.body).unwrap();
        keys.push(row[0]["ModifyIndex"].as_u64().unwrap());
        services.push(client.ask("GET", &format!("health/service/{name}"), "").await.index);
    }
    (keys, services)
}

/// Waits for every change of something until all are there. Returns what it was told, with the number it was told by first.
async fn wait(address: SocketAddr, path: &str, names: fn(&str) -> BTreeSet<String>) -> BTreeMap<String, u64> {
    let mut client = Client::to(address).await;
    let (mut seen, mut told): (u64, BTreeMap<String, u64>) = (0, BTreeMap::new());
    let end = Instant::now() + Duration::from_secs(120);
    while told.len() < WRITERS * ROUNDS {
        assert!(Instant::now() < end, "{} of {}", told.len(), WRITERS * ROUNDS);
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = client.ask("GET", &format!("{path}{separator}index={seen}&wait=10s"), "").await;
        let now = names(&answer.body);
        assert!(answer.index > seen || now.len() == told.len(), "another answer has another number: {}", answer.index);
        assert!(told.keys().all(|name| now.contains(name)), "what was told stays");
        for name in now {
            told.entry(name).or_insert(answer.index);
        }
        seen = answer.index;
    }
    told
}

fn keys(body: &str) -> BTreeSet<String> {
    let all: BTreeSet<String> = serde_json::from_str(body).unwrap();
    all.into_iter().filter(|name| name != "all/w").collect()
}

fn services(body: &str) -> BTreeSet<String> {
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(body).unwrap();
    all.into_keys().filter(|name| name.starts_with('w')).collect()
}

#[tokio::test]
async fn every_acknowledged_write_has_a_number_of_its_own_and_a_reader_misses_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&folder.path().join("registry.db"), Limits::default()).unwrap());
    let here = ["127.0.0.1:0".parse().unwrap()];
    let server =
        Server::start(&here, store.registry().clone(), Some(Arc::clone(&store)), Settings::default()).await.unwrap();
    let address = server.addresses()[0];
    // A read of nothing is 404, which is no answer that this client takes.
    Client::to(address).await.ask("PUT", "kv/all/w", "x").await;
    let mut readers = JoinSet::new();
    readers.spawn(async move { wait(address, "kv/all/w?keys", keys).await });
    readers.spawn(async move { wait(address, "catalog/services", services).await });
    let began = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(address, writer));
    }
    let written = writers.join_all().await;
    let took = began.elapsed();
    let total = 2 * WRITERS * ROUNDS;
    println!("{total} writes in {took:?}, {:.0} a second, each read back", total as f64 / took.as_secs_f64());
    for which in [0, 1] {
        let of = |(keys, services): &(Vec<u64>, Vec<u64>)| if which == 0 { keys.clone() } else { services.clone() };
        let all: Vec<Vec<u64>> = written.iter().map(of).collect();
        assert!(all.iter().all(|one| one.is_sorted_by(|a, b| a < b)), "later writes have greater numbers");
        let distinct: BTreeSet<u64> = all.iter().flatten().copied().collect();
        assert_eq!(distinct.len(), WRITERS * ROUNDS, "no two writes have one number");
    }
    for told in readers.join_all().await {
        assert_eq!(told.len(), WRITERS * ROUNDS);
    }
    // Acknowledged is kept.
    drop(server);
    let mut store = Some(store);
    while let Some(kept) = store.take() {
        // Its connections end in their tasks.
        match Arc::try_unwrap(kept) {
            Ok(store) => drop(store),
            Err(shared) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                store = Some(shared);
            }
        }
    }
    let again = Store::open(&folder.path().join("registry.db"), Limits::default()).unwrap();
    let there = again.registry().snapshot().services().filter(|service| service.name.starts_with('w')).count();
    assert_eq!(there, WRITERS * ROUNDS);
}

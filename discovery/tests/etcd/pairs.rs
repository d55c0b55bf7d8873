//! Keys and values that several registries share, through their API.

use crate::client::{Answer, ask};
use crate::harness::{Cluster, Peer, Relay, Version, eventually};
use fourmi_discovery::etcd::Settings;
use fourmi_discovery::http::{Server, Settings as Api};
use fourmi_discovery::{Limits, Store};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Clients that count at once, and how far each of them does.
const CLIENTS: u64 = 6;
const COUNTS: u64 = 25;

/// A registry with its API.
struct Shared {
    store: Arc<Store>,
    server: Server,
}

impl Shared {
    async fn start(settings: Settings) -> Self {
        let node = settings.node.clone();
        let Peer { store, .. } = Peer::start(settings).await;
        Self::over(store, &node).await
    }

    async fn over(store: Store, node: &str) -> Self {
        let (store, api) = (Arc::new(store), Api { node: node.into(), ..Api::default() });
        let here = ["127.0.0.1:0".parse().unwrap()];
        let server = Server::start(&here, store.registry().clone(), Some(Arc::clone(&store)), api).await.unwrap();
        Shared { store, server }
    }

    fn at(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    async fn ask(&self, call: &str) -> Answer {
        ask(self.at(), call, &[]).await
    }

    /// Waits until it answers a call with that.
    async fn says(&self, call: &str, wanted: &str) {
        let end = tokio::time::Instant::now() + crate::harness::PATIENCE;
        loop {
            let answer = self.ask(call).await;
            if answer.body == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{call}: {:?}, not {wanted:?}", answer.body);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

fn index(answer: &Answer) -> u64 {
    answer.header("x-consul-index").unwrap().parse().unwrap()
}

/// Adds one to a counter, as often as another was faster. Returns what it was before.
async fn count(at: SocketAddr) -> u64 {
    loop {
        let answer = ask(at, "GET kv/count", &[]).await;
        let rows: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let number = rows[0]["ModifyIndex"].as_u64().unwrap();
        let before: u64 = ask(at, "GET kv/count?raw", &[]).await.body.parse().unwrap();
        let done = ask(at, &format!("PUT kv/count?cas={number} {}", before + 1), &[]).await;
        match done.body.as_str() {
            "true" => return before,
            "false" => {}
            other => panic!("{} {other}", done.status),
        }
    }
}

#[tokio::test]
async fn registries_share_keys_on_3_4() {
    shared(Version::Old).await;
}

#[tokio::test]
async fn registries_share_keys_on_3_5() {
    shared(Version::New).await;
}

async fn shared(version: Version) {
    let cluster = Cluster::start(version, 1).await;
    cluster.ready().await;
    let (a, b) = (Shared::start(cluster.settings("n1")).await, Shared::start(cluster.settings("n2")).await);

    // What is written at one is read there at once, and wakes who waits at the other; both tell the same numbers.
    let before = index(&b.ask("GET kv/x").await);
    let waiting = tokio::spawn({
        let at = b.at();
        async move { ask(at, &format!("GET kv/x?index={before}&wait=30s"), &[]).await }
    });
    assert_eq!(a.ask("PUT kv/x?flags=42 hello").await.body, "true");
    let here = a.ask("GET kv/x").await;
    let there = waiting.await.unwrap();
    assert!(here.body.contains(r#""Flags":42"#) && here.body.contains("aGVsbG8="), "{}", here.body);
    assert_eq!((here.body.as_str(), index(&here)), (there.body.as_str(), index(&there)));
    assert!(index(&here) > before, "{} after {before}", index(&here));
    let (_, kept) = cluster.get("/fourmi/kv/x").remove(0);
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, serde_json::json!({"value": "hello", "flags": 42}));

    // Of all who compare at once, each change is one's alone.
    assert_eq!(a.ask("PUT kv/count?cas=0 0").await.body, "true");
    assert_eq!(b.ask("PUT kv/count?cas=0 0").await.body, "false", "though it may not have heard of it yet");
    b.says("GET kv/count?raw", "0").await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let at = if client % 2 == 0 { a.at() } else { b.at() };
        clients.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..COUNTS {
                seen.push(count(at).await);
            }
            seen
        });
    }
    let mut seen = clients.join_all().await.concat();
    seen.sort_unstable();
    assert_eq!(seen, (0..CLIENTS * COUNTS).collect::<Vec<_>>(), "no count is lost, and none is given twice");

    // Every write has a number of its own, and is there when it is answered.
    let mut last = 0;
    for n in 0..30 {
        assert_eq!(b.ask(&format!("PUT kv/n {n}")).await.body, "true");
        let answer = b.ask("GET kv/n?raw").await;
        assert_eq!(answer.body, n.to_string());
        assert!(index(&answer) > last, "{n}");
        last = index(&answer);
    }

    // Others write and remove too; what nobody can read is not there.
    cluster.put("/fourmi/kv/dir/a", r#"{"value":"1"}"#);
    cluster.put("/fourmi/kv/dir/b", r#"{"base64":"/w=="}"#);
    cluster.put("/fourmi/kv/dir/c", "what is this");
    a.says("GET kv/dir?keys", r#"["dir/a","dir/b"]"#).await;
    eventually("that is counted", || a.store.standing().unreadable == 1).await;
    cluster.control(&["del", "/fourmi/kv/dir/a"]).unwrap();
    a.says("GET kv/dir?keys", r#"["dir/b"]"#).await;
    assert_eq!(a.ask("DELETE kv/dir?recurse").await.body, "true");
    assert_eq!(a.ask("GET kv/dir?keys").await.status, 404);
    assert!(cluster.get("/fourmi/kv/dir").is_empty());

    // A registry that begins again reads all, and no number goes back; of what is not there neither.
    let (gone, there) = (index(&b.ask("GET kv/none").await), b.ask("GET kv/x").await);
    drop(b);
    let b = Shared::start(cluster.settings("n2")).await;
    let again = b.ask("GET kv/x").await;
    assert_eq!((again.body.as_str(), index(&again)), (there.body.as_str(), index(&there)));
    assert!(index(&b.ask("GET kv/none").await) >= gone);
    let number = index(&there);
    assert_eq!(b.ask(&format!("DELETE kv/x?cas={}", number - 1)).await.body, "false");
    assert_eq!(b.ask(&format!("DELETE kv/x?cas={number}")).await.body, "true");
    a.says("GET kv/x", "").await;
}

#[tokio::test]
async fn without_etcd_keys_are_read_and_not_written_and_an_etcd_that_lost_them_gets_them_again() {
    let mut cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let relay = Relay::to(cluster.members[0].client).await;
    let settings = Settings { endpoints: vec![relay.endpoint()], ..cluster.settings("n1") };
    let (a, b) = (Shared::start(settings).await, Shared::start(cluster.settings("n2")).await);
    assert_eq!(a.ask("PUT kv/kept v1").await.body, "true");
    b.says("GET kv/kept?raw", "v1").await;
    relay.set(false);
    eventually("a is cut off", || a.store.refuses().is_some()).await;
    let refused = a.ask("PUT kv/kept v2").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(a.ask("GET kv/kept?raw").await.body, "v1");
    assert_eq!(b.ask("PUT kv/later v3").await.body, "true");
    assert_eq!(b.ask("DELETE kv/kept").await.body, "true");
    let last = index(&b.ask("GET kv/later").await);
    // Before a hears of that, all is compacted.
    let revision = b.store.standing().revision.to_string();
    cluster.control(&["compact", &revision]).unwrap();
    relay.set(true);
    a.says("GET kv/?keys", r#"["later"]"#).await;
    assert!(index(&a.ask("GET kv/kept").await) >= last, "one that went while we were away went late");

    cluster.members[0].kill();
    std::fs::remove_dir_all(cluster.folder.path().join("e0")).unwrap();
    cluster.members[0].start();
    eventually("both are back", || a.store.refuses().is_none() && b.store.refuses().is_none()).await;
    eventually("it is written again", || cluster.get("/fourmi/kv/").len() == 1).await;
    for one in [&a, &b] {
        one.says("GET kv/later?raw", "v3").await;
        let end = tokio::time::Instant::now() + crate::harness::PATIENCE;
        while index(&one.ask("GET kv/later").await) <= last {
            assert!(tokio::time::Instant::now() < end, "the new etcd's revisions are small, and count from later");
        }
    }
    let stale = a.ask(&format!("PUT kv/later?cas={last} v4")).await;
    assert_eq!(stale.body, "false", "a number of before means another value");
    assert_eq!(b.ask("PUT kv/later v5").await.body, "true");
    a.says("GET kv/later?raw", "v5").await;
}

#[tokio::test]
async fn one_registry_takes_as_many_keys_as_it_has_room_for() {
    let cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    for n in 0..4 {
        cluster.put(&format!("/fourmi/kv/{n}"), r#"{"value":"1"}"#);
    }
    let limits = Limits { keys: 3, ..Limits::default() };
    let store = Store::etcd(cluster.settings("n1"), limits).await.unwrap();
    let a = Shared::over(store, "n1").await;
    assert_eq!(a.ask("GET kv/?keys").await.body, r#"["0","1","2"]"#);
    assert_eq!(a.store.standing().left_out, 1);
    let refused = a.ask("PUT kv/5 1").await;
    assert!(refused.status == 503 && refused.body.contains("no room"), "{} {}", refused.status, refused.body);
}

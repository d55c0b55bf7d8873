//! SkyDNS's own entries: written with etcdctl, answered as the rows say; and ours, as CoreDNS and SkyDNS read them.

use crate::asking::{World, run_in};
use crate::battery::{ports, serve};
use crate::harness::{Cluster, HERE, Peer, Version, eventually};
use crate::rows::{Row, conclude};
use fourmi_discovery::etcd::{Settings, SkyDns};
use fourmi_discovery::{Instance, Limits, Node, Record, State, Store};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn the_rows_hold_when_etcdctl_has_written_them() {
    let rows = Row::parse_all(include_str!("../rows/skydns.txt"));
    let written = |line: &String| ["record ", "lease ", "long "].iter().any(|word| line.starts_with(word));
    let elsewhere = |line: &String| ["node ", "service ", "many ", "stub "].iter().any(|word| line.starts_with(word));
    let rows: Vec<Row> =
        rows.into_iter().filter(|row| row.lines.iter().any(written) && !row.lines.iter().any(elsewhere)).collect();
    let cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let cluster = Arc::new(cluster);
    let mut failed = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let prefix = format!("rows/{n}");
        let skydns = Some(SkyDns { prefix: prefix.clone(), domain: "skydns.test".into() });
        let settings = Settings { skydns, prefix: format!("fourmi-{n}"), ..cluster.settings("n1") };
        let store = Store::etcd(settings, Limits::default()).await.unwrap();
        let to = Arc::clone(&cluster);
        let keep = move |name: &str, json: &str, lease: Option<u64>| {
            let key = Record::key(&prefix, name).unwrap();
            let Some(seconds) = lease else { return to.put(&key, json) };
            let granted = to.control(&["lease", "grant", &seconds.to_string()]).unwrap();
            let id = granted.split(' ').nth(1).unwrap().to_owned();
            to.control(&["put", &format!("--lease={id}"), "--", &key, json]).unwrap();
        };
        if let Err(why) = run_in(row, World::over(store.registry().clone(), Box::new(keep))).await {
            failed.push(format!("{} {}: {why}", row.id, row.title));
        }
    }
    assert!(rows.len() > 50, "the rows are read: {}", rows.len());
    conclude(&rows, &failed);
}

#[tokio::test]
async fn instances_are_entries_of_skydns_while_they_are_usable() {
    let cluster = Cluster::start(Version::Old, 1).await;
    cluster.ready().await;
    let (a, b) = (cluster.registry("n1").await, cluster.registry("n2.example").await);
    // The same id on two nodes.
    for (peer, port) in [(&a, 1001), (&b, 1002)] {
        peer.add("Stock", "Stock:1", port);
        peer.is("Stock:1", State::Passing);
    }
    let entries = || cluster.get("/skydns/");
    eventually("both are told", || entries().len() == 2).await;
    let told = entries();
    assert_eq!(told[0].0, "/skydns/local/skydns/stock/stock-1/n1");
    assert_eq!(told[1].0, "/skydns/local/skydns/stock/stock-1/n2-example");
    let record: Record = serde_json::from_str(&told[0].1).unwrap();
    assert_eq!((&*record.host, record.port, record.weight, record.target_strip), ("127.0.0.1", 1001, 1, 1));
    assert_eq!(record.ttl, Some(2), "no client keeps it for longer than the lease");
    // Who reads them back does not tell them twice.
    let server = serve(&a).await;
    assert_eq!(ports(&server, "stock.skydns.local.").await, [1001, 1002]);
    assert_eq!(a.registry().snapshot().records().count(), 0);
    a.is("Stock:1", State::Critical);
    eventually("one is taken back", || entries().len() == 1).await;
    b.registry().drain("n2.example", "Stock:1", true);
    eventually("both are", || entries().is_empty()).await;
    a.is("Stock:1", State::Warning);
    eventually("it comes back", || entries().len() == 1).await;
    // Somebody's hand does not last.
    cluster.control(&["del", "--prefix", "/skydns/"]).unwrap();
    eventually("it is told again", || entries().len() == 1).await;
    // On a node that has no registry one of us tells it.
    b.registry().put_node(Node::new("outside", HERE)).unwrap();
    b.registry().register(Instance::new("stock", "o", "outside", 1003), Vec::new(), false).unwrap();
    eventually("it is told too", || entries().iter().any(|(key, _)| key.ends_with("/stock/o/outside"))).await;
    drop(a);
    eventually("and after that one is gone by another", || {
        let keys: Vec<String> = entries().into_iter().map(|(key, _)| key).collect();
        keys == ["/skydns/local/skydns/stock/o/outside"]
    })
    .await;
    drop(b);
    eventually("who ends leaves nothing behind", || entries().is_empty()).await;
}

#[tokio::test]
async fn entries_of_others_come_and_go_with_their_leases() {
    let mut cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let a = cluster.registry("n1").await;
    let lease = |seconds: &str| {
        let granted = cluster.control(&["lease", "grant", seconds]).unwrap();
        granted.split(' ').nth(1).unwrap().to_owned()
    };
    let (short, kept) = (lease("3"), lease("3"));
    let left = |peer: &Peer, name: &str| {
        let snapshot = peer.registry().snapshot();
        let found = snapshot.records().find(|(known, _)| known == name).map(|(_, record)| record.expires);
        found.map(|expires| expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default()))
    };
    let mut keeping = Command::new(cluster.version.program("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args([&format!("--endpoints={}", cluster.endpoints()[0]), "lease", "keep-alive", &kept])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for (name, lease) in [("short", &short), ("kept", &kept)] {
        let key = format!("/skydns/local/skydns/{name}");
        cluster.control(&["put", &format!("--lease={lease}"), "--", &key, r#"{"host":"10.0.0.1"}"#]).unwrap();
    }
    eventually("both are there", || a.registry().snapshot().records().count() == 2).await;
    let time = left(&a, "kept.skydns.local").unwrap().unwrap();
    assert!(time <= Duration::from_secs(6), "{time:?}");
    eventually("one ends", || left(&a, "short.skydns.local").is_none()).await;
    eventually("the other is told for longer, as it is kept", || {
        left(&a, "kept.skydns.local").unwrap().is_some_and(|left| left > Duration::from_millis(1500))
    })
    .await;
    // Nobody can be asked how long it has.
    cluster.members[0].kill();
    let begun = std::time::Instant::now();
    eventually("etcd is away for longer than the lease", || {
        left(&a, "kept.skydns.local").unwrap().is_some_and(|left| !left.is_zero()) && begun.elapsed().as_secs() > 4
    })
    .await;
    let _ = keeping.kill();
    let _ = keeping.wait();
}

#[tokio::test]
async fn what_nobody_can_read_is_left_out_and_counted() {
    let cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let long = "x".repeat(1024 * 1024 + 1);
    let long = format!(r#"{{"host":"10.0.0.1","text":"{long}"}}"#);
    let file = cluster.folder.path().join("long");
    std::fs::write(&file, long).unwrap();
    let nodes = ["{", "[]", r#"{"name":"other","address":"10.0.0.1"}"#, r#"{"name":"bad","address":"two words"}"#];
    let put_all = || {
        for (n, value) in nodes.iter().enumerate() {
            cluster.put(&format!("/fourmi/nodes/{}", ["a", "b", "c", "bad"][n]), value);
        }
        let deep = "[".repeat(100_000);
        for (n, value) in
            ["", "null", "7", "\"x\"", r#"{"host":7}"#, r#"{"port":70000}"#, r#"{"ttl":-1}"#, &deep].iter().enumerate()
        {
            cluster.put(&format!("/skydns/local/skydns/bad{n}"), value);
        }
        cluster.put("/skydns/local/skydns/*", r#"{"host":"10.0.0.1"}"#);
        cluster.put("/skydns/config", r#"{"dns_addr":"127.0.0.1:53"}"#);
        for key in
            ["states/n9/x", "states/", "alive/", "registries/a/b", "checks/n1", "instances/n1/", "checker/x", "z"]
        {
            cluster.put(&format!("/fourmi/{key}"), r#"{"state":"splendid"}"#);
        }
        let lost = r#"{"id":"i","service":"stock","node":"nowhere"}"#;
        cluster.put("/fourmi/instances/nowhere/i", lost);
        let done = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{} --endpoints={} put /skydns/local/skydns/long <{}",
                cluster.version.program("etcdctl").display(),
                cluster.endpoints()[0],
                file.display()
            ))
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        cluster.put("/skydns/local/skydns/good", r#"{"host":"10.0.0.1","more":[1]}"#);
    };
    // Before it begins, and while it watches.
    put_all();
    let limits = Limits { records: 3, ..Limits::default() };
    let store = Store::etcd(cluster.settings("n1"), limits).await.unwrap();
    let good = || store.registry().snapshot().records().map(|(name, _)| name).collect::<Vec<_>>();
    eventually("the good one is there", || good() == ["good.skydns.local"]).await;
    let before = store.standing();
    println!("left out: {} unreadable, {} without room", before.unreadable, before.left_out);
    assert!(before.unreadable > 10 && before.left_out > 0, "{before:?}");
    put_all();
    eventually("all of them again", || store.standing().unreadable >= before.unreadable * 2).await;
    assert_eq!(good(), ["good.skydns.local"]);
    // More than there is room for; and room again.
    for n in 0..6 {
        cluster.put(&format!("/skydns/local/skydns/more{n}"), r#"{"host":"10.0.0.2"}"#);
    }
    eventually("three have room", || good().len() == 3 && store.standing().left_out >= before.left_out + 4).await;
    cluster.control(&["del", "/skydns/local/skydns/good"]).unwrap();
    eventually("another takes the room", || good().len() == 3 && !good()[0].starts_with("good")).await;
    assert!(store.refuses().is_none());
}

//! Etcds that go, come back, and forget; three of them, of which one goes.

use crate::battery::{ports, serve};
use crate::harness::{Cluster, HERE, LEASE, PATIENCE, Peer, Relay, Version, eventually};
use fourmi_discovery::etcd::Settings;
use fourmi_discovery::http::{self, Server};
use fourmi_discovery::{Instance, Limits, Node, State, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The whole answer to a request.
async fn call(server: &Server, method: &str, path: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(server.addresses()[0]).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} /v1/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn while_etcd_is_away_reads_go_on_and_nothing_is_registered() {
    for version in [Version::Old, Version::New] {
        let mut cluster = Cluster::start(version, 1).await;
        cluster.ready().await;
        let (a, b) = (cluster.registry("n1").await, cluster.registry("n2").await);
        a.add("stock", "a", 1001);
        a.is("a", State::Passing);
        let transient = Instance { transient: true, ..Instance::new("stock", "t", "n1", 1002) };
        a.registry().register(transient, Vec::new(), false).unwrap();
        eventually("b knows", || b.usable("stock") == ["n1/a", "n1/t"]).await;
        let dns = serve(&b).await;
        let store = Arc::new(b.store);
        let registry = store.registry().clone();
        let settings = http::Settings { node: "n2".into(), ..http::Settings::default() };
        let here = "127.0.0.1:0".parse().unwrap();
        let api = Server::start(&[here], registry.clone(), Some(Arc::clone(&store)), settings).await.unwrap();
        let service = |id: &str| format!(r#"{{"Name":"mail","ID":"{id}","Port":25}}"#);
        let answer = call(&api, "PUT", "agent/service/register", &service("m1")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("fourmi-registry") && store.refuses().is_none());

        cluster.members[0].kill();
        eventually("it is seen", || store.refuses().is_some() && a.store.refuses().is_some()).await;
        let standing = store.standing();
        assert!(standing.away_since.is_some() && standing.error.is_some(), "{standing:?}");
        let answer = call(&api, "PUT", "agent/service/register", &service("m2")).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("etcd cannot be reached"), "{answer}");
        assert!(answer.contains("fourmi-registry: stale; age="), "{answer}");
        let answer = call(&api, "GET", "health/service/mail?passing", "").await;
        assert!(answer.contains("\"m1\"") && answer.contains("x-consul-knownleader: false"), "{answer}");
        assert!(!answer.contains("m2"), "what was refused is not there");
        // What happens here meanwhile is told here, and to all when etcd is back.
        a.is("a", State::Warning);
        let begun = std::time::Instant::now();
        while begun.elapsed() < LEASE + Duration::from_secs(2) {
            assert_eq!(ports(&dns, "stock.service.consul.").await, [1001, 1002], "reads go on, longer than a lease");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut lost = false;
        cluster.members[0].start();
        eventually("it is back", || {
            lost |= registry.snapshot().usable("stock").count() != 2;
            store.refuses().is_none() && a.store.refuses().is_none()
        })
        .await;
        let told =
            || registry.snapshot().checks().any(|check| check.definition.id == "a" && check.state == State::Warning);
        eventually("what happened meanwhile is told", || {
            lost |= registry.snapshot().usable("stock").count() != 2;
            told()
        })
        .await;
        // Longer than whoever is patient.
        let begun = std::time::Instant::now();
        while begun.elapsed() < LEASE * 2 {
            lost |= registry.snapshot().usable("stock").count() != 2 || a.usable("mail") != ["n2/m1"];
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!lost, "nobody was taken for gone");
        let answer = call(&api, "PUT", "agent/service/register", &service("m2")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("fourmi-registry"), "{answer}");
        eventually("a knows", || a.known("mail").len() == 2).await;
    }
}

#[tokio::test]
async fn one_that_was_cut_off_for_longer_than_its_lease_comes_back_as_it_was() {
    let cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let relay = Relay::to(cluster.members[0].client).await;
    let a = Peer::start(Settings { endpoints: vec![relay.endpoint()], ..cluster.settings("n1") }).await;
    let b = cluster.registry("n2").await;
    for (peer, id) in [(&a, "a"), (&b, "b")] {
        peer.add("stock", id, 1001);
        peer.is(id, State::Passing);
    }
    b.add("stock", "c", 1002);
    eventually("both know", || a.usable("stock").len() == 2 && b.usable("stock").len() == 2).await;
    relay.set(false);
    eventually("a is gone for b", || b.usable("stock") == ["n2/b"]).await;
    assert_eq!(a.usable("stock"), ["n1/a", "n2/b"], "and b is not for a");
    // Registered without a word to anybody, as a configuration does; and removed elsewhere.
    a.add("mail", "m", 25);
    a.is("m", State::Passing);
    assert!(b.registry().deregister("n2", "c"));
    b.store.settled().await.unwrap();
    relay.set(true);
    eventually("a is back", || b.usable("stock") == ["n1/a", "n2/b"] && b.usable("mail") == ["n1/m"]).await;
    eventually("and knows what was removed", || a.known("stock") == ["n1/a", "n2/b"]).await;
}

#[tokio::test]
async fn three_etcds_of_which_one_goes_while_another_compacts() {
    let mut cluster = Cluster::start(Version::New, 3).await;
    cluster.ready().await;
    // Each at another etcd first.
    let at = |n: usize| {
        let mut endpoints = cluster.endpoints();
        endpoints.rotate_left(n);
        Settings { endpoints, ..cluster.settings(&format!("n{n}")) }
    };
    let (a, b, c) = (Peer::start(at(0)).await, Peer::start(at(1)).await, Peer::start(at(2)).await);
    let peers = [&a, &b, &c];
    let mut wanted = Vec::new();
    for round in 0..30_u16 {
        let peer = peers[usize::from(round) % 3];
        let id = format!("i{round}");
        peer.add("stock", &id, 1000 + round);
        peer.is(&id, State::Passing);
        wanted.push(1000 + round);
        match round {
            8 => cluster.members[0].kill(),
            14 => {
                // As it would be after five minutes.
                eventually("one of the others tells the revision", || {
                    let endpoint = format!("--endpoints=127.0.0.1:{}", cluster.members[1].client);
                    let revision = c.store.standing().revision.to_string();
                    cluster.control(&[&endpoint, "compact", &revision]).is_ok()
                })
                .await;
            }
            20 => cluster.members[0].start(),
            24 => cluster.members[2].kill(),
            _ => {}
        }
        for peer in peers {
            eventually("all know", || peer.usable("stock").len() == wanted.len()).await;
        }
    }
    for peer in peers {
        peer.store.settled().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_compacted_is_read_again() {
    let cluster = Cluster::start(Version::Old, 1).await;
    cluster.ready().await;
    let relay = Relay::to(cluster.members[0].client).await;
    let a = Peer::start(Settings { endpoints: vec![relay.endpoint()], ..cluster.settings("n1") }).await;
    let b = cluster.registry("n2").await;
    b.registry().put_node(Node::new("outside", HERE)).unwrap();
    for id in ["x", "y"] {
        b.registry().register(Instance::new("stock", id, "outside", 1), Vec::new(), false).unwrap();
    }
    cluster.put("/skydns/local/skydns/old", r#"{"host":"10.0.0.1"}"#);
    b.add("mail", "m", 25);
    b.is("m", State::Passing);
    eventually("a knows", || {
        a.usable("mail").len() == 1 && a.usable("stock").len() == 2 && a.registry().snapshot().records().count() == 1
    })
    .await;
    relay.set(false);
    eventually("a sees that", || a.store.refuses().is_some()).await;
    b.registry().deregister("outside", "x");
    b.registry().register(Instance::new("stock", "z", "outside", 1), Vec::new(), false).unwrap();
    b.store.settled().await.unwrap();
    cluster.control(&["del", "/skydns/local/skydns/old"]).unwrap();
    cluster.put("/skydns/local/skydns/new", r#"{"host":"10.0.0.2"}"#);
    eventually("b has seen all", || b.registry().snapshot().records().any(|(name, _)| name.starts_with("new"))).await;
    cluster.control(&["compact", &b.store.standing().revision.to_string()]).unwrap();
    relay.set(true);
    let mut lost = false;
    eventually("a knows what came and went", || {
        lost |= !a.usable("mail").contains(&"n2/m".into());
        let records: Vec<String> = a.registry().snapshot().records().map(|(name, _)| name).collect();
        a.usable("stock") == ["outside/y", "outside/z"] && records == ["new.skydns.local"]
    })
    .await;
    assert!(!lost, "and nobody was taken for gone meanwhile");
}

#[tokio::test]
async fn an_etcd_that_lost_all_gets_it_again() {
    let mut cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let (a, b) = (cluster.registry("n1").await, cluster.registry("n2").await);
    a.add("stock", "a", 1);
    a.is("a", State::Passing);
    b.add("stock", "b", 2);
    b.is("b", State::Passing);
    eventually("both know", || a.usable("stock").len() == 2 && b.usable("stock").len() == 2).await;
    // So that what it has afterwards is less.
    (0..50).for_each(|n| cluster.put("/other", &n.to_string()));
    cluster.members[0].kill();
    std::fs::remove_dir_all(cluster.folder.path().join("e0")).unwrap();
    cluster.members[0].start();
    cluster.ready().await;
    eventually("it is written again", || cluster.get("/fourmi/instances/").len() == 2).await;
    eventually("both are told", || {
        let known = [&a, &b].iter().all(|p| p.usable("stock") == ["n1/a", "n2/b"]);
        known && cluster.get("/fourmi/states/").len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_start_without_etcd_goes_on_and_catches_up() {
    let mut cluster = Cluster::start(Version::Old, 1).await;
    cluster.ready().await;
    cluster.put("/skydns/local/skydns/x", r#"{"host":"10.0.0.1"}"#);
    cluster.members[0].kill();
    let settings = Settings { wait: Duration::from_millis(100), ..cluster.settings("n1") };
    let store = Store::etcd(settings, Limits::default()).await.unwrap();
    let refusal = store.refuses().unwrap();
    assert!(refusal.contains("etcd"), "{refusal}");
    store.registry().put_node(Node::new("n1", HERE)).unwrap();
    cluster.members[0].start();
    eventually("it catches up", || store.refuses().is_none()).await;
    store.settled().await.unwrap();
    assert_eq!(store.registry().snapshot().records().count(), 1);
    assert_eq!(cluster.get("/fourmi/nodes/").len(), 1);
}

#[tokio::test]
async fn one_that_hangs_is_left_for_the_next_and_all_that_hang_are_away() {
    let cluster = Cluster::start(Version::Old, 3).await;
    cluster.ready().await;
    let (a, b) = (cluster.registry("n1").await, cluster.registry("n2").await);
    for (peer, id) in [(&a, "a"), (&b, "b")] {
        peer.add("stock", id, 1);
        peer.is(id, State::Passing);
    }
    eventually("both know", || a.usable("stock").len() == 2 && b.usable("stock").len() == 2).await;
    let first = a.store.standing().endpoint;
    let at = cluster.endpoints().iter().position(|endpoint| *endpoint == first).unwrap();
    cluster.members[at].hang(true);
    let took = eventually("a is at another", || a.store.standing().endpoint != first).await;
    println!("one that hangs is left after {took:?}");
    a.add("mail", "m", 25);
    a.is("m", State::Passing);
    eventually("b is told", || b.usable("mail") == ["n1/m"] && b.usable("stock").len() == 2).await;
    cluster.members.iter().enumerate().filter(|(n, _)| *n != at).for_each(|(_, member)| member.hang(true));
    let took = eventually("both see it", || a.store.refuses().is_some() && b.store.refuses().is_some()).await;
    println!("that all hang is seen after {took:?}");
    let begun = std::time::Instant::now();
    while begun.elapsed() < LEASE * 2 {
        assert_eq!((a.usable("stock").len(), b.usable("stock").len()), (2, 2), "reads go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.members.iter().for_each(|member| member.hang(false));
    eventually("they are back", || a.store.refuses().is_none() && b.store.refuses().is_none()).await;
    a.is("m", State::Critical);
    eventually("b is told", || b.usable("mail").is_empty() && b.usable("stock").len() == 2).await;
}

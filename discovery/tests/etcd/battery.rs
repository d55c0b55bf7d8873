//! What must be true with every version, and with one etcd as with three.

use crate::harness::{Cluster, HERE, LEASE, Peer, Relay, Version, eventually};
use fourmi_discovery::dns::{Dialect, Domain, Server, Settings};
use fourmi_discovery::{Check, Definition, Instance, Limits, Node, Probe, State, Store, checks};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// A DNS server over a registry.
pub(crate) async fn serve(peer: &Peer) -> Server {
    let domains = [Domain::new("consul", Dialect::Consul), Domain::new("skydns.test", Dialect::SkyDns)];
    let local = Domain::new("skydns.local", Dialect::SkyDns);
    let settings = Settings { domains: domains.into_iter().chain([local]).flatten().collect(), ..Settings::default() };
    Server::bind(&["127.0.0.1:0".parse().unwrap()], peer.registry().clone(), settings).await.unwrap()
}

/// Ports of SRV records, sorted.
pub(crate) async fn ports(server: &Server, name: &str) -> Vec<u16> {
    let address: SocketAddr = server.addresses()[0];
    let mut message = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::SRV));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.unwrap();
    let mut read = vec![0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(20), socket.recv(&mut read)).await.unwrap().unwrap();
    let answer = Message::from_vec(&read[..length]).unwrap();
    let port = |record: &hickory_proto::rr::Record| match &record.data {
        RData::SRV(srv) => srv.port,
        other => panic!("{other:?}"),
    };
    let mut ports: Vec<u16> = answer.answers.iter().map(port).collect();
    ports.sort_unstable();
    ports
}

/// Waits until all of them answer so; returns how long that took.
async fn all_answer(servers: &[&Server], name: &str, wanted: &[u16]) -> Duration {
    let begun = Instant::now();
    for server in servers {
        loop {
            let got = ports(server, name).await;
            if got == wanted {
                break;
            }
            assert!(begun.elapsed() < crate::harness::PATIENCE, "{name}: {got:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    begun.elapsed()
}

#[tokio::test]
async fn the_battery_on_3_4() {
    battery(&Cluster::start(Version::Old, 1).await).await;
}

#[tokio::test]
async fn the_battery_on_3_5() {
    battery(&Cluster::start(Version::New, 1).await).await;
}

async fn battery(cluster: &Cluster) {
    cluster.ready().await;
    let (a, b, c) = (cluster.registry("n1").await, cluster.registry("N2").await, cluster.registry("n3").await);
    let servers = [&serve(&a).await, &serve(&b).await, &serve(&c).await];
    let name = "stock.service.consul.";
    let mut worst = Duration::ZERO;
    let mut all = async |name: &str, wanted: &[u16]| {
        let took = all_answer(&servers, name, wanted).await;
        worst = worst.max(took);
        println!("{:?}: {name} is {wanted:?} everywhere after {took:?}", cluster.version);
    };

    // One comes, is seen well, warns, falls, drains, and goes.
    a.add("stock", "a", 1001);
    b.add("stock", "b", 1002);
    eventually("everybody knows both", || [&a, &b, &c].iter().all(|p| p.known("stock").len() == 2)).await;
    all(name, &[]).await;
    a.is("a", State::Passing);
    all(name, &[1001]).await;
    b.is("b", State::Warning);
    all(name, &[1001, 1002]).await;
    a.is("a", State::Critical);
    all(name, &[1002]).await;
    a.is("a", State::Passing);
    all(name, &[1001, 1002]).await;
    assert!(b.registry().drain("n2", "b", true));
    all(name, &[1001]).await;
    b.registry().drain("n2", "b", false);
    all(name, &[1001, 1002]).await;

    // One without checks, on a node that has no registry, from anywhere; and what is said of it there.
    c.registry().put_node(Node::new("outside", HERE)).unwrap();
    let outside = Instance::new("stock", "o", "outside", 1003);
    c.registry().register(outside.clone(), Vec::new(), false).unwrap();
    all(name, &[1001, 1002, 1003]).await;
    a.registry().put_check(Check::new(Definition::of_node("outside", "said", Probe::Manual))).unwrap();
    all(name, &[1001, 1002]).await;
    b.registry().report("outside", "said", State::Passing, "it is up");
    all(name, &[1001, 1002, 1003]).await;

    // Two say something of the same thing: all end with the same, and nobody's word is undone later.
    for (n, peer) in [&a, &b, &c].into_iter().cycle().take(30).enumerate() {
        let port = 2000 + u16::try_from(n).unwrap();
        peer.registry().register(Instance { port, ..outside.clone() }, Vec::new(), false).unwrap();
    }
    for peer in [&a, &b, &c] {
        peer.store.settled().await.unwrap();
    }
    let value = cluster.get("/fourmi/instances/outside/").pop().unwrap().1;
    let last: Instance = serde_json::from_str(&value).unwrap();
    all(name, &[1001, 1002, last.port]).await;

    // It can be removed from anywhere.
    assert!(b.registry().deregister_node("outside"));
    all(name, &[1001, 1002]).await;
    assert!(c.registry().deregister("n1", "a"));
    all(name, &[1002]).await;
    eventually("nothing of them is left", || cluster.get("/fourmi/").iter().all(|(key, _)| !key.contains("outside")))
        .await;
    assert!(cluster.get("/fourmi/instances/n1/").is_empty() && cluster.get("/fourmi/checks/n1/").is_empty());

    // What was registered says nothing of how it is after a restart; one without checks must be seen first.
    let bare = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = bare.local_addr().unwrap().port();
    b.registry().register(Instance::new("bare", "x", "n2", port), Vec::new(), false).unwrap();
    all("bare.service.consul.", &[port]).await;
    b.store.settled().await.unwrap();
    drop(b);
    eventually("others see at once that it is gone", || a.usable("stock").is_empty() && c.usable("bare").is_empty())
        .await;
    assert_eq!(a.known("stock"), ["N2/b"], "and forget nothing");
    let b = cluster.registry("N2").await;
    eventually("it is there again", || !a.known("bare").is_empty()).await;
    assert!(b.usable("bare").is_empty() && b.usable("stock").is_empty(), "nobody is well who was not seen");
    assert!(a.usable("bare").is_empty() && a.usable("stock").is_empty(), "nor elsewhere");
    let checking = tokio::spawn(checks::run(b.registry().clone(), checks::Options::default()));
    let elsewhere = tokio::spawn(checks::run(a.registry().clone(), checks::Options::default()));
    eventually("it is seen, and told", || a.usable("bare") == ["n2/x"] && c.usable("bare") == ["n2/x"]).await;
    b.is("b", State::Passing);
    eventually("the other is told again", || a.usable("stock") == ["N2/b"]).await;

    // A second registry of the same node is refused, and does no harm.
    let refused = Store::etcd(cluster.settings("n2"), Limits::default()).await.unwrap_err().to_string();
    assert!(refused.contains("another registry has the node \"n2\""), "{refused}");
    assert_eq!(c.usable("stock"), ["N2/b"]);

    // A node without a registry has its checks done by one of all.
    let again = tokio::spawn(checks::run(c.registry().clone(), checks::Options::default()));
    let mut looked = Definition::of(
        &Instance { node: "far".into(), ..outside.clone() },
        "far",
        Probe::Tcp { address: format!("127.0.0.1:{port}"), tls: false },
    );
    looked.timing.interval = Duration::from_secs(1);
    a.registry().put_node(Node::new("far", HERE)).unwrap();
    let far = Instance { node: "far".into(), ..outside };
    a.registry().register(far, vec![Check::new(looked)], false).unwrap();
    eventually("somebody looks", || [&a, &b, &c].iter().all(|p| p.usable("stock").contains(&"far/o".into()))).await;

    // One that dies without a word leaves within its lease.
    let relay = Relay::to(cluster.members[0].client).await;
    let settings = fourmi_discovery::etcd::Settings { endpoints: vec![relay.endpoint()], ..cluster.settings("n4") };
    let d = Peer::start(settings).await;
    d.add("stock", "d", 1004);
    d.is("d", State::Passing);
    let transient = Instance { transient: true, ..Instance::new("from-config", "t", "n4", 1005) };
    d.registry().register(transient, Vec::new(), false).unwrap();
    eventually("it is told", || a.usable("stock").contains(&"n4/d".into()) && a.known("from-config") == ["n4/t"]).await;
    assert!(!cluster.get("/skydns/local/skydns/stock/d/n4").is_empty(), "SkyDNS is told too");
    relay.set(false);
    let died = eventually("it is gone for others", || !a.usable("stock").contains(&"n4/d".into())).await;
    println!("{:?}: one that died with a lease of {LEASE:?} is gone after {died:?}", cluster.version);
    eventually("and for SkyDNS", || cluster.get("/skydns/local/skydns/stock/d/n4").is_empty()).await;
    eventually("and what was under its lease", || a.known("from-config").is_empty()).await;
    assert!(a.known("stock").contains(&"n4/d".into()) && d.usable("stock").contains(&"n4/d".into()));
    relay.set(true);
    eventually("it is back as it was", || {
        a.usable("stock").contains(&"n4/d".into()) && a.usable("from-config") == ["n4/t"]
    })
    .await;
    // One that is started again right after it was killed gets its name when the lease of before is over.
    relay.set(false);
    let begun = Instant::now();
    let again_d = cluster.registry("n4").await;
    println!("{:?}: after a kill the name is free after {:?}", cluster.version, begun.elapsed());
    assert_eq!(again_d.known("stock").iter().filter(|id| *id == "n4/d").count(), 1);
    assert!(!again_d.usable("stock").contains(&"n4/d".into()), "it must be seen again");
    // The old one comes back, sees that it is another's by now, and keeps still.
    relay.set(true);
    eventually("it says why", || d.store.refuses().is_some_and(|why| why.contains("another registry"))).await;
    again_d.is("d", State::Passing);
    eventually("the new one is told", || c.usable("stock").contains(&"n4/d".into())).await;
    again_d.is("d", State::Critical);
    eventually("and it alone", || !c.usable("stock").contains(&"n4/d".into())).await;
    println!("{:?}: the slowest change was everywhere after {worst:?}", cluster.version);
    assert!(worst < crate::harness::PATIENCE);
    [checking, elsewhere, again].iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn many_instances_and_one_that_begins_with_them() {
    const MANY: u16 = 2000;
    let cluster = Cluster::start(Version::New, 1).await;
    cluster.ready().await;
    let (a, b) = (cluster.registry("n1").await, cluster.registry("n2").await);
    let begun = Instant::now();
    for n in 0..MANY {
        let (service, id) = (format!("s{}", n % 100), format!("i{n}"));
        a.add(&service, &id, n);
        a.is(&id, State::Passing);
    }
    a.store.settled().await.unwrap();
    let settled = begun.elapsed();
    let told = || b.registry().snapshot().services().flat_map(|service| service.usable()).count();
    eventually("the other knows all", || told() == usize::from(MANY)).await;
    println!(
        "{MANY} instances with a check each: in etcd after {settled:?}, known elsewhere after {:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    let c = cluster.registry("n3").await;
    assert_eq!(c.usable("s0").len(), usize::from(MANY) / 100, "it begins with all that is told");
    println!("another one began with them after {:?}", begun.elapsed());
}

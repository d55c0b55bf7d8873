//! Names against a server that changes its mind.

mod server;

use super::look::{Look, Memory, look};
use super::*;
use hickory_proto::op::ResponseCode::{NXDomain, Refused, ServFail};
use hickory_proto::rr::RecordType::{A, AAAA, SRV};
use server::{Say, Server, records};
use std::cell::RefCell;
use std::fmt::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

fn resolver(servers: &[&Server]) -> Resolver {
    resolver_in(Path::new("/nonexistent"), servers)
}

fn resolver_in(folder: &Path, servers: &[&Server]) -> Resolver {
    let settings = Settings {
        nameservers: servers.iter().map(|s| s.address).collect(),
        timeout: Some(Duration::from_millis(300)),
        ..Settings::default()
    };
    Resolver::with_files(settings, folder.join("hosts"), folder.join("resolv.conf"))
}

fn name(host: &str, port: u16) -> Name {
    Name { host: host.into(), port: (port > 0).then_some(port) }
}

/// Instances as text: addresses joined with `+`; what SRV adds behind.
fn shown(found: &[Found]) -> String {
    let mut all = String::new();
    for f in found {
        let addresses: Vec<String> = f.addresses.iter().map(SocketAddr::to_string).collect();
        write!(all, "{}", addresses.join("+")).unwrap();
        if let Some(name) = &f.name {
            write!(all, "={name}/{}/{}", f.priority, f.weight).unwrap();
        }
        all.push(' ');
    }
    all.trim_end().to_owned()
}

async fn once(resolver: &Resolver, host: &str, port: u16) -> Look {
    Box::pin(look(&name(host, port), resolver, &Memory::default())).await
}

/// A name that is followed, and what was told of it.
struct Followed {
    told: Rc<RefCell<Vec<Update>>>,
    set: Rc<RefCell<(String, Option<String>)>>,
}

impl Followed {
    /// In the test's `LocalSet`.
    fn start(host: &str, port: u16, resolver: Resolver) -> Followed {
        let followed = Followed { told: Rc::default(), set: Rc::default() };
        let (told, set) = (followed.told.clone(), followed.set.clone());
        tokio::task::spawn_local(follow(name(host, port), Rc::new(resolver), move |update| {
            match &update {
                Update::Instances(found) => set.borrow_mut().0 = shown(found),
                Update::Trouble(trouble) => set.borrow_mut().1.clone_from(trouble),
            }
            told.borrow_mut().push(update);
        }));
        followed
    }

    /// Waits for these instances, and trouble that has this in it or none.
    async fn until(&self, instances: &str, trouble: Option<&str>) {
        let fits = || {
            let set = self.set.borrow();
            let same = match (&set.1, trouble) {
                (None, None) => true,
                (Some(is), Some(want)) => is.contains(want),
                _ => false,
            };
            set.0 == instances && same && !self.told.borrow().is_empty()
        };
        for _ in 0..1000 {
            if fits() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never {instances:?} {trouble:?}, but {:?}", self.told.borrow());
    }

    /// How often there were no instances any more.
    fn emptied(&self) -> usize {
        self.told.borrow().iter().filter(|u| matches!(u, Update::Instances(found) if found.is_empty())).count()
    }
}

async fn locally<T>(test: impl Future<Output = T>) -> T {
    tokio::task::LocalSet::new().run_until(test).await
}

#[tokio::test(flavor = "current_thread")]
async fn answers_that_change_fail_and_vanish() {
    locally(async {
        let server = Server::start().await;
        server.has("stock.test.", 1, &["127.0.0.3", "127.0.0.2", "127.0.0.3"]);
        let stock = Followed::start("stock.test", 80, resolver(&[&server]));
        stock.until("127.0.0.2:80 127.0.0.3:80", None).await;
        // Both families: as many instances as the larger one has; then one family alone.
        server.has("stock.test.", 0, &["127.0.0.2", "127.0.0.3", "::2"]);
        stock.until("127.0.0.3:80 [::2]:80+127.0.0.2:80", None).await;
        server.has("stock.test.", 1, &["::1"]);
        stock.until("[::1]:80", None).await;
        // Failures keep what there was, and say so.
        for code in [ServFail, Refused] {
            server.fails("stock.test.", code);
            stock.until("[::1]:80", Some(if code == Refused { "REFUSED" } else { "SERVFAIL" })).await;
        }
        // Also of one family beside a change of the other.
        server.says("stock.test.", A, [Say::Records(records(&["stock.test. 1 A 127.0.0.9"]), Vec::new())]);
        server.says("stock.test.", AAAA, [Say::Silence]);
        stock.until("[::1]:80+127.0.0.9:80", Some("does not answer within 300 ms")).await;
        server.has("stock.test.", 1, &["127.0.0.2"]);
        stock.until("127.0.0.2:80", None).await;
        assert_eq!(stock.emptied(), 0);
        // Gone, and here again.
        server.fails("stock.test.", NXDomain);
        stock.until("", Some("NXDOMAIN")).await;
        server.has("stock.test.", 1, &["127.0.0.2"]);
        stock.until("127.0.0.2:80", None).await;
        server.has("stock.test.", 1, &[]);
        stock.until("", Some("has no address")).await;
        assert_eq!(stock.emptied(), 2);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn one_wrong_no_empties_nothing() {
    locally(async {
        let server = Server::start().await;
        server.has("stock.test.", 1, &["127.0.0.2"]);
        let stock = Followed::start("stock.test", 80, resolver(&[&server]));
        stock.until("127.0.0.2:80", None).await;
        for kind in [A, AAAA] {
            let right = records(&["stock.test. 1 A 127.0.0.3"]).into_iter().filter(|_| kind == A).collect();
            server.says("stock.test.", kind, [Say::Code(NXDomain), Say::Records(right, Vec::new())]);
        }
        stock.until("127.0.0.3:80", None).await;
        // Nothing of one family and a failure of the other is no clear answer either.
        server.says("stock.test.", A, [Say::Code(NXDomain)]);
        server.says("stock.test.", AAAA, [Say::Code(ServFail)]);
        stock.until("127.0.0.3:80", Some("SERVFAIL")).await;
        assert_eq!(stock.emptied(), 0);
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn services_have_ports_weights_and_priorities() {
    let server = Server::start().await;
    let service = "_stock._tcp.test.";
    let srv = records(&[
        "_stock._tcp.test. 9 SRV 1 30 8001 a.test.",
        "_stock._tcp.test. 9 SRV 2 0 8002 b.test.",
        "_stock._tcp.test. 9 SRV 1 10 8003 c.test.",
        "_stock._tcp.test. 9 SRV 3 10 8001 a.test.",
        "_stock._tcp.test. 9 SRV 1 10 8004 gone.test.",
    ]);
    let along = records(&["a.test. 7 A 127.0.0.2", "a.test. 8 AAAA ::2", "other.test. 1 A 6.6.6.6"]);
    server.says(service, SRV, [Say::Records(srv.clone(), along.clone())]);
    server.has("b.test.", 30, &["127.0.0.3", "127.0.0.4"]);
    server.has("c.test.", 6, &["::1"]);
    let resolver = resolver(&[&server]);
    let (a, b, c) = (
        "[::2]:8001+127.0.0.2:8001=a.test/1/30",
        "127.0.0.3:8002=b.test/2/1 127.0.0.4:8002=b.test/2/1",
        "[::1]:8003=c.test/1/10",
    );
    let first = once(&resolver, "_stock._tcp.test", 0).await;
    assert_eq!(shown(&first.found), [b, c, a].join(" "));
    // The name that is not there holds for its own while.
    assert_eq!((first.failed, first.holds), (false, Duration::from_secs(5)));
    assert!(!server.asked().iter().any(|q| q.starts_with("a.test.")), "{:?}", server.asked());

    // Hosts that fail are what they were, and others are not.
    server.fails("b.test.", ServFail);
    server.has("c.test.", 30, &["::5"]);
    let service = name("_stock._tcp.test", 80);
    let second = look(&service, &resolver, &first.memory).await;
    assert_eq!(shown(&second.found), [b, a, "[::5]:8003=c.test/1/10"].join(" "));
    assert!(second.failed && second.trouble.unwrap().contains("SERVFAIL"));
    // So is the service as a whole; a target that is the root is a clear no.
    server.says("_stock._tcp.test.", SRV, [Say::Code(ServFail)]);
    let third = look(&service, &resolver, &second.memory).await;
    assert!(third.failed && third.found.is_empty() && !third.is_gone());
    server.says("_stock._tcp.test.", SRV, [Say::Records(records(&["_stock._tcp.test. 9 SRV 0 0 0 ."]), Vec::new())]);
    assert!(look(&service, &resolver, &second.memory).await.is_gone());
    // Without a port every name is asked for SRV; an address cannot be.
    once(&resolver, "b.test", 0).await;
    assert_eq!(server.asked().last().unwrap(), "b.test. SRV");
    assert_eq!(shown(&once(&resolver, "::1", 80).await.found), "[::1]:80");
}

#[tokio::test(flavor = "current_thread")]
async fn servers_of_all_kinds() {
    let (server, second) = (Server::start().await, Server::start().await);
    let one = || records(&["stock.test. 60 A 127.0.0.2"]);
    second.has("stock.test.", 60, &["127.0.0.7"]);
    let resolver = resolver(&[&server, &second]);
    server.says("stock.test.", AAAA, [Say::Records(Vec::new(), Vec::new())]);
    for say in [Say::Cut(one()), Say::AfterGarbage(one()), Say::Old(one())] {
        server.says("stock.test.", A, [say.clone()]);
        let found = once(&resolver, "stock.test", 80).await;
        assert_eq!((shown(&found.found).as_str(), found.failed), ("127.0.0.2:80", false), "{say:?}");
    }
    assert!(server.asked().contains(&"stock.test. A tcp".to_owned()));
    // More than a packet holds, and more than we take.
    let many: Vec<String> = (0..1100).map(|i| format!("stock.test. 60 A 127.1.{}.{}", i / 256, i % 256)).collect();
    server.says("stock.test.", A, [Say::Cut(records(&many.iter().map(String::as_str).collect::<Vec<_>>()))]);
    let found = once(&resolver, "stock.test", 80).await;
    assert_eq!(found.found.len(), INSTANCES_MAX);
    assert!(found.trouble.unwrap().contains("1100 instances"));
    // An alias whose end is not in the answer is asked for; a chain that never ends is not followed for ever.
    server.says("alias.test.", A, [Say::Records(records(&["alias.test. 3 CNAME Stock.test."]), Vec::new())]);
    server.says("alias.test.", AAAA, [Say::Records(Vec::new(), Vec::new())]);
    server.says("stock.test.", A, [Say::Records(one(), Vec::new())]);
    let found = once(&resolver, "alias.test", 80).await;
    assert_eq!((shown(&found.found).as_str(), found.holds.as_secs()), ("127.0.0.2:80", 3));
    let ring = records(&["ring.test. 3 CNAME ring.test."]);
    server.says("ring.test.", A, [Say::Records(ring, Vec::new())]);
    assert!(once(&resolver, "ring.test", 80).await.found.is_empty());
    // What the first server cannot say the second may; that the first one knows no such name is final.
    assert!(second.asked().is_empty(), "{:?}", second.asked());
    server.says("stock.test.", A, [Say::Code(NXDomain)]);
    assert!(once(&resolver, "stock.test", 80).await.is_gone());
    for say in [Say::Code(Refused), Say::Referral, Say::Silence] {
        server.says("stock.test.", A, [say.clone()]);
        assert_eq!(shown(&once(&resolver, "stock.test", 80).await.found), "127.0.0.7:80", "{say:?}");
    }
    // The one that was silent is not waited for again.
    let before = server.asked().len();
    assert_eq!(shown(&once(&resolver, "stock.test", 80).await.found), "127.0.0.7:80");
    assert_eq!(server.asked().len(), before);
}

#[tokio::test(flavor = "current_thread")]
async fn domains_are_searched_but_not_past_a_failure() {
    let (server, folder) = (Server::start().await, TempDir::new().unwrap());
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 192.0.2.1\nsearch a.test b.test\n").unwrap();
    let resolver = resolver_in(folder.path(), &[&server]);
    let stock = name("stock", 80);
    server.has("stock.b.test.", 60, &["127.0.0.2"]);
    // A domain that fails hides none of the others as long as it never had the name.
    server.fails("stock.a.test.", ServFail);
    let first = look(&stock, &resolver, &Memory::default()).await;
    assert_eq!((shown(&first.found).as_str(), first.failed), ("127.0.0.2:80", false));
    server.has("stock.a.test.", 60, &["127.0.0.3"]);
    let second = look(&stock, &resolver, &first.memory).await;
    assert_eq!(shown(&second.found), "127.0.0.3:80");
    // It had: the other domain's host is another one.
    server.fails("stock.a.test.", ServFail);
    let third = look(&stock, &resolver, &second.memory).await;
    assert_eq!((shown(&third.found).as_str(), third.failed), ("127.0.0.3:80", true));
    // Nothing anywhere else does not make a failure a clear no.
    server.fails("stock.b.test.", NXDomain);
    assert!(!look(&stock, &resolver, &Memory::default()).await.is_gone());
    assert!(once(&resolver, "none", 80).await.is_gone());
    assert!(once(&resolver, "not..a.name", 80).await.trouble.unwrap().contains("no name that DNS has"));
}

#[tokio::test(flavor = "current_thread")]
async fn the_hosts_file_comes_first_and_is_read_again() {
    locally(async {
        let (server, folder) = (Server::start().await, TempDir::new().unwrap());
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.2 stock.test\n").unwrap();
        let stock = Followed::start("stock.test", 80, resolver_in(folder.path(), &[&server]));
        stock.until("127.0.0.2:80", None).await;
        std::fs::write(&hosts, "127.0.0.3 stock.test\n::3 stock.test\n").unwrap();
        stock.until("[::3]:80+127.0.0.3:80", None).await;
        assert_eq!(server.asked(), [""; 0]);
        let resolver = resolver_in(folder.path(), &[&server]);
        assert_eq!(shown(&once(&resolver, "localhost", 80).await.found), "[::1]:80+127.0.0.1:80");
        assert_eq!(server.asked(), [""; 0]);
        // No longer there: DNS is asked.
        server.has("stock.test.", 1, &["127.0.0.4"]);
        std::fs::write(&hosts, "").unwrap();
        stock.until("127.0.0.4:80", None).await;
    })
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn without_any_server() {
    let closed = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let settings = Settings { nameservers: vec![closed], ..Settings::default() };
    let resolver = Resolver::with_files(settings, "/nonexistent".into(), "/nonexistent".into());
    let found = once(&resolver, "stock.test", 80).await;
    assert!(found.failed && found.found.is_empty() && !found.is_gone());
    assert!(found.trouble.unwrap().contains(&closed.to_string()));
    let error = resolver.resolve(&name("stock.test", 80)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    assert_eq!(shown(&resolver.resolve(&name("127.0.0.9", 80)).await.unwrap()), "127.0.0.9:80");
}

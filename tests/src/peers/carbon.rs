//! carbon-cache, Graphite's receiver of plain lines.

use super::{Peer, listens_udp, printed, program};
use crate::net::free_port;
use crate::patience::eventually;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A running carbon-cache; one port for lines over UDP and TCP. It keeps a point a second for ten minutes.
pub struct Carbon {
    peer: Peer,
    /// Where graphite-web asks for points that are not on the disk yet.
    pub(super) cache: u16,
}

/// `{at}`, `{port}`, `{pickle}`, `{cache}` are filled in.
const CONFIG: &str = "
[cache]
STORAGE_DIR = {at}
LOCAL_DATA_DIR = {at}/whisper
CONF_DIR = {at}
LOG_DIR = {at}
PID_DIR = {at}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
ENABLE_UDP_LISTENER = True
UDP_RECEIVER_INTERFACE = 127.0.0.1
UDP_RECEIVER_PORT = {port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {cache}
{tags}
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
";

impl Carbon {
    /// On free ports.
    #[track_caller]
    pub fn start() -> Self {
        Self::with("ENABLE_TAGS = False")
    }
    /// The same for series with tags, of which it tells the graphite-web that will be on this port.
    #[track_caller]
    pub fn tagged(web: u16) -> Self {
        Self::with(&format!("ENABLE_TAGS = True\nGRAPHITE_URL = http://127.0.0.1:{web}\nTAG_UPDATE_INTERVAL = 1"))
    }
    #[track_caller]
    fn with(tags: &str) -> Self {
        let (port, pickle, cache) = (free_port(), free_port(), free_port());
        let folder = TempDir::with_prefix("carbon-").unwrap();
        std::fs::create_dir(folder.path().join("whisper")).unwrap();
        let mut config = CONFIG.replace("{at}", folder.path().to_str().unwrap()).replace("{tags}", tags);
        for (hole, port) in [("{port}", port), ("{pickle}", pickle), ("{cache}", cache)] {
            config = config.replace(hole, &port.to_string());
        }
        let file = folder.path().join("carbon.conf");
        std::fs::write(&file, config).unwrap();
        let schema = "[all]\npattern = .*\nretentions = 1s:10m,10s:1h\n";
        std::fs::write(folder.path().join("storage-schemas.conf"), schema).unwrap();
        let mut command = Command::new(program("carbon-cache"));
        command.arg(format!("--config={}", file.display())).args(["--nodaemon", "start"]);
        let mut peer = Peer::start("carbon", port, folder, &mut command);
        peer.starts("listens on UDP", |_| listens_udp(port));
        Carbon { peer: peer.listens(port).listens(cache), cache }
    }
    /// The port for lines over UDP and TCP.
    pub fn port(&self) -> u16 {
        self.peer.port
    }
    /// Its folder; `whisper/` has a file a series.
    pub fn folder(&self) -> &Path {
        self.peer.folder.path()
    }
    /// The values that a series without tags (`a.b.c`) has on the disk, oldest first.
    pub fn values(&self, series: &str) -> Vec<f64> {
        let file = self.file(series);
        if !file.is_file() {
            return Vec::new();
        }
        // A longer time than that of the finest archive is answered from a coarser one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let from = format!("--from={}", now - 595);
        let text = printed("whisper-fetch", &[&from, "--drop=nulls", file.to_str().unwrap()]);
        text.lines().filter_map(|l| l.split_whitespace().nth(1)?.parse().ok()).collect()
    }
    /// Waits until a series has this value.
    #[track_caller]
    pub fn has(&self, series: &str, value: f64) {
        eventually(&format!("carbon has {series} {value}, not {:?}", self.values(series)), || {
            self.values(series).contains(&value).then_some(())
        });
    }
    /// What it said: `Cannot parse` for a line that it refused.
    pub fn output(&self) -> String {
        let log = |name: &str| std::fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        self.peer.output() + &log("listener.log") + &log("console.log")
    }
    fn file(&self, series: &str) -> PathBuf {
        self.folder().join("whisper").join(format!("{}.wsp", series.replace('.', "/")))
    }
}

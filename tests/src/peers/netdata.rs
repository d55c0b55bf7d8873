//! netdata's StatsD server.

use super::{Peer, http_get, listens_udp, program};
use crate::net::free_port;
use crate::patience::eventually;
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

/// A running netdata that has nothing but StatsD to do; one port for UDP and TCP.
pub struct Netdata {
    peer: Peer,
    web: u16,
}

/// `{at}`, `{port}`, `{web}` are filled in.
const CONFIG: &str = "
[global]
 run as user = root
[directories]
 config = {at}
 cache = {at}
 lib = {at}
 log = {at}
[logs]
 debug = none
 error = stderr
 access = none
[db]
 mode = ram
[web]
 default port = {web}
 bind to = 127.0.0.1
[ml]
 enabled = no
[health]
 enabled = no
[registry]
 enabled = no
[plugins]
 timex = no
 checks = no
 idlejitter = no
 tc = no
 diskspace = no
 proc = no
 cgroups = no
 slabinfo = no
 apps = no
 python.d = no
 charts.d = no
 node.d = no
 go.d = no
 enable running new plugins = no
 netdata monitoring = no
 statsd = yes
[statsd]
 enabled = yes
 bind to = udp:127.0.0.1:{port} tcp:127.0.0.1:{port}
 create private charts for metrics matching = *
 update every (flushInterval) = 1
";

impl Netdata {
    /// On free ports.
    #[track_caller]
    pub fn start() -> Self {
        let (port, web, folder) = (free_port(), free_port(), TempDir::with_prefix("netdata-").unwrap());
        let config = CONFIG.replace("{at}", folder.path().to_str().unwrap());
        let config = config.replace("{port}", &port.to_string()).replace("{web}", &web.to_string());
        let file = folder.path().join("netdata.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program("netdata"));
        command.arg("-D").arg("-c").arg(&file).arg("-P").arg(folder.path().join("pid"));
        let mut peer = Peer::start("netdata", port, folder, &mut command);
        peer.starts("listens on UDP", |_| listens_udp(port));
        Netdata { peer: peer.listens(port).listens(web), web }
    }
    /// The port of StatsD over UDP and TCP.
    pub fn port(&self) -> u16 {
        self.peer.port
    }
    /// The charts that it drew of what it received, by name: `statsd_<name>_<counter|gauge|timer|histogram|set>`.
    pub fn charts(&self) -> Vec<String> {
        let all = self.ask("/api/v1/allmetrics?format=json");
        all.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default()
    }
    /// What a counter added up to since the start.
    pub fn sum(&self, name: &str) -> f64 {
        self.over(&format!("statsd_{name}_counter"), "sum")
    }
    /// A gauge's value, if it was ever sent.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        self.ask("/api/v1/allmetrics?format=json")[format!("statsd_{name}_gauge")]["dimensions"]["gauge"]["value"]
            .as_f64()
    }
    /// The longest time that a timer saw, in the unit that was sent.
    pub fn longest(&self, name: &str) -> f64 {
        self.over(&format!("statsd_{name}_timer"), "max")
    }
    /// Waits until a counter has added up to this.
    #[track_caller]
    pub fn counts(&self, name: &str, expected: f64) {
        eventually(&format!("netdata's {name} is {expected}, it has {:?}", self.charts()), || {
            ((self.sum(name) - expected).abs() < 0.01).then_some(())
        });
    }
    /// One number over all seconds; the row of the answer is `[time, dimension…]`.
    fn over(&self, chart: &str, how: &str) -> f64 {
        let path = format!("/api/v1/data?chart={chart}&after=-600&points=1&group={how}&format=json&options=unaligned");
        let row = self.ask(&path)["data"][0].clone();
        let values = row.as_array().into_iter().flatten().skip(1).filter_map(Value::as_f64);
        values.fold(0.0, f64::max)
    }
    fn ask(&self, path: &str) -> Value {
        http_get(self.web, path).and_then(|t| serde_json::from_str(&t).ok()).unwrap_or(Value::Null)
    }
}

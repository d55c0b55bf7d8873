//! Programs of others: what Fourmi must get on with. One that is missing is a failure with its name.
//!
//! Splunk, Loggly and Datadog cannot be run here: [`splunk`], [`loggly`] and [`datadog`] refuse what they refuse.

pub mod carbon;
pub mod certificates;
pub mod collectd;
pub mod datadog;
pub mod ddapm;
pub mod dns_servers;
pub mod emitters;
pub mod etcd;
pub mod frames;
pub mod fronts;
pub mod gelf_http;
pub mod go_gelf;
pub mod graphite_web;
pub mod http_sink;
pub mod instances;
pub mod loggly;
pub mod name_space;
pub mod netdata;
pub mod oteltap;
pub mod redis;
pub mod resolver;
pub mod rsyslog;
mod scripts;
pub mod splunk;
pub mod tls;
pub mod unixgram;
pub mod zmq;

pub use carbon::Carbon;
pub use certificates::Certificates;
pub use collectd::Collectd;
pub use datadog::DatadogLogs;
pub use ddapm::DdApm;
pub use dns_servers::{NameServer, dns_example};
pub use emitters::{envoy, traefik, traefik_of, vmagent_of};
pub use etcd::Etcd;
pub use frames::{FrameSink, Framing};
pub use fronts::Front;
pub use gelf_http::GelfHttp;
pub use go_gelf::GoGelf;
pub use graphite_web::GraphiteWeb;
pub use http_sink::{Answer, Fault, Heard, HttpSink};
pub use loggly::Loggly;
pub use name_space::{NameSpace, free_address_of_names};
pub use netdata::Netdata;
pub use oteltap::OtelTap;
pub use resolver::Resolver;
pub use rsyslog::Rsyslog;
pub use scripts::{node_prints, node_prints_with, python_prints, python_prints_with};
pub use splunk::Splunk;
pub use unixgram::UnixgramSink;
pub use zmq::{Binding, php_prints, php_runs, zmq_case, zmq_client, zmq_worker, zmq_worker_with};

use crate::net::free_port;
use crate::patience::{eventually, patience, within};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A program of the system.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/bin"]);
    let found = folders.map(|f| Path::new(f).join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("the peer {name} is not installed: run ./test"))
}

/// Runs a program of the system to its end.
#[track_caller]
pub fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a program printed, as text; it must have succeeded.
#[track_caller]
pub fn printed(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Runs a command to its end; it must succeed.
#[track_caller]
fn run_within(what: &str, command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What a peer on this port answers to a GET; `None` unless it is a success.
fn http_get(port: u16, path: &str) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let output = run("curl", &["-sS", "-f", "--globoff", "--noproxy", "*", "--max-time", "10", &url]);
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether somebody listens on this UDP port of IPv4; asked of the kernel, since trying would be in its way.
fn listens_udp(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let local = format!(":{port:04X}");
    sockets.lines().skip(1).filter_map(|l| l.split_whitespace().nth(1)).any(|address| address.ends_with(&local))
}

/// A peer that runs; it ends when dropped.
pub struct Peer {
    child: Child,
    output: Arc<Mutex<String>>,
    /// Its folder.
    pub folder: TempDir,
    /// Its port.
    pub port: u16,
    name: &'static str,
}

impl Peer {
    fn start(name: &'static str, port: u16, folder: TempDir, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("the peer {name} does not start: {e}"));
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let output = output.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut all = output.lock().unwrap();
                    all.push_str(&line);
                    all.push('\n');
                }
            });
        }
        Peer { child, output, folder, port, name }
    }
    /// Ends it as `kill -9` does: at once, whatever it holds.
    pub fn kill_9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal);
    }
    /// What it printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }
    #[track_caller]
    fn listens(mut self, port: u16) -> Self {
        self.starts("listens", |_| TcpStream::connect(("127.0.0.1", port)).is_ok());
        self
    }
    #[track_caller]
    fn prints(mut self, text: &str) -> Self {
        self.starts("prints that it listens", |peer| peer.output().contains(text));
        self
    }
    #[track_caller]
    fn starts(&mut self, what: &str, started: impl Fn(&Self) -> bool) {
        let up = within(patience(), || match started(self) {
            true => Some(true),
            false => matches!(self.child.try_wait(), Ok(Some(_))).then_some(false),
        });
        assert!(up == Some(true), "the peer {} never {what}: {}", self.name, self.output());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx's worker processes go with their master only when it is asked to go.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), nix::sys::signal::SIGTERM);
        let gone = || matches!(self.child.try_wait(), Ok(Some(_))).then_some(());
        if within(std::time::Duration::from_secs(2), gone).is_some() {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx as a worker: its access log has the headers that it was given; `/` answers `hello`, `/big` a mebibyte.
#[track_caller]
pub fn nginx() -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("nginx-").unwrap());
    let at = folder.path().display().to_string();
    std::fs::create_dir(folder.path().join("www")).unwrap();
    std::fs::write(folder.path().join("www/big"), "0123456789abcdef".repeat(1 << 16)).unwrap();
    let conf = format!(
        "worker_processes 1;\ndaemon off;\npid {at}/pid;\nerror_log stderr warn;\nevents {{ worker_connections 512; }}\n\
         http {{\n \
         log_format seen '$request_method $request_uri $status id=$http_fourmi_id trace=$http_traceparent name=$http_fourmi_command conn=$connection';\n access_log {at}/access.log seen;\n \
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n \
         keepalive_timeout 60s; keepalive_requests 1000000; root {at}/www;\n \
         server {{ listen 127.0.0.1:{port}; \
         location = / {{ return 200 hello; }} location = /missing {{ return 404 gone; }} location = /fail {{ return 500 broken; }} \
         location /big {{ gzip on; gzip_types *; }} }} }}\n"
    );
    // Run by root, nginx's workers are another user, who must reach the files.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, conf).unwrap();
    let mut command = Command::new(program("nginx"));
    command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
    Peer::start("nginx", port, folder, &mut command).listens(port)
}

/// A small worker on node, as a process of its own; it answers after a few milliseconds.
#[track_caller]
pub fn node_worker() -> Peer {
    let port = free_port();
    let script = format!(
        "require('http').createServer((q, s) => {{ q.resume(); q.on('end', () => setTimeout(() => s.end('{port}'), 5)); }})\
         .listen({port}, '127.0.0.1')"
    );
    let mut command = Command::new(program("node"));
    command.arg("-e").arg(script);
    Peer::start("node", port, TempDir::new().unwrap(), &mut command).listens(port)
}

/// Where `./test` puts the peers that are not the system's; this one must be there.
#[track_caller]
fn peers_folder(needed: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers");
    let found = folder.join(needed).exists();
    assert!(found, "the peer {needed} is not installed in {}: run ./test", folder.display());
    folder
}

/// A program of a package from PyPI, such as `supervisord`.
#[track_caller]
pub fn python_program(name: &str) -> PathBuf {
    let path = format!("venv/bin/{name}");
    peers_folder(&path).join(path)
}

/// The program that makes the book of `docs/`.
#[track_caller]
pub fn mdbook() -> PathBuf {
    let path = "mdbook/bin/mdbook";
    peers_folder(path).join(path)
}

/// The GELF server of the npm package graygelf: prints one JSON object a record.
#[track_caller]
pub fn graygelf() -> Peer {
    graygelf_on(free_port())
}

/// The same on this port.
#[track_caller]
pub fn graygelf_on(port: u16) -> Peer {
    let peers = peers_folder("node_modules/graygelf");
    let script = format!(
        "const s = require('graygelf/server')();\
         s.on('message', m => console.log('RECORD ' + JSON.stringify(m)));\
         s.listen({port}, '127.0.0.1'); setTimeout(() => console.log('LISTENING'), 300);"
    );
    let mut command = Command::new(program("node"));
    command.arg("-e").arg(script).current_dir(peers);
    Peer::start("graygelf", port, TempDir::new().unwrap(), &mut command).prints("LISTENING")
}

/// The records that graygelf printed.
pub fn printed_records(peer: &Peer) -> Vec<serde_json::Value> {
    let output = peer.output();
    output.lines().filter_map(|l| l.strip_prefix("RECORD ")).filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// The StatsD daemon of the npm package statsd, and its management port.
#[track_caller]
pub fn statsd() -> (Peer, u16) {
    statsd_with("flushInterval: 600000, deleteIdleStats: false, backends: ['./backends/console']")
}

/// The same, telling Carbon at this port once a second.
#[track_caller]
pub fn statsd_to_graphite(carbon: u16) -> (Peer, u16) {
    statsd_with(&format!(
        "flushInterval: 1000, deleteIdleStats: true, backends: ['./backends/graphite'], \
         graphiteHost: '127.0.0.1', graphitePort: {carbon}, graphite: {{ legacyNamespace: false }}"
    ))
}

#[track_caller]
fn statsd_with(more: &str) -> (Peer, u16) {
    let peers = peers_folder("node_modules/statsd");
    let (port, management, folder) = (free_port(), free_port(), TempDir::with_prefix("statsd-").unwrap());
    let config = format!(
        "{{ servers: [{{ server: './servers/udp', address: '127.0.0.1', port: {port} }}], mgmt_address: '127.0.0.1', \
         mgmt_port: {management}, {more} }}"
    );
    let file = folder.path().join("config.js");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program("node"));
    command.arg("node_modules/statsd/stats.js").arg(&file).current_dir(peers);
    (Peer::start("statsd", port, folder, &mut command).listens(management), management)
}

/// Asks the StatsD daemon's management port; the answer up to its `END`.
pub fn statsd_says(management: u16, what: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", management)).unwrap();
    stream.write_all(format!("{what}\n").as_bytes()).unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|l| l != "END").collect::<Vec<_>>().join("\n")
}

/// Prometheus, scraping this admin port every second.
#[track_caller]
pub fn prometheus(admin: u16) -> Peer {
    prometheus_of(&[admin], "")
}

/// Prometheus, scraping all these admin ports every second, with more labels as YAML flow text, e.g. `env: prod`.
#[track_caller]
pub fn prometheus_of(admins: &[u16], labels: &str) -> Peer {
    let (port, folder) = (free_port(), TempDir::with_prefix("prometheus-").unwrap());
    let targets: Vec<String> = admins.iter().map(|admin| format!("'127.0.0.1:{admin}'")).collect();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: fourmi\n  static_configs: [{{targets: [{}], labels: {{{labels}}}}}]\n",
        targets.join(", ")
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program("prometheus"));
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}/data", folder.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Peer::start("prometheus", port, folder, &mut command).listens(port)
}

/// Waits until a PromQL query has a result; its first value.
#[track_caller]
pub fn prometheus_says(peer: &Peer, query: &str, fits: impl Fn(f64) -> bool) -> f64 {
    let url = format!("http://127.0.0.1:{}/api/v1/query", peer.port);
    eventually(&format!("Prometheus answers {query}"), || {
        let argument = format!("query={query}");
        let output = run("curl", &["-sS", "--noproxy", "*", "-G", &url, "--data-urlencode", &argument]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let value: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
        fits(value).then_some(value)
    })
}

//! Fourmi itself, as a process of its own.

mod again;

use crate::gelf::GelfServer;
use crate::net::free_port;
use crate::patience::{eventually, eventually_or, patience, within};
use crate::prometheus::Scrape;
use crate::statsd::StatsdServer;
use crate::wire::{Client, Kind, Message, Wire};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test: `FOURMI_BIN`, or `fourmi` in the folder that this test was built into.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("FOURMI_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("fourmi");
    assert!(path.exists(), "{} is missing: run `cargo build` first, or set FOURMI_BIN", path.display());
    path
}

/// How a `fourmi` command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

/// Runs `fourmi` with these arguments to its end, in a clean environment.
pub fn run_fourmi(arguments: &[&str]) -> Ended {
    run_fourmi_in(Path::new("/"), arguments)
}

/// The same in a folder.
pub fn run_fourmi_in(folder: &Path, arguments: &[&str]) -> Ended {
    run_fourmi_with(folder, &BTreeMap::new(), arguments)
}

/// The same with more variables in its environment.
pub fn run_fourmi_with(folder: &Path, environment: &BTreeMap<String, String>, arguments: &[&str]) -> Ended {
    let mut command = clean_command();
    let output = command.envs(environment).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn clean_command() -> Command {
    cleaned(Command::new(binary()))
}

fn cleaned(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("FOURMI_") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// A configuration in the making.
pub struct Setup {
    folder: TempDir,
    inbound: u16,
    outbound: Option<u16>,
    admin: u16,
    admin_keys: String,
    worker: Option<String>,
    inbound_keys: String,
    outbound_keys: String,
    logs: Option<String>,
    sinks: Vec<String>,
    labels: String,
    more: String,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// Fourmi beside the worker at this address, on free ports, telling nobody.
    pub fn beside(worker: &str) -> Self {
        Self { worker: Some(format!("{{address: \"{worker}\"}}")), ..Self::alone() }
    }

    /// The same with several workers.
    pub fn beside_all<'a>(workers: impl IntoIterator<Item = &'a str>) -> Self {
        let list: Vec<String> = workers.into_iter().map(|w| format!("\"{w}\"")).collect();
        Self { worker: Some(format!("{{address: [{}]}}", list.join(", "))), ..Self::alone() }
    }

    /// Fourmi without a worker.
    pub fn alone() -> Self {
        Setup {
            folder: TempDir::with_prefix("fourmi-").unwrap(),
            inbound: free_port(),
            outbound: None,
            admin: free_port(),
            admin_keys: String::new(),
            worker: None,
            inbound_keys: String::new(),
            outbound_keys: String::new(),
            logs: None,
            sinks: Vec::new(),
            labels: String::new(),
            more: String::new(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The worker's section as YAML flow text, e.g. `{address: …, ready: {…}}`.
    pub fn worker(mut self, yaml: impl Into<String>) -> Self {
        self.worker = Some(yaml.into());
        self
    }
    /// More keys of the inbound listener, e.g. `proxy_protocol: true`.
    pub fn inbound(mut self, yaml: impl Into<String>) -> Self {
        self.inbound_keys = yaml.into();
        self
    }
    /// An outbound listener with these services as YAML flow text, e.g. `{stock: {address: …}}`.
    pub fn outbound(mut self, services: impl Into<String>) -> Self {
        self.outbound = Some(free_port());
        self.outbound_keys = services.into();
        self
    }
    /// More keys of the admin listener, e.g. `read_only: true`.
    pub fn admin_keys(mut self, yaml: &str) -> Self {
        self.admin_keys = format!(", {yaml}");
        self
    }
    /// The list `logs:` as YAML flow text.
    pub fn logs(mut self, yaml: impl Into<String>) -> Self {
        self.logs = Some(yaml.into());
        self
    }
    /// Records go to this GELF receiver.
    pub fn gelf(self, server: &GelfServer) -> Self {
        let to = server.port();
        self.logs(format!("[{{graylog: {{to: \"udp://127.0.0.1:{to}\", compress: none}}}}]"))
    }
    /// Numbers go to this StatsD receiver every 100 ms, in this dialect.
    pub fn statsd(mut self, server: &StatsdServer, dialect: &str) -> Self {
        let to = server.port();
        let keys = format!("to: \"udp://127.0.0.1:{to}\", dialect: {dialect}, interval: 100ms");
        self.sinks.push(format!("{{statsd: {{{keys}}}}}"));
        self
    }
    /// One more entry of `metrics.sinks`, as YAML flow text.
    pub fn metric_sink(mut self, yaml: impl Into<String>) -> Self {
        self.sinks.push(yaml.into());
        self
    }
    /// Tag keys that become labels.
    pub fn labels(mut self, labels: &str) -> Self {
        self.labels = labels.to_owned();
        self
    }
    /// More keys of the top level, as YAML lines.
    pub fn more(mut self, yaml: &str) -> Self {
        self.more.push_str(yaml);
        self.more.push('\n');
        self
    }
    /// The worker's command line, after `--`.
    pub fn running(mut self, command: &[&str]) -> Self {
        self.arguments = command.iter().map(|s| s.to_string()).collect();
        self
    }
    /// A program that starts Fourmi in its own place, e.g. `prlimit --nofile=64`.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.wrapper = command.iter().map(|s| s.to_string()).collect();
        self
    }
    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
    /// The test's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// The inbound port that will be used.
    pub fn inbound_port(&self) -> u16 {
        self.inbound
    }

    /// The configuration file's text.
    pub fn yaml(&self) -> String {
        let mut yaml = String::from("service: payment\nenv: test\nhostname: box\n");
        if let Some(worker) = &self.worker {
            yaml += &format!("worker: {worker}\n");
        }
        if self.worker.is_some() {
            yaml += &format!("inbound: [{{listen: \"http://127.0.0.1:{}\"", self.inbound);
            if !self.inbound_keys.is_empty() {
                yaml += &format!(", {}", self.inbound_keys);
            }
            yaml += "}]\n";
        }
        if let Some(port) = self.outbound {
            yaml += &format!("outbound: [{{listen: \"http://127.0.0.1:{port}\"");
            if !self.outbound_keys.is_empty() {
                yaml += &format!(", services: {}", self.outbound_keys);
            }
            yaml += "}]\n";
        }
        yaml += &format!("admin: {{listen: \"127.0.0.1:{}\"{}}}\n", self.admin, self.admin_keys);
        yaml += &format!("logs: {}\n", self.logs.as_deref().unwrap_or("[]"));
        let mut sinks = self.sinks.clone();
        sinks.push("{prometheus: {}}".into());
        yaml += &format!("metrics: {{labels: [{}], sinks: [{}]}}\n", self.labels, sinks.join(", "));
        yaml + &self.more
    }

    /// Starts Fourmi and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Fourmi {
        let mut fourmi = self.spawn();
        fourmi.wait_ready();
        fourmi
    }

    /// Starts Fourmi and waits for nothing.
    #[track_caller]
    pub fn spawn(self) -> Fourmi {
        let file = self.folder.path().join("fourmi.yaml");
        std::fs::write(&file, self.yaml()).unwrap();
        let started = Instant::now();
        let (child, stdout, stderr) = self.launch(&file);
        Fourmi { setup: self, child, file, stdout, stderr, started, status: None }
    }
}

fn gather(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = text.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}

/// A running Fourmi; it ends when dropped.
pub struct Fourmi {
    setup: Setup,
    child: Child,
    file: PathBuf,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    /// When the process was started.
    pub started: Instant,
    status: Option<ExitStatus>,
}

impl Fourmi {
    /// Waits until `/readyz` says 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let mut said = String::new();
        let ready = within(patience(), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.status = Some(status);
                // Its last words may still be on their way through the pipe.
                within(Duration::from_millis(100), || None::<()>);
                panic!("fourmi ended with {status} instead of being ready:\n{}\n{}", self.setup.yaml(), self.stderr());
            }
            let answer = self.try_admin("GET", "/readyz")?;
            said = answer.text();
            (answer.status() == 200).then_some(())
        });
        assert!(ready.is_some(), "never ready: {said}\n{}", self.stderr());
    }

    /// Waits until `/livez` says 200, whatever is not ready yet.
    #[track_caller]
    pub fn wait_live(&self) {
        let live = || self.try_admin("GET", "/livez").is_some_and(|a| a.status() == 200).then_some(());
        eventually_or("fourmi is alive", live, || self.stderr());
    }

    /// The inbound port.
    pub fn port(&self) -> u16 {
        self.setup.inbound
    }
    /// The outbound port.
    #[track_caller]
    pub fn outbound_port(&self) -> u16 {
        self.setup.outbound.expect("this setup has no outbound side")
    }
    /// The admin port.
    pub fn admin_port(&self) -> u16 {
        self.setup.admin
    }
    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }
    /// The process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
    /// A caller of the worker.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port())
    }
    /// The worker as a caller of others.
    #[track_caller]
    pub fn outbound(&self) -> Client {
        Client::connect(self.outbound_port())
    }
    /// A GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Message {
        self.client().get(path)
    }
    /// A POST on a connection of its own; `headers` are whole lines.
    #[track_caller]
    pub fn post(&self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Message {
        self.client().post(path, headers, body)
    }
    /// A GET with more header lines.
    #[track_caller]
    pub fn get_with(&self, path: &str, headers: &str) -> Message {
        self.client().send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")).answer()
    }
    /// A request to the admin API.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> Message {
        self.try_admin(method, path).unwrap_or_else(|| panic!("no answer of the admin API to {method} {path}"))
    }
    /// The same, when it may not listen yet or any more.
    pub fn try_admin(&self, method: &str, path: &str) -> Option<Message> {
        let stream = TcpStream::connect(("127.0.0.1", self.setup.admin)).ok()?;
        let mut wire = Wire::new(crate::net::Stream::Tcp(stream));
        let port = self.setup.admin;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        wire.send(head).ok()?;
        wire.message(Kind::AnswerTo(method)).ok()
    }
    /// What `/metrics` says now.
    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        Scrape::of(&self.admin("GET", "/metrics").text())
    }
    /// Waits until a metric's sum over the series with these labels is as expected.
    #[track_caller]
    pub fn counts(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut last = 0.0;
        let reached = || {
            last = self.metrics().sum(name, labels);
            (last == expected).then_some(())
        };
        let what = format!("{name}{labels:?} = {expected}");
        eventually_or(&what, reached, || self.metrics().text());
    }
    /// Writes another configuration over the file; nobody is told.
    pub fn rewrite(&self, yaml: &str) {
        // As editors and configuration tools do: the file is never half-written.
        let new = self.file.with_extension("new");
        let mut file = std::fs::File::create(&new).unwrap();
        file.write_all(yaml.as_bytes()).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }
    /// The configuration that it was started with.
    pub fn yaml(&self) -> String {
        self.setup.yaml()
    }
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }
    /// What it has said on standard error.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }
    /// What it has printed.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }
    /// Waits until standard error has this text.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually_or(
            &format!("fourmi says {text:?}"),
            || self.stderr().contains(text).then_some(()),
            || self.stderr(),
        );
    }
    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_none()
    }
    /// Waits until the process has ended; its exit code.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let status = match self.status {
            Some(status) => status,
            None => eventually("fourmi ends", || self.child.try_wait().unwrap()),
        };
        self.status = Some(status);
        status.code().unwrap_or(-1)
    }
    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
    /// Processor time used so far.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after = stat.rsplit(')').next().unwrap();
        let ticks = |n: usize| after.split_whitespace().nth(n).unwrap().parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

impl Drop for Fourmi {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- fourmi's own log\n{}", self.stderr());
        }
        if !self.is_running() {
            return;
        }
        // The second signal forces, and either takes a supervised worker along.
        self.signal(Signal::SIGTERM);
        let ended = |fourmi: &mut Self, time| within(time, || (!fourmi.is_running()).then_some(())).is_some();
        if !ended(self, Duration::from_millis(30)) {
            self.signal(Signal::SIGTERM);
            ended(self, Duration::from_secs(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

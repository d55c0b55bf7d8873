//! The examples of deployment: each is checked by a validator that others wrote, by what its parts say of each other,
//! and run for real where that can be done on one machine.

mod compose;
mod files;
mod image;
mod kubernetes;
mod supervisor;
mod systemd;

use fourmi_tests::peers::program;
use fourmi_tests::sidecar::binary;
use fourmi_tests::{
    Client, Message,
    patience::{patience, within},
    until,
};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a stop of Fourmi may take beyond `timeouts.drain`, in seconds: `docs/life.md`.
const BEYOND_DRAIN: f64 = 5.0;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of `examples/deploy`.
fn example(path: &str) -> PathBuf {
    root().join("examples/deploy").join(path)
}

/// The text of a file of `examples/deploy`.
#[track_caller]
fn text(path: &str) -> String {
    std::fs::read_to_string(example(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A program of the peers from PyPI.
#[track_caller]
fn python_peer(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/venv/bin").join(name);
    assert!(path.is_file(), "the peer {} is not installed: run ./test", path.display());
    path
}

/// Runs a program to its end: whether it succeeded, and all that it said.
fn ran(command: &mut Command) -> (bool, String) {
    let output = clean(command).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat();
    (output.status.success(), said)
}

/// Takes what would change Fourmi, or lead requests away, out of a command's environment.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("FOURMI_") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

/// A file's YAML documents as another parser than Fourmi's reads them.
#[track_caller]
fn yaml(source: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let mut child = Command::new(python_peer("python3"))
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no YAML: {e}\n{source}"))
}

/// The effective configuration that Fourmi makes of a file and these variables; there must be no warning.
#[track_caller]
fn effective(file: &Path, environment: &[(String, String)]) -> Value {
    let with = || {
        let mut command = Command::new(binary());
        clean(&mut command).envs(environment.iter().cloned()).current_dir("/");
        command
    };
    let mut checked = with();
    let output = checked.args(["validate", "--deny-warnings"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", file.display());
    let output = with().args(["config", "show", "--json", "-c"]).arg(file).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    shown["values"].clone()
}

/// Seconds of `25s`, `2m`, or a plain number.
#[track_caller]
fn seconds(value: &Value) -> f64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "ms" => 0.001,
        _ => panic!("{text} is no time"),
    };
    number.trim().parse::<f64>().unwrap_or_else(|e| panic!("{text}: {e}")) * factor
}

/// The port at the end of a URL or an address.
#[track_caller]
fn port_of(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no address"));
    text.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or_else(|| panic!("{text} has no port"))
}

/// The items of a list, none when there is no list.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The entries of a section, none when there is no section.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// What stands at a JSON pointer, as text.
#[track_caller]
fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// A process that ends with its test.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        clean(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a tracer takes along whom it traces.
        let mut child = command.process_group(0).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for mut stream in streams {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
                }
            });
        }
        Running { child, said }
    }
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
    /// Waits until it has said this.
    #[track_caller]
    fn says(&self, text: &str) {
        until(&format!("it says {text:?}"), || self.said().contains(text));
    }
    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }
    /// Waits for its end; its exit code.
    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        fourmi_tests::eventually("it ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- it said\n{}", self.said());
        }
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let group = Pid::from_raw(self.child.id() as i32);
        let _ = killpg(group, Signal::SIGTERM);
        within(patience(), || (!matches!(self.child.try_wait(), Ok(None))).then_some(()));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The example's worker on this port.
fn worker(port: u16) -> Running {
    let mut command = Command::new(python_peer("python3"));
    let running = Running::start(command.arg(example("worker/worker.py")).env("WORKER_PORT", port.to_string()));
    until("the worker listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    running
}

/// A GET as a kubelet or a curl sends it: by address. None when nobody listens.
fn get(port: u16, path: &str) -> Option<Message> {
    std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    Some(Client::connect(port).send(head).answer())
}

/// The status of a GET, 0 when nobody listens.
fn status(port: u16, path: &str) -> u16 {
    get(port, path).map_or(0, |answer| answer.status())
}

/// Waits until the Fourmi with this admin port has a command in hand.
#[track_caller]
fn busy(admin: u16) {
    until("a command is on its way", || {
        let status = get(admin, "/api/v1/status").map(|answer| answer.json());
        status.is_some_and(|status| status["in_flight"].as_u64() > Some(0))
    });
}

/// `systemd-analyze` and the like, which must be there.
fn tool(name: &str) -> Command {
    Command::new(program(name))
}

//! Supervisor, really run with the example's files as they stand.

use crate::{BEYOND_DRAIN, Running, busy, clean, effective, example, python_peer, seconds, status, text};
use fourmi_tests::sidecar::binary;
use fourmi_tests::{Client, free_port, until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Supervisor on a copy of the examples, which may be changed.
struct Supervisor {
    folder: TempDir,
    daemon: Running,
    inbound: u16,
    admin: u16,
}

/// What both Supervisor and its client are started with: names are found in `PATH`, as in an image.
fn program<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let venv = python_peer("supervisord");
    let path = format!("{}:{}:/usr/bin:/bin", folder.join("bin").display(), venv.parent().unwrap().display());
    clean(command)
        .arg("-c")
        .arg(folder.join("supervisor/supervisord.conf"))
        .env("PATH", path)
        .env("RUNTIME_DIRECTORY", folder.join("run"))
}

impl Supervisor {
    fn start() -> Self {
        let folder = TempDir::with_prefix("supervisor-").unwrap();
        let at = folder.path();
        for file in [
            "supervisor/supervisord.conf",
            "supervisor/conf.d/payment.conf",
            "supervisor/fourmi.yaml",
            "worker/worker.py",
        ] {
            std::fs::create_dir_all(at.join(file).parent().unwrap()).unwrap();
            std::fs::copy(example(file), at.join(file)).unwrap();
        }
        for name in ["bin", "run"] {
            std::fs::create_dir(at.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(binary(), at.join("bin/fourmi")).unwrap();
        let (inbound, admin) = (free_port(), free_port());
        let mut command = Command::new(python_peer("supervisord"));
        program(&mut command, at).env("WORKER_PORT", free_port().to_string()).current_dir(at);
        // The test has many Fourmis on one machine; only the ports are not the example's.
        let config = at.join("supervisor/fourmi.yaml");
        let ports = format!(
            "inbound: [{{listen: \"http://127.0.0.1:{inbound}\"}}]\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\n"
        );
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &ports).unwrap();
        let daemon = Running::start(&mut command);
        Supervisor { folder, daemon, inbound, admin }
    }
    /// `supervisorctl` with these words; what it says.
    fn ctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(python_peer("supervisorctl"));
        let output = program(&mut command, self.folder.path()).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
    #[track_caller]
    fn is(&self, state: &str) {
        until(&format!("payment is {state}"), || self.ctl(&["status", "payment"]).contains(state));
    }
    #[track_caller]
    fn is_ready(&self) {
        until("fourmi is ready", || status(self.admin, "/readyz") == 200);
    }
    /// Writes this key anew in the configuration.
    fn change(&self, from: &str, to: &str) {
        let file = self.folder.path().join("supervisor/fourmi.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    }
    /// A command that takes a while, when it is in Fourmi's hands.
    fn slow(&self) -> std::thread::JoinHandle<String> {
        let (inbound, admin) = (self.inbound, self.admin);
        let slow = std::thread::spawn(move || Client::connect(inbound).get("/slow?ms=1500").text());
        busy(admin);
        slow
    }
}

#[test]
fn conformance_with_supervisor_from_start_to_stop() {
    let supervisor = Supervisor::start();
    supervisor.is("RUNNING");
    supervisor.is_ready();
    let client = || Client::connect(supervisor.inbound);
    assert!(client().get("/pay").text().starts_with("done /pay"));
    // The record is a line on Supervisor's own standard output, with the tag from `environment=`.
    supervisor.daemon.says("\"tag_program\":\"payment\"");

    supervisor.change("env: production", "env: staging");
    assert!(supervisor.ctl(&["signal", "HUP", "payment"]).contains("signalled"));
    supervisor.daemon.says("reloaded");
    assert_eq!(client().get("/after").status(), 200);
    supervisor.daemon.says("\"env\":\"staging\"");
    // A mistake changes nothing and ends nothing.
    supervisor.change("env: staging", "environment: staging");
    supervisor.ctl(&["signal", "HUP", "payment"]);
    supervisor.daemon.says("config/unknown-key");
    assert_eq!(client().get("/still").status(), 200);
    supervisor.change("environment: staging", "env: staging");

    let slow = supervisor.slow();
    assert!(supervisor.ctl(&["stop", "payment"]).contains("stopped"));
    assert!(slow.join().unwrap().starts_with("done /slow"), "what was in flight is answered");
    assert!(supervisor.ctl(&["status", "payment"]).contains("STOPPED"));
    supervisor.daemon.says("stopped: payment (exit status 0)");
    assert_eq!((status(supervisor.admin, "/livez"), status(supervisor.inbound, "/")), (0, 0));
    assert!(!supervisor.daemon.said().contains("SIGKILL"), "{}", supervisor.daemon.said());
}

#[test]
fn conformance_with_supervisor_that_is_stopped_itself() {
    let mut supervisor = Supervisor::start();
    supervisor.is_ready();
    let slow = supervisor.slow();
    supervisor.daemon.signal(Signal::SIGTERM);
    assert!(slow.join().unwrap().starts_with("done /slow"));
    assert_eq!(supervisor.daemon.ends(), Some(0));
    assert!(supervisor.daemon.said().contains("stopped: payment (exit status 0)"), "{}", supervisor.daemon.said());
}

/// A configuration that is refused is tried once; a worker that ends, whatever it says, is started again.
#[test]
fn conformance_with_supervisor_when_something_is_wrong() {
    let supervisor = Supervisor::start();
    supervisor.is_ready();
    supervisor.ctl(&["stop", "payment"]);
    supervisor.change("timeouts:", "timeout:");
    let spawned = || supervisor.daemon.said().matches("spawned: 'payment'").count();
    assert_eq!(spawned(), 1);
    supervisor.ctl(&["start", "payment"]);
    supervisor.is("EXITED");
    supervisor.daemon.says("exited: payment (exit status 78; expected)");
    // Supervisor would have started it again within its own pace of a second.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(spawned(), 2);
    supervisor.is("EXITED");

    supervisor.change("timeout:", "timeouts:");
    supervisor.ctl(&["start", "payment"]);
    supervisor.is_ready();
    // `/proc` knows the worker as the child of the program that Supervisor runs.
    let fourmi = supervisor.ctl(&["pid", "payment"]).trim().to_owned();
    let children = std::fs::read_to_string(format!("/proc/{fourmi}/task/{fourmi}/children")).unwrap();
    let worker = children.split_whitespace().next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), Signal::SIGTERM).unwrap();
    supervisor.daemon.says("exited: payment (exit status 0; not expected)");
    until("it was started again", || spawned() == 4);
    supervisor.is_ready();
}

#[test]
fn supervisor_waits_longer_than_a_stop_takes() {
    let program = text("supervisor/conf.d/payment.conf");
    let value = |key: &str| program.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap();
    let config = effective(&example("supervisor/fourmi.yaml"), &[]);
    assert!(seconds(&json!(value("stopwaitsecs"))) >= seconds(&config["timeouts"]["drain"]) + BEYOND_DRAIN);
    assert_eq!((value("stopsignal"), value("stopasgroup"), value("killasgroup")), ("TERM", "false", "true"));
}

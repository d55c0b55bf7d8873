//! Processes: where they run, what they used, and their end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a process runs, and how nice it is.
#[derive(Clone, Copy)]
pub(crate) struct Placed {
    /// The only CPU that it gets.
    pub(crate) cpu: u32,
    /// Below 0 is before others.
    pub(crate) nice: i32,
}

impl Placed {
    /// A program that runs there; each wrapper becomes the next, so the process is the program's own.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nice");
        command.args(["-n", &self.nice.to_string(), "taskset", "-c", &self.cpu.to_string()]).arg(program);
        // What is set for Fourmi's tests, or for reaching the outside, is not for what is measured.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("FOURMI_") || text.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        command.stdin(Stdio::null());
        command
    }
}

/// A process with its children, on a port; it ends when dropped.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Running {
    pub(crate) fn new(name: &'static str, child: Child, port: u16) -> Self {
        Running { name, child, port }
    }

    /// Starts it, saying what it says into this file, and waits until it listens.
    pub(crate) fn start(name: &'static str, mut command: Command, port: u16, said: &Path) -> Self {
        let file = std::fs::File::create(said).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        let mut running = Running::new(name, child, port);
        let give_up = Instant::now() + fourmi_tests::patience::patience();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = matches!(running.child.try_wait(), Ok(Some(_)));
            let words = || std::fs::read_to_string(said).unwrap_or_default();
            assert!(!ended && Instant::now() < give_up, "{name} does not listen: {}", words());
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }

    /// Its process and those below it.
    fn family(&self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = numbers("/proc").filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut family = vec![self.child.id()];
        let mut at = 0;
        while at < family.len() {
            let of = family[at];
            family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid));
            at += 1;
        }
        family
    }

    /// CPU time so far, of all threads of the family.
    pub(crate) fn cpu(&self) -> Duration {
        let of = |pid: u32| numbers(&format!("/proc/{pid}/task")).map(move |thread| (pid, thread));
        let nanoseconds: u64 = self.family().into_iter().flat_map(of).map(|(pid, thread)| run_time(pid, thread)).sum();
        assert!(nanoseconds > 0, "{}: the kernel keeps no scheduler statistics", self.name);
        Duration::from_nanos(nanoseconds)
    }

    /// Resident bytes of the family; what its processes share is in it for each.
    pub(crate) fn memory(&self) -> u64 {
        self.family().into_iter().map(resident).sum()
    }
}

/// The entries of a folder that are numbers.
fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn run_time(pid: u32, thread: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's worker goes with its master only when that is asked to go; the second signal makes Fourmi hurry.
        for _ in 0..2 {
            let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
            let give_up = Instant::now() + Duration::from_secs(1);
            while Instant::now() < give_up {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

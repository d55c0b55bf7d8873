//! The processes of the demo and its folder: made here, and gone when this value is.

use super::system::{PHP, Ports, REGISTRY, Registry, SERVICES, config, registry_config};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Where ports are looked for: below the range from which the kernel takes those of outgoing connections
/// (`net.ipv4.ip_local_port_range`), or one of those could sit on the port of a worker that starts again.
const RANGE: std::ops::Range<u16> = 17_000..31_000;

/// A worker as PHP has it: that of `examples/zeromq`.
pub(super) const WORKER: &str = include_str!("worker.php");

/// A folder that is removed with everything in it.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one that only this user may enter.
    pub(super) fn new() -> io::Result<Self> {
        let name = format!("fourmi-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join(format!("{name}.{ending}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// TCP ports of 127.0.0.1 that are free now, all different.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..10_000 {
        if held.len() == count {
            break;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))) {
            held.push(listener);
        }
    }
    if held.len() < count {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "not enough free ports"));
    }
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Every process. Killed when dropped; each also dies with this process, however that ends.
pub(super) struct Children {
    // Before the folder: fields are dropped in their order.
    registry: Child,
    fourmis: Vec<Child>,
    workers: Vec<Vec<Child>>,
    ports: Vec<Ports>,
    program: PathBuf,
    folder: Folder,
}

impl Children {
    /// Writes the configurations and starts everything.
    pub(super) fn start(folder: Folder, ports: &[Ports], registry: Registry) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let run = |name: &str, text: String| {
            let path = folder.file(name, "yaml");
            std::fs::write(&path, text)?;
            spawn(&program, &program, &folder, name, &["run".as_ref(), "-c".as_ref(), path.as_ref()])
        };
        let first = run(REGISTRY, registry_config(ports, registry))?;
        let fourmis = SERVICES.iter().enumerate().map(|(i, service)| run(service.name, config(i, ports, registry)));
        let fourmis = fourmis.collect::<io::Result<_>>()?;
        let mut children =
            Children { registry: first, fourmis, workers: Vec::new(), ports: ports.to_vec(), program, folder };
        for (index, service) in SERVICES.iter().enumerate() {
            let workers = (0..service.workers).map(|n| children.worker(index, n)).collect::<io::Result<_>>()?;
            children.workers.push(workers);
        }
        Ok(children)
    }

    fn worker(&self, index: usize, number: usize) -> io::Result<Child> {
        let (service, ports) = (SERVICES[index], &self.ports[index]);
        let port = ports.workers[number].to_string();
        let called = format!("{}-worker-{number}", service.name);
        if ports.php {
            let (script, address) = (self.folder.file(PHP, "php"), format!("tcp://127.0.0.1:{port}"));
            std::fs::write(&script, WORKER)?;
            return spawn(&self.program, Path::new("php"), &self.folder, &called, &[&script, Path::new(&address)]);
        }
        let proxy = format!("http://127.0.0.1:{}", ports.outbound);
        let mut args = vec!["demo-part", "worker", service.name, "--port", &port];
        if index == 0 {
            args.extend(["--proxy", &proxy]);
        }
        let args: Vec<&Path> = args.iter().map(Path::new).collect();
        spawn(&self.program, &self.program, &self.folder, &called, &args)
    }

    /// Kills a worker as `kill -9` does.
    pub(super) async fn kill_worker(&mut self, index: usize, number: usize) -> io::Result<()> {
        self.workers[index][number].kill().await
    }

    /// Starts a killed worker again.
    pub(super) fn restart_worker(&mut self, index: usize, number: usize) -> io::Result<()> {
        self.workers[index][number] = self.worker(index, number)?;
        Ok(())
    }

    /// A process that ended by itself, and the end of what it wrote.
    pub(super) fn ended(&mut self) -> Option<String> {
        if let Ok(Some(status)) = self.registry.try_wait() {
            return Some(format!("the registry ended: {status}\n{}", self.log(REGISTRY)));
        }
        for (index, service) in SERVICES.iter().enumerate() {
            if let Ok(Some(status)) = self.fourmis[index].try_wait() {
                return Some(format!("the Fourmi of {} ended: {status}\n{}", service.name, self.log(service.name)));
            }
            for (number, worker) in self.workers[index].iter_mut().enumerate() {
                if let Ok(Some(status)) = worker.try_wait() {
                    let name = format!("{}-worker-{number}", service.name);
                    return Some(format!("{name} ended: {status}\n{}", self.log(&name)));
                }
            }
        }
        None
    }

    /// The last lines of what a process wrote.
    pub(super) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.file(name, "log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Ends every Fourmi gracefully, so that each tells all it knows, and says which did not end well.
    pub(super) async fn stop(&mut self, patience: Duration) -> Vec<String> {
        for fourmi in &self.fourmis {
            if let Some(pid) = fourmi.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let end = tokio::time::Instant::now() + patience;
        let mut wrong = Vec::new();
        for (fourmi, service) in self.fourmis.iter_mut().zip(SERVICES) {
            match tokio::time::timeout_at(end, fourmi.wait()).await {
                Ok(Ok(status)) if ExitStatus::success(&status) => {}
                Ok(Ok(status)) => wrong.push(format!("{}: its Fourmi ended with {status}", service.name)),
                Ok(Err(error)) => wrong.push(format!("{}: its Fourmi: {error}", service.name)),
                Err(_) => wrong.push(format!("{}: its Fourmi did not stop within {patience:?}", service.name)),
            }
        }
        // The registry last: until here somebody may have looked up a name.
        if let Some(pid) = self.registry.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        match tokio::time::timeout_at(end, self.registry.wait()).await {
            Ok(Ok(status)) if ExitStatus::success(&status) => {}
            Ok(Ok(status)) => wrong.push(format!("the registry ended with {status}")),
            Ok(Err(error)) => wrong.push(format!("the registry: {error}")),
            Err(_) => wrong.push(format!("the registry did not stop within {patience:?}")),
        }
        // The workers have nothing to flush; waited for, so that none is still seen when the demo has ended.
        for worker in self.workers.iter_mut().flatten() {
            let _ = worker.kill().await;
        }
        wrong
    }
}

impl Drop for Children {
    /// Kills whatever is left, and waits a moment for it to be gone: whoever looks after us shall find nothing.
    fn drop(&mut self) {
        let fourmis = self.fourmis.iter_mut().chain([&mut self.registry]);
        let mut all: Vec<&mut Child> = fourmis.chain(self.workers.iter_mut().flatten()).collect();
        for child in &mut all {
            let _ = child.start_kill();
        }
        for _ in 0..100 {
            all.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if all.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn spawn(own: &Path, program: &Path, folder: &Folder, name: &str, args: &[&Path]) -> io::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.file(name, "log"))?;
    let mut command = Command::new(own);
    command.args(["demo-part", "guard", &std::process::id().to_string()]).arg(program).args(args);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // What is set for another Fourmi must not change these.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FOURMI_") {
            command.env_remove(name);
        }
    }
    // A group of its own: Ctrl-C is for the demo, which then ends the others in order.
    command.process_group(0).kill_on_drop(true).spawn()
}

/// `PID PROGRAM [ARGUMENT...]`: arranges to be killed when PID, the parent, ends; then becomes the program. Returns
/// only to say why it could not.
pub(super) fn guard(args: &[String]) -> String {
    let [parent, program, rest @ ..] = args else { return "guard PID PROGRAM [ARGUMENT...]".to_owned() };
    // Asked for by the child itself, because doing it between fork and exec would be unsafe code.
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return format!("no signal at the parent's end: {error}");
    }
    // It may have ended before we asked.
    if Ok(std::os::unix::process::parent_id()) != parent.parse::<u32>().map_err(drop) {
        return "the parent has ended".to_owned();
    }
    let error = std::process::Command::new(program).args(rest).exec();
    format!("{program}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_different() {
        let mut ports = free_ports(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).unwrap();
    }

    #[test]
    fn the_folder_goes() {
        let folder = Folder::new().unwrap();
        let file = folder.file("x", "log");
        std::fs::write(&file, "x").unwrap();
        drop(folder);
        assert!(!file.parent().unwrap().exists());
    }

    #[test]
    fn a_guard_needs_its_parent() {
        let strings = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(guard(&[]).contains("PID"));
        // Never the right parent: a test must not replace itself.
        assert_eq!(guard(&strings(&["0", "true"])), "the parent has ended");
    }
}

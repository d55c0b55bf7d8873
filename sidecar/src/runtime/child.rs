//! The worker process of `fourmi run -- CMD`: started when the listeners are ready, its end is ours, its exit code too.

use crate::lines::Ends;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use tokio::signal::unix::{SignalKind, signal};

/// The worker process, if there is one.
pub(super) struct Child {
    process: Option<tokio::process::Child>,
    code: Option<u8>,
}

impl Child {
    /// Starts it; an empty command is no worker. The error comes with its exit code: 127 not found, 126 not runnable.
    pub(super) fn start(command: &[OsString], captured: Option<Ends>) -> Result<Self, (String, u8)> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(Child { process: None, code: None });
        };
        // A group of its own: Ctrl-C in a terminal is for us, and reaches the worker when what it does has ended.
        let mut starting = tokio::process::Command::new(program);
        starting.args(arguments).process_group(0).kill_on_drop(true);
        if let Some(Ends { stdout, stderr }) = captured {
            starting.stdout(stdout).stderr(stderr);
            // Python would hold its lines back as soon as they go to no terminal.
            if std::env::var_os("PYTHONUNBUFFERED").is_none() {
                starting.env("PYTHONUNBUFFERED", "1");
            }
        }
        match starting.spawn() {
            Ok(process) => Ok(Child { process: Some(process), code: None }),
            Err(e) => {
                let code = if e.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
                Err((format!("cannot start the worker `{}`: {e}", program.to_string_lossy()), code))
            }
        }
    }

    /// Waits for its end; for ever when there is none.
    pub(super) async fn ended(&mut self) -> u8 {
        match self.ended_if_any().await {
            Some(code) => code,
            None => std::future::pending().await,
        }
    }

    /// Waits for its end, if there is one.
    pub(super) async fn ended_if_any(&mut self) -> Option<u8> {
        if self.code.is_none() {
            let status = self.process.as_mut()?.wait().await;
            self.code = Some(status.map_or(1, exit_code));
            self.process = None;
        }
        self.code
    }

    /// Its exit code if it has ended, else another.
    pub(super) fn ended_or(&self, other: u8) -> u8 {
        self.code.unwrap_or(other)
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(tokio::process::Child::id)
    }

    /// Passes a signal on.
    pub(super) fn signal(&self, number: i32) {
        let pid = self.process.as_ref().and_then(|p| p.id()).and_then(|id| i32::try_from(id).ok());
        if let (Some(pid), Ok(signal)) = (pid, Signal::try_from(number)) {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
        }
    }
}

/// As the first process of a container we inherit every orphan, and nobody else takes their exit codes. The worker's
/// own is looked at without taking it: that is [`Child::ended`]'s.
pub(super) async fn reap_orphans(worker: Option<u32>) {
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    let worker = worker.and_then(|id| i32::try_from(id).ok());
    while ended.recv().await.is_some() {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, look).ok().and_then(|status| status.pid()) {
            if Some(pid.as_raw()) == worker || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                break;
            }
        }
    }
}

/// As a shell shows it: the code, or 128 and the signal.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

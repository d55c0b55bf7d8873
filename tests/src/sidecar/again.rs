//! A process that dies, and the next one on the same folder and ports.

use super::{Fourmi, Setup, binary, clean_command, cleaned, gather};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a process prints, as it comes.
type Text = Arc<Mutex<String>>;

impl Setup {
    /// Starts the process.
    #[track_caller]
    pub(super) fn launch(&self, file: &Path) -> (Child, Text, Text) {
        let mut command = clean_command();
        if let Some((program, arguments)) = self.wrapper.split_first() {
            let fourmi = command.get_program().to_owned();
            command = cleaned(Command::new(program));
            command.args(arguments).arg(fourmi);
        }
        command.arg("run").arg("-c").arg(file).current_dir(self.folder.path());
        if !self.arguments.is_empty() {
            command.arg("--").args(&self.arguments);
        }
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        let stdout = gather(child.stdout.take().unwrap());
        let stderr = gather(child.stderr.take().unwrap());
        (child, stdout, stderr)
    }
}

impl Fourmi {
    /// SIGKILL: nothing is written any more.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.status = self.child.wait().ok();
    }

    /// The next process: same folder, same ports, the file as it is now. What the one before has said is forgotten.
    #[track_caller]
    pub fn spawn_again(&mut self) {
        self.kill();
        self.started = Instant::now();
        (self.child, self.stdout, self.stderr) = self.setup.launch(&self.file);
        self.status = None;
    }

    /// The same, and waits until it is ready.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.spawn_again();
        self.wait_ready();
    }

    /// The test's folder.
    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }
}

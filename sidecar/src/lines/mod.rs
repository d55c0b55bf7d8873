//! The worker's own log lines, on their way to the sinks of commands: captured from its standard output and error, or
//! sent to a socket of this machine. Which command a line belongs to is found out by the sinks' side; here is said
//! what the line says and where in the worker's output it stood.
//!
//! All of it lives on the control thread. What is read is bounded by rate and size; a worker is never held up.

mod capture;
mod datagram;
mod listen;
mod parse;
mod pass;
mod settings;
mod source;
mod split;

pub(crate) use settings::KEYS;
pub use settings::{Format, Listen, Settings};

use crate::sink::{Hub, LogSettings, Redactor};
use pass::Pass;
use source::Shared;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the last lines may take at the end.
const LAST: Duration = Duration::from_secs(1);

/// The worker's ends of the pipes that are read.
#[derive(Debug)]
pub struct Ends {
    /// To be its standard output.
    pub stdout: OwnedFd,
    /// To be its standard error.
    pub stderr: OwnedFd,
}

/// Everything that takes the worker's lines.
pub struct Lines {
    shared: Rc<Shared>,
    listening: RefCell<Vec<(Listen, JoinHandle<()>)>>,
    captured: RefCell<Vec<JoinHandle<()>>>,
    capturing: Cell<bool>,
    ended: watch::Sender<bool>,
}

impl Lines {
    /// Takes nothing yet.
    pub fn new(hub: Rc<Hub>) -> Rc<Lines> {
        let shared = Shared {
            hub,
            format: Cell::default(),
            told: Cell::new(false),
            passed: Cell::new(true),
            redactor: RefCell::default(),
        };
        Rc::new(Lines {
            shared: Rc::new(shared),
            listening: RefCell::default(),
            captured: RefCell::default(),
            capturing: Cell::new(false),
            ended: watch::Sender::new(false),
        })
    }

    /// Does as this configuration says, from now on; the places where it now listens and did not before. When one
    /// cannot be bound nothing changes.
    ///
    /// # Errors
    /// Which place, and why.
    pub fn follow(
        &self,
        settings: &Settings,
        logs: &[LogSettings],
        redactor: &Redactor,
    ) -> Result<Vec<String>, (String, io::Error)> {
        let mut bound = Vec::new();
        {
            let listening = self.listening.borrow();
            for place in settings.listen.iter().filter(|p| listening.iter().all(|(l, _)| l != *p)) {
                let socket = listen::bind(place).map_err(|e| {
                    (format!("cannot take lines at {place}: {e}; choose another place (worker_logs.listen)"), e)
                })?;
                bound.push((place.clone(), socket));
            }
        }
        self.shared.format.set(settings.format);
        let told = logs.iter().any(LogSettings::takes_lines);
        self.shared.told.set(told);
        self.shared.passed.set(logs.iter().all(|l| l.name() != "stdout"));
        *self.shared.redactor.borrow_mut() = redactor.clone();
        let mut listening = self.listening.borrow_mut();
        listening.retain(|(place, task)| {
            let stays = settings.listen.contains(place);
            if !stays {
                task.abort();
            }
            stays
        });
        let new = bound.iter().map(|(place, _)| place.to_string()).collect();
        for (place, socket) in bound {
            listening.push((place, tokio::task::spawn_local(listen::run(self.shared.clone(), socket))));
        }
        let wanted = self.capturing.get() || !listening.is_empty();
        self.shared.hub.watch().want(wanted && told);
        Ok(new)
    }

    /// Begins to read the output of a worker that is to be started with these ends; none when its output is its own
    /// business.
    ///
    /// # Errors
    /// The system has no pipes left.
    pub fn capture(&self, settings: &Settings) -> io::Result<Option<Ends>> {
        if !settings.capture || !self.shared.told.get() {
            return Ok(None);
        }
        let (stdout, out, first) = capture::pipe()?;
        let (stderr, err, second) = capture::pipe()?;
        let watch = self.shared.hub.watch();
        watch.set_outputs([first.clone(), second.clone()]);
        watch.want(true);
        self.capturing.set(true);
        let mut captured = self.captured.borrow_mut();
        for (which, pipe, output) in [(0, out, first), (1, err, second)] {
            let own = match which {
                0 => io::stdout().as_fd().try_clone_to_owned(),
                _ => io::stderr().as_fd().try_clone_to_owned(),
            };
            let pass = Pass::to(own.map(File::from));
            let task = capture::run(self.shared.clone(), which, pipe, output, pass, self.ended.subscribe());
            captured.push(tokio::task::spawn_local(task));
        }
        Ok(Some(Ends { stdout, stderr }))
    }

    /// The worker has ended: takes what it still wrote, and nothing more.
    pub async fn finish(&self) {
        let _ = self.ended.send(true);
        let captured = std::mem::take(&mut *self.captured.borrow_mut());
        let all = async {
            for task in captured {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(LAST, all).await;
        let listening = std::mem::take(&mut *self.listening.borrow_mut());
        for (_, task) in listening {
            task.abort();
            // Its socket's file goes with it.
            let _ = task.await;
        }
    }
}

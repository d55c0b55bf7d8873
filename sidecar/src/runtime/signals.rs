//! Signals. Handlers are installed explicitly, since the first process of a container has no default actions.

use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Signal {
    /// SIGTERM, SIGINT: drain, then stop.
    Stop(&'static str),
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGQUIT: stop now.
    Quit,
    /// SIGUSR2: write the state to the log.
    Dump,
    /// SIGUSR1: the worker's own business.
    User(i32),
}

pub(super) struct Signals {
    term: Stream,
    int: Stream,
    hup: Stream,
    quit: Stream,
    usr1: Stream,
    usr2: Stream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop("SIGTERM"),
            _ = self.int.recv() => Signal::Stop("SIGINT"),
            _ = self.hup.recv() => Signal::Reload,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.usr1.recv() => Signal::User(nix::libc::SIGUSR1),
            _ = self.usr2.recv() => Signal::Dump,
        }
    }
}

//! `fourmi demo`: a whole order system on this machine, with traffic, failures and sums that must add up.
//!
//! Five services, each a worker process behind a Fourmi process of its own. Nothing but loopback is used and
//! nothing is left behind: processes end with this one, files live in a folder that is removed.

mod caller;
mod children;
mod gelf;
mod receive;
mod run;
mod screen;
mod statsd;
mod summary;
mod system;
mod traffic;
mod worker;

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long orders are placed; None: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Orders a second; each causes up to four more commands.
    pub rate: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { duration: None, rate: 200 }
    }
}

/// Runs the demo. 0: every sum added up; 1: one did not, or the system did not start; 130: forced to end.
pub fn run(options: Options) -> u8 {
    local(run::demo(options))
}

/// One process of the demo, or a worker of `examples/orders`: `worker NAME --port P [--proxy URL]`, or
/// `guard PID PROGRAM [ARGUMENT...]`, which becomes the program and ends with the process PID.
pub fn part(args: Vec<String>) -> u8 {
    match args.split_first() {
        Some((kind, rest)) if kind == "worker" => match worker::parse(rest) {
            Ok(job) => local(worker::serve(job)),
            Err(why) => usage(&why),
        },
        Some((kind, rest)) if kind == "guard" => usage(&children::guard(rest)),
        _ => usage("worker NAME --port P [--proxy http://HOST:PORT], or guard PID PROGRAM [ARGUMENT...]"),
    }
}

fn usage(why: &str) -> u8 {
    tell(format_args!("fourmi demo-part: {why}"));
    2
}

/// Everything of the demo runs on one thread (but the receivers), so nothing here is shared.
fn local(job: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, job),
        Err(error) => {
            tell(format_args!("no runtime: {error}"));
            70
        }
    }
}

/// The result. A reader that went away is not our failure.
fn print(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Everything else.
fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

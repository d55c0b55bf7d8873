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

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The program, where a shell finds it.
const NAME: &str = "fourmi";

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long orders are placed; None: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Orders a second; each causes up to four more commands.
    pub rate: u32,
    /// A worker of PHP, which speaks ZeroMQ.
    pub php: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { duration: None, rate: 200, php: false }
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

/// What to type for this very program in a shell in the same folder: its name where that finds it, else its path.
fn called() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match (std::env::current_exe(), std::env::current_dir()) {
        (Ok(program), here) => typed(&program, here.as_deref().ok(), &path),
        (Err(_), _) => NAME.to_owned(),
    }
}

fn typed(program: &Path, here: Option<&Path>, path: &OsStr) -> String {
    let is_it = |folder: &Path| folder.join(NAME).canonicalize().is_ok_and(|found| found == program);
    if std::env::split_paths(path).find(|folder| folder.join(NAME).is_file()).is_some_and(|folder| is_it(&folder)) {
        return NAME.to_owned();
    }
    let inside = here.and_then(|here| program.strip_prefix(here).ok()).map(|rest| Path::new(".").join(rest));
    let text = inside.as_deref().unwrap_or(program).display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The result. A reader that went away is not our failure.
fn print(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Everything else.
fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_typed_as_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        let program = here.join("target/release/fourmi");
        std::fs::create_dir_all(here.join("target/release")).unwrap();
        std::fs::write(&program, "").unwrap();
        let typed = |from: &str, path: &Path| typed(&program, Some(&here.join(from)), path.as_os_str());
        let elsewhere = Path::new("/nowhere");
        assert_eq!(typed("", elsewhere), "./target/release/fourmi");
        assert_eq!(typed("target/release", elsewhere), "./fourmi");
        assert_eq!(typed("src", elsewhere), program.to_str().unwrap(), "from beside it");
        assert_eq!(typed("src", program.parent().unwrap()), "fourmi", "a shell finds it");
        // Another of that name is found first.
        std::fs::create_dir(here.join("bin")).unwrap();
        std::fs::write(here.join("bin/fourmi"), "").unwrap();
        let both = std::env::join_paths([here.join("bin"), here.join("target/release")]).unwrap();
        assert_eq!(typed("", Path::new(&both)), "./target/release/fourmi");
        assert_eq!(super::typed(Path::new("/my own/it's"), None, OsStr::new("")), r"'/my own/it'\''s'");
    }
}

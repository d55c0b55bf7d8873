//! `fourmi check`: looks over everything and says of each thing how it is, why, and where to read on.
//!
//! Before Fourmi runs (`--pre`) it tries the receivers and the machine itself; beside a running one it asks that
//! one. Everything is looked at each time: one trouble does not hide the next.

mod config;
mod line;
mod machine;
mod running;
mod sinks;
mod spool;

use super::args::Global;
use super::client::{self, Target};
use super::out;
use crate::admin::Inside;
use crate::config::{LoadOptions, Loaded, Report};
use line::{Line, Mark};
use std::time::{Duration, Instant};

/// Something failed.
const FAILED: u8 = 1;
/// Between two rounds of `--wait`.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks, prints, and returns the exit code: 0 with nothing but warnings, 1 when something failed, and that of
/// `fourmi validate` when the configuration cannot be used. With `wait`, looks again until nothing fails.
pub(super) fn check(target: &Target, global: &Global, pre: bool, wait: Option<Duration>) -> u8 {
    let loaded = crate::config::load(&target.load);
    let end = wait.map(|wait| Instant::now() + wait);
    let mut told = global.quiet || global.json();
    loop {
        let lines = match round(target, &loaded, pre) {
            Ok(lines) => lines,
            Err(code) => return code,
        };
        let failed = lines.iter().any(|line| line.mark == Mark::Failed);
        // A configuration that is read once does not become better.
        if failed && loaded.is_ok() && end.is_some_and(|end| Instant::now() < end) {
            if let Some(first) = lines.iter().find(|line| line.mark == Mark::Failed).filter(|_| !told) {
                out::note(&format!("waiting: {}", first.words()));
                told = true;
            }
            std::thread::sleep(PAUSE);
            continue;
        }
        let printed = match global.json() {
            true => out::json(&line::json(&lines)),
            false => out::result(&line::text(&lines, global.quiet, out::result_colored(global.color))),
        };
        return match &loaded {
            Err(report) => report.exit(),
            Ok(_) if failed => FAILED,
            Ok(_) => printed,
        };
    }
}

/// Everything once. An error is the exit code of a usage that makes no sense.
fn round(target: &Target, loaded: &Result<Loaded, Report>, pre: bool) -> Result<Vec<Line>, u8> {
    let mut lines = config::lines(loaded);
    lines.extend(loaded.iter().flat_map(|loaded| spool::lines(&loaded.plan)));
    if pre {
        if let Ok(loaded) = loaded {
            lines.extend(sinks::before(loaded));
            lines.extend(machine::lines(&loaded.plan));
        }
        return Ok(lines);
    }
    let plan = || loaded.as_ref().map(|l| l.plan.clone()).map_err(Clone::clone);
    match client::locate(target, plan) {
        Ok(place) => {
            let ask = |path: &str| client::ask(&place, "GET", path, true, client::PATIENCE);
            let place = Asked { name: place.authority.clone(), here: place.is_here(), ask: &ask };
            let (said, answers) = running::lines(&place, loaded.as_ref().ok());
            lines.extend(said);
            if answers {
                lines.extend(sinks::running(&place, loaded.as_ref().ok()));
            }
        }
        Err(client::Lost::Off) => lines.push(line::ADMIN.warning(
            "",
            "the configuration switches it off, so a running Fourmi cannot be asked; --pre tries what can be tried",
        )),
        // Its problems are among the lines already.
        Err(client::Lost::Config(_)) => lines.push(line::ADMIN.failed(
            "",
            "the configuration does not say for certain where it is: correct it, or name it with --admin URL",
        )),
        Err(lost) => return Err(lost.tell(target.json)),
    }
    Ok(lines)
}

/// A running Fourmi, and how it is asked.
struct Asked<'a> {
    /// Where it is.
    name: String,
    /// Whether receivers may be tried from here in its stead.
    here: bool,
    ask: &'a dyn Fn(&str) -> Result<client::Answer, String>,
}

/// The same of this very process, for its page. Nothing is tried: its thread must not wait for anybody.
pub(super) fn inside(load: &LoadOptions, inside: &Inside<'_>) -> serde_json::Value {
    let ask = |path: &str| {
        let value = (inside.ask)(path).ok_or_else(|| "it does not answer that".to_owned())?;
        Ok(client::Answer { status: 200, body: value.to_string() })
    };
    // What came from standard input cannot be read again.
    let read = load.path.as_deref().is_none_or(|p| p.as_os_str() != "-");
    let loaded = read.then(|| crate::config::load(load));
    let mut lines = loaded.iter().flat_map(config::lines).collect::<Vec<_>>();
    let loaded = loaded.and_then(Result::ok);
    let place = Asked { name: inside.name.to_owned(), here: false, ask: &ask };
    lines.extend(running::lines(&place, loaded.as_ref()).0);
    lines.extend(sinks::running(&place, None));
    line::json(&lines)
}

#[cfg(test)]
mod tests;

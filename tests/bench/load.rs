//! The load: h2load, whose own count says whether every request was answered, and wholly.

use crate::cells::Cell;
use crate::process::Placed;
use fourmi_tests::peers::program;
use std::io::Write;
use tempfile::NamedTempFile;

/// Connections of callers.
pub(crate) const CONNECTIONS: u64 = 8;
/// Streams of callers at once, over all connections.
pub(crate) const STREAMS: u64 = 64;

/// Requests of one cell to one port.
pub(crate) struct Load<'a> {
    cell: &'a Cell,
    port: u16,
    placed: Placed,
    body: NamedTempFile,
}

impl<'a> Load<'a> {
    pub(crate) fn of(cell: &'a Cell, port: u16, placed: Placed) -> Self {
        let mut body = NamedTempFile::new().unwrap();
        body.write_all(&cell.request()).unwrap();
        Load { cell, port, placed, body }
    }

    /// Sends so many; each must be answered with 2xx and all of the body.
    pub(crate) fn run(&self, requests: u64) {
        let mut command = self.placed.command(program("h2load"));
        command.args(["-n", &requests.to_string(), "-c", &CONNECTIONS.to_string()]);
        command.args(["-m", &(STREAMS / CONNECTIONS).to_string(), "-d"]).arg(self.body.path());
        for (name, value) in self.cell.headers() {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        command.arg(format!("http://127.0.0.1:{}{}", self.port, self.cell.path()));
        let output = command.output().unwrap_or_else(|e| panic!("h2load does not start: {e}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = (Some(requests), Some(requests * self.cell.answer as u64));
        assert!(
            counts(&said) == wanted,
            "not every request was answered:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// How many answers were 2xx, and how many bytes their bodies had.
fn counts(said: &str) -> (Option<u64>, Option<u64>) {
    let after = |start: &str| said.lines().find_map(|l| l.strip_prefix(start));
    let good = after("status codes: ").and_then(|l| l.split(" 2xx").next()?.parse().ok());
    let bytes = after("traffic: ").and_then(|l| l.strip_suffix(") data")?.rsplit('(').next()?.parse().ok());
    (good, bytes)
}

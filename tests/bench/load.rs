//! The load: h2load, whose own count says whether every request was answered, and wholly.

use crate::cells::Cell;
use crate::process::Placed;
use fourmi_tests::peers::program;
use std::io::Write;
use tempfile::NamedTempFile;

/// Connections of callers that speak HTTP/2; others have one for each request.
pub(crate) const CONNECTIONS: u64 = 8;
/// The cipher of TLS 1.3 that callers offer, and the key exchange that every proxy then chooses.
pub(crate) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";
const GROUP: &str = "X25519";
/// Requests of callers at once, over all connections.
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
        let caller = self.cell.caller;
        let connections = if caller.is_two() { CONNECTIONS } else { STREAMS };
        command.args(["-n", &requests.to_string(), "-c", &connections.to_string()]);
        command.args(["-m", &(STREAMS / connections).to_string(), "-d"]).arg(self.body.path());
        command.arg(format!("--tls13-ciphers={CIPHER}"));
        if !caller.is_two() {
            command.arg("--h1");
        }
        for (name, value) in self.cell.headers() {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        let scheme = if caller.is_secure() { "https" } else { "http" };
        command.arg(format!("{scheme}://127.0.0.1:{}{}", self.port, self.cell.path()));
        let output = command.output().unwrap_or_else(|e| panic!("h2load does not start: {e}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = (Some(requests), Some(requests * self.cell.answer as u64));
        assert!(
            counts(&said) == wanted,
            "not every request was answered:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let agreed = ["TLS Protocol: TLSv1.3", &format!("Cipher: {CIPHER}"), &format!("Server Temp Key: {GROUP}")];
        let as_wanted = agreed.iter().all(|line| said.lines().any(|l| l.starts_with(line)));
        assert!(as_wanted || !caller.is_secure(), "another cipher than wanted:\n{said}");
    }
}

/// How many answers were 2xx, and how many bytes their bodies had.
fn counts(said: &str) -> (Option<u64>, Option<u64>) {
    let after = |start: &str| said.lines().find_map(|l| l.strip_prefix(start));
    let good = after("status codes: ").and_then(|l| l.split(" 2xx").next()?.parse().ok());
    let bytes = after("traffic: ").and_then(|l| l.strip_suffix(") data")?.rsplit('(').next()?.parse().ok());
    (good, bytes)
}

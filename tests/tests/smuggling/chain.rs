//! Hops in a row: a proxy of somebody else before Fourmi or behind it, or Fourmi alone.

use crate::strict::{Side, Strict, take};
use fourmi_tests::net::Stream;
use fourmi_tests::patience::patience;
use fourmi_tests::peers::{Front, Peer};
use fourmi_tests::wire::Wire;
use fourmi_tests::{Fourmi, GelfServer, Setup, Worker};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

/// Where the other proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Alone,
    Before(Front),
    Behind(Front),
}

impl Place {
    pub(crate) fn all() -> Vec<Place> {
        let [before, behind] = [Place::Before, Place::Behind].map(|place| Front::ALL.map(place));
        [Place::Alone].into_iter().chain(before).chain(behind).collect()
    }
    pub(crate) fn name(self) -> String {
        match self {
            Place::Alone => "fourmi".into(),
            Place::Before(front) => format!("{} > F", front.name()),
            Place::Behind(front) => format!("F > {}", front.name()),
        }
    }
    /// Whether Fourmi is the one whom callers speak to.
    pub(crate) fn fourmi_is_first(self) -> bool {
        !matches!(self, Place::Before(_))
    }
}

/// The hops that run; they end when dropped, the first one first.
pub(crate) struct Chain {
    before: Option<Peer>,
    pub(crate) fourmi: Fourmi,
    _behind: Option<Peer>,
    pub(crate) records: GelfServer,
}

impl Chain {
    pub(crate) fn of(place: Place, worker: &Worker) -> Self {
        let records = GelfServer::start();
        let behind = match place {
            Place::Behind(front) => Some(front.before(worker.port())),
            _ => None,
        };
        let next = behind.as_ref().map_or(worker.port(), |peer| peer.port);
        let fourmi = Setup::beside(&format!("http://127.0.0.1:{next}"))
            .gelf(&records)
            .more("record: {path: true, headers: [X-Front]}\ntimeouts: {head: 1s}")
            .start();
        let before = match place {
            Place::Before(front) => Some(front.before(fourmi.port())),
            _ => None,
        };
        Chain { before, fourmi, _behind: behind, records }
    }
    /// The port that callers speak to.
    pub(crate) fn port(&self) -> u16 {
        self.before.as_ref().map_or(self.fourmi.port(), |peer| peer.port)
    }
}

/// What came back on a connection.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Final answers, informational ones left out.
    pub(crate) answers: Vec<Strict>,
    /// Why what came cannot be read.
    pub(crate) odd: Option<String>,
    /// Whether an answer had begun and was not whole.
    pub(crate) partial: bool,
    /// Whether the other side closed.
    pub(crate) closed: bool,
}

/// A caller's connection.
pub(crate) struct Caller(Wire);

impl Caller {
    pub(crate) fn on(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Caller(Wire::new(Stream::Tcp(stream)))
    }

    /// Sends bytes, and hears so many answers with patience, and what comes at once after them.
    pub(crate) fn ask(&mut self, bytes: &[u8], answers: usize) -> Heard {
        let _ = self.0.send(bytes);
        let to_head = bytes.starts_with(b"HEAD ");
        let (mut came, mut buf) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let heard = read(&came, to_head, false);
            let missing = heard.answers.len() < answers && heard.odd.is_none();
            // Who must answer has all the time; who may keep silent has a moment; who has answered says the rest at once.
            let wait = match (missing, came.is_empty()) {
                (true, _) => patience(),
                (false, true) => Duration::from_millis(1500),
                (false, false) => Duration::from_millis(120),
            };
            self.0.stream.read_timeout(Some(wait));
            match self.0.stream.read(&mut buf) {
                Ok(0) => return read(&came, to_head, true),
                Ok(n) => came.extend_from_slice(&buf[..n]),
                Err(e) => {
                    let silent = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    return read(&came, to_head, !silent);
                }
            }
        }
    }
}

/// What these bytes are when each of them must be part of an answer.
fn read(came: &[u8], to_head: bool, closed: bool) -> Heard {
    let (mut heard, mut came) = (Heard { closed, ..Heard::default() }, came.to_vec());
    while !came.is_empty() {
        // Only the first of two is to the HEAD.
        let side = Side::Answer { to_head: to_head && heard.answers.is_empty() };
        match take(&mut came, side, closed) {
            Ok(Some(answer)) if answer.status() < 200 && answer.status() != 101 => continue,
            Ok(Some(answer)) => {
                heard.answers.push(answer);
                continue;
            }
            Ok(None) => heard.partial = true,
            Err(why) => heard.odd = Some(why),
        }
        break;
    }
    heard
}

/// `case-7`, `smuggled-7`, `victim-7`: which request a target belongs to.
pub(crate) fn marker(target: &str) -> String {
    let from = ["/case-", "/smuggled-", "/victim-", "/evil-", "/own-"].iter().find_map(|m| target.find(m));
    let rest = &target[from.map_or(0, |at| at + 1)..];
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

/// Prints the battery as a table.
pub(crate) fn print(title: &str, names: &[String], rows: &[(String, Vec<String>)]) {
    println!("\n{title}\n{:<30} {}", "", names.iter().map(|n| format!("{n:<13}")).collect::<String>());
    for (name, cells) in rows {
        println!("{name:<30} {}", cells.iter().map(|c| format!("{c:<13}")).collect::<String>());
    }
}

//! Questions by DNS, asked with the programs that people use for it.

use crate::peers::program;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program that asks a DNS server and prints what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// BIND's dig.
    Dig,
    /// Knot's kdig.
    Kdig,
    /// NLnet Labs' drill, which asks without EDNS.
    Drill,
    /// BIND's delv, told not to validate. It says of a failure less than the others.
    Delv,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 4] = [Tool::Dig, Tool::Kdig, Tool::Drill, Tool::Delv];

    /// Asks once, by UDP or TCP.
    #[track_caller]
    pub fn asks(self, server: SocketAddr, tcp: bool, name: &str, kind: &str) -> Reply {
        let (at, port) = (format!("@{}", server.ip()), server.port().to_string());
        let by = |yes: &'static str, no: &'static str| if tcp { yes } else { no };
        let (program_name, arguments) = match self {
            Tool::Dig => ("dig", vec![&*at, "-p", &port, "+tries=1", "+ignore", by("+tcp", "+notcp"), name, kind]),
            Tool::Kdig => ("kdig", vec![&*at, "-p", &port, "+retry=0", "+ignore", by("+tcp", "+notcp"), name, kind]),
            Tool::Drill => ("drill", vec!["-p", &port, by("-t", "-u"), &*at, name, kind]),
            Tool::Delv => ("delv", vec![&*at, "-p", &port, "-i", by("+tcp", "+notcp"), name, kind]),
        };
        // Nobody's own defaults: `~/.digrc` and the like are looked for in the home.
        let mut command = Command::new(program(program_name));
        command.args(&arguments).env("HOME", "/nonexistent").stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|e| panic!("{program_name}: {e}"));
        let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat();
        Reply::of(said)
    }
}

/// Asks with dig by UDP.
#[track_caller]
pub fn dig(server: SocketAddr, name: &str, kind: &str) -> Reply {
    Tool::Dig.asks(server, false, name, kind)
}

/// The IPv4 addresses of a name, asked by UDP without another process, for who measures; none when there is no answer.
#[track_caller]
pub fn addresses(server: SocketAddr, name: &str) -> Option<Vec<Ipv4Addr>> {
    let mut question = b"\x51\xde\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend(b"\x00\x00\x01\x00\x01");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect(server).unwrap();
    socket.send(&question).ok()?;
    let mut answer = [0; 4096];
    let read = socket.recv(&mut answer).ok()?;
    let mut left = answer[..read].get(question.len()..)?;
    let mut found = Vec::new();
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        // The owner is a pointer, or labels.
        while !matches!(left.first()?, 0 | 0xc0..) {
            left = left.get(usize::from(left[0]) + 1..)?;
        }
        left = left.get(if left[0] == 0 { 1 } else { 2 }..)?;
        let length = usize::from(u16::from_be_bytes([*left.get(8)?, *left.get(9)?]));
        let data = left.get(10..10 + length)?;
        if let (&[0, 1], Ok(address)) = (&left[..2], <[u8; 4]>::try_from(data)) {
            found.push(address.into());
        }
        left = &left[10 + length..];
    }
    Some(found)
}

/// What a program printed of an answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Such as `NOERROR`; what delv says instead; empty when there was no answer.
    pub status: String,
    /// The answers, each as `A 127.0.0.2`, in the alphabet's order.
    pub answers: Vec<String>,
    /// Their times to live.
    pub ttls: Vec<u32>,
    /// What stands under authority and additional, likewise.
    pub beside: Vec<String>,
    /// All that was printed.
    pub said: String,
}

impl Reply {
    fn of(said: String) -> Reply {
        let mut reply = Reply::default();
        let mut among_answers = true;
        for line in said.lines() {
            if let Some((_, rest)) = line.split_once("HEADER<<-") {
                let status = rest.split([',', ';']).find_map(|part| part.trim().split_once(": ").filter(is_status));
                reply.status = status.map(|(_, status)| status.to_owned()).unwrap_or_default();
            } else if let Some((_, why)) = line.split_once("resolution failed: ") {
                reply.status = why.to_owned();
            } else if line.contains(" SECTION:") {
                among_answers = line.contains("ANSWER SECTION");
            }
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, ttl, "IN", kind, data @ ..] = &*fields else { continue };
            let (false, Ok(ttl)) = (name.starts_with(';'), ttl.parse()) else { continue };
            let record = format!("{kind} {}", data.join(" "));
            if among_answers {
                reply.answers.push(record);
                reply.ttls.push(ttl);
            } else {
                reply.beside.push(record);
            }
        }
        reply.answers.sort();
        reply.said = said;
        reply
    }

    /// Whether the answers are these, in any order.
    pub fn is(&self, answers: &[&str]) -> bool {
        let mut wanted = answers.to_vec();
        wanted.sort_unstable();
        self.answers == wanted
    }
}

fn is_status((key, _): &(&str, &str)) -> bool {
    matches!(*key, "status" | "rcode")
}

//! One question to the servers in their order, and the answer's records with how long they hold.

use super::system::System;
use super::wire::ask;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// The most aliases that are followed.
const ALIASES_MAX: usize = 8;
/// How long that there is nothing holds, in seconds, at most; also when the answer does not say.
const NOTHING_TTL: u32 = 5;
/// How long a server that was silent is asked after the others.
const SULK: Duration = Duration::from_secs(30);

/// What the answer has of the kind that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// None: there are none, or there is no such name.
    pub(super) records: Vec<RData>,
    /// What came with them unasked.
    pub(super) additional: Vec<Record>,
    /// In seconds.
    pub(super) ttl: u32,
    /// Whether the name itself is there.
    pub(super) exists: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) struct NoReply {
    /// In words.
    pub(super) why: String,
    /// Nobody could be reached: there is no use in asking for another name.
    pub(super) silence: bool,
}

/// Which servers to begin with.
#[derive(Default)]
pub(super) struct Servers {
    silent: RefCell<Vec<(SocketAddr, Instant)>>,
    turn: Cell<usize>,
}

impl Servers {
    /// As the system orders them, but those that were silent a moment ago last.
    fn order(&self, system: &System) -> Vec<SocketAddr> {
        let mut servers = system.servers.clone();
        if system.rotate && !servers.is_empty() {
            self.turn.set(self.turn.get().wrapping_add(1));
            let by = self.turn.get() % servers.len();
            servers.rotate_left(by);
        }
        let mut silent = self.silent.borrow_mut();
        silent.retain(|(server, since)| since.elapsed() < SULK && system.servers.contains(server));
        servers.sort_by_key(|server| silent.iter().any(|(s, _)| s == server));
        servers
    }

    fn heard(&self, server: SocketAddr, silence: bool) {
        let mut silent = self.silent.borrow_mut();
        silent.retain(|(s, _)| *s != server);
        if silence {
            silent.push((server, Instant::now()));
        }
    }

    /// Asks for the records of a kind, and where an answer ends in an alias, for that one's.
    pub(super) async fn question(&self, system: &System, name: &Name, kind: RecordType) -> Result<Reply, NoReply> {
        let (mut name, mut ttl) = (name.clone(), u32::MAX);
        for _ in 0..ALIASES_MAX {
            let message = self.first_answer(system, &Query::query(name.clone(), kind)).await?;
            let (end, mut reply) = read(&message, &name, kind);
            reply.ttl = reply.ttl.min(ttl);
            let done = !reply.records.is_empty() || end == name || has_soa(&message);
            if done || message.metadata.response_code == ResponseCode::NXDomain {
                return Ok(reply);
            }
            (name, ttl) = (end, reply.ttl);
        }
        Err(NoReply { why: format!("more than {ALIASES_MAX} aliases"), silence: false })
    }

    /// The first answer of any server; those that were silent are asked again, up to the number of attempts.
    async fn first_answer(&self, system: &System, query: &Query) -> Result<Message, NoReply> {
        let mut servers = self.order(system);
        let mut said: Option<NoReply> = None;
        for _ in 0..system.attempts {
            let mut again = Vec::new();
            for server in servers {
                match ask(server, query, system.timeout, system.tcp).await {
                    Ok(message) => {
                        self.heard(server, false);
                        return Ok(message);
                    }
                    Err(failure) => {
                        let silence = failure.is_silence();
                        self.heard(server, silence);
                        if silence {
                            again.push(server);
                        }
                        // What a server says tells more than that another one is silent.
                        if said.as_ref().is_none_or(|said| said.silence) {
                            said = Some(NoReply { why: format!("{server} {failure}"), silence });
                        }
                    }
                }
            }
            servers = again;
        }
        Err(said.unwrap_or(NoReply { why: "there is no DNS server to ask".into(), silence: true }))
    }
}

/// The records of a kind, and the name that has them at the end of all aliases.
fn read(message: &Message, name: &Name, kind: RecordType) -> (Name, Reply) {
    let (mut end, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..ALIASES_MAX {
        let alias = message.answers.iter().find_map(|r| match &r.data {
            RData::CNAME(to) if r.name == end => Some((to.0.clone(), seconds(r))),
            _ => None,
        });
        let Some((to, holds)) = alias else { break };
        (end, ttl) = (to, ttl.min(holds));
    }
    let ours = message.answers.iter().filter(|r| r.name == end && r.record_type() == kind);
    let mut records = Vec::new();
    for record in ours {
        ttl = ttl.min(seconds(record));
        records.push(record.data.clone());
    }
    if records.is_empty() {
        ttl = ttl.min(nothing_holds(message));
    }
    let exists = message.metadata.response_code != ResponseCode::NXDomain;
    (end, Reply { records, additional: message.additionals.clone(), ttl, exists })
}

/// A record's time to live; one with the highest bit means none (RFC 2181).
pub(super) fn seconds(record: &Record) -> u32 {
    if record.ttl > i32::MAX as u32 { 0 } else { record.ttl }
}

fn has_soa(message: &Message) -> bool {
    message.authorities.iter().any(|r| r.record_type() == RecordType::SOA)
}

/// How long "nothing" holds, RFC 2308. Short: what is not there yet is waited for.
fn nothing_holds(message: &Message) -> u32 {
    let said = message.authorities.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(seconds(r).min(soa.minimum)),
        _ => None,
    });
    said.unwrap_or(NOTHING_TTL).min(NOTHING_TTL)
}

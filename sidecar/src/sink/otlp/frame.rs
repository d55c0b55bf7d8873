//! From records in a ring to the body of a request.
//!
//! A record in the ring is the number of its sender and the message. Logs and traces share the shape of the request:
//! a list of resources, each with one scope, which has the records. So what surrounds the records is written once, and a
//! batch costs a copy of each record.

use super::post::Post;
use super::resource::{self, Said};
use crate::sink::batch::{BatchMax, BoxFuture, Deliver, Verdict};
use crate::sink::fields::{Field, Who};
use crate::sink::filter::Names;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes of a sender's number in front of a record. It is as much as the record's frame in the request takes.
const NUMBER: usize = 8;
/// Senders that are remembered: the configurations whose records may still wait.
const SENDERS_MAX: usize = 8;
/// What a request may have beside its records: a resource and a scope for each sender.
const AROUND_MAX: usize = 64 << 10;
/// How long records gather, so that a request is worth its head.
const LINGER: Duration = Duration::from_millis(200);

/// Field 1, a message: `resource_logs` of a request, `resource` of that, `scope` of `scope_logs`.
const FIRST: u8 = 1 << 3 | 2;
/// Field 2, a message: `scope_logs` of `resource_logs`, `log_records` of that.
const SECOND: u8 = 2 << 3 | 2;

/// The fields around the records of one sender.
struct Around {
    number: u64,
    /// `resource` of `resource_logs`.
    resource: Vec<u8>,
}

/// The senders whose records may be in the ring: the encoder adds them, the sender looks them up.
#[derive(Default)]
pub(crate) struct Senders {
    known: Mutex<Vec<Arc<Around>>>,
    /// What is said of each instead of or beside what the configuration says.
    more: Vec<(String, String)>,
}

impl Senders {
    /// With these attributes of every resource; they win.
    pub(crate) fn saying(more: Vec<(String, String)>) -> Senders {
        Senders { known: Mutex::default(), more }
    }

    fn add(&self, who: &Who, names: &Names) {
        let said = |field: Field, text| if names.of(field).is_some() { text } else { "" };
        let made = resource::resource(Said {
            service: said(Field::Service, &who.service),
            version: who.tag("version"),
            env: said(Field::Env, &who.env),
            hostname: said(Field::Hostname, &who.hostname),
            more: &self.more,
        });
        let mut field = Vec::new();
        wrap(&mut field, FIRST, &made.encode_to_vec());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SENDERS_MAX {
            known.remove(0);
        }
        known.push(Arc::new(Around { number: who.number, resource: field }));
    }

    /// That one, or the newest when it is too long gone.
    fn get(&self, number: u64) -> Option<Arc<Around>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|a| a.number == number).or(known.last()).cloned()
    }
}

/// Writes records into a ring.
#[derive(Default)]
pub(super) struct Framer {
    senders: Arc<Senders>,
    last: u64,
}

impl Framer {
    /// With the list that the sender will look into.
    pub(super) fn new(senders: Arc<Senders>) -> Framer {
        Framer { senders, last: 0 }
    }

    /// Appends a message in its frame.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, who: &Who, names: &Names, message: &impl Message) {
        // Numbers begin with 1 and only grow.
        if who.number > self.last {
            self.senders.add(who, names);
            self.last = who.number;
        }
        out.extend_from_slice(&who.number.to_le_bytes());
        // A Vec has room for everything.
        let _ = message.encode(out);
    }
}

/// Takes records back out of their frames and posts them.
pub(super) struct Framed {
    /// Or why there can be none: the files of TLS, which were readable when the configuration was checked.
    post: Result<Post, String>,
    senders: Arc<Senders>,
    /// `scope` of `scope_logs`.
    scope: Vec<u8>,
}

impl Framed {
    /// A way to a receiver.
    pub(super) fn new(post: Result<Post, String>, senders: Arc<Senders>) -> Framed {
        let mut scope = Vec::new();
        wrap(&mut scope, FIRST, &resource::scope().encode_to_vec());
        Framed { post, senders, scope }
    }

    /// The request's body.
    pub(super) fn body(&self, records: &[&[u8]]) -> Vec<u8> {
        let mut groups: Vec<(Arc<Around>, Vec<&[u8]>)> = Vec::new();
        for record in records {
            let Some((number, message)) = record.split_first_chunk::<NUMBER>() else { continue };
            // Nobody is known only before the first record is written.
            let Some(around) = self.senders.get(u64::from_le_bytes(*number)) else { continue };
            match groups.iter_mut().find(|(a, _)| a.number == around.number) {
                Some((_, messages)) => messages.push(message),
                None => groups.push((around, vec![message])),
            }
        }
        let mut body = Vec::with_capacity(records.iter().map(|r| r.len()).sum::<usize>() + (4 << 10));
        for (around, messages) in groups {
            let scope = self.scope.len() + messages.iter().map(|m| field_len(m.len())).sum::<usize>();
            let resource = around.resource.len() + field_len(scope);
            head(&mut body, FIRST, resource);
            body.extend_from_slice(&around.resource);
            head(&mut body, SECOND, scope);
            body.extend_from_slice(&self.scope);
            messages.iter().for_each(|m| wrap(&mut body, SECOND, m));
        }
        body
    }
}

impl Deliver for Framed {
    fn limits(&self) -> BatchMax {
        BatchMax { records: usize::MAX, bytes: super::REQUEST_MAX - AROUND_MAX, linger: LINGER }
    }

    fn deliver<'a>(&'a mut self, records: &'a [&'a [u8]]) -> BoxFuture<'a, Verdict> {
        let body = self.body(records);
        Box::pin(async move {
            match &mut self.post {
                // One record that no receiver needs to take.
                Ok(_) if body.len() > super::REQUEST_MAX => {
                    Verdict::Halve(format!("a request of {} bytes", body.len()))
                }
                Ok(post) => post.send(body, records.len() as u64).await,
                Err(why) => Verdict::Parked(why.clone()),
            }
        })
    }
}

fn head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    encode_varint(length as u64, out);
}

fn wrap(out: &mut Vec<u8>, tag: u8, message: &[u8]) {
    head(out, tag, message.len());
    out.extend_from_slice(message);
}

fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

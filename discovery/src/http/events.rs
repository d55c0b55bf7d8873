//! Events: a name and a few bytes that somebody fires, for those who watch. The last of them are kept, in memory; each
//! registry has its own.

use super::access::Resource;
use super::asked::Asked;
use super::call::Call;
use super::failure::Failure;
use super::reply::Reply;
use crate::base64;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// So many are remembered.
const KEPT: usize = 256;
/// The longest payload.
const PAYLOAD_MAX: usize = 512;
/// The longest name, and the longest of each filter.
const NAME_MAX: usize = 128;

/// One that was fired.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    payload: Bytes,
    /// For whom: nodes, services and tags. Kept and told; whoever watches looks at it.
    filters: [String; 3],
    number: u64,
}

#[derive(Debug, Default)]
struct Fired {
    all: VecDeque<Arc<Event>>,
    last: u64,
}

/// The last events.
#[derive(Debug)]
pub(super) struct Events {
    fired: Mutex<Fired>,
    numbers: watch::Sender<u64>,
}

impl Events {
    pub(super) fn new() -> Self {
        // So that no watcher sees a number again after a restart.
        let last = crate::store::now();
        let fired = Fired { all: VecDeque::new(), last };
        Events { fired: Mutex::new(fired), numbers: watch::Sender::new(last) }
    }

    fn fired(&self) -> MutexGuard<'_, Fired> {
        self.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, name: Option<&str>) -> (u64, Vec<Arc<Event>>) {
        let fired = self.fired();
        let all: Vec<Arc<Event>> =
            fired.all.iter().filter(|event| name.is_none_or(|name| event.name == name)).cloned().collect();
        (all.last().map_or(1, |event| event.number), all)
    }
}

/// `PUT event/fire/NAME`.
pub(super) fn fire(call: &Call) -> Result<Reply, Failure> {
    let name = call.named("Missing name")?;
    call.here()?;
    call.rights.need_write(Resource::Event, name)?;
    if call.body.len() > PAYLOAD_MAX {
        let why = format!("the payload is longer than {PAYLOAD_MAX} bytes");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let filters = ["node", "service", "tag"].map(|filter| call.query.get(filter).unwrap_or_default().to_owned());
    if name.len() > NAME_MAX || filters.iter().any(|filter| filter.len() > NAME_MAX) {
        return Err(Failure::bad(format!("a name or a filter is longer than {NAME_MAX} bytes")));
    }
    let mut fired = call.events.fired();
    fired.last += 1;
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    );
    let payload = Bytes::copy_from_slice(&call.body);
    let event = Arc::new(Event { id, name: name.to_owned(), payload, filters, number: fired.last });
    if fired.all.len() == KEPT {
        fired.all.pop_front();
    }
    fired.all.push_back(Arc::clone(&event));
    call.events.numbers.send_replace(fired.last);
    Ok(Reply::json(shown(&event)))
}

/// `GET event/list`; it may wait until another one of that name is fired.
pub(super) async fn list(call: &Call) -> Result<Reply, Failure> {
    let asked = Asked::of(call)?;
    call.here()?;
    let name = call.query.get("name").filter(|name| !name.is_empty());
    if asked.waits() {
        let mut numbers = call.events.numbers.subscribe();
        // A number that nobody here can have told is from before a restart, and is answered at once.
        let later = async { while call.events.named(name).0 == asked.index && numbers.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(asked.wait, later).await;
    }
    let (index, all) = call.events.named(name);
    let seen = all.iter().filter(|event| call.rights.sees(Resource::Event, &event.name)).map(|event| shown(event));
    Ok(Reply::json(Value::Array(seen.collect())).header("x-consul-index", &index.to_string()))
}

fn shown(event: &Event) -> Value {
    let [node, service, tag] = &event.filters;
    json!({
        "ID": event.id,
        "Name": event.name,
        "Payload": if event.payload.is_empty() { Value::Null } else { base64::encode(&event.payload).into() },
        "NodeFilter": node,
        "ServiceFilter": service,
        "TagFilter": tag,
        "Version": 1,
        "LTime": event.number,
    })
}

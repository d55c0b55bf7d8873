//! Foreign names: asked at recursors, with answers kept for as long as they say.

mod cache;
mod exchange;

use super::labels::Labels;
use super::settings::{Recursors, Strategy};
use cache::Cache;
pub(super) use exchange::{Asking, MARK};
use foldhash::HashMap;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};

/// So many foreign names are asked at once; more fail at once.
const AT_ONCE: usize = 1024;
/// A recursor that was silent is asked last for that long.
const SILENT_FOR: Duration = Duration::from_secs(10);

type Shared = Arc<OnceCell<Option<Message>>>;

/// Asks recursors.
pub(super) struct Forwarder {
    cache: Mutex<Cache>,
    silent: Mutex<HashMap<SocketAddr, Instant>>,
    /// Questions on their way: the same question waits for the same answer, so that even a circle of recursors that
    /// leads back to us ends.
    asking: Mutex<HashMap<Asking, Shared>>,
    room: Semaphore,
}

impl Forwarder {
    pub(super) fn new(cache: usize) -> Self {
        Forwarder {
            cache: Mutex::new(Cache::new(cache)),
            silent: Mutex::default(),
            asking: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Forgets what is known of recursors and from them.
    pub(super) fn forget(&self, cache: usize) {
        *lock(&self.cache) = Cache::new(cache);
        lock(&self.silent).clear();
    }

    /// The answer of the first recursor that has one: good, or that there is no such name. None when none has.
    pub(super) async fn ask(&self, question: Asking, settings: &Recursors) -> Option<Message> {
        if settings.servers.is_empty() || Labels::of(&question.name).is_none_or(|l| l.len() < settings.ndots) {
            return None;
        }
        if let Some(known) = lock(&self.cache).get(&question, Instant::now()) {
            return Some(known);
        }
        let shared = Arc::clone(lock(&self.asking).entry(question.clone()).or_default());
        let waiting = Waiting { asking: &self.asking, question, shared };
        waiting.shared.get_or_init(|| self.ask_all(&waiting.question, settings)).await.clone()
    }

    /// The records of a foreign name, aliases included; none when it cannot be found out.
    pub(super) async fn lookup(&self, name: Name, kind: RecordType, settings: &Recursors) -> Vec<Record> {
        let question = Asking { name, kind, tcp: false, dnssec: false, marked: false };
        self.ask(question, settings).await.map(|message| message.answers).unwrap_or_default()
    }

    /// The answer of one of these servers, whatever it is.
    pub(super) async fn ask_stub(
        &self,
        question: Asking,
        servers: &[SocketAddr],
        timeout: Duration,
    ) -> Option<Message> {
        let _room = self.room.try_acquire().ok()?;
        for server in servers {
            if let Ok(answer) = exchange::ask(&question, *server, timeout).await {
                return Some(answer);
            }
        }
        None
    }

    async fn ask_all(&self, question: &Asking, settings: &Recursors) -> Option<Message> {
        let _room = self.room.try_acquire().ok()?;
        let mut servers = settings.servers.clone();
        if settings.strategy == Strategy::Random {
            fastrand::shuffle(&mut servers);
        }
        let now = Instant::now();
        lock(&self.silent).retain(|_, until| *until > now);
        servers.sort_by_key(|server| lock(&self.silent).contains_key(server));
        for server in servers {
            match exchange::ask(question, server, settings.timeout).await {
                Ok(answer) => {
                    if matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
                        lock(&self.cache).put(question.clone(), &answer, Instant::now());
                        return Some(answer);
                    }
                }
                Err(_) => drop(lock(&self.silent).insert(server, Instant::now() + SILENT_FOR)),
            }
        }
        None
    }
}

/// Somebody who waits for an answer, and may leave before it is there.
struct Waiting<'a> {
    asking: &'a Mutex<HashMap<Asking, Shared>>,
    question: Asking,
    shared: Shared,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut asking = lock(self.asking);
        // The table has one and we have one: nobody else waits.
        let done = self.shared.initialized() || Arc::strong_count(&self.shared) == 2;
        if done && asking.get(&self.question).is_some_and(|now| Arc::ptr_eq(now, &self.shared)) {
            asking.remove(&self.question);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_leaves_before_the_answer_leaves_nothing_behind() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = vec![silent.local_addr().unwrap()];
        let settings = Recursors { servers, timeout: Duration::from_secs(60), ..Recursors::default() };
        let forwarder = Forwarder::new(10);
        let question = || Asking {
            name: Name::from_ascii("www.example.test.").unwrap(),
            kind: RecordType::A,
            tcp: false,
            dnssec: false,
            marked: false,
        };
        let (mut first, mut second) =
            (Box::pin(forwarder.ask(question(), &settings)), Box::pin(forwarder.ask(question(), &settings)));
        // Both wait for one answer, once the recursor has the question.
        let mut read = [0; 512];
        tokio::select! {
            biased;
            _ = &mut first => panic!("it is silent"),
            _ = &mut second => panic!("it is silent"),
            asked = silent.recv_from(&mut read) => assert!(asked.is_ok()),
        }
        assert_eq!(lock(&forwarder.asking).len(), 1);
        drop(first);
        assert_eq!(lock(&forwarder.asking).len(), 1, "somebody else waits for it");
        drop(second);
        assert!(lock(&forwarder.asking).is_empty());
    }
}

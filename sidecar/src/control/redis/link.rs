//! The connection to one server, and the thread that all of them live on.

use super::{ASKED_MAX, Away, Question, Target};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The longest that connecting may take, with encryption and login.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// After so long without a connection, nobody waits for it any more.
const PATIENCE: Duration = super::DEADLINE_MAX;
/// Answers that came too late one after another, before Redis is left alone.
const LATE_MAX: u32 = 3;
/// Redis is left alone for so long at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Written to see whether Redis takes what we write: a replica answers, but refuses to count.
const PROBE: &str = "ratelimit:fourmi-probe";
const STACK: usize = 512 << 10;

/// A question on its way.
pub(super) struct Job {
    pub(super) question: Question,
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<Vec<i64>, Away>>,
    pub(super) _waiting: Waiting,
}

/// Counts a question for as long as it is on its way.
pub(super) struct Waiting(Arc<State>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Relaxed);
    }
}

/// What both sides know.
#[derive(Default)]
pub(super) struct State {
    /// Nobody is to be asked.
    pub(super) away: AtomicBool,
    asked: AtomicUsize,
    late: AtomicU32,
    /// The connection is not to be used any more.
    broken: Notify,
    error: Mutex<Option<String>>,
}

impl State {
    /// One more question; none when there are too many.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = Waiting(self.clone());
        (self.asked.fetch_add(1, Relaxed) < ASKED_MAX).then_some(waiting)
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Redis does not answer as it should.
    fn failed(&self, why: String) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.away.store(true, Relaxed);
        self.broken.notify_one();
    }
}

/// The way to one server.
pub(super) struct Link {
    pub(super) target: Target,
    pub(super) state: Arc<State>,
    jobs: OnceLock<Option<mpsc::Sender<Job>>>,
}

impl Link {
    pub(super) fn new(target: Target) -> Link {
        Link { target, state: Arc::default(), jobs: OnceLock::new() }
    }

    /// Where questions go; the first one starts all this.
    pub(super) fn jobs(&self) -> Option<&mpsc::Sender<Job>> {
        let start = || {
            let (sender, jobs) = mpsc::channel(ASKED_MAX);
            thread()?.spawn(run(self.target.clone(), self.state.clone(), jobs));
            Some(sender)
        };
        self.jobs.get_or_init(start).as_ref()
    }
}

/// The thread of all connections; none when the system gives none.
fn thread() -> Option<&'static Handle> {
    static THREAD: OnceLock<Option<Handle>> = OnceLock::new();
    let start = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let handle = runtime.handle().clone();
        let work = move || runtime.block_on(std::future::pending::<()>());
        std::thread::Builder::new().name("fourmi-redis".to_owned()).stack_size(STACK).spawn(work).ok()?;
        Some(handle)
    };
    THREAD.get_or_init(start).as_ref()
}

/// Keeps a connection for as long as somebody may ask.
async fn run(target: Target, state: Arc<State>, mut jobs: mpsc::Receiver<Job>) {
    let mut pause = PAUSE_MIN;
    let mut told = String::new();
    while !jobs.is_closed() {
        match first(&target, &state).await {
            Ok((connection, mut driver)) => {
                // Whatever broke the last one is over.
                let _ = timeout(Duration::ZERO, state.broken.notified()).await;
                state.late.store(0, Relaxed);
                if state.away.swap(false, Relaxed) {
                    tracing::info!(server = %target, "Redis answers again");
                    told.clear();
                }
                let began = Instant::now();
                let ended = serve(connection, &mut driver, &state, &mut jobs).await;
                drop(driver);
                let lived = began.elapsed() > PAUSE_MAX;
                if lived {
                    pause = PAUSE_MIN;
                }
                match ended {
                    Ended::Over => return,
                    // Servers and firewalls end what is idle: whoever asks next can wait for another connection.
                    Ended::Closed if lived => continue,
                    Ended::Closed => state.failed("the connection broke".to_owned()),
                    Ended::Broken => {}
                }
            }
            Err(why) => state.failed(why),
        }
        let why = state.last_error().unwrap_or_default();
        if why != told {
            tracing::warn!(server = %target, error = %why, "Redis does not answer: counting without it");
            told = why;
        }
        // Whoever waits has waited in vain.
        while jobs.try_recv().is_ok() {}
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Connects and looks whether Redis takes what is written. Whoever asks meanwhile is kept waiting for a short time
/// only.
async fn first(target: &Target, state: &State) -> Result<(MultiplexedConnection, Driver), String> {
    let connecting = async {
        let (mut connection, driver) = connect(target).await?;
        let probed = redis::cmd("SET").arg(PROBE).arg(1).arg("PX").arg(1_000).query_async::<()>(&mut connection).await;
        match probed {
            // Our name there may count, but not write this.
            Err(e) if e.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => Err(words(&e)),
            _ => Ok((connection, driver)),
        }
    };
    let patient = async {
        tokio::pin!(connecting);
        match timeout(PATIENCE, &mut connecting).await {
            Ok(done) => done,
            Err(_) => {
                state.away.store(true, Relaxed);
                connecting.await
            }
        }
    };
    timeout(CONNECT_MAX, patient).await.unwrap_or_else(|_| Err("no connection in time".to_owned()))
}

/// The task that a connection lives by.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connect(target: &Target) -> Result<(MultiplexedConnection, Driver), String> {
    let system = |e: io::Error| e.to_string();
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(system)?;
    stream.set_nodelay(true).map_err(system)?;
    let mut who = RedisConnectionInfo::default().set_db(target.database).set_skip_set_lib_name();
    if let Some(username) = &target.username {
        who = who.set_username(username);
    }
    if let Some(password) = &target.password {
        who = who.set_password(password);
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = match &target.tls {
        None => {
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&who, stream, config).await.map_err(|e| words(&e))?;
            (connection, tokio::spawn(driver))
        }
        Some(tls) => {
            let stream = tls.lasting(&[]).connect(&target.host, stream).await.map_err(system)?;
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&who, stream, config).await.map_err(|e| words(&e))?;
            (connection, tokio::spawn(driver))
        }
    };
    Ok((connection, Driver(driver)))
}

/// Why a connection is not used any more.
enum Ended {
    /// Nobody asks.
    Over,
    /// Redis has closed it.
    Closed,
    /// Something went wrong with a question.
    Broken,
}

/// Sends questions for as long as that can be.
async fn serve(
    connection: MultiplexedConnection,
    driver: &mut Driver,
    state: &Arc<State>,
    jobs: &mut mpsc::Receiver<Job>,
) -> Ended {
    loop {
        tokio::select! {
            biased;
            () = state.broken.notified() => return Ended::Broken,
            _ = &mut driver.0 => return Ended::Closed,
            job = jobs.recv() => match job {
                None => return Ended::Over,
                // Whoever asked has left.
                Some(job) if job.answer.is_closed() => {}
                Some(job) => drop(tokio::spawn(answer(connection.clone(), state.clone(), job))),
            }
        }
    }
}

async fn answer(mut connection: MultiplexedConnection, state: Arc<State>, job: Job) {
    let Job { question, until, answer, _waiting } = job;
    let answered = match timeout_at(until, ask(&mut connection, &question)).await {
        Ok(Ok(numbers)) => {
            state.late.store(0, Relaxed);
            Ok(numbers)
        }
        Ok(Err(e)) => {
            state.failed(words(&e));
            Err(Away::Failed)
        }
        Err(_) => {
            if state.late.fetch_add(1, Relaxed) + 1 >= LATE_MAX {
                state.failed("it does not answer in time".to_owned());
            }
            Err(Away::Late)
        }
    };
    let _ = answer.send(answered);
}

/// By its digest, which Redis knows from the second time on.
async fn ask(connection: &mut MultiplexedConnection, question: &Question) -> Result<Vec<i64>, RedisError> {
    let command = |name: &str, script: &str| {
        let mut command = redis::cmd(name);
        command.arg(script).arg(question.keys.len()).arg(&question.keys).arg(&question.numbers);
        command
    };
    match command("EVALSHA", question.script.digest()).query_async(connection).await {
        Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            command("EVAL", question.script.text).query_async(connection).await
        }
        answered => answered,
    }
}

/// An error without what was sent: it could say a password.
fn words(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) => "it refuses our name or password".to_owned(),
        (ErrorKind::Io, _) => "the connection broke".to_owned(),
        (ErrorKind::Parse, _) => "what answers is no Redis".to_owned(),
        (_, Some(code)) => code.to_owned(),
        (kind, None) => format!("{kind:?}"),
    }
}

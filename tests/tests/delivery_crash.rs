//! What was answered 202 is done, whoever dies: Fourmi and its worker are killed again and again under full load.

use fourmi_tests::net::Stream;
use fourmi_tests::wire::{Kind, Wire};
use fourmi_tests::{Setup, free_port, until};
use std::collections::{BTreeMap, HashMap};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const COMMANDS: usize = 20_000;
const CALLERS: usize = 32;
const KILLS: usize = 20;
/// As many commands may be in the worker's hands when somebody dies.
const AT_ONCE: usize = 32;
/// Longer than this nothing here may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A worker in a process of its own; it ends when dropped.
struct Diligent {
    port: u16,
    file: PathBuf,
    child: Child,
}

impl Diligent {
    fn start(port: u16, file: &Path) -> Self {
        Diligent { port, file: file.to_owned(), child: Self::child(port, file) }
    }

    fn child(port: u16, file: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diligent"));
        command.arg(port.to_string()).arg(file).stdin(Stdio::null()).spawn().unwrap()
    }

    /// SIGKILL, and the next one at the same place.
    fn replace(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = Self::child(self.port, &self.file);
    }
}

impl Drop for Diligent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Random numbers, the same ones for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// When the `KILLS` deaths come: after so many answers.
    fn moments(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..KILLS).map(|_| 200 + self.below(COMMANDS as u64 - 600) as usize).collect();
        all.sort_unstable();
        all
    }
}

#[derive(Default)]
struct Answers {
    next: AtomicUsize,
    taken: AtomicUsize,
    /// Answers that were not 202, by status, and requests without one.
    others: Mutex<BTreeMap<u16, usize>>,
    lost: AtomicUsize,
}

/// Sends commands until there are none left. What got no answer is sent again under its id, as callers do.
fn caller(port: u16, answers: &Answers, deadline: Instant) {
    let mut kept: Option<Wire> = None;
    loop {
        let nth = answers.next.fetch_add(1, Ordering::Relaxed);
        if nth >= COMMANDS {
            return;
        }
        let body = format!("{{\"order\":{nth}}}");
        let request = format!(
            "POST /orders HTTP/1.1\r\nHost: test\r\nFourmi-Id: order-{nth}\r\nPrefer: respond-async\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        loop {
            assert!(Instant::now() < deadline, "order-{nth} was never taken");
            let wire = kept.take().map(Ok).unwrap_or_else(|| {
                TcpStream::connect(("127.0.0.1", port)).map(|stream| {
                    let _ = stream.set_nodelay(true);
                    Wire::new(Stream::Tcp(stream))
                })
            });
            let answer = wire.and_then(|mut wire| {
                wire.send(&request)?;
                let answer = wire.message(Kind::AnswerTo("POST"))?;
                Ok((wire, answer))
            });
            match answer {
                Ok((wire, answer)) if answer.status() == 202 => {
                    kept = Some(wire);
                    answers.taken.fetch_add(1, Ordering::AcqRel);
                    break;
                }
                Ok((_, answer)) => *answers.others.lock().unwrap().entry(answer.status()).or_default() += 1,
                Err(_) => _ = answers.lost.fetch_add(1, Ordering::Relaxed),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn nothing_that_was_accepted_is_lost_whoever_is_killed() {
    let seed = std::env::var("FOURMI_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
    });
    println!("FOURMI_TEST_SEED={seed}");
    let mut chance = Chance(seed);
    let port = free_port();
    let setup = Setup::beside(&format!("http://127.0.0.1:{port}"))
        .more("commands: {retry: {delays: [100ms], max_attempts: 1000}}")
        .more(&format!("spool: {{path: ./spool, concurrency: {AT_ONCE}}}"));
    let done = setup.folder().join("done");
    let mut worker = Diligent::start(port, &done);
    let mut fourmi = setup.start();
    let deadline = Instant::now() + LIMIT;

    let answers = Answers::default();
    let (ours, theirs) = (chance.moments(), chance.moments());
    let door = fourmi.port();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| caller(door, &answers, deadline))).collect();
        let reached = |moment: usize| {
            while answers.taken.load(Ordering::Acquire) < moment {
                assert!(Instant::now() < deadline, "never {moment} answers");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let worker = &mut worker;
        let seed = chance.below(u64::MAX);
        scope.spawn(move || {
            let mut chance = Chance(seed);
            for moment in theirs {
                reached(moment);
                std::thread::sleep(Duration::from_micros(chance.below(10_000)));
                worker.replace();
            }
        });
        for moment in ours {
            reached(moment);
            std::thread::sleep(Duration::from_micros(chance.below(10_000)));
            assert!(fourmi.is_running(), "it must not have ended by itself:\n{}", fourmi.stderr());
            fourmi.spawn_again();
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
    fourmi.wait_ready();
    let taken = answers.taken.load(Ordering::Acquire);
    assert_eq!(taken, COMMANDS);

    // What waits is done, however long that takes on this machine; then nothing waits.
    let all = BTreeMap::from([("succeeded".to_owned(), COMMANDS as i64)]);
    while fourmi.try_states().as_ref() != Some(&all) {
        assert!(Instant::now() < deadline, "still {:?}\n{}", fourmi.try_states(), fourmi.stderr());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in std::fs::read_to_string(&done).unwrap().lines() {
        *times.entry(id.to_owned()).or_default() += 1;
    }
    let executed = (0..COMMANDS).filter(|nth| times.contains_key(&format!("order-{nth}"))).count();
    let duplicates: usize = times.values().map(|n| n - 1).sum();
    let lost = answers.lost.load(Ordering::Relaxed);
    let others = answers.others.lock().unwrap().clone();
    println!("requests without an answer: {lost}, other answers: {others:?}");
    println!(
        "202: {taken}, executed: {executed}, duplicates: {duplicates}, Fourmi killed {KILLS}, worker killed {KILLS}"
    );
    assert_eq!((executed, times.len()), (COMMANDS, COMMANDS), "each is done, and nothing else");
    // Done twice is only what was in the worker's hands when one of the two died.
    assert!(duplicates <= 2 * KILLS * AT_ONCE, "{duplicates}");
    assert!(lost > 0 && duplicates > 0, "nobody was killed at work");

    // The last ones answer as they did, also after one more death.
    fourmi.start_again();
    until("the states are the same", || fourmi.try_states().as_ref() == Some(&all));
}

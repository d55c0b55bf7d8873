//! The bad night: instances freeze, die and grow slow under load, and no command fails.

use super::shown;
use fourmi_tests::net::Stream;
use fourmi_tests::peers::Peer;
use fourmi_tests::peers::instances::{instance, requests};
use fourmi_tests::wire::{Kind, Wire};
use fourmi_tests::{Fourmi, Setup, until};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CALLERS: usize = 12;
/// How long each phase takes; nothing is asserted of what happens when.
const WELL: Duration = Duration::from_secs(3);
const SICK: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(4);
/// Long enough for the first ejection, of 10 s, to be over.
const LONG_AFTER: Duration = Duration::from_secs(10);
/// Commands that an instance which is left alone is given in the meantime, to prove itself.
const TRIALS: u64 = 4;

/// One command: when it was sent, how long it took, and its status; 0 when there was no answer.
type Told = (Instant, Duration, u16);

/// Callers with kept connections, each sending one command after another.
struct Callers {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<Told>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    fn on(port: u16) -> Callers {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let caller = || {
            let (stop, told) = (stop.clone(), told.clone());
            std::thread::spawn(move || {
                let mut kept: Option<Wire> = None;
                while !stop.load(Ordering::Acquire) {
                    let begun = Instant::now();
                    let mut wire = kept
                        .take()
                        .unwrap_or_else(|| Wire::new(Stream::Tcp(TcpStream::connect(("127.0.0.1", port)).unwrap())));
                    let answer = wire
                        .send("GET /buy HTTP/1.1\r\nHost: stock\r\n\r\n")
                        .and_then(|()| wire.message(Kind::AnswerTo("GET")));
                    let status = answer.as_ref().map_or(0, |a| a.status());
                    told.lock().unwrap().push((begun, begun.elapsed(), status));
                    if answer.is_ok_and(|a| !a.says("connection", "close")) {
                        kept = Some(wire);
                    }
                }
            })
        };
        Callers { threads: (0..CALLERS).map(|_| caller()).collect(), stop, told }
    }
    fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().unwrap();
        }
        Arc::into_inner(self.told).unwrap().into_inner().unwrap()
    }
}

/// The median and the 99th percentile of the commands sent in a phase, in milliseconds.
fn percentiles(told: &[Told], from: Instant, to: Instant) -> (f64, f64, usize) {
    let mut all: Vec<f64> =
        told.iter().filter(|(at, ..)| (from..to).contains(at)).map(|(_, took, _)| took.as_secs_f64() * 1e3).collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1)));
    (at(0.5).copied().unwrap_or(0.0), at(0.99).copied().unwrap_or(0.0), all.len())
}

/// Commands given to each instance so far, by its port.
fn given(fourmi: &Fourmi) -> BTreeMap<u16, u64> {
    let service = shown(fourmi, "stock");
    let instances = service["instances"].as_array().unwrap();
    let port = |address: &str| address.rsplit(':').next().unwrap().parse().unwrap();
    instances.iter().map(|i| (port(i["address"].as_str().unwrap()), i["commands"].as_u64().unwrap())).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sickness {
    Frozen,
    Killed,
    Slow,
}

/// A night with so many instances, of which the first ones fall sick.
fn night(title: &str, of: usize, sick: &[Sickness], after: Duration) {
    let mut instances: Vec<Peer> = (0..of).map(|_| instance()).collect();
    let addresses: Vec<String> = instances.iter().map(|i| format!("\"http://127.0.0.1:{}\"", i.port)).collect();
    let fourmi = Setup::alone()
        .outbound(format!("{{stock: {{address: [{}], retries: {{per_try: 500ms}}}}}}", addresses.join(", ")))
        .start();
    let callers = Callers::on(fourmi.outbound_port());
    let warm = Duration::from_secs(1);
    std::thread::sleep(warm + WELL);
    let fell = Instant::now();
    for (instance, sickness) in instances.iter_mut().zip(sick) {
        match sickness {
            Sickness::Frozen => instance.signal(Signal::SIGSTOP),
            Sickness::Killed => instance.kill_9(),
            Sickness::Slow => instance.signal(Signal::SIGUSR2),
        }
    }
    std::thread::sleep(SICK);
    let (settled, before) = (Instant::now(), given(&fourmi));
    std::thread::sleep(after);
    let told = callers.stop();
    let end = given(&fourmi);

    let shown = |phase: &str, (p50, p99, n): (f64, f64, usize)| {
        println!("{title}: {phase:<22} {n:>6} commands, p50 {p50:>6.1} ms, p99 {p99:>6.1} ms");
        p99
    };
    let well = shown("healthy", percentiles(&told, fell - WELL, fell));
    shown("sick, first 3 s", percentiles(&told, fell, settled));
    let later = shown("sick, after 3 s", percentiles(&told, settled, Instant::now()));
    println!("{title}: p99 after 3 s is {:.2} times the healthy one", later / well);

    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (.., status) in &told {
        *statuses.entry(*status).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, told.len())]), "{title}: no command fails\n{}", fourmi.stderr());

    let commands = told.len() as u64;
    let metrics = fourmi.metrics();
    let again = metrics.sum("fourmi_retries_total", &[]) as u64;
    let counted = metrics.sum("fourmi_commands_total", &[("outcome", "success"), ("direction", "outbound")]) as u64;
    println!("{title}: {commands} commands, {again} retries, given to the instances: {end:?}");
    assert_eq!(counted, commands, "{title}: every command is told once");
    assert_eq!(end.values().sum::<u64>(), commands + again, "{title}: every attempt is counted");
    for (at, instance) in instances.iter().enumerate() {
        let sickness = sick.get(at);
        let (seen, given, later) =
            (requests(instance) as u64, end[&instance.port], end[&instance.port] - before[&instance.port]);
        println!("{title}: {sickness:?} was given {given}, {later} after 3 s, and saw {seen}");
        match sickness {
            // What it never read, or had no time to tell of, it cannot have seen.
            Some(Sickness::Frozen | Sickness::Killed) => {
                assert!(later <= TRIALS, "{title}: {sickness:?} was given {later}");
                assert!(seen <= given);
            }
            _ => until("it has told of all", || requests(instance) as u64 == given),
        }
    }
}

#[test]
fn three_of_six_fall_sick_at_once() {
    night("three of six", 6, &[Sickness::Frozen, Sickness::Killed, Sickness::Slow], LONG_AFTER);
}

#[test]
fn one_of_three_falls_sick() {
    for sickness in [Sickness::Frozen, Sickness::Killed, Sickness::Slow] {
        night(&format!("one of three, {sickness:?}"), 3, &[sickness], AFTER);
    }
}

//! What HTTP/2, gRPC, TLS and a choice among instances cost, beside Envoy, nginx and HAProxy: not a test, because it
//! measures time.
//!
//! ```text
//! cargo build --release && cargo run --release -p fourmi-tests --example bench
//! bench [--rounds N] [--requests N] [--nice -10] [--cells 1,3]
//! ```
//!
//! `FOURMI_BIN` names the binary; without it, it is `fourmi` of the release build. `FOURMI_BEFORE` names an older one,
//! which is measured beside it where the older one knows the cell. Needs `h2load`, `nginx`, `haproxy`, `taskset` and the
//! peers that `./test` installs, two CPUs, and Linux with scheduler statistics.
//!
//! The figure is the CPU time of all threads and processes of a proxy, user and system, for one request. Each proxy is
//! started afresh for each sample and has CPU 0 for itself; load and worker share CPU 1. A round is there and back
//! (Fourmi, Envoy, nginx, nginx, Envoy, Fourmi), so that a drift hits all alike, and gives one ratio. A sample in which
//! one answer is not 2xx, or not whole, ends the run.

mod cells;
mod load;
mod process;
mod proxies;
mod table;
mod worker;

use cells::{CELLS, Cell};
use load::Load;
use process::Placed;
use proxies::Proxy;
use std::time::{Duration, Instant};

/// One proxy in one cell, once.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Microseconds of CPU for one request.
    pub(crate) cpu: f64,
    /// The share of the time in which the proxy had its CPU.
    pub(crate) busy: f64,
    /// Resident bytes before the first request.
    pub(crate) idle: u64,
    /// Resident bytes after the last.
    pub(crate) after: u64,
}

/// How long a proxy may settle before its memory is read.
const SETTLE: Duration = Duration::from_millis(700);

struct Wish {
    rounds: usize,
    requests: u64,
    nice: i32,
    cells: Vec<usize>,
}

fn wish(arguments: &[String]) -> Result<Wish, String> {
    let mut wish = Wish { rounds: 5, requests: 100_000, nice: 0, cells: (1..=CELLS.len()).collect() };
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let bad = || format!("{key} cannot be {value}");
        match key.as_str() {
            "--rounds" => wish.rounds = value.parse().ok().filter(|n| *n > 0).ok_or_else(bad)?,
            "--requests" => wish.requests = value.parse().ok().filter(|n| *n >= load::STREAMS).ok_or_else(bad)?,
            "--nice" => wish.nice = value.parse().map_err(|_| bad())?,
            "--cells" => {
                let number = |n: &str| n.parse().ok().filter(|n| (1..=CELLS.len()).contains(n)).ok_or_else(bad);
                wish.cells = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("{key} is unknown")),
        }
    }
    Ok(wish)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "worker") {
        return worker::serve(&arguments[1..]);
    }
    let wish = wish(&arguments).unwrap_or_else(|wrong| {
        eprintln!("{wrong}\nbench [--rounds N] [--requests N] [--nice -10] [--cells 1,3]");
        std::process::exit(2)
    });
    println!("{}\n", proxies::versions());
    println!(
        "{} rounds there and back, {} requests a sample, {} at once. CPU in µs a request; median (least – most); a ratio \
         is of one round.\n",
        wish.rounds,
        wish.requests,
        load::STREAMS,
    );
    for number in &wish.cells {
        let cell = &CELLS[number - 1];
        let (_worker, instances) = worker::start(cell, Placed { cpu: 1, nice: wish.nice });
        let proxies = cell.proxies();
        let mut samples = vec![Vec::new(); proxies.len()];
        for round in 1..=wish.rounds {
            for at in (0..proxies.len()).chain((0..proxies.len()).rev()) {
                let sample = measure(proxies[at], cell, &instances, &wish);
                eprintln!("cell {number}, round {round}: {:7} {:6.1} µs a request", proxies[at].name(), sample.cpu);
                samples[at].push(sample);
            }
        }
        println!("{}", table::of(*number, cell, &proxies, &samples));
    }
}

fn measure(proxy: Proxy, cell: &Cell, instances: &[u16], wish: &Wish) -> Sample {
    let running = proxy.start(cell, instances, Placed { cpu: 0, nice: wish.nice });
    std::thread::sleep(SETTLE);
    let idle = running.memory();
    cell.probe(running.port);
    let load = Load::of(cell, running.port, Placed { cpu: 1, nice: wish.nice });
    let requests = (wish.requests / cell.caller.costs()).max(load::STREAMS);
    load.run((requests / 10).max(load::STREAMS));
    let (before, start) = (running.cpu(), Instant::now());
    load.run(requests);
    let (after, took) = (running.cpu(), start.elapsed());
    let cpu = after - before;
    Sample {
        cpu: cpu.as_secs_f64() * 1e6 / requests as f64,
        busy: cpu.as_secs_f64() / took.as_secs_f64(),
        idle,
        after: running.memory(),
    }
}

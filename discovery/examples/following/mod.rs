//! Many sidecars that follow one registry, which is killed meanwhile.

use super::{Failed, HERE};
use fourmi_discovery::join::{Joined, Settings};
use fourmi_discovery::{Address, Check, Definition, Instance, Limits, Probe, Registry, State, Store, checks, http};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the registry is away.
const AWAY: Duration = Duration::from_secs(30);
/// How often somebody looks a name up, in a thread of his own.
const LOOK_EVERY: Duration = Duration::from_micros(100);

/// The registry: answers until it is killed.
pub(super) async fn registry(address: SocketAddr, file: &str) -> Result<(), Failed> {
    let store = Arc::new(Store::open(file.as_ref(), Limits::default())?);
    let registry = store.registry().clone();
    tokio::spawn(checks::run(registry.clone(), checks::Options::default()));
    let settings = http::Settings { node: "central".into(), ..http::Settings::default() };
    let server = http::Server::start(&[address], registry, Some(store), settings).await?;
    writeln!(std::io::stdout(), "{}", server.addresses().first().ok_or("no address")?)?;
    std::future::pending().await
}

fn start(address: SocketAddr, file: &str) -> Result<(Child, SocketAddr), Failed> {
    let words = ["registry", &address.to_string(), file];
    let mut child = Command::new(std::env::current_exe()?).args(words).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the registry is silent")?).read_line(&mut line)?;
    Ok((child, line.trim().parse()?))
}

/// When a change was at how many replicas, by its name.
type Arrived = Arc<Mutex<HashMap<String, (usize, Instant)>>>;

struct Side {
    joined: Joined,
    replica: Registry,
}

fn service(side: usize, n: usize) -> String {
    format!("s{side}-{n}")
}

fn side(at: usize, each: usize, url: &str) -> Result<Side, Failed> {
    let register = (0..each).map(|n| {
        let made = Instance::new(service(at, n), service(at, n), "", 25001);
        let check = Check::new(Definition::of(&made, format!("c{n}"), Probe::Manual)).state(State::Passing);
        (made, vec![check])
    });
    let octet = u8::try_from(at % 250)?;
    let settings = Settings {
        urls: vec![url.to_owned()],
        node: format!("side{at}"),
        address: Address::Ip([10, 0, 0, octet + 1].into()),
        register: register.collect(),
        ..Settings::default()
    };
    let replica = Registry::default();
    Ok(Side { joined: Joined::start(settings, replica.clone())?, replica })
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<Duration, Failed> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > Duration::from_secs(120) {
            return Err(what.into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(began.elapsed())
}

/// Notes when each change of one service arrives at one replica.
async fn note(replica: Registry, service: String, arrived: Arrived) {
    let mut changes = replica.watch();
    let mut last = String::new();
    while changes.changed().await.is_ok() {
        let snapshot = replica.snapshot();
        let member = snapshot.service(&service).and_then(|service| service.members.first());
        let output = member.and_then(|member| member.checks.first()).map(|check| check.output.to_string());
        if let Some(output) = output.filter(|output| *output != last) {
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, at) = arrived.entry(output.clone()).or_insert((0, Instant::now()));
            (*count, *at) = (*count + 1, Instant::now());
            last = output;
        }
    }
}

/// That many sidecars with that many services in all.
pub(super) async fn following(sides: usize, services: usize) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("fourmi-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("registry.sqlite").display().to_string();
    let (mut child, address) = start((HERE, 0).into(), &file)?;
    let pid = child.id().to_string();
    let each = services / sides;
    let url = format!("http://{address}");
    let all = (0..sides).map(|at| side(at, each, &url)).collect::<Result<Vec<_>, _>>()?;
    let complete = || all.iter().all(|side| side.joined.status().connected && side.joined.status().registered == each);
    let has_all = |side: &Side| {
        side.replica.snapshot().services().filter(|s| s.usable().next().is_some()).count() == each * sides
    };
    let took = until("not all are registered", || complete() && all.iter().all(has_all)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{sides} sidecars with {each} services each are registered and have each other after {took:?}")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, own, began) = (super::ticks_of(&pid)?, super::ticks_of("self")?, Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let share = |spent: f64| spent / began.elapsed().as_secs_f64();
    let (idle, memory) = (share(super::ticks_of(&pid)? - before), super::resident_of(&pid)?);
    let each_side = share(super::ticks_of("self")? - own) / sides as f64;
    writeln!(
        out,
        "nothing changes, all report every 5 s: the registry takes {idle:.1} % of a core, {memory:.0} KiB; a sidecar {each_side:.2} %"
    )?;
    changes(&all, (&pid, &mut out)).await?;

    let failed = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let looking = look(&all, each, Arc::clone(&failed), Arc::clone(&stop));
    child.kill()?;
    child.wait()?;
    tokio::time::sleep(AWAY).await;
    let cut_off = all.iter().filter(|side| !side.joined.status().connected).count();
    let (mut child, _) = start(address, &file)?;
    let took = until("not all are back", || complete() && all.iter().all(has_all)).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop.store(true, Ordering::Relaxed);
    let looks = looking.join().map_err(|_| "nobody looked")?;
    let failed = failed.load(Ordering::Relaxed);
    writeln!(
        out,
        "killed for {AWAY:?}: {cut_off} were cut off, all are back after {took:?}; {failed} of {looks} lookups failed"
    )?;
    let memory = super::resident_of(&child.id().to_string())?;
    writeln!(out, "the registry has {memory:.0} KiB then")?;
    child.kill()?;
    child.wait()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Changes one service after the other, and says how long it takes until all replicas have it.
async fn changes(all: &[Side], (pid, out): (&str, &mut impl Write)) -> Result<(), Failed> {
    let arrived = Arrived::default();
    let mut noting = tokio::task::JoinSet::new();
    for side in all {
        noting.spawn(note(side.replica.clone(), service(0, 0), Arc::clone(&arrived)));
    }
    let mut took = Vec::new();
    let (before, began) = (super::ticks_of(pid)?, Instant::now());
    for n in 0..500_u32 {
        let state = if n % 2 == 0 { State::Critical } else { State::Warning };
        let (name, changed) = (format!("change {n}"), Instant::now());
        let told = format!("c0: {name}");
        let first = all.first().ok_or("nobody")?;
        first.joined.own().report("side0", "c0", state, &name);
        let everywhere = || {
            let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.get(&told).filter(|(count, _)| *count == all.len()).map(|(_, at)| *at)
        };
        until("a change is lost", || everywhere().is_some()).await?;
        took.extend(everywhere().map(|at| at - changed));
    }
    let spent = (super::ticks_of(pid)? - before) / began.elapsed().as_secs_f64();
    took.sort();
    let part = |of: usize| took.get(took.len() * of / 100).copied().unwrap_or_default();
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{rate:.0} changes a second, until all replicas have it: p50 {:?}, p99 {:?}, the longest {:?}; the registry takes {spent:.1} % of a core",
        part(50),
        part(99),
        took.last()
    )?;
    Ok(())
}

/// Looks names up at all replicas, by chance.
fn look(all: &[Side], each: usize, failed: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let replicas: Vec<Registry> = all.iter().map(|side| side.replica.clone()).collect();
    std::thread::spawn(move || {
        let mut looks = 0;
        while !stop.load(Ordering::Relaxed) {
            let name = service(fastrand::usize(..replicas.len()), fastrand::usize(..each));
            let replica = replicas.get(fastrand::usize(..replicas.len()));
            looks += 1;
            if replica.is_some_and(|replica| replica.snapshot().usable(&name).next().is_none()) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        looks
    })
}

//! What checks and answers cost: `cost checks [COUNT] [SECONDS]` does that many HTTP checks every ten seconds against
//! a peer in a process of its own; `cost dns [ADDRESS]` answers until it is killed, for a load generator; `cost http [COUNT]` lets that
//! many readers wait for one service, while others change; `cost api [ADDRESS]` answers Consul's API until it is killed;
//! `cost join [SIDECARS] [SERVICES]` lets that many sidecars follow one registry, which is killed for a while.

mod following;

use fourmi_discovery::dns::{Server, Settings};
use fourmi_discovery::http;
use fourmi_discovery::{Check, Definition, Instance, Node, Probe, Registry, State, checks};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

type Failed = Box<dyn std::error::Error>;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["peer"] => peer().await,
        ["checks", ref rest @ ..] => {
            let number = |at: usize, usual: u64| rest.get(at).and_then(|n| n.parse().ok()).unwrap_or(usual);
            checking(number(0, 2000), number(1, 40)).await
        }
        ["dns", ref rest @ ..] => answering(rest.first().copied().unwrap_or("127.0.0.1:8600")).await,
        ["api", ref rest @ ..] => api(rest.first().copied().unwrap_or("127.0.0.1:8500")).await,
        ["http", ref rest @ ..] => waiting(rest.first().and_then(|n| n.parse().ok()).unwrap_or(10_000)).await,
        ["readers", address, count, index] => readers(address.parse()?, count.parse()?, index).await,
        ["join", ref rest @ ..] => {
            let number = |at: usize, usual: usize| rest.get(at).and_then(|n| n.parse().ok()).unwrap_or(usual);
            following::following(number(0, 50), number(1, 1000)).await
        }
        ["registry", address, file] => following::registry(address.parse()?, file).await,
        _ => Err("cost checks | cost dns | cost http | cost api | cost join".into()),
    }
}

async fn peer() -> Result<(), Failed> {
    let listener = TcpListener::bind((HERE, 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        });
    }
}

async fn checking(count: u64, seconds: u64) -> Result<(), Failed> {
    let mut peer = Command::new(std::env::current_exe()?).arg("peer").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(peer.stdout.take().ok_or("the peer is silent")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse()?;
    let registry = Registry::default();
    registry.put_node(Node::new("n1", HERE))?;
    for n in 0..count {
        let instance = Instance::new(format!("s{}", n % 100), format!("i{n}"), "n1", port);
        let url = format!("http://127.0.0.1:{port}/healthz");
        let probe =
            Probe::Http { url, method: String::new(), headers: Vec::new(), body: String::new(), redirects: true };
        let check = Check::new(Definition::of(&instance, format!("c{n}"), probe));
        registry.register(instance, vec![check], false)?;
    }
    tokio::spawn(checks::run(registry.clone(), checks::Options::default()));
    let passing = || registry.snapshot().checks().filter(|check| check.state == State::Passing).count();
    while (passing() as u64) < count {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (before, start) = (ticks()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = (ticks()? - before) / 100.0;
    let share = spent / start.elapsed().as_secs_f64() * 100.0;
    writeln!(std::io::stdout(), "{count} checks every 10 s: {share:.1} % of a core, {} pass", passing())?;
    peer.kill()?;
    Ok(())
}

async fn api(address: &str) -> Result<(), Failed> {
    let registry = Registry::default();
    tokio::spawn(checks::run(registry.clone(), checks::Options::default()));
    let server = http::Server::start(&[address.parse()?], registry, None, http::Settings::default()).await?;
    writeln!(std::io::stdout(), "{:?}", server.addresses())?;
    loop {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// Readers that wait in this process's API, asked for by another one.
async fn waiting(count: usize) -> Result<(), Failed> {
    let registry = Registry::default();
    let server = http::Server::start(&[(HERE, 0).into()], registry.clone(), None, http::Settings::default()).await?;
    let node = http::Settings::default().node;
    registry.register(Instance::new("web", "first", &*node, 80), Vec::new(), false)?;
    let address = server.addresses().first().ok_or("no address")?.to_string();
    let index = registry.snapshot().changed("web").to_string();
    let before = resident()?;
    let readers = ["readers", &address, &count.to_string(), &index];
    let mut child = Command::new(std::env::current_exe()?).args(readers).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the readers are silent")?).lines();
    // In a thread of their own, so that this one goes on answering.
    let (told, mut hear) = tokio::sync::mpsc::channel(4);
    std::thread::spawn(move || while lines.next().is_some_and(|line| told.blocking_send(line).is_ok()) {});
    hear.recv().await.ok_or("the readers are gone")??;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident()? - before) * 1024.0 / count as f64;
    let start = ticks()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = (ticks()? - start) / 5.0;
    let start = ticks()?;
    for n in 0..1000_u16 {
        registry.register(Instance::new("stock", "other", &*node, n), Vec::new(), false)?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others = (ticks()? - start) * 10.0;
    let start = ticks()?;
    registry.register(Instance::new("web", "second", &*node, 80), Vec::new(), false)?;
    let took = hear.recv().await.ok_or("the readers are gone")??;
    let woken = (ticks()? - start) * 10.0;
    let mut out = std::io::stdout();
    writeln!(out, "{count} readers: {each:.0} bytes each, {idle:.1} % of a core while nothing happens")?;
    writeln!(out, "1,000 changes of another service: {others:.0} ms of a core")?;
    writeln!(out, "their own change: {woken:.0} ms of a core, all had it after {took} ms")?;
    child.wait()?;
    Ok(())
}

async fn readers(address: SocketAddr, count: usize, index: &str) -> Result<(), Failed> {
    let mut open = tokio::task::JoinSet::new();
    let path = format!("/v1/health/service/web?index={index}&wait=10m");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for _ in 0..count {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        open.spawn(async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.map(|_| Instant::now())
        });
    }
    writeln!(std::io::stdout(), "all wait")?;
    let first = open.join_next().await.ok_or("nobody waits")???;
    let last = open.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().max();
    writeln!(std::io::stdout(), "{}", last.unwrap_or(first).duration_since(first).as_millis())?;
    Ok(())
}

/// What this process has in memory, in KiB.
fn resident() -> Result<f64, Failed> {
    resident_of("self")
}

fn resident_of(process: &str) -> Result<f64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

async fn answering(address: &str) -> Result<(), Failed> {
    let registry = Registry::default();
    for n in 0..100_u8 {
        registry.put_node(Node::new(format!("n{n}"), IpAddr::V4(Ipv4Addr::new(10, 0, 0, n + 1))))?;
        for service in 0..10 {
            let instance = Instance::new(format!("s{service}"), format!("i{service}"), format!("n{n}"), 8080);
            registry.register(instance, Vec::new(), false)?;
        }
        registry.register(Instance::new(format!("single{n}"), "i", format!("n{n}"), 80), Vec::new(), false)?;
    }
    let server = Server::bind(&[address.parse()?], registry, Settings::default()).await?;
    writeln!(std::io::stdout(), "{:?}", server.addresses())?;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let total: u64 = server.counts().map(|(_, _, count)| count).sum();
        writeln!(std::io::stdout(), "{total} answers, {:.2} s of a core", ticks()? / 100.0)?;
    }
}

/// What this process has used of a core, in hundredths of a second.
fn ticks() -> Result<f64, Failed> {
    ticks_of("self")
}

fn ticks_of(process: &str) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok(fields.get(11).ok_or("no utime")?.parse::<f64>()? + fields.get(12).ok_or("no stime")?.parse::<f64>()?)
}

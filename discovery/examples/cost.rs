//! What checks and answers cost: `cost checks [COUNT] [SECONDS]` does that many HTTP checks every ten seconds against
//! a peer in a process of its own; `cost dns [ADDRESS]` answers until it is killed, for a load generator.

use fourmi_discovery::dns::{Server, Settings};
use fourmi_discovery::{Check, Definition, Instance, Node, Probe, Registry, State, checks};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["peer"] => peer().await,
        ["checks", ref rest @ ..] => {
            let number = |at: usize, usual: u64| rest.get(at).and_then(|n| n.parse().ok()).unwrap_or(usual);
            checking(number(0, 2000), number(1, 40)).await
        }
        ["dns", ref rest @ ..] => answering(rest.first().copied().unwrap_or("127.0.0.1:8600")).await,
        _ => Err("cost checks | cost dns".into()),
    }
}

async fn peer() -> Result<(), Box<dyn std::error::Error>> {
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

async fn checking(count: u64, seconds: u64) -> Result<(), Box<dyn std::error::Error>> {
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

async fn answering(address: &str) -> Result<(), Box<dyn std::error::Error>> {
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
fn ticks() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok(fields.get(11).ok_or("no utime")?.parse::<f64>()? + fields.get(12).ok_or("no stime")?.parse::<f64>()?)
}

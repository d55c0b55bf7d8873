//! One look at one instance.

mod connect;
mod http;
mod http2;

use crate::model::{Definition, Probe, State};
use crate::registry::Registry;
pub use connect::Trust;
use std::fmt::Display;
use std::io;
use std::time::Duration;
use tokio::net::UdpSocket;

/// How long silence after a datagram is waited for: a refusal comes at once.
const SILENCE: Duration = Duration::from_secs(1);

/// How one look came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) state: State,
    pub(super) output: String,
}

impl Outcome {
    fn passing(output: impl Into<String>) -> Self {
        Outcome { state: State::Passing, output: output.into() }
    }

    fn critical(output: impl Into<String>) -> Self {
        Outcome { state: State::Critical, output: output.into() }
    }
}

/// Looks once. `target` is where an instance without checks of its own is.
pub(super) async fn look(definition: &Definition, target: Option<String>, trust: &Trust) -> Outcome {
    let timeout = definition.timing.timeout;
    let looked = tokio::time::timeout(timeout, once(definition, target, trust));
    looked.await.unwrap_or_else(|_| Outcome::critical(format!("no answer within {timeout:?}")))
}

async fn once(definition: &Definition, target: Option<String>, trust: &Trust) -> Outcome {
    let tls = &definition.tls;
    match &definition.probe {
        Probe::Http { .. } => http::look(definition, trust).await,
        Probe::Tcp { address, tls: false } => told(address, connect::tcp(address).await.map(drop)),
        Probe::Tcp { address, tls: true } => told(address, connect::tls(address, tls, trust, false).await.map(drop)),
        Probe::Udp { address } => udp(address).await,
        Probe::Grpc { address, service, tls: encrypted } => {
            http2::health(address, service, encrypted.then_some(tls), trust).await
        }
        Probe::H2Ping { address, tls: encrypted } => http2::ping(address, encrypted.then_some(tls), trust).await,
        Probe::Returned => match target {
            Some(address) => told(&address, connect::tcp(&address).await.map(drop)),
            None => Outcome::critical("it came back from the registry's file and must register again"),
        },
        Probe::Ttl(_) | Probe::Alias(_) | Probe::Manual => Outcome::critical("nothing to look at"),
    }
}

fn told<E: Display>(address: &str, result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::passing(format!("connected to {address}")),
        Err(error) => Outcome::critical(format!("cannot connect to {address}: {error}")),
    }
}

async fn udp(address: &str) -> Outcome {
    let asked = async {
        let to = tokio::net::lookup_host(address).await?.next().ok_or(io::ErrorKind::NotFound)?;
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        socket.send(b"\n").await?;
        match tokio::time::timeout(SILENCE, socket.recv(&mut [0; 1])).await {
            Ok(Ok(_)) => Ok("it answers"),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok("it does not refuse"),
        }
    };
    match asked.await {
        Ok(output) => Outcome::passing(output),
        Err(error) => Outcome::critical(format!("{address}: {error}")),
    }
}

/// Where an instance without checks of its own is.
pub(super) fn target(registry: &Registry, definition: &Definition) -> Option<String> {
    let snapshot = registry.snapshot();
    let node = snapshot.node(&definition.node)?;
    let member = node.instances.iter().find(|m| Some(&m.instance.id) == definition.instance.as_ref())?;
    match (member.address(), member.instance.port) {
        (_, 0) => None,
        (crate::Address::Ip(std::net::IpAddr::V6(ip)), port) => Some(format!("[{ip}]:{port}")),
        (address, port) => Some(format!("{address}:{port}")),
    }
}

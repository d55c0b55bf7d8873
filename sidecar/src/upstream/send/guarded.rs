//! A command and its service's circuit breaker.

use super::{Failure, Patience, Sent, Task, attempts};
use crate::exchange::{Fault, FaultKind, Retry};
use crate::upstream::Cluster;
use crate::upstream::breaker::{self, Moved, Pass};
use crate::upstream::endpoint::TIMEOUT;
use std::time::{Duration, Instant};

/// Sends one command if the circuit breaker lets it, which learns how it ends.
pub(super) async fn send(
    cluster: &Cluster,
    task: &mut Task<'_>,
    settings: &breaker::Settings,
) -> Result<Sent, Failure> {
    let breaker = &cluster.kept().breaker;
    let pass = match breaker.admit(settings, Instant::now()) {
        Pass::No(left) => return Err(left_alone(left).into()),
        pass => pass,
    };
    let mut trying = Trying { breaker, pass };
    let result = attempts(cluster, task).await;
    let now = Instant::now();
    let failed = match &result {
        Ok(sent) if sent.status == TIMEOUT && task.is_callers_fault() => return result,
        Ok(sent) => sent.status >= 500,
        Err(Failure::Late(Patience::Callers)) => return result,
        Err(Failure::Late(Patience::Ours)) if task.is_callers_fault() => return result,
        Err(Failure::Late(Patience::Ours)) => true,
        Err(Failure::Fault(fault)) if fault.kind.side() == crate::exchange::Side::Upstream => true,
        Err(Failure::Fault(_)) => return result,
    };
    trying.pass = Pass::Yes;
    match breaker.ended(settings, pass, failed, now) {
        Some(Moved::Opened) => {
            cluster.pool().breaker(true);
            tracing::warn!(service = cluster.name(), "the circuit breaker opens: most commands fail");
        }
        Some(Moved::Closed) => {
            cluster.pool().breaker(false);
            tracing::info!(service = cluster.name(), "the circuit breaker closes");
        }
        None => {}
    }
    result
}

/// A command on its way; one that leaves without telling anything leaves the finding out to the next.
struct Trying<'a> {
    breaker: &'a breaker::Breaker,
    pass: Pass,
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if self.pass == Pass::Trial {
            self.breaker.given_up(self.pass, Instant::now());
        }
    }
}

fn left_alone(left: Duration) -> Fault {
    let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let detail = "most commands to this service failed lately (circuit_breaker)";
    Fault::new(FaultKind::CircuitOpen, detail).retry(Retry::Safe).retry_after(seconds)
}

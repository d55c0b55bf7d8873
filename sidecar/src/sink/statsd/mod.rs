//! StatsD over UDP: sums leave by the clock, as what came since the last time.

mod line;
mod name;
mod report;

use super::drain::Outlet;
use super::metric::{Registry, Sample, Totals};
use super::transport::DatagramOut;
use super::{Dialect, StatsdSettings};
use crate::exchange::Identity;
use line::{Packet, Packets};
use report::Report;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Packets that leave before the receiver gets time to read.
const BURST: usize = 16;
/// A packet is never made smaller than this.
const PACKET_MIN: usize = 512;
/// How long to wait when no address is known.
const AWAY: Duration = Duration::from_millis(500);

/// What was told already: the sums of every series and of every reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    series: HashMap<u64, Totals>,
    reasons: HashMap<(&'static str, &'static str), u64>,
}

impl Told {
    /// Everything that was counted until now.
    pub(crate) fn until_now(registry: &Registry) -> Told {
        Told {
            series: registry.snapshot(None).into_iter().map(|s| (s.id, s.totals)).collect(),
            reasons: registry.reasons().into_iter().map(|(m, r, n)| ((m, r), n)).collect(),
        }
    }
}

/// Where one sink ends and its successor begins, when a reload replaced it: nothing is told twice or never.
pub(crate) type Handover = Arc<Mutex<Option<Told>>>;

/// The sender of one `statsd` entry.
pub(crate) struct Statsd {
    /// The number of this sink's samples.
    id: u64,
    outlet: Arc<Outlet>,
    registry: Arc<Registry>,
    identity: Arc<Identity>,
    dialect: Dialect,
    interval: Duration,
    packet: usize,
    udp: DatagramOut,
    told: Told,
    until: Handover,
}

impl Statsd {
    /// A sender that tells what is counted after `told`.
    pub(crate) fn new(
        id: u64,
        outlet: Arc<Outlet>,
        registry: Arc<Registry>,
        identity: Arc<Identity>,
        settings: &StatsdSettings,
        told: Told,
        until: Handover,
    ) -> Statsd {
        Statsd {
            id,
            outlet,
            registry,
            identity,
            dialect: settings.dialect,
            interval: settings.interval.max(Duration::from_millis(100)),
            packet: settings.packet.clamp(PACKET_MIN, 65_507),
            udp: DatagramOut::udp(&settings.host, settings.port),
            told,
            until,
        }
    }

    /// Sends until the outlet ends, and what is left then.
    pub(crate) async fn run(mut self) {
        let mut next = Instant::now() + self.interval;
        loop {
            while !self.outlet.is_ending() && Instant::now() < next {
                self.outlet.rest(next - Instant::now()).await;
            }
            let last = self.outlet.is_ending();
            if self.udp.ready(true, &self.outlet.counts).await {
                self.flush().await;
            } else if last && !self.outlet.is_late() && self.outlet.is_stopping() {
                self.outlet.rest(AWAY).await;
                continue;
            } else if last {
                let packets = self.collect();
                self.outlet.counts.error(packets.iter().map(|p| p.lines).sum(), &"no address at the end");
            } else {
                // The sums stay until there is somebody to tell.
                next = Instant::now() + AWAY.min(self.interval);
                continue;
            }
            if last {
                return;
            }
            next += self.interval;
            next = next.max(Instant::now());
        }
    }

    /// Everything since the last time, as packets.
    fn collect(&mut self) -> Vec<Packet> {
        let mut samples = self.registry.snapshot(Some(self.id));
        let mut reasons = self.registry.reasons();
        let handover = self.until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(until) = handover {
            // A successor tells what came later.
            samples.retain_mut(|s| {
                until.series.get(&s.id).is_some_and(|t| {
                    s.totals = t.clone();
                    true
                })
            });
            reasons = until.reasons.into_iter().map(|((m, r), n)| (m, r, n)).collect();
        }
        let mut report = Report::new(self.dialect, &self.identity, Packets::new(self.packet));
        for Sample { id, key, totals, samples } in &samples {
            let told = self.told.series.entry(*id).or_default();
            report.series(key, totals, told, samples);
            *told = totals.clone();
        }
        for (metric, reason, n) in reasons {
            let told = self.told.reasons.entry((metric, reason)).or_default();
            report.reason(metric, reason, n.saturating_sub(*told));
            *told = n;
        }
        report.levels(self.registry.levels(), &self.registry.instances());
        let (packets, oversize) = report.finish();
        if oversize > 0 {
            self.outlet.counts.oversize(oversize);
        }
        packets
    }

    async fn flush(&mut self) {
        let packets = self.collect();
        for (i, packet) in packets.iter().enumerate() {
            match self.udp.send(&packet.bytes).await {
                Ok(()) => self.outlet.counts.sent(packet.lines),
                Err(e) if DatagramOut::too_large(&e) && self.packet > PACKET_MIN => self.send_smaller(packet).await,
                Err(e) => self.lost(packet.lines, &e).await,
            }
            if i % BURST == BURST - 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// The way refuses the size: half of it from now on.
    async fn send_smaller(&mut self, packet: &Packet) {
        self.packet = (self.packet / 2).max(PACKET_MIN);
        let mut smaller = Packets::new(self.packet);
        packet.bytes.split(|b| *b == b'\n').for_each(|line| smaller.line(line));
        let (packets, oversize) = smaller.take();
        self.outlet.counts.oversize(oversize);
        for packet in packets {
            match self.udp.send(&packet.bytes).await {
                Ok(()) => self.outlet.counts.sent(packet.lines),
                Err(e) => self.lost(packet.lines, &e).await,
            }
        }
    }

    async fn lost(&mut self, lines: u64, error: &io::Error) {
        self.outlet.counts.error(lines, error);
        self.udp.failed();
        self.udp.ready(false, &self.outlet.counts).await;
    }
}

#[cfg(test)]
mod tests;

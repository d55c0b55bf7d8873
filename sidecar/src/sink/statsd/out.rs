//! How packets leave: as datagrams, or as frames of a stream.

use super::line::{Packet, Packets};
use crate::sink::StatsdPlace;
use crate::sink::drain::Outlet;
use crate::sink::transport::{DatagramOut, Place, Resolver, StreamOut};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Datagrams that leave before the receiver gets time to read.
const BURST: usize = 16;
/// A packet is never made smaller than this.
pub(super) const PACKET_MIN: usize = 512;
/// The most that a UDP datagram over IPv4 carries.
const UDP_MAX: usize = 65_507;
/// What DogStatsD's servers read at once from a unix socket.
const UNIX_MAX: usize = 8192;
/// Bytes of a stream that are written together.
const WRITE: usize = 64 << 10;
/// A name that leads elsewhere is noticed within this time, the interval of sending included.
const MOVED_WITHIN: Duration = Duration::from_secs(30);
/// The resolver is not asked more often than this.
const RESOLVE_LEAST: Duration = Duration::from_secs(5);
/// How long a sink that is no longer configured waits for a receiver that takes nothing.
const RETIRED_MAX: Duration = Duration::from_secs(10);
/// How often a receiver that takes nothing is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The way to the receiver.
pub(crate) struct Out {
    way: Way,
    /// Bytes of a packet at most.
    pub(super) packet: usize,
}

enum Way {
    Datagrams(Box<DatagramOut>),
    Stream(Box<Stream>),
}

struct Stream {
    out: StreamOut,
    framing: Framing,
    /// Lines of each frame that is not confirmed, the oldest first.
    lines: VecDeque<u64>,
}

#[derive(Clone, Copy)]
enum Framing {
    /// A line feed behind every line; each line is a frame.
    Lines,
    /// Four bytes of length, the lowest first, before every packet.
    Length,
}

impl Out {
    /// Nothing is opened before [`Out::ready`].
    pub(crate) fn new(place: &StatsdPlace, packet: usize, interval: Duration) -> Out {
        let every = MOVED_WITHIN.saturating_sub(interval).max(RESOLVE_LEAST);
        let stream = |place, framing| {
            let out = StreamOut::new(place).resolve(|r| r.every(every));
            Way::Stream(Box::new(Stream { out, framing, lines: VecDeque::new() }))
        };
        let (way, max) = match place {
            StatsdPlace::Udp { host, port } => {
                let out = DatagramOut::resolved(Resolver::new(host, *port).every(every));
                (Way::Datagrams(Box::new(out)), UDP_MAX)
            }
            StatsdPlace::UnixDatagram(path) => (Way::Datagrams(Box::new(DatagramOut::unix(path))), UNIX_MAX),
            StatsdPlace::Tcp { host, port } => {
                let place = Place::Tcp { host: host.clone(), port: *port, tls: None };
                (stream(place, Framing::Lines), UDP_MAX)
            }
            StatsdPlace::UnixStream(path) => (stream(Place::Unix(path.clone()), Framing::Length), UNIX_MAX),
        };
        Out { way, packet: packet.clamp(PACKET_MIN, max) }
    }

    /// Whether there is somebody to send to.
    pub(crate) async fn ready(&mut self, outlet: &Outlet) -> bool {
        match &mut self.way {
            Way::Datagrams(out) => out.ready(true, &outlet.counts).await,
            Way::Stream(stream) => {
                let ready = stream.out.ready(&outlet.counts).await;
                stream.account(outlet);
                ready
            }
        }
    }

    /// Sleeps, but not beyond a stop, and keeps a stream going meanwhile.
    pub(crate) async fn rest(&mut self, how_long: Duration, outlet: &Outlet) {
        match &mut self.way {
            Way::Datagrams(_) => outlet.rest(how_long).await,
            Way::Stream(stream) => stream.rest(how_long, outlet).await,
        }
    }

    /// Sends, and counts what became of every line.
    pub(crate) async fn send(&mut self, packets: Vec<Packet>, outlet: &Outlet) {
        match &mut self.way {
            Way::Datagrams(out) => send_datagrams(out, &mut self.packet, packets, outlet).await,
            Way::Stream(stream) => stream.send(packets, outlet).await,
        }
    }

    /// The end: waits, within the time that is left, until a stream's receiver has everything.
    pub(crate) async fn end(&mut self, outlet: &Outlet) {
        let Way::Stream(stream) = &mut self.way else { return };
        let until = outlet.deadline().unwrap_or_else(|| Instant::now() + RETIRED_MAX);
        stream.out.settle(until, &outlet.counts).await;
        stream.account(outlet);
        stream.out.abandon();
        let lost: u64 = stream.lines.drain(..).sum();
        if lost > 0 {
            outlet.counts.error(lost, &"not confirmed at the end");
        }
    }
}

async fn send_datagrams(out: &mut DatagramOut, packet: &mut usize, packets: Vec<Packet>, outlet: &Outlet) {
    let counts = &outlet.counts;
    // Those that are still to be sent, and whether they are a second attempt.
    let mut rest: VecDeque<(Packet, bool)> = packets.into_iter().map(|p| (p, false)).collect();
    let mut burst = 0;
    while let Some((datagram, again)) = rest.pop_front() {
        match out.send(&datagram.bytes).await {
            Ok(()) => counts.sent(datagram.lines),
            // The way refuses the size: half of it from now on.
            Err(e) if DatagramOut::too_large(&e) && !again && datagram.bytes.len() > PACKET_MIN => {
                counts.trouble(&e);
                *packet = (datagram.bytes.len().min(*packet) / 2).max(PACKET_MIN);
                let mut smaller = Packets::new(*packet);
                datagram.bytes.split(|b| *b == b'\n').for_each(|line| smaller.line(line));
                let (packets, oversize) = smaller.take();
                if oversize > 0 {
                    counts.oversize(oversize);
                }
                packets.into_iter().rev().for_each(|p| rest.push_front((p, true)));
            }
            Err(e) => {
                let mut lost = datagram.lines;
                if e.kind() == io::ErrorKind::TimedOut || outlet.is_late() {
                    // Nobody reads there: every other one would wait as long.
                    lost += rest.drain(..).map(|(p, _)| p.lines).sum::<u64>();
                }
                counts.trouble(&e);
                counts.error(lost, &e);
                out.failed();
                out.ready(false, counts).await;
            }
        }
        burst += 1;
        if burst % BURST == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Stream {
    /// Counts the lines that the receiver has.
    fn account(&mut self, outlet: &Outlet) {
        let frames = usize::try_from(self.out.confirmed()).unwrap_or(usize::MAX).min(self.lines.len());
        let lines: u64 = self.lines.drain(..frames).sum();
        if lines > 0 {
            outlet.counts.sent(lines);
        }
    }

    async fn rest(&mut self, how_long: Duration, outlet: &Outlet) {
        let until = Instant::now() + how_long;
        tokio::select! {
            () = outlet.rest(how_long) => {}
            () = async {
                while Instant::now() < until {
                    self.out.tend(&outlet.counts).await;
                    self.account(outlet);
                }
            } => {}
        }
    }

    /// Hands everything over, as fast as the receiver takes it. What is not handed over when the sink ends is lost.
    async fn send(&mut self, packets: Vec<Packet>, outlet: &Outlet) {
        let mut retired = None;
        let mut packets = VecDeque::from(packets);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        while !packets.is_empty() {
            while !self.out.ready(&outlet.counts).await {
                self.account(outlet);
                let left = *retired.get_or_insert(Instant::now() + RETIRED_MAX);
                if !outlet.is_ending() {
                    retired = None;
                } else if outlet.is_late() || (!outlet.is_stopping() && Instant::now() >= left) {
                    let lost = packets.iter().map(|p| p.lines).sum();
                    return outlet.counts.error(lost, &"the receiver took nothing more at the end");
                }
                self.rest(LOOK, outlet).await;
            }
            bytes.clear();
            ends.clear();
            while bytes.len() < WRITE
                && let Some(packet) = packets.pop_front()
            {
                self.frame(&packet, &mut bytes, &mut ends);
            }
            // What breaks is noted there and written again.
            if let Err(e) = self.out.write(&bytes, &ends).await {
                outlet.counts.trouble(&e);
            }
            self.account(outlet);
        }
    }

    fn frame(&mut self, packet: &Packet, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) {
        match self.framing {
            Framing::Lines => {
                for line in packet.bytes.split(|b| *b == b'\n') {
                    bytes.extend_from_slice(line);
                    bytes.push(b'\n');
                    ends.push(bytes.len());
                    self.lines.push_back(1);
                }
            }
            Framing::Length => {
                // A packet has at most 8192 bytes.
                let length = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(&packet.bytes);
                ends.push(bytes.len());
                self.lines.push_back(packet.lines);
            }
        }
    }
}

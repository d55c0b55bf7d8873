//! What the demo reads of StatsD: the counters of commands, by name.

use super::system::{ENV, Kind, kind};
use crate::exchange::Outcome;

/// Commands that one Fourmi counted. Plain names do not tell the direction, but no service of the demo sends what
/// it is asked itself, so the command's name does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Commands to the worker.
    pub(super) inbound: u64,
    /// Commands of the worker.
    pub(super) outbound: u64,
}

impl Counted {
    /// Adds what a datagram says. `command` is the one that is inbound here.
    pub(super) fn take(&mut self, datagram: &[u8], command: &str) {
        let Ok(text) = std::str::from_utf8(datagram) else { return };
        for (name, n) in text.lines().filter_map(counter) {
            match kind(name, command) {
                Kind::Own => self.inbound += n,
                Kind::Other => self.outbound += n,
                Kind::Strange => {}
            }
        }
    }
}

/// Command and increment of a line `fourmi.<env>.<service>.<command>.<outcome>:N|c`; None for every other line.
fn counter(line: &str) -> Option<(&str, u64)> {
    let (name, rest) = line.split_once(':')?;
    let (value, kind) = rest.split_once('|')?;
    let mut parts = name.split('.');
    let (fourmi, env, _service) = (parts.next()?, parts.next()?, parts.next()?);
    let (command, outcome) = (parts.next()?, parts.next()?);
    let known = Outcome::ALL.iter().any(|o| o.as_str() == outcome);
    let ours =
        fourmi == "fourmi" && env == ENV && known && parts.next().is_none() && kind.split('|').next() == Some("c");
    ours.then(|| value.parse().ok().map(|n| (command, n)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counters_of_commands() {
        let mut counted = Counted::default();
        let lines = "fourmi.demo.order.PlaceOrder.success:12|c\nfourmi.demo.order.PlaceOrder.client_error:3|c\n\
                     fourmi.demo.order.PlaceOrder.duration:5|ms\nfourmi.demo.order.tag.shop.success:9|c\n\
                     fourmi.demo.order.SendMail.success:4|c\nfourmi.demo.order.Ping.success:1|c\nfourmi.other.order.PlaceOrder.success:1|c\n\
                     fourmi.demo.order.PlaceOrder.sucess:1|c\nfourmi.demo.order.PlaceOrder.success:x|c\nx";
        counted.take(lines.as_bytes(), "PlaceOrder");
        assert_eq!(counted, Counted { inbound: 15, outbound: 4 });
        counted.take(b"\xff", "PlaceOrder");
    }
}

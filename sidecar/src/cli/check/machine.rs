//! What the machine must give before Fourmi can start: its ports, descriptors, a clock.

use super::line::{CLOCK, DESCRIPTORS, LISTEN, Line};
use crate::config::{Bind, Plan};
use crate::exchange::Limits;
use std::time::{SystemTime, UNIX_EPOCH};

/// 2024-01-01T00:00:00Z: a clock before that was never set, and no certificate would be valid.
const SANE: u64 = 1_704_067_200;
/// Fewer than this is a limit that somebody will run into.
const CONNECTIONS_FEW: usize = 256;

pub(super) fn lines(plan: &Plan) -> Vec<Line> {
    let listeners = plan.listeners.iter().map(|l| (l.direction.as_str(), l.bind.clone()));
    let admin = plan.admin.iter().map(|a| ("admin", Bind::Tcp(a.listen)));
    let registry = plan.discovery.iter().flat_map(|d| [("dns", &d.dns), ("registry", &d.http)]);
    let registry = registry.flat_map(|(what, all)| all.iter().map(move |at| (what, Bind::Tcp(*at))));
    let mut lines: Vec<Line> = listeners.chain(admin).chain(registry).map(|(what, bind)| listen(what, &bind)).collect();
    let (files, possible) = crate::runtime::possible_connections();
    lines.push(descriptors(plan.limits.connections, files, possible));
    lines.push(clock(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())));
    lines
}

fn listen(what: &str, bind: &Bind) -> Line {
    let subject = match bind {
        Bind::Tcp(address) => format!("{what} {address}"),
        Bind::Unix(path) => format!("{what} unix:{}", path.display()),
    };
    match crate::runtime::is_free(bind) {
        Ok(()) => LISTEN.ok(subject, "free"),
        Err(why) => LISTEN.failed(subject, why),
    }
}

fn descriptors(wanted: usize, files: u64, possible: usize) -> Line {
    let detail = format!("{files} descriptors (`ulimit -Hn`) are enough for {possible} connections of callers at once");
    if wanted > possible && wanted != Limits::default().connections {
        DESCRIPTORS.warning("", format!("{detail}, limits.connections says {wanted}: raise the limit or lower that"))
    } else if possible < CONNECTIONS_FEW {
        DESCRIPTORS.warning("", format!("{detail}: raise the limit"))
    } else {
        DESCRIPTORS.ok("", detail)
    }
}

fn clock(seconds: u64) -> Line {
    match seconds >= SANE {
        true => CLOCK.ok("", "later than 2024"),
        false => {
            CLOCK.failed("", "it is before 2024: set it, or no certificate is valid and records carry a wrong time")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Mark;
    use super::*;

    #[test]
    fn ports_descriptors_and_clock() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bind = Bind::Tcp(taken.local_addr().unwrap());
        let line = listen("admin", &bind);
        assert_eq!(line.mark, Mark::Failed);
        assert!(line.detail.contains("listens there"), "{}", line.detail);
        drop(taken);
        assert_eq!(listen("admin", &bind).mark, Mark::Ok);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(listen("inbound", &Bind::Unix(folder.path().join("s"))).mark, Mark::Ok);
        assert_eq!(listen("inbound", &Bind::Unix("/no/such/directory/s".into())).mark, Mark::Failed);
        assert_eq!(descriptors(10_000, 65_536, 21_829).mark, Mark::Ok);
        assert_eq!(descriptors(10_000, 1024, 325).mark, Mark::Ok);
        assert_eq!(descriptors(5_000, 1024, 325).mark, Mark::Warning);
        assert_eq!(descriptors(10_000, 256, 69).mark, Mark::Warning);
        assert_eq!((clock(0).mark, clock(1_800_000_000).mark), (Mark::Failed, Mark::Ok));
    }
}

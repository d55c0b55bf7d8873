//! What the system says about this process.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Process {
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// Memory that is really there, in bytes.
    pub(crate) resident: Option<u64>,
    /// Open file descriptors.
    pub(crate) open_fds: Option<u64>,
    /// The most of them.
    pub(crate) max_fds: Option<u64>,
}

/// Reads the numbers of this moment.
pub(crate) fn read() -> Process {
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Process {
        cpu: getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |u| seconds(u.user_time()) + seconds(u.system_time())),
        resident: std::fs::read_to_string("/proc/self/status").ok().and_then(|s| resident(&s)),
        // The one that reads the directory is not counted.
        open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|d| (d.count() as u64).saturating_sub(1)),
        max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
    }
}

/// When the process began, in seconds since 1970: the birth of its /proc entry, or now.
pub(crate) fn start_time() -> f64 {
    let since = |t: SystemTime| t.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64();
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|s| start_ticks(&s));
    let boot = std::fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|s| s.lines().find_map(|l| l.strip_prefix("btime ")).and_then(|n| n.trim().parse::<f64>().ok()));
    match (ticks, boot) {
        // USER_HZ, which the kernel's interface fixes at 100.
        (Some(ticks), Some(boot)) => boot + ticks / 100.0,
        _ => since(SystemTime::now()),
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|k| k * 1024)
}

/// Field 22 of proc(5) stat; the name in field 2 may hold anything, so counting begins behind its bracket.
fn start_ticks(stat: &str) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let p = read();
        assert!(p.resident.is_some_and(|r| r > 100_000) && p.open_fds.is_some_and(|n| n > 0));
        let age = UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - start_time();
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert_eq!(start_ticks("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 555 0"), Some(555.0));
    }
}

//! File descriptors: as many as we may have, and never more connections than they allow.

use crate::config::Plan;
use crate::exchange::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors kept for listeners, admin, sinks and files.
const KEPT: u64 = 48;

/// Raises the soft limit to the hard one; returns what it is then.
pub(super) fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Descriptors that a Fourmi started here would have (the hard limit: it raises its own), and the connections of
/// callers at once that they allow.
pub(crate) fn possible() -> (u64, usize) {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| soft.max(hard));
    (files, allowed(files))
}

/// Two descriptors for each caller (one to ask for errors) and one upstream connection.
fn allowed(files: u64) -> usize {
    usize::try_from(files.saturating_sub(KEPT) / 3).unwrap_or(usize::MAX).max(8)
}

/// Connections of callers at once: the configured limit, or what descriptors allow.
pub(super) fn connections(plan: &Plan, files: u64) -> usize {
    let possible = allowed(files);
    let (limit, by_default) = (plan.limits.connections, Limits::default().connections);
    if limit > possible && limit != by_default {
        tracing::warn!(limit, possible, "fewer connections than limits.connections: `ulimit -n` is {files}");
    } else if limit > possible {
        tracing::debug!(limit, possible, "connections are limited by `ulimit -n`, which is {files}");
    }
    plan.limits.connections.min(possible)
}

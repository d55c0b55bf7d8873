//! What happened to a command or a check, and how it counts: the fields that active and passive checks share.

/// A set of HTTP statuses.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses([u64; 16]);

impl Statuses {
    /// These; what is no status of three digits is left out.
    pub fn of(statuses: impl IntoIterator<Item = u16>) -> Statuses {
        let mut set = Statuses::default();
        for status in statuses.into_iter().filter(|s| (100..1000).contains(s)) {
            if let Some(bits) = set.0.get_mut(usize::from(status / 64)) {
                *bits |= 1 << (status % 64);
            }
        }
        set
    }

    /// Whether it is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.get(usize::from(status / 64)).is_some_and(|bits| bits & (1 << (status % 64)) != 0)
    }

    /// All of them, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        (100..1000).filter(|s| self.contains(*s))
    }
}

impl std::fmt::Debug for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What came of one attempt at an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It answered. 0 stands for an answer that was no HTTP.
    Status(u16),
    /// No connection, or one that ended before the answer.
    TcpFailure,
    /// No connection or no answer in time.
    Timeout,
    /// Nothing was learnt: the caller left, or the command itself was at fault.
    Nothing,
}

impl Report {
    /// The end of a gRPC call, as the HTTP status that stands for its code in Google's table.
    pub fn grpc(code: u32) -> Report {
        Report::Status(match code {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Report::Status(0) => f.write_str("an answer that is no HTTP"),
            Report::Status(status) => write!(f, "status {status}"),
            Report::TcpFailure => f.write_str("a failed connection"),
            Report::Timeout => f.write_str("a timeout"),
            Report::Nothing => f.write_str("nothing"),
        }
    }
}

/// Which counter a report counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Successes,
    HttpFailures,
    TcpFailures,
    Timeouts,
}

/// What a report says about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Good,
    /// Counts in this counter up to this limit.
    Bad(Counter, u8),
    /// Changes nothing.
    Neither,
}

/// How reports count. A limit of 0 means that its kind does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Statuses that are successes.
    pub healthy: Statuses,
    /// So many in a row bring an instance back.
    pub successes: u8,
    /// Statuses that are failures.
    pub unhealthy: Statuses,
    /// So many without a success between them take an instance out.
    pub http_failures: u8,
    /// The same of connections.
    pub tcp_failures: u8,
    /// The same of timeouts.
    pub timeouts: u8,
}

impl Limits {
    /// A status in neither list changes nothing; one in both is a success, as with Kong.
    pub(super) fn judge(&self, report: Report) -> Judged {
        let bad = |counter, limit| if limit == 0 { Judged::Neither } else { Judged::Bad(counter, limit) };
        match report {
            Report::Status(status) if self.healthy.contains(status) => Judged::Good,
            Report::Status(status) if status == 0 || self.unhealthy.contains(status) => {
                bad(Counter::HttpFailures, self.http_failures)
            }
            Report::TcpFailure => bad(Counter::TcpFailures, self.tcp_failures),
            Report::Timeout => bad(Counter::Timeouts, self.timeouts),
            Report::Status(_) | Report::Nothing => Judged::Neither,
        }
    }

    /// Whether no failure counts.
    pub fn is_off(&self) -> bool {
        self.http_failures == 0 && self.tcp_failures == 0 && self.timeouts == 0
    }
}

/// Whether a service as a whole is down because not more than `percent` of its weight is usable (Kong's `threshold`).
/// With 0 it is down when nothing is usable; the comparison is Kong's own, so with 100 it is always down.
pub fn below_threshold(percent: u8, instances: impl IntoIterator<Item = (u32, bool)>) -> bool {
    let (mut usable, mut all) = (0u64, 0u64);
    for (weight, is_usable) in instances {
        all += u64::from(weight);
        usable += if is_usable { u64::from(weight) } else { 0 };
    }
    usable * 100 <= all * u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sets() {
        let set = Statuses::of([200, 302, 999, 100, 42, 1000, 0, 65_535]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [100, 200, 302, 999]);
        assert!(!set.contains(0) && !set.contains(1000) && !set.contains(u16::MAX) && !set.contains(201));
        assert_eq!(format!("{set:?}"), "[100, 200, 302, 999]");
    }

    #[test]
    fn kinds_that_do_not_count_say_nothing() {
        let limits = Limits {
            healthy: Statuses::of([200, 500]),
            successes: 1,
            unhealthy: Statuses::of([500, 503]),
            http_failures: 2,
            tcp_failures: 0,
            timeouts: 9,
        };
        for (report, judged) in [
            (Report::Status(200), Judged::Good),
            (Report::Status(500), Judged::Good),
            (Report::Status(503), Judged::Bad(Counter::HttpFailures, 2)),
            (Report::Status(0), Judged::Bad(Counter::HttpFailures, 2)),
            (Report::Status(404), Judged::Neither),
            (Report::TcpFailure, Judged::Neither),
            (Report::Timeout, Judged::Bad(Counter::Timeouts, 9)),
            (Report::Nothing, Judged::Neither),
            (Report::grpc(0), Judged::Good),
            (Report::grpc(14), Judged::Bad(Counter::HttpFailures, 2)),
            (Report::grpc(5), Judged::Neither),
        ] {
            assert_eq!(limits.judge(report), judged, "{report}");
        }
    }

    #[test]
    fn the_threshold_is_kongs() {
        let five = |up: usize| (0..5).map(move |i| (100, i < up));
        for (percent, up, down) in
            [(0, 1, false), (0, 0, true), (55, 3, false), (55, 2, true), (60, 3, true), (100, 5, true), (1, 0, true)]
        {
            assert_eq!(below_threshold(percent, five(up)), down, "{percent} % with {up} of 5");
        }
        // Weights count, not instances; nothing at all is down.
        assert!(!below_threshold(50, [(900, true), (10, false), (10, false)]));
        assert!(below_threshold(50, [(1, true), (10, false)]));
        assert!(below_threshold(0, []) && below_threshold(0, [(0, true)]));
        assert!(!below_threshold(99, [(u32::MAX, true), (u32::MAX, true)]));
    }
}

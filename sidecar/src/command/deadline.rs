//! How long a command may take: what its caller leaves it, and what is left for the next hop.

use crate::exchange::{Exchange, Protocol};
use crate::names::header as word;
use std::io::Write;
use std::str::from_utf8;
use std::time::{Duration, Instant};

/// What a hop keeps for itself, so that it can still tell its caller when the next one was too slow.
const HOP: Duration = Duration::from_millis(5);
/// The least that is given on, unless there is less.
const LEAST: Duration = Duration::from_millis(1);
/// Digits of a `Fourmi-Deadline`: 31 years in milliseconds. What is longer is no deadline.
const DIGITS_MAX: usize = 12;
/// What the eight digits of a `grpc-timeout` hold, and how long it is with its unit.
const GRPC_MAX: u128 = 99_999_999;
const GRPC_LEN: usize = 9;

/// When a command that came at `start` must be answered: the earlier one of both lines. A line that cannot be read is
/// passed over.
pub(super) fn of(start: Instant, fourmi: Option<&[u8]>, grpc: Option<&[u8]>) -> Option<Instant> {
    let left = match (fourmi.and_then(given), grpc.and_then(timeout)) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    start.checked_add(left)
}

/// Tells the next hop how long it has: less than we have.
pub(super) fn give(ex: &mut Exchange) {
    let Some(deadline) = ex.deadline else { return };
    let left = left(deadline, Instant::now());
    let headers = &mut ex.request.headers;
    headers.set(word::DEADLINE, itoa::Buffer::new().format(left.as_millis().max(1)));
    if ex.protocol == Protocol::Grpc {
        let (number, unit) = grpc(left);
        let mut line = [0; GRPC_LEN];
        let mut rest = &mut line[..];
        if write!(rest, "{number}{unit}").is_ok() {
            let len = GRPC_LEN - rest.len();
            headers.set(word::GRPC_TIMEOUT, &line[..len]);
        }
    }
}

fn left(deadline: Instant, now: Instant) -> Duration {
    let left = deadline.saturating_duration_since(now);
    left.saturating_sub(HOP).max(LEAST).min(left)
}

/// `Fourmi-Deadline`: milliseconds (`250`), or a number with a unit (`250ms`, `2s`, `5m`, `1h`). A caller that has
/// overdrawn its time may well send a number below zero.
fn given(value: &[u8]) -> Option<Duration> {
    let text = from_utf8(value).ok()?.trim();
    let (text, over) = text.strip_prefix('-').map_or((text, false), |t| (t, true));
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit);
    if !(1..=DIGITS_MAX).contains(&digits.len()) {
        return None;
    }
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    Some(if over { Duration::ZERO } else { Duration::from_millis(millis) })
}

/// `grpc-timeout`: one to eight digits and a unit (gRPC over HTTP/2, "Requests").
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(n * 3600),
        b'M' => Duration::from_secs(n * 60),
        b'S' => Duration::from_secs(n),
        b'm' => Duration::from_millis(n),
        b'u' => Duration::from_micros(n),
        b'n' => Duration::from_nanos(n),
        _ => return None,
    })
}

/// A duration in gRPC's form, cut to the finest unit that holds it.
fn grpc(left: Duration) -> (u128, char) {
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let minutes = u128::from(left.as_secs() / 60);
    units.into_iter().find(|(n, _)| *n <= GRPC_MAX).unwrap_or((minutes.min(GRPC_MAX), 'M'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::exchange;

    fn millis(n: u64) -> Option<Duration> {
        Some(Duration::from_millis(n))
    }

    #[test]
    fn what_a_deadline_may_look_like() {
        for (text, expected) in [
            ("250", millis(250)),
            (" 250ms ", millis(250)),
            ("2s", millis(2_000)),
            ("5m", millis(300_000)),
            ("1h", millis(3_600_000)),
            ("0", millis(0)),
            ("0007", millis(7)),
            ("-3", millis(0)),
            ("-0ms", millis(0)),
            ("999999999999", millis(999_999_999_999)),
        ] {
            assert_eq!(given(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "-", "--1", "+1", "1.5s", "1e3", "2 s", "s", "1S", "1d", "1h30m", "0x10", "1000000000000", "٣"]
        {
            assert_eq!(given(text.as_bytes()), None, "{text}");
        }
        assert_eq!(given(b"1\xff"), None);
    }

    #[test]
    fn what_a_grpc_timeout_may_look_like() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("00000000S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["", "S", "1", "1s", "123456789m", "-1S", "+1S", " 1S", "1 S", "1.5S", "1ms"] {
            assert_eq!(timeout(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_leaves_is_shorter_than_what_came() {
        let start = Instant::now();
        for (came, leaves) in [(60_000, 59_995), (7, 2), (6, 1), (3, 1), (1, 1), (0, 0)] {
            assert_eq!(Some(left(start + Duration::from_millis(came), start)), millis(leaves), "{came}");
        }
        let half = Duration::from_micros(500);
        assert_eq!(left(start + half, start), half, "never longer");
        for (left, written) in [
            (Duration::from_micros(99_999_999), (99_999_999, 'u')),
            (Duration::from_secs(100), (100_000, 'm')),
            (Duration::from_secs(100_000), (100_000, 'S')),
            (Duration::from_secs(100_000_000), (1_666_666, 'M')),
            (Duration::MAX, (GRPC_MAX, 'M')),
            (Duration::from_nanos(900), (0, 'u')),
        ] {
            assert_eq!(grpc(left), written);
            let text = format!("{}{}", written.0, written.1);
            assert!(timeout(text.as_bytes()).is_some_and(|read| read <= left), "{text}");
        }
    }

    #[test]
    fn the_earlier_line_counts_and_both_are_written_anew() {
        let start = Instant::now();
        let at = |n| Some(start + Duration::from_millis(n));
        assert_eq!(of(start, Some(b"250"), None), at(250));
        assert_eq!(of(start, Some(b"250"), Some(b"100m")), at(100));
        assert_eq!(of(start, Some(b"50"), Some(b"100m")), at(50));
        assert_eq!(of(start, Some(b"soon"), Some(b"100m")), at(100));
        assert_eq!(of(start, Some(b"soon"), Some(b"soon")), None);

        let mut ex = exchange("POST", "/", &[("fourmi-deadline", "3600000"), ("grpc-timeout", "1H")]);
        (ex.protocol, ex.deadline) = (Protocol::Grpc, of(start, Some(b"1h"), None));
        give(&mut ex);
        let headers = &ex.request.headers;
        let ours: u64 = headers.get("fourmi-deadline").unwrap().parse().unwrap();
        assert!((1..=3_599_995).contains(&ours), "{ours}");
        let theirs = timeout(headers.get_bytes("grpc-timeout").unwrap()).unwrap();
        assert!(theirs.as_millis() == u128::from(ours), "{theirs:?}");

        // Not gRPC: its timeout is nobody's.
        let mut ex = exchange("POST", "/", &[("grpc-timeout", "1H")]);
        give(&mut ex);
        assert_eq!((ex.request.headers.get("grpc-timeout"), ex.request.headers.len()), (Some("1H"), 1));
    }
}

//! Times as Go writes them: `1m30s`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    // The longer name first, because one is the beginning of another.
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Nanoseconds of a text, which may be negative. None when it is no time.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        sum += number.parse::<f64>().ok()? * factor;
        rest = after.strip_prefix(unit)?;
    }
    whole(sign * sum)
}

/// A number of nanoseconds as a whole one, unless it is too great.
#[expect(clippy::cast_possible_truncation, reason = "it is within the limit")]
pub(super) fn whole(nanoseconds: f64) -> Option<i64> {
    const MOST: f64 = 9.2e18;
    (nanoseconds.abs() <= MOST).then_some(nanoseconds as i64)
}

/// A time that is not negative.
pub(super) fn positive(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// As Go writes it.
pub(super) fn shown(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let (whole, part) = (nanoseconds / unit, nanoseconds % unit);
        let digits = unit.ilog10() as usize;
        let part = format!("{part:0digits$}");
        let part = part.trim_end_matches('0');
        if part.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{part}{name}") }
    };
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        _ => {
            let minutes = time.as_secs() / 60;
            let seconds = shown_seconds(time - Duration::from_secs(minutes * 60));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

fn shown_seconds(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        part => format!("{}.{}s", time.as_secs(), format!("{part:09}").trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let second = 1_000_000_000;
        let rows = [
            ("10s", Some(10 * second)),
            ("1m30s", Some(90 * second)),
            ("500ms", Some(second / 2)),
            ("1.5h", Some(5400 * second)),
            ("-5s", Some(-5 * second)),
            ("3us2ns", Some(3002)),
            ("0", Some(0)),
            ("", None),
            ("-", None),
            ("x2h", None),
            ("2", None),
            ("2x", None),
            ("1..5s", None),
            ("60foo", None),
            ("99999999999h", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        let rows =
            [(0, "0s"), (15_000, "15s"), (90_000, "1m30s"), (7_200_000, "2h0m0s"), (500, "500ms"), (1500, "1.5s")];
        for (milliseconds, expected) in rows {
            assert_eq!(shown(Duration::from_millis(milliseconds)), expected);
        }
        assert_eq!(shown(Duration::from_nanos(1_500)), "1.5µs");
    }
}

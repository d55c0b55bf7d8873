//! Lines, and the packets that carry them.

use std::fmt::Write;

/// Lines packed into datagrams; none is ever split.
pub(crate) struct Packets {
    max: usize,
    full: Vec<Packet>,
    open: Packet,
    oversize: u64,
}

/// One datagram.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Lines, with a line feed between them.
    pub(crate) bytes: Vec<u8>,
    /// How many.
    pub(crate) lines: u64,
}

impl Packets {
    /// Packets of at most `max` bytes.
    pub(crate) fn new(max: usize) -> Packets {
        Packets { max, full: Vec::new(), open: Packet::default(), oversize: 0 }
    }

    /// Bytes of the longest line.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Adds a line, or counts it when no packet can hold it.
    pub(crate) fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if line.len() > self.max {
            self.oversize += 1;
            return;
        }
        if self.open.lines > 0 && self.open.bytes.len() + 1 + line.len() > self.max {
            self.full.push(std::mem::take(&mut self.open));
        }
        if self.open.lines > 0 {
            self.open.bytes.push(b'\n');
        }
        self.open.bytes.extend_from_slice(line);
        self.open.lines += 1;
    }

    /// Adds lines that must arrive together and in this order.
    pub(crate) fn together(&mut self, lines: &[u8]) {
        let more = memchr::memchr_iter(b'\n', lines).count() as u64;
        let oversize = self.oversize;
        self.line(lines);
        if self.oversize > oversize {
            self.oversize += more;
        } else {
            self.open.lines += more;
        }
    }

    /// Every packet, and how many lines were too long for one.
    pub(crate) fn take(&mut self) -> (Vec<Packet>, u64) {
        if self.open.lines > 0 {
            self.full.push(std::mem::take(&mut self.open));
        }
        (std::mem::take(&mut self.full), std::mem::take(&mut self.oversize))
    }
}

/// `name:value|ms|@rate|#tags`. Nothing for what is no duration.
pub(crate) fn timer(name: &str, millis: f32, weight: u64, tags: &[(String, String)]) -> Option<String> {
    if !millis.is_finite() || millis < 0.0 || weight == 0 {
        return None;
    }
    let mut line = String::with_capacity(name.len() + 32);
    // Display of a float never uses an exponent. Writing to a String cannot fail.
    let _ = write!(line, "{name}:{millis}|ms");
    if weight > 1 {
        let _ = write!(line, "|@{}", rate(weight));
    }
    append_tags(&mut line, tags);
    Some(line)
}

/// `name:value|g|#tags`. A value below zero would be read as a change, so zero goes first, in the same packet.
/// Nothing for what is no number.
pub(crate) fn gauge(name: &str, value: f64, tags: &[(String, String)]) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let mut line = String::new();
    // A zero may have a sign too; the sum with zero has none.
    for value in [0.0, value + 0.0].into_iter().skip(usize::from(value >= 0.0)) {
        let _ = write!(line, "{}{name}:{value}|g", if line.is_empty() { "" } else { "\n" });
        append_tags(&mut line, tags);
    }
    Some(line)
}

fn append_tags(line: &mut String, tags: &[(String, String)]) {
    for (i, (key, value)) in tags.iter().enumerate() {
        let _ = write!(line, "{}{key}:{value}", if i == 0 { "|#" } else { "," });
    }
}

/// The sampling rate that a receiver turns back into `weight`, also when it cuts 1/rate to a whole number.
pub(crate) fn rate(weight: u64) -> f64 {
    let rate = 1.0 / weight as f64;
    if 1.0 / rate < weight as f64 { rate.next_down() } else { rate }
}

/// How often each of `samples` values stands for one of `count`: the sum is exactly `count`.
pub(crate) fn weights(count: u64, samples: usize) -> impl Iterator<Item = u64> {
    let samples = (samples as u64).min(count);
    let (each, more) = (count.checked_div(samples).unwrap_or(0), count.checked_rem(samples).unwrap_or(0));
    (0..samples).map(move |i| each + u64::from(i < more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_44_45_packets_hold_whole_lines() {
        let mut packets = Packets::new(1432);
        for _ in 0..200 {
            packets.line(&[b'x'; 40]);
        }
        packets.line(&[b'y'; 1500]);
        let (full, oversize) = packets.take();
        assert_eq!((full.len(), oversize), (6, 1));
        assert!(full.iter().all(|p| p.bytes.len() <= 1432 && p.bytes.split(|b| *b == b'\n').all(|l| l.len() == 40)));
        assert_eq!(full.iter().map(|p| p.lines).collect::<Vec<_>>(), [34, 34, 34, 34, 34, 30]);
    }

    #[test]
    fn row_40_a_negative_gauge_is_set_not_moved() {
        let mut packets = Packets::new(20);
        packets.line(b"1234567890");
        packets.together(gauge("g", -5.0, &[]).unwrap().as_bytes());
        packets.together(&[b'z'; 30]);
        let (full, oversize) = packets.take();
        assert_eq!(full.iter().map(|p| p.lines).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((&full[1].bytes[..], oversize), (&b"g:0|g\ng:-5|g"[..], 1));
        assert_eq!(gauge("g", 5.0, &[]).as_deref(), Some("g:5|g"));
        assert_eq!(gauge("g", -0.0, &[]).as_deref(), Some("g:0|g"));
    }

    #[test]
    fn row_41_what_is_no_number_is_no_line() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!((gauge("g", bad, &[]), timer("t", bad as f32, 1, &[])), (None, None));
        }
    }

    #[test]
    fn row_42_timers_keep_decimals() {
        let line = |ms, weight| timer("t", ms, weight, &[]);
        assert_eq!(line(0.4, 1).as_deref(), Some("t:0.4|ms"));
        assert_eq!(line(0.0001, 1).as_deref(), Some("t:0.0001|ms"));
        assert_eq!(line(12.0, 10).as_deref(), Some("t:12|ms|@0.1"));
        assert_eq!(line(-1.0, 1), None);
        let tags = [("env".to_owned(), "prod".to_owned()), ("route".to_owned(), "r".to_owned())];
        assert_eq!(timer("t", 1.5, 2, &tags).as_deref(), Some("t:1.5|ms|@0.5|#env:prod,route:r"));
        assert_eq!(gauge("g", 5.5, &tags[..1]).as_deref(), Some("g:5.5|g|#env:prod"));
    }

    #[test]
    fn rates_and_weights_give_the_true_count() {
        for (count, samples) in [(0, 0), (3, 64), (100, 64), (64, 64), (1_000_003, 64), (7, 1)] {
            assert_eq!(weights(count, samples).sum::<u64>(), if samples == 0 { 0 } else { count });
        }
        for weight in 1..2000u64 {
            let shown: f64 = rate(weight).to_string().parse().unwrap();
            assert_eq!((1.0 / shown) as u64, weight);
        }
    }
}

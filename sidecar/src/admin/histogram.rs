//! Quantiles out of classic histogram buckets, as Prometheus' `histogram_quantile` estimates them.

/// Sums of one histogram over some of its series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// Upper bound (`le`) and cumulative count, sorted by bound.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Adds the cumulative count of one series' bucket.
    pub(super) fn add(&mut self, bound: f64, count: f64) {
        match self.buckets.iter_mut().find(|(b, _)| *b == bound) {
            Some((_, sum)) => *sum += count,
            None => {
                let at = self.buckets.partition_point(|(b, _)| *b < bound);
                self.buckets.insert(at, (bound, count));
            }
        }
    }

    /// Adds another one with the same bounds.
    pub(super) fn merge(&mut self, other: &Histogram) {
        other.buckets.iter().for_each(|(bound, count)| self.add(*bound, *count));
    }

    /// What has come since an earlier state of the same histogram.
    pub(super) fn since(&self, earlier: &Histogram) -> Histogram {
        let before = |bound: f64| earlier.buckets.iter().find(|(b, _)| *b == bound).map_or(0.0, |(_, n)| *n);
        Histogram { buckets: self.buckets.iter().map(|(bound, n)| (*bound, (n - before(*bound)).max(0.0))).collect() }
    }

    /// The value below which a share `q` of all lies; straight lines between the bounds. None when empty.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.buckets.last()?.1;
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank {
                if bound.is_infinite() || count <= below {
                    return Some(low);
                }
                return Some(low + (bound - low) * (rank - below) / (count - below));
            }
            (low, below) = (bound, count);
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_bounds() {
        let mut h = Histogram::default();
        assert_eq!(h.quantile(0.95), None);
        for (bound, count) in [(f64::INFINITY, 100.0), (0.1, 90.0), (0.2, 100.0)] {
            h.add(bound, count);
        }
        assert_eq!(h.quantile(0.45), Some(0.05));
        assert!((h.quantile(0.95).unwrap() - 0.15).abs() < 1e-9);
        h.add(f64::INFINITY, 100.0);
        assert_eq!(h.quantile(0.99), Some(0.2), "beyond the last bound its own value is all that is known");
    }
}

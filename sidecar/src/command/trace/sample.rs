//! Which traces are recorded. Only the first hop decides; the others keep what they are told.

/// The share of the traces that begin here and are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// From 0.0 (none) to 1.0 (all); what is outside counts as the nearer end.
    pub ratio: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { ratio: 1.0 }
    }
}

impl Sampling {
    /// The same, ready to be asked for every command.
    pub fn sampler(self) -> Sampler {
        // Not a number counts as none.
        Sampler((self.ratio.max(0.0) * TWO_TO_63) as u64)
    }
}

const TWO_TO_63: f64 = (1_u64 << 63) as f64;

/// Decides by the trace id alone, as OpenTelemetry's `TraceIdRatioBased` does, so that two hops that are asked for the
/// same trace with the same ratio agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler(u64);

impl Sampler {
    /// Takes every trace.
    pub const ALL: Sampler = Sampler(1 << 63);

    /// Whether a trace is recorded: whether the lower half of its id, without its last bit, is a number under
    /// the threshold.
    pub fn takes(self, trace_id: u128) -> bool {
        (trace_id as u64) >> 1 < self.0
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::ALL
    }
}

//! The algorithms by their names, which are Kong's.

use std::fmt;
use std::str::FromStr;

/// How one of several usable instances is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// In turn, each as often as its weight says.
    RoundRobin,
    /// The fewest commands in flight for its weight.
    LeastConnections,
    /// The better of two drawn ones, by latency, commands in flight and weight.
    #[default]
    Latency,
    /// Always the same one for the same key.
    ConsistentHashing,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 4] =
        [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Latency, Algorithm::ConsistentHashing];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::RoundRobin => "round-robin",
            Algorithm::LeastConnections => "least-connections",
            Algorithm::Latency => "latency",
            Algorithm::ConsistentHashing => "consistent-hashing",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Algorithm::ALL
            .into_iter()
            .find(|a| a.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no algorithm of balancing"))
    }
}

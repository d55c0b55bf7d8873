//! How much one network may be sent by UDP, where anybody may write another's address on a question.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Networks share so many buckets; two in one bucket share its budget.
const BUCKETS: usize = 4096;
/// The budget of that many seconds may be spent at once.
const BURST: f64 = 4.0;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Budgets of bytes by network. What a network gets beyond what it asked with counts; nothing else makes our answers
/// worth asking for in another's name.
#[derive(Debug)]
pub(super) struct Quota {
    buckets: Mutex<Box<[Option<Bucket>]>>,
    hasher: foldhash::fast::RandomState,
}

impl Quota {
    pub(super) fn new() -> Self {
        Quota { buckets: Mutex::new(vec![None; BUCKETS].into()), hasher: foldhash::fast::RandomState::default() }
    }

    /// Whether so many bytes more than it asked with may go to an address.
    pub(super) fn allows(&self, ip: IpAddr, excess: usize, a_second: u32, now: Instant) -> bool {
        let ip = ip.to_canonical();
        if ip.is_loopback() || excess == 0 {
            return true;
        }
        use std::hash::BuildHasher;
        let index = usize::try_from(self.hasher.hash_one(network(ip))).unwrap_or(0) % BUCKETS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = buckets.get_mut(index) else { return true };
        let rate = f64::from(a_second);
        let most = rate * BURST;
        let bucket = slot.get_or_insert(Bucket { left: most, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * rate;
        *bucket = Bucket { left: (bucket.left + earned).min(most), at: now };
        // Sizes of datagrams are exact as floating point.
        let cost = excess as f64;
        let enough = bucket.left >= cost;
        if enough {
            bucket.left -= cost;
        }
        enough
    }
}

/// The network of an address: what one owner of addresses usually has.
fn network(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => u128::from(v6) >> 72 << 72,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_network_gets_its_budget_and_no_more() {
        let quota = Quota::new();
        let start = Instant::now();
        let [one, neighbour, other]: [IpAddr; 3] =
            ["198.51.100.7", "198.51.100.200", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let sent = |ip, now| (0..100).filter(|_| quota.allows(ip, 100, 1000, now)).count();
        assert_eq!(sent(one, start), 40, "a burst");
        assert_eq!(sent(neighbour, start), 0, "one network, one budget");
        assert_eq!(sent(other, start), 40);
        assert_eq!(sent(neighbour, start + Duration::from_secs(1)), 10, "then the rate");
        assert!(quota.allows(one, 0, 1000, start), "what is no longer than the question is free");
        assert_eq!(sent("127.0.0.1".parse().unwrap(), start), 100);
    }
}

//! Gives memory that nothing uses back to the system.
//!
//! glibc keeps the pages of a burst for ever when something small still stands behind them, as it always does.

/// Asks the C library to give back every free page (`malloc_trim(3)`); returns whether there was any. Takes the locks
/// of its arenas one after another, for milliseconds at most: to be called when things have calmed down. Elsewhere than
/// on glibc it does nothing.
pub fn give_back() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the function takes a number, returns a number, locks what it touches and may be called from any
        // thread at any time (malloc_trim(3): MT-Safe).
        unsafe { libc::malloc_trim(0) == 1 }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_burst_is_given_back() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut burst: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 2048]).collect();
        // What stands at the end keeps the C library from shrinking by itself.
        let last = burst.pop();
        let full = resident();
        drop(burst);
        super::give_back();
        let after = resident();
        assert!(full > before + (30 << 20) && after < before + (10 << 20), "{before} {full} {after}");
        drop(last);
    }
}

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

/// Takes the pages of this program's own code and constants out of its memory that only the start needed; what is used
/// again comes back from the file's cache, a page fault each. Returns the bytes of the parts that were looked at.
///
/// Most of a program's code runs once: reading the configuration, building what runs from it. Nothing is lost, since
/// only parts are touched that may not be written to and of which no page was changed (relocations are).
pub fn forget_start() -> usize {
    #[cfg(target_os = "linux")]
    {
        let (Ok(own), Ok(maps)) = (std::fs::read_link("/proc/self/exe"), std::fs::read_to_string("/proc/self/smaps"))
        else {
            return 0;
        };
        let mut bytes = 0;
        for (start, len) in unchanged(&maps, &own.to_string_lossy()) {
            // SAFETY: the kernel says that these addresses are a mapping of our file that nobody may write to and of
            // which no page differs from the file, so dropping its pages changes nothing that can be read: the next
            // access finds the same bytes (madvise(2), MADV_DONTNEED on a private file mapping).
            let done = unsafe { libc::madvise(start as *mut libc::c_void, len, libc::MADV_DONTNEED) };
            if done == 0 {
                bytes += len;
            }
        }
        bytes
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// The parts of a file's mappings, as `/proc/PID/smaps` tells of them, that are exactly as in the file.
#[cfg(target_os = "linux")]
fn unchanged(smaps: &str, file: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let range = usize::from_str_radix(start, 16).ok().zip(usize::from_str_radix(end, 16).ok());
            let readable = matches!(words.next(), Some("r-xp" | "r--p"));
            // Offset, device, inode; the rest is the path, which may hold blanks.
            let path = line.splitn(6, ' ').nth(5).unwrap_or_default().trim_start();
            current = range.filter(|(start, end)| readable && path == file && start < end);
        } else if first == "Anonymous:"
            && let Some((start, end)) = current.take()
            && words.next() == Some("0")
        {
            found.push((start, end - start));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_is_dropped() {
        let smaps = "\
5500-5600 r--p 00000000 fe:00 12                   /opt/a program
Rss:   4 kB
Anonymous:             0 kB
5600-5800 r-xp 00001000 fe:00 12                   /opt/a program
Anonymous:             0 kB
5800-5900 r--p 00003000 fe:00 12                   /opt/a program
Anonymous:             4 kB
5900-5a00 rw-p 00004000 fe:00 12                   /opt/a program
Anonymous:             0 kB
5a00-5b00 r-xp 00000000 fe:00 13                   /lib/libc.so
Anonymous:             0 kB
5b00-5c00 r-xp 00000000 00:00 0
Anonymous:             0 kB
";
        assert_eq!(unchanged(smaps, "/opt/a program"), [(0x5500, 0x100), (0x5600, 0x200)]);
    }

    #[test]
    fn the_program_goes_on_after_its_start_is_forgotten() {
        assert!(forget_start() > 0);
        let text: String = std::iter::repeat_n("still here ", 3).collect();
        assert_eq!(text.trim_end().split(' ').count(), 6);
    }

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
        give_back();
        let after = resident();
        assert!(full > before + (30 << 20) && after < before + (10 << 20), "{before} {full} {after}");
        drop(last);
    }
}

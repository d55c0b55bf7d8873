//! A token in a file of its own, that of the admin listener: read anew each time, so that it can be changed without a
//! restart.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Bytes of a token, and the fewest: less can be guessed.
const LENGTH_MAX: usize = 1024;
const LENGTH_MIN: usize = 16;
/// Bytes of its file that are read.
const FILE_MAX: u64 = 2 * LENGTH_MAX as u64;

/// What to do about a file without a token.
pub(crate) const FIX: &str = "write a token of 16 to 1024 visible ASCII characters into it, such as `openssl rand -hex 32` makes, and let Fourmi read it";

/// The token of a file.
///
/// # Errors
/// When the file cannot be read or holds no token.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    // A pipe would be waited for, and a device never ends.
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(file)?;
    if !open.metadata()?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut text = String::new();
    open.take(FILE_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    let fits = (LENGTH_MIN..=LENGTH_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(token.to_owned()) } else { Err(io::Error::other("holds no token")) }
}

/// Whether two texts are the same, in a time that does not tell how far they are.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// What a browser keeps in place of a token: from it the token cannot be had back.
pub(crate) fn mark(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let with = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&file)
        };
        assert_eq!(with(" 0123456789abcdef\n").unwrap(), "0123456789abcdef");
        for wrong in ["", "short", "two words of enough", &"x".repeat(5000), "0123456789abcdé0"] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
        assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
        assert_eq!(mark("a").len(), 64);
    }
}

//! A token, in the configuration or in a file of its own.

use crate::section::Wrong;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a token.
const LENGTH_MAX: usize = 4096;
/// Bytes of its file that are read: more than a token and the white space around it.
const FILE_MAX: u64 = 4 * LENGTH_MAX as u64;

/// The token. It has no `Debug`: nothing prints it.
pub(crate) struct Secret {
    value: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// From exactly one of the two keys.
    ///
    /// # Errors
    /// When there is none or two, or what is there is no token.
    pub(crate) fn of(
        (key, value): (&'static str, Option<String>),
        (file_key, file): (&'static str, Option<PathBuf>),
    ) -> Result<Secret, Wrong> {
        match (value, file) {
            (Some(_), Some(_)) => Err(Wrong::new(
                format!("`{key}` and `{file_key}` are both there"),
                format!("keep one; `{file_key}` keeps the secret out of the configuration"),
            )
            .of(file_key)),
            (None, None) => Err(Wrong::new(format!("there is no `{key}`"), format!("write `{key}` or `{file_key}`"))),
            (Some(value), None) => Ok(Secret { value: checked(&value).map_err(|w| w.of(key))?, file: None }),
            (None, Some(file)) => {
                let value = read(&file).map_err(|w| w.of(file_key))?;
                Ok(Secret { value, file: Some(file) })
            }
        }
    }

    /// The token itself.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Reads the file again; whether there is another token in it now.
    pub(crate) async fn renew(&mut self) -> bool {
        let Some(file) = self.file.clone() else { return false };
        match tokio::task::spawn_blocking(move || read(&file)).await {
            Ok(Ok(value)) if value != self.value => {
                self.value = value;
                true
            }
            _ => false,
        }
    }
}

fn read(file: &Path) -> Result<String, Wrong> {
    let wrong = |e: io::Error| {
        Wrong::new(
            format!("{}: {e}", file.display()),
            "name a file that Fourmi may read and that holds the token alone",
        )
    };
    // A pipe would be waited for, and a device never ends.
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(file).map_err(wrong)?;
    if !open.metadata().map_err(wrong)?.is_file() {
        return Err(wrong(io::Error::other("is no file")));
    }
    let mut text = String::new();
    open.take(FILE_MAX).read_to_string(&mut text).map_err(wrong)?;
    checked(&text)
}

fn checked(text: &str) -> Result<String, Wrong> {
    let text = text.trim();
    let fix = "write the token alone: visible ASCII without spaces";
    match text {
        "" => Err(Wrong::new("the token is empty", fix)),
        t if t.len() > LENGTH_MAX => Err(Wrong::new(format!("the token is longer than {LENGTH_MAX} bytes"), fix)),
        t if !t.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(Wrong::new("the token has characters that no token has", fix))
        }
        t => Ok(t.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_comes_from_one_place_and_a_file_is_read_again() {
        let of = |value: Option<&str>, file: Option<&Path>| {
            Secret::of(("token", value.map(str::to_owned)), ("token_file", file.map(Path::to_owned)))
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let missing = of(None, Some(&file)).err().unwrap();
        assert!(missing.message.contains("token") && missing.key == Some("token_file"), "{missing:?}");
        std::fs::write(&file, " first\n").unwrap();
        let mut secret = of(None, Some(&file)).unwrap();
        assert_eq!(secret.value(), "first");
        assert!(!secret.renew().await);
        std::fs::write(&file, "second").unwrap();
        assert!(secret.renew().await);
        assert_eq!(secret.value(), "second");
        std::fs::write(&file, "no token").unwrap();
        assert!(!secret.renew().await, "what is no token does not replace one");
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for no_file in [&pipe, Path::new("/dev/zero"), folder.path()] {
            assert!(of(None, Some(no_file)).err().unwrap().message.contains("is no file"), "nobody waits for it");
        }
        assert_eq!(of(None, None).err().unwrap().key, None);
        assert_eq!(of(Some("a"), Some(&file)).err().unwrap().key, Some("token_file"));
        for wrong in ["", "  ", "a b", "a\u{e9}", &"x".repeat(5000)] {
            assert_eq!(of(Some(wrong), None).err().unwrap().key, Some("token"), "{wrong}");
        }
    }
}

//! Where a text in PEM stands.

use super::kept::Trouble;
use std::borrow::Cow;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one file.
const FILE_MAX: u64 = 16 << 20;

/// Certificates or a key in PEM. What is shown of one is its name alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Pem {
    /// In a file, which is looked at again and again.
    File(PathBuf),
    /// In the configuration itself, as it is until that is read again.
    Text {
        /// What it is called in messages and metrics.
        name: Arc<str>,
        /// The text.
        text: Arc<str>,
    },
}

impl Pem {
    /// A text of the configuration.
    pub fn text(name: impl Into<Arc<str>>, text: &str) -> Pem {
        Pem::Text { name: name.into(), text: text.into() }
    }

    /// The file, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Pem::File(path) => Some(path),
            Pem::Text { .. } => None,
        }
    }

    /// What it says. `key` is the key of the section that names it.
    pub(super) fn read(&self, key: &'static str) -> Result<Cow<'_, [u8]>, Trouble> {
        match self {
            Pem::File(path) => file(path, key).map(Cow::Owned),
            Pem::Text { text, .. } => Ok(Cow::Borrowed(text.as_bytes())),
        }
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Pem {
        Pem::File(path)
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::File(path) => path.display().fmt(f),
            Pem::Text { name, .. } => f.write_str(name),
        }
    }
}

/// A key is a secret.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pem").field(&format_args!("{self}")).finish()
    }
}

fn file(path: &Path, key: &'static str) -> Result<Vec<u8>, Trouble> {
    let trouble = |e: std::io::Error| {
        let words = format!("{} cannot be read ({e})", path.display());
        Trouble::new(key, words, format!("correct `{key}` or the file"))
    };
    let bad = |what: String| Trouble::new(key, format!("{} {what}", path.display()), "name a PEM file");
    // A pipe would be waited for, and a device never ends.
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(trouble)?;
    let about = file.metadata().map_err(trouble)?;
    if !about.is_file() {
        let what = if about.is_dir() { "is a folder" } else { "is no file" };
        return Err(bad(what.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(trouble)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(bad(format!("is larger than {} MiB", FILE_MAX >> 20)));
    }
    Ok(bytes)
}

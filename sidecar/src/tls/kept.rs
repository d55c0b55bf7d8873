//! What was made of files: read by every handshake, made again when the files change.

use super::names::Expiry;
use crate::section::Wrong;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The key of the section that names the file.
    pub(crate) key: &'static str,
    /// What is wrong with which file.
    words: String,
    /// What to do about it.
    fix: String,
}

impl Trouble {
    pub(super) fn new(key: &'static str, words: impl Into<String>, fix: impl Into<String>) -> Trouble {
        Trouble { key, words: words.into(), fix: fix.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.words, self.fix)
    }
}

impl From<Trouble> for Wrong {
    fn from(t: Trouble) -> Wrong {
        let wrong = Wrong::new(t.words, t.fix);
        if t.key.is_empty() { wrong } else { wrong.of(t.key) }
    }
}

/// When each file last changed in any way, its length and its inode; none where there is no file.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

fn stamp(paths: &[&Path]) -> Stamp {
    let of = |path: &&Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ctime(), meta.ctime_nsec(), meta.len(), meta.ino()))
    };
    paths.iter().map(of).collect()
}

/// Settings that name files, and what is made of them.
pub(super) trait Settings {
    /// What a handshake needs.
    type Made;

    /// The files.
    fn paths(&self) -> Vec<&Path>;

    /// Reads the files.
    fn make(&self) -> Result<(Self::Made, Vec<Expiry>), Trouble>;
}

/// What a look at the files found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// They were read again.
    Renewed,
    /// They are not usable; what was made of the old ones stays. Said once for each state of the files, and only when
    /// they stay so: a pair is not replaced in one moment.
    Unusable(Trouble),
}

/// What was made of the files of some settings.
pub(super) struct Kept<S: Settings>(Mutex<Now<S>>);

struct Now<S: Settings> {
    settings: Arc<S>,
    made: Result<Arc<S::Made>, Trouble>,
    stamp: Stamp,
    expiries: Vec<Expiry>,
    /// The state of the files that could not be used, why, and whether that was said.
    bad: Option<(Stamp, Trouble, bool)>,
}

impl<S: Settings> Kept<S> {
    /// Reads the files now. What is wrong with them stays wrong until they change.
    pub(super) fn new(settings: S) -> Kept<S> {
        let stamp = stamp(&settings.paths());
        let (made, expiries) = match settings.make() {
            Ok((made, expiries)) => (Ok(Arc::new(made)), expiries),
            Err(trouble) => (Err(trouble), Vec::new()),
        };
        Kept(Mutex::new(Now { settings: Arc::new(settings), made, stamp, expiries, bad: None }))
    }

    fn now(&self) -> MutexGuard<'_, Now<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a handshake needs.
    pub(super) fn made(&self) -> Result<Arc<S::Made>, Trouble> {
        self.now().made.clone()
    }

    /// The settings of now.
    pub(super) fn settings(&self) -> Arc<S> {
        self.now().settings.clone()
    }

    /// Why files that changed could not be taken over.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.now().bad.as_ref().map(|(_, trouble, _)| trouble.clone())
    }

    /// When which of the files expires.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        self.now().expiries.clone()
    }

    /// Looks at the files and reads them again if they have changed; blocks as long as the file system does.
    pub(super) fn look(&self) -> Look {
        let settings = self.settings();
        let seen = stamp(&settings.paths());
        {
            let mut now = self.now();
            if now.stamp == seen {
                now.bad = None;
                return Look::Same;
            }
            if let Some((stamp, trouble, said)) = &mut now.bad
                && *stamp == seen
            {
                return match std::mem::replace(said, true) {
                    true => Look::Same,
                    false => Look::Unusable(trouble.clone()),
                };
            }
        }
        let made = settings.make();
        let mut now = self.now();
        if !Arc::ptr_eq(&now.settings, &settings) {
            // Others took their place meanwhile.
            return Look::Same;
        }
        match made {
            Ok((made, expiries)) => {
                (now.made, now.expiries, now.stamp, now.bad) = (Ok(Arc::new(made)), expiries, seen, None);
                Look::Renewed
            }
            Err(trouble) => {
                now.bad = Some((seen, trouble, false));
                Look::Same
            }
        }
    }

    /// Goes on with another's settings and files.
    pub(super) fn become_like(&self, other: Kept<S>) {
        *self.now() = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
}

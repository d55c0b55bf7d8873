//! How much room there is: in the file, and on the disk that it is on.

use super::super::Settings;
use super::super::store::room;
use rusqlite::Connection;
use std::path::PathBuf;

/// The part of the file's room that is kept for what must be written of commands that are in it.
const RESERVE: u64 = 20;

pub(super) struct Disk {
    folder: PathBuf,
    max_bytes: u64,
    min_free: u64,
    used: u64,
    free: Option<u64>,
}

impl Disk {
    pub(super) fn new(settings: &Settings) -> Disk {
        Disk {
            folder: settings.path.clone(),
            max_bytes: settings.max_bytes,
            min_free: settings.min_free,
            used: 0,
            free: None,
        }
    }

    /// Looks again.
    pub(super) fn look(&mut self, db: &Connection) {
        let number = |pragma: &str| {
            let n = db.query_row(pragma, [], |r| r.get::<_, i64>(0)).unwrap_or(0);
            u64::try_from(n).unwrap_or(0)
        };
        let pages = number("PRAGMA page_count").saturating_sub(number("PRAGMA freelist_count"));
        self.used = pages * number("PRAGMA page_size");
        self.free = room(&self.folder).ok();
    }

    /// Something was added since it was looked at.
    pub(super) fn grew(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.used = self.used.saturating_add(bytes);
        self.free = self.free.map(|free| free.saturating_sub(bytes));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.used
    }

    /// Whether old things should go.
    pub(super) fn is_crowded(&self) -> bool {
        self.used > self.max_bytes / 100 * 90
    }

    /// Why no more of that size is taken.
    pub(super) fn refuses(&self, bytes: usize) -> Option<String> {
        let bytes = bytes as u64;
        if self.used.saturating_add(bytes) > self.max_bytes - self.max_bytes / RESERVE {
            return Some(format!("the spool has {} of {} bytes (spool.max_bytes)", self.used, self.max_bytes));
        }
        match self.free {
            Some(free) if free < self.min_free.saturating_add(bytes) => {
                Some(format!("the disk has {free} bytes left, {} are kept free (spool.min_free)", self.min_free))
            }
            _ => None,
        }
    }
}

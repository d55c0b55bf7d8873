//! The file: SQLite, which an operator can open at night, even while it is being written.

pub(super) mod query;
pub(super) mod rows;

use super::seal::{KNOWN, Seal};
use super::{Settings, State};
use nix::fcntl::{Flock, FlockArg};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The form of the tables. An earlier one is brought up to it, a later one is refused.
const FORM: i64 = 2;
/// How long we wait for a reader of ours or of an operator's to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each form, and what makes it out of the one before.
const STEPS: [(i64, &str); 2] = [(1, FIRST), (2, TURNS)];

/// All there is.
const FIRST: &str = "
CREATE TABLE commands (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    token TEXT NOT NULL,
    target TEXT NOT NULL,
    direction TEXT NOT NULL,
    service TEXT NOT NULL,
    route TEXT NOT NULL,
    name TEXT NOT NULL,
    key TEXT,
    consumer TEXT,
    tags TEXT NOT NULL,
    came TEXT NOT NULL,
    once INTEGER NOT NULL,
    at_most_once INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    wants_at INTEGER NOT NULL,
    due_at INTEGER,
    expires_at INTEGER,
    finished_at INTEGER,
    status INTEGER NOT NULL,
    error TEXT,
    media TEXT,
    answer BLOB,
    cut INTEGER NOT NULL DEFAULT 0,
    sealed INTEGER NOT NULL,
    history TEXT NOT NULL
);
CREATE TABLE requests (seq INTEGER PRIMARY KEY, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX commands_id ON commands (id, scope);
CREATE INDEX commands_state ON commands (state, seq);
CREATE INDEX commands_due ON commands (target, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX commands_key ON commands (target, key, seq) WHERE key IS NOT NULL AND open;
CREATE INDEX commands_expires ON commands (expires_at) WHERE expires_at IS NOT NULL AND open;
CREATE INDEX commands_finished ON commands (state, finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE counts (target TEXT, state TEXT, n INTEGER NOT NULL, PRIMARY KEY (target, state)) WITHOUT ROWID;
CREATE TABLE paused (target TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE VIEW spool AS
    SELECT seq, id, name, state, attempt, direction, service, route, key, consumer, tags,
           datetime(created_at / 1000, 'unixepoch') AS created,
           datetime(due_at / 1000, 'unixepoch') AS due,
           datetime(finished_at / 1000, 'unixepoch') AS finished, status, error
    FROM commands;
";

/// Whose turn it is of a key, without a look at all that wait for theirs.
const TURNS: &str = "
    CREATE INDEX commands_turn ON commands (target, key)
        WHERE key IS NOT NULL AND open AND NOT once AND (state = 'running' OR due_at IS NOT NULL);
";

/// Why the spool cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// What is wrong, and what to do.
    pub message: String,
    /// Whether it is a matter of the configuration rather than of the machine.
    pub configuration: bool,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unusable {}

fn unusable(message: String) -> Unusable {
    Unusable { message, configuration: false }
}

/// The file, open for the one who writes it.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) seal: Option<Seal>,
    /// Held for as long as we live.
    pub(super) lock: Flock<File>,
    pub(super) last: i64,
    pub(super) counts: HashMap<(String, State), i64>,
    pub(super) paused: Vec<String>,
}

/// Opens the spool, or begins one.
pub(super) fn open(settings: &Settings) -> Result<Opened, Unusable> {
    let folder = &settings.path;
    std::fs::create_dir_all(folder).map_err(|e| {
        unusable(format!(
            "cannot create the spool's folder {}: {e}; create it for the user that fourmi runs as, or set spool.path",
            folder.display()
        ))
    })?;
    let seal = match &settings.key_file {
        None => None,
        Some(path) => Some(Seal::read(path).map_err(|message| Unusable { message, configuration: true })?),
    };
    let lock = lock(&folder.join("spool.lock"))?;
    let file = settings.file();
    let of_file = |e| wrong_with(&file, &e);
    // What is sent and answered is nobody else's business. The files beside it get the same mode from SQLite.
    let mine = OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
    drop(mine.map_err(|e| {
        unusable(format!(
            "cannot write the spool {}: {e}; give the user that fourmi runs as the right to, or set spool.path",
            file.display()
        ))
    })?);
    let mut db = Connection::open(&file).map_err(of_file)?;
    prepare(&mut db, &file, seal.as_ref()).map_err(|e| match e {
        Trouble::Db(e) => of_file(e),
        Trouble::Said(unusable) => unusable,
    })?;
    let last = db.query_row("SELECT coalesce(max(seq), 0) FROM commands", [], |r| r.get(0)).map_err(of_file)?;
    let counts = rows::counts(&db).map_err(of_file)?;
    let paused = rows::paused(&db).map_err(of_file)?;
    Ok(Opened { db, seal, lock, last, counts, paused })
}

/// Opens the same file for reading.
pub(super) fn reader(settings: &Settings) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(settings.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

enum Trouble {
    Db(rusqlite::Error),
    Said(Unusable),
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Self {
        Trouble::Db(e)
    }
}

fn prepare(db: &mut Connection, file: &Path, seal: Option<&Seal>) -> Result<(), Trouble> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on disk when it returns: that is what 202 promises.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", 4000)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "cache_size", -8192)?;
    let form: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if form > FORM {
        return Err(Trouble::Said(unusable(format!(
            "the spool {} was written by a later version (form {form}, this one knows {FORM}); start that version again, \
             or set spool.path to another folder",
            file.display()
        ))));
    }
    for (to, step) in STEPS.iter().filter(|(to, _)| *to > form) {
        let step_up = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step_up.execute_batch(step)?;
        step_up.pragma_update(None, "user_version", to)?;
        step_up.commit()?;
    }
    known(db, file, seal)
}

/// Whether the key is the one that the file was written with.
fn known(db: &Connection, file: &Path, seal: Option<&Seal>) -> Result<(), Trouble> {
    let sealed: Option<Vec<u8>> =
        db.query_row("SELECT value FROM meta WHERE name = 'seal'", [], |r| r.get(0)).optional()?;
    let said = |what: &str| {
        let message = format!("the spool {} {what}", file.display());
        Err(Trouble::Said(Unusable { message, configuration: true }))
    };
    match (sealed, seal) {
        (None, None) => Ok(()),
        (Some(_), None) => said("is encrypted; set spool.key_file to the file with its key"),
        (Some(sealed), Some(seal)) => match seal.open(b"seal", &sealed) {
            Some(text) if text == KNOWN => Ok(()),
            _ => said("was encrypted with another key than the one in spool.key_file; give it its own key"),
        },
        (None, Some(seal)) => {
            let sealed = seal.seal(b"seal", KNOWN).map_err(|e| Trouble::Said(unusable(e)))?;
            db.execute("INSERT INTO meta (name, value) VALUES ('seal', ?1)", [sealed])?;
            Ok(())
        }
    }
}

/// Two processes would both send what is due.
fn lock(path: &Path) -> Result<Flock<File>, Unusable> {
    let open = OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(path);
    let file = open.map_err(|e| {
        unusable(format!(
            "cannot write in the spool's folder: {}: {e}; give the user that fourmi runs as the right to, or set spool.path",
            path.display()
        ))
    })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // For whoever finds it locked; a full disk must not keep us from holding it.
            let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut pid));
            let by = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
            Err(unusable(format!(
                "another fourmi{by} has the spool in {}; each needs a folder of its own: set spool.path",
                path.parent().unwrap_or(path).display()
            )))
        }
    }
}

pub(super) fn wrong_with(file: &Path, error: &rusqlite::Error) -> Unusable {
    let fix = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "it is damaged: move it away to begin anew, and get out what can be read with `sqlite3 FILE .recover`"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "give the user that fourmi runs as the right to write there, or set spool.path"
        }
        Some(ErrorCode::DiskFull) => "the disk is full: make room, or set spool.path to another one",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "somebody else has it open for writing",
        _ => "see docs/delivery.md",
    };
    unusable(format!("the spool {} cannot be used: {error}; {fix}", file.display()))
}

/// What kind of file system a folder is on, when it will not outlive a container: its name.
pub fn kind_of_disk(folder: &Path) -> Option<&'static str> {
    use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};
    let mut folder: PathBuf = std::path::absolute(folder).ok()?;
    let kind = loop {
        match statfs(&folder) {
            Ok(found) => break found.filesystem_type(),
            Err(nix::errno::Errno::ENOENT) if folder.pop() => {}
            Err(_) => return None,
        }
    };
    match kind {
        TMPFS_MAGIC => Some("tmpfs"),
        OVERLAYFS_SUPER_MAGIC => Some("overlay"),
        _ => None,
    }
}

/// Bytes that are left on a folder's disk.
pub(super) fn room(folder: &Path) -> io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(folder).map_err(io::Error::from)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

//! The tables of the file: one for each kind of thing, keyed as the registry is, the rest as JSON.

use crate::keys::{self, Pair};
use crate::model::{Definition, Instance, Node, Probe, Record};
use crate::registry::{Catalog, Key};
use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The form of the tables. A file of a later one is refused.
const FORM: i64 = 1;
/// How long another process may have the file open while we begin: as one that ends takes over from us.
const PATIENCE: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS instances
        (node TEXT, id TEXT, service TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (node, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS checks
        (node TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (node, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS records (path TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pairs
        (key TEXT PRIMARY KEY, value BLOB NOT NULL, flags INTEGER NOT NULL, created INTEGER NOT NULL,
         modified INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS numbers (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
";

/// Under which the numbers of the last changes are kept.
const CHANGES: &str = "changes";
const KEYS: &str = "keys";

/// What a file held.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) nodes: Vec<Node>,
    pub(super) instances: Vec<Instance>,
    pub(super) checks: Vec<Definition>,
    pub(super) records: Vec<(String, Record)>,
    pub(super) pairs: Vec<Pair>,
    /// The numbers of the last changes that were written: of the registry, and of keys and values.
    pub(super) numbers: Numbers,
    /// Rows that nobody can read.
    pub(super) unreadable: usize,
}

/// The numbers of the last changes: of the registry, and of keys and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) changes: u64,
    pub(super) keys: u64,
}

/// All that is written at once.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) rows: Vec<(Key, Row)>,
    pub(super) pairs: Vec<keys::Row>,
    pub(super) numbers: Numbers,
}

pub(super) fn open(path: &Path) -> Result<Connection> {
    // Headers of checks may be secret. The files beside it get the same mode from SQLite.
    let mine = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    drop(mine.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?);
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // One process owns the file: two would not see each other's changes.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if form > FORM {
        let later = format!("it was written by a later version (form {form}, this one knows {FORM})");
        return Err(rusqlite::Error::ToSqlConversionFailure(later.into()));
    }
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", FORM)?;
    Ok(connection)
}

pub(super) fn load(connection: &Connection) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    let unreadable = &mut loaded.unreadable;
    loaded.nodes = bodies(connection, "SELECT '', body FROM nodes", unreadable)?.map(|(_, node)| node).collect();
    loaded.instances = bodies(connection, "SELECT '', body FROM instances", unreadable)?.map(|(_, i)| i).collect();
    loaded.checks = bodies(connection, "SELECT '', body FROM checks", unreadable)?.map(|(_, check)| check).collect();
    loaded.records = bodies(connection, "SELECT path, body FROM records", unreadable)?.collect();
    loaded.pairs = pairs(connection, unreadable)?;
    let number = |what: &str| {
        let row = connection.query_row("SELECT number FROM numbers WHERE what = ?1", [what], |row| row.get(0));
        row.optional().map(|number: Option<i64>| number.map_or(0, i64::cast_unsigned))
    };
    loaded.numbers = Numbers { changes: number(CHANGES)?, keys: number(KEYS)? };
    Ok(loaded)
}

fn pairs(connection: &Connection, unreadable: &mut usize) -> Result<Vec<Pair>> {
    // Somebody may have written a text there.
    let query = "SELECT key, CAST(value AS BLOB), flags, created, modified FROM pairs";
    let mut statement = connection.prepare(query)?;
    let number = |row: &rusqlite::Row<'_>, at| row.get(at).map(i64::cast_unsigned);
    let mut rows = statement.query([])?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let pair = || -> Result<Pair> {
            let value: Vec<u8> = row.get(1)?;
            let (flags, created, modified) = (number(row, 2)?, number(row, 3)?, number(row, 4)?);
            Ok(Pair { key: row.get(0)?, value: value.into(), flags, created, modified })
        };
        match pair() {
            Ok(pair) => read.push(pair),
            Err(_) => *unreadable += 1,
        }
    }
    Ok(read)
}

fn bodies<T: DeserializeOwned>(
    connection: &Connection,
    query: &str,
    unreadable: &mut usize,
) -> Result<impl Iterator<Item = (String, T)>> {
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut read = Vec::new();
    for row in rows {
        let (key, body) = row?;
        match serde_json::from_str(&body) {
            Ok(value) => read.push((key, value)),
            Err(_) => *unreadable += 1,
        }
    }
    Ok(read.into_iter())
}

/// A row as it is now; none when it is gone.
pub(super) type Row = Option<(String, String)>;

/// The row of a key: what it is filed under besides the key, and the body.
pub(super) fn row(catalog: &Catalog, key: &Key) -> Row {
    let plain = |body: serde_json::Result<String>| body.ok().map(|body| (String::new(), body));
    match key {
        Key::Node(name) => plain(serde_json::to_string(catalog.node(name)?)),
        Key::Instance(node, id) => {
            let instance = catalog.instance(node, id).filter(|instance| !instance.transient)?;
            Some((instance.service.clone(), serde_json::to_string(instance).ok()?))
        }
        Key::Check(node, id) => {
            // One that came with the restart does not outlive the next.
            let check = catalog.definition(node, id).filter(|check| check.probe != Probe::Returned)?;
            let of = check.instance.as_ref().and_then(|id| catalog.instance(node, id));
            if of.is_some_and(|instance| instance.transient) { None } else { plain(serde_json::to_string(check)) }
        }
        Key::Record(path) => plain(serde_json::to_string(catalog.record(path)?)),
    }
}

/// Writes rows in one transaction.
pub(super) fn write(connection: &mut Connection, changed: &Changed) -> Result<()> {
    let transaction = connection.transaction()?;
    for (key, row) in &changed.rows {
        match (key, row) {
            (Key::Node(name), Some((_, body))) => {
                transaction.execute("INSERT OR REPLACE INTO nodes VALUES (?1, ?2)", params![name, body])?
            }
            (Key::Node(name), None) => transaction.execute("DELETE FROM nodes WHERE name = ?1", [name])?,
            (Key::Instance(node, id), Some((service, body))) => transaction.execute(
                "INSERT OR REPLACE INTO instances VALUES (?1, ?2, ?3, ?4)",
                params![node, id, service, body],
            )?,
            (Key::Instance(node, id), None) => {
                transaction.execute("DELETE FROM instances WHERE node = ?1 AND id = ?2", [node, id])?
            }
            (Key::Check(node, id), Some((_, body))) => {
                transaction.execute("INSERT OR REPLACE INTO checks VALUES (?1, ?2, ?3)", params![node, id, body])?
            }
            (Key::Check(node, id), None) => {
                transaction.execute("DELETE FROM checks WHERE node = ?1 AND id = ?2", [node, id])?
            }
            (Key::Record(path), Some((_, body))) => {
                transaction.execute("INSERT OR REPLACE INTO records VALUES (?1, ?2)", params![path, body])?
            }
            (Key::Record(path), None) => transaction.execute("DELETE FROM records WHERE path = ?1", [path])?,
        };
    }
    for (key, pair) in &changed.pairs {
        let Some(pair) = pair else {
            transaction.execute("DELETE FROM pairs WHERE key = ?1", [key])?;
            continue;
        };
        let [flags, created, modified] = [pair.flags, pair.created, pair.modified].map(u64::cast_signed);
        transaction.execute(
            "INSERT OR REPLACE INTO pairs VALUES (?1, ?2, ?3, ?4, ?5)",
            params![key, &*pair.value, flags, created, modified],
        )?;
    }
    for (what, number) in [(CHANGES, changed.numbers.changes), (KEYS, changed.numbers.keys)] {
        transaction.execute("INSERT OR REPLACE INTO numbers VALUES (?1, ?2)", params![what, number.cast_signed()])?;
    }
    transaction.commit()
}

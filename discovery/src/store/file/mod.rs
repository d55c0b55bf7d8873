//! Keeps what was registered in a file, so that it is there after a crash.
//!
//! The file is SQLite, which an operator can open at night. What was registered is kept; how it is, is not: after a
//! restart everybody is critical until seen well again. An instance without checks of its own gets one for that time:
//! a connection must succeed, or it must register again.

mod tables;
#[cfg(test)]
mod tests;

use super::now;
use crate::model::{Check, Definition, lower};
use crate::registry::{Limits, Registry};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tables::{Changed, Loaded, Numbers};
use tokio::sync::watch;

/// Between two tries to write when the disk refuses.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the file cannot be used.
#[derive(Debug)]
pub struct Unusable {
    path: PathBuf,
    error: rusqlite::Error,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unusable { path, error } = self;
        write!(f, "the registry's file {} cannot be used: {error}", path.display())?;
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy) => write!(f, "; another process has it open"),
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                write!(f, "; move it away to begin with an empty registry")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Unusable {}

/// How far the file has come.
#[derive(Debug, Clone, Default)]
struct Written {
    numbers: Numbers,
    error: Option<String>,
}

/// A registry whose contents are kept in a file. What is not written yet when it is dropped is written then.
#[derive(Debug)]
pub(crate) struct Store {
    registry: Registry,
    written: watch::Receiver<Written>,
    stop: Option<watch::Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the file, or begins one, and reads it.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<Self, Unusable> {
        let unusable = |error| Unusable { path: path.to_owned(), error };
        let mut connection = tables::open(path).map_err(unusable)?;
        let loaded = tables::load(&connection).map_err(unusable)?;
        // The clock may have been set back since.
        let from = |written: u64| now().max(written + 1);
        let registry = Registry::counting_both(limits, from(loaded.numbers.changes), from(loaded.numbers.keys));
        fill(&registry, loaded);
        registry.keep_unsaved();
        registry.keys().keep_unsaved();
        // From before the thread begins, so that it misses none.
        let watches = (registry.watch(), registry.keys().watch());
        let numbers = numbers(&registry);
        let (told, written) = watch::channel(Written { numbers, error: None });
        let (stop, stopped) = watch::channel(());
        let writing = registry.clone();
        let writer = std::thread::Builder::new().name("registry".into()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => runtime.block_on(write_all(&mut connection, &writing, watches, &told, stopped)),
                Err(error) => tracing::error!(%error, "the registry's file is not written"),
            }
        });
        let writer = writer
            .map_err(|error| unusable(rusqlite::Error::ToSqlConversionFailure(Box::new(io::Error::other(error)))))?;
        Ok(Store { registry, written, stop: Some(stop), writer: Some(writer) })
    }

    /// The registry.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until all that was registered by now would survive a crash. The error is why it would not; it is tried
    /// again all the time.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        let target = numbers(&self.registry);
        let is_there =
            |written: &Written| written.numbers.changes >= target.changes && written.numbers.keys >= target.keys;
        let mut written = self.written.clone();
        match written.wait_for(|written| is_there(written) || written.error.is_some()).await {
            Ok(written) if is_there(&written) => Ok(()),
            Ok(written) => Err(written.error.clone().unwrap_or_default()),
            Err(_) => Err("the registry's file is not written any more".into()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the registry's file was not written to the end");
        }
    }
}

/// The numbers of the last changes.
fn numbers(registry: &Registry) -> Numbers {
    Numbers { changes: *registry.watch().borrow(), keys: registry.keys().last() }
}

/// Registers what was read. What is refused was allowed under other limits, and is left out.
fn fill(registry: &Registry, loaded: Loaded) {
    let mut refused = loaded.unreadable;
    // How they are is not kept.
    let back = |definition| Check { unseen: true, ..Check::new(definition) };
    let mut count = |result: Result<bool, crate::Refused>| refused += usize::from(result.is_err());
    for node in loaded.nodes {
        count(registry.put_node(node));
    }
    let mut own: BTreeMap<(String, String), Vec<Check>> = BTreeMap::new();
    let mut of_nodes = Vec::new();
    for check in loaded.checks {
        match &check.instance {
            Some(id) => own.entry((lower(&check.node).into(), id.clone())).or_default().push(back(check)),
            None => of_nodes.push(back(check)),
        }
    }
    for instance in loaded.instances {
        let key = (lower(&instance.node).into_owned(), instance.id.clone());
        let checks = own.remove(&key).unwrap_or_else(|| vec![back(Definition::returned(&instance))]);
        count(registry.register(instance, checks, false));
    }
    for check in of_nodes {
        count(registry.put_check(check));
    }
    for (path, record) in loaded.records {
        let name = path.split('/').rev().collect::<Vec<_>>().join(".");
        count(registry.put_record(&name, record));
    }
    refused += registry.keys().load(loaded.pairs);
    if refused > 0 {
        tracing::warn!(refused, "entries of the registry's file are left out");
    }
}

async fn write_all(
    connection: &mut Connection,
    registry: &Registry,
    (mut changes, mut keys): (watch::Receiver<u64>, watch::Receiver<u64>),
    told: &watch::Sender<Written>,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        let stopping = tokio::select! {
            changed = changes.changed() => changed.is_err(),
            changed = keys.changed() => changed.is_err(),
            // Whoever holds the other end only ever drops it.
            _ = stopped.changed() => true,
        };
        // All that changed since the last time is one transaction.
        let (number, rows) = registry.take_unsaved(tables::row);
        let (keys, pairs) = registry.keys().take_unsaved();
        let changed = Changed { rows, pairs, numbers: Numbers { changes: number, keys } };
        let result = match changed.rows.is_empty() && changed.pairs.is_empty() {
            true => Ok(()),
            false => tables::write(connection, &changed),
        };
        match result {
            Ok(()) => told.send_replace(Written { numbers: changed.numbers, error: None }),
            Err(error) => {
                tracing::error!(%error, "the registry's file cannot be written");
                registry.put_back(changed.rows.into_iter().map(|(key, _)| key));
                registry.keys().put_back(changed.pairs.into_iter().map(|(key, _)| key));
                let behind = told.borrow().numbers;
                let told = told.send_replace(Written { numbers: behind, error: Some(error.to_string()) });
                if !stopping {
                    tokio::time::sleep(AGAIN).await;
                    changes.mark_changed();
                }
                told
            }
        };
        if stopping {
            return;
        }
    }
}

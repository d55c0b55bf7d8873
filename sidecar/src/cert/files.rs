//! Files of certificates and keys: read with a limit, never written over by accident, and never open to others.

use super::Failure;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// Bytes of one file.
const FILE_MAX: u64 = 1 << 20;
/// Certificates of one file.
const CERTIFICATES_MAX: usize = 1000;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// What a file is for decides who may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Certificate,
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(FILE_MAX + 1).read_to_end(&mut bytes)).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::NotFound => 66,
            ErrorKind::PermissionDenied => 77,
            _ => 1,
        };
        Failure { code, message: format!("can't read {shown}: {error}") }
    })?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Failure::failed(format!("{shown} is larger than {} KiB: it is no PEM file", FILE_MAX >> 10)));
    }
    Ok(bytes)
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let shown = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).take(CERTIFICATES_MAX).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(Failure::failed(format!("{shown} has no certificate: it must be PEM (BEGIN CERTIFICATE)")))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(Failure::failed(format!("{shown} is not PEM: {error}"))),
    }
}

/// Makes the folder, unless it is there; says whether it was made.
pub(super) fn folder(path: &Path) -> Result<bool, Failure> {
    let there = path.is_dir();
    // Who may write here may put other files in the place of ours, whatever the umask says.
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(|e| cannot(path, &e))?;
    Ok(!there)
}

/// Nobody else of us writes into the folder as long as this is held, where the file system has locks.
pub(super) fn locked(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Writes a file that must not be there yet. On failure nothing of it stays.
pub(super) fn create(path: &Path, kind: Kind, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode(kind)).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        if kind == Kind::Certificate {
            // Everybody may have it, whatever the umask says.
            file.set_permissions(Permissions::from_mode(CERTIFICATE_MODE))?;
        }
        file.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn mode(kind: Kind) -> u32 {
    match kind {
        Kind::Key => KEY_MODE,
        Kind::Certificate => CERTIFICATE_MODE,
    }
}

pub(super) fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    let code = if error.kind() == ErrorKind::PermissionDenied { 77 } else { 73 };
    Failure { code, message: format!("can't write {}: {error}", path.display()) }
}

/// A file that will stand in for another; without `commit` it goes away again.
pub(super) struct Replacement<'a> {
    target: &'a Path,
    temporary: PathBuf,
    committed: bool,
}

impl<'a> Replacement<'a> {
    /// Writes it beside the file that it will replace, for the same owner. A key's group keeps its right to read.
    pub(super) fn prepare(target: &'a Path, kind: Kind, text: &str) -> Result<Replacement<'a>, Failure> {
        let old = fs::metadata(target).ok();
        if old.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Failure { code: 73, message: format!("{} is a folder", target.display()) });
        }
        let file_name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{file_name}.{:016x}", fastrand::u64(..)));
        create(&temporary, kind, text).map_err(|e| cannot(&temporary, &e))?;
        let replacement = Replacement { target, temporary, committed: false };
        if let Some(old) = old {
            replacement.inherit(&old, kind).map_err(|error| {
                let shown = target.display();
                Failure {
                    code: 77,
                    message: format!("can't give the new {shown} to the owner of the old one: {error}"),
                }
            })?;
        }
        Ok(replacement)
    }

    fn inherit(&self, old: &fs::Metadata, kind: Kind) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.temporary)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        if kind == Kind::Key {
            file.set_permissions(Permissions::from_mode(KEY_MODE | (old.mode() & 0o040)))?;
        }
        Ok(())
    }

    /// In one step: whoever opens the file sees the old one or the new one, and all of it.
    pub(super) fn commit(mut self) -> Result<(), Failure> {
        fs::rename(&self.temporary, self.target).map_err(|e| cannot(self.target, &e))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

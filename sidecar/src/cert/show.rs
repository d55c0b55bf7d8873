//! What is in the files, for `fourmi cert show`.

use super::files;
use super::parsed::Parsed;
use super::{Failure, authority, now};
use std::path::{Path, PathBuf};

/// The private key that was found for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// There is none beside it.
    None,
    /// It is the certificate's.
    Matches(PathBuf),
    /// It is another's.
    Mismatch(PathBuf),
    /// It cannot be read; why.
    Unknown(PathBuf, String),
}

/// One certificate of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub file: PathBuf,
    /// Who it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// Its SPIFFE ID.
    pub identity: Option<String>,
    /// Its host names.
    pub dns: Vec<String>,
    /// Its addresses.
    pub ips: Vec<String>,
    /// Its other names, URIs among them.
    pub others: Vec<String>,
    /// From when it holds, in seconds since 1970.
    pub not_before: i64,
    /// When it ends.
    pub not_after: i64,
    /// Whether it is an authority's.
    pub authority: bool,
    /// Whether who takes connections may show it.
    pub server: bool,
    /// Whether who opens connections may.
    pub client: bool,
    /// Its private key.
    pub key: KeyFile,
}

impl Shown {
    /// `ok`, `expired`, or `early` when its time has not come.
    pub fn state(&self) -> &'static str {
        match now() {
            now if now >= self.not_after => "expired",
            now if now < self.not_before => "early",
            _ => "ok",
        }
    }

    /// Seconds until it ends; below zero when it has.
    pub fn left(&self) -> i64 {
        self.not_after.saturating_sub(now())
    }
}

/// Every certificate of a PEM file, the file's order kept.
pub fn show(file: &Path) -> Result<Vec<Shown>, Failure> {
    let text = files::read(file)?;
    let mut shown = Vec::new();
    for (at, der) in files::certificates(file, &text)?.iter().enumerate() {
        let parsed = Parsed::of(der)
            .map_err(|why| Failure::failed(format!("{}, certificate {}: {why}", file.display(), at + 1)))?;
        let identity = parsed.identity().map(str::to_owned);
        let mut others = parsed.others;
        others.extend(parsed.uris.into_iter().filter(|uri| identity.as_ref() != Some(uri)));
        shown.push(Shown {
            file: file.to_owned(),
            // Only the first of a chain has its key here; an authority's may be anywhere in a bundle.
            key: match at == 0 || parsed.authority {
                true => key_of(file, &text, &parsed.public_key),
                false => KeyFile::None,
            },
            subject: parsed.subject,
            issuer: parsed.issuer,
            serial: parsed.serial,
            identity,
            dns: parsed.dns,
            ips: parsed.ips,
            others,
            not_before: parsed.not_before,
            not_after: parsed.not_after,
            authority: parsed.authority,
            server: parsed.server,
            client: parsed.client,
        });
    }
    Ok(shown)
}

/// In the file itself, or in `NAME.key` beside it.
fn key_of(file: &Path, text: &[u8], public: &[u8]) -> KeyFile {
    let (path, pair) = match authority::key_pair(file, text) {
        Ok(pair) => (file.to_owned(), Ok(pair)),
        Err(_) => {
            let beside = file.with_extension("key");
            if !beside.exists() || beside == file {
                return KeyFile::None;
            }
            let pair = files::read(&beside).and_then(|text| authority::key_pair(&beside, &text));
            (beside, pair)
        }
    };
    match pair {
        Ok(pair) if rcgen::PublicKeyData::der_bytes(&pair) == public => KeyFile::Matches(path),
        Ok(_) => KeyFile::Mismatch(path),
        Err(failure) => KeyFile::Unknown(path, failure.message),
    }
}

//! Encryption at rest: AES-256-GCM (NIST SP 800-38D), a random 96-bit nonce before each text, the tag behind it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use std::fs;
use std::path::Path;

/// What is sealed to recognise the key.
pub(super) const KNOWN: &[u8] = b"fourmi spool";

/// A key.
pub(super) struct Seal(LessSafeKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Reads a key's file.
    pub(super) fn read(path: &Path) -> Result<Seal, String> {
        let text = fs::read(path).map_err(|e| format!("cannot read {}: {e} (spool.key_file)", path.display()))?;
        let key = key(&text).ok_or_else(|| {
            format!(
                "{} holds no key (spool.key_file): 32 bytes are needed, as 64 hexadecimal digits or in Base64; make one \
                 with `openssl rand -hex 32`",
                path.display()
            )
        })?;
        UnboundKey::new(&AES_256_GCM, &key)
            .map(|key| Seal(LessSafeKey::new(key)))
            .map_err(|_| "the key of the spool cannot be used (spool.key_file)".to_owned())
    }

    /// Seals a text; `of` is what it belongs to, so that it opens nowhere else.
    pub(super) fn seal(&self, of: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| "no random numbers".to_owned())?;
        let mut out = Vec::with_capacity(NONCE_LEN + text.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        let mut sealed = text.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(of), &mut sealed)
            .map_err(|_| "a text cannot be encrypted".to_owned())?;
        out.append(&mut sealed);
        Ok(out)
    }

    /// Opens a sealed text; none if the key is another one.
    pub(super) fn open(&self, of: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let len = self.0.open_in_place(nonce, Aad::from(of), &mut text).ok()?.len();
        text.truncate(len);
        Some(text)
    }
}

/// 32 bytes: as they are, in hexadecimal, or in Base64.
fn key(file: &[u8]) -> Option<[u8; 32]> {
    if let Ok(raw) = <[u8; 32]>::try_from(file) {
        return Some(raw);
    }
    let text = std::str::from_utf8(file).ok()?.trim();
    if text.len() == 64 && text.is_ascii() {
        let mut out = [0; 32];
        for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        return Some(out);
    }
    crate::exchange::from_base64any(text.as_bytes())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_written_in_three_ways() {
        let raw = [7; 32];
        assert_eq!(key(&raw), Some(raw));
        assert_eq!(key(format!("{}\n", "07".repeat(32)).as_bytes()), Some(raw));
        assert_eq!(key(b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n"), Some(raw));
        for wrong in [&b""[..], b"secret", &[b'x'; 64], &[7; 31], b"BwcH"] {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_sealed_opens_only_where_it_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let seal = |byte: u8| {
            let path = folder.path().join(byte.to_string());
            fs::write(&path, [byte; 32]).unwrap();
            Seal::read(&path).unwrap()
        };
        let (ours, theirs) = (seal(1), seal(2));
        let sealed = ours.seal(b"7", b"body").unwrap();
        assert_eq!(ours.open(b"7", &sealed).as_deref(), Some(&b"body"[..]));
        assert_ne!(sealed, ours.seal(b"7", b"body").unwrap(), "never the same twice");
        assert_eq!(ours.open(b"8", &sealed), None);
        assert_eq!(theirs.open(b"7", &sealed), None);
        let mut torn = sealed.clone();
        torn[14] ^= 1;
        assert_eq!(ours.open(b"7", &torn), None);
        assert_eq!(ours.open(b"7", &sealed[..10]), None);
    }
}

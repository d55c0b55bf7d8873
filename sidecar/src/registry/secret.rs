//! Tokens and passwords, in the configuration or in files of their own.

use crate::section::Wrong;
use std::path::PathBuf;

/// Bytes of a secret.
const SECRET_MAX: usize = 256;

/// What one of the two keys says; none when neither is there. `what` is the key without `_file`.
pub(super) fn of(text: Option<String>, file: Option<PathBuf>, what: &str) -> Result<Option<String>, Wrong> {
    let text = match (text, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Wrong::new(format!("there are both `{what}` and `{what}_file`"), "keep one"));
        }
        (Some(text), None) => text,
        (None, Some(file)) => std::fs::read_to_string(&file)
            .map_err(|e| Wrong::new(format!("can't read {}: {e}", file.display()), "correct the path"))?,
    };
    let text = text.trim();
    match text.is_empty() || text.len() > SECRET_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        true => {
            let message = format!("`{what}` is none that a header can carry");
            Err(Wrong::new(message, "write 1 to 256 letters, digits and signs without blanks"))
        }
        false => Ok(Some(text.to_owned())),
    }
}

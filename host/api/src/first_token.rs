//! The file that the first token is written to where there is no terminal: it is there until that token is used.

use std::io::ErrorKind;
use std::path::Path;

use backstay_model::access::Token;
use backstay_model::{Error, Result};

/// Name of the first token.
pub const NAME: &str = "first";

/// Name of the file in the data directory.
pub const FILE: &str = "first-token";

/// Deletes the file if a token that was used just now is the one in it. Whoever used it has it elsewhere.
pub fn used(data_dir: &Path, token: &Token, text: &str) {
    // Only this one is looked for, so that others cost nothing.
    if token.name != NAME {
        return;
    }
    match forget(data_dir, |there| there == text) {
        Ok(true) => tracing::info!("the first token was used: {FILE} was deleted"),
        Ok(false) => {}
        Err(error) => tracing::warn!("{}", error.report()),
    }
}

/// Deletes the file if the token in it is one of these. Whether it did.
///
/// # Errors
/// It is there, and can't be read or deleted.
pub fn forget(data_dir: &Path, is_meant: impl FnOnce(&str) -> bool) -> Result<bool> {
    let path = data_dir.join(FILE);
    let there = match std::fs::read_to_string(&path) {
        Ok(there) => there,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("read the first token from", &path, e)),
    };
    if !is_meant(there.trim()) {
        return Ok(false);
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("delete the first token in", &path, e)),
    }
}

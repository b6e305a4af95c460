//! What is known of a backup while it is made, so that restic isn't started to ask for it: each start takes about half a second
//! to derive the key that opens a repository. It is a note for each backup, which goes when the backup is whole or undone.

use std::collections::{BTreeMap, BTreeSet};

use backstay_sdk::{Failure, Result, state};
use serde::{Deserialize, Serialize};

use crate::receipt::Receipt;

/// Objects of a backup that are remembered: a note holds 64 KiB. Of the others restic is asked.
const MOST: usize = 128;

/// A backup under way.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct UnderWay {
    /// Keys that were begun to be stored, and have not been.
    begun: BTreeSet<String>,
    /// Receipts of what restic has stored, with the bytes that it counted.
    stored: BTreeMap<String, u64>,
}

impl UnderWay {
    fn ended(&mut self, receipt: &Receipt, bytes: u64) {
        self.begun.remove(&receipt.key);
        // The manifest is the last.
        if self.stored.len() < MOST || receipt.is_manifest() {
            self.stored.insert(receipt.to_string(), bytes);
        }
    }

    /// Whether a key may be in the repository already. One that was stored is, if it could not be undone.
    fn has(&self, key: &str) -> bool {
        let is_stored = |text: &String| Receipt::parse(text).is_ok_and(|receipt| receipt.key == key);
        self.begun.contains(key) || self.stored.keys().any(is_stored)
    }

    fn undone(&mut self, key: &str) {
        self.begun.remove(key);
        self.stored
            .retain(|text, _| Receipt::parse(text).is_ok_and(|receipt| receipt.key != key));
    }
}

/// Whether an attempt before this one has begun to store a key, and may have.
///
/// # Errors
/// The host's database fails.
pub fn has_begun(key: &str) -> Result<bool> {
    Ok(read(key)?.has(key))
}

/// Writes down that a key is about to be stored. The journal must say so already: its undo is what removes the note.
///
/// # Errors
/// As [`has_begun`].
pub fn begin(key: &str) -> Result<()> {
    let mut backup = read(key)?;
    backup.begun.insert(key.to_owned());
    write(key, &backup)
}

/// Writes down that nothing is left of a key.
///
/// # Errors
/// As [`has_begun`].
pub fn undone(key: &str) -> Result<()> {
    let mut backup = read(key)?;
    backup.undone(key);
    if backup == UnderWay::default() {
        return forget(key);
    }
    write(key, &backup)
}

/// Writes down that an object is stored.
///
/// # Errors
/// As [`has_begun`].
pub fn ended(receipt: &Receipt, bytes: u64) -> Result<()> {
    let mut backup = read(&receipt.key)?;
    backup.ended(receipt, bytes);
    write(&receipt.key, &backup)
}

/// The bytes that restic counted as it stored an object of a backup that is under way.
///
/// # Errors
/// As [`has_begun`].
pub fn bytes(receipt: &Receipt) -> Result<Option<u64>> {
    Ok(read(&receipt.key)?.stored.get(&receipt.to_string()).copied())
}

/// All that was stored of the backup that a key belongs to.
///
/// # Errors
/// As [`has_begun`].
pub fn stored(key: &str) -> Result<Vec<Receipt>> {
    let backup = read(key)?;
    backup.stored.keys().map(|text| Receipt::parse(text)).collect()
}

/// Forgets the backup that a key belongs to.
///
/// # Errors
/// As [`has_begun`].
pub fn forget(key: &str) -> Result<()> {
    state::remove(&note(key))
}

fn read(key: &str) -> Result<UnderWay> {
    let Some(text) = state::get(&note(key))? else {
        return Ok(UnderWay::default());
    };
    serde_json::from_str(&text)
        .map_err(|e| Failure::internal(format!("the note of {key} can't be read: {e}")))
}

fn write(key: &str, backup: &UnderWay) -> Result<()> {
    let text = serde_json::to_string(backup)
        .map_err(|e| Failure::internal(format!("the note of {key} can't be written: {e}")))?;
    state::set(&note(key), &text)
}

/// The name of the note of the backup that a key belongs to: `JOB/BACKUP/NAME` belongs to `JOB/BACKUP`.
fn note(key: &str) -> String {
    let (backup, _) = key.rsplit_once('/').unwrap_or(("", key));
    format!("under-way:{backup}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_one_backup_share_a_note() {
        assert_eq!(note("j/1/data"), note("j/1/manifest.json"));
        assert_ne!(note("j/1/data"), note("j/2/data"));
    }

    #[test]
    fn what_is_undone_is_forgotten_and_the_rest_is_not() {
        let receipt =
            |name: &str| Receipt::new(&"0f".repeat(32), &format!("j/1/{name}"), false).expect("a receipt");
        let mut backup = UnderWay::default();
        backup.begun.insert("j/1/b".to_owned());
        assert!(backup.has("j/1/b") && !backup.has("j/1/a"));
        backup.ended(&receipt("a"), 1);
        backup.ended(&receipt("b"), 2);
        assert!(backup.has("j/1/b") && backup.begun.is_empty());
        backup.undone("j/1/b");
        assert!(backup.has("j/1/a") && !backup.has("j/1/b"));
        assert_eq!(
            backup.stored.into_iter().collect::<Vec<_>>(),
            [(receipt("a").to_string(), 1)]
        );
    }

    #[test]
    fn the_note_of_a_backup_of_many_objects_fits_and_has_the_manifest() {
        let receipt =
            |name: &str| Receipt::new(&"0f".repeat(32), &format!("j/1/{name}"), false).expect("a receipt");
        let mut backup = UnderWay::default();
        for n in 0..10_000 {
            backup.ended(&receipt(&format!("{n:0>300}")), u64::MAX);
        }
        backup.ended(&receipt("manifest.json"), 1);
        assert_eq!(backup.stored.len(), MOST + 1);
        assert_eq!(backup.stored[&receipt("manifest.json").to_string()], 1);
        let text = serde_json::to_string(&backup).expect("JSON");
        assert!(text.len() < 60_000, "{}", text.len());
    }
}

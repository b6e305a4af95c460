//! The durable list of things that must be undone.
//!
//! Record an entry *before* the side effect. The host hands it to the plugin's `undo`, in a fresh
//! instance, when the run ends, or at the host's next start if the machine lost power in between. So a
//! plugin never cleans up by itself, and cleaning up works in every case or in none.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::bindings::backstay::plugin::journal as host;
use crate::failure::Result;

pub use host::UndoWhen as When;

/// Records an entry, at most 16 KiB as JSON, and returns when it is safe on disk.
///
/// # Errors
/// The entry can't be written. The side effect must not happen then.
pub fn record(entry: &impl Serialize, when: When) -> Result<()> {
    host::record(&serde_json::to_string(entry)?, when)
}

/// Reads an entry that [`record`] wrote.
///
/// # Errors
/// It is of another shape, which would be a defect of the plugin.
pub fn read<T: DeserializeOwned>(entry: &str) -> Result<T> {
    serde_json::from_str(entry)
        .map_err(|e| Failure::internal(format!("the journal entry can't be read: {e}")))
}

//! Notes that a plugin keeps for one job, from run to run. Needs the capability `state`.

use crate::bindings::backstay::plugin::state as host;
use crate::failure::Result;

/// Reads a note.
///
/// # Errors
/// There is no grant for it, or the host's database fails.
pub fn get(key: &str) -> Result<Option<String>> {
    host::get(key)
}

/// Writes a note. A job may hold 64 notes of 64 KiB.
///
/// # Errors
/// There is no grant for it, the limit is reached, or the host's database fails.
pub fn set(key: &str, value: &str) -> Result<()> {
    host::set(key, Some(value))
}

/// Removes a note. Removing what isn't there is no failure.
///
/// # Errors
/// There is no grant for it, or the host's database fails.
pub fn remove(key: &str) -> Result<()> {
    host::set(key, None)
}

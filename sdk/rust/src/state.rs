//! Notes that a plugin keeps for one job, from run to run. Needs the capability `state`.

use crate::RunInfo;
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

/// Whether a run of this job before this one has stored something at a place: one that isn't there now is away then, and
/// must not be made anew, perhaps under a disk that isn't mounted. See [`remember_use`].
///
/// # Errors
/// The plugin did not ask for the capability `state`, or the host's database fails.
pub fn was_used_before(place: &str, run: &RunInfo) -> Result<bool> {
    Ok(get(&of_use(place))?.is_some_and(|last| last != run.run_id))
}

/// Whether any run of this job has stored something at a place, for what is not part of a backup: undoing and removing. What
/// isn't found at a place that is away is not gone.
///
/// # Errors
/// As [`was_used_before`].
pub fn was_used(place: &str) -> Result<bool> {
    Ok(get(&of_use(place))?.is_some())
}

/// Whether this run has stored something at a place, so that it needn't be asked again whether that is ready.
///
/// # Errors
/// As [`was_used_before`].
pub fn was_used_by(place: &str, run: &RunInfo) -> Result<bool> {
    Ok(get(&of_use(place))?.as_ref() == Some(&run.run_id))
}

/// Remembers that this run has stored something at a place.
///
/// # Errors
/// As [`was_used_before`].
pub fn remember_use(place: &str, run: &RunInfo) -> Result<()> {
    if was_used_by(place, run)? {
        return Ok(());
    }
    set(&of_use(place), &run.run_id)
}

/// The name of the note that says which run stored something at a place last.
fn of_use(place: &str) -> String {
    format!("used:{place}")
}

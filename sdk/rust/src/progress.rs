//! What the plugin is doing, where the host can't see it by itself.

use serde::Serialize;

use crate::bindings::backstay::plugin::progress as host;
use crate::failure::Result;

/// Says what is being done now, such as `creating snapshot`.
pub fn stage(stage: &str) {
    host::update(stage, 0, None);
}

/// Says what is being done now, and how far it is.
pub fn update(stage: &str, done: u64, total: Option<u64>) {
    host::update(stage, done, total);
}

/// Facts about how a destination stored what it was given, such as how much of it was new. They are kept in the manifest
/// and with the run. They must be a JSON object of at most 16 KiB.
///
/// # Errors
/// They are too long, or no object.
pub fn statistics(facts: &impl Serialize) -> Result<()> {
    host::statistics(&serde_json::to_string(facts)?)
}

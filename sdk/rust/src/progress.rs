//! What the plugin is doing, where the host can't see it by itself.

use crate::bindings::backstay::plugin::progress as host;

/// Says what is being done now, such as `creating snapshot`.
pub fn stage(stage: &str) {
    host::update(stage, 0, None);
}

/// Says what is being done now, and how far it is.
pub fn update(stage: &str, done: u64, total: Option<u64>) {
    host::update(stage, done, total);
}

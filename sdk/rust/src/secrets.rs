//! Secrets by name. Their text never enters the plugin: see [`Command::env_secret`](crate::Command::env_secret).

use crate::bindings::backstay::plugin::secrets as host;
use crate::failure::Result;

/// Whether a secret of this name is there to be used. Needs the capability `secret` for it.
///
/// # Errors
/// There is no grant for it, or the secrets can't be read.
pub fn exists(name: &str) -> Result<bool> {
    host::exists(name)
}

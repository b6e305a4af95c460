//! Secrets by name. Their text never enters the plugin: see [`Command::env_secret`](crate::Command::env_secret).

use crate::Diagnostic;
use crate::bindings::backstay::plugin::secrets as host;
use crate::failure::Result;

/// Whether a secret of this name is there to be used. Needs the capability `secret` for it.
///
/// # Errors
/// There is no grant for it, or the secrets can't be read.
pub fn exists(name: &str) -> Result<bool> {
    host::exists(name)
}

/// What to say of a secret that a field of the configuration names, if it isn't there to be used.
pub fn missing(pointer: impl Into<String>, name: &str) -> Option<Diagnostic> {
    match exists(name) {
        Ok(true) => None,
        Ok(false) => Some(
            Diagnostic::error(pointer, "missing-secret", format!("there is no secret `{name}`"))
                .hint(format!("`backstay secret set {name}` makes it")),
        ),
        Err(failure) => Some(Diagnostic::from_failure(pointer, "bad-secret", failure)),
    }
}

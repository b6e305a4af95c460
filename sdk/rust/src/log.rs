//! Words for the people who read a run's log.

use crate::bindings::backstay::plugin::log::{self as host, Level};

/// Writes a line that is shown only on request.
pub fn debug(message: impl AsRef<str>) {
    host::write(Level::Debug, message.as_ref());
}

/// Writes a line.
pub fn info(message: impl AsRef<str>) {
    host::write(Level::Info, message.as_ref());
}

/// Writes a line about something odd that has no effect on the backup; see also [`warning`].
pub fn warn(message: impl AsRef<str>) {
    host::write(Level::Warn, message.as_ref());
}

/// Writes a line about something that failed. It doesn't fail the run: return a [`Failure`](crate::Failure) for that.
pub fn error(message: impl AsRef<str>) {
    host::write(Level::Error, message.as_ref());
}

/// Records that something was skipped or looks wrong: the run ends as `warning` at best, and the backup's
/// manifest lists it. `code` is a stable word for programs; `path` names the file, if any.
pub fn warning(code: &str, message: impl AsRef<str>, path: Option<&str>) {
    host::warning(code, message.as_ref(), path);
}

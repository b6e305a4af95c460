//! Places that keep objects.

use crate::bindings::backstay::plugin::storage as host;
use crate::failure::Result;

pub use host::{ObjectInfo, Space, Store};

impl Store {
    /// A directory of this machine. It must exist. Needs the capability `write` for it.
    ///
    /// # Errors
    /// There is no grant for it, or no directory.
    pub fn directory(path: &str) -> Result<Store> {
        host::directory(path)
    }
}

//! Places that keep objects.

use crate::bindings::backstay::plugin::storage as host;
use crate::failure::Result;

pub use host::{LockMode, ObjectInfo, ObjectLock, RemoteOptions, Space, Store};

impl Store {
    /// A directory of this machine. It must exist. Needs the capability `write` for it.
    ///
    /// # Errors
    /// There is no grant for it, or no directory.
    pub fn directory(path: &str) -> Result<Store> {
        host::directory(path)
    }

    /// An object store that an administrator made known under this name. Needs the capability `storage` for it.
    ///
    /// # Errors
    /// There is no grant for it, no remote of that name, or its secret can't be opened.
    pub fn remote(name: &str, options: &RemoteOptions) -> Result<Store> {
        host::remote(name, options)
    }
}

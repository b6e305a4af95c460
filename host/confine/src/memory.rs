//! Files in memory, which a child inherits by their descriptors.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use backstay_model::{Code, Error, Result};
use rustix::fs::MemfdFlags;

/// A file in memory with this content, to be read from its start.
pub(crate) fn memory(name: &str, content: &[u8]) -> Result<File> {
    let failed = |e: std::io::Error| Error::new(Code::Environment, "cannot make a file in memory").because(e);
    let made = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let mut file = File::from(made);
    file.write_all(content).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(file)
}

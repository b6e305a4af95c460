//! The data directory and the database file, before SQLite sees them.
//!
//! Never opens a file that is there already: when a process closes any handle to a file, the system drops
//! all of its locks on it, those of its other connections to the database too.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use backstay_model::{Code, Error, Result};

/// So that nobody in this process opens the file between its creation and the end of that.
static CREATION: Mutex<()> = Mutex::new(());

/// Makes sure that the file is there and may be written, for its owner only if it is new. SQLite by itself
/// would open a write-protected file for reading and fail only later.
pub(crate) fn prepare_files(dir: &Path, file: &Path) -> Result<()> {
    let failed = |operation: &str, path: &Path, cause| {
        Error::io_as(Code::Environment, operation, path, cause)
            .hint("choose a directory that this user may write with --data-dir or BACKSTAY_DATA_DIR")
    };
    let guard = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
    create_dir(dir).map_err(|e| failed("create the data directory", dir, e))?;
    if !file.exists() {
        create_file(file).map_err(|e| failed("create the database", file, e))?;
    }
    drop(guard);
    check_writable(file).map_err(|e| failed("write the database", file, e))?;
    check_writable(dir).map_err(|e| failed("write beside the database", file, e))
}

fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
        // SQLite makes its files durable within the directory; the directory itself is ours to do.
        Ok(()) if cfg!(unix) => fs::File::open(parent)?.sync_all(),
        Ok(()) => Ok(()),
    }
}

fn create_file(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(unix)]
fn check_writable(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(
        path,
        rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
    )?)
}

#[cfg(not(unix))]
fn check_writable(path: &Path) -> io::Result<()> {
    if path.is_file() && fs::metadata(path)?.permissions().readonly() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

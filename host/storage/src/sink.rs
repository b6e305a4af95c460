//! A file that appears under its name only when it is complete and on disk.

use backstay_model::{Error, Result};
use backstay_stream::{Completed, Sink};
use cap_std::fs::{Dir, Metadata, MetadataExt as _};

use crate::direct::Writer;
use crate::key::Key;

/// Writes to a temporary name; commits by fsync and rename.
#[derive(Debug)]
pub(crate) struct FileSink<'a> {
    pub(crate) root: &'a Dir,
    pub(crate) key: &'a Key,
    pub(crate) shown: String,
    pub(crate) file: Writer,
    /// Device and inode of the file, if they are known.
    pub(crate) identity: Option<(u64, u64)>,
}

/// Whether the temporary name is still that of the file, and not of a later attempt: one that hung for long may go on when
/// nobody waits for it any more. What isn't removed here is removed by the journal.
fn is_still(root: &Dir, key: &Key, file: Option<(u64, u64)>) -> bool {
    let there = root.symlink_metadata(key.partial()).ok();
    there.as_ref().map(identity) == file
}

/// Device and inode.
pub(crate) fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl Sink for FileSink<'_> {
    type Stored = u64;

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write(bytes)
            .map_err(|e| full(Error::io("write", &self.shown, e)))
    }

    fn commit(mut self, proof: &Completed) -> Result<u64> {
        let bytes = proof.transfer().stored.bytes;
        let result = self
            .file
            .finish()
            .map_err(|e| full(Error::io("write to disk", &self.shown, e)));
        let result = result.and_then(|()| publish(self.root, self.key, &self.shown));
        match result {
            Ok(()) => Ok(bytes),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(self, cause: Error) -> Error {
        self.file.abandon();
        if !is_still(self.root, self.key, self.identity) {
            return cause;
        }
        match self.root.remove_file(self.key.partial()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => cause.hint(format!(
                "the incomplete file {} could not be removed either ({e})",
                self.key.partial()
            )),
            _ => cause,
        }
    }
}

/// Renames the temporary name to the real one, which must be free, and makes the renaming durable.
pub(crate) fn publish(root: &Dir, key: &Key, shown: &str) -> Result<()> {
    use rustix::fs::RenameFlags;
    use rustix::io::Errno;
    let failed = |e: std::io::Error| Error::io("rename a file to", shown, e);
    let (directory, name) = key.split();
    let directory = if directory.is_empty() {
        root.try_clone()
    } else {
        root.open_dir(directory)
    }
    .map_err(failed)?;
    let partial = format!(".{name}.partial");
    match rustix::fs::renameat_with(&directory, &partial, &directory, name, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Some network and FUSE filesystems can't promise it in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if directory.symlink_metadata(name).is_ok() {
                return Err(failed(Errno::EXIST.into()));
            }
            directory.rename(&partial, &directory, name).map_err(failed)?;
        }
        Err(e) => return Err(failed(e.into())),
    }
    sync_directory(&directory).map_err(failed)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Dir) -> std::io::Result<()> {
    let file = directory.open(".")?;
    match rustix::fs::fsync(&file) {
        // What can't be synced by its own nature needs no sync (some FUSE filesystems).
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Says what to do when the disk is full.
pub(crate) fn full(error: Error) -> Error {
    if error.code() == backstay_model::Code::DiskSpace {
        return error
            .hint("make room at the destination or shorten the retention; earlier backups are untouched");
    }
    error
}

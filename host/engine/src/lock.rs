//! One run of a job at a time, whichever process runs it. The kernel lets go of a lock whose holder died.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use backstay_model::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// Held while a job runs.
#[derive(Debug)]
pub struct JobLock {
    path: PathBuf,
    #[expect(dead_code, reason = "closing it lets go")]
    file: File,
}

impl JobLock {
    /// Takes the lock of a job; nothing if somebody has it.
    ///
    /// # Errors
    /// The lock's file can't be made.
    pub fn take(directory: &Path, job: Uuid) -> Result<Option<Self>> {
        std::fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        let path = directory.join(job.to_string());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open the lock", &path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(JobLock { path, file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::io("lock", &path, e.into())),
        }
    }

    /// Lets go of a lock that nobody will ask for again, and removes its file.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn remove(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove the lock", &self.path, e))
            }
            _ => Ok(()),
        }
    }
}

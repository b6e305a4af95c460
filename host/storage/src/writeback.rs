//! Sends a file that grows to the disk while it grows, so that little is left for the fsync at its end.
//!
//! Without it the system lets the bytes lie until there are gigabytes of them, and the disk rests meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// So many new bytes are sent at a time: enough to write in long runs, little enough to wait for.
const STRIDE_BYTES: u64 = 16 << 20;

/// Sends what was written. Small files, which are below its stride, never start its thread.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    written_bytes: u64,
    told_bytes: u64,
    thread: Option<(SyncSender<u64>, JoinHandle<io::Result<()>>)>,
}

impl Writeback {
    /// So many more bytes were written at the end of `file`.
    pub(crate) fn wrote(&mut self, bytes: usize, file: impl FnOnce() -> io::Result<File>) {
        self.written_bytes += bytes as u64;
        if self.written_bytes - self.told_bytes < STRIDE_BYTES {
            return;
        }
        if self.thread.is_none() {
            // Only speed depends on it.
            self.thread = file().and_then(start).ok();
        }
        // A thread that is behind takes more next time; the writer never waits for it.
        if let Some((ends, _)) = &self.thread
            && ends.try_send(self.written_bytes).is_ok()
        {
            self.told_bytes = self.written_bytes;
        }
    }

    /// Ends it. The bytes are not safe by that.
    ///
    /// # Errors
    /// The disk refused what it was sent: an fsync need not say so again.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some((ends, thread)) = self.thread else {
            return Ok(());
        };
        drop(ends);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes to the disk panicked")))
    }
}

fn start(file: File) -> io::Result<(SyncSender<u64>, JoinHandle<io::Result<()>>)> {
    let (ends, received) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("writeback".to_owned())
        .spawn(move || send(&file, &received))?;
    Ok((ends, thread))
}

fn send(file: &File, ends: &Receiver<u64>) -> io::Result<()> {
    let mut sent_bytes = 0;
    for end in ends {
        match start_writing(file, sent_bytes, end - sent_bytes) {
            Ok(()) => sent_bytes = end,
            // A file system that can't do it, or a sandbox that doesn't let us: then the fsync does all.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ENOSYS | libc::EINVAL | libc::ESPIPE | libc::EOPNOTSUPP | libc::EPERM)
                ) =>
            {
                return Ok(());
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Starts to write a range, and waits only for a place in the disk's queue. This is not `fdatasync`, which some file
/// systems answer by writing everything twice or by uploading the whole file so far.
#[expect(unsafe_code, reason = "no safe interface has this system call")]
fn start_writing(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let range = |n: u64| libc::off64_t::try_from(n).map_err(io::Error::other);
    let (offset, bytes) = (range(offset)?, range(bytes)?);
    // SAFETY: the descriptor is open while `file` is borrowed, and the call touches no memory of this process.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_large_file_is_sent_and_stays_as_it_was_written() {
        let mut file = tempfile::tempfile().unwrap();
        let mut writeback = Writeback::default();
        let block = vec![7; 1 << 20];
        for _ in 0..40 {
            file.write_all(&block).unwrap();
            writeback.wrote(block.len(), || file.try_clone());
        }
        assert!(writeback.thread.is_some());
        writeback.finish().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 40 << 20);
    }

    #[test]
    fn what_the_disk_refuses_is_said_at_the_end() {
        // Opened only as a name, no file can be written through it.
        let path = rustix::fs::openat(
            rustix::fs::CWD,
            "/",
            rustix::fs::OFlags::PATH,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let mut writeback = Writeback::default();
        writeback.wrote(17 << 20, || Ok(File::from(path)));
        assert_eq!(writeback.finish().unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}

//! Writes large files past the system's cache, where that is faster: on file systems that lie on a disk of this machine.
//!
//! A backup is written once and read seldom. In the cache it costs a copy and a page for each 4 KiB, and drives out
//! what the machine's other programs need. Small files, and other file systems, are written as usual.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstatfs};

use crate::writeback::Writeback;

/// What is written at a time, in bytes: a disk is at its full speed with a mebibyte.
const PIECE_BYTES: usize = 1 << 20;

/// Of memory, in bytes: more than any disk of today asks for.
const ALIGNMENT: usize = 4096;

/// File systems on which it was tried, by their numbers in `statfs(2)`: ext2 to ext4, and XFS.
const FILE_SYSTEMS: [u64; 2] = [0xEF53, 0x5846_5342];

/// A new file, written from its start to its end.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Not a whole piece yet.
    Undecided(Piece),
    Direct(Piece),
    Cached(Writeback),
}

/// Bytes on their way to the disk, in memory that the disk can read by itself.
#[derive(Debug)]
struct Piece {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Piece {
    fn new() -> Self {
        let memory = vec![0; PIECE_BYTES + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Piece {
            memory,
            start,
            filled: 0,
        }
    }

    /// Takes what there is room for, and returns the rest.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.filled));
        let at = self.start + self.filled;
        self.memory[at..at + now.len()].copy_from_slice(now);
        self.filled += now.len();
        rest
    }

    fn is_full(&self) -> bool {
        self.filled == PIECE_BYTES
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

impl Writer {
    /// Takes an empty file.
    pub(crate) fn new(file: File) -> Self {
        Writer {
            file,
            way: Way::Undecided(Piece::new()),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The file system refused them.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match &mut self.way {
                Way::Cached(writeback) => {
                    self.file.write_all(bytes)?;
                    writeback.wrote(bytes.len(), || self.file.try_clone());
                    return Ok(());
                }
                Way::Undecided(piece) | Way::Direct(piece) => {
                    bytes = piece.take(bytes);
                    if piece.is_full() {
                        self.flush()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what is left and makes all of it safe.
    ///
    /// # Errors
    /// The file system or the disk refused it.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.way, Way::Cached(Writeback::default())) {
            Way::Cached(writeback) => writeback.finish()?,
            Way::Undecided(piece) => self.file.write_all(piece.bytes())?,
            Way::Direct(piece) => {
                // The last bytes are no whole sector.
                set_direct(&self.file, false)?;
                self.file.write_all(piece.bytes())?;
            }
        }
        self.file.sync_all()
    }

    /// Ends it: what was written isn't wanted.
    pub(crate) fn abandon(self) {
        if let Way::Cached(writeback) = self.way {
            // What the disk says about bytes that are thrown away is no news.
            let _ = writeback.finish();
        }
    }

    /// Writes a full piece.
    fn flush(&mut self) -> io::Result<()> {
        let way = std::mem::replace(&mut self.way, Way::Cached(Writeback::default()));
        let (mut piece, is_direct) = match way {
            Way::Direct(piece) => (piece, true),
            Way::Undecided(piece) => {
                let is_direct = may_be_direct(&self.file) && set_direct(&self.file, true).is_ok();
                (piece, is_direct)
            }
            Way::Cached(writeback) => {
                self.way = Way::Cached(writeback);
                return Ok(());
            }
        };
        let mut is_direct = is_direct;
        let mut rest = piece.bytes();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    rest = &rest[n..];
                    // After a part of a sector nothing is aligned any more.
                    if is_direct && n % ALIGNMENT != 0 {
                        set_direct(&self.file, false)?;
                        is_direct = false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_direct && e.raw_os_error() == Some(libc::EINVAL) => {
                    set_direct(&self.file, false)?;
                    is_direct = false;
                }
                Err(e) => return Err(e),
            }
        }
        if is_direct {
            piece.filled = 0;
            self.way = Way::Direct(piece);
        }
        Ok(())
    }
}

fn may_be_direct(file: &File) -> bool {
    fstatfs(file)
        .is_ok_and(|about| u64::try_from(about.f_type).is_ok_and(|number| FILE_SYSTEMS.contains(&number)))
}

fn set_direct(file: &File, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_whatever_its_length_and_place() {
        for place in [std::env::temp_dir(), "/dev/shm".into()] {
            for length in [
                0,
                1,
                PIECE_BYTES - 1,
                PIECE_BYTES,
                PIECE_BYTES + 1,
                5 * PIECE_BYTES + 4097,
            ] {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 31 / 7) as u8).collect();
                let file = tempfile::NamedTempFile::new_in(&place).unwrap();
                let mut writer = Writer::new(file.reopen().unwrap());
                for part in bytes.chunks(700_001) {
                    writer.write(part).unwrap();
                }
                writer.finish().unwrap();
                assert!(
                    std::fs::read(file.path()).unwrap() == bytes,
                    "{length} in {place:?}"
                );
            }
        }
    }

    #[test]
    fn a_full_disk_is_said() {
        let mut writer = Writer::new(File::options().write(true).open("/dev/full").unwrap());
        let result = writer.write(&vec![1; 3 * PIECE_BYTES]);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

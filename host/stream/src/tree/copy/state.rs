//! What tells whether an entry is still what it was.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use backstay_model::{Code, Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::tree::directory::{LISTED, THROUGH};
use crate::tree::path::os;
use crate::tree::scan::{FILE, open};

/// Bytes of a state in a file.
pub(super) const STATE_BYTES: usize = 7 * 8;

/// The bits of a mode that tell what an entry is.
const FILE_TYPE: u64 = 0o170_000;

/// What `stat` says of an entry that changes with its content, its attributes, or its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    device: u64,
    inode: u64,
    size: u64,
    mode: u64,
    modified: u64,
    changed: u64,
    /// Seconds of both times, which may be before 1970.
    seconds: u64,
}

impl State {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the widths of these fields depend on the processor"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        State {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mode: u64::from(stat.st_mode),
            modified: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            changed: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            seconds: (stat.st_mtime as u64).rotate_left(32) ^ (stat.st_ctime as u64),
        }
    }

    /// Whether it is a regular file.
    pub(super) fn is_file(&self) -> bool {
        const KIND: u64 = 0o170_000;
        const REGULAR: u64 = 0o100_000;
        self.mode & KIND == REGULAR
    }

    /// Whether it is a symbolic link.
    pub(super) fn is_link(&self) -> bool {
        const LINK: u64 = 0o120_000;
        self.mode & FILE_TYPE == LINK
    }

    /// Whether it is the same file or directory still, whatever has become of it.
    pub(super) fn is_same(&self, other: &State) -> bool {
        let identity = |state: &State| (state.device, state.inode, state.mode & FILE_TYPE);
        identity(self) == identity(other)
    }

    /// Bytes of content.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// When it was changed last, in nanoseconds since 1970.
    pub(super) fn changed(&self) -> u64 {
        self.changed
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for number in self.numbers() {
            out.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; STATE_BYTES];
        from.read_exact(&mut bytes)?;
        let mut numbers = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or_default();
        Ok(State {
            device: next(),
            inode: next(),
            size: next(),
            mode: next(),
            modified: next(),
            changed: next(),
            seconds: next(),
        })
    }

    fn numbers(&self) -> [u64; 7] {
        let State {
            device,
            inode,
            size,
            mode,
            modified,
            changed,
            seconds,
        } = *self;
        [device, inode, size, mode, modified, changed, seconds]
    }
}

fn nanoseconds(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds)
        .unwrap_or(0)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}

/// Which directory one is, whatever is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    /// Which directory is open.
    pub(super) fn of(directory: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let State { device, inode, .. } = State::of(&fstat(directory)?);
        Ok(Place { device, inode })
    }

    /// Whether both are on one file system.
    pub(super) fn is_on(self, other: Place) -> bool {
        self.device == other.device
    }
}

/// The directory that paths are relative to.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    place: Place,
}

impl Root {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let flags = THROUGH.difference(rustix::fs::OFlags::NOFOLLOW);
        let failed = |e: Errno| Error::io_as(Code::BackupFailed, "read", directory, e.into());
        let opened = openat(CWD, directory, flags, Mode::empty()).map_err(failed)?;
        let place = Place::of(opened.as_fd()).map_err(failed)?;
        Ok(Root {
            directory: opened,
            place,
        })
    }

    /// Which directory it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// A directory, opened to be listed.
    pub(super) fn list(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        openat(&self.directory, os(path), LISTED, Mode::empty())
    }

    /// A file, opened to be read, and what it is now.
    pub(super) fn file(&self, path: &[u8]) -> rustix::io::Result<(File, State)> {
        let file = open(&self.directory, os(path), FILE)?;
        let state = State::of(&fstat(&file)?);
        Ok((file.into(), state))
    }

    /// What an entry is now.
    pub(super) fn state(&self, path: &[u8]) -> rustix::io::Result<State> {
        statat(&self.directory, os(path), AtFlags::SYMLINK_NOFOLLOW).map(|stat| State::of(&stat))
    }
}

//! Going down into directories and up again by descriptors, to any depth and never through a link.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir, fstat, openat};
use rustix::io::Errno;

/// Levels whose descriptors are kept open. Further up they are opened again through `..`.
const OPEN_LEVELS: usize = 64;

/// Bytes of names to ask the kernel for at a time.
const LISTING_BYTES: usize = 64 << 10;

/// How to open a directory only to go through it.
pub(crate) const THROUGH: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// How to open a directory to list it.
pub(crate) const LISTED: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The directories from a root down to the one at hand.
#[derive(Debug)]
pub(crate) struct DirectoryStack {
    above: Vec<Level>,
    current: OwnedFd,
}

#[derive(Debug)]
enum Level {
    Open(OwnedFd),
    /// Closed, to be recognised by device and inode.
    Closed(u64, u64),
}

impl DirectoryStack {
    pub(crate) fn new(root: OwnedFd) -> Self {
        DirectoryStack {
            above: Vec::new(),
            current: root,
        }
    }

    /// The directory at hand.
    pub(crate) fn current(&self) -> BorrowedFd<'_> {
        self.current.as_fd()
    }

    /// The root, which is always open.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        match self.above.first() {
            Some(Level::Open(root)) => root.as_fd(),
            _ => self.current.as_fd(),
        }
    }

    /// Goes down into a directory that was opened below the one at hand.
    pub(crate) fn push(&mut self, directory: OwnedFd) -> io::Result<()> {
        self.above
            .push(Level::Open(std::mem::replace(&mut self.current, directory)));
        let Some(at) = self.above.len().checked_sub(OPEN_LEVELS).filter(|at| *at > 0) else {
            return Ok(());
        };
        if let Some(level) = self.above.get_mut(at)
            && let Level::Open(directory) = level
        {
            let stat = fstat(&*directory)?;
            *level = Level::Closed(stat.st_dev, stat.st_ino);
        }
        Ok(())
    }

    /// Goes up. At the root it stays.
    ///
    /// # Errors
    /// `ESTALE` if the directory at hand has been moved to another place.
    pub(crate) fn pop(&mut self) -> io::Result<()> {
        match self.above.pop() {
            None => {}
            Some(Level::Open(directory)) => self.current = directory,
            Some(Level::Closed(device, inode)) => {
                let above = openat(&self.current, c"..", THROUGH, Mode::empty())?;
                let stat = fstat(&above)?;
                if (stat.st_dev, stat.st_ino) != (device, inode) {
                    return Err(Errno::STALE.into());
                }
                self.current = above;
            }
        }
        Ok(())
    }
}

/// A name in a directory.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) name: CString,
    /// As the directory says, which it need not.
    pub(crate) file_type: FileType,
}

/// The names in a directory, sorted by their bytes, and what kept the rest from being read.
pub(crate) fn names(directory: BorrowedFd<'_>) -> (Vec<Name>, Option<io::Error>) {
    let mut buffer = Vec::with_capacity(LISTING_BYTES);
    let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    let mut failure = None;
    while let Some(found) = listing.next() {
        match found {
            Ok(entry) if is_dots(entry.file_name()) => {}
            Ok(entry) => names.push(Name {
                name: entry.file_name().to_owned(),
                file_type: entry.file_type(),
            }),
            Err(Errno::INTR) => {}
            Err(error) => {
                failure = Some(error.into());
                break;
            }
        }
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    (names, failure)
}

/// Whether a directory that is open for listing holds nothing.
pub(crate) fn is_empty(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut buffer = Vec::with_capacity(LISTING_BYTES);
    let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(found) = listing.next() {
        match found {
            Ok(entry) if !is_dots(entry.file_name()) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    #[test]
    fn a_directory_that_was_moved_is_not_left_for_a_wrong_place() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let mut stack = DirectoryStack::new(openat(CWD, &root, LISTED, Mode::empty()).unwrap());
        let mut path = root;
        for level in 0..OPEN_LEVELS + 10 {
            path.push("d");
            std::fs::create_dir(&path).unwrap();
            stack
                .push(openat(CWD, &path, LISTED, Mode::empty()).unwrap())
                .unwrap();
            if level == 5 {
                std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
            }
        }
        let moved = dir.path().join("root/d/d/d/d/d/d");
        std::fs::rename(moved, dir.path().join("elsewhere/d")).unwrap();
        let failure = (0..OPEN_LEVELS + 10).find_map(|_| stack.pop().err()).unwrap();
        assert_eq!(failure.raw_os_error(), Some(Errno::STALE.raw_os_error()));
    }
}

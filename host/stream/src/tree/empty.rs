//! Removes all that is in a directory.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::vec;

use backstay_model::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2, unlinkat};
use rustix::io::Errno;

use crate::tree::directory::{self, DirectoryStack, LISTED, Name};
use crate::tree::path::os;

/// Removes everything below a directory, and leaves the directory itself.
///
/// Follows no symbolic link, stops at what is mounted below, and takes any depth. A directory that isn't
/// there is empty: so it can be called again after an interruption.
///
/// # Errors
/// `path` isn't a directory, something can't be removed, or a file system is mounted below. What could be
/// removed before is gone.
pub fn empty_directory(path: &Path) -> Result<()> {
    let root = match openat(CWD, path, LISTED, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Error::io("empty", path, error.into())),
    };
    let frame = Frame::new(root.as_fd(), None).map_err(|e| Error::io("list", path, e))?;
    let mut emptying = Emptying {
        root: path,
        stack: DirectoryStack::new(root),
        frames: vec![frame],
    };
    while emptying.step()? {}
    Ok(())
}

struct Emptying<'a> {
    root: &'a Path,
    stack: DirectoryStack,
    frames: Vec<Frame>,
}

/// A directory that is being emptied.
struct Frame {
    /// Nothing for the root.
    name: Option<CString>,
    names: vec::IntoIter<Name>,
}

impl Frame {
    fn new(directory: BorrowedFd<'_>, name: Option<CString>) -> io::Result<Self> {
        match directory::names(directory) {
            (_, Some(failure)) => Err(failure),
            (names, None) => Ok(Frame {
                name,
                names: names.into_iter(),
            }),
        }
    }
}

impl Emptying<'_> {
    /// Removes one thing, or goes into or out of one directory. Returns whether there is more to do.
    fn step(&mut self) -> Result<bool> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        let Some(name) = frame.names.next() else {
            let done = self.frames.pop().and_then(|frame| frame.name);
            let Some(name) = done else { return Ok(false) };
            self.stack
                .pop()
                .map_err(|e| Error::io("go back up in", self.root, e))?;
            return match unlinkat(self.stack.current(), name.as_c_str(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(true),
                Err(error) => Err(Error::io("remove", self.full(&name), error.into())),
            };
        };
        let name = name.name;
        let mut removed = unlinkat(self.stack.current(), name.as_c_str(), AtFlags::empty());
        // What is in a directory that its owner may not change can be removed once its owner may.
        if removed == Err(Errno::ACCESS) && rustix::fs::fchmod(self.stack.current(), Mode::RWXU).is_ok() {
            removed = unlinkat(self.stack.current(), name.as_c_str(), AtFlags::empty());
        }
        match removed {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(Error::io("remove", self.full(&name), error.into())),
        }
        match unlinkat(self.stack.current(), name.as_c_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            // It is in use as a mount point, isn't empty, or its own mode keeps us from knowing.
            Err(_) => {}
        }
        let inner = open_below(self.stack.current(), &name).map_err(|e| {
            let error = Error::io("empty", self.full(&name), e.into());
            if e == Errno::XDEV {
                error.hint("a file system is mounted there; unmount it first")
            } else {
                error
            }
        })?;
        let frame = Frame::new(inner.as_fd(), Some(name.clone()))
            .map_err(|e| Error::io("list", self.full(&name), e))?;
        self.stack
            .push(inner)
            .map_err(|e| Error::io("enter", self.full(&name), e))?;
        self.frames.push(frame);
        Ok(true)
    }

    fn full(&self, name: &CString) -> PathBuf {
        let mut path = self.root.to_owned();
        path.extend(
            self.frames
                .iter()
                .filter_map(|frame| frame.name.as_ref())
                .map(|name| os(name.to_bytes())),
        );
        path.join(os(name.to_bytes()))
    }
}

/// Opens a directory unless it is a link or something is mounted there.
fn open_below(directory: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let opened = match openat2(directory, name.as_c_str(), LISTED, Mode::empty(), resolve) {
        // A directory that its owner may not list can be made listable by its owner.
        Err(Errno::ACCESS) => {
            let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let closed = openat2(directory, name.as_c_str(), path, Mode::empty(), resolve)?;
            rustix::fs::chmod(
                format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&closed)),
                Mode::RWXU,
            )?;
            openat2(directory, name.as_c_str(), LISTED, Mode::empty(), resolve)
        }
        other => other,
    };
    match opened {
        // Kernels before 5.6, and sandboxes that don't know the call.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = openat(directory, name.as_c_str(), LISTED, Mode::empty())?;
            if fstat(&opened)?.st_dev == fstat(directory)?.st_dev {
                Ok(opened)
            } else {
                Err(Errno::XDEV)
            }
        }
        other => other,
    }
}

//! Owner, extended attributes, mode and times of what was restored, in the order in which they last.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;

use backstay_model::error::{show, show_bytes};
use backstay_model::{Error, Result};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmod, chownat, fchmod, fchown,
    futimens, openat, utimensat,
};
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::entry::{Entry, Kind, Time};
use crate::tree::path::os;
use crate::tree::xattr::Owner;

/// Names of attributes that are warned about one by one.
const MAX_NAMES: usize = 1_000;

const SET_IDS: u32 = 0o6000;

pub(crate) struct Attributes<'a> {
    root: &'a Path,
    context: &'a Context,
    owner_warned: bool,
    names_warned: HashSet<Vec<u8>>,
    /// Whether anything could not be restored as it was.
    pub(crate) lossy: bool,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(root: &'a Path, context: &'a Context) -> Self {
        Attributes {
            root,
            context,
            owner_warned: false,
            names_warned: HashSet::new(),
            lossy: false,
        }
    }

    /// Gives a file or directory its attributes.
    pub(crate) fn apply(&mut self, entry: &Entry, file: BorrowedFd<'_>) -> Result<()> {
        // A change of owner takes capabilities and set-user-id away, so it comes first.
        let owned = fchown(
            file,
            Some(Uid::from_raw(entry.uid)),
            Some(Gid::from_raw(entry.gid)),
        );
        let mode = self.mode(entry, owned)?;
        self.xattrs(entry, &Owner::open(file));
        // What was set to user-id may be taken away by a write, and a time by anything.
        fchmod(file, Mode::from_raw_mode(mode)).map_err(|e| self.failed("set the mode of", entry, e))?;
        futimens(file, &times(entry.mtime)).map_err(|e| self.failed("set the time of", entry, e))
    }

    /// Gives a link, fifo or device its attributes without opening it.
    pub(crate) fn apply_named(
        &mut self,
        entry: &Entry,
        directory: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<()> {
        let itself = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let owned = chownat(directory, name, Some(uid), Some(gid), itself);
        let mode = self.mode(entry, owned)?;
        self.xattrs(entry, &Owner::named(directory, name));
        if entry.kind != Kind::Symlink {
            // The mode of what a name stands for can only be set without following it through a descriptor.
            let failed = |e| self.failed("set the mode of", entry, e);
            let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(directory, name, path, Mode::empty()).map_err(failed)?;
            chmod(
                format!("/proc/self/fd/{}", node.as_raw_fd()),
                Mode::from_raw_mode(mode),
            )
            .map_err(failed)?;
        }
        utimensat(directory, name, &times(entry.mtime), itself)
            .map_err(|e| self.failed("set the time of", entry, e))
    }

    /// Says once for each kind of attribute that an archive has it in a form of another system.
    pub(crate) fn warn_foreign(&mut self, entry: &Entry, keys: &[String]) {
        for key in keys {
            if self.names_warned.len() < MAX_NAMES && self.names_warned.insert(key.clone().into_bytes()) {
                let message = format!(
                    "{key} of this entry, and perhaps of others, is in a form that can't be restored"
                );
                self.warn("xattr-not-restored", message, entry);
            }
        }
    }

    /// The mode to set, given whether the owner could be.
    fn mode(&mut self, entry: &Entry, owned: rustix::io::Result<()>) -> Result<u32> {
        match owned {
            Ok(()) => Ok(entry.mode),
            // In a user namespace, an id that it doesn't have.
            Err(Errno::PERM | Errno::INVAL) => {
                self.lossy = true;
                if !self.owner_warned {
                    self.owner_warned = true;
                    let message = "its owner, and perhaps that of others, could not be restored: only root may give files away";
                    self.warn("owner-not-restored", message.to_owned(), entry);
                }
                // To run as somebody else than meant is worse than not to.
                Ok(if entry.kind == Kind::Directory {
                    entry.mode
                } else {
                    entry.mode & !SET_IDS
                })
            }
            Err(error) => Err(self.failed("set the owner of", entry, error)),
        }
    }

    fn xattrs(&mut self, entry: &Entry, owner: &Owner<'_>) {
        for xattr in &entry.xattrs {
            let Err(error) = owner.set(xattr) else { continue };
            self.lossy = true;
            let name = xattr.name.to_bytes();
            if self.names_warned.len() < MAX_NAMES && self.names_warned.insert(name.to_vec()) {
                let error = std::io::Error::from(error);
                let message = format!(
                    "the attribute {} of it, and perhaps of others, could not be restored: {error}",
                    show_bytes(name)
                );
                self.warn("xattr-not-restored", message, entry);
            }
        }
    }

    fn warn(&self, code: &str, message: String, entry: &Entry) {
        let path = self.root.join(os(&entry.path));
        self.context.notes.warn(code, message, Some(show(&path)));
    }

    fn failed(&self, operation: &str, entry: &Entry, error: Errno) -> Error {
        Error::io(operation, self.root.join(os(&entry.path)), error.into())
    }
}

fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: mtime.nanoseconds.into(),
        },
    }
}

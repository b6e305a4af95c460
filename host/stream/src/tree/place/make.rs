//! Makes entries under their names, or beside what they replace.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use backstay_model::Result;
use backstay_model::error::show_bytes;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::tree::directory::THROUGH;
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::path;
use crate::tree::place::Place;

/// How a file is made: only if nothing has its name, and only for its owner until it is complete.
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Place<'_> {
    /// Makes an entry under its name, or beside it if it replaces something. Nothing if the system
    /// doesn't allow it, which is a warning then.
    pub(super) fn make(&mut self, entry: &Entry, name: &CStr) -> Result<Option<(CString, Option<OwnedFd>)>> {
        let target = match entry.kind {
            Kind::Hardlink => Some(self.link_target(entry)?),
            _ => None,
        };
        let mut at = name.to_owned();
        loop {
            match self.try_make(entry, &at, target.as_ref()) {
                Ok(file) => return Ok(Some((at, file))),
                Err(Errno::EXIST) if self.overwrite && at.as_c_str() == name => {
                    let stat = statat(self.stack.current(), name, AtFlags::SYMLINK_NOFOLLOW)
                        .map_err(|e| self.failed("look at", &entry.path, e))?;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        return Err(self.exists(&entry.path));
                    }
                    self.replaced += 1;
                    let beside = format!(".backstay-restore-{}-{}", std::process::id(), self.replaced);
                    at = CString::new(beside).unwrap_or_default();
                }
                Err(Errno::EXIST) => return Err(self.exists(&entry.path)),
                Err(Errno::PERM) if matches!(entry.kind, Kind::Character | Kind::Block) => {
                    self.attributes.lossy = true;
                    let message = "only root may make devices; it was left out";
                    self.context
                        .notes
                        .warn("device-not-restored", message, Some(show_bytes(&entry.path)));
                    return Ok(None);
                }
                Err(error) if entry.kind == Kind::Hardlink => {
                    return Err(self.failed(
                        &format!("link to {} from", show_bytes(&entry.link)),
                        &entry.path,
                        error,
                    ));
                }
                Err(error) => return Err(self.failed("make", &entry.path, error)),
            }
        }
    }

    fn try_make(
        &self,
        entry: &Entry,
        name: &CStr,
        target: Option<&(OwnedFd, CString)>,
    ) -> rustix::io::Result<Option<OwnedFd>> {
        let directory = self.stack.current();
        let private = Mode::RUSR | Mode::WUSR;
        let node = |file_type, device| mknodat(directory, name, file_type, private, device).map(|()| None);
        let device = makedev(entry.device.0, entry.device.1);
        match entry.kind {
            Kind::File => openat(directory, name, NEW, private).map(Some),
            Kind::Symlink => symlinkat(entry.link.as_slice(), directory, name).map(|()| None),
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::Character => node(FileType::CharacterDevice, device),
            Kind::Block => node(FileType::BlockDevice, device),
            Kind::Hardlink => match target {
                // The target's last name isn't followed either: a link to a link is one.
                Some((from, target)) => {
                    linkat(from, target.as_c_str(), directory, name, AtFlags::empty()).map(|()| None)
                }
                None => Err(Errno::INVAL),
            },
            Kind::Directory => Err(Errno::ISDIR),
        }
    }

    /// The directory of what a hard link is the same as, and its name there.
    fn link_target(&self, entry: &Entry) -> Result<(OwnedFd, CString)> {
        let (parent, name) = path::split(&entry.link);
        let missing = |e: Errno| match e {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                let link = show_bytes(&entry.link);
                self.refused(
                    &entry.path,
                    &format!("is a hard link to {link}, which can't be reached without leaving the tree"),
                )
            }
            e => self.failed("open", &entry.link, e),
        };
        let name = CString::new(name).map_err(|_| missing(Errno::NOENT))?;
        if name.is_empty() || entry.link == ROOT {
            return Err(missing(Errno::NOENT));
        }
        let start = if parent == self.current {
            self.stack.current()
        } else {
            self.stack.root()
        };
        let mut directory = openat(start, c".", THROUGH, Mode::empty()).map_err(missing)?;
        if parent != self.current {
            for name in path::names(parent) {
                directory = openat(&directory, name, THROUGH, Mode::empty()).map_err(missing)?;
            }
        }
        statat(&directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(missing)?;
        Ok((directory, name))
    }

    /// Puts what was made beside a name in its place.
    pub(super) fn replace(&self, entry: &Entry, placed: &CStr, name: &CStr) -> Result<()> {
        let directory = self.stack.current();
        renameat(directory, placed, directory, name).map_err(|e| self.failed("replace", &entry.path, e))?;
        // Renaming does nothing if both were links to one file already.
        match unlinkat(directory, placed, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("replace", &entry.path, error)),
        }
    }
}

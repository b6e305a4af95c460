//! Hands entries to whoever asked for them, and warnings to the run.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use rustix::fs::Stat;
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::path::os;
use crate::tree::scan::links::{Links, Seen};
use crate::tree::scan::{Taken, Visit};
use crate::tree::spec::TreeSpec;
use crate::tree::xattr::{Owner, XattrReader};

pub(crate) struct Reporter<'a, 'v> {
    root: &'a Path,
    context: &'a Context,
    visit: &'a mut Visit<'v>,
    /// Nothing if each name is a file of its own.
    links: Option<Links>,
    xattrs: XattrReader,
}

impl<'a, 'v> Reporter<'a, 'v> {
    pub(crate) fn new(spec: &'a TreeSpec, context: &'a Context, visit: &'a mut Visit<'v>) -> Self {
        Reporter {
            root: &spec.root,
            context,
            visit,
            links: (!spec.separate_names).then(Links::default),
            xattrs: XattrReader::new(),
        }
    }

    /// The path of an entry outside of its tree.
    pub(crate) fn full(&self, path: &[u8]) -> PathBuf {
        if path == ROOT {
            self.root.to_owned()
        } else {
            self.root.join(os(path))
        }
    }

    pub(crate) fn warn(&self, code: &str, message: impl Into<String>, path: &[u8]) {
        self.context
            .notes
            .warn(code, message, Some(show(&self.full(path))));
    }

    /// An entry, or all below it, is left out.
    ///
    /// # Errors
    /// The cause isn't the entry but a shortage that would leave out all others too.
    pub(crate) fn left_out(&self, path: &[u8], error: Errno) -> Result<()> {
        match error {
            Errno::NOENT => self.warn("vanished", "it vanished before it was read", path),
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => {
                self.warn(
                    "vanished",
                    "it was replaced by something else before it was read",
                    path,
                );
            }
            error => {
                let error = std::io::Error::from(error);
                if let Some(shortage) = shortage(self.full(path), &error) {
                    return Err(shortage);
                }
                self.warn("unreadable", format!("it could not be read: {error}"), path);
            }
        }
        Ok(())
    }

    /// The attributes of an entry; a warning for those that can't be had.
    pub(crate) fn xattrs(&mut self, path: &[u8], owner: &Owner<'_>) -> Vec<crate::tree::entry::Xattr> {
        let (xattrs, failure) = self.xattrs.read(owner);
        if let Some(error) = failure {
            self.warn(
                "xattrs-unreadable",
                format!("not all its extended attributes could be read: {error}"),
                path,
            );
        }
        xattrs
    }

    /// A regular file that is open.
    pub(crate) fn file(
        &mut self,
        path: &[u8],
        file: &File,
        stat: &Stat,
        pending: &mut Vec<Entry>,
    ) -> Result<()> {
        let mut entry = Entry::new(path.to_vec(), Kind::File, stat);
        if self.is_link(&mut entry, stat) {
            return self.emit_below(pending, &entry, None).map(drop);
        }
        entry.xattrs = self.xattrs(path, &Owner::open(file.as_fd()));
        let taken = self.emit_below(pending, &entry, Some((file, stat)))?;
        self.forget_unless(taken, stat);
        Ok(())
    }

    /// Anything that is neither a regular file nor a directory.
    pub(crate) fn special(
        &mut self,
        mut entry: Entry,
        stat: &Stat,
        owner: &Owner<'_>,
        pending: &mut Vec<Entry>,
    ) -> Result<()> {
        if self.is_link(&mut entry, stat) {
            return self.emit_below(pending, &entry, None).map(drop);
        }
        entry.xattrs = self.xattrs(&entry.path, owner);
        let taken = self.emit_below(pending, &entry, None)?;
        self.forget_unless(taken, stat);
        Ok(())
    }

    /// The next name of an entry that was not taken is the first.
    fn forget_unless(&mut self, taken: Taken, stat: &Stat) {
        if let (Some(links), Taken::No) = (&mut self.links, taken) {
            links.forget(stat);
        }
    }

    /// Makes it a link if it has the same inode as an earlier entry.
    fn is_link(&mut self, entry: &mut Entry, stat: &Stat) -> bool {
        let Some(links) = self.links.as_mut().filter(|_| stat.st_nlink > 1) else {
            return false;
        };
        match links.see(&entry.path, stat) {
            Seen::New => false,
            Seen::Changed => {
                let message = "it changed since its other name was read, and is kept as a file of its own";
                self.warn("changed-while-read", message, &entry.path);
                false
            }
            Seen::Same(first) => {
                *entry = Entry {
                    kind: Kind::Hardlink,
                    link: first,
                    size: 0,
                    device: (0, 0),
                    ..entry.clone()
                };
                true
            }
        }
    }

    /// An entry, after the directories that lead to it.
    pub(crate) fn emit_below(
        &mut self,
        pending: &mut Vec<Entry>,
        entry: &Entry,
        file: Option<(&File, &Stat)>,
    ) -> Result<Taken> {
        for directory in pending.drain(..) {
            self.emit(&directory, None)?;
        }
        self.emit(entry, file)
    }

    pub(crate) fn emit(&mut self, entry: &Entry, file: Option<(&File, &Stat)>) -> Result<Taken> {
        self.context.meter.enter(|| show(&self.full(&entry.path)));
        (self.visit)(entry, file)
    }
}

/// The failure of a whole tree if a resource of this process is used up: that says nothing about the file.
pub(crate) fn shortage(path: PathBuf, error: &std::io::Error) -> Option<Error> {
    let errno = Errno::from_io_error(error)?;
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM).then(|| {
        Error::io_as(Code::Environment, "open", path, errno.into())
            .hint("raise the limit of open files or of memory")
            .retryable()
    })
}

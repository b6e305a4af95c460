//! Puts entries into a directory and nowhere else.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use backstay_model::error::{show, show_bytes};
use backstay_model::{Code, Error, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ftruncate, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::archive::Member;
use crate::tree::directory::{self, DirectoryStack, LISTED, THROUGH};
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::path::{self, os};
use crate::tree::unpack::Content;
use crate::tree::xattr::{ACCESS_ACL, DEFAULT_ACL, Owner};

mod attributes;
mod make;

use attributes::Attributes;

/// A directory that entries are put into.
pub(crate) struct Place<'a> {
    root: &'a Path,
    overwrite: bool,
    context: &'a Context,
    stack: DirectoryStack,
    /// The path of the directory at hand, empty for the root.
    current: Vec<u8>,
    /// For each directory down to the one at hand, whether it gives its ACL to what is made in it.
    inherited: Vec<bool>,
    attributes: Attributes<'a>,
    /// Directories whose attributes wait until all is in them.
    directories: Vec<Entry>,
    /// Directories that were made because something is below them.
    implied: HashSet<Vec<u8>>,
    root_was_empty: bool,
    replaced: u64,
}

impl<'a> Place<'a> {
    /// Opens the directory, making it if it is missing.
    pub(crate) fn open(root: &'a Path, overwrite: bool, context: &'a Context) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::io("restore to", root, e).hint("name a directory that can be written to")
        };
        std::fs::create_dir_all(root).map_err(failed)?;
        let listed = openat(CWD, root, LISTED.difference(OFlags::NOFOLLOW), Mode::empty());
        let listed = listed.map_err(|e| failed(e.into()))?;
        Ok(Place {
            root,
            overwrite,
            context,
            root_was_empty: directory::is_empty(listed.as_fd()).map_err(failed)?,
            inherited: vec![gives_acl(listed.as_fd())],
            stack: DirectoryStack::new(listed),
            current: Vec::new(),
            attributes: Attributes::new(root, context),
            directories: Vec::new(),
            implied: HashSet::new(),
            replaced: 0,
        })
    }

    /// Puts one entry in its place.
    pub(crate) fn restore<R: Read>(
        &mut self,
        member: &Member,
        content: &mut Content<'_, '_, R>,
    ) -> Result<()> {
        let entry = &member.entry;
        self.attributes.warn_foreign(entry, &member.foreign);
        let (parent, name) = path::split(&entry.path);
        if entry.path == ROOT {
            if entry.kind != Kind::Directory {
                return Err(self.refused(
                    &entry.path,
                    "takes the place of the directory that is restored to",
                ));
            }
            if self.overwrite || self.root_was_empty {
                self.directories.push(entry.clone());
            }
            return Ok(());
        }
        self.enter(parent)?;
        let name =
            CString::new(name).map_err(|_| self.refused(&entry.path, "has a zero byte in its name"))?;
        if entry.kind == Kind::Directory {
            return self.directory(entry, &name);
        }
        let Some((placed, file)) = self.make(entry, &name)? else {
            return Ok(());
        };
        let done = self.fill(member, &placed, file, content).and_then(|()| {
            if placed == name {
                Ok(())
            } else {
                self.replace(entry, &placed, &name)
            }
        });
        if done.is_err() {
            // What is half done must not look whole. The failure itself is what counts.
            let _ = unlinkat(self.stack.current(), placed.as_c_str(), AtFlags::empty());
        }
        done
    }

    /// Makes a directory on the way to what was asked for. One that is there stays as it is.
    pub(crate) fn lead(&mut self, entry: &Entry) -> Result<()> {
        let (parent, name) = path::split(&entry.path);
        self.enter(parent)?;
        let name =
            CString::new(name).map_err(|_| self.refused(&entry.path, "has a zero byte in its name"))?;
        match mkdirat(self.stack.current(), name.as_c_str(), Mode::RWXU) {
            Ok(()) => {
                self.drop_inherited(&name, &entry.path)?;
                self.directories.push(entry.clone());
                Ok(())
            }
            // What else it could be is found out by what comes below it.
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(self.failed("make", &entry.path, error)),
        }
    }

    /// Gives directories their attributes, the deepest first. Says whether anything is not as it was.
    pub(crate) fn finish(mut self) -> Result<bool> {
        let mut directories = std::mem::take(&mut self.directories);
        // A path comes before all that is below it, and of two entries for one the last counts.
        directories.sort_by(|a, b| a.path.cmp(&b.path));
        let mut last: Option<Vec<u8>> = None;
        for entry in directories.into_iter().rev() {
            self.context.cancel.check()?;
            if last.as_ref() == Some(&entry.path) {
                continue;
            }
            self.enter(if entry.path == ROOT { b"" } else { &entry.path })?;
            let directory = openat(self.stack.current(), c".", LISTED, Mode::empty())
                .map_err(|e| self.failed("open", &entry.path, e))?;
            self.attributes.apply(&entry, directory.as_fd())?;
            last = Some(entry.path);
        }
        Ok(self.attributes.lossy)
    }

    /// Goes to a directory, making what is missing on the way, never through a link.
    fn enter(&mut self, parent: &[u8]) -> Result<()> {
        while !is_within(parent, &self.current) {
            self.stack.pop().map_err(|e| {
                Error::io("go back up from", self.full(&self.current), e)
                    .hint("directories were moved meanwhile; try again")
            })?;
            self.inherited.pop();
            self.current.truncate(path::split(&self.current).0.len());
        }
        let start = if self.current.is_empty() {
            0
        } else {
            self.current.len() + 1
        };
        for name in path::names(parent.get(start..).unwrap_or_default()) {
            let mut path = self.current.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let opened = match openat(self.stack.current(), name, THROUGH, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.make_directory(name, 0o755, &path)?;
                    self.implied.insert(path.clone());
                    openat(self.stack.current(), name, THROUGH, Mode::empty())
                }
                other => other,
            };
            let opened = opened.map_err(|e| match e {
                Errno::NOTDIR | Errno::LOOP => self.refused(
                    &path,
                    "is not a directory, perhaps a link, and yet there is something below it",
                ),
                e => self.failed("open", &path, e),
            })?;
            self.inherited.push(gives_acl(opened.as_fd()));
            self.stack
                .push(opened)
                .map_err(|e| Error::io("enter", self.full(&path), e))?;
            self.current = path;
        }
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, name: &CStr) -> Result<()> {
        match mkdirat(self.stack.current(), name, Mode::RWXU) {
            Ok(()) => self.drop_inherited(name, &entry.path)?,
            Err(Errno::EXIST) => {
                let failed = |e| self.failed("look at", &entry.path, e);
                let stat = statat(self.stack.current(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    if !self.overwrite {
                        return Err(self.exists(&entry.path));
                    }
                    unlinkat(self.stack.current(), name, AtFlags::empty())
                        .map_err(|e| self.failed("replace", &entry.path, e))?;
                    self.make_directory(name, 0o700, &entry.path)?;
                } else if !self.overwrite && !self.implied.contains(&entry.path) {
                    let there = openat(self.stack.current(), name, LISTED, Mode::empty()).map_err(failed)?;
                    let empty = directory::is_empty(there.as_fd());
                    if !empty.map_err(|e| Error::io("look at", self.full(&entry.path), e))? {
                        return Ok(());
                    }
                }
            }
            Err(error) => return Err(self.failed("make", &entry.path, error)),
        }
        self.directories.push(entry.clone());
        Ok(())
    }

    fn make_directory(&self, name: impl rustix::path::Arg + Copy, mode: u32, path: &[u8]) -> Result<()> {
        mkdirat(self.stack.current(), name, Mode::from_raw_mode(mode))
            .map_err(|e| self.failed("make", path, e))?;
        let name = CString::new(path::split(path).1)
            .map_err(|_| self.refused(path, "has a zero byte in its name"))?;
        self.drop_inherited(&name, path)
    }

    /// Gives an entry its content and attributes. A hard link has those of its target.
    fn fill<R: Read>(
        &mut self,
        member: &Member,
        placed: &CStr,
        file: Option<OwnedFd>,
        content: &mut Content<'_, '_, R>,
    ) -> Result<()> {
        let entry = &member.entry;
        if entry.kind == Kind::Hardlink {
            return Ok(());
        }
        let inherits = self.inherited.last().copied().unwrap_or(false);
        if inherits && entry.kind != Kind::Symlink {
            self.drop_inherited(placed, &entry.path)?;
        }
        let Some(file) = file else {
            return self.attributes.apply_named(entry, self.stack.current(), placed);
        };
        let file = File::from(file);
        let mut end = 0;
        content.copy(member, &mut |bytes, offset| {
            end = offset + bytes.len() as u64;
            file.write_all_at(bytes, offset)
                .map_err(|e| Error::io("write", self.full(&entry.path), e))
        })?;
        if end < entry.size {
            ftruncate(&file, entry.size).map_err(|e| self.failed("write", &entry.path, e))?;
        }
        self.attributes.apply(entry, file.as_fd())
    }

    /// Takes away the ACL that something new has from the directory it is in.
    fn drop_inherited(&self, name: &CStr, path: &[u8]) -> Result<()> {
        if !self.inherited.last().copied().unwrap_or(false) {
            return Ok(());
        }
        let owner = Owner::named(self.stack.current(), name);
        match owner.remove(ACCESS_ACL).and_then(|()| owner.remove(DEFAULT_ACL)) {
            // Only directories have a default.
            Ok(()) | Err(Errno::ACCESS) => Ok(()),
            Err(error) => Err(self.failed("take the inherited ACL from", path, error)),
        }
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.root.join(os(path))
    }

    fn failed(&self, operation: &str, path: &[u8], error: Errno) -> Error {
        Error::io(operation, self.full(path), error.into())
    }

    fn exists(&self, path: &[u8]) -> Error {
        Error::new(
            Code::Configuration,
            format!("{} exists already", show(&self.full(path))),
        )
        .hint("restore to an empty directory, or allow what is there to be replaced; a directory never is")
    }

    fn refused(&self, path: &[u8], why: &str) -> Error {
        Error::new(
            Code::Archive,
            format!("the archive's entry {} is refused: it {why}", show_bytes(path)),
        )
        .hint("restore to an empty directory; if it happens there too, do not trust this archive")
    }
}

/// Whether a path is a directory itself or below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn gives_acl(directory: BorrowedFd<'_>) -> bool {
    Owner::named(directory, c".").has(DEFAULT_ACL)
}

//! Walks a tree in the one order that archives and indexes have: sorted by name, directories before
//! what is in them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::vec;

use backstay_model::{Code, Error, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::directory::{self, DirectoryStack, LISTED, Name};
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::path::MAX_PATH_BYTES;
use crate::tree::spec::TreeSpec;
use crate::tree::xattr::Owner;

mod links;
mod report;

use report::Reporter;
pub(crate) use report::shortage;

/// Takes the entries of a tree, each file with its descriptor and what `stat` said of it. Of an entry that it says it
/// has not taken nothing becomes a further name.
pub(crate) type Visit<'a> = dyn FnMut(&Entry, Option<(&File, &Stat)>) -> Result<Taken> + 'a;

/// Whether somebody took an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    No,
}

/// How to open what should be a regular file and may be something else by then.
pub(crate) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Calls `visit` for each entry that the spec means.
///
/// # Errors
/// The root can't be read, a resource of the process is used up, somebody cancelled, or `visit` failed.
/// Anything else that can't be read is a warning.
pub(crate) fn scan(spec: &TreeSpec, context: &Context, visit: &mut Visit<'_>) -> Result<()> {
    let failed = |e: io::Error| {
        Error::io_as(Code::BackupFailed, "read", &spec.root, e)
            .hint("check that it is there, that its file system is mounted, and that Backstay may read it")
    };
    let mut reporter = Reporter::new(spec, context, visit);
    let metadata = std::fs::metadata(&spec.root).map_err(failed)?;
    if metadata.is_file() {
        let Some(name) = spec.root.file_name() else {
            return Err(failed(Errno::INVAL.into()));
        };
        let file = open(CWD, &spec.root, FILE.difference(OFlags::NOFOLLOW)).map_err(|e| failed(e.into()))?;
        let stat = fstat(&file).map_err(|e| failed(e.into()))?;
        return reporter.file(name.as_bytes(), &File::from(file), &stat, &mut Vec::new());
    }
    if !metadata.is_dir() {
        return Err(Error::new(
            Code::BackupFailed,
            format!(
                "{} is neither a directory nor a file",
                backstay_model::error::show(&spec.root)
            ),
        )
        .hint("name a directory or a regular file"));
    }
    let root = open(CWD, &spec.root, LISTED.difference(OFlags::NOFOLLOW)).map_err(|e| failed(e.into()))?;
    let stat = fstat(&root).map_err(|e| failed(e.into()))?;
    let mut entry = Entry::new(ROOT.to_vec(), Kind::Directory, &stat);
    entry.xattrs = reporter.xattrs(ROOT, &Owner::open(root.as_fd()));
    reporter.emit(&entry, None)?;
    let (names, failure) = directory::names(root.as_fd());
    if let Some(error) = failure {
        return Err(failed(error));
    }
    let top = Frame {
        names: names.into_iter(),
        path_bytes: 0,
        included: spec.takes_root(),
    };
    let scan = Scan {
        spec,
        context,
        reporter,
        device: stat.st_dev,
        stack: DirectoryStack::new(root),
        frames: vec![top],
        path: Vec::new(),
        placed: Vec::new(),
        pending: Vec::new(),
    };
    scan.run()
}

struct Scan<'a, 'v> {
    spec: &'a TreeSpec,
    context: &'a Context,
    reporter: Reporter<'a, 'v>,
    device: u64,
    stack: DirectoryStack,
    /// The directories down to the one at hand.
    frames: Vec<Frame>,
    path: Vec<u8>,
    /// The path as patterns see it, for a tree that has a place.
    placed: Vec<u8>,
    /// Directories down to the one at hand that nobody has asked for yet.
    pending: Vec<Entry>,
}

struct Frame {
    names: vec::IntoIter<Name>,
    path_bytes: usize,
    /// Whether all below is meant.
    included: bool,
}

impl Scan<'_, '_> {
    fn run(mut self) -> Result<()> {
        while let Some(frame) = self.frames.last_mut() {
            self.context.cancel.check()?;
            self.path.truncate(frame.path_bytes);
            let included = frame.included;
            match frame.names.next() {
                Some(name) => {
                    if !self.path.is_empty() {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(name.name.to_bytes());
                    self.visit(&name, included)?;
                }
                None => self.leave()?,
            }
        }
        Ok(())
    }

    /// The path at hand as patterns see it.
    fn pattern_path(&mut self) -> &[u8] {
        if self.spec.place.is_empty() {
            return &self.path;
        }
        self.placed.clone_from(&self.spec.place);
        self.placed.push(b'/');
        self.placed.extend_from_slice(&self.path);
        &self.placed
    }

    fn leave(&mut self) -> Result<()> {
        self.frames.pop();
        // What nobody asked for yet is always the deepest.
        self.pending.pop();
        self.stack.pop().map_err(|e| {
            Error::io_as(
                Code::BackupFailed,
                "go back up from",
                self.reporter.full(&self.path),
                e,
            )
            .hint("directories were moved while they were read; try again")
            .retryable()
        })
    }

    fn visit(&mut self, name: &Name, included: bool) -> Result<()> {
        if self.path.len() + 1 >= MAX_PATH_BYTES {
            self.reporter
                .warn("path-too-long", "its path is too long to be kept", &self.path);
            return Ok(());
        }
        let file_type = match name.file_type {
            FileType::Unknown => match self.stat(name) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(error) => return self.reporter.left_out(&self.path, error),
            },
            known => known,
        };
        let is_directory = file_type == FileType::Directory;
        let spec = self.spec;
        let pattern_path = self.pattern_path();
        if spec.excludes(pattern_path, is_directory) {
            return Ok(());
        }
        let included = included || spec.include.matches(pattern_path, is_directory);
        if is_directory {
            if included || spec.include.may_match_below(pattern_path) {
                return self.directory(name, included);
            }
            return Ok(());
        }
        if !included {
            return Ok(());
        }
        match file_type {
            FileType::RegularFile => {
                let opened = open(self.stack.current(), name.name.as_c_str(), FILE);
                match opened.and_then(|file| Ok((fstat(&file)?, file))) {
                    Ok((stat, _)) if !is(&stat, FileType::RegularFile) => {
                        self.reporter.left_out(&self.path, Errno::LOOP)
                    }
                    Ok((stat, file)) => {
                        self.reporter
                            .file(&self.path, &File::from(file), &stat, &mut self.pending)
                    }
                    Err(error) => self.reporter.left_out(&self.path, error),
                }
            }
            FileType::Socket => {
                self.reporter.warn(
                    "socket-skipped",
                    "it is a socket, which has nothing to keep",
                    &self.path,
                );
                Ok(())
            }
            other => self.special(name, other),
        }
    }

    /// Symbolic links, fifos and devices.
    fn special(&mut self, name: &Name, file_type: FileType) -> Result<()> {
        let stat = match self.stat(name) {
            Ok(stat) if is(&stat, file_type) => stat,
            Ok(_) => return self.reporter.left_out(&self.path, Errno::LOOP),
            Err(error) => return self.reporter.left_out(&self.path, error),
        };
        let Some(kind) = Kind::of(file_type) else {
            self.reporter
                .warn("unreadable", "it is of a kind that can't be kept", &self.path);
            return Ok(());
        };
        let mut entry = Entry::new(self.path.clone(), kind, &stat);
        if kind == Kind::Symlink {
            match readlinkat(self.stack.current(), name.name.as_c_str(), Vec::new()) {
                Ok(link) => entry.link = link.into_bytes(),
                Err(error) => return self.reporter.left_out(&self.path, error),
            }
        }
        let owner = Owner::named(self.stack.current(), &name.name);
        self.reporter.special(entry, &stat, &owner, &mut self.pending)
    }

    fn directory(&mut self, name: &Name, included: bool) -> Result<()> {
        let opened = open(self.stack.current(), name.name.as_c_str(), LISTED);
        let (stat, directory) = match opened.and_then(|directory| Ok((fstat(&directory)?, directory))) {
            Ok(opened) => opened,
            Err(error) => return self.closed_directory(name, included, error),
        };
        let mut entry = Entry::new(self.path.clone(), Kind::Directory, &stat);
        let foreign = self.spec.one_file_system && stat.st_dev != self.device;
        if foreign && !included {
            return Ok(());
        }
        entry.xattrs = self.reporter.xattrs(&self.path, &Owner::open(directory.as_fd()));
        if included {
            self.reporter.emit_below(&mut self.pending, &entry, None)?;
        } else {
            self.pending.push(entry);
        }
        if foreign {
            return Ok(());
        }
        let (names, failure) = directory::names(directory.as_fd());
        if let Some(error) = failure {
            let message = format!("it could not be listed to its end: {error}");
            self.reporter.warn("unreadable", message, &self.path);
        }
        self.stack
            .push(directory)
            .map_err(|e| Error::io_as(Code::BackupFailed, "enter", self.reporter.full(&self.path), e))?;
        self.frames.push(Frame {
            names: names.into_iter(),
            path_bytes: self.path.len(),
            included,
        });
        Ok(())
    }

    /// A directory that can't be entered is kept without its content.
    fn closed_directory(&mut self, name: &Name, included: bool, error: Errno) -> Result<()> {
        self.reporter.left_out(&self.path, error)?;
        match self.stat(name) {
            Ok(stat) if included && is(&stat, FileType::Directory) => {
                let mut entry = Entry::new(self.path.clone(), Kind::Directory, &stat);
                let owner = Owner::named(self.stack.current(), &name.name);
                entry.xattrs = self.reporter.xattrs(&self.path, &owner);
                self.reporter
                    .emit_below(&mut self.pending, &entry, None)
                    .map(drop)
            }
            _ => Ok(()),
        }
    }

    fn stat(&self, name: &Name) -> rustix::io::Result<Stat> {
        statat(
            self.stack.current(),
            name.name.as_c_str(),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }
}

fn is(stat: &Stat, file_type: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == file_type
}

/// Opens without touching the access time where that is allowed.
pub(crate) fn open(
    directory: impl std::os::fd::AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    match openat(&directory, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(&directory, path, flags, Mode::empty()),
        other => other,
    }
}

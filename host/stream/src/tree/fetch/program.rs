//! Files that programs bring into a directory.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;

use backstay_model::error::{from_io, show_bytes};
use backstay_model::{Code, Error, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::context::Context;
use crate::process::CommandSpec;
use crate::process::child::Child;
use crate::process::inside::Moving;
use crate::process::keep::{Part, keep};
use crate::tree::directory::{LISTED, THROUGH};
use crate::tree::empty::empty_directory;
use crate::tree::fetch::{Bring, Content, Fetch, Wanted};
use crate::tree::listed::listed;
use crate::tree::path::{names, os, split};

/// How programs bring files.
#[derive(Debug, Clone)]
pub struct Fetching {
    /// Copies the files, whose paths it reads one a line in the form of [`TreeCopy::files`](crate::tree::TreeCopy::files),
    /// into [`Fetching::into`]. One that isn't there is no failure of its.
    pub many: CommandSpec,
    /// Writes the content of the one file whose path it reads to its output.
    pub one: CommandSpec,
    /// A directory that nobody else uses. It is emptied again and again.
    pub into: PathBuf,
    /// Bytes of content that are brought at a time; what is larger comes alone and takes no room.
    pub bytes: u64,
}

impl Fetch for Fetching {
    fn describe(&self) -> String {
        self.many.describe()
    }

    fn most_bytes(&self) -> u64 {
        self.bytes
    }

    fn begin<'a>(&'a self, context: &'a Context) -> Box<dyn Bring + 'a> {
        Box::new(Bringing {
            fetching: self,
            context,
        })
    }
}

struct Bringing<'a> {
    fetching: &'a Fetching,
    context: &'a Context,
}

/// What such programs print says nothing that their complaints don't.
const PRINTED_BYTES: usize = 4 << 10;

impl Bring for Bringing<'_> {
    fn bring(&mut self, files: &[Wanted<'_>]) -> Result<()> {
        empty_directory(&self.fetching.into)?;
        if files.is_empty() {
            return Ok(());
        }
        let list = list(files.iter().map(|file| file.path))?;
        let _moving = Moving::new(&self.context.meter);
        let mut child = Child::start_in(&self.fetching.many, Path::new("/"), list, self.context)?;
        let _activity = child.watch(&self.context.meter)?;
        let printed = keep(child.take_stdout()?, Part::Last(PRINTED_BYTES))?;
        let exit = child.wait()?;
        self.context.cancel.check()?;
        drop(printed);
        exit.success(0)
    }

    fn brought(&mut self, path: &[u8]) -> Result<Option<(u64, Box<dyn Content + '_>)>> {
        let Some((file, bytes)) = open(&self.fetching.into, path)? else {
            return Ok(None);
        };
        let shown = self.fetching.into.join(os(path));
        let content = Brought {
            file,
            shown,
            offset: 0,
        };
        Ok(Some((bytes, Box::new(content))))
    }

    fn alone(&mut self, file: &Wanted<'_>) -> Result<Box<dyn Content + '_>> {
        let list = list([file.path].into_iter())?;
        let mut child = Child::start_in(&self.fetching.one, Path::new("/"), list, self.context)?;
        Ok(Box::new(Written {
            stdout: child.take_stdout()?,
            child,
            context: self.context,
        }))
    }

    fn end(&mut self) -> Result<()> {
        empty_directory(&self.fetching.into)
    }
}

/// A file that was brought.
struct Brought {
    file: File,
    shown: PathBuf,
    offset: u64,
}

impl Content for Brought {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self
            .file
            .read_at(buffer, self.offset)
            .map_err(|e| Error::io("read", &self.shown, e))?;
        self.offset += n as u64;
        Ok(n)
    }

    fn end(self: Box<Self>, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A file while a program writes it.
struct Written<'a> {
    stdout: ChildStdout,
    child: Child,
    context: &'a Context,
}

impl Content for Written<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.stdout
            .read(buffer)
            .map_err(|e| from_io(e, Code::Storage, "cannot read what a program writes"))
    }

    fn end(self: Box<Self>, given: u64) -> Result<()> {
        let Written {
            stdout,
            mut child,
            context,
        } = *self;
        drop(stdout);
        child.wait()?.success(given)?;
        context.cancel.check()
    }
}

/// A list of paths.
fn list<'p>(paths: impl Iterator<Item = &'p [u8]>) -> Result<File> {
    let failed = |e| Error::io("write a list of files to", std::env::temp_dir(), e);
    let mut lines = Vec::new();
    for path in paths {
        lines.extend(listed(path).ok_or_else(|| {
            let message = format!("no program can be asked for {}", show_bytes(path));
            Error::new(Code::Verification, message)
                .hint("the index is not of a tree that was stored in this way")
        })?);
        lines.push(b'\n');
    }
    let mut list = tempfile::tempfile().map_err(failed)?;
    list.write_all(&lines)
        .and_then(|()| list.seek(SeekFrom::Start(0)))
        .map_err(failed)?;
    Ok(list)
}

/// A regular file that was brought, and its size; nothing if there is none.
fn open(into: &Path, path: &[u8]) -> Result<Option<(File, u64)>> {
    const FILE: OFlags = OFlags::RDONLY
        .union(OFlags::NOFOLLOW)
        .union(OFlags::NONBLOCK)
        .union(OFlags::CLOEXEC);
    let failed = |e: Errno| Error::io("read", into.join(os(path)), e.into());
    let (above, name) = split(path);
    let mut directory: OwnedFd = openat(CWD, into, LISTED, Mode::empty()).map_err(failed)?;
    for each in names(above) {
        directory = match openat(&directory, os(each), THROUGH, Mode::empty()) {
            Ok(below) => below,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
    }
    let file = match openat(&directory, os(name), FILE, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let stat = fstat(&file).map_err(failed)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(is_file.then(|| (File::from(file), size)))
}

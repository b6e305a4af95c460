//! A stored tree whose files a program gives back, as a tar stream in the order of its index.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::error::{from_io, show_bytes};
use backstay_model::{Code, Error, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::blocks::Blocks;
use crate::context::Context;
use crate::process::inside::Moving;
use crate::process::keep::{Part, keep};
use crate::process::{CommandSpec, child::Child};
use crate::read::{Reading, read};
use crate::recipe::{Produced, Recipe};
use crate::tree::compare::{Lines, Numbered};
use crate::tree::content::{ContentWriter, push_zeros};
use crate::tree::directory::{LISTED, THROUGH};
use crate::tree::empty::empty_directory;
use crate::tree::encode::{END, encode, padding_bytes};
use crate::tree::entry::{Entry, Kind};
use crate::tree::listed::listed;
use crate::tree::path::{names, os, split};
use crate::tree::sparse::Segment;

/// Bytes of content that are brought at a time, and so the room that they take for a while.
pub const FETCH_BYTES: u64 = 256 << 20;

/// Most files that are brought at a time.
const MOST_FILES: usize = 10_000;

/// Most lines of an index that are held in memory.
const MOST_LINES: usize = 20_000;

/// Bytes to read from a program at first: whether there are any says whether the file is there.
const FIRST_BYTES: usize = 64 << 10;

/// How files come back.
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

/// The files of a stored tree, as a program brings them. Without the tree's index nobody knows which they are.
#[derive(Debug)]
pub struct FetchRecipe(Fetching);

impl FetchRecipe {
    /// Files that come in this way.
    pub fn new(fetching: Fetching) -> Self {
        FetchRecipe(fetching)
    }
}

impl Recipe for FetchRecipe {
    fn describe(&self) -> String {
        self.0.many.describe()
    }

    fn produce(&self, _: &Context, _: &mut Blocks) -> Result<Produced> {
        let message = format!(
            "what `{}` brings is no stream but a tree's files",
            self.describe()
        );
        Err(Error::new(Code::Storage, message).hint("this is a defect of the plugin"))
    }

    fn in_order_of(&self, index: &Arc<dyn Recipe>) -> Option<Arc<dyn Recipe>> {
        Some(Arc::new(Fetched {
            fetching: self.0.clone(),
            index: Arc::clone(index),
        }))
    }
}

/// The same with the index: directories and links as it has them, and files with what was brought.
#[derive(Debug)]
struct Fetched {
    fetching: Fetching,
    index: Arc<dyn Recipe>,
}

impl Recipe for Fetched {
    fn describe(&self) -> String {
        self.fetching.many.describe()
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut index = read(Arc::clone(&self.index), &context.uncounted())?;
        let giving = Giving {
            fetching: &self.fetching,
            context,
            out,
            header: Vec::new(),
            content: ContentWriter::new(),
            produced: Produced {
                content_bytes: Some(0),
                entries: 0,
            },
        };
        match giving.all(&mut index) {
            Ok(produced) => {
                index.finish()?;
                empty_directory(&self.fetching.into)?;
                Ok(produced)
            }
            Err(error) if error.code() == Code::Cancelled => Err(error),
            Err(error) => Err(index.fail(error)),
        }
    }
}

/// A line of the index, and whether its file is to come alone.
struct Wanted {
    entry: Entry,
    is_alone: bool,
}

struct Giving<'a> {
    fetching: &'a Fetching,
    context: &'a Context,
    out: &'a mut Blocks,
    header: Vec<u8>,
    content: ContentWriter,
    produced: Produced,
}

impl Giving<'_> {
    fn all(mut self, index: &mut Reading) -> Result<Produced> {
        let mut lines = Lines::new(BufReader::new(index), "stored");
        let mut lines = std::iter::from_fn(|| lines.next().transpose()).peekable();
        while lines.peek().is_some() {
            let batch = self.bring(&mut lines)?;
            for wanted in batch {
                self.context.cancel.check()?;
                self.give(&wanted)?;
            }
        }
        self.out.write(&END)?;
        Ok(self.produced)
    }

    /// Has the program bring the files of the next lines.
    fn bring(&mut self, lines: &mut Peekable<impl Iterator<Item = Result<Numbered>>>) -> Result<Vec<Wanted>> {
        let failed = |e| Error::io("write a list of files to", std::env::temp_dir(), e);
        let mut list = tempfile::tempfile().map_err(failed)?;
        let (mut batch, mut files, mut bytes) = (Vec::new(), 0, 0_u64);
        let most_bytes = self.fetching.bytes;
        // An unreadable line has no size, and is taken to be told of.
        let has_room = |files: usize, bytes: u64, next: &Result<Numbered>| {
            let size = next.as_ref().map_or(0, |next| next.line.size.unwrap_or(0));
            files == 0 || size > most_bytes || (files < MOST_FILES && bytes + size <= most_bytes)
        };
        while batch.len() < MOST_LINES
            && let Some(next) = lines.next_if(|next| has_room(files, bytes, next))
        {
            let Numbered { path, line } = next?;
            // How large something uncertain is isn't known beforehand, as it must be for what comes alone.
            let is_alone = !line.uncertain && line.size.unwrap_or(0) > most_bytes;
            let Some(mut entry) = line.entry(path) else {
                continue;
            };
            entry.xattrs.clear();
            if entry.kind == Kind::File && !is_alone {
                files += 1;
                bytes += entry.size;
                list.write_all(&line_of(&entry.path)?).map_err(failed)?;
            }
            batch.push(Wanted { entry, is_alone });
        }
        empty_directory(&self.fetching.into)?;
        if files > 0 {
            list.seek(SeekFrom::Start(0)).map_err(failed)?;
            self.run(list)?;
        }
        Ok(batch)
    }

    fn run(&self, list: File) -> Result<()> {
        /// What such programs print says nothing that their complaints don't.
        const PRINTED_BYTES: usize = 4 << 10;
        let _moving = Moving::new(&self.context.meter);
        let mut child = Child::start_in(&self.fetching.many, Path::new("/"), list, self.context)?;
        let _activity = child.watch(&self.context.meter)?;
        let printed = keep(child.take_stdout()?, Part::Last(PRINTED_BYTES))?;
        let exit = child.wait()?;
        self.context.cancel.check()?;
        drop(printed);
        exit.success(0)
    }

    /// Gives an entry as far as it is there.
    fn give(&mut self, wanted: &Wanted) -> Result<()> {
        match wanted.entry.kind {
            Kind::Directory | Kind::Symlink => self.begin(&wanted.entry).map(drop),
            Kind::File if wanted.is_alone => self.give_alone(&wanted.entry),
            Kind::File => self.give_brought(&wanted.entry),
            // The index has all that there is to know of them.
            Kind::Hardlink | Kind::Fifo | Kind::Character | Kind::Block => Ok(()),
        }
    }

    fn give_brought(&mut self, entry: &Entry) -> Result<()> {
        let Some((file, size)) = self.open(&entry.path)? else {
            return Ok(());
        };
        let entry = Entry {
            size,
            ..entry.clone()
        };
        let whole = Segment {
            offset: 0,
            bytes: self.begin(&entry)?,
        };
        if self.content.push(&file, whole, self.context, self.out)?.is_some() {
            let path = self.fetching.into.join(os(&entry.path));
            let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(Error::io("read", path, error));
        }
        push_zeros(padding_bytes(size) as u64, self.context, self.out)
    }

    /// Gives a file while the program writes it.
    fn give_alone(&mut self, entry: &Entry) -> Result<()> {
        let failed = |e| Error::io("write the name of a file to", std::env::temp_dir(), e);
        let mut list = tempfile::tempfile().map_err(failed)?;
        list.write_all(&line_of(&entry.path)?).map_err(failed)?;
        list.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut child = Child::start_in(&self.fetching.one, Path::new("/"), list, self.context)?;
        let mut stdout = child.take_stdout()?;
        let unread = |e| from_io(e, Code::Storage, "cannot read what a program writes");
        let mut first = vec![0; FIRST_BYTES];
        let mut given = stdout.read(&mut first).map_err(unread)? as u64;
        if given > 0 {
            self.begin(entry)?;
            self.out.write(&first[..given as usize])?;
        }
        while given > 0 && given <= entry.size {
            self.context.cancel.check()?;
            match self
                .out
                .fill(|buffer| stdout.read(buffer))
                .map_err(|e| e.or(unread))?
            {
                0 => break,
                n => given += n as u64,
            }
            self.context.meter.tick();
        }
        if given <= entry.size {
            child.wait()?.success(given)?;
            self.context.cancel.check()?;
        }
        match given {
            // Who reads on finds it missing.
            0 => Ok(()),
            n if n == entry.size => push_zeros(padding_bytes(n) as u64, self.context, self.out),
            n => {
                let than = if n < entry.size { "fewer" } else { "more" };
                let (path, size) = (show_bytes(&entry.path), entry.size);
                let message = format!("{path} comes back with {than} than its {size} bytes");
                Err(Error::new(Code::Verification, message).hint(
                    "restore from another backup or destination; keep this one until you have found out why",
                ))
            }
        }
    }

    /// Gives the header of an entry, and says how many bytes of content must follow.
    fn begin(&mut self, entry: &Entry) -> Result<u64> {
        self.header.clear();
        let bytes = encode(entry, None, &mut self.header);
        self.out.write(&self.header)?;
        self.produced.entries += 1;
        self.produced.content_bytes = self.produced.content_bytes.map(|all| all + entry.size);
        Ok(bytes)
    }

    /// A regular file that was brought, and its size; nothing if there is none.
    fn open(&self, path: &[u8]) -> Result<Option<(File, u64)>> {
        const FILE: OFlags = OFlags::RDONLY
            .union(OFlags::NOFOLLOW)
            .union(OFlags::NONBLOCK)
            .union(OFlags::CLOEXEC);
        let failed = |e: Errno| Error::io("read", self.fetching.into.join(os(path)), e.into());
        let (above, name) = split(path);
        let mut directory: OwnedFd =
            openat(CWD, &self.fetching.into, LISTED, Mode::empty()).map_err(failed)?;
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
}

/// A path as a line of a list.
fn line_of(path: &[u8]) -> Result<Vec<u8>> {
    let mut line = listed(path).ok_or_else(|| {
        let message = format!("no program can be asked for {}", show_bytes(path));
        Error::new(Code::Verification, message).hint("the index is not of a tree that was stored in this way")
    })?;
    line.push(b'\n');
    Ok(line)
}

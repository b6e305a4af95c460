//! A tree that a program copies by itself: what it is to take, and what it can have taken.
//!
//! [`TreeCopy::scan`] walks the tree and writes down each entry, and the list of paths for the program. While that copies,
//! a thread reads each file and hashes it. [`TreeCopy::finish`] looks at each entry again: of what has changed since the
//! walk nothing is claimed.

mod content;
mod earlier;
mod files;
mod hashes;
mod left_out;
mod pax;
mod recheck;
mod state;
mod takes;
mod untaken;

pub use left_out::MAX_LEFT_OUT;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use rustix::fs::Stat;

use crate::context::Context;
use crate::process::inside::Moving;
use crate::tree::copy::content::{Files, Reading, UNREADABLE, unreadable};
use crate::tree::copy::earlier::{Earlier, Firsts};
use crate::tree::copy::hashes::{Known, Remembered};
use crate::tree::copy::state::{Place, Root, State};
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::index::{Line, MOST_PIECES, READ_BYTES, hash_content};
use crate::tree::listed::listed;
use crate::tree::path::{is_below, os};
use crate::tree::scan::{Taken, scan};
use crate::tree::sparse::{self, Segment};
use crate::tree::spec::TreeSpec;

/// Longest path that is given to a program, in bytes: the system's 4096 with room for a destination before it.
const LISTED_PATH_BYTES: usize = 3 << 10;

/// What somebody should look at if a tree went away.
const GONE_HINT: &str = "was its file system unmounted meanwhile? what was copied doesn't count";

/// How a tree is copied.
#[derive(Debug, Default)]
pub struct CopyOptions {
    /// Where hashes of content are remembered for the next time; nothing to remember none. The file need not be there.
    pub hashes: Option<PathBuf>,
    /// Whether it fails if anything but a directory has changed or vanished by the end.
    pub at_rest: bool,
    /// Whether what an earlier copy has, and the tree has not any more, is to be carried over from there.
    pub carries: bool,
}

/// How much a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopySize {
    /// Files, directories, links and devices.
    pub entries: u64,
    /// Bytes of content, holes included, each file once.
    pub content_bytes: u64,
    /// Bytes that the content takes where it is.
    pub allocated_bytes: u64,
    /// Entries that are gone from the tree and are taken over from an earlier copy.
    pub carried: u64,
    /// Files of which an earlier copy has the same content under the same path.
    pub unchanged: u64,
    /// Whether it is a directory, and not a single file.
    pub is_directory: bool,
    /// Whether there are extended attributes that other programs can't write into a pax archive.
    pub beyond_pax: bool,
}

/// What a program can have copied.
#[derive(Debug)]
pub struct Copied {
    /// Its index, from the start.
    pub index: File,
    /// Entries of which something is known, or that are uncertain.
    pub size: CopySize,
    /// Entries that changed or vanished meanwhile.
    pub uncertain: u64,
    /// Regular files that a program must have taken now: each name, without what is uncertain or carried over.
    pub files: u64,
}

/// What a program could not take.
#[derive(Debug, Clone)]
pub struct Untaken {
    /// Its path as the program calls it: absolute, or relative to the program's directory.
    pub path: String,
    /// Why, in the program's words.
    pub why: String,
}

/// A tree that was looked at and is being copied.
#[derive(Debug)]
pub struct TreeCopy {
    spec: TreeSpec,
    size: CopySize,
    /// The directory that paths were relative to when it was walked.
    place: Place,
    /// One line for each entry, in the order of a walk.
    draft: File,
    /// One state for each line that isn't carried over.
    states: File,
    taken: File,
    carried: File,
    unchanged: File,
    firsts: Firsts,
    at_rest: bool,
    /// Whether what is gone is carried over from an earlier copy.
    carries: bool,
    reading: Reading,
}

impl TreeCopy {
    /// Walks a tree, and begins to read each file whose hash isn't known. `earlier` is the index of an earlier copy.
    ///
    /// What can't be opened, or could not be read the last time, becomes a warning and isn't taken. Codes: `vanished`,
    /// `unreadable`, `path-too-long`, `xattrs-unreadable`, `socket-skipped`.
    ///
    /// # Errors
    /// The root can't be read, `earlier` is no index, somebody cancelled, or there is no room for the lists.
    pub fn scan(
        spec: TreeSpec,
        options: &CopyOptions,
        earlier: Option<&mut dyn BufRead>,
        context: &Context,
    ) -> Result<Self> {
        let _moving = Moving::new(&context.meter);
        // What changes after this is read again next time.
        let hashes = options.hashes.as_deref();
        let remembered = Remembered::create(hashes)?;
        let carries = options.carries && earlier.is_some();
        let earlier = earlier.map(|index| Earlier::new(index, carries)).transpose()?;
        let mut writing = Writing::new(&spec, Known::open(hashes), earlier, context)?;
        scan(&spec, context, &mut |entry, file| writing.take(entry, file))?;
        let Written {
            root,
            size,
            firsts,
            files,
            lists: [draft, states, taken, carried, unchanged],
        } = writing.end()?;
        if size.entries == 0 {
            return Err(Error::new(
                Code::BackupFailed,
                format!("nothing of {} can be read", show(&spec.root)),
            )
            .hint("the warnings of the run say why"));
        }
        Ok(TreeCopy {
            spec,
            size,
            place: root.place(),
            reading: Reading::begin(files, root, (Known::open(hashes), remembered), context)?,
            carries,
            draft,
            states,
            taken,
            carried,
            unchanged,
            firsts,
            at_rest: options.at_rest,
        })
    }

    /// How much it is.
    pub fn size(&self) -> CopySize {
        self.size
    }

    /// Where the paths of the lists are relative to.
    pub fn directory(&self) -> &Path {
        match self.spec.root.parent().filter(|_| !self.size.is_directory) {
            Some(parent) => parent,
            None => &self.spec.root,
        }
    }

    /// The paths to take, each begun by `./` and ended by NUL. Directories come before what is in them; the root itself isn't in it.
    ///
    /// # Errors
    /// The list can't be read again.
    pub fn taken(&self) -> Result<File> {
        from_start(&self.taken)
    }

    /// The paths to carry over from the earlier copy, in the same form.
    ///
    /// # Errors
    /// The list can't be read again.
    pub fn carried(&self) -> Result<File> {
        from_start(&self.carried)
    }

    /// The paths of files of which the earlier copy has the same content, in the form of [`TreeCopy::files`]. What is known of
    /// their content is from runs before this one.
    ///
    /// # Errors
    /// The list can't be read again.
    pub fn unchanged(&self) -> Result<File> {
        from_start(&self.unchanged)
    }

    /// What is in the tree's directory and isn't to be taken, as patterns for a program that walks it by itself: in the
    /// form of restic's `--exclude-file`. What has come since the scan is among it.
    ///
    /// # Errors
    /// They are more than [`MAX_LEFT_OUT`], the tree isn't there any more, somebody cancelled, or there is no room for
    /// the list.
    pub fn left_out(&self, context: &Context) -> Result<File> {
        let _moving = Moving::new(&context.meter);
        left_out::patterns(self, context)
    }

    /// Waits until all files are read, and looks at the tree again after a program has copied it. What changed since it was
    /// scanned is the warning `changed-while-read` or `vanished`, and its line in the index is uncertain. So it is with what
    /// the host or the program could not read, with the warning `unreadable`.
    ///
    /// # Errors
    /// A file could not be read of which an earlier copy may be carried over the next time, the tree as a whole isn't there
    /// any more, an entry can't be looked at, somebody cancelled, or there is no room for
    /// the index.
    pub fn finish(&self, untaken: &[Untaken], context: &Context) -> Result<Copied> {
        let _moving = Moving::new(&context.meter);
        recheck::recheck(self, untaken, context)
    }

    /// The directory that paths are relative to, if it is still the one that was walked: a program that was started in
    /// the empty directory below a mount has copied nothing.
    fn root(&self) -> Result<Root> {
        let root = Root::open(self.directory()).map_err(|e| e.hint(GONE_HINT).retryable())?;
        let message = match root.place() {
            now if now == self.place => return Ok(root),
            now if now.is_on(self.place) => "was replaced by another directory while it was copied",
            _ => "is on another file system than when it was read",
        };
        Err(self.gone(message))
    }

    fn gone(&self, message: &str) -> Error {
        let message = format!("{} {message}", show(&self.spec.root));
        Error::new(Code::BackupFailed, message)
            .hint(GONE_HINT)
            .retryable()
    }
}

/// The lists while they are written.
struct Writing<'a, 'e> {
    context: &'a Context,
    root: Root,
    shown: PathBuf,
    size: CopySize,
    draft: BufWriter<File>,
    states: BufWriter<File>,
    taken: BufWriter<File>,
    carried: BufWriter<File>,
    unchanged: BufWriter<File>,
    earlier: Option<Earlier<'e>>,
    files: Files,
    /// By which it is known what has not changed; and what could not be read the last time is tried before it is taken.
    known: Known,
    buffer: Vec<u8>,
    /// The last directory that vanished, below which nothing is taken.
    vanished: Option<Vec<u8>>,
}

impl<'a, 'e> Writing<'a, 'e> {
    fn new(
        spec: &TreeSpec,
        known: Known,
        earlier: Option<Earlier<'e>>,
        context: &'a Context,
    ) -> Result<Self> {
        let is_directory = spec.root.is_dir();
        let base = match spec.root.parent() {
            Some(parent) if !is_directory => parent,
            _ => &spec.root,
        };
        Ok(Writing {
            context,
            root: Root::open(base)?,
            shown: base.to_owned(),
            size: CopySize {
                is_directory,
                ..CopySize::default()
            },
            draft: temporary()?,
            states: temporary()?,
            taken: temporary()?,
            carried: temporary()?,
            unchanged: temporary()?,
            earlier,
            files: Files::new()?,
            known,
            buffer: vec![0; READ_BYTES],
            vanished: None,
        })
    }

    fn take(&mut self, entry: &Entry, file: Option<(&File, &Stat)>) -> Result<Taken> {
        let is_gone = |directory: &Vec<u8>| is_below(&entry.path, directory);
        if self.vanished.as_ref().is_some_and(is_gone) {
            return Ok(Taken::No);
        }
        if entry.path.len() > LISTED_PATH_BYTES {
            let message = "its path is too long for a program";
            self.warn("path-too-long", message.to_owned(), &entry.path);
            return Ok(Taken::No);
        }
        let state = match file {
            Some((_, stat)) => State::of(stat),
            None => match self.root.state(&entry.path) {
                Ok(state) => state,
                Err(_) => {
                    self.warn(
                        "vanished",
                        "it vanished before it was copied".to_owned(),
                        &entry.path,
                    );
                    if entry.kind == Kind::Directory {
                        self.vanished = Some(entry.path.clone());
                    }
                    return Ok(Taken::No);
                }
            },
        };
        if let Some((file, _)) = file
            && !self.is_readable(entry, file, &state)?
        {
            return Ok(Taken::No);
        }
        self.carry_before(Some(entry))?;
        if entry.kind == Kind::File {
            self.files.add(&entry.path, &state, true)?;
            self.compare(entry, &state)?;
        }
        Line::new(entry, None)
            .in_full(entry, pieces(entry, file).as_deref())
            .write(&mut self.draft)?;
        state.write(&mut self.states).map_err(failed)?;
        if entry.path != ROOT {
            list(&mut self.taken, &entry.path)?;
        }
        self.size.entries += 1;
        self.size.content_bytes += entry.size;
        self.size.beyond_pax |= pax::is_beyond(entry);
        let allocated = file.map_or(0, |(_, stat)| allocated(stat));
        self.size.allocated_bytes += allocated.min(entry.size);
        Ok(Taken::Yes)
    }

    /// Whether a file can be read, if it could not be the last time. What can't be is a warning.
    fn is_readable(&mut self, entry: &Entry, file: &File, state: &State) -> Result<bool> {
        if self.known.find(&entry.path, state) != Some(UNREADABLE) {
            return Ok(true);
        }
        let Err(error) = hash_content(file, entry.size, self.context, &mut self.buffer)? else {
            return Ok(true);
        };
        self.warn("unreadable", unreadable(&error), &entry.path);
        self.files.add(&entry.path, state, false)?;
        Ok(false)
    }

    /// Notes a file whose content is that of the earlier copy.
    fn compare(&mut self, entry: &Entry, state: &State) -> Result<()> {
        let (Some(earlier), Some(content)) = (&self.earlier, self.known.find(&entry.path, state)) else {
            return Ok(());
        };
        // What can't be listed can't be among what is to be taken either.
        if let (true, Some(mut path)) = (earlier.had(entry, content), listed(&entry.path)) {
            path.push(b'\n');
            self.unchanged.write_all(&path).map_err(failed)?;
            self.size.unchanged += 1;
        }
        Ok(())
    }

    /// Writes what the earlier copy had in the order before an entry, or all that is left of it.
    fn carry_before(&mut self, entry: Option<&Entry>) -> Result<()> {
        let Some(earlier) = &mut self.earlier else {
            return Ok(());
        };
        while let Some(gone) = earlier.before(entry)? {
            gone.line.write(&mut self.draft)?;
            list(&mut self.carried, &gone.path)?;
            self.size.carried += 1;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Written> {
        self.carry_before(None)?;
        let firsts = self.earlier.map_or_else(|| Ok(Firsts::new()), Earlier::end)?;
        let lists = [self.draft, self.states, self.taken, self.carried, self.unchanged];
        let lists = lists.into_iter().map(ended).collect::<Result<Vec<File>>>()?;
        Ok(Written {
            root: self.root,
            size: self.size,
            firsts,
            files: self.files,
            lists: lists.try_into().map_err(|_| Error::internal("a list got lost"))?,
        })
    }

    fn warn(&self, code: &str, message: String, path: &[u8]) {
        let path = show(&self.shown.join(os(path)));
        self.context.notes.warn(code, message, Some(path));
    }
}

/// What is known of a tree that was walked.
struct Written {
    root: Root,
    size: CopySize,
    firsts: Firsts,
    files: Files,
    lists: [File; 5],
}

/// Where the data of a file with holes is.
fn pieces(entry: &Entry, file: Option<(&File, &Stat)>) -> Option<Vec<Segment>> {
    let (file, _) = file.filter(|(_, stat)| allocated(stat) < entry.size)?;
    let pieces = sparse::segments(file, entry.size).ok()??;
    (pieces.len() <= MOST_PIECES).then_some(pieces)
}

/// Bytes that a file takes where it is.
fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

/// Adds a path to a list. The `./` keeps programs from taking it for an option or a comment.
fn list(out: &mut BufWriter<File>, path: &[u8]) -> Result<()> {
    out.write_all(b"./")
        .and_then(|()| out.write_all(path))
        .and_then(|()| out.write_all(&[0]))
        .map_err(failed)
}

fn temporary() -> Result<BufWriter<File>> {
    tempfile::tempfile().map(BufWriter::new).map_err(failed)
}

fn ended(mut file: BufWriter<File>) -> Result<File> {
    file.flush().map_err(failed)?;
    let mut file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}

fn from_start(file: &File) -> Result<File> {
    let mut file = file.try_clone().map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}

fn reader(file: &File) -> Result<BufReader<File>> {
    from_start(file).map(BufReader::new)
}

fn failed(error: std::io::Error) -> Error {
    Error::io(
        "write the list of a tree to a file in",
        std::env::temp_dir(),
        error,
    )
}

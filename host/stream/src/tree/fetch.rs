//! A stored tree whose files come back one by one, as a tar stream in the order of its index.

mod program;

use std::io::BufReader;
use std::iter::Peekable;
use std::sync::Arc;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};

use crate::blocks::Blocks;
use crate::context::Context;
use crate::read::{Reading, read};
use crate::recipe::{Produced, Recipe};
use crate::tree::compare::{Lines, Numbered};
use crate::tree::content::push_zeros;
use crate::tree::encode::{END, encode, padding_bytes};
use crate::tree::entry::{Entry, Kind};

pub use program::Fetching;

/// Bytes of content that are brought at a time, and so the room that they take for a while.
pub const FETCH_BYTES: u64 = 256 << 20;

/// Most files that are brought at a time.
const MOST_FILES: usize = 10_000;

/// Most lines of an index that are held in memory.
const MOST_LINES: usize = 20_000;

/// Bytes to read at a time.
const READ_BYTES: usize = 128 << 10;

/// How files come back.
pub trait Fetch: std::fmt::Debug + Send + Sync {
    /// What brings them, for a person.
    fn describe(&self) -> String;

    /// Bytes of content that are brought at a time; what is larger comes alone.
    fn most_bytes(&self) -> u64;

    /// Begins to bring files.
    fn begin<'a>(&'a self, context: &'a Context) -> Box<dyn Bring + 'a>;
}

/// A file that is to come.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its path in the tree.
    pub path: &'a [u8],
    /// Bytes that it should have.
    pub size: u64,
}

/// Somebody who brings files.
pub trait Bring {
    /// Brings files, in place of those that were brought before. One that isn't there is no failure.
    ///
    /// # Errors
    /// Nobody knows which of them are there.
    fn bring(&mut self, files: &[Wanted<'_>]) -> Result<()>;

    /// A file that was brought, and its size; nothing if it isn't there.
    ///
    /// # Errors
    /// It can't be read.
    fn brought(&mut self, path: &[u8]) -> Result<Option<(u64, Box<dyn Content + '_>)>>;

    /// A file while it comes. One that isn't there has no content.
    ///
    /// # Errors
    /// It can't be asked for.
    fn alone(&mut self, file: &Wanted<'_>) -> Result<Box<dyn Content + '_>>;

    /// Removes what was brought.
    ///
    /// # Errors
    /// It can't be removed.
    fn end(&mut self) -> Result<()>;
}

/// The content of a file that comes back.
pub trait Content {
    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// It can't be read.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Looks whether whoever gives it has ended well, once it has given so many bytes.
    ///
    /// # Errors
    /// It has not.
    fn end(self: Box<Self>, given: u64) -> Result<()>;
}

/// The files of a stored tree. Without the tree's index nobody knows which they are.
#[derive(Debug)]
pub struct FetchRecipe(Arc<dyn Fetch>);

impl FetchRecipe {
    /// Files that come in this way.
    pub fn new(fetch: impl Fetch + 'static) -> Self {
        FetchRecipe(Arc::new(fetch))
    }
}

impl Recipe for FetchRecipe {
    fn describe(&self) -> String {
        self.0.describe()
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
            fetch: Arc::clone(&self.0),
            index: Arc::clone(index),
        }))
    }
}

/// The same with the index: directories and links as it has them, and files with what was brought.
#[derive(Debug)]
struct Fetched {
    fetch: Arc<dyn Fetch>,
    index: Arc<dyn Recipe>,
}

impl Recipe for Fetched {
    fn describe(&self) -> String {
        self.fetch.describe()
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut index = read(Arc::clone(&self.index), &context.uncounted())?;
        let mut files = self.fetch.begin(context);
        let giving = Giving {
            files: files.as_mut(),
            most_bytes: self.fetch.most_bytes(),
            out: Out {
                context,
                out,
                buffer: vec![0; READ_BYTES],
                produced: Produced {
                    content_bytes: Some(0),
                    entries: 0,
                },
            },
        };
        match giving.all(&mut index) {
            Ok(produced) => {
                index.finish()?;
                files.end()?;
                Ok(produced)
            }
            Err(error) if error.code() == Code::Cancelled => Err(error),
            Err(error) => Err(index.fail(error)),
        }
    }
}

/// A line of the index, and whether its file is to come alone.
struct Next {
    entry: Entry,
    is_alone: bool,
}

struct Giving<'a> {
    files: &'a mut dyn Bring,
    most_bytes: u64,
    out: Out<'a>,
}

impl Giving<'_> {
    fn all(mut self, index: &mut Reading) -> Result<Produced> {
        let mut lines = Lines::new(BufReader::new(index), "stored");
        let mut lines = std::iter::from_fn(|| lines.next().transpose()).peekable();
        while lines.peek().is_some() {
            let batch = self.bring(&mut lines)?;
            for next in batch {
                self.out.context.cancel.check()?;
                self.give(&next)?;
            }
        }
        self.out.out.write(&END)?;
        Ok(self.out.produced)
    }

    /// Has the files of the next lines brought.
    fn bring(&mut self, lines: &mut Peekable<impl Iterator<Item = Result<Numbered>>>) -> Result<Vec<Next>> {
        let (mut batch, mut files, mut bytes) = (Vec::new(), 0, 0_u64);
        let most_bytes = self.most_bytes;
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
            }
            batch.push(Next { entry, is_alone });
        }
        let is_brought = |next: &&Next| next.entry.kind == Kind::File && !next.is_alone;
        let wanted: Vec<Wanted<'_>> = batch.iter().filter(is_brought).map(wanted).collect();
        self.files.bring(&wanted)?;
        self.out.context.meter.tick();
        Ok(batch)
    }

    /// Gives an entry as far as it is there.
    fn give(&mut self, next: &Next) -> Result<()> {
        let entry = &next.entry;
        match entry.kind {
            Kind::Directory | Kind::Symlink => self.out.begin(entry).map(drop),
            Kind::File if next.is_alone => {
                let content = self.files.alone(&wanted(next))?;
                self.out.file(entry, content)
            }
            Kind::File => match self.files.brought(&entry.path)? {
                None => Ok(()),
                Some((size, content)) => {
                    let entry = Entry {
                        size,
                        ..entry.clone()
                    };
                    if size == 0 {
                        self.out.begin(&entry).map(drop)
                    } else {
                        self.out.file(&entry, content)
                    }
                }
            },
            // The index has all that there is to know of them.
            Kind::Hardlink | Kind::Fifo | Kind::Character | Kind::Block => Ok(()),
        }
    }
}

fn wanted(next: &Next) -> Wanted<'_> {
    Wanted {
        path: &next.entry.path,
        size: next.entry.size,
    }
}

/// The tar stream.
struct Out<'a> {
    context: &'a Context,
    out: &'a mut Blocks,
    buffer: Vec<u8>,
    produced: Produced,
}

impl Out<'_> {
    /// Gives the header of an entry, and says how many bytes of content must follow.
    fn begin(&mut self, entry: &Entry) -> Result<u64> {
        let mut header = Vec::new();
        let bytes = encode(entry, None, &mut header);
        self.out.write(&header)?;
        self.produced.entries += 1;
        self.produced.content_bytes = self.produced.content_bytes.map(|all| all + entry.size);
        Ok(bytes)
    }

    /// Gives a file with its content. Of one without any nothing is given: it isn't there, and who reads on finds it missing.
    fn file(&mut self, entry: &Entry, mut content: Box<dyn Content + '_>) -> Result<()> {
        let mut given = 0;
        while given <= entry.size {
            self.context.cancel.check()?;
            let n = content.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            if given == 0 {
                self.begin(entry)?;
            }
            self.out.write(&self.buffer[..n])?;
            given += n as u64;
            self.context.meter.tick();
        }
        if given <= entry.size {
            content.end(given)?;
        }
        match given {
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
}

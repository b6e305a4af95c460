//! The hashes of a tree's files, found by a thread of its own while a program copies them: so a file is read by both when it
//! is in the cache of the system, and nobody waits for the other.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use blake3::Hash;

use crate::context::{Cancel, Context, HookGuard};
use crate::process::inside::Moving;
use crate::tree::copy::hashes::{Known, Remembered};
use crate::tree::copy::state::{Root, State};
use crate::tree::copy::{ended, failed, reader, temporary};
use crate::tree::index::{READ_BYTES, hash_content};
use crate::tree::path::os;

/// The files to be read: for each the length of its path in four bytes, its path, and its state.
pub(super) struct Files(BufWriter<File>);

impl Files {
    pub(super) fn new() -> Result<Self> {
        temporary().map(Files)
    }

    pub(super) fn add(&mut self, path: &[u8], state: &State) -> Result<()> {
        let length =
            u32::try_from(path.len()).map_err(|_| Error::internal("a path is too long for a list"))?;
        self.0
            .write_all(&length.to_le_bytes())
            .and_then(|()| self.0.write_all(path))
            .and_then(|()| state.write(&mut self.0))
            .map_err(failed)
    }
}

/// What became of the reading of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Hashed(Hash),
    /// It was no longer what it was when the tree was walked.
    Changed,
    /// It could not be read, for which there is a warning.
    Unreadable,
}

impl Content {
    const BYTES: usize = 33;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        match self {
            Content::Hashed(hash) => bytes[1..].copy_from_slice(hash.as_bytes()),
            Content::Changed => bytes[0] = 1,
            Content::Unreadable => bytes[0] = 2,
        }
        bytes
    }

    /// The next of those that [`Reading::end`] gave, in the order of the files.
    pub(super) fn read(from: &mut impl Read) -> Result<Self> {
        let mut bytes = [0; Self::BYTES];
        from.read_exact(&mut bytes)
            .map_err(|e| Error::internal("the hashes of a tree end early").because(e))?;
        let [what, hash @ ..] = bytes;
        Ok(match what {
            0 => Content::Hashed(Hash::from_bytes(hash)),
            1 => Content::Changed,
            _ => Content::Unreadable,
        })
    }
}

/// Files that are being read.
#[derive(Debug)]
pub(super) struct Reading {
    cancel: Cancel,
    _link: HookGuard,
    thread: Mutex<Thread>,
}

#[derive(Debug)]
enum Thread {
    Works(JoinHandle<Result<File>>),
    Ended(File),
    Failed,
}

impl Reading {
    /// Begins to read files below a root, which is called `shown` where people are told of it.
    pub(super) fn begin(
        files: Files,
        root: Root,
        shown: PathBuf,
        (known, remembered): (Known, Remembered),
        context: &Context,
    ) -> Result<Self> {
        let (cancel, link) = context.cancel.link();
        let context = Context {
            cancel: cancel.clone(),
            ..context.clone()
        };
        let mut reading = Reader {
            root,
            shown,
            known,
            remembered,
            context,
            buffer: vec![0; READ_BYTES],
        };
        let files = ended(files.0)?;
        let thread = std::thread::Builder::new()
            .name("content".to_owned())
            .spawn(move || {
                let _moving = Moving::new(&reading.context.meter);
                let contents = reading.read_all(BufReader::new(files))?;
                reading.remembered.finish();
                Ok(contents)
            });
        let thread = thread
            .map_err(|e| Error::new(Code::Environment, "can't start a thread that reads files").because(e))?;
        Ok(Reading {
            cancel,
            _link: link,
            thread: Mutex::new(Thread::Works(thread)),
        })
    }

    /// Waits for the last file. What became of each is in a file, from its start.
    ///
    /// # Errors
    /// Somebody cancelled, or there is no room for the hashes.
    pub(super) fn end(&self) -> Result<BufReader<File>> {
        let mut thread = self.lock();
        if let Thread::Works(working) = std::mem::replace(&mut *thread, Thread::Failed) {
            let contents = working
                .join()
                .map_err(|_| Error::internal("a thread that reads files panicked"))??;
            *thread = Thread::Ended(contents);
        }
        match &*thread {
            Thread::Ended(contents) => reader(contents),
            Thread::Works(_) | Thread::Failed => {
                Err(Error::internal("the files of a tree could not be read before"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing of the tree may be open any more when it goes away.
impl Drop for Reading {
    fn drop(&mut self) {
        if let Thread::Works(working) = std::mem::replace(&mut *self.lock(), Thread::Failed) {
            self.cancel
                .cancel(&Error::new(Code::Cancelled, "nobody wants the hashes any more"));
            // What it says is of no use to anybody.
            let _ = working.join();
        }
    }
}

struct Reader {
    root: Root,
    shown: PathBuf,
    known: Known,
    remembered: Remembered,
    context: Context,
    buffer: Vec<u8>,
}

impl Reader {
    fn read_all(&mut self, mut files: BufReader<File>) -> Result<File> {
        let mut contents = temporary()?;
        let broken = |e| Error::internal("the list of a tree's files can't be read").because(e);
        while !files.fill_buf().map_err(broken)?.is_empty() {
            self.context.cancel.check()?;
            let mut length = [0; 4];
            files.read_exact(&mut length).map_err(broken)?;
            let mut path = vec![0; u32::from_le_bytes(length) as usize];
            files.read_exact(&mut path).map_err(broken)?;
            let state = State::read(&mut files).map_err(broken)?;
            let content = self.content(&path, &state)?;
            contents.write_all(&content.to_bytes()).map_err(failed)?;
        }
        ended(contents)
    }

    fn content(&mut self, path: &[u8], state: &State) -> Result<Content> {
        let content = match self.known.find(path, state) {
            Some(hash) => Content::Hashed(hash),
            None => self.read(path, state)?,
        };
        if let Content::Hashed(hash) = &content {
            self.remembered.put(path, state, hash)?;
        }
        Ok(content)
    }

    fn read(&mut self, path: &[u8], state: &State) -> Result<Content> {
        let read = match self.root.file(path) {
            Ok((_, now)) if now != *state => return Ok(Content::Changed),
            Ok((file, _)) => hash_content(&file, state.size(), &self.context, &mut self.buffer)?,
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(hash) => Ok(Content::Hashed(hash)),
            Err(_) if self.root.state(path) != Ok(*state) => Ok(Content::Changed),
            Err(error) => {
                let message = format!("it could not be read to its end: {error}");
                let path = show(&self.shown.join(os(path)));
                self.context.notes.warn("unreadable", message, Some(path));
                Ok(Content::Unreadable)
            }
        }
    }
}

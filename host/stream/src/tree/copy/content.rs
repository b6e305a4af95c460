//! The hashes of a tree's files, found by a thread of its own while a program copies them: so a file is read by both when it
//! is in the cache of the system, and nobody waits for the other.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use blake3::Hash;

use crate::context::{Cancel, Context, HookGuard, Meter};
use crate::tree::copy::hashes::{Known, Remembered};
use crate::tree::copy::state::{Root, State};
use crate::tree::copy::{ended, failed, reader, temporary};
use crate::tree::index::{READ_BYTES, hash_content};
use crate::tree::path::os;
use crate::tree::scan::shortage;

/// What is remembered of a file that could not be read, in place of its hash.
pub(super) const UNREADABLE: Hash = Hash::from_bytes([0; 32]);

/// How often whoever waits for the last hash looks whether anything moves.
const LOOK: Duration = Duration::from_millis(100);

/// The files of a tree: for each whether it is taken, the length of its path in four bytes, its path, and its state.
pub(super) struct Files(BufWriter<File>);

impl Files {
    pub(super) fn new() -> Result<Self> {
        temporary().map(Files)
    }

    /// Adds a file to be read; or one that is not taken, because that was tried already.
    pub(super) fn add(&mut self, path: &[u8], state: &State, is_taken: bool) -> Result<()> {
        let length =
            u32::try_from(path.len()).map_err(|_| Error::internal("a path is too long for a list"))?;
        self.0
            .write_all(&[u8::from(is_taken)])
            .and_then(|()| self.0.write_all(&length.to_le_bytes()))
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
    /// It could not be read, for a reason that the system has a number for.
    Unreadable(i32),
}

impl Content {
    const BYTES: usize = 33;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        match self {
            Content::Hashed(hash) => bytes[1..].copy_from_slice(hash.as_bytes()),
            Content::Changed => bytes[0] = 1,
            Content::Unreadable(number) => {
                bytes[0] = 2;
                bytes[1..5].copy_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// The next of those that [`Reading::end`] gave, in the order of the files.
    pub(super) fn read(from: &mut impl Read) -> Result<Self> {
        let mut bytes = [0; Self::BYTES];
        from.read_exact(&mut bytes)
            .map_err(|e| Error::internal("the hashes of a tree end early").because(e))?;
        let [what, hash @ ..] = bytes;
        let [a, b, c, d, ..] = hash;
        Ok(match what {
            0 => Content::Hashed(Hash::from_bytes(hash)),
            1 => Content::Changed,
            _ => Content::Unreadable(i32::from_le_bytes([a, b, c, d])),
        })
    }
}

/// Says that a file could not be read.
pub(super) fn unreadable(error: &io::Error) -> String {
    format!("it could not be read to its end: {error}")
}

/// Files that are being read.
#[derive(Debug)]
pub(super) struct Reading {
    cancel: Cancel,
    _link: HookGuard,
    /// Of what it reads.
    meter: Arc<Meter>,
    thread: Mutex<Thread>,
}

#[derive(Debug)]
enum Thread {
    /// It works, until the other end of the channel is gone.
    Works(JoinHandle<Result<File>>, Receiver<()>),
    Ended(File),
    Failed,
}

impl Reading {
    /// Begins to read files below a root. What it reads counts as movement only when somebody waits for it: it must not hide
    /// that a program hangs.
    pub(super) fn begin(
        files: Files,
        root: Root,
        (known, remembered): (Known, Remembered),
        context: &Context,
    ) -> Result<Self> {
        let (cancel, link) = context.cancel.link();
        let context = Context {
            cancel: cancel.clone(),
            ..context.uncounted()
        };
        let meter = Arc::clone(&context.meter);
        let reader = Reader {
            root,
            known,
            remembered,
            context,
            buffer: vec![0; READ_BYTES],
        };
        let files = ended(files.0)?;
        let (working, ended) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("content".to_owned())
            .spawn(move || {
                let _working: Sender<()> = working;
                reader.read_all(BufReader::new(files))
            });
        let thread = thread
            .map_err(|e| Error::new(Code::Environment, "can't start a thread that reads files").because(e))?;
        Ok(Reading {
            cancel,
            _link: link,
            meter,
            thread: Mutex::new(Thread::Works(thread, ended)),
        })
    }

    /// Waits for the last file. What became of each that is taken is in a file, from its start.
    ///
    /// # Errors
    /// Somebody cancelled, or there is no room for the hashes.
    pub(super) fn end(&self, context: &Context) -> Result<BufReader<File>> {
        let mut thread = self.lock();
        if let Thread::Works(working, ended) = std::mem::replace(&mut *thread, Thread::Failed) {
            loop {
                let is_late = ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout);
                let moved = self.meter.ticks.swap(0, Ordering::Relaxed);
                context.meter.ticks.fetch_add(moved, Ordering::Relaxed);
                if !is_late {
                    break;
                }
            }
            let contents = working
                .join()
                .map_err(|_| Error::internal("a thread that reads files panicked"))??;
            *thread = Thread::Ended(contents);
        }
        match &*thread {
            Thread::Ended(contents) => reader(contents),
            Thread::Works(..) | Thread::Failed => {
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
        if let Thread::Works(working, _) = std::mem::replace(&mut *self.lock(), Thread::Failed) {
            self.cancel
                .cancel(&Error::new(Code::Cancelled, "nobody wants the hashes any more"));
            // What it says is of no use to anybody.
            let _ = working.join();
        }
    }
}

struct Reader {
    root: Root,
    known: Known,
    remembered: Remembered,
    context: Context,
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads all files. If it can't, what it knows is remembered all the same: the next one need not begin anew.
    fn read_all(mut self, files: BufReader<File>) -> Result<File> {
        let contents = self.contents(files);
        if contents.is_err() {
            self.remembered.keep(self.known);
        }
        self.remembered.finish();
        contents
    }

    fn contents(&mut self, mut files: BufReader<File>) -> Result<File> {
        let mut contents = temporary()?;
        let broken = |e| Error::internal("the list of a tree's files can't be read").because(e);
        while !files.fill_buf().map_err(broken)?.is_empty() {
            self.context.cancel.check()?;
            let mut start = [0; 5];
            files.read_exact(&mut start).map_err(broken)?;
            let [is_taken, length @ ..] = start;
            let mut path = vec![0; u32::from_le_bytes(length) as usize];
            files.read_exact(&mut path).map_err(broken)?;
            let state = State::read(&mut files).map_err(broken)?;
            if is_taken == 0 {
                self.remembered.put(&path, &state, &UNREADABLE);
                continue;
            }
            let content = match self.known.find(&path, &state) {
                Some(hash) if hash != UNREADABLE => Content::Hashed(hash),
                _ => self.read(&path, &state)?,
            };
            match &content {
                Content::Hashed(hash) => self.remembered.put(&path, &state, hash),
                Content::Unreadable(_) => self.remembered.put(&path, &state, &UNREADABLE),
                Content::Changed => {}
            }
            contents.write_all(&content.to_bytes()).map_err(failed)?;
        }
        ended(contents)
    }

    fn read(&mut self, path: &[u8], state: &State) -> Result<Content> {
        let read = match self.root.file(path) {
            Ok((_, now)) if now != *state => return Ok(Content::Changed),
            Ok((file, _)) => hash_content(&file, state.size(), &self.context, &mut self.buffer)?,
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(hash) => Ok(Content::Hashed(hash)),
            Err(error) => match shortage(os(path).into(), &error) {
                Some(shortage) => Err(shortage),
                None if self.root.state(path) != Ok(*state) => Ok(Content::Changed),
                None => Ok(Content::Unreadable(error.raw_os_error().unwrap_or(0))),
            },
        }
    }
}

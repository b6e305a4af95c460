//! Files on their way into a store: small ones in parallel, large ones as a stream is.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use backstay_stream::tree::FileSink;
use backstay_stream::{Cancel, Sink};
use opendal::Buffer;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::{Shared, upload, whole};
use super::{Amount, name};
use crate::Key;

/// Bytes of the largest file that is held in memory and sent by one request.
const SMALL_BYTES: u64 = 8 << 20;

/// What files on their way may take in all, in MiB.
const MEMORY_MIB: usize = 64;

/// What a file counts at least against [`MEMORY_MIB`], so that at most 16 are on their way.
const LEAST_MIB: usize = 4;

/// How long what is on its way may take to arrive when a tree is given up.
const LAST: Duration = Duration::from_secs(10);

/// The files of a tree.
pub(super) struct Files {
    shared: Arc<Shared>,
    tree: Key,
    cancel: Cancel,
    open: Option<Open>,
    sending: JoinSet<Sent>,
    memory: Arc<Semaphore>,
    stored: Amount,
}

/// What became of a small file, with its key.
type Sent = (Key, opendal::Result<()>);

/// The file at hand.
struct Open {
    key: Key,
    bytes: u64,
    content: Content,
}

enum Content {
    Small(Vec<u8>),
    Upload(Box<upload::Sink>),
    Whole(Box<whole::Sink>),
}

impl Files {
    pub(super) fn new(shared: Arc<Shared>, tree: Key, cancel: Cancel) -> Self {
        Files {
            shared,
            tree,
            cancel,
            open: None,
            sending: JoinSet::new(),
            memory: Arc::new(Semaphore::new(MEMORY_MIB)),
            stored: Amount::default(),
        }
    }

    /// Waits until all files are stored, and looks whether as much is there.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.stored.files == 0 {
            self.stored.files = 1;
            self.send(name::of_none(&self.tree), Vec::new())?;
        }
        self.wait_for_all()?;
        let there = self.shared.amount(&self.tree, &self.cancel)?;
        if there == self.stored {
            return Ok(());
        }
        let shown = self.shared.location(self.tree.as_str());
        let (files, bytes) = (self.stored.files, self.stored.bytes);
        let message = format!(
            "{shown} has {} files of {} bytes, and {files} of {bytes} were sent",
            there.files, there.bytes
        );
        Err(Error::new(Code::Storage, message)
            .hint(
                "does the store take names for the same that differ in case only? a tar stream has one name",
            )
            .retryable())
    }

    /// Ends what is on its way, so that nothing arrives any more when what is there is removed.
    pub(super) fn give_up(&mut self) {
        // Whoever gives the tree up says why.
        let given_up = || Error::internal("a tree was given up");
        match self.open.take().map(|open| open.content) {
            None | Some(Content::Small(_)) => {}
            Some(Content::Upload(sink)) => drop(sink.abort(given_up())),
            Some(Content::Whole(sink)) => drop(sink.abort(given_up())),
        }
        let sending = &mut self.sending;
        self.shared.handle.block_on(async {
            let all = async { while sending.join_next().await.is_some() {} };
            if tokio::time::timeout(LAST, all).await.is_err() {
                sending.shutdown().await;
            }
        });
    }

    fn wait_for_all(&mut self) -> Result<()> {
        let (sending, failed) = (&mut self.sending, &mut None);
        let all = async {
            while let Some(done) = sending.join_next().await {
                if let Err(error) = settled(done) {
                    *failed = Some(error);
                    break;
                }
            }
            Ok(())
        };
        self.shared
            .wait(&self.cancel, None, "write", self.tree.as_str(), all)?;
        self.refuse(failed.take())
    }

    fn refuse(&self, failed: Option<(Key, opendal::Error)>) -> Result<()> {
        match failed {
            Some((key, error)) => Err(self.shared.failed("write", key.as_str(), &error)),
            None => Ok(()),
        }
    }

    /// Sends a small file when there is room for it.
    fn send(&mut self, key: Key, content: Vec<u8>) -> Result<()> {
        while let Some(done) = self.sending.try_join_next() {
            self.refuse(settled(done).err())?;
        }
        let mib = (content.len() >> 20) + 1;
        let weight = u32::try_from(mib.max(LEAST_MIB)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory);
        let memory = self
            .shared
            .wait(&self.cancel, None, "write", key.as_str(), async {
                memory
                    .acquire_many_owned(weight)
                    .await
                    .map_err(|_| opendal::Error::new(opendal::ErrorKind::Unexpected, "it is closed"))
            })?;
        let operator = self.shared.operator.clone();
        let sending = async move {
            let sent = operator.write(key.as_str(), Buffer::from(content)).await;
            drop(memory);
            (key, sent.map(drop))
        };
        self.sending.spawn_on(sending, &self.shared.handle);
        Ok(())
    }
}

fn settled(
    done: std::result::Result<Sent, tokio::task::JoinError>,
) -> std::result::Result<(), (Key, opendal::Error)> {
    match done {
        Ok((_, Ok(()))) => Ok(()),
        Ok((key, Err(error))) => Err((key, error)),
        Err(e) => {
            let error =
                opendal::Error::new(opendal::ErrorKind::Unexpected, "it was interrupted").set_source(e);
            Err((Key::checked(String::new()), error))
        }
    }
}

impl FileSink for Files {
    fn begin(&mut self, path: &[u8], size: u64) -> Result<()> {
        let key = name::of_file(&self.tree, path);
        let content = if size <= SMALL_BYTES {
            Content::Small(Vec::with_capacity(size as usize))
        } else {
            // It takes memory of its own.
            self.wait_for_all()?;
            let (shared, cancel) = (Arc::clone(&self.shared), self.cancel.clone());
            if shared.is_whole() {
                Content::Whole(Box::new(whole::Sink::start(shared, key.clone(), cancel)?))
            } else {
                Content::Upload(Box::new(upload::Sink::start(shared, key.clone(), cancel)?))
            }
        };
        self.open = Some(Open {
            key,
            bytes: 0,
            content,
        });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Err(Error::internal("a file was written to that was not begun"));
        };
        open.bytes += bytes.len() as u64;
        match &mut open.content {
            Content::Small(content) => content.extend_from_slice(bytes),
            Content::Upload(sink) => sink.write(bytes)?,
            Content::Whole(sink) => sink.write(bytes)?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(Open { key, bytes, content }) = self.open.take() else {
            return Err(Error::internal("a file was ended that was not begun"));
        };
        self.stored.files += 1;
        self.stored.bytes += bytes;
        match content {
            Content::Small(content) => self.send(key, content),
            Content::Upload(sink) => sink.complete(bytes),
            Content::Whole(sink) => sink.complete(bytes),
        }
    }
}

//! Stores a stream of unknown length as a multipart upload: parts go up in parallel while the next one fills.
//!
//! Stores publish an object when the upload is completed, whole or not at all. What is on its way is bounded by
//! [`parts::MEMORY_MIB`]: memory for a part is had only when an earlier part has gone.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use backstay_stream::{Cancel, Completed};
use bytes::Bytes;
use opendal::{Buffer, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Shared, parts};
use crate::Key;

/// How long the store may take to give up an upload; what it doesn't is given up when the run is undone.
const ABORT: Duration = Duration::from_secs(10);

/// The far end of a stream.
pub(super) struct Sink {
    shared: Arc<Shared>,
    key: Key,
    cancel: Cancel,
    writer: Writer,
    memory: Arc<Semaphore>,
    part: Option<Part>,
    number: usize,
}

/// Bytes of a part, and the memory that they take from the others.
struct Part {
    bytes: Vec<u8>,
    size: usize,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Sink {
    pub(super) fn start(shared: Arc<Shared>, key: Key, cancel: Cancel) -> Result<Self> {
        let path = key.as_str().to_owned();
        let operator = shared.operator.clone();
        let opening = operator.writer_with(&path).concurrent(parts::PARALLEL);
        let writer = shared.wait(&cancel, None, "write", &path, async { opening.await })?;
        Ok(Sink {
            shared,
            key,
            cancel,
            writer,
            memory: Arc::new(Semaphore::new(parts::MEMORY_MIB)),
            part: None,
            number: 0,
        })
    }

    /// The part that is being filled; waits for memory if there is none.
    fn part(&mut self) -> Result<&mut Part> {
        if self.part.is_none() {
            if self.number == parts::MAX_PARTS {
                let message = format!("{} is larger than a store takes in one object", self.shown());
                return Err(Error::new(Code::Storage, message).hint("back it up in several jobs"));
            }
            let mib = parts::part_mib(self.number);
            let memory = Arc::clone(&self.memory);
            let weight = parts::weight(mib);
            let memory = self
                .shared
                .wait(&self.cancel, None, "write", self.key.as_str(), async {
                    let closed = |_| opendal::Error::new(opendal::ErrorKind::Unexpected, "it is closed");
                    memory.acquire_many_owned(weight).await.map_err(closed)
                })?;
            let size = mib << 20;
            self.part = Some(Part {
                bytes: Vec::with_capacity(size),
                size,
                _memory: memory,
            });
        }
        self.part
            .as_mut()
            .ok_or_else(|| Error::internal("a part that was made isn't there"))
    }

    /// Hands the part at hand to the store.
    fn send(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        self.number += 1;
        let buffer = Buffer::from(Bytes::from_owner(part));
        let sending = self.writer.write(buffer);
        self.shared
            .wait(&self.cancel, None, "write", self.key.as_str(), sending)
    }

    fn shown(&self) -> String {
        self.shared.location(self.key.as_str())
    }

    fn finish(&mut self, bytes: u64) -> Result<()> {
        self.send()?;
        let (shared, path) = (Arc::clone(&self.shared), self.key.as_str());
        shared.wait(&self.cancel, None, "complete", path, self.writer.close())?;
        shared.expect(path, bytes, &self.cancel)
    }

    /// Gives up what was uploaded.
    fn give_up(&mut self) -> Result<()> {
        self.part = None;
        let shared = Arc::clone(&self.shared);
        let path = self.key.as_str();
        let aborting = self.writer.abort();
        // A writer that was interrupted can't do it; the store itself knows its uploads, too.
        match shared.wait(&Cancel::default(), Some(ABORT), "give up", path, aborting) {
            Ok(()) => Ok(()),
            Err(_) => shared.abort_uploads(&self.key),
        }
    }
}

impl backstay_stream::Sink for Sink {
    type Stored = ();

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part = self.part()?;
            let (now, rest) = bytes.split_at(bytes.len().min(part.size - part.bytes.len()));
            part.bytes.extend_from_slice(now);
            bytes = rest;
            if part.bytes.len() == part.size {
                self.send()?;
            }
        }
        Ok(())
    }

    fn commit(mut self, proof: &Completed) -> Result<()> {
        match self.finish(proof.transfer().stored.bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(mut self, cause: Error) -> Error {
        match self.give_up() {
            Ok(()) => cause,
            Err(e) => cause.hint(format!(
                "what was uploaded so far could not be given up either: {}",
                e.report()
            )),
        }
    }
}

impl Shared {
    /// Fails unless an object is there with so many bytes, and takes it away.
    pub(super) fn expect(&self, path: &str, bytes: u64, cancel: &Cancel) -> Result<()> {
        let found = self.size(&self.operator, path, cancel)?;
        if found == Some(bytes) {
            return Ok(());
        }
        let shown = self.location(path);
        let message = match found {
            None => format!("{shown} was stored and is not there"),
            Some(found) => format!("{shown} has {found} bytes in the store, and {bytes} were sent"),
        };
        let error = Error::new(Code::Storage, message)
            .hint("something between here and the store changes what is sent: look at proxies and at the server's log")
            .retryable();
        match self.remove(path) {
            Ok(()) => Err(error),
            Err(e) => Err(error.hint(format!("it could not be removed either: {}", e.report()))),
        }
    }
}

//! Blocks of bytes on their way from the thread that makes them to the threads that take them.
//!
//! A block is shared, not copied, and goes back to its pool when the last taker drops it. The pool is
//! all the memory that a stream uses, whatever its length, and an empty pool is the back-pressure.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use backstay_model::{Code, Error, Result};

/// Bytes in a block: large enough that handing one over costs nothing beside filling it.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Blocks of one stream: enough to even out bursts when there are more threads than processors.
pub(crate) const POOL_BLOCKS: usize = 16;

/// A full block. Dropping the last reference returns its memory to the pool.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    filled: usize,
    pool: SyncSender<Vec<u8>>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The pool holds as many as there are; it only fails if the stream is over.
        let _ = self.pool.try_send(bytes);
    }
}

/// The end that bytes are pushed into.
#[derive(Debug)]
pub struct Blocks {
    /// Empty, or [`BLOCK_BYTES`] long: blocks are initialised once and then only written over.
    current: Vec<u8>,
    filled: usize,
    free: Receiver<Vec<u8>>,
    pool: SyncSender<Vec<u8>>,
    takers: Vec<SyncSender<Arc<Block>>>,
    pushed_bytes: u64,
}

/// The end that blocks come out of.
pub type BlockReceiver = Receiver<Arc<Block>>;

/// Why a block could not be filled.
#[derive(Debug)]
pub enum FillError {
    /// Reading failed.
    Read(io::Error),
    /// The other end is gone.
    Gone(Error),
}

impl FillError {
    /// The error, with words for a failed read.
    pub fn or(self, failed: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            FillError::Read(error) => failed(error),
            FillError::Gone(error) => error,
        }
    }
}

/// A stream of blocks with one end to push and `takers` ends that each get every block.
pub fn blocks(takers: usize) -> (Blocks, Vec<BlockReceiver>) {
    blocks_from(POOL_BLOCKS, takers)
}

/// The same, with so many blocks in its pool.
pub(crate) fn blocks_from(pool_blocks: usize, takers: usize) -> (Blocks, Vec<BlockReceiver>) {
    let (pool, free) = sync_channel(pool_blocks);
    for _ in 0..pool_blocks {
        // Memory is taken when a block is first filled.
        let _ = pool.try_send(Vec::new());
    }
    let (senders, receivers) = (0..takers).map(|_| sync_channel(pool_blocks)).unzip();
    (
        Blocks {
            current: Vec::new(),
            filled: 0,
            free,
            pool,
            takers: senders,
            pushed_bytes: 0,
        },
        receivers,
    )
}

impl Blocks {
    /// Copies `bytes` in.
    ///
    /// # Errors
    /// The other end is gone; the failure that made it go is reported there.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.ensure_room()?;
            let n = bytes.len().min(BLOCK_BYTES - self.filled);
            self.current[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            self.push_if_full()?;
        }
        Ok(())
    }

    /// Lets `read` fill the rest of the current block, once, and returns what it returned.
    ///
    /// # Errors
    /// `read` failed, or the other end is gone. An interrupted `read` is tried again.
    pub fn fill(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Result<usize, FillError> {
        self.ensure_room().map_err(FillError::Gone)?;
        let result = loop {
            match read(&mut self.current[self.filled..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.filled += *result.as_ref().unwrap_or(&0);
        self.push_if_full().map_err(FillError::Gone)?;
        result.map_err(FillError::Read)
    }

    /// Bytes pushed in so far.
    pub fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes + self.filled as u64
    }

    /// Hands over what is left. Dropping without it leaves the last block unsent.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn finish(mut self) -> Result<u64> {
        self.push()?;
        Ok(self.pushed_bytes)
    }

    fn ensure_room(&mut self) -> Result<()> {
        if self.current.is_empty() {
            self.current = self.free.recv().map_err(|_| gone())?;
            // Fresh memory comes zeroed from the system, so this writes nothing.
            if self.current.is_empty() {
                self.current = vec![0; BLOCK_BYTES];
            }
        }
        Ok(())
    }

    fn push_if_full(&mut self) -> Result<()> {
        if self.filled == BLOCK_BYTES {
            self.push()
        } else {
            Ok(())
        }
    }

    fn push(&mut self) -> Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.current);
        let filled = std::mem::take(&mut self.filled);
        self.pushed_bytes += filled as u64;
        let block = Arc::new(Block {
            bytes,
            filled,
            pool: self.pool.clone(),
        });
        for taker in &self.takers {
            taker.send(Arc::clone(&block)).map_err(|_| gone())?;
        }
        Ok(())
    }
}

impl io::Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Blocks::write(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> Error {
    Error::new(Code::Cancelled, "the other end of the stream is gone")
}

/// Reads the bytes of the blocks that come out of one end.
#[derive(Debug)]
pub struct BlockReader {
    blocks: BlockReceiver,
    current: Option<Arc<Block>>,
    position: usize,
}

impl BlockReader {
    /// A reader over one end.
    pub fn new(blocks: BlockReceiver) -> Self {
        BlockReader {
            blocks,
            current: None,
            position: 0,
        }
    }
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(block) = &self.current {
                let rest = &block[self.position..];
                if !rest.is_empty() {
                    let n = rest.len().min(buffer.len());
                    buffer[..n].copy_from_slice(&rest[..n]);
                    self.position += n;
                    return Ok(n);
                }
            }
            self.position = 0;
            self.current = None;
            match self.blocks.recv() {
                Ok(block) => self.current = Some(block),
                Err(_) => return Ok(0),
            }
        }
    }
}

//! Moves a recipe through filters into a sink, and commits only what ended well.

use std::io::{self, Write};
use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::manifest::{Digest, UsedCompression, UsedEncryption};
use backstay_model::{Error, Result};

use crate::blocks::{Block, BlockReceiver, POOL_BLOCKS, blocks_from};
use crate::codec::Encoder;
use crate::context::{Context, Storing};
use crate::digest::{Hasher, HashingThreads};
use crate::fan::{Next, Tap};
use crate::read::Producer;
use crate::recipe::{Produced, Recipe};

/// An end that takes bytes and makes them count only when told that they are all there.
pub trait Sink: Send {
    /// What it knows afterwards.
    type Stored;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// It can't; the pump then aborts it.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// How many blocks it may keep for itself; if any, it gets what isn't filtered by [`Sink::keep`].
    fn keeps(&self) -> usize {
        0
    }

    /// Takes the next bytes as a block that it may keep.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn keep(&mut self, block: &Arc<Block>) -> Result<()> {
        self.write(block)
    }

    /// Makes what was written durable and visible.
    ///
    /// # Errors
    /// It can't; nothing of it may be visible then.
    fn commit(self, proof: &Completed) -> Result<Self::Stored>;

    /// Ends it and deletes what was written. Returns the root cause if it knows better than `cause`, such
    /// as what a process complained about before it died.
    fn abort(self, cause: Error) -> Error;
}

/// Proof that every stage of a stream ended well: only the pump can make one.
#[derive(Debug)]
pub struct Completed {
    transfer: Transfer,
}

impl Completed {
    /// What was moved.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// The same proof, for those who take from the same reading.
    pub(crate) fn share(&self) -> Arc<Completed> {
        Arc::new(Completed {
            transfer: self.transfer.clone(),
        })
    }
}

/// What a stream was, measured as it went by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// As the source gave it.
    pub raw: Digest,
    /// As the sink got it.
    pub stored: Digest,
    /// Bytes of file content; of the stream, if it isn't a tree.
    pub content_bytes: u64,
    /// Files, directories, links and devices.
    pub entries: u64,
    /// Compression as really used.
    pub compression: Option<UsedCompression>,
    /// Encryption as really used.
    pub encryption: Option<UsedEncryption>,
}

/// Runs `recipe` through `filters` into `sink`, on this thread and some of its own, to the end or not at all.
///
/// # Errors
/// The root cause: of a source that failed, its own failure, and not that the far end then saw its input end.
pub fn pump<S: Sink>(
    recipe: Arc<dyn Recipe>,
    filters: &Filters,
    sink: S,
    context: &Context,
) -> Result<(Transfer, S::Stored)> {
    if let Some(tap) = recipe.tap() {
        return follow(tap, sink, context);
    }
    let _storing = context.meter.store();
    let kept = if filters.change_bytes() { 0 } else { sink.keeps() };
    let (out, takers) = blocks_from(POOL_BLOCKS + kept, 3);
    let [mine, first, second]: [BlockReceiver; 3] = match takers.try_into() {
        Ok(takers) => takers,
        Err(_) => return Err(sink.abort(Error::internal("a stream has no takers"))),
    };
    let started = HashingThreads::start([first, second])
        .and_then(|hashers| Ok((hashers, Producer::start(recipe, context.clone(), out)?)));
    let (hashers, producer) = match started {
        Ok(started) => started,
        Err(error) => return Err(sink.abort(error)),
    };
    let mut far_end = FarEnd {
        sink,
        hasher: filters.change_bytes().then(Hasher::default),
        context,
    };
    let moved = move_blocks(&mine, filters, &mut far_end, context);
    drop(mine);
    let FarEnd {
        sink,
        hasher: stored_hasher,
        ..
    } = far_end;
    let used = match moved {
        Ok(used) => used,
        Err(error) => {
            // The far end first: nothing may take what comes now for a complete input.
            let cause = sink.abort(stopped(context, error));
            // What the source then says isn't news; and one that is silent must not keep us waiting.
            producer.abandon();
            return Err(cause);
        }
    };
    let produced = match producer.finish() {
        Ok(produced) => produced,
        Err(error) => return Err(sink.abort(stopped(context, error))),
    };
    let raw = match hashers.finish() {
        Ok(raw) => raw,
        Err(error) => return Err(sink.abort(error)),
    };
    if let Err(error) = context.cancel.check() {
        return Err(sink.abort(error));
    }
    let proof = Completed {
        transfer: measure(raw, stored_hasher, produced, used),
    };
    let stored = sink.commit(&proof)?;
    Ok((proof.transfer, stored))
}

/// Moves what a reading gives to this end of it, and commits when all of it ended well.
fn follow<S: Sink>(tap: &Tap, mut sink: S, context: &Context) -> Result<(Transfer, S::Stored)> {
    let mut storing = None;
    let proof = match write_all(tap, &mut sink, context, &mut storing) {
        Ok(proof) => proof,
        Err(error) => {
            let error = stopped(context, error);
            tap.leave(&error);
            return Err(sink.abort(error));
        }
    };
    let stored = sink.commit(&proof)?;
    Ok((proof.transfer.clone(), stored))
}

fn write_all(
    tap: &Tap,
    sink: &mut impl Sink,
    context: &Context,
    storing: &mut Option<Storing>,
) -> Result<Arc<Completed>> {
    tap.join()?;
    loop {
        let next = tap.next(context)?;
        // Waiting for the others to come isn't storing.
        storing.get_or_insert_with(|| context.meter.store());
        match next {
            Next::Block(block) => sink.write(&block)?,
            Next::Commit(proof) => return Ok(proof),
        }
    }
}

type Used = (Option<UsedCompression>, Option<UsedEncryption>);

fn move_blocks<S: Sink>(
    mine: &BlockReceiver,
    filters: &Filters,
    far_end: &mut FarEnd<'_, S>,
    context: &Context,
) -> Result<Used> {
    if !filters.change_bytes() {
        for block in mine {
            context.cancel.check()?;
            far_end.pass_block(&block)?;
            context.meter.add_bytes(block.len() as u64);
        }
        return Ok((None, None));
    }
    let mut encoder = Encoder::new(filters, far_end, context)?;
    let used = encoder.used();
    for block in mine {
        context.cancel.check()?;
        encoder.write(&block)?;
        context.meter.add_bytes(block.len() as u64);
    }
    encoder.finish()?;
    Ok(used)
}

fn measure(
    raw: Digest,
    stored: Option<Hasher>,
    produced: Produced,
    (compression, encryption): Used,
) -> Transfer {
    let stored = stored.map_or_else(|| raw.clone(), Hasher::finish);
    let content_bytes = produced.content_bytes.unwrap_or(raw.bytes);
    Transfer {
        raw,
        stored,
        content_bytes,
        entries: produced.entries,
        compression,
        encryption,
    }
}

/// If a run was cancelled, that is the reason, whatever broke because of it.
fn stopped(context: &Context, error: Error) -> Error {
    if context.cancel.is_cancelled() {
        context.cancel.reason()
    } else {
        error
    }
}

/// The sink as something that filters write to, hashing what they wrote, no faster than it may be.
struct FarEnd<'a, S> {
    sink: S,
    hasher: Option<Hasher>,
    context: &'a Context,
}

impl<S: Sink> FarEnd<'_, S> {
    fn pass_block(&mut self, block: &Arc<Block>) -> Result<()> {
        if self.sink.keeps() == 0 {
            return self.pass(block);
        }
        let throttle = &self.context.throttle;
        let mut left = block.len();
        while left > 0 {
            let bytes = throttle.slice(left);
            throttle.wait(bytes, self.context)?;
            left -= bytes;
        }
        self.sink.keep(block)
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<()> {
        let throttle = &self.context.throttle;
        while !bytes.is_empty() {
            let (slice, rest) = bytes.split_at(throttle.slice(bytes.len()));
            throttle.wait(slice.len(), self.context)?;
            self.sink.write(slice)?;
            bytes = rest;
        }
        Ok(())
    }
}

impl<S: Sink> Write for &mut FarEnd<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.pass(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

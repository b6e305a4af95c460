//! One reading for several places: a recipe runs once, is hashed, compressed and encrypted once, and each place takes the
//! same blocks.
//!
//! Each place has a [`Tap`], a recipe that [`pump`](fn@pump) runs into the place's own sink. The critical places go in
//! step: the slowest of them is the back-pressure. An optional place may be [`LAG_BYTES`] behind them; then the reading
//! goes on without it. No sink commits before the source ended well and every critical sink took all of it, so a failure
//! of these ends all of them before any far end could take what it got for everything.
//!
//! Memory: blocks are shared, so what the places wait for is the same bytes. All of them together are the pool of one
//! stream and, where there are optional places, [`LAG_BYTES`] more; and a block for each place, which it is writing.

mod hub;

use std::sync::Arc;
use std::time::Duration;

use backstay_model::filters::Filters;
use backstay_model::{Error, Result};

pub use self::hub::Lag;
pub(crate) use self::hub::Next;
use self::hub::{Hub, LAG_BLOCKS};
use crate::blocks::{BLOCK_BYTES, Block, BlockReceiver, Blocks, POOL_BLOCKS, blocks_from};
use crate::context::{Cancel, Context};
use crate::pump::{Completed, Sink, Transfer, pump};
use crate::recipe::{Produced, Recipe};

/// How far an optional place may be behind the slowest critical one, in bytes.
pub const LAG_BYTES: usize = LAG_BLOCKS * BLOCK_BYTES;

/// A place that takes part in a reading.
#[derive(Debug, Clone)]
pub struct Member {
    /// The reading doesn't wait for it, and goes on when it fails.
    pub optional: bool,
    /// Stops what is done for it; thrown when the reading fails or goes on without it.
    pub cancel: Cancel,
}

/// One reading for several places.
#[derive(Debug)]
pub struct Fan {
    hub: Arc<Hub>,
    members: usize,
    patience: Duration,
}

impl Fan {
    /// A reading for `members`, with a tap for each of them. It doesn't wait for an optional one that hasn't asked for the
    /// bytes when all critical ones have for as long as `patience`.
    pub fn new(members: Vec<Member>, patience: Duration) -> (Self, Vec<Arc<Tap>>) {
        let count = members.len();
        let hub = Arc::new(Hub::new(members));
        let taps = (0..count).map(|index| {
            Arc::new(Tap {
                hub: Arc::clone(&hub),
                index,
            })
        });
        let taps = taps.collect();
        let fan = Fan {
            hub,
            members: count,
            patience,
        };
        (fan, taps)
    }

    /// Waits for the places and runs the recipe through the filters to all of them. It returns when all is read; the
    /// places may still be writing then.
    ///
    /// # Errors
    /// The source failed, a critical place left, or somebody cancelled. Then no place commits.
    pub fn read(&self, recipe: Arc<dyn Recipe>, filters: &Filters, context: &Context) -> Result<Transfer> {
        let tee = Tee {
            hub: Arc::clone(&self.hub),
            keeps: self.members + self.hub.lag_blocks(),
            copies: None,
        };
        if let Err(error) = self.hub.gather(context, self.patience) {
            return Err(tee.abort(error));
        }
        pump(recipe, filters, tee, context).map(|(transfer, ())| transfer)
    }

    /// Which critical place ended the reading, if that is how it ended: what went wrong there is the cause.
    pub fn culprit(&self) -> Option<usize> {
        self.hub.culprit()
    }
}

/// One place's end of a reading.
#[derive(Debug)]
pub struct Tap {
    hub: Arc<Hub>,
    index: usize,
}

impl Tap {
    /// Says that nothing takes from it any more, and why. Without effect when all was taken. If its place is a critical
    /// one, the reading fails.
    pub fn leave(&self, cause: &Error) {
        self.hub.leave(self.index, cause);
    }

    /// Why the reading went on without it, if it did.
    pub fn left_behind(&self) -> Option<Lag> {
        self.hub.left_behind(self.index)
    }

    /// Whether the reading failed, so that what happened here isn't the cause unless it is the [`Fan::culprit`].
    pub fn is_cut_off(&self) -> bool {
        self.hub.is_failed()
    }

    pub(crate) fn join(&self) -> Result<()> {
        self.hub.join(self.index)
    }

    pub(crate) fn next(&self, context: &Context) -> Result<Next> {
        self.hub.next(self.index, context)
    }
}

impl Recipe for Tap {
    fn describe(&self) -> String {
        "a reading for several destinations".to_owned()
    }

    fn produce(&self, _: &Context, _: &mut Blocks) -> Result<Produced> {
        Err(Error::internal("a shared reading can be stored and nothing else"))
    }

    fn tap(&self) -> Option<&Tap> {
        Some(self)
    }
}

/// The far end of the reading.
struct Tee {
    hub: Arc<Hub>,
    keeps: usize,
    /// What filters wrote, on its way into blocks.
    copies: Option<(Blocks, BlockReceiver)>,
}

impl Tee {
    fn copy(&mut self, piece: &[u8]) -> Result<()> {
        let (out, made) = match &mut self.copies {
            Some(copies) => copies,
            empty => {
                /// What filters give comes more evenly than what a source does.
                const EVEN_BLOCKS: usize = POOL_BLOCKS / 2;
                let (out, mut takers) = blocks_from(EVEN_BLOCKS + self.keeps, 1);
                let made = takers
                    .pop()
                    .ok_or_else(|| Error::internal("a stream has no taker"))?;
                empty.insert((out, made))
            }
        };
        out.write(piece)?;
        made.try_iter().try_for_each(|block| self.hub.push(&block))
    }

    fn finish(&mut self, proof: &Completed) -> Result<()> {
        if let Some((out, made)) = self.copies.take() {
            out.finish()?;
            made.into_iter().try_for_each(|block| self.hub.push(&block))?;
        }
        self.hub.complete(proof)
    }
}

impl Sink for Tee {
    type Stored = ();

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // No more at once than there is room for.
        bytes.chunks(BLOCK_BYTES).try_for_each(|piece| self.copy(piece))
    }

    fn keeps(&self) -> usize {
        self.keeps
    }

    fn keep(&mut self, block: &Arc<Block>) -> Result<()> {
        self.hub.push(block)
    }

    fn commit(mut self, proof: &Completed) -> Result<()> {
        match self.finish(proof) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(self, cause: Error) -> Error {
        self.hub.fail(&cause);
        cause
    }
}

impl Drop for Tee {
    /// A thread that panicked must not leave the places waiting.
    fn drop(&mut self) {
        self.hub
            .fail(&Error::internal("the thread of a reading ended early"));
    }
}

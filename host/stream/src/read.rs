//! Runs a recipe and hands its bytes to code that pulls.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};

use crate::blocks::{BlockReader, Blocks, blocks};
use crate::context::{Cancel, Context, HookGuard, Meter};
use crate::recipe::{Produced, Recipe};

/// The bytes of a recipe that is running.
///
/// The end of input says nothing about success: only [`Reading::finish`] does.
#[derive(Debug)]
pub struct Reading {
    reader: BlockReader,
    producer: Producer,
    meter: Arc<Meter>,
}

/// Starts a recipe on a thread of its own.
///
/// # Errors
/// The thread can't be started.
pub fn read(recipe: Arc<dyn Recipe>, context: &Context) -> Result<Reading> {
    let (out, mut takers) = blocks(1);
    let taker = takers
        .pop()
        .ok_or_else(|| Error::internal("a stream has no taker"))?;
    Ok(Reading {
        reader: BlockReader::new(taker),
        producer: Producer::start(recipe, context.clone(), out)?,
        meter: Arc::clone(&context.meter),
    })
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.meter.add_bytes(n as u64);
        Ok(n)
    }
}

impl Reading {
    /// Waits for the recipe to end and answers for it. Call it after the end of input.
    ///
    /// # Errors
    /// Whatever kept the recipe from giving all its bytes.
    pub fn finish(self) -> Result<Produced> {
        drop(self.reader);
        self.producer.finish()
    }

    /// The failure of the recipe, if it has one; `otherwise` if it ended well or only because we stopped reading.
    pub fn fail(self, otherwise: Error) -> Error {
        drop(self.reader);
        self.producer.fail(otherwise)
    }
}

/// How long a recipe whose bytes nobody takes any more may need to notice that or to say what is wrong with it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The thread that runs a recipe. It also starts the recipe's process, whose life is bound to the thread's.
#[derive(Debug)]
pub(crate) struct Producer {
    thread: JoinHandle<Result<Produced>>,
    cancel: Cancel,
    _link: HookGuard,
}

impl Producer {
    pub(crate) fn start(recipe: Arc<dyn Recipe>, context: Context, mut out: Blocks) -> Result<Self> {
        let (cancel, link) = context.cancel.link();
        let context = Context {
            cancel: cancel.clone(),
            ..context
        };
        std::thread::Builder::new()
            .name("producer".to_owned())
            .spawn(move || {
                context.meter.active.fetch_add(1, Ordering::Relaxed);
                let produced = recipe.produce(&context, &mut out).and_then(|produced| {
                    let bytes = out.finish()?;
                    Ok(Produced {
                        content_bytes: Some(produced.content_bytes.unwrap_or(bytes)),
                        ..produced
                    })
                });
                context.meter.active.fetch_sub(1, Ordering::Relaxed);
                produced
            })
            .map(|thread| Producer {
                thread,
                cancel,
                _link: link,
            })
            .map_err(|e| {
                Error::new(Code::Environment, "cannot start a thread")
                    .because(e)
                    .retryable()
            })
    }

    pub(crate) fn finish(self) -> Result<Produced> {
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Error::internal("the thread that reads the source panicked")))
    }

    /// Stops it: what it makes isn't wanted any more.
    pub(crate) fn abandon(self) {
        self.cancel.cancel(&Error::new(
            Code::Cancelled,
            "the other end of the stream is gone",
        ));
        drop(self.finish());
    }

    pub(crate) fn fail(self, otherwise: Error) -> Error {
        let asked = Instant::now();
        while !self.thread.is_finished() && asked.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(2));
        }
        // A recipe that waits for a silent process would never notice.
        if !self.thread.is_finished() {
            self.abandon();
            return otherwise;
        }
        match self.finish() {
            // A producer that only lost its taker isn't the cause.
            Err(error) if error.code() != Code::Cancelled => error,
            _ => otherwise,
        }
    }
}

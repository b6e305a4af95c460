//! xz, with the threads of liblzma: one stream of many blocks, which are also decoded side by side.

use std::io::{self, BufRead, Read, Write};

use backstay_model::filters::Settings;
use liblzma::stream::{Action, Check, Error, MtStreamBuilder, Status, Stream};

use crate::codec::compress::COMPRESS_BYTES;
use crate::context::Context;

/// The most memory that threads which decompress may take together: fewer are used if they need more.
const DECOMPRESS_BYTES: u64 = 512 << 20;

/// The most memory that a single thread may take to decompress. The highest level needs 65 MiB.
const DECOMPRESS_AT_MOST_BYTES: u64 = 128 << 20;

/// What `--extreme` adds to a level.
const EXTREME: u32 = 1 << 31;

/// How long liblzma may wait for its threads before it says so: the value of the `xz` program.
const PATIENCE_MS: u32 = 300;

const BUFFER_BYTES: usize = 64 << 10;

/// An encoder, and on how many threads.
///
/// # Errors
/// There is not enough memory.
pub(super) fn stream(settings: Settings, threads: u32) -> Result<(Stream, u32), Error> {
    let preset = settings.level.unsigned_abs() | if settings.extreme { EXTREME } else { 0 };
    let mut builder = MtStreamBuilder::new();
    builder.preset(preset).check(Check::Crc64).timeout_ms(PATIENCE_MS);
    let fits = |threads: &u32| builder.threads(*threads).memusage() <= COMPRESS_BYTES;
    // One thread alone needs no room for the blocks of others.
    let Some(threads) = (2..=threads).rev().find(fits) else {
        return Ok((Stream::new_easy_encoder(preset, Check::Crc64)?, 1));
    };
    Ok((builder.threads(threads).encoder()?, threads))
}

/// Compresses what is written into it.
pub(super) struct XzWriter<W> {
    out: W,
    stream: Stream,
    buffer: Vec<u8>,
    context: Context,
}

impl<W: Write> XzWriter<W> {
    pub(super) fn new(out: W, stream: Stream, context: Context) -> Self {
        XzWriter {
            out,
            stream,
            buffer: vec![0; BUFFER_BYTES],
            context,
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (taken, _) = self.step(bytes, Action::Run)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        while self.step(&[], Action::Finish)?.1 != Status::StreamEnd {}
        Ok(self.out)
    }

    /// One step of the encoder, which may have to wait for its threads: that is no stall, and ends when cancelled.
    fn step(&mut self, bytes: &[u8], action: Action) -> io::Result<(usize, Status)> {
        self.context.cancel.check()?;
        let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.process(bytes, &mut self.buffer, action)?;
        let taken = moved(before_in, self.stream.total_in());
        let made = moved(before_out, self.stream.total_out());
        self.out.write_all(&self.buffer[..made])?;
        self.context.meter.tick();
        Ok((taken, status))
    }
}

/// Bytes between two counts of the same step, which is never more than a buffer.
fn moved(before: u64, after: u64) -> usize {
    usize::try_from(after - before).unwrap_or(usize::MAX)
}

/// Decodes all streams of a file.
pub(super) struct XzReader<R> {
    input: R,
    stream: Stream,
    ended: bool,
}

impl<R: BufRead> XzReader<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        Ok(XzReader {
            input,
            stream: decoder()?,
            ended: false,
        })
    }
}

fn decoder() -> Result<Stream, Error> {
    let threads = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    MtStreamBuilder::new()
        .threads(threads)
        .memlimit_threading(DECOMPRESS_BYTES)
        .memlimit_stop(DECOMPRESS_AT_MOST_BYTES)
        .decoder()
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut was_stuck = false;
        while !self.ended {
            let input = self.input.fill_buf()?;
            let is_end = input.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(input, buffer, action).map_err(explain)?;
            self.input.consume(moved(before_in, self.stream.total_in()));
            let made = moved(before_out, self.stream.total_out());
            if status == Status::StreamEnd {
                // Another stream may follow; what else follows is no stream.
                self.ended = self.input.fill_buf()?.is_empty();
                if !self.ended {
                    self.stream = decoder()?;
                }
            } else if is_end && made == 0 {
                // Twice without any progress at the end of the input: there should have been more.
                if was_stuck {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                was_stuck = true;
            }
            if made > 0 {
                return Ok(made);
            }
        }
        Ok(0)
    }
}

fn explain(error: Error) -> io::Error {
    match error {
        Error::MemLimit => io::Error::other(format!(
            "it needs more than {} MiB of memory to be read, which nothing that Backstay writes does",
            DECOMPRESS_AT_MOST_BYTES >> 20
        )),
        other => other.into(),
    }
}

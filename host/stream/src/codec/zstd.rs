//! zstd (RFC 8878), with its own threads.

use std::io::{self, BufRead, Read, Write};

use ::zstd::stream::{read, write};
use ::zstd::zstd_safe::CParameter;
use backstay_model::filters::{Algorithm, Mode};

use crate::codec::compress::COMPRESS_BYTES;

/// What a thread compresses at a time: half of zstd's own choice at the default level, which halves the memory and was
/// measured to cost neither time nor size. Levels with a larger window raise it by themselves.
const JOB_BYTES: u32 = 4 << 20;

/// The tables in which a thread looks for repetitions at the default level: together 384 KiB, which stays in a
/// processor's second cache, where zstd's own choice of 768 KiB doesn't. Measured: a sixth less time, and at most a
/// sixtieth more bytes. That is what the hashes cost.
const TABLES: [CParameter; 2] = [CParameter::HashLog(16), CParameter::ChainLog(15)];

/// The largest window, as a power of two: 128 MiB, which is the most that a plain `zstd --decompress` accepts, and what
/// the highest level has. Who reads a frame needs that much memory.
const WINDOW_LOG: u32 = 27;

/// About how much memory a thread takes: its tables, a job as it was and as it became, and its part of the window.
const fn thread_bytes(level: i32, long: bool) -> u64 {
    let mebibytes = match level {
        ..=12 => 32,
        13..=19 => 128,
        20 => 256,
        21 => 512,
        _ => 1024,
    };
    (mebibytes + if long { 256 } else { 0 }) << 20
}

pub(super) fn writer<W: Write>(
    out: W,
    level: i32,
    long: bool,
    threads: u32,
) -> io::Result<(write::Encoder<'static, W>, u32)> {
    let mut encoder = write::Encoder::new(out, level)?;
    encoder.include_checksum(true)?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    if level == Algorithm::Zstd.preset(Mode::Standard).level {
        for parameter in TABLES {
            encoder.set_parameter(parameter)?;
        }
    }
    if long {
        encoder.long_distance_matching(true)?;
        encoder.window_log(WINDOW_LOG)?;
    }
    let most = COMPRESS_BYTES / thread_bytes(level, long);
    let threads = threads.min(u32::try_from(most).unwrap_or(u32::MAX));
    encoder.multithread(threads)?;
    Ok((encoder, threads))
}

/// Decodes all frames of a file. A frame that asks for a larger window than any that this host writes is refused.
pub(super) fn reader<'a>(input: impl BufRead + 'a) -> io::Result<impl Read + 'a> {
    let mut decoder = read::Decoder::with_buffer(input)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

//! One compressor in front of anything that can be written to.

use std::io::{self, Write};

use backstay_model::filters::{Algorithm, Compression};
use backstay_model::manifest::UsedCompression;
use backstay_model::{Code, Error, Result};

use crate::codec::gzip::GzipWriter;
use crate::codec::pieces::Pieces;
use crate::codec::xz::XzWriter;
use crate::codec::{bzip2, lz4, xz, zstd};
use crate::context::Context;

/// The most memory that threads which compress may take together, in formats where one may take hundreds of megabytes:
/// fewer are used if they need more.
pub(super) const COMPRESS_BYTES: u64 = 2 << 30;

/// Compresses what is written into it, or doesn't.
pub(super) enum Compress<W: Write> {
    Plain(W),
    Gzip(GzipWriter<W>),
    Zstd(::zstd::stream::write::Encoder<'static, W>),
    Xz(XzWriter<W>),
    /// bzip2 and LZ4, whose files may be several files one after the other.
    Pieces(Pieces<W>),
}

impl<W: Write> Compress<W> {
    /// Sets up a format as `spec` says, and tells what is really used.
    ///
    /// # Errors
    /// [`Code::Compression`] if it can't be set up, such as for lack of memory; or what `out` says to the first bytes.
    pub(super) fn start(
        spec: &Compression,
        out: W,
        context: &Context,
    ) -> Result<(Self, Option<UsedCompression>)> {
        let settings = spec.settings();
        let asked = match spec.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
            n => n,
        };
        let level = settings.level.unsigned_abs();
        let failed = |e: io::Error| {
            backstay_model::error::from_io(
                e,
                Code::Compression,
                &format!("cannot set up {}", spec.algorithm.name()),
            )
        };
        let (compress, threads) = match spec.algorithm {
            Algorithm::None => return Ok((Compress::Plain(out), None)),
            Algorithm::Gzip => (
                Compress::Gzip(GzipWriter::new(out, level, asked).map_err(failed)?),
                asked,
            ),
            Algorithm::Bzip2 => (
                Compress::Pieces(bzip2::writer(out, level, asked).map_err(failed)?),
                asked,
            ),
            Algorithm::Lz4 => (Compress::Pieces(lz4::writer(out, asked).map_err(failed)?), asked),
            Algorithm::Zstd => {
                let (encoder, threads) =
                    zstd::writer(out, settings.level, spec.long, asked).map_err(failed)?;
                (Compress::Zstd(encoder), threads)
            }
            Algorithm::Xz => {
                let (stream, threads) = xz::stream(settings, asked).map_err(|e| {
                    Error::new(Code::Compression, "cannot set up xz")
                        .because(e)
                        .hint("a lower level needs less memory")
                })?;
                (Compress::Xz(XzWriter::new(out, stream, context.clone())), threads)
            }
        };
        let used = UsedCompression {
            algorithm: spec.algorithm,
            level: settings.level,
            mode: spec.mode,
            extreme: settings.extreme,
            long: spec.long,
            threads,
        };
        Ok((compress, Some(used)))
    }

    pub(super) fn write_all(&mut self, block: &[u8]) -> io::Result<()> {
        match self {
            Compress::Plain(w) => w.write_all(block),
            Compress::Gzip(w) => w.write_all(block),
            Compress::Zstd(w) => w.write_all(block),
            Compress::Xz(w) => w.write_all(block),
            Compress::Pieces(w) => w.write_all(block),
        }
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Compress::Plain(w) => Ok(w),
            Compress::Gzip(w) => w.finish(),
            Compress::Zstd(w) => w.finish(),
            Compress::Xz(w) => w.finish(),
            Compress::Pieces(w) => w.finish(),
        }
    }
}

//! One decompressor behind anything that can be read, strict about what it takes.
//!
//! It reads its input to the very end: several members, streams or frames one after the other are all decoded, and what
//! isn't one is an error, as is an end that comes too early. Memory is bounded whatever the input claims.

use std::io::{self, BufRead, BufReader, Read};

use backstay_model::filters::Algorithm;

use crate::codec::lz4::Lz4Reader;
use crate::codec::xz::XzReader;
use crate::codec::{bzip2, gzip, zstd};

const BUFFER_BYTES: usize = 128 << 10;

/// The bytes as they were before they were compressed.
///
/// # Errors
/// The first bytes can't be read, or the format can't be set up.
pub(super) fn decompress<'a>(
    algorithm: Algorithm,
    input: Box<dyn Read + 'a>,
) -> io::Result<Box<dyn Read + 'a>> {
    if algorithm == Algorithm::None {
        return Ok(input);
    }
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    if input.fill_buf()?.is_empty() {
        return Err(too_early(algorithm));
    }
    let reader: Box<dyn Read + 'a> = match algorithm {
        Algorithm::None => Box::new(input),
        Algorithm::Gzip => Box::new(gzip::reader(input)),
        Algorithm::Zstd => Box::new(zstd::reader(input)?),
        Algorithm::Xz => Box::new(XzReader::new(input)?),
        Algorithm::Bzip2 => Box::new(bzip2::reader(input)),
        Algorithm::Lz4 => Box::new(Lz4Reader::new(input)),
    };
    Ok(Box::new(Strict { algorithm, reader }))
}

/// Says what is wrong in the same words for every format.
struct Strict<'a> {
    algorithm: Algorithm,
    reader: Box<dyn Read + 'a>,
}

impl Read for Strict<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|e| {
            let is_ours = e
                .get_ref()
                .is_some_and(|inner| inner.is::<backstay_model::Error>());
            match e.kind() {
                _ if is_ours => e,
                io::ErrorKind::Interrupted => e,
                io::ErrorKind::UnexpectedEof => too_early(self.algorithm),
                kind => io::Error::new(
                    kind,
                    format!("the {} data is damaged: {e}", self.algorithm.name()),
                ),
            }
        })
    }
}

fn too_early(algorithm: Algorithm) -> io::Error {
    let message = format!("the {} data ends too early", algorithm.name());
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

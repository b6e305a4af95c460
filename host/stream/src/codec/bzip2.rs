//! bzip2, compressed on several threads into streams of one block each, one after the other, as `lbzip2` does.

use std::io::{self, BufRead, Read, Write};

use bzip2::Compression;
use bzip2::bufread::MultiBzDecoder;
use bzip2::write::BzEncoder;

use crate::codec::pieces::Pieces;

/// What a level adds to the size of a block.
const LEVEL_BYTES: usize = 100_000;

/// What the format keeps free in each block: a piece that is larger would need a second block.
const RESERVED_BYTES: usize = 20;

pub(super) fn writer<W: Write>(out: W, level: u32, threads: u32) -> io::Result<Pieces<W>> {
    let block = level as usize * LEVEL_BYTES - RESERVED_BYTES;
    Pieces::new(out, block, threads, || {
        Box::new(move |input, output| {
            let mut encoder = BzEncoder::new(output, Compression::new(level));
            encoder.write_all(input)?;
            encoder.finish().map(drop)
        })
    })
}

/// Decodes all streams of a file.
pub(super) fn reader(input: impl BufRead) -> impl Read {
    MultiBzDecoder::new(input)
}

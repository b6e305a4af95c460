//! gzip (RFC 1952), compressed on several threads into one member, as `pigz --independent` does.
//!
//! Each piece is a run of DEFLATE blocks that ends on a byte and looks at nothing before it.

use std::io::{self, BufRead, Read, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::codec::pieces::{Pieces, Step};

/// Bytes in a piece. DEFLATE looks back 32 KiB, so starting anew this often costs next to nothing.
const PIECE_BYTES: usize = 1 << 20;

/// No name, no time, an unknown system: the same input gives the same bytes.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty block that is the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Writes one gzip member.
pub(super) struct GzipWriter<W: Write> {
    crc: Crc,
    pieces: Pieces<W>,
}

impl<W: Write> GzipWriter<W> {
    pub(super) fn new(mut out: W, level: u32, threads: u32) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        Ok(GzipWriter {
            crc: Crc::new(),
            pieces: Pieces::new(out, PIECE_BYTES, threads, || step(level))?,
        })
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.pieces.write_all(bytes)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        let mut out = self.pieces.finish()?;
        out.write_all(&LAST_BLOCK)?;
        out.write_all(&self.crc.sum().to_le_bytes())?;
        out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(out)
    }
}

fn step(level: u32) -> Step {
    let mut deflate = Compress::new(Compression::new(level), false);
    Box::new(move |input, output| {
        deflate.reset();
        // What can't be compressed grows by less than this.
        output.reserve(input.len() + input.len() / 512 + 128);
        loop {
            let taken = usize::try_from(deflate.total_in()).unwrap_or(input.len());
            deflate.compress_vec(&input[taken..], output, FlushCompress::Sync)?;
            // A flush is complete when it leaves room.
            if output.len() < output.capacity() {
                return Ok(());
            }
            output.reserve(64 << 10);
        }
    })
}

/// Decodes all members of a file.
pub(super) fn reader(input: impl BufRead) -> impl Read {
    flate2::bufread::MultiGzDecoder::new(input)
}

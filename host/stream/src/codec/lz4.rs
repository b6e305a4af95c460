//! LZ4 frames of one block each, one after the other.

use std::io::{self, BufRead, Read, Write};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::codec::pieces::Pieces;

/// Bytes in a frame: one block of the largest size that the format has.
const FRAME_BYTES: usize = 4 << 20;

pub(super) fn writer<W: Write>(out: W, threads: u32) -> io::Result<Pieces<W>> {
    Pieces::new(out, FRAME_BYTES, threads, || {
        Box::new(move |input, output| {
            let info = FrameInfo::new()
                .block_size(BlockSize::Max4MB)
                .content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, output);
            encoder.write_all(input)?;
            encoder.finish()?;
            Ok(())
        })
    })
}

/// Decodes all frames of a file.
pub(super) struct Lz4Reader<R: BufRead> {
    frame: Option<FrameDecoder<Watched<R>>>,
}

impl<R: BufRead> Lz4Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Lz4Reader {
            frame: Some(FrameDecoder::new(Watched { input, ended: false })),
        }
    }
}

impl<R: BufRead> Read for Lz4Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut frame) = self.frame.take() {
            let n = frame.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                self.frame = Some(frame);
                return Ok(n);
            }
            // To the decoder the end of the input between two blocks is as good as the mark of the end. But who finds that
            // mark has no need to look any further.
            if frame.get_ref().ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // The next may have blocks of another size, so it gets a decoder of its own.
            let mut input = frame.into_inner().input;
            if !input.fill_buf()?.is_empty() {
                *self = Lz4Reader::new(input);
            }
        }
        Ok(0)
    }
}

/// Knows whether somebody wanted to read more than there is.
struct Watched<R> {
    input: R,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.ended |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

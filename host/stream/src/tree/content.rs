//! The content of a file on its way into an archive, exactly as long as its header says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use backstay_model::Result;

use crate::blocks::Blocks;
use crate::context::Context;
use crate::tree::sparse::Segment;

/// Below this many bytes a copy is cheaper than handing out the rest of a block.
const COPIED_BYTES: u64 = 128 << 10;

/// Zeros to fill up with.
const ZEROS: [u8; 4096] = [0; 4096];

/// Why a file's content isn't what it was when its header was written.
#[derive(Debug)]
pub(crate) enum Gap {
    /// It ended early.
    Short,
    /// It could not be read.
    Failed(io::Error),
}

/// Copies files' content; keeps its memory from one file to the next.
#[derive(Debug)]
pub(crate) struct ContentWriter {
    buffer: Vec<u8>,
}

impl ContentWriter {
    pub(crate) fn new() -> Self {
        ContentWriter {
            buffer: vec![0; COPIED_BYTES as usize],
        }
    }

    /// Pushes a piece of a file, and zeros for what can't be had of it.
    pub(crate) fn push(
        &mut self,
        file: &File,
        segment: Segment,
        context: &Context,
        out: &mut Blocks,
    ) -> Result<Option<Gap>> {
        let mut offset = segment.offset;
        let mut left = segment.bytes;
        while left > 0 {
            context.cancel.check()?;
            let read = if left < COPIED_BYTES {
                let n = match file.read_at(&mut self.buffer[..left as usize], offset) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    other => other,
                };
                if let Ok(n) = n {
                    out.write(&self.buffer[..n])?;
                }
                n
            } else {
                let filled = out.fill(|block| {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                    file.read_at(&mut block[..n], offset)
                });
                match filled {
                    Ok(n) => Ok(n),
                    Err(crate::blocks::FillError::Read(error)) => Err(error),
                    Err(crate::blocks::FillError::Gone(error)) => return Err(error),
                }
            };
            let gap = match read {
                Ok(0) => Gap::Short,
                Err(error) => Gap::Failed(error),
                Ok(n) => {
                    offset += n as u64;
                    left -= n as u64;
                    continue;
                }
            };
            push_zeros(left, context, out)?;
            return Ok(Some(gap));
        }
        Ok(None)
    }
}

/// Pushes zeros.
pub(crate) fn push_zeros(mut bytes: u64, context: &Context, out: &mut Blocks) -> Result<()> {
    while bytes > 0 {
        context.cancel.check()?;
        let n = ZEROS.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        out.write(&ZEROS[..n])?;
        bytes -= n as u64;
    }
    Ok(())
}

//! Streams that end well, badly, or not at all.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use backstay_stream::{Blocks, Context, Produced, Recipe};
use tokio::sync::Notify;

/// What the source says when it fails.
pub(super) const FAILURE: &str = "the source failed, as the test wished";

/// Bytes that can't be compressed, the same each time.
#[derive(Debug)]
pub(super) struct Noise {
    pub(super) bytes: usize,
    pub(super) end: End,
}

/// How they end.
#[derive(Debug)]
pub(super) enum End {
    /// Well.
    Well,
    /// With a failure.
    Failure,
    /// Not before the run is cancelled. Somebody is told when all bytes have been given.
    Never(Arc<Notify>),
}

impl Recipe for Noise {
    fn describe(&self) -> String {
        format!("{} bytes for a test", self.bytes)
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut left = self.bytes;
        let mut piece = vec![0; 64 << 10];
        while left > 0 {
            context.cancel.check()?;
            for word in piece.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            let now = left.min(piece.len());
            out.write(&piece[..now])?;
            left -= now;
        }
        match &self.end {
            End::Well => Ok(Produced::default()),
            End::Failure => Err(Error::new(Code::BackupFailed, FAILURE)),
            End::Never(told) => {
                told.notify_one();
                loop {
                    context.cancel.check()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

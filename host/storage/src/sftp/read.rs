//! A stored object as a recipe: ranges are asked for ahead, and what breaks off goes on from there over a new connection.

use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use backstay_stream::{Blocks, Context, Produced, Recipe};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use openssh_sftp_client::file::File;
use tokio::io::AsyncSeekExt as _;

use super::Shared;
use super::failure::Failure;
use crate::Key;

/// Bytes of one range: what OpenSSH gives at once.
const RANGE_BYTES: u32 = 255 << 10;

/// How many ranges are asked for at once: 4 MiB of memory.
const PARALLEL: usize = 16;

/// Reads an object from its start to its end.
pub(super) struct SftpRecipe {
    shared: Arc<Shared>,
    key: Key,
    size_bytes: u64,
}

impl std::fmt::Debug for SftpRecipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SftpRecipe({})", self.key)
    }
}

impl SftpRecipe {
    pub(super) fn new(shared: Arc<Shared>, key: Key, size_bytes: u64) -> Self {
        SftpRecipe {
            shared,
            key,
            size_bytes,
        }
    }

    /// Reads on from where it is, until the end or a failure.
    fn read_on(&self, at: &mut u64, context: &Context, out: &mut Blocks) -> Result<()> {
        let (shared, path) = (&self.shared, self.key.as_str());
        let cancel = &context.cancel;
        let (session, file) = shared.wait(cancel, None, "read", path, async {
            let session = shared.connected().await?;
            let mut options = session.sftp.options();
            match options.read(true).open(shared.names.path(path)).await {
                Ok(file) => Ok((session, file)),
                Err(error) => Err(shared.explain(&session, "read", path, error.into()).await),
            }
        })?;
        let end = self.size_bytes;
        let ranges = (*at..end).step_by(RANGE_BYTES as usize);
        let mut blocks = Box::pin(
            stream::iter(ranges)
                .map(|start| range(file.clone(), start, end.min(start + u64::from(RANGE_BYTES))))
                .buffered(PARALLEL),
        );
        loop {
            let next = shared.wait(cancel, None, "read", path, async {
                match blocks.next().await.transpose() {
                    Ok(next) => Ok(next),
                    Err(failure) => Err(shared.explain(&session, "read", path, failure).await),
                }
            })?;
            let Some(pieces) = next else {
                return Ok(());
            };
            let whole = end.min(*at + u64::from(RANGE_BYTES));
            for piece in pieces {
                cancel.check()?;
                *at += piece.len() as u64;
                out.write(&piece)?;
            }
            if *at != whole {
                // The file is shorter than it was.
                return Ok(());
            }
        }
    }
}

/// All pieces of a range. They end early only where the file does.
async fn range(mut file: File, start: u64, end: u64) -> Result<Vec<Bytes>, Failure> {
    let (mut at, mut pieces) = (start, Vec::new());
    while at < end {
        file.seek(SeekFrom::Start(at)).await?;
        let wanted = u32::try_from(end - at).unwrap_or(RANGE_BYTES);
        let Some(piece) = file.read(wanted, BytesMut::new()).await? else {
            break;
        };
        at += piece.len() as u64;
        pieces.push(piece.freeze());
    }
    Ok(pieces)
}

impl Recipe for SftpRecipe {
    fn describe(&self) -> String {
        format!("the object {}", self.shared.names.shown(self.key.as_str()))
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let shared = &self.shared;
        let (mut at, mut tried) = (0, 0);
        loop {
            let before = at;
            match self.read_on(&mut at, context, out) {
                Ok(()) => break,
                Err(error) if error.is_retryable() && error.code() == Code::Network => {
                    // What goes on is no failure in a row.
                    tried = if at > before { 1 } else { tried + 1 };
                    if tried > shared.access.retries {
                        return Err(error);
                    }
                    shared.wait(&context.cancel, None, "read", self.key.as_str(), async {
                        shared.disconnect().await;
                        tokio::time::sleep(Duration::from_secs(1 << tried.min(5))).await;
                        Ok(())
                    })?;
                }
                Err(error) => return Err(error),
            }
        }
        if at != self.size_bytes {
            let shown = shared.names.shown(self.key.as_str());
            let message = format!("{shown} ended after {at} of {} bytes", self.size_bytes);
            return Err(Error::new(Code::Storage, message).retryable());
        }
        Ok(Produced::default())
    }
}

//! A stored object as a recipe: ranges are fetched ahead, and one that breaks off is fetched on from there.

use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::{Blocks, Context, Produced, Recipe};
use futures::StreamExt as _;

use super::Shared;
use crate::Key;

/// Bytes of one request.
const RANGE_BYTES: usize = 8 << 20;

/// How many requests are under way at once: 32 MiB of memory.
const PARALLEL: usize = 4;

/// Reads an object from its start to its end.
pub struct ObjectRecipe {
    shared: Arc<Shared>,
    key: Key,
    size_bytes: u64,
}

impl std::fmt::Debug for ObjectRecipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectRecipe({})", self.key)
    }
}

impl ObjectRecipe {
    pub(super) fn new(shared: Arc<Shared>, key: Key, size_bytes: u64) -> Self {
        ObjectRecipe {
            shared,
            key,
            size_bytes,
        }
    }
}

impl Recipe for ObjectRecipe {
    fn describe(&self) -> String {
        format!("the object {}", self.shared.location(self.key.as_str()))
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let (shared, path) = (&self.shared, self.key.as_str());
        if self.size_bytes == 0 {
            return Ok(Produced::default());
        }
        let opening = async {
            let reader = shared
                .operator
                .reader_with(path)
                .chunk(RANGE_BYTES)
                .concurrent(PARALLEL)
                .await?;
            reader.into_stream(0..self.size_bytes).await
        };
        let mut stream = shared.wait(&context.cancel, None, "read", path, opening)?;
        let mut read_bytes = 0;
        loop {
            let next = async { stream.next().await.transpose() };
            let Some(buffer) = shared.wait(&context.cancel, None, "read", path, next)? else {
                break;
            };
            for bytes in buffer {
                context.cancel.check()?;
                read_bytes += bytes.len() as u64;
                out.write(&bytes)?;
            }
        }
        if read_bytes != self.size_bytes {
            let message = format!(
                "{} ended after {read_bytes} of {} bytes",
                shared.location(path),
                self.size_bytes
            );
            return Err(Error::new(Code::Storage, message).retryable());
        }
        Ok(Produced::default())
    }
}

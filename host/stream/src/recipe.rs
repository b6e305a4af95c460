//! Descriptions of bytes that can be run.

use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::{Code, Error, Result};

use crate::blocks::Blocks;
use crate::context::Context;
use crate::fan::Tap;

/// A description of some bytes: run this command, read this file, tar this tree.
pub trait Recipe: Debug + Send + Sync {
    /// What it is, for a person: `zfs send tank@x`, `tar of /srv`.
    fn describe(&self) -> String;

    /// Pushes all bytes into `out` and returns once whoever made them has ended well.
    ///
    /// For a process that means: its exit status is known and good. Blocks its thread. It checks
    /// `context.cancel` at least once for each block.
    ///
    /// # Errors
    /// Whatever kept it from giving all bytes. What was pushed by then must not be used.
    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced>;

    /// The end of a reading that several places take from, if that is what it is: its bytes come filtered and hashed.
    fn tap(&self) -> Option<&Tap> {
        None
    }

    /// The same as a tar stream in the order of an index, if it is the files of a stored tree, which nobody can give without.
    fn in_order_of(&self, _index: &Arc<dyn Recipe>) -> Option<Arc<dyn Recipe>> {
        None
    }
}

/// What a recipe knows after it ended well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    /// Bytes of file content, for trees; for others the bytes of the stream count.
    pub content_bytes: Option<u64>,
    /// Files, directories, links and devices, for trees.
    pub entries: u64,
}

/// Bytes held in memory, for small things.
#[derive(Debug)]
pub struct TextRecipe(Arc<[u8]>);

impl TextRecipe {
    /// From text or bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        TextRecipe(bytes.into())
    }
}

impl Recipe for TextRecipe {
    fn describe(&self) -> String {
        format!("{} bytes from memory", self.0.len())
    }

    fn produce(&self, _: &Context, out: &mut Blocks) -> Result<Produced> {
        out.write(&self.0)?;
        Ok(Produced::default())
    }
}

/// A file, read from its start to its end.
#[derive(Debug)]
pub struct FileRecipe {
    path: PathBuf,
    file: Option<File>,
}

impl FileRecipe {
    /// A file that is opened by name each time the recipe runs.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        FileRecipe {
            path: path.into(),
            file: None,
        }
    }

    /// A file that is open already; `path` is only how it is called in messages.
    pub fn opened(file: File, path: impl Into<PathBuf>) -> Self {
        FileRecipe {
            path: path.into(),
            file: Some(file),
        }
    }
}

impl Recipe for FileRecipe {
    fn describe(&self) -> String {
        format!("the file {}", backstay_model::error::show(&self.path))
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        use std::os::unix::fs::FileExt as _;
        let failed = |e| Error::io_as(Code::BackupFailed, "read", &self.path, e);
        let opened;
        let file = match &self.file {
            Some(file) => file,
            None => {
                opened = File::open(&self.path).map_err(failed)?;
                &opened
            }
        };
        let mut offset = 0;
        loop {
            context.cancel.check()?;
            let n = out
                .fill(|buffer| file.read_at(buffer, offset))
                .map_err(|e| e.or(failed))?;
            if n == 0 {
                return Ok(Produced::default());
            }
            offset += n as u64;
        }
    }
}

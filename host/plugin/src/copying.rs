//! A tree that programs copy by themselves, as the host holds it for a guest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::tree::{TreeCopy, Untaken};

use crate::scope::RunScope;

/// A `tree-copy` of a guest.
#[derive(Debug, Clone)]
pub struct Copying {
    pub(crate) copy: Arc<TreeCopy>,
    pub(crate) is_payload: bool,
    /// A program was given the list of what is to be taken.
    pub(crate) was_run: bool,
    /// What the program could not take.
    pub(crate) untaken: Vec<Untaken>,
}

impl Copying {
    /// Fails if no program can have copied it.
    pub(crate) fn refuse_without_run(&self) -> Result<()> {
        if self.was_run {
            return Ok(());
        }
        Err(
            Error::new(Code::Storage, "no program was given what it should have copied")
                .hint("this is a defect of the plugin; nothing counts as backed up"),
        )
    }
}

/// Where the hashes of a tree's content are kept between runs. The file may be deleted at any time.
pub(crate) fn hashes(data_dir: &Path, run: &RunScope, root: &Path) -> PathBuf {
    let root = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    let end = run.destination.unwrap_or_default();
    let name = format!("{}-{end}-{}", run.job_id, &root.as_str()[..16]);
    data_dir.join("hashes").join(name)
}

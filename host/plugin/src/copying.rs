//! A tree that programs copy by themselves, as the host holds it for a guest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::error::show;
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
    /// How many regular files the program says that it has stored.
    pub(crate) counted: Option<u64>,
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

    /// Fails if the program says that it has stored fewer regular files than it must have.
    pub(crate) fn refuse_fewer_than(&self, must: u64) -> Result<()> {
        let Some(counted) = self.counted.filter(|counted| *counted < must) else {
            return Ok(());
        };
        let message = format!(
            "the program stored {counted} files of {}, and at least {must} are there to be stored",
            show(self.copy.directory())
        );
        Err(Error::new(Code::Verification, message)
            .hint("nothing counts as backed up; were directories moved meanwhile? else the program leaves out what it was not told to")
            .retryable())
    }
}

/// Where the hashes of a tree's content are kept between runs. The file may be deleted at any time.
pub(crate) fn hashes(data_dir: &Path, run: &RunScope, root: &Path) -> PathBuf {
    let root = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    let end = run.destination.unwrap_or_default();
    let name = format!("{}-{end}-{}", run.job_id, &root.as_str()[..16]);
    data_dir.join("hashes").join(name)
}

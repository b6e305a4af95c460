//! What a call is about: whose configuration, which run, and the services behind the capabilities.

use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::event::Level;
use backstay_model::filters::Filters;
use backstay_model::manifest::Digest;
use backstay_store::Store;
use backstay_stream::tree::TreeSpec;
use backstay_stream::{Context, Recipe, Transfer};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::limits::Limits;

/// Hears what a plugin says while it works.
pub trait Listener: Debug + Send + Sync {
    /// A line for the run's log.
    fn log(&self, level: Level, message: String);

    /// What is being done, and how far.
    fn progress(&self, stage: String, done: u64, total: Option<u64>);
}

/// Everything that a call may touch, before grants narrow it.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The configuration of this plugin in this job: grants are narrowed to what it names.
    pub config: Map<String, Value>,
    /// What a restore names as its target.
    pub target: Option<String>,
    /// The run, for calls that are part of one.
    pub run: Option<RunScope>,
    /// Cancellation, progress and warnings.
    pub context: Context,
    /// Who hears the plugin.
    pub listener: Arc<dyn Listener>,
    /// What happens to bytes on their way into a destination.
    pub filters: Filters,
    /// The host's data directory, which no script sees.
    pub data_dir: PathBuf,
    /// The limits of the instance.
    pub limits: Limits,
}

impl Scope {
    /// A place of its own for the scratch directory of one call. Only the calls of a run have one.
    pub(crate) fn scratch_place(&self) -> Option<PathBuf> {
        let run = self.run.as_ref()?;
        let name = format!("{}-{}", run.run_id, Uuid::now_v7());
        Some(self.data_dir.join("scratch").join(name))
    }
}

/// The run that a call is part of.
#[derive(Debug, Clone)]
pub struct RunScope {
    /// Journal and notes.
    pub store: Store,
    /// Id of the run.
    pub run_id: Uuid,
    /// Id of the job.
    pub job_id: Uuid,
    /// Name of the job.
    pub job_name: String,
    /// Name of this machine.
    pub device: String,
    /// When the run started.
    pub started_at: Timestamp,
    /// Which destination of the job the plugin is; nothing for the source.
    pub destination: Option<usize>,
}

/// What a source offers, a destination takes and gives back.
#[derive(Debug, Clone)]
pub enum Content {
    /// Bytes.
    Stream(Arc<dyn Recipe>),
    /// Files.
    Tree(Arc<TreeSpec>),
}

/// What the host moved for a destination, measured by the host: a plugin's word is not needed for it.
#[derive(Debug)]
pub enum Moved {
    /// A stream.
    Stream {
        /// What went through.
        transfer: Transfer,
        /// Where the host has seen all of it, if it has put it into a remote itself: that need not be asked again.
        seen: Option<String>,
    },
    /// A tree, stored as files.
    Tree {
        /// Its index, one line an entry.
        index: File,
        /// Size and hashes of the index.
        digest: Digest,
        /// Bytes of file content.
        content_bytes: u64,
        /// Bytes of those that are gone from the source, and were taken over from an earlier copy.
        carried_bytes: u64,
        /// Files, directories, links and devices.
        entries: u64,
    },
}

//! The use cases: validate a job, back up, prune, verify, restore, recover what a crash left.
//!
//! This crate decides what happens in which order and what a failure means; it calls plugins, streams
//! and the store, and none of them calls it. It knows no HTTP, no terminal and no SQL. Everything that
//! a run leaves behind goes through the journal, and `undo.rs` is the only place that takes it back.
//!
//! A new use case is a file of its own with a method on [`Engine`].

mod attempts;
mod audit;
pub mod backup;
pub mod cancel;
pub mod catalog;
mod chain;
mod commit;
mod copy;
pub mod daemon;
mod delivery;
pub mod drill;
mod fan;
mod hooks;
pub mod kit;
mod lanes;
pub mod latest;
pub mod lock;
pub mod metrics;
pub mod notify;
mod outcome;
pub mod preview;
pub mod prune;
pub mod recorder;
pub mod recover;
pub mod remotes;
pub mod restore;
pub mod scheduler;
mod secrets;
mod throttle;
pub mod trial;
mod undo;
pub mod validate;
pub mod verify;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::clock::Clock;
use backstay_plugin::Plugins;
use backstay_store::Store;

pub use recorder::Observer;
use recover::Unrecorded;

/// Everything that the use cases need, built once by the program.
#[derive(Debug)]
pub struct Engine {
    /// The database.
    pub store: Store,
    /// The plugins.
    pub plugins: Plugins,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Name of this machine.
    pub device: String,
    /// Where locks, installed plugins and scratch space are.
    pub data_dir: PathBuf,
    /// Version of the host, for manifests.
    pub version: &'static str,
    /// Runs of this process whose end could not be written down.
    pub unrecorded: Unrecorded,
}

impl Engine {
    /// Space for drills, on the disk of the data directory.
    fn scratch(&self) -> PathBuf {
        self.data_dir.join("scratch")
    }

    /// Where the locks of jobs are.
    fn locks(&self) -> PathBuf {
        self.data_dir.join("locks")
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

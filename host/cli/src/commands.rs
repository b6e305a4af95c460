//! The commands, one file each.

pub mod apply;
mod asks;
pub mod backups;
pub mod completions;
pub mod doctor;
pub mod job;
mod jobfile;
pub mod logs;
pub mod plugin;
pub mod recovery_kit;
pub mod remote;
pub mod restore;
pub mod run;
pub mod runs;
pub mod verify;

use backstay_engine::Engine;
use backstay_model::{Code, Error, Result};
use backstay_store::Backup;

/// The backup that `latest:JOB` or an id names.
///
/// # Errors
/// There is none.
pub async fn find_backup(engine: &Engine, name: &str) -> Result<Backup> {
    if let Some(job) = name.strip_prefix("latest:") {
        return engine.store.latest_backup(job).await;
    }
    let id = name.parse().map_err(|_| {
        Error::new(
            Code::Configuration,
            format!("`{name}` is neither the id of a backup nor latest:JOB"),
        )
        .hint("`backstay backups` lists them")
    })?;
    engine.store.backup(id).await
}

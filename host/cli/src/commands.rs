//! The commands, one file each.

pub mod apply;
mod asks;
pub mod audit;
pub mod backups;
pub mod cancel;
pub mod catalog;
pub mod completions;
pub mod doctor;
pub mod drill;
pub mod health;
pub mod import;
pub mod job;
mod jobfile;
pub mod logs;
pub mod metrics;
pub mod notification;
pub mod outbox;
pub mod plugin;
mod plugin_test;
pub mod prune;
pub mod recovery_kit;
pub mod remote;
pub mod restore;
pub mod run;
pub mod runs;
pub mod schedule;
pub mod secret;
mod secret_text;
pub mod serve;
pub mod throttle;
pub mod token;
pub mod verify;

use backstay_engine::Engine;
use backstay_model::{Code, Error, Result};
use backstay_store::Backup;

use crate::output::Output;

/// Who runs this command, as it is written down with what they change.
pub fn user() -> String {
    format!("user:{}", rustix::process::getuid().as_raw())
}

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

/// The backup that `latest:JOB` or an id names, to be used: not a damaged one if it is to be had, and not without a
/// word.
///
/// # Errors
/// There is none.
pub async fn find_good_backup(engine: &Engine, name: &str, output: Output) -> Result<Backup> {
    let (backup, warning) = match name.strip_prefix("latest:") {
        Some(job) => {
            let chosen = engine.newest_good(job).await?;
            (chosen.backup, chosen.warning)
        }
        None => {
            let backup = find_backup(engine, name).await?;
            let warning = engine.damage_of(&backup).await?;
            (backup, warning)
        }
    };
    if let Some(warning) = warning {
        output.note(&format!("warning: {warning}"));
    }
    Ok(backup)
}

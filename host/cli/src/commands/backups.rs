//! `backstay backups`: lists backups, newest first.

use std::path::PathBuf;

use backstay_model::Result;
use backstay_model::job::VerifyLevel;
use backstay_store::BackupFilter;
use indicatif::HumanBytes;

use crate::args::Backups;
use crate::output::summary::{backup_json, place};
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// The catalogue can't be read.
pub async fn run(args: Backups, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::recovered(data_dir, output).await?;
    let filter = BackupFilter {
        job_name: args.job.as_deref(),
        limit: args.limit,
        ..BackupFilter::default()
    };
    let backups = engine.store.backups(filter).await?;
    let values: Vec<_> = backups.iter().map(backup_json).collect();
    output.print(&values, || {
        if backups.is_empty() {
            return "no backups yet".to_owned();
        }
        let rows = backups.iter().map(|backup| {
            let manifest = &backup.manifest;
            vec![
                manifest.id.to_string(),
                manifest.job.name.clone(),
                backup.created_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
                if manifest.depends_on.is_some() {
                    "increment"
                } else {
                    "full"
                }
                .to_owned(),
                HumanBytes(manifest.stored_bytes()).to_string(),
                match (backup.verified_ok, backup.verified_level) {
                    (Some(true), Some(level)) => VerifyLevel::name(level).to_owned(),
                    (Some(false), _) => "DAMAGED".to_owned(),
                    _ => "-".to_owned(),
                },
                place(backup).to_owned(),
            ]
        });
        table(
            &["id", "job", "made", "kind", "stored", "verified", "at"],
            &rows.collect::<Vec<_>>(),
        )
    })?;
    Ok(0)
}

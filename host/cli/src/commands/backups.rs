//! `backstay backups`: lists backups, newest first.

use std::path::PathBuf;

use backstay_api::view::BackupView;
use backstay_model::Result;
use backstay_store::{Backup, BackupFilter};
use indicatif::HumanBytes;

use crate::args::Backups;
use crate::output::summary::{place, verified};
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
    let is_own = |backup: &Backup| backup.manifest.instance_id == engine.store.instance_id();
    let values: Vec<_> = backups
        .iter()
        .map(|backup| BackupView::listed(backup, &engine.store))
        .collect();
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
                verified(backup),
                // The mark goes with the place: who restores must see it, and nothing here deletes it.
                if is_own(backup) {
                    place(backup).to_owned()
                } else {
                    format!(
                        "{} (by another installation, on {})",
                        place(backup),
                        manifest.device
                    )
                },
            ]
        });
        table(
            &["id", "job", "made", "kind", "stored", "verified", "at"],
            &rows.collect::<Vec<_>>(),
        )
    })?;
    Ok(0)
}

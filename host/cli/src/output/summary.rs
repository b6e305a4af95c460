//! Runs and backups as people and scripts see them.

use backstay_engine::backup::Report;
use backstay_model::run::{Run, RunKind, RunStatus};
use backstay_store::Backup;
use indicatif::{HumanBytes, HumanCount};

/// A run and its backups for people.
pub fn report_text(report: &Report) -> String {
    let run = &report.run;
    let mut text = format!("{} of {}: {}\n", kind(run), run.job_name, run.status.name());
    if let Some(error) = &run.error {
        text.push_str(&format!("  why          {}\n", error.message));
        if let Some(hint) = &error.hint {
            text.push_str(&format!("  what to do   {hint}\n"));
        }
    }
    if run.status != RunStatus::Failed {
        for backup in &report.backups {
            let manifest = &backup.manifest;
            text.push_str(&format!(
                "  backup       {}\n  at           {}\n",
                manifest.id,
                place(backup)
            ));
            if let (RunKind::Verify | RunKind::Drill, Some(level)) = (run.kind, backup.verified_level) {
                text.push_str(&format!("  checked      {}\n", level.name()));
            }
            let entries: u64 = manifest.artifacts.iter().map(|a| a.entries).sum();
            let entries = if entries > 0 {
                format!(" in {} entries", HumanCount(entries))
            } else {
                String::new()
            };
            text.push_str(&format!(
                "  source       {}{entries}\n  stored       {}\n",
                HumanBytes(manifest.content_bytes()),
                HumanBytes(backup.manifest.stored_bytes())
            ));
        }
    }
    if run.stats.deleted_backups > 0 {
        text.push_str(&format!(
            "  deleted      {} old backups, {}\n",
            HumanCount(run.stats.deleted_backups),
            HumanBytes(run.stats.freed_bytes)
        ));
    }
    const SHOWN: usize = 20;
    for warning in run.warnings.iter().take(SHOWN) {
        text.push_str(&format!("  warning      {}\n", warning.message));
    }
    if run.warnings.len() > SHOWN {
        text.push_str(&format!(
            "  warnings     and {} more: `backstay logs {}`\n",
            run.warnings.len() - SHOWN,
            run.id
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let seconds = run.stats.duration_ms as f64 / 1000.0;
    text.push_str(&format!("  took         {seconds:.1} s\n"));
    text
}

/// The kind of a run in words.
pub fn kind(run: &Run) -> String {
    serde_json::to_value(run.kind)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// What is known from the last check of a backup, and when that was.
pub fn verified(backup: &Backup) -> String {
    let level = backup.verified_level.map_or("", |level| level.name());
    let day = backup
        .verified_at
        .map_or_else(String::new, |at| at.strftime(" %Y-%m-%d").to_string());
    match backup.verified_ok {
        Some(true) => format!("{level}{day}"),
        Some(false) => format!("DAMAGED{day}"),
        None => "-".to_owned(),
    }
}

/// Where a backup is: the place of its manifest without the manifest's name.
pub fn place(backup: &Backup) -> &str {
    backup
        .location
        .strip_suffix("/manifest.json")
        .unwrap_or(&backup.location)
}

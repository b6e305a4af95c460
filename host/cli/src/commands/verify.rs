//! `backstay verify`: checks a backup.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::Result;
use backstay_model::job::VerifyLevel;
use backstay_stream::codec::Identities;

use crate::args::{Level, Verify};
use crate::commands::find_backup;
use crate::output::summary::{report_json, report_text};
use crate::output::{Lines, Output};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such backup. One that is damaged is a result.
pub async fn run(args: Verify, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let backup = find_backup(&engine, &args.backup).await?;
    let identities = Identities::from_files(&args.identity)?;
    let level = match args.level {
        Level::Size => VerifyLevel::Size,
        Level::Checksum => VerifyLevel::Checksum,
        Level::Archive => VerifyLevel::Archive,
        Level::Restore => VerifyLevel::Restore,
    };
    let lines = Arc::new(Lines::new());
    let report = engine
        .verify(&backup, level, &identities, &context, Arc::clone(&lines) as _)
        .await?;
    drop(lines);
    output.print(&report_json(&report), || report_text(&report))?;
    Ok(report.exit_code())
}

//! `backstay run`: runs a job, waits, and ends in the run's exit code; or says what a run would change.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_engine::backup::BackupOptions;
use backstay_model::Result;
use backstay_stream::codec::Identities;

use crate::args::Run;
use crate::commands::outbox::Outbox;
use crate::output::preview::preview_text;
use crate::output::summary::{report_json, report_text};
use crate::output::{Lines, Output};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, or its run can't be recorded. A run that failed is a result.
pub async fn run(args: Run, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let job = engine.store.job(&args.job).await?;
    if args.dry_run {
        let preview = engine.preview(&job, &context).await?;
        output.print(&preview, || preview_text(&preview))?;
        return Ok(preview.exit_code());
    }
    let identities = Identities::from_files(&args.identity)?;
    let options = BackupOptions {
        accept_shrink: args.accept_shrink,
        identities,
        context,
    };
    let outbox = Outbox::begin(&engine, output);
    let lines = Arc::new(Lines::new());
    let report = engine.backup(&job, options, Arc::clone(&lines) as _).await?;
    drop(lines);
    output.print(&report_json(&report), || report_text(&report))?;
    outbox.end(&engine).await;
    Ok(report.exit_code())
}

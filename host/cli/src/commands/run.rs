//! `backstay run`: runs a job, waits, and ends in the run's exit code; or says what a run would change.
//!
//! If a service runs on the data directory, it carries out the run, within its limits, or says what that would change; else
//! this process does. What is printed is the same.

mod service;

use std::path::PathBuf;
use std::sync::Arc;

use backstay_api::client::Client;
use backstay_api::view::RunView;
use backstay_engine::backup::BackupOptions;
use backstay_model::Result;
use backstay_stream::codec::Identities;

use crate::args::Run;
use crate::commands::outbox::Outbox;
use crate::output::preview::preview_text;
use crate::output::summary::report_text;
use crate::output::{Lines, Output};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, or its run can't be recorded. A run that failed is a result.
pub async fn run(args: Run, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    if args.dry_run {
        // To look changes nothing, so what a crash left stays as well.
        let engine = wire::engine(data_dir).await?;
        // It may see other files than this process, by the limits that it was started with.
        let by_service = match Client::find(&engine.data_dir).await? {
            Some(service) => service::preview(&service, &args.job, &context).await?,
            None => None,
        };
        let preview = match by_service {
            Some(preview) => preview,
            None => {
                let job = engine.store.job(&args.job).await?;
                engine.preview(&job, &context).await?
            }
        };
        output.print(&preview, || preview_text(&preview))?;
        return Ok(preview.exit_code());
    }
    let engine = wire::recovered(data_dir, output).await?;
    let outbox = Outbox::begin(&engine, output);
    let lines = Arc::new(Lines::new());
    // What only whoever types it can answer for isn't handed on.
    let is_plain = args.identity.is_empty() && !args.accept_shrink;
    let service = if is_plain {
        Client::find(&engine.data_dir).await?
    } else {
        None
    };
    let by_service = match service {
        Some(service) => service::run(&engine, &service, &args.job, &context, &lines, output).await?,
        None => None,
    };
    let report = match by_service {
        Some(report) => report,
        None => {
            let job = engine.store.job(&args.job).await?;
            let options = BackupOptions {
                accept_shrink: args.accept_shrink,
                identities: Identities::from_files(&args.identity)?,
                context,
            };
            engine.backup(&job, options, Arc::clone(&lines) as _).await?
        }
    };
    drop(lines);
    output.print(&RunView::from(&report), || report_text(&report))?;
    outbox.end(&engine).await;
    Ok(report.exit_code())
}

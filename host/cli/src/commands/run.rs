//! `backstay run`: runs a job, waits, and ends in the run's exit code; or says what a run would change.
//!
//! If a service runs on the data directory, it carries out the run, within its limits; else this process does. What is printed
//! is the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_api::client::{Client, segment};
use backstay_api::view::RunView;
use backstay_engine::backup::{BackupOptions, Report};
use backstay_engine::{Engine, Observer as _};
use backstay_model::{Error, Result};
use backstay_store::NewEvent;
use backstay_stream::Context;
use backstay_stream::codec::Identities;
use uuid::Uuid;

use crate::args::Run;
use crate::commands::outbox::Outbox;
use crate::output::preview::preview_text;
use crate::output::summary::report_text;
use crate::output::{Lines, Output};
use crate::wire;

/// How often it looks what has happened.
const LOOK: Duration = Duration::from_millis(200);

/// Looks between two checks whether the process of a run has died, so that nobody will end it.
const LOOKS: u32 = 10;

/// Events in one look.
const PAGE: u32 = 1_000;

/// Runs the command.
///
/// # Errors
/// There is no such job, or its run can't be recorded. A run that failed is a result.
pub async fn run(args: Run, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    if args.dry_run {
        let job = engine.store.job(&args.job).await?;
        let preview = engine.preview(&job, &context).await?;
        output.print(&preview, || preview_text(&preview))?;
        return Ok(preview.exit_code());
    }
    let outbox = Outbox::begin(&engine, output);
    let lines = Arc::new(Lines::new());
    // What only whoever types it can answer for isn't handed on.
    let is_plain = args.identity.is_empty() && !args.accept_shrink;
    let service = if is_plain {
        Client::find(&engine.data_dir)?
    } else {
        None
    };
    let report = match service {
        Some(service) => by_service(&engine, &service, &args.job, &context, &lines).await?,
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

/// Has the service run a job, and shows what happens to its end.
async fn by_service(
    engine: &Engine,
    service: &Client,
    job: &str,
    context: &Context,
    lines: &Arc<Lines>,
) -> Result<Report> {
    let key = Uuid::new_v4().to_string();
    let path = format!("/api/v1/jobs/{}/run", segment(job));
    let started = service.post(&path, Some(&key)).await?;
    let id = started["id"].as_str().and_then(|id| id.parse().ok());
    let id: Uuid = id.ok_or_else(|| Error::internal("the service doesn't name the run"))?;
    let (mut after, mut looks, mut is_cancelled) = (0, 0, false);
    loop {
        if context.cancel.is_cancelled() && !is_cancelled {
            is_cancelled = true;
            service.post(&format!("/api/v1/runs/{id}/cancel"), None).await?;
        }
        let run = engine.store.run(id).await?;
        let events = engine.store.events(id, after, PAGE).await?;
        for event in &events {
            after = event.id;
            lines.event(&NewEvent {
                at: event.at,
                run_id: event.run_id,
                level: event.level,
                origin: event.origin.clone(),
                message: event.message.clone(),
                status: event.status,
            });
        }
        if run.status.is_final() && events.len() < PAGE as usize {
            let backups = engine.store.backups_of_run(id).await?;
            return Ok(Report { run, backups });
        }
        looks += 1;
        if looks % LOOKS == 0 {
            engine.recover(Arc::new(Lines::quiet())).await?;
        }
        tokio::time::sleep(LOOK).await;
    }
}

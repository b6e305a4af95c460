//! `backstay verify`: checks one backup, all, or those whose turn it is.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_api::view::RunView;
use backstay_engine::Engine;
use backstay_model::Result;
use backstay_model::job::VerifyLevel;
use backstay_stream::Context;
use backstay_stream::codec::Identities;
use uuid::Uuid;

use crate::args::{Level, Verify};
use crate::commands::find_backup;
use crate::commands::outbox::Outbox;
use crate::output::summary::report_text;
use crate::output::{Lines, Output, Reports};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such backup or job. One that is damaged is a result.
pub async fn run(args: Verify, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let identities = Identities::from_files(&args.identity)?;
    let outbox = Outbox::begin(&engine, output);
    let level = args.level.map(|level| match level {
        Level::Size => VerifyLevel::Size,
        Level::Checksum => VerifyLevel::Checksum,
        Level::Archive => VerifyLevel::Archive,
        Level::Restore => VerifyLevel::Restore,
    });
    let name = args.backup.as_deref();
    let mut work = if args.due {
        due(&engine, name, level).await?
    } else if args.all {
        all(&engine, name, level).await?
    } else {
        let backup = find_backup(&engine, name.unwrap_or_default()).await?;
        let lines = Arc::new(Lines::new());
        let level = level.unwrap_or_default();
        let report = engine
            .verify(&backup, level, &identities, &context, Arc::clone(&lines) as _)
            .await?;
        drop(lines);
        output.print(&RunView::from(&report), || report_text(&report))?;
        outbox.end(&engine).await;
        return Ok(report.exit_code());
    };
    work.truncate(args.limit.unwrap_or(usize::MAX));
    let code = many(&engine, work, &identities, &context, output).await;
    outbox.end(&engine).await;
    code
}

/// All backups of a job, or of all.
async fn all(
    engine: &Engine,
    job: Option<&str>,
    level: Option<VerifyLevel>,
) -> Result<Vec<(Uuid, VerifyLevel)>> {
    if let Some(job) = job {
        // Says what there is if there is none.
        engine.store.latest_backup(job).await?;
    }
    let ids = engine.store.backup_ids(job).await?;
    Ok(ids
        .into_iter()
        .map(|id| (id, level.unwrap_or_default()))
        .collect())
}

/// Backups of jobs that want to be checked every so often, and weren't.
async fn due(
    engine: &Engine,
    job: Option<&str>,
    level: Option<VerifyLevel>,
) -> Result<Vec<(Uuid, VerifyLevel)>> {
    let jobs = match job {
        Some(job) => vec![engine.store.job(job).await?],
        None => engine.store.jobs().await?,
    };
    let mut work = Vec::new();
    for job in jobs {
        let verify = &job.spec.verify;
        let Some(every) = verify.every.and_then(|every| every.limit()) else {
            continue;
        };
        // A time before the beginning of time: nothing can be that old.
        let Ok(before) = engine.clock.now().checked_sub(every) else {
            continue;
        };
        let level = level.unwrap_or(verify.level);
        let ids = engine
            .store
            .unchecked_since(&job.spec.name, level, before)
            .await?;
        work.extend(ids.into_iter().map(|(id, last)| (last, id, level)));
    }
    work.sort_by_key(|(last, id, _)| (*last, *id));
    Ok(work.into_iter().map(|(_, id, level)| (id, level)).collect())
}

async fn many(
    engine: &Engine,
    work: Vec<(Uuid, VerifyLevel)>,
    identities: &Identities,
    context: &Context,
    output: Output,
) -> Result<u8> {
    let lines = Arc::new(Lines::new());
    let mut reports = Reports::new("no backup is to be checked", output);
    for (id, level) in work {
        if context.cancel.is_cancelled() {
            return Err(context.cancel.reason());
        }
        // Retention may have taken it meanwhile.
        let Some(backup) = engine.store.existing_backup(id).await? else {
            continue;
        };
        let report = engine
            .verify(&backup, level, identities, context, Arc::clone(&lines) as _)
            .await?;
        reports.add(&report)?;
    }
    drop(lines);
    reports.end()
}

//! `backstay drill`: tries out whether backups can be restored.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_engine::Engine;
use backstay_model::Result;
use backstay_store::Backup;
use backstay_stream::codec::Identities;
use uuid::Uuid;

use crate::args::Drill;
use crate::commands::find_good_backup;
use crate::commands::outbox::Outbox;
use crate::output::{Lines, Output, Reports};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job or backup. One that can't be restored is a result.
pub async fn run(args: Drill, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let identities = Identities::from_files(&args.identity)?;
    let backups = chosen(&engine, args.what.as_deref(), output).await?;
    let outbox = Outbox::begin(&engine, output);
    let lines = Arc::new(Lines::new());
    let mut reports = Reports::new("there are no backups to try out", output);
    for backup in &backups {
        if context.cancel.is_cancelled() {
            return Err(context.cancel.reason());
        }
        let report = engine
            .drill(
                backup,
                args.to.as_deref(),
                &identities,
                &context,
                Arc::clone(&lines) as _,
            )
            .await?;
        reports.add(&report)?;
    }
    drop(lines);
    let code = reports.end();
    outbox.end(&engine).await;
    code
}

async fn chosen(engine: &Engine, what: Option<&str>, output: Output) -> Result<Vec<Backup>> {
    let Some(what) = what else {
        let mut all = Vec::new();
        for job in engine.store.jobs_with_backups().await? {
            all.extend(engine.newest_good_of_each_destination(&job).await?);
        }
        return Ok(all);
    };
    let is_backup = match what.parse::<Uuid>() {
        Ok(id) => engine.store.checksums(&[id]).await?.contains_key(&id),
        Err(_) => what.starts_with("latest:"),
    };
    if is_backup {
        return Ok(vec![find_good_backup(engine, what, output).await?]);
    }
    engine.newest_good_of_each_destination(what).await
}

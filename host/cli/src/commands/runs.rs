//! `backstay runs`: lists runs, newest first.

use std::path::PathBuf;

use backstay_model::Result;
use backstay_store::RunFilter;

use crate::args::Runs;
use crate::output::{Output, summary, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job.
pub async fn run(args: Runs, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::recovered(data_dir, output).await?;
    let job = match &args.job {
        Some(job) => Some(engine.store.job(job).await?.id),
        None => None,
    };
    let runs = engine
        .store
        .runs(RunFilter {
            job,
            limit: args.limit,
            ..RunFilter::default()
        })
        .await?;
    output.print(&runs, || {
        if runs.is_empty() {
            return "no runs yet".to_owned();
        }
        let rows = runs.iter().map(|run| {
            vec![
                run.id.to_string(),
                run.job_name.clone(),
                summary::kind(run),
                run.status.name().to_owned(),
                run.started_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
                run.error.as_ref().map_or_else(String::new, |e| e.message.clone()),
            ]
        });
        table(
            &["id", "job", "kind", "status", "started", ""],
            &rows.collect::<Vec<_>>(),
        )
    })?;
    Ok(0)
}

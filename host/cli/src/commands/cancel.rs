//! `backstay cancel`: ends a run, wherever it runs, and waits for its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_api::client::Client;
use backstay_engine::Engine;
use backstay_model::run::Run;
use backstay_model::{Code, Error, Result};
use serde_json::json;
use uuid::Uuid;

use crate::args::Cancel;
use crate::commands::user;
use crate::output::{Lines, Output};
use crate::wire;

/// How often it looks whether a run has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Looks between two checks whether the process of a run has died, so that nobody will end it.
const LOOKS: u32 = 10;

/// Runs the command.
///
/// # Errors
/// There is no such run, or it ended before.
pub async fn run(args: Cancel, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::recovered(data_dir, output).await?;
    let ids: Vec<Uuid> = match args.run.parse() {
        Ok(id) => vec![id],
        Err(_) => {
            let job = engine.store.job(&args.run).await?;
            let unfinished = engine.store.unfinished_runs().await?;
            unfinished
                .iter()
                .filter(|run| run.job_id == job.id)
                .map(|run| run.id)
                .collect()
        }
    };
    if ids.is_empty() {
        return Err(Error::new(
            Code::Configuration,
            format!(
                "no run of the job `{}` is under way or waits for its turn",
                args.run
            ),
        )
        .hint("`backstay runs` shows how they ended"));
    }
    // All are asked before the first is waited for.
    let service = Client::find(&engine.data_dir).await?;
    for id in &ids {
        ask(&engine, service.as_ref(), *id).await?;
    }
    let mut ended: Vec<Run> = Vec::new();
    for id in ids {
        let mut looks = 0;
        let run = loop {
            let run = engine.store.run(id).await?;
            if run.status.is_final() {
                break run;
            }
            looks += 1;
            if looks % LOOKS == 0 {
                engine.recover_one(id, Arc::new(Lines::quiet())).await?;
            }
            tokio::time::sleep(LOOK).await;
        };
        ended.push(run);
    }
    let values: Vec<_> = ended
        .iter()
        .map(|run| json!({ "id": run.id, "job": run.job_name, "status": run.status }))
        .collect();
    output.print(&values, || {
        let line = |run: &Run| format!("run {} of job {}: {}", run.id, run.job_name, run.status.name());
        ended.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(0)
}

/// Asks whoever carries out a run to end it: the service, or by the database if that is gone or can't.
///
/// # Errors
/// [`Code::Configuration`] if there is no such run, or it ended before.
pub(super) async fn ask(engine: &Engine, service: Option<&Client>, id: Uuid) -> Result<()> {
    let path = format!("/api/v1/runs/{id}/cancel");
    if let Some(service) = service
        && !engine.store.run(id).await?.status.is_final()
        && service
            .post(&path, None)
            .await
            .is_ok_and(|answer| answer.is_some())
    {
        return Ok(());
    }
    let cancel = engine.cancel(id);
    engine
        .audited(&user(), "run.cancel", &id.to_string(), cancel)
        .await?;
    Ok(())
}

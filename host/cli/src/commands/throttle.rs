//! `backstay throttle`: shows and changes how fast runs may store, also those under way.

use std::path::PathBuf;

use backstay_engine::Engine;
use backstay_model::job::Job;
use backstay_model::rate::Rate;
use backstay_model::{Code, Error, Result};
use serde_json::json;

use crate::args::Throttle;
use crate::commands::user;
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, or the rate isn't one.
pub async fn run(args: Throttle, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match (args.job_or_rate, args.rate) {
        (None, _) => {}
        (Some(job), Some(rate)) => {
            let rate = limit(&rate)?;
            let job = engine.store.job(&job).await?;
            let changed = engine.store.set_job_throttle(job.id, rate);
            engine
                .audited(&user(), "throttle.change", &job.spec.name, changed)
                .await?;
        }
        (Some(one), None) => match limit(&one) {
            Ok(rate) => {
                let changed = engine.store.set_host_throttle(rate);
                engine
                    .audited(&user(), "throttle.change", "all jobs together", changed)
                    .await?;
            }
            Err(wrong) => {
                let job = engine.store.job(&one).await.map_err(|_| {
                    wrong.hint(
                        "name a rate, or a job to see its limit, or both to change it; `off` is no limit",
                    )
                })?;
                return show(&engine, &[job], output).await;
            }
        },
    }
    show(&engine, &engine.store.jobs().await?, output).await
}

fn limit(text: &str) -> Result<Option<Rate>> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why: String| {
        Error::new(Code::Configuration, why).hint("such as 10M, or `off` for no limit")
    })
}

async fn show(engine: &Engine, jobs: &[Job], output: Output) -> Result<u8> {
    let host = engine.store.host_throttle().await?;
    let of = |job: &Job| job.spec.filters.throttle.as_ref().map(|t| t.bytes_per_second);
    let number = |rate: Option<Rate>| rate.map(Rate::bytes_per_second);
    let values: Vec<_> = jobs
        .iter()
        .map(|job| json!({ "id": job.id, "name": job.spec.name, "bytesPerSecond": number(of(job)) }))
        .collect();
    let value = json!({ "host": { "bytesPerSecond": number(host) }, "jobs": values });
    output.print(&value, || {
        let words = |rate: Option<Rate>| rate.map_or_else(|| "off".to_owned(), |rate| format!("{rate}/s"));
        let mut rows = vec![vec!["all jobs together".to_owned(), words(host)]];
        rows.extend(
            jobs.iter()
                .map(|job| vec![format!("job {}", job.spec.name), words(of(job))]),
        );
        table(&["who", "may store"], &rows)
    })?;
    Ok(0)
}

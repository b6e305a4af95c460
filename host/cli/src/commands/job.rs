//! `backstay job`: looks at, checks and removes jobs.

use std::path::PathBuf;

use backstay_api::view::Validation;
use backstay_model::job::Job as Stored;
use backstay_model::run::RunStatus;
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use serde_json::json;

use crate::args::Job;
use crate::commands::{jobfile, outbox, user};
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, or it is wrong.
pub async fn run(command: Job, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match command {
        Job::List => {
            let mut jobs = engine.store.jobs().await?;
            for job in &mut jobs {
                foresee(job, engine.clock.now(), output);
            }
            output.print(&jobs, || {
                if jobs.is_empty() {
                    return "no jobs yet: write one and `backstay apply -f FILE`".to_owned();
                }
                let rows = jobs.iter().map(|job| {
                    vec![
                        job.spec.name.clone(),
                        job.spec.source.plugin.clone(),
                        job.spec
                            .destinations
                            .iter()
                            .map(|d| d.plugin.as_str())
                            .collect::<Vec<_>>()
                            .join(", "),
                        job.last_run_status
                            .map_or("never ran", RunStatus::name)
                            .to_owned(),
                        when(job.last_run_at),
                        when(job.next_run_at),
                    ]
                });
                table(
                    &["name", "source", "destinations", "last run", "at", "next run"],
                    &rows.collect::<Vec<_>>(),
                )
            })?;
        }
        Job::Show { job } => {
            let mut job = engine.store.job(&job).await?;
            foresee(&mut job, engine.clock.now(), output);
            output.print(&job, || {
                serde_saphyr::to_string(&job).unwrap_or_else(|e| e.to_string())
            })?;
        }
        Job::Rm { job } => {
            let job = engine.store.job(&job).await?;
            let removed = engine.store.remove_job(job.id);
            engine
                .audited(&user(), "job.remove", &job.spec.name, removed)
                .await?;
            output.print(&json!({ "removed": job.id }), || {
                format!("removed job {}; its backups stay", job.spec.name)
            })?;
        }
        Job::Validate { job, file } => {
            let jobs = match (job, file) {
                (_, Some(file)) => jobfile::read(&file)?,
                (Some(job), None) => {
                    let spec = engine.store.job(&job).await?.spec;
                    vec![
                        serde_json::to_value(&spec)
                            .map_err(|e| Error::internal("cannot write JSON").because(e))?,
                    ]
                }
                (None, None) => return Err(Error::new(Code::Configuration, "name a job, or a file with -f")),
            };
            let mut all = Vec::new();
            for job in &jobs {
                let checked = engine.validate(job).await?;
                all.extend(checked.diagnostics);
                all.extend(checked.spec.iter().flat_map(outbox::check_job));
            }
            let validation = Validation::from(all);
            output.print(&validation, || {
                let all = &validation.diagnostics;
                if all.is_empty() {
                    "ok".to_owned()
                } else {
                    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
                }
            })?;
            return Ok(if validation.ok {
                0
            } else {
                Code::Configuration.exit_code()
            });
        }
    }
    Ok(0)
}

/// Fills in when a job is due next. A schedule that this machine can't follow is said, and doesn't hide the job.
fn foresee(job: &mut Stored, now: Timestamp, output: Output) {
    match job.timetable() {
        Ok(timetable) => job.next_run_at = timetable.and_then(|timetable| timetable.next_after(now)),
        Err(error) => output.note(&format!(
            "warning: job {} can't run by itself: {}",
            job.spec.name,
            error.report()
        )),
    }
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

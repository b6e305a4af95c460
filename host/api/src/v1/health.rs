//! Whether the service is there, does its work, and how things are.

use std::collections::BTreeMap;

use axum::Json;
use backstay_model::run::RunStatus;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Shared;
use crate::Problem;
use crate::query::{Nothing, Params};

/// A yes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// How things are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Name of this machine.
    device: String,
    /// This installation.
    instance_id: Uuid,
    /// Version of the host.
    version: &'static str,
    /// When the service began.
    started_at: Timestamp,
    /// Runs under way in the service.
    running: usize,
    /// Runs that wait for their turn.
    waiting: usize,
    /// What keeps the service from its work for now, and what can't be used of this interface, and why.
    problems: Vec<String>,
    /// The jobs.
    jobs: Jobs,
}

/// The jobs in numbers.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Jobs {
    /// All.
    total: usize,
    /// Those that run by themselves.
    scheduled: usize,
    /// Those that never ran.
    never_ran: usize,
    /// By the status of their last run.
    by_last_run: BTreeMap<&'static str, usize>,
    /// The job whose last run failed or was interrupted longest ago comes first; at most 100.
    failing: Vec<Failing>,
}

/// A job that somebody should look at.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Failing {
    /// Its id.
    id: Uuid,
    /// Its name.
    job: String,
    /// How its last run ended.
    last_run_status: RunStatus,
    /// When that began.
    last_run_at: Option<Timestamp>,
}

/// So many failing jobs are named.
const NAMED: usize = 100;

pub async fn health(_: Params<Nothing>) -> Json<Health> {
    Json(Health { status: "ok" })
}

pub async fn ready(app: Shared, _: Params<Nothing>) -> Result<Json<Health>, Problem> {
    if app.is_ending() {
        return Err(Problem::ending());
    }
    app.engine.store.changes().await?;
    if app.stands_still() {
        return Err(Problem::unavailable("the scheduler stands still"));
    }
    if let Some(trouble) = app.daemon.trouble() {
        return Err(Problem::unavailable(trouble));
    }
    Ok(Json(Health { status: "ok" }))
}

pub async fn status(app: Shared, _: Params<Nothing>) -> Result<Json<Status>, Problem> {
    let queue = app.daemon.queue().await?;
    let problems = app.daemon.trouble().into_iter().chain(app.unopened()).collect();
    let mut jobs = Jobs::default();
    for (_, job) in app.engine.store.each_job().await? {
        jobs.total += 1;
        let Ok(job) = job else { continue };
        if job.spec.enabled && job.spec.schedule.is_some() {
            jobs.scheduled += 1;
        }
        let Some(status) = job.last_run_status else {
            jobs.never_ran += 1;
            continue;
        };
        *jobs.by_last_run.entry(status.name()).or_default() += 1;
        if matches!(status, RunStatus::Failed | RunStatus::Interrupted) {
            jobs.failing.push(Failing {
                id: job.id,
                job: job.spec.name,
                last_run_status: status,
                last_run_at: job.last_run_at,
            });
        }
    }
    jobs.failing.sort_by_key(|job| job.last_run_at);
    jobs.failing.truncate(NAMED);
    Ok(Json(Status {
        device: app.engine.device.clone(),
        instance_id: app.engine.store.instance_id(),
        version: app.engine.version,
        started_at: app.started_at,
        running: queue.running.len(),
        waiting: queue.waiting.len(),
        problems,
        jobs,
    }))
}

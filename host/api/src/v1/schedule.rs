//! When jobs are due.

use axum::Json;
use backstay_model::job::Job;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Shared;
use crate::Problem;
use crate::query::{Limit, Params};
use crate::view::NextRuns;

/// Of which jobs, and how many times.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upcoming {
    /// Only of the job with this name or id.
    #[schemars(length(min = 1))]
    job: Option<String>,
    /// So many times.
    #[serde(default)]
    count: Limit<1000, 5>,
    /// Only times after this instant; now if absent.
    from: Option<Timestamp>,
}

pub async fn next(app: Shared, Params(wanted): Params<Upcoming>) -> Result<Json<Vec<NextRuns>>, Problem> {
    let store = &app.engine.store;
    let from = wanted.from.unwrap_or_else(|| app.engine.clock.now());
    let jobs: Vec<Job> = match &wanted.job {
        Some(job) => vec![store.job(job).await.map_err(Problem::absent)?],
        None => {
            let mut jobs = store.jobs().await?;
            jobs.retain(|job| job.spec.schedule.is_some());
            jobs
        }
    };
    jobs.iter()
        .map(|job| of(job, from, wanted.count.0))
        .collect::<Result<_, _>>()
        .map(Json)
}

/// The next times of a job.
pub fn of(job: &Job, from: Timestamp, count: u32) -> Result<NextRuns, Problem> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let timetable = job.timetable()?;
    let times = timetable
        .iter()
        .flat_map(|timetable| timetable.upcoming(from).take(count));
    Ok(NextRuns {
        id: job.id,
        job: job.spec.name.clone(),
        next: times.collect(),
    })
}

//! Looks at jobs.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use backstay_engine::preview::Preview;
use backstay_model::job::Job;
use backstay_model::{Code, Error};
use backstay_stream::context::{Cancel, Context};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Shared;
use crate::query::{Limit, Name, Nothing, Params};
use crate::view::{Page, Validation};
use crate::{Problem, body};

/// A page of the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paged {
    /// At most so many.
    #[serde(default)]
    limit: Limit<500, 100>,
    /// `next` of the page before.
    #[serde(default)]
    cursor: String,
}

pub async fn list(app: Shared, Params(page): Params<Paged>) -> Result<Json<Page<Job>>, Problem> {
    let limit = page.limit.0;
    let mut jobs = app.engine.store.jobs_after(&page.cursor, limit + 1).await?;
    for job in &mut jobs {
        foresee(job, app.engine.clock.now());
    }
    Ok(Json(Page::of(jobs, limit, |job: &Job| job.spec.name.clone())))
}

pub async fn show(app: Shared, Name(name): Name, _: Params<Nothing>) -> Result<Response, Problem> {
    let job = app.engine.store.job(&name).await.map_err(Problem::absent)?;
    tagged(StatusCode::OK, job, app.engine.clock.now())
}

pub async fn validate(
    app: Shared,
    _: Params<Nothing>,
    body::Json(job): body::Json,
) -> Result<Json<Validation>, Problem> {
    let checked = Box::pin(app.engine.validate(&job)).await?;
    Ok(Json(Validation::from(checked.diagnostics)))
}

pub async fn preview(app: Shared, Name(name): Name, _: Params<Nothing>) -> Result<Json<Preview>, Problem> {
    let job = app.engine.store.job(&name).await.map_err(Problem::absent)?;
    let context = Context::default();
    let _asked = Asked(context.cancel.clone());
    let preview = Box::pin(app.engine.preview(&job, &context)).await;
    Ok(Json(preview.map_err(Problem::unready)?))
}

/// Somebody waits for an answer. Dropped, it stops what looks for that: it goes on by itself on threads of its own.
struct Asked(Cancel);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0
            .cancel(&Error::new(Code::Cancelled, "nobody waits for it any more"));
    }
}

/// A job with its ETag.
pub fn tagged(status: StatusCode, mut job: Job, now: Timestamp) -> Result<Response, Problem> {
    foresee(&mut job, now);
    let etag =
        HeaderValue::from_str(&etag(&job)).map_err(|e| Error::internal("a time is no header").because(e))?;
    let mut response = (status, Json(job)).into_response();
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// What changes with a job as people wrote it: the time of the last change.
pub fn etag(job: &Job) -> String {
    format!("\"{}\"", job.updated_at)
}

/// Fills in when a job is due next. A schedule that this machine can't follow doesn't hide the job.
fn foresee(job: &mut Job, now: Timestamp) {
    let timetable = job.timetable().ok().flatten();
    job.next_run_at = timetable.and_then(|timetable| timetable.next_after(now));
}

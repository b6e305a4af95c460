//! Runs: starts and ends them, and shows what happens.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use backstay_model::event::Event;
use backstay_model::run::{Run, RunReason, RunStatus};
use backstay_store::{Outcome, RunFilter};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Shared, keys};
use crate::Problem;
use crate::app::Caller;
use crate::query::{Id, Limit, Name, Nothing, PagedOfJob, Params};
use crate::view::{Page, RunView};

/// A page of what happened.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagedLogs {
    /// At most so many.
    #[serde(default)]
    limit: Limit<1000, 200>,
    /// `next` of the page before, or the id of the last event that is known.
    #[serde(default)]
    #[schemars(range(min = 0))]
    cursor: i64,
}

pub async fn start(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    _: Params<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let store = &app.engine.store;
    let job = store.job(&name).await.map_err(Problem::absent)?;
    let key = keys::key(&headers, &caller, &["run", &job.id.to_string()])?;
    let daemon = Arc::clone(&app.daemon);
    let name = job.spec.name.clone();
    let started = app.change(&caller, "job.run", &name, async move {
        let outcome = daemon.enqueue(&job, RunReason::Manual, key.as_ref()).await;
        match outcome.map_err(Problem::refused)? {
            Outcome::Done(id) => Ok((StatusCode::ACCEPTED, id)),
            Outcome::There(id) | Outcome::Repeated(id) => Ok((StatusCode::OK, id)),
            Outcome::OtherRequest => Err(keys::reused()),
        }
    });
    let (status, id) = started.await?;
    let run = RunView::load(store, store.run(id).await?).await?;
    Ok((status, Json(run)).into_response())
}

pub async fn cancel(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let store = &app.engine.store;
    let run = store.run(id).await.map_err(Problem::absent)?;
    // Asked twice, it is done once.
    if run.status == RunStatus::Cancelled {
        let run = RunView::load(store, run).await?;
        return Ok((StatusCode::OK, Json(run)).into_response());
    }
    let daemon = Arc::clone(&app.daemon);
    let subject = id.to_string();
    let cancelled = app.change(&caller, "run.cancel", &subject, async move {
        daemon.cancel(id).await.map_err(Problem::refused)
    });
    let status = if cancelled.await? {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let run = RunView::load(store, store.run(id).await?).await?;
    Ok((status, Json(run)).into_response())
}

pub async fn list(app: Shared, Params(page): Params<PagedOfJob>) -> Result<Json<Page<Run>>, Problem> {
    let store = &app.engine.store;
    let job = match &page.job {
        Some(job) => Some(store.job(job).await.map_err(Problem::absent)?.id),
        None => None,
    };
    let read = |before, limit| store.runs(RunFilter { job, limit, before });
    let page = Page::read(page.limit.0, page.cursor, |run: &Run| run.id, read);
    Ok(Json(page.await?))
}

pub async fn show(app: Shared, Id(id): Id, _: Params<Nothing>) -> Result<Json<RunView>, Problem> {
    let store = &app.engine.store;
    let run = store.run(id).await.map_err(Problem::absent)?;
    let progress = Some(id)
        .filter(|_| !run.status.is_final())
        .and_then(|id| app.live.of(id));
    let view = RunView::load(store, run).await?;
    Ok(Json(RunView { progress, ..view }))
}

pub async fn logs(
    app: Shared,
    Id(id): Id,
    Params(page): Params<PagedLogs>,
) -> Result<Json<Page<Event>>, Problem> {
    if page.cursor < 0 {
        return Err(Problem::bad_request("`cursor` is negative"));
    }
    let store = &app.engine.store;
    store.run(id).await.map_err(Problem::absent)?;
    let limit = page.limit.0;
    let events = store.events(id, page.cursor, limit + 1).await?;
    Ok(Json(Page::of(events, limit, |event: &Event| {
        event.id.to_string()
    })))
}

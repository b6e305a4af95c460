//! Changes jobs.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use backstay_model::Diagnostic;
use backstay_model::job::{Job, JobSpec};
use backstay_store::{Edited, Outcome};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;

use super::jobs::{etag, tagged};
use super::{Shared, keys};
use crate::app::{App, Caller};
use crate::query::{Name, Nothing, Params};
use crate::{Problem, body};

pub async fn create(
    app: Shared,
    Extension(caller): Extension<Caller>,
    _: Params<Nothing>,
    headers: HeaderMap,
    body::Json(body): body::Json,
) -> Result<Response, Problem> {
    let key = keys::key(&headers, &caller, &["create", &body.to_string()])?;
    // First, because what it says now of a job that was added doesn't matter: it was.
    if let Some(key) = &key {
        match app.engine.store.recalled(key).await? {
            Some(Outcome::Repeated(id)) => {
                let job = app
                    .engine
                    .store
                    .job(&id.to_string())
                    .await
                    .map_err(Problem::absent)?;
                return tagged(StatusCode::CREATED, job, app.engine.clock.now());
            }
            Some(Outcome::OtherRequest) => return Err(keys::reused()),
            _ => {}
        }
    }
    let spec = accept(&app, &body).await?;
    let engine = Arc::clone(&app.engine);
    let name = spec.name.clone();
    let created = app.change(&caller, "job.create", &name, async move {
        let store = &engine.store;
        match store.create_job(&spec, key.as_ref()).await? {
            Outcome::Done(job) => Ok(*job),
            Outcome::Repeated(id) => store.job(&id.to_string()).await.map_err(Problem::absent),
            Outcome::OtherRequest => Err(keys::reused()),
            Outcome::There(job) => Err(Problem::conflict(format!(
                "there is a job `{}` already",
                job.spec.name
            ))
            .hint("choose another name, or change that one with PUT")),
        }
    });
    tagged(StatusCode::CREATED, created.await?, app.engine.clock.now())
}

pub async fn replace(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    _: Params<Nothing>,
    headers: HeaderMap,
    body::Json(body): body::Json,
) -> Result<Response, Problem> {
    let store = &app.engine.store;
    let job = store.job(&name).await.map_err(Problem::absent)?;
    let seen = seen(&headers, &job)?;
    let spec = accept(&app, &body).await?;
    if spec.name != job.spec.name {
        let wrong = Diagnostic::error(
            "/name",
            "fixed",
            format!(
                "the job `{}` can't become `{}`: a job keeps its name",
                job.spec.name, spec.name
            ),
        );
        let wrong = wrong.hint("its backups go by that name: add another job instead");
        return Err(Problem::invalid("the job", vec![wrong]));
    }
    let (engine, id) = (Arc::clone(&app.engine), job.id);
    let mut at = seen.unwrap_or(job.updated_at);
    let changed = app.change(&caller, "job.change", &job.spec.name, async move {
        loop {
            let edited = engine.store.change_job(id, &spec, at).await;
            match edited.map_err(Problem::refused)? {
                Edited::Done(job) => return Ok(*job),
                // Whatever it is, somebody else changed it just now.
                Edited::Stale(job) if seen.is_none() => at = job.updated_at,
                Edited::Stale(job) => return Err(stale(&job)),
            }
        }
    });
    tagged(StatusCode::OK, changed.await?, app.engine.clock.now())
}

pub async fn remove(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    _: Params<Nothing>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let store = &app.engine.store;
    let job = store.job(&name).await.map_err(Problem::absent)?;
    let seen = seen(&headers, &job)?;
    let engine = Arc::clone(&app.engine);
    let name = job.spec.name.clone();
    let removed = app.change(&caller, "job.remove", &name, async move {
        let removed = engine.store.remove_job_as_seen(job.id, seen).await;
        if removed.map_err(Problem::refused)? {
            Ok(())
        } else {
            Err(stale(&job))
        }
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The job as it was sent, if nothing is wrong with it.
async fn accept(app: &App, body: &Value) -> Result<JobSpec, Problem> {
    let checked = Box::pin(app.engine.validate(body)).await?;
    if checked.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Problem::invalid("the job", checked.diagnostics));
    }
    Ok(checked.accept()?)
}

/// When a job was last changed as far as its editor knows; nothing if it may be whatever it is.
fn seen(headers: &HeaderMap, job: &Job) -> Result<Option<Timestamp>, Problem> {
    let mut given = headers.get_all(header::IF_MATCH).iter();
    let Some(first) = given.next() else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match",
            "It must be said what is to be changed",
            "there is no If-Match, so that a change of somebody else could be lost",
        )
        .hint("send the ETag of the job as you saw it, or `If-Match: *` for whatever it is"));
    };
    let text = first.to_str().unwrap_or_default().trim();
    if given.next().is_some() {
        return Err(Problem::bad_request("there is more than one If-Match"));
    }
    if text == "*" {
        return Ok(None);
    }
    let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match tag.and_then(|tag| tag.parse().ok()) {
        Some(seen) => Ok(Some(seen)),
        None => Err(stale(job)),
    }
}

fn stale(job: &Job) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "stale",
        "It was changed meanwhile",
        format!(
            "the job `{}` is not as If-Match says; its ETag is {}",
            job.spec.name,
            etag(job)
        ),
    )
    .hint("get the job again, look at what has changed, and send the edit with its ETag")
}

//! A run that the service carries out: asks for it, and shows what happens to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay_api::client::{Client, segment};
use backstay_engine::backup::Report;
use backstay_engine::preview::Preview;
use backstay_engine::{Engine, Observer as _};
use backstay_model::run::{Progress, RunStatus};
use backstay_model::{Code, Error, Result};
use backstay_store::NewEvent;
use backstay_stream::Context;
use serde_json::Value;
use uuid::Uuid;

use crate::commands::cancel;
use crate::output::{Lines, Output};

/// How often it looks what has happened.
const LOOK: Duration = Duration::from_millis(200);

/// Looks between two questions how far the run is.
const PROGRESS: u32 = 5;

/// How long the answer to that may take. Nothing depends on it.
const PROGRESS_LIMIT: Duration = Duration::from_secs(1);

/// Looks between two checks whether somebody still carries out the run.
const ALIVE: u32 = 10;

/// The most looks between two such checks, after some that failed.
const ALIVE_AT_MOST: u32 = 300;

/// How long a service may be away while a run waits for its turn: one that is started anew is back in less.
const AWAY: Duration = Duration::from_secs(15);

/// How long the database may be out of reach: the run goes on meanwhile.
const BLIND: Duration = Duration::from_secs(60);

/// Events in one look.
const PAGE: u32 = 1_000;

/// How often it looks whether somebody interrupts this process.
const HEED: Duration = Duration::from_millis(100);

/// How often a run that turns out to be over may stand in the way of another.
const ROUNDS: u32 = 3;

/// Has the service run a job, and waits. Nothing if it is to be run here instead: the service has gone away before it
/// began, or the job is running already, which is then said as it is without a service.
///
/// # Errors
/// The service refuses, or the run can't be followed.
pub async fn run(
    engine: &Engine,
    service: &Client,
    job: &str,
    context: &Context,
    lines: &Lines,
    output: Output,
) -> Result<Option<Report>> {
    let path = format!("/api/v1/jobs/{}/run", segment(job));
    for _ in 0..ROUNDS {
        let key = Uuid::new_v4().to_string();
        let answer = match service.post(&path, Some(&key)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                away(output);
                return Ok(None);
            }
            Err(_) if Client::find(engine.data_dir()).await?.is_none() => {
                away(output);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let id = answer.body["id"].as_str().and_then(|id| id.parse().ok());
        let id: Uuid = id.ok_or_else(|| Error::internal("the service doesn't name the run"))?;
        let follower = Follower {
            engine,
            service,
            id,
            is_ours: answer.is_accepted,
            context,
            lines,
            output,
        };
        // What began before holds what there was then, so it doesn't answer this request.
        if !follower.is_ours && engine.store.run(id).await?.status != RunStatus::Queued {
            if engine.recover_one(id, Arc::new(Lines::quiet())).await? {
                continue;
            }
            return Ok(None);
        }
        return follower.to_the_end().await;
    }
    Ok(None)
}

/// Has the service say what a run would change. Nothing if there is no service for it any more.
///
/// # Errors
/// The service can't say it, or somebody interrupted this process.
pub async fn preview(service: &Client, job: &str, context: &Context) -> Result<Option<Preview>> {
    let path = format!("/api/v1/jobs/{}/preview", segment(job));
    let interrupted = async {
        while !context.cancel.is_cancelled() {
            tokio::time::sleep(HEED).await;
        }
    };
    // Hanging up stops it there.
    let answer = tokio::select! {
        answer = service.wait_for(&path) => answer?,
        () = interrupted => return Err(context.cancel.reason()),
    };
    let Some(answer) = answer else { return Ok(None) };
    let preview = serde_json::from_value(answer.body);
    preview
        .map(Some)
        .map_err(|e| Error::internal("the service gives no preview").because(e))
}

/// Follows one run.
struct Follower<'a> {
    engine: &'a Engine,
    service: &'a Client,
    id: Uuid,
    /// Whether it is there because this process asked for it.
    is_ours: bool,
    context: &'a Context,
    lines: &'a Lines,
    output: Output,
}

/// What is known of a run by now.
struct Seen {
    looks: u32,
    /// The last event that was shown.
    event: i64,
    is_cancelled: bool,
    away_since: Option<Instant>,
    next_check: u32,
    pause: u32,
}

/// What one look found.
enum Found {
    End(Box<Report>),
    /// The run will not be done by the service.
    Here,
    MoreToCome,
}

impl Follower<'_> {
    async fn to_the_end(&self) -> Result<Option<Report>> {
        let mut seen = Seen {
            looks: 0,
            event: 0,
            is_cancelled: false,
            away_since: None,
            next_check: ALIVE,
            pause: ALIVE,
        };
        let mut blind_since: Option<Instant> = None;
        loop {
            if !self.is_ours && self.context.cancel.is_cancelled() {
                let message = format!("not waited for any more: the run {} goes on", self.id);
                let hint = format!("`backstay cancel {}` ends it", self.id);
                return Err(Error::new(Code::Cancelled, message).hint(hint));
            }
            match self.look(&mut seen).await {
                Ok(Found::End(report)) => return Ok(Some(*report)),
                Ok(Found::Here) => return Ok(None),
                Ok(Found::MoreToCome) => blind_since = None,
                Err(error) => {
                    let since = *blind_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= BLIND {
                        return Err(
                            error.hint(format!("`backstay runs {}` shows what became of it", self.id))
                        );
                    }
                }
            }
            seen.looks = seen.looks.saturating_add(1);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Shows what is new, and does what is to be done about it.
    async fn look(&self, seen: &mut Seen) -> Result<Found> {
        if self.context.cancel.is_cancelled() && !seen.is_cancelled {
            match cancel::ask(self.engine, Some(self.service), self.id).await {
                // It came to its end by itself just before.
                Err(error) if error.code() == Code::Configuration => {}
                asked => asked?,
            }
            seen.is_cancelled = true;
        }
        let store = &self.engine.store;
        let run = store.run(self.id).await?;
        let events = store.events(self.id, seen.event, PAGE).await?;
        for event in &events {
            seen.event = event.id;
            self.lines.event(&NewEvent {
                at: event.at,
                run_id: event.run_id,
                level: event.level,
                origin: event.origin.clone(),
                message: event.message.clone(),
                status: event.status,
            });
        }
        if run.status.is_final() {
            if events.len() < PAGE as usize {
                let backups = store.backups_of_run(self.id).await?;
                return Ok(Found::End(Box::new(Report { run, backups })));
            }
            return Ok(Found::MoreToCome);
        }
        let is_queued = run.status == RunStatus::Queued;
        if !is_queued && seen.looks.is_multiple_of(PROGRESS) {
            self.show_progress().await;
        }
        if seen.looks >= seen.next_check {
            if is_queued {
                if self.is_left_alone(seen).await? {
                    return Ok(Found::Here);
                }
            } else {
                self.end_if_dead(seen).await;
            }
            seen.next_check = seen.looks.saturating_add(seen.pause);
        }
        Ok(Found::MoreToCome)
    }

    async fn show_progress(&self) {
        let path = format!("/api/v1/runs/{}", self.id);
        let asked = tokio::time::timeout(PROGRESS_LIMIT, self.service.get(&path)).await;
        let progress = asked.ok().and_then(Result::ok).map(|run| run["progress"].clone());
        let progress = progress.filter(Value::is_object).map(serde_json::from_value);
        if let Some(Ok::<Progress, _>(progress)) = progress {
            self.lines.progress(self.id, &progress);
        }
    }

    /// Takes the run out of the queue, to be done here, if there has been no service for a while.
    async fn is_left_alone(&self, seen: &mut Seen) -> Result<bool> {
        if !matches!(Client::find(self.engine.data_dir()).await, Ok(None)) {
            seen.away_since = None;
            return Ok(false);
        }
        if seen.away_since.get_or_insert_with(Instant::now).elapsed() < AWAY {
            return Ok(false);
        }
        // What others put there stays for the service.
        let why = "the service went away; `backstay run` runs the job itself";
        if self.is_ours && !self.engine.withdraw(self.id, why).await? {
            return Ok(false);
        }
        away(self.output);
        Ok(true)
    }

    /// Ends the run if the process that carried it out has died. What goes wrong with that is not the end of the run.
    async fn end_if_dead(&self, seen: &mut Seen) {
        let tried = self.engine.recover_one(self.id, Arc::new(Lines::quiet())).await;
        seen.pause = match tried {
            Ok(_) => ALIVE,
            Err(_) => ALIVE_AT_MOST.min(seen.pause.saturating_mul(2)),
        };
    }
}

fn away(output: Output) {
    output.note("the service has gone away: this process runs the job itself");
}

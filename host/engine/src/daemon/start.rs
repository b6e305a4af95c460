//! Starts what waits, as far as the limits allow, and takes note of what has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::job::{DestinationSpec, Job};
use backstay_model::plugin::ContentKind;
use backstay_model::run::{Run, RunStatus};
use backstay_model::schedule::Missed;
use backstay_model::{Code, Error, Result};
use backstay_stream::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use super::turn::View;
use super::{Daemon, Running, lock};
use crate::backup::{BackupOptions, Report};
use crate::lock::JobLock;
use crate::recorder::{Recorder, Silent};

/// Runs under way.
pub(super) type Tasks = JoinSet<Result<Report>>;

/// How long a run of a source that only streams waits for its turn if its job doesn't say: what it is to read may
/// have been made ready for this moment. Any other waits as long as it takes.
const STREAM_WAIT: Duration = Duration::from_secs(300);

impl Daemon {
    /// Goes through the queue from its front. A run that has to wait keeps none behind it waiting.
    pub(super) async fn start_waiting(
        &self,
        view: &mut View,
        tasks: &mut Tasks,
        now: Timestamp,
    ) -> Result<()> {
        let policy = self.policy();
        for run in std::mem::take(&mut view.waiting) {
            let Some(job) = view.jobs.get(&run.job_id) else {
                let error = Error::new(
                    Code::Cancelled,
                    "its job was removed while it waited for its turn",
                );
                self.engine
                    .end_waiting(&run, RunStatus::Cancelled, &error)
                    .await?;
                continue;
            };
            if let Some(error) = self.waited_too_long(&run, job, now).await? {
                self.engine.end_waiting(&run, RunStatus::Skipped, &error).await?;
                continue;
            }
            let may_start = {
                let running = lock(&self.running);
                running.len() < policy.max_runs && has_room(&running, job, policy.max_runs_per_destination)
            };
            if !may_start || !self.start(&run, tasks).await? {
                view.waiting.push(run);
            }
        }
        Ok(())
    }

    /// Starts a run. False if its job runs in another process, or somebody else has taken it.
    async fn start(&self, run: &Run, tasks: &mut Tasks) -> Result<bool> {
        let engine = Arc::clone(&self.engine);
        let Some(held) = JobLock::take(&engine.locks(), run.job_id)? else {
            return Ok(false);
        };
        // As it is now: what may be deleted of it can have changed without its specification.
        let job = engine.store.job(&run.job_id.to_string()).await?;
        let run = Run {
            status: RunStatus::Preparing,
            started_at: engine.clock.now(),
            ..run.clone()
        };
        if !engine.store.take_run(run.id, run.started_at).await? {
            return Ok(true);
        }
        let options = BackupOptions {
            accept_shrink: false,
            identities: self.policy().identities,
            context: Context::default(),
        };
        let recorder = Recorder::new(
            engine.store.clone(),
            Arc::clone(&engine.clock),
            run.id,
            Arc::clone(&self.observer),
        );
        let (id, job_id) = (run.id, job.id);
        let destinations = job.spec.destinations.iter().map(place).collect();
        let cancel = options.context.cancel.clone();
        let task =
            tasks.spawn(async move { Box::pin(engine.perform(&job, run, held, options, recorder)).await });
        let running = Running {
            job_id,
            destinations,
            cancel,
            task: task.id(),
        };
        lock(&self.running).insert(id, running);
        self.tell();
        Ok(true)
    }

    /// Takes note of the end of a run. One whose code failed is settled as after a crash, but at once.
    pub(super) async fn ended(&self, ended: std::result::Result<(Id, Result<Report>), JoinError>) {
        let (task, failure) = match ended {
            Ok((task, Ok(_))) => (task, None),
            Ok((task, Err(error))) => (task, Some(error.report())),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        lock(&self.running).retain(|_, running| running.task != task);
        self.tell();
        let Some(failure) = failure else { return };
        tracing::error!("a run ended without a record of its end: {failure}");
        if let Err(error) = self.engine.recover(Arc::new(Silent)).await {
            tracing::error!("what it left can't be undone for now: {}", error.report());
        }
    }

    /// Why a run doesn't wait any longer. The time while there was no daemon doesn't count, but for jobs that skip
    /// what they missed.
    async fn waited_too_long(&self, run: &Run, job: &Job, now: Timestamp) -> Result<Option<Error>> {
        let schedule = job.spec.schedule.as_ref().filter(|s| s.missed == Missed::Skip);
        if let (Some(schedule), Some(due)) = (schedule, run.due_at)
            && now.duration_since(due)
                > signed(schedule.grace.duration()) + signed(schedule.jitter.duration())
        {
            let error = Error::new(
                Code::Skipped,
                format!(
                    "it was due at {due} and found no place among the runs within {}",
                    schedule.grace
                ),
            )
            .hint("raise `schedule.grace`, or allow more runs at once");
            return Ok(Some(error));
        }
        let waited = now.duration_since(run.started_at.max(self.began_at));
        let limit = match job.spec.timeouts.queue {
            Some(limit) => limit.limit(),
            // Asked only when it matters.
            None if waited > signed(STREAM_WAIT) && self.only_streams(job).await? => Some(STREAM_WAIT),
            None => None,
        };
        Ok(limit.filter(|limit| waited > signed(*limit)).map(|limit| {
            Error::new(
                Code::Skipped,
                format!("it waited longer than {} s for its turn", limit.as_secs()),
            )
            .hint("raise `timeouts.queue` of the job (0 is no limit), or allow more runs at once")
        }))
    }

    async fn only_streams(&self, job: &Job) -> Result<bool> {
        let plugins = self.engine.plugins.list().await?;
        let mut sources = plugins
            .iter()
            .filter(|(manifest, _)| manifest.id == job.spec.source.plugin);
        Ok(sources.any(|(manifest, _)| manifest.content == [ContentKind::Stream]))
    }
}

fn has_room(running: &HashMap<Uuid, Running>, job: &Job, limit: usize) -> bool {
    let is_other = running.values().all(|other| other.job_id != job.id);
    is_other
        && job.spec.destinations.iter().map(place).all(|place| {
            let there = running
                .values()
                .filter(|other| other.destinations.contains(&place));
            there.count() < limit
        })
}

/// What tells one destination from another: the remote that it is on, else all of its configuration.
fn place(destination: &DestinationSpec) -> String {
    let plugin = &destination.plugin;
    match destination
        .config
        .get("remote")
        .and_then(|remote| remote.as_str())
    {
        Some(remote) => format!("{plugin} {remote}"),
        None => format!(
            "{plugin} {}",
            serde_json::Value::Object(destination.config.clone())
        ),
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

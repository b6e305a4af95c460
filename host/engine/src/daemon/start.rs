//! Starts what waits, as far as the limits allow, and takes note of what has ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::job::{DestinationSpec, Job};
use backstay_model::run::{Run, RunKind, RunStatus};
use backstay_model::schedule::Missed;
use backstay_model::{Code, Error, Result};
use backstay_stream::Context;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use super::mend::Mending;
use super::turn::View;
use super::{Daemon, Running, lock};
use crate::backup::{BackupOptions, Report};
use crate::lock::JobLock;
use crate::recorder::Recorder;

/// Runs under way.
pub(super) type Tasks = JoinSet<Result<Report>>;

/// How long a run of a source that only streams waits for its turn if its job doesn't say: what it is to read may
/// have been made ready for this moment. Any other waits as long as it takes, and so does one that was due, unless its
/// job skips what it missed.
const STREAM_WAIT: Duration = Duration::from_secs(300);

impl Daemon {
    /// Goes through the queue from its front. A run that has to wait keeps none behind it waiting.
    pub(super) async fn start_waiting(
        &self,
        view: &mut View,
        tasks: &mut Tasks,
        mending: &mut Mending,
        now: Timestamp,
    ) -> Result<()> {
        let policy = self.policy();
        for run in std::mem::take(&mut view.waiting) {
            let Some(job) = view.jobs.get(&run.job_id) else {
                // It may only be new, or unreadable for now.
                if self.engine.store.has_job(run.job_id).await? {
                    view.waiting.push(run);
                    continue;
                }
                let error = Error::new(
                    Code::Cancelled,
                    "its job was removed while it waited for its turn",
                );
                self.engine
                    .end_waiting(&run, RunStatus::Cancelled, &error)
                    .await?;
                continue;
            };
            if let Some(error) = no_longer_wanted(&run, job) {
                self.engine.end_waiting(&run, RunStatus::Skipped, &error).await?;
                continue;
            }
            if let Some(error) = self.waited_too_long(&run, job, now).await? {
                self.engine.end_waiting(&run, RunStatus::Skipped, &error).await?;
                continue;
            }
            let may_start = view.scheduler.may_start(&run, now) && {
                let running = lock(&self.running);
                running.len() < policy.max_runs && has_room(&running, job, policy.max_runs_per_destination)
            };
            if !may_start || !self.start(&run, tasks, mending).await? {
                view.waiting.push(run);
            }
        }
        Ok(())
    }

    /// Starts a run. False if its job runs in another process, or what an earlier run left is to be undone first.
    async fn start(&self, run: &Run, tasks: &mut Tasks, mending: &mut Mending) -> Result<bool> {
        let engine = Arc::clone(&self.engine);
        let Some(held) = JobLock::take(&engine.locks(), run.job_id)? else {
            return Ok(false);
        };
        // Whoever had the lock has let go of it without a record of the end.
        let is_left = |other: &Run| {
            other.job_id == run.job_id && other.kind == RunKind::Backup && other.status != RunStatus::Queued
        };
        if engine.store.unfinished_runs().await?.iter().any(is_left) {
            mending.ask();
            return Ok(false);
        }
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
    pub(super) fn ended(
        &self,
        ended: std::result::Result<(Id, Result<Report>), JoinError>,
        mending: &mut Mending,
    ) {
        let (task, failure) = match ended {
            Ok((task, Ok(_))) => (task, None),
            Ok((task, Err(error))) => (task, Some(error.report())),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        lock(&self.running).retain(|_, running| running.task != task);
        self.tell();
        let Some(failure) = failure else { return };
        tracing::error!("a run ended without a record of its end: {failure}");
        mending.ask();
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
            // The last is asked only when it matters.
            None if is_of_the_moment(run, job)
                && waited > signed(STREAM_WAIT)
                && self.only_streams(job).await =>
            {
                Some(STREAM_WAIT)
            }
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

    async fn only_streams(&self, job: &Job) -> bool {
        let mut streams = self.streams.lock().await;
        streams
            .contains(&job.spec.source.plugin, &self.engine.plugins, &self.engine.store)
            .await
    }
}

/// Whether a run is to start about now or not at all. What was due is made up for, unless its job skips what it missed.
fn is_of_the_moment(run: &Run, job: &Job) -> bool {
    let skips = job
        .spec
        .schedule
        .as_ref()
        .is_some_and(|s| s.missed == Missed::Skip);
    run.due_at.is_none() || skips
}

/// Why a run that was due isn't to be carried out any more.
fn no_longer_wanted(run: &Run, job: &Job) -> Option<Error> {
    let due = run.due_at?;
    let why = if !job.spec.enabled {
        "disabled"
    } else if job.spec.schedule.is_none() {
        "left without a schedule"
    } else {
        return None;
    };
    let error = Error::new(
        Code::Skipped,
        format!("it was due at {due}, and its job was {why} while it waited for its turn"),
    );
    Some(error.hint("`backstay run` runs it all the same"))
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

#[cfg(test)]
mod tests {
    use backstay_model::run::RunReason;
    use serde_json::json;

    use super::*;

    fn job(more: &serde_json::Value) -> Job {
        let mut value = json!({
            "id": Uuid::now_v7(), "name": "flash", "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z",
            "source": { "plugin": "flash" }, "destinations": [{ "plugin": "local" }],
        });
        let more = more.as_object().unwrap().clone();
        value.as_object_mut().unwrap().extend(more);
        serde_json::from_value(value).unwrap()
    }

    /// A run of the job that waits.
    fn run(job: &Job, due_at: Option<&str>) -> Run {
        Run {
            id: Uuid::now_v7(),
            job_id: job.id,
            job_name: job.spec.name.clone(),
            kind: RunKind::Backup,
            status: RunStatus::Queued,
            reason: RunReason::Schedule,
            due_at: due_at.map(|at| at.parse().unwrap()),
            started_at: job.created_at,
            finished_at: None,
            error: None,
            warnings: Vec::new(),
            stats: backstay_model::run::Stats::default(),
        }
    }

    const DUE: Option<&str> = Some("2026-01-02T03:00:00Z");

    #[test]
    fn what_was_due_waits_as_long_as_it_takes_unless_its_job_skips_what_it_missed() {
        for (missed, expected) in [("run-once", false), ("window", false), ("skip", true)] {
            let job = job(&json!({ "schedule": { "cron": "0 3 * * *", "missed": missed } }));
            assert_eq!(is_of_the_moment(&run(&job, DUE), &job), expected, "{missed}");
            assert!(is_of_the_moment(&run(&job, None), &job), "asked for by hand");
        }
    }

    #[test]
    fn what_was_due_is_skipped_if_its_job_is_not_to_run_by_itself_any_more() {
        let schedule = json!({ "cron": "0 3 * * *" });
        let said = |job: &Job, due: Option<&str>| {
            let error = no_longer_wanted(&run(job, due), job)?;
            assert_eq!(error.code(), Code::Skipped);
            Some(error.report())
        };
        let on = job(&json!({ "schedule": schedule }));
        let off = job(&json!({ "schedule": schedule, "enabled": false }));
        let by_hand = job(&json!({}));
        assert_eq!(said(&on, DUE), None);
        assert!(said(&off, DUE).unwrap().contains("its job was disabled"));
        assert!(said(&by_hand, DUE).unwrap().contains("left without a schedule"));
        for job in [on, off, by_hand] {
            assert_eq!(said(&job, None), None, "somebody asked for it");
        }
    }
}

//! Prunes: deletes what retention lets go, at each destination of a job.
//!
//! `plan` decides and touches nothing; `delete` takes away one backup as a whole. Both hold the job's lock when
//! anything is deleted, so no backup can begin to build on one that is about to go.

mod delete;
mod plan;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use backstay_model::event::Level;
use backstay_model::job::Job;
use backstay_model::run::{Run, RunError, RunKind, RunStatus, Warning};
use backstay_model::{Code, Error, Result};
use backstay_plugin::RunScope;
use backstay_stream::Context;

use crate::Engine;
use crate::backup::Gathered;
use crate::lock::JobLock;
use crate::recorder::{Observer, Recorder};
use delete::NotDeleted;
use plan::{Halt, Reached};
pub use plan::{Place, Plan, Planned};

/// How to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Somebody looked at it and says that old backups may go although the last run failed.
    pub after_failure: bool,
    /// Somebody looked at it and says that what became too old by a gap between two backups may go.
    pub after_gap: bool,
    /// Somebody says that what isn't at its destination any more, and would be deleted, may leave the catalogue.
    pub forget_missing: bool,
    /// Cancellation, between one backup and the next.
    pub context: Context,
}

/// What a prune did.
#[derive(Debug)]
pub struct PruneReport {
    /// The run, at its end.
    pub run: Run,
    /// What was decided, with what came of it.
    pub plan: Plan,
}

impl PruneReport {
    /// The exit code of the run.
    pub fn exit_code(&self) -> u8 {
        match (self.run.status, &self.run.error) {
            (RunStatus::Succeeded, _) => 0,
            (RunStatus::Warning, _) => Code::Warning.exit_code(),
            (_, Some(error)) => error.code.exit_code(),
            (_, None) => Code::Internal.exit_code(),
        }
    }
}

impl Engine {
    /// What pruning a job would do now.
    ///
    /// # Errors
    /// The catalogue can't be read.
    pub async fn plan_prune(&self, job: &Job, options: &PruneOptions) -> Result<Plan> {
        let reached = self.reached(job, options.after_failure).await?;
        self.plan(job, reached, options.after_gap).await
    }

    /// Prunes a job as a run of its own. What could not be deleted is in the report.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn prune(
        &self,
        job: &Job,
        options: &PruneOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<PruneReport> {
        let started = Instant::now();
        let mut run = self.new_run(job, RunKind::Prune);
        let recorder = Recorder::new(self.store.clone(), Arc::clone(&self.clock), run.id, observer);
        let Some(lock) = JobLock::take(&self.locks(), job.id)? else {
            let run = self.skip(run, &recorder).await?.run;
            let plan = Plan::default();
            return Ok(PruneReport { run, plan });
        };
        // Another process may have changed it while its lock was waited for.
        let job = self.store.job(&job.id.to_string()).await?;
        let mut plan = self.plan_prune(&job, options).await?;
        if let Some(halt) = self.halt(&job, &plan).await? {
            let error = halt.into_error();
            run.status = RunStatus::Skipped;
            run.finished_at = Some(self.clock.now());
            run.error = Some(RunError::from(&error));
            let events = recorder.last_events(RunStatus::Skipped, error.report());
            self.store.begin_run(&run, &events).await?;
            return Ok(PruneReport { run, plan });
        }
        run.status = RunStatus::Pruning;
        self.store.begin_run(&run, &[]).await?;
        let base = self.scope_of(&run);
        let done = self
            .carry_out(
                &mut plan,
                &base,
                &options.context,
                &recorder,
                options.forget_missing,
            )
            .await;
        run.stats.deleted_backups = plan.deleted_backups();
        run.stats.freed_bytes = plan.freed_bytes();
        let result = done.and_then(|troubles| as_outcome(troubles, &job, &options.context));
        let run = self
            .end_other(
                &mut run,
                &base,
                &result.map(|()| 0),
                &recorder,
                &options.context,
                started,
            )
            .await?;
        drop(lock);
        Ok(PruneReport { run, plan })
    }

    /// Prunes after a run that ended well, as its last stage. What could not be deleted is a warning of the run: its
    /// backup is whole.
    pub(crate) async fn prune_after(
        &self,
        job: &Job,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let job = self.store.job(&job.id.to_string()).await?;
        if !job
            .spec
            .retention
            .as_ref()
            .is_some_and(|policy| policy.has_rule())
        {
            return Ok(());
        }
        recorder.status(RunStatus::Pruning).await?;
        let mut plan = match self.plan(&job, Reached::By(base.run_id), false).await {
            Ok(plan) => plan,
            Err(error) => {
                let warning = Trouble {
                    destination_index: 0,
                    error,
                }
                .warning();
                recorder.say(Level::Warn, "host", warning.message.clone());
                gathered.warnings.push(warning);
                return Ok(());
            }
        };
        let halt = match self.halt(&job, &plan).await? {
            Some(Halt::InUse(message)) => {
                recorder.say(Level::Info, "host", message);
                return Ok(());
            }
            halt => halt,
        };
        let done = match halt {
            Some(halt) => Ok(vec![halt.warning()]),
            None => {
                let troubles = self.carry_out(&mut plan, base, context, recorder, false).await;
                troubles.map(|all| all.into_iter().map(Trouble::warning).collect())
            }
        };
        gathered.deleted_backups = plan.deleted_backups();
        gathered.freed_bytes = plan.freed_bytes();
        let warnings: Vec<Warning> = done?;
        for warning in &warnings {
            recorder.say(Level::Warn, "host", warning.message.clone());
        }
        gathered.warnings.extend(warnings);
        Ok(())
    }

    /// Deletes what a plan says, and marks in it what is gone. Only a cancellation or the database ends it early.
    async fn carry_out(
        &self,
        plan: &mut Plan,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
        forget_missing: bool,
    ) -> Result<Vec<Trouble>> {
        let mut troubles = Vec::new();
        for place in &mut plan.places {
            if place.deletions.is_empty() {
                continue;
            }
            let trouble = |error| Trouble {
                destination_index: place.destination_index,
                error,
            };
            if let Some(anchor) = place.anchor()
                && let Err(error) = self.is_there(anchor, base, recorder).await
            {
                troubles.push(trouble(error));
                continue;
            }
            // What builds on something was to go first. If it couldn't, that stays as well.
            let mut needed = HashSet::new();
            for index in place.deletions.clone() {
                context.cancel.check()?;
                let planned = &mut place.backups[index];
                let (id, depends_on) = (planned.id, planned.depends_on);
                if needed.contains(&id) {
                    needed.extend(depends_on);
                    continue;
                }
                match self.delete(id, base, context, recorder, forget_missing).await {
                    Ok(()) => {
                        planned.deleted = true;
                        let why: Vec<String> =
                            planned.verdict.reasons.iter().map(ToString::to_string).collect();
                        let made = planned.created_at.strftime("%Y-%m-%d %H:%M:%SZ");
                        recorder.say(
                            Level::Info,
                            "host",
                            format!("deleted backup {id} of {made}: {}", why.join(", ")),
                        );
                    }
                    Err(NotDeleted::Database(error)) => return Err(error),
                    Err(NotDeleted::InUse(message)) => {
                        recorder.say(Level::Info, "host", message);
                        return Ok(troubles);
                    }
                    Err(NotDeleted::Away(error)) => {
                        troubles.push(trouble(error));
                        break;
                    }
                    Err(NotDeleted::Refused(error)) => {
                        needed.extend(depends_on);
                        troubles.push(trouble(error));
                    }
                }
            }
        }
        Ok(troubles)
    }
}

/// What could not be deleted, and where.
#[derive(Debug)]
struct Trouble {
    destination_index: usize,
    error: Error,
}

impl Trouble {
    fn warning(self) -> Warning {
        Warning {
            code: "not-deleted".to_owned(),
            message: self.error.report(),
            path: None,
        }
    }
}

/// The first trouble at a destination that isn't optional fails the run; the rest are its warnings.
fn as_outcome(troubles: Vec<Trouble>, job: &Job, context: &Context) -> Result<()> {
    let is_optional = |index: usize| job.spec.destinations.get(index).is_some_and(|d| d.optional);
    let mut failure = None;
    for trouble in troubles {
        if failure.is_none() && !is_optional(trouble.destination_index) {
            failure = Some(trouble.error);
        } else {
            let warning = trouble.warning();
            context.notes.warn(&warning.code, warning.message, None);
        }
    }
    failure.map_or(Ok(()), Err)
}

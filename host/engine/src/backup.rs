//! Makes a backup: opens the source, stores what it offers, commits, checks, prunes, cleans up.

use std::sync::Arc;
use std::time::Instant;

use backstay_model::job::Job;
use backstay_model::manifest::Stage;
use backstay_model::plugin::PluginKind;
use backstay_model::run::{Run, RunError, RunKind, RunReason, RunStatus, Stats, Warning};
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Offered, Plugin, Previous, RunScope};
use backstay_store::{Backup, BackupFilter};
use backstay_stream::codec::Identities;
use backstay_stream::{Context, Throttle};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Engine;
use crate::attempts::Attempts;
use crate::chain::refuse_unknown_bases;
use crate::commit::Goal;
use crate::lock::JobLock;
use crate::outcome::{Check, verdict};
use crate::recorder::{Observer, Recorder};
use crate::watch::watch;

/// How a run is to be done.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// Somebody looked at it and says that the source may be this much smaller.
    pub accept_shrink: bool,
    /// Keys for checking an encrypted backup after the run.
    pub identities: Identities,
    /// Cancellation, shared with whoever may cancel it.
    pub context: Context,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run, at its end.
    pub run: Run,
    /// What it left in the catalogue.
    pub backups: Vec<Backup>,
}

impl Report {
    /// The exit code of the run.
    pub fn exit_code(&self) -> u8 {
        self.run.exit_code()
    }
}

/// What a run gathers on its way.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) backups: Vec<Backup>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) deleted_backups: u64,
    pub(crate) freed_bytes: u64,
}

impl Engine {
    /// Runs a job once. A failure of the job is in the report, with the run.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn backup(
        &self,
        job: &Job,
        options: BackupOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        let mut run = self.new_run(job, RunKind::Backup);
        let recorder = Recorder::new(self.store.clone(), Arc::clone(&self.clock), run.id, observer);
        let Some(lock) = JobLock::take(&self.locks(), job.id)? else {
            return self.skip(run, &recorder).await;
        };
        run.status = RunStatus::Preparing;
        self.store.begin_run(&run, &[]).await?;
        self.perform(job, run, lock, options, recorder).await
    }

    /// Does what a run that has begun is for, to its end.
    pub(crate) async fn perform(
        &self,
        job: &Job,
        mut run: Run,
        lock: JobLock,
        mut options: BackupOptions,
        recorder: Recorder,
    ) -> Result<Report> {
        let started = Instant::now();
        let throttling = self.throttling(job, &recorder).await;
        if let Ok(throttling) = &throttling {
            options.context.throttle = throttling.throttle.clone();
        }
        let watch = watch(
            recorder.clone(),
            options.context.clone(),
            job.spec.timeouts.clone(),
        );
        let mut gathered = Gathered::default();
        let result = match &throttling {
            Ok(_) => self.attempt(job, &run, &options, &recorder, &mut gathered).await,
            Err(_) => Ok(()),
        };
        let result = throttling.and(result);
        // What broke because somebody stopped it isn't the cause.
        let cancel = &options.context.cancel;
        let result = result.map_err(|error| {
            if cancel.is_cancelled() {
                cancel.reason()
            } else {
                error
            }
        });
        drop(watch);
        let report = self
            .end(&mut run, result, gathered, &options, &recorder, started, job)
            .await;
        // Whoever has the lock next would think that the host is gone.
        if let Err(error) = &report {
            self.unrecorded.note(run.id, error.report());
        }
        drop(lock);
        report
    }

    /// A run that begins now.
    pub(crate) fn new_run(&self, job: &Job, kind: RunKind) -> Run {
        Run {
            id: Uuid::now_v7(),
            job_id: job.id,
            job_name: job.spec.name.clone(),
            kind,
            status: RunStatus::Queued,
            reason: RunReason::Manual,
            due_at: None,
            started_at: self.clock.now(),
            finished_at: None,
            error: None,
            warnings: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// The scope of calls in a run.
    pub(crate) fn scope_of(&self, run: &Run) -> RunScope {
        RunScope {
            store: self.store.clone(),
            run_id: run.id,
            job_id: run.job_id,
            job_name: run.job_name.clone(),
            device: self.device.clone(),
            started_at: run.started_at,
            destination: None,
        }
    }

    pub(crate) async fn skip(&self, mut run: Run, recorder: &Recorder) -> Result<Report> {
        let error = Error::new(Code::Skipped, format!("job {} is running already", run.job_name))
            .hint("`backstay runs` shows it; start it again when it has ended");
        run.status = RunStatus::Skipped;
        run.finished_at = Some(self.clock.now());
        run.error = Some(RunError::from(&error));
        self.store
            .begin_run(&run, &recorder.last_events(RunStatus::Skipped, error.report()))
            .await?;
        Ok(Report {
            run,
            backups: Vec::new(),
        })
    }

    async fn attempt(
        &self,
        job: &Job,
        run: &Run,
        options: &BackupOptions,
        recorder: &Recorder,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let source = self
            .plugins
            .get(&job.spec.source.plugin, PluginKind::Source)
            .await?;
        let mut destinations = Vec::new();
        for spec in &job.spec.destinations {
            destinations.push(self.plugins.get(&spec.plugin, PluginKind::Destination).await?);
        }
        let base = self.scope_of(run);
        self.run_before(job, &base, &options.context, recorder).await?;
        let opened_at = self.clock.now();
        let artifacts = self.open(job, &source, &base, options, recorder).await?;
        gathered.stages.push(self.stage("prepare", opened_at));
        recorder.status(RunStatus::Transferring).await?;
        let goals = job.spec.destinations.iter().zip(&destinations).enumerate();
        let goals = goals.map(|(index, (spec, plugin))| Goal {
            job,
            index,
            spec,
            source: &source,
            plugin,
            base: &base,
            opened_at,
            accept_shrink: options.accept_shrink,
        });
        let (goals, context) = (goals.collect(), &options.context);
        Box::pin(self.store_everywhere(goals, &artifacts, context, recorder, gathered)).await?;
        if job.spec.verify.after_run {
            recorder.status(RunStatus::Verifying).await?;
            // Limits are for what is stored.
            let context = Context {
                throttle: Throttle::default(),
                ..options.context.clone()
            };
            let check = Check {
                identities: &options.identities,
                base: &base,
                context: &context,
                recorder,
                place: None,
            };
            for backup in &mut gathered.backups {
                let level = job.spec.verify.level;
                let checked = self.check_backup(backup, level, &check).await.map(drop);
                if let Some(ok) = verdict(&checked) {
                    let at = self.clock.now();
                    self.store
                        .record_verification(backup.manifest.id, level, ok, at)
                        .await?;
                    (backup.verified_at, backup.verified_level, backup.verified_ok) =
                        (Some(at), Some(level), Some(ok));
                }
                checked?;
            }
        }
        self.prune_after(job, &base, &options.context, recorder, gathered)
            .await
    }

    async fn open(
        &self,
        job: &Job,
        source: &Plugin,
        base: &RunScope,
        options: &BackupOptions,
        recorder: &Recorder,
    ) -> Result<Vec<Offered>> {
        let previous = self.previous(job).await?;
        let id = &job.spec.source.plugin;
        let scope = self.scope(
            job.spec.source.config.clone(),
            Some(base.clone()),
            options.context.clone(),
            recorder.listener(id),
        );
        let limit = job.spec.timeouts.prepare.duration();
        let mut opening = std::pin::pin!(async {
            let mut attempts = Attempts::new(base, &job.spec.retries, &options.context.cancel, recorder);
            loop {
                attempts.begin(self).await?;
                match source.open(&scope, &previous).await {
                    Ok(artifacts) => return refuse_unknown_bases(id, artifacts, &previous),
                    Err(error) => attempts.failed(self, error).await?,
                }
            }
        });
        tokio::select! {
            result = &mut opening => return result,
            () = tokio::time::sleep(limit) => {}
        }
        let late = Error::new(
            Code::BackupFailed,
            format!("the source was not ready after {} s", limit.as_secs()),
        )
        .hint("raise `timeouts.prepare` (at most 3600s), or find out what it waits for");
        // What it has started must have ended before any of it is undone.
        options.context.cancel.cancel(&late);
        opening.await.and(Err(late))
    }

    /// The artifacts of the newest runs whose backup every destination of the job holds, the newest first. What
    /// builds on a backup that is damaged or gone is left out, so that nothing more is built on it.
    async fn previous(&self, job: &Job) -> Result<Vec<Previous>> {
        /// Enough to find a base even if the last few runs went wrong.
        const LOOK_BACK: u32 = 64;
        let filter = BackupFilter {
            job: Some(job.id),
            limit: LOOK_BACK,
            ..BackupFilter::default()
        };
        let backups = self.store.backups(filter).await?;
        let here = |b: &&Backup| {
            let spec = job.spec.destinations.get(b.destination_index);
            let used = &b.manifest.destination;
            b.verified_ok != Some(false)
                && spec.is_some_and(|s| s.plugin == used.plugin && s.config == used.config)
        };
        let complete = |run: Uuid| {
            backups.iter().filter(here).filter(|b| b.run_id == run).count() == job.spec.destinations.len()
        };
        let broken = self.with_broken_chains(&backups).await?;
        let whole = |run: Uuid| {
            let mut of_run = backups.iter().filter(|b| b.run_id == run);
            of_run.all(|b| !broken.contains(&b.manifest.id))
        };
        let critical = backups
            .iter()
            .filter(|b| b.critical && complete(b.run_id) && whole(b.run_id));
        Ok(critical
            .flat_map(|backup| {
                backup.manifest.artifacts.iter().map(|artifact| Previous {
                    backup_id: backup.manifest.id,
                    created_at: backup.created_at,
                    artifact: artifact.name.clone(),
                    metadata: artifact.metadata.clone(),
                    is_increment: artifact.base.is_some(),
                })
            })
            .collect())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the last step of one run, with all that it gathered"
    )]
    async fn end(
        &self,
        run: &mut Run,
        result: Result<()>,
        gathered: Gathered,
        options: &BackupOptions,
        recorder: &Recorder,
        started: Instant,
        job: &Job,
    ) -> Result<Report> {
        let base = self.scope_of(run);
        let committed = self.committed(run.id).await?;
        let not_undone = self.settle_journal(&base, &committed, recorder).await?;
        let (late, _) = options.context.notes.take();
        run.warnings = gathered.warnings;
        run.warnings.extend(late);
        run.warnings.extend(not_undone);
        let critical = gathered.backups.iter().find(|b| b.critical);
        run.stats = Stats {
            source_bytes: critical.map_or(0, |b| b.manifest.source_bytes()),
            stored_bytes: critical.map_or(0, |b| b.manifest.stored_bytes()),
            entries: critical.map_or(0, |b| b.manifest.artifacts.iter().map(|a| a.entries).sum()),
            deleted_backups: gathered.deleted_backups,
            freed_bytes: gathered.freed_bytes,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        run.error = result.as_ref().err().map(RunError::from);
        run.status = match &result {
            Err(error) if error.code() == Code::Cancelled => RunStatus::Cancelled,
            Err(_) => RunStatus::Failed,
            Ok(()) if run.warnings.is_empty() => RunStatus::Succeeded,
            Ok(()) => RunStatus::Warning,
        };
        let hooks = self.run_after(job, run, &base, &options.context, recorder).await;
        run.warnings.extend(hooks);
        if run.status == RunStatus::Succeeded && !run.warnings.is_empty() {
            run.status = RunStatus::Warning;
        }
        run.finished_at = Some(self.clock.now());
        let message = match &result {
            Ok(()) if run.warnings.is_empty() => "done".to_owned(),
            Ok(()) => format!("done, with {} warnings", run.warnings.len()),
            Err(error) => error.report(),
        };
        self.store
            .finish_run(run, &recorder.last_events(run.status, message))
            .await?;
        Ok(Report {
            run: run.clone(),
            backups: gathered.backups,
        })
    }

    pub(crate) fn stage(&self, name: &str, started_at: Timestamp) -> Stage {
        let duration = self.clock.now().duration_since(started_at);
        Stage {
            name: name.to_owned(),
            started_at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(0),
        }
    }
}

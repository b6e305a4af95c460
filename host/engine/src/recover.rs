//! After a crash: ends runs whose host is gone, undoes what they left, and finishes what they began to delete.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_model::event::Level;
use backstay_model::run::{Run, RunError, RunKind, RunStatus, Warning};
use backstay_model::{Code, Error, Result};
use uuid::Uuid;

use crate::Engine;
use crate::lock::JobLock;
use crate::recorder::{Observer, Recorder};

/// What recovery did.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Runs that are `interrupted` now.
    pub interrupted: Vec<Run>,
    /// What could not be undone yet.
    pub warnings: Vec<Warning>,
}

/// Runs that came to their end in this process while the database could not take that, and why: the host didn't go away.
/// Another process that recovers them knows nothing of it.
#[derive(Debug, Default)]
pub struct Unrecorded(Mutex<HashMap<Uuid, String>>);

impl Unrecorded {
    /// The end of a run could not be written down.
    pub(crate) fn note(&self, run: Uuid, why: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(run, why);
    }

    /// Why a run has no end.
    fn reason(&self, run: Uuid) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&run) {
            Some(why) => format!("the end of the run could not be written down: {why}"),
            None => "the host went away during the run, or could not write down how it ended".to_owned(),
        }
    }

    /// It has been written down meanwhile.
    fn forget(&self, run: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }
}

impl Engine {
    /// Ends interrupted runs and replays the journal, oldest run first. Does nothing to runs that are alive.
    ///
    /// # Errors
    /// The database can't be used. What can't be undone is in the result instead.
    pub async fn recover(&self, observer: Arc<dyn Observer>) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        let mut unfinished = self.store.unfinished_runs().await?;
        // What waits for its turn has done nothing yet and goes on waiting.
        unfinished.retain(|run| run.status != RunStatus::Queued);
        let mut ids = self.store.runs_with_entries().await?;
        ids.extend(
            unfinished
                .iter()
                .map(|r| r.id)
                .filter(|id| !ids.contains(id))
                .collect::<Vec<_>>(),
        );
        for id in ids {
            let run = self.store.run(id).await?;
            let Some(lock) = JobLock::take(&self.locks(), lock_of(&run))? else {
                continue;
            };
            let is_own = lock_of(&run) == run.id;
            self.recover_run(run, &observer, &mut recovered).await?;
            if is_own {
                lock.remove()?;
            }
        }
        self.finish_removals(&observer, &mut recovered).await?;
        Ok(recovered)
    }

    /// Whether a run is over. One whose host is gone is ended as by [`Engine::recover`], and nothing else is touched.
    ///
    /// # Errors
    /// The database can't be used, or there is no such run. What can't be undone is a warning of the run.
    pub async fn recover_one(&self, id: Uuid, observer: Arc<dyn Observer>) -> Result<bool> {
        let run = self.store.run(id).await?;
        if run.status.is_final() || run.status == RunStatus::Queued {
            return Ok(run.status.is_final());
        }
        let Some(lock) = JobLock::take(&self.locks(), lock_of(&run))? else {
            return Ok(false);
        };
        let is_own = lock_of(&run) == run.id;
        // Whoever carried it out may have come to its end before letting go.
        if !self.store.run(id).await?.status.is_final() {
            self.recover_run(run, &observer, &mut Recovered::default())
                .await?;
        }
        if is_own {
            lock.remove()?;
        }
        Ok(true)
    }

    pub(crate) async fn recover_run(
        &self,
        run: Run,
        observer: &Arc<dyn Observer>,
        recovered: &mut Recovered,
    ) -> Result<()> {
        // Somebody else may have finished it while its lock was waited for.
        let mut run = self.store.run(run.id).await?;
        if run.status.is_final() && self.store.entries(run.id).await?.is_empty() {
            return Ok(());
        }
        let recorder = Recorder::new(
            self.store.clone(),
            Arc::clone(&self.clock),
            run.id,
            Arc::clone(observer),
        );
        let committed = self.committed(run.id).await?;
        let base = self.scope_of(&run);
        let warnings = self.settle_journal(&base, &committed, &recorder).await?;
        if !run.status.is_final() {
            run.status = RunStatus::Interrupted;
            run.finished_at = Some(self.clock.now());
            run.warnings.extend(warnings.iter().cloned());
            let error =
                Error::new(Code::BackupFailed, self.unrecorded.reason(run.id)).hint(if committed.whole {
                    "the backup is complete; only what came after it is missing"
                } else {
                    "run it again"
                });
            run.error = Some(RunError::from(&error));
            let events = recorder.last_events(RunStatus::Interrupted, error.report());
            self.store.finish_run(&run, &events).await?;
            self.unrecorded.forget(run.id);
            recovered.interrupted.push(run);
        } else {
            recorder.say(Level::Info, "host", "undid what was left of it");
            recorder.flush().await?;
        }
        recovered.warnings.extend(warnings);
        Ok(())
    }
}

/// What makes backups or deletes them is locked by the job; everything else by the run itself, so that it doesn't keep
/// a backup waiting.
pub(crate) fn lock_of(run: &Run) -> Uuid {
    match run.kind {
        RunKind::Backup | RunKind::Prune => run.job_id,
        RunKind::Restore | RunKind::Verify | RunKind::Drill => run.id,
    }
}

//! One run of a trial: what it stores, and how it ends.

use std::sync::Arc;

use backstay_model::journal::{Entry, Owner};
use backstay_model::run::{Run, RunKind, RunReason, RunStatus, Stats};
use backstay_model::{Code, Result};
use backstay_plugin::{Content, Moved, RunScope, Scope, StoreRequest, StoredObject};
use backstay_stream::codec::{Expected, check_stored};
use backstay_stream::{Context, Recipe};
use uuid::Uuid;

use super::{Trial, wrong};
use crate::Engine;
use crate::copy::as_stream;
use crate::lock::JobLock;
use crate::recorder::{Recorder, Silent};
use crate::recover::lock_of;
use crate::undo::Committed;
use crate::verify::blocking;

/// The name that its job has.
const JOB: &str = "plugin-test";

/// A run of a trial.
pub(super) struct Attempt {
    run: Run,
    base: RunScope,
    recorder: Recorder,
    lock: Option<JobLock>,
}

/// A stream that was stored.
pub(super) struct Kept {
    pub(super) receipt: String,
    pub(super) expected: Expected,
}

impl Attempt {
    /// Begins a run.
    pub(super) async fn begin(engine: &Engine) -> Result<Self> {
        let run = Run {
            id: Uuid::now_v7(),
            job_id: Uuid::now_v7(),
            job_name: JOB.to_owned(),
            // There is no job that it could be a backup of.
            kind: RunKind::Drill,
            status: RunStatus::Transferring,
            reason: RunReason::Manual,
            due_at: None,
            started_at: engine.clock.now(),
            finished_at: None,
            error: None,
            warnings: Vec::new(),
            stats: Stats::default(),
        };
        let base = RunScope {
            store: engine.store.clone(),
            run_id: run.id,
            job_id: run.job_id,
            job_name: run.job_name.clone(),
            device: engine.device.clone(),
            started_at: run.started_at,
            destination: Some(0),
        };
        let clock = Arc::clone(&engine.clock);
        let recorder = Recorder::new(engine.store.clone(), clock, run.id, Arc::new(Silent));
        let lock = JobLock::take(&engine.locks(), lock_of(&run))?;
        engine.store.begin_run(&run, &[]).await?;
        Ok(Attempt {
            run,
            base,
            recorder,
            lock,
        })
    }
}

impl Trial<'_> {
    pub(super) async fn begin(&self) -> Result<Attempt> {
        Attempt::begin(self.engine).await
    }

    /// What a plugin may do that only looks, as in a run that verifies.
    pub(super) fn looking(&self) -> Scope {
        self.scope(&self.looks, Context::default())
    }

    /// What a run has made counts, or is undone. Each entry is undone twice: after a crash it may be.
    pub(super) async fn end(&self, mut attempt: Attempt, is_whole: bool) -> Result<()> {
        let engine = self.engine;
        let entries = engine.store.entries(attempt.base.run_id).await?;
        let committed = Committed {
            whole: is_whole,
            destinations: if is_whole { vec![0] } else { Vec::new() },
        };
        let recorder = &attempt.recorder;
        let not_undone = engine.settle_journal(&attempt.base, &committed, recorder).await?;
        if let Some(warning) = not_undone.first() {
            return Err(wrong(&warning.message));
        }
        let of_plugin = |entry: &&Entry| matches!(entry.owner, Owner::Plugin { .. });
        let undone = entries.iter().filter(|entry| entry.when.applies(is_whole));
        for entry in undone.filter(of_plugin) {
            let scope = self.scope(&attempt, Context::default());
            let again = self.plugin.undo_destination(&scope, &entry.entry).await;
            again.map_err(|e| wrong("what was undone can't be undone again").because(e))?;
        }
        attempt.run.status = if is_whole {
            RunStatus::Succeeded
        } else {
            RunStatus::Failed
        };
        attempt.run.finished_at = Some(engine.clock.now());
        let events = attempt.recorder.last_events(attempt.run.status, String::new());
        engine.store.finish_run(&attempt.run, &events).await?;
        attempt.lock.take().map_or(Ok(()), JobLock::remove)
    }

    pub(super) fn scope(&self, attempt: &Attempt, context: Context) -> Scope {
        let listener = attempt.recorder.listener(&self.plugin.manifest().id);
        let run = Some(attempt.base.clone());
        self.engine.scope(self.config.clone(), run, context, listener)
    }

    /// Stores something under a name `BACKUP/ARTIFACT`, which the host makes unique.
    pub(super) async fn store(
        &self,
        attempt: &Attempt,
        name: &str,
        content: Content,
        context: Context,
    ) -> Result<StoredObject> {
        let scope = self.scope(attempt, context);
        let request = StoreRequest {
            name: format!("{JOB}/{}-{name}", self.id),
            media_type: "application/octet-stream".to_owned(),
            content,
        };
        self.plugin.store(&scope, request).await
    }

    /// Stores a stream in a run that ends well, and looks at it.
    pub(super) async fn keep(&self, name: &str, recipe: Arc<dyn Recipe>) -> Result<Kept> {
        let attempt = self.begin().await?;
        let (cancel, _link) = self.context.cancel.link();
        let context = Context {
            cancel,
            ..Context::default()
        };
        let stored = match self.store(&attempt, name, Content::Stream(recipe), context).await {
            Ok(stored) => stored,
            Err(error) => {
                self.end(attempt, false).await?;
                return Err(error);
            }
        };
        self.end(attempt, true).await?;
        let Moved::Stream { transfer, .. } = stored.moved else {
            return Err(wrong("a stream was stored as a tree"));
        };
        let facts = self.facts(&stored.receipt).await?;
        if facts != Some(transfer.stored.bytes) {
            let says = facts.map_or("that it is not there".to_owned(), |bytes| {
                format!("{bytes} bytes")
            });
            let sent = transfer.stored.bytes;
            return Err(wrong(format!(
                "{sent} bytes were stored, and `check` says {says}"
            )));
        }
        Ok(Kept {
            expected: Expected {
                object: stored.location,
                stored: transfer.stored,
                raw: transfer.raw,
                compression: None,
                encrypted: false,
            },
            receipt: stored.receipt,
        })
    }

    /// What `check` says of a receipt: how many bytes, if it is there.
    pub(super) async fn facts(&self, receipt: &str) -> Result<Option<u64>> {
        let scope = self.looking();
        let facts = self.plugin.check(&scope, receipt).await?;
        Ok(facts.found.then_some(facts.size_bytes))
    }

    /// Fails unless a stream that was stored is there as it was.
    pub(super) async fn expect_whole(&self, kept: &Kept) -> Result<()> {
        let scope = self.looking();
        let fetched = self.plugin.fetch(&scope, &kept.receipt).await?;
        let stored = as_stream(fetched, &kept.expected.object)?;
        let (expected, context) = (kept.expected.clone(), Context::default());
        blocking(move || check_stored(stored, &expected, &context)).await
    }

    /// Removes what was stored.
    pub(super) async fn remove(&self, receipts: &[&str]) -> Result<()> {
        let attempt = self.begin().await?;
        let scope = self.scope(&attempt, Context::default());
        let receipts: Vec<String> = receipts.iter().map(|&receipt| receipt.to_owned()).collect();
        let removed = self.plugin.remove(&scope, &receipts).await;
        self.end(attempt, removed.is_ok()).await?;
        removed
    }

    /// Fails unless something has failed with this class and text.
    pub(super) fn expect_failure<T>(&self, done: Result<T>, code: Code, says: &str) -> Result<()> {
        match done {
            Ok(_) => Err(wrong("it was stored, and should have failed")),
            Err(error) if error.code() == code && error.report().contains(says) => Ok(()),
            Err(error) => Err(wrong(format!("it failed for another reason than `{says}`")).because(error)),
        }
    }
}

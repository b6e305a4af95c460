//! Deletes one backup as a whole, so that no crash leaves half of one that is taken for a whole one.
//!
//! In this order, each step durable before the next: the destination is asked for the manifest (one that can't answer
//! loses nothing); the catalogue says that the backup is being deleted (it is in no list from here on); its manifest
//! goes (nobody who rebuilds a catalogue finds the rest); its data goes; its row goes. After a crash the next start
//! does from the manifest on whatever is left of this.

use std::sync::Arc;

use backstay_model::event::Level;
use backstay_model::run::Warning;
use backstay_model::{Code, Error, Result};
use backstay_plugin::RunScope;
use backstay_store::Backup;
use backstay_stream::Context;
use uuid::Uuid;

use crate::Engine;
use crate::chain::Link;
use crate::lock::JobLock;
use crate::recorder::{Observer, Recorder};
use crate::recover::{Recovered, lock_of};

/// What to do about a backup that isn't where it was stored.
const FORGET: &str = "is another disk mounted? if it was deleted by hand, `backstay prune JOB --forget-missing` takes it out of the catalogue";

/// Why a backup is still there, wholly or in part.
#[derive(Debug)]
pub(super) enum NotDeleted {
    /// The destination can't be reached. Nothing was done.
    Away(Error),
    /// It could not be removed.
    Refused(Error),
    /// Somebody reads backups of the job. Nothing was done.
    InUse(String),
    /// The database failed.
    Database(Error),
}

impl Engine {
    /// Proves that a backup is where the catalogue says.
    pub(super) async fn is_there(&self, id: Uuid, base: &RunScope, recorder: &Recorder) -> Result<()> {
        let backup = &self.store.backup(id).await?;
        let link = self
            .link(backup.clone(), base, &Context::default(), recorder)
            .await?;
        let facts = link.plugin.check(&link.scope, &backup.receipt).await;
        let facts = facts.map_err(|error| away(backup, error))?;
        if facts.found {
            return Ok(());
        }
        Err(Error::new(
            Code::Storage,
            format!(
                "nothing was deleted: {}, the newest backup to keep, is not there",
                backup.location
            ),
        )
        .hint("is another disk mounted, or was it moved or deleted by hand? a new run makes a new one"))
    }

    /// Deletes a backup at its destination and from the catalogue. Once begun it is not cancelled. One that isn't at
    /// its destination stays in the catalogue, unless somebody says that it may be forgotten.
    pub(super) async fn delete(
        &self,
        id: Uuid,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
        forget_missing: bool,
    ) -> Result<(), NotDeleted> {
        let backup = &self.store.backup(id).await.map_err(NotDeleted::Database)?;
        let own = Context::default();
        let link = self.link(backup.clone(), base, &own, recorder).await;
        let link = link.map_err(|error| NotDeleted::Away(away(backup, error)))?;
        match link.plugin.check(&link.scope, &backup.receipt).await {
            Err(error) => return Err(NotDeleted::Away(away(backup, error))),
            Ok(facts) if !facts.found && !forget_missing => {
                let error = Error::new(Code::Storage, format!("{} is not there", backup.location));
                return Err(NotDeleted::Refused(error.hint(FORGET)));
            }
            Ok(_) => {}
        }
        let dependent = self.store.begin_removal(id, base.run_id).await;
        if let Some(other) = dependent.map_err(NotDeleted::Database)? {
            let message = format!("backup {id} stays, because {other} builds on it");
            return Err(NotDeleted::Refused(Error::new(Code::Storage, message).hint(
                "it goes when nothing builds on it any more; `backstay backups` lists what does",
            )));
        }
        let used = self.in_use(base.job_id, &base.job_name).await;
        if let Some(by) = used.map_err(NotDeleted::Database)? {
            self.store.keep_backup(id).await.map_err(NotDeleted::Database)?;
            return Err(NotDeleted::InUse(by));
        }
        let result = self.finish_removal(&link).await;
        let (warnings, more) = own.notes.take();
        context.notes.add(warnings, more);
        let Err(error) = result else { return Ok(()) };
        // While its manifest is there, so is all of it.
        let facts = link.plugin.check(&link.scope, &backup.receipt).await;
        let said = if facts.is_ok_and(|facts| facts.found) {
            self.store.keep_backup(id).await.map_err(NotDeleted::Database)?;
            "could not be deleted; it is still whole"
        } else {
            "could not be deleted wholly; the next start goes on"
        };
        let named = Error::new(error.code(), format!("backup {id} {said}"));
        Err(NotDeleted::Refused(match error.hint_text() {
            Some(hint) => named.hint(hint).because(error),
            None => named.because(error),
        }))
    }

    /// From the manifest on. What is gone already is no failure.
    async fn finish_removal(&self, link: &Link) -> Result<()> {
        let backup = &link.backup;
        link.plugin
            .remove(&link.scope, std::slice::from_ref(&backup.receipt))
            .await?;
        let artifacts = &backup.manifest.artifacts;
        let indexes = artifacts.iter().filter_map(|a| a.index.as_ref());
        let receipts: Vec<String> = artifacts
            .iter()
            .map(|a| a.receipt.clone())
            .chain(indexes.map(|i| i.receipt.clone()))
            .collect();
        link.plugin.remove(&link.scope, &receipts).await?;
        self.store.remove_backup(backup.manifest.id).await?;
        Ok(())
    }

    /// Finishes what a run began to delete whose process is gone, or whose destination was away.
    pub(crate) async fn finish_removals(
        &self,
        observer: &Arc<dyn Observer>,
        recovered: &mut Recovered,
    ) -> Result<()> {
        for (backup, run_id) in self.store.removals().await? {
            let run = self.store.run(run_id).await?;
            let Some(_lock) = JobLock::take(&self.locks(), lock_of(&run))? else {
                continue;
            };
            // Whoever had the lock may have finished it, or decided otherwise.
            let still = self.store.removals().await?;
            if !still
                .iter()
                .any(|(b, by)| b.manifest.id == backup.manifest.id && *by == run_id)
            {
                continue;
            }
            let recorder = Recorder::new(
                self.store.clone(),
                Arc::clone(&self.clock),
                run.id,
                Arc::clone(observer),
            );
            let base = self.scope_of(&run);
            let id = backup.manifest.id;
            let finished = match self.link(backup, &base, &Context::default(), &recorder).await {
                Ok(link) => self.finish_removal(&link).await,
                Err(error) => Err(error),
            };
            match finished {
                Ok(()) => recorder.say(
                    Level::Info,
                    "host",
                    format!("finished deleting backup {id}, after an interruption"),
                ),
                Err(error) => {
                    let message = format!(
                        "backup {id} is only partly deleted, which is tried again at the next start: {}",
                        error.report()
                    );
                    recorder.say(Level::Warn, "host", message.clone());
                    recovered.warnings.push(Warning {
                        code: "not-deleted".to_owned(),
                        message,
                        path: None,
                    });
                }
            }
            recorder.flush().await?;
        }
        Ok(())
    }
}

fn away(backup: &Backup, error: Error) -> Error {
    let named = Error::new(
        error.code(),
        format!(
            "nothing was deleted: the destination {} can't be used",
            backup.manifest.destination.plugin
        ),
    );
    match error.hint_text() {
        Some(hint) => named.hint(hint).because(error),
        None => named.because(error),
    }
}

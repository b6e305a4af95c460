//! The backup at one destination: its artifacts, the guards, its manifest, its row in the catalogue. In this order.

use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::guards::Refusal;
use backstay_model::job::{DestinationSpec, Job};
use backstay_model::manifest::{
    JobRef, MANIFEST_NAME, MANIFEST_VERSION, Manifest, PluginUse, Stage, StoredArtifact,
};
use backstay_model::run::Warning;
use backstay_model::{Error, Result};
use backstay_plugin::{Content, Plugin, RunScope};
use backstay_store::{Backup, BackupFilter};
use backstay_stream::recipe::TextRecipe;
use jiff::Timestamp;
use uuid::Uuid;

use crate::Engine;
use crate::lanes::Lane;

/// One destination of one run.
pub(crate) struct Goal<'a> {
    pub(crate) job: &'a Job,
    pub(crate) index: usize,
    pub(crate) spec: &'a DestinationSpec,
    pub(crate) source: &'a Plugin,
    pub(crate) plugin: &'a Plugin,
    pub(crate) base: &'a RunScope,
    pub(crate) opened_at: Timestamp,
    pub(crate) accept_shrink: bool,
}

/// What a manifest tells of its run.
pub(crate) struct Told {
    pub(crate) warnings: Vec<Warning>,
    pub(crate) more_warnings: u64,
    pub(crate) stages: Vec<Stage>,
}

impl Engine {
    /// Stores the manifest of what is at a destination, and puts the backup into the catalogue.
    pub(crate) async fn seal(
        &self,
        lane: &Lane<'_>,
        stored: Vec<StoredArtifact>,
        told: Told,
    ) -> Result<Backup> {
        let goal = &lane.goal;
        let (job, index) = (goal.job, goal.index);
        if index == 0 {
            self.judge(job, &stored, goal.accept_shrink).await?;
        }
        let mut manifest = self.manifest(goal, lane.id, stored, told)?;
        let text = manifest.seal()?;
        let mut way = lane.way.clone();
        way.scope.filters = Filters::default();
        let object = format!("{}/{MANIFEST_NAME}", way.prefix);
        let content = Content::Stream(Arc::new(TextRecipe::new(text.into_bytes())));
        let put = self.put(&way, &object, "application/json", content).await?;
        way.scope.context.cancel.check()?;
        let backup = Backup {
            run_id: goal.base.run_id,
            created_at: manifest.created_at,
            manifest,
            destination_index: index,
            receipt: put.receipt,
            location: put.location,
            critical: index == 0,
            verified_at: None,
            verified_level: None,
            verified_ok: None,
        };
        self.store.commit_backup(&backup, &[]).await?;
        if backup.critical && goal.accept_shrink {
            self.store.freeze_retention(job.id, None).await?;
        }
        Ok(backup)
    }

    /// Refuses what is too small to be believed, before it counts as a backup.
    async fn judge(&self, job: &Job, stored: &[StoredArtifact], accept_shrink: bool) -> Result<()> {
        let bytes = stored.iter().map(StoredArtifact::source_bytes).sum();
        let is_increment = |artifacts: &[StoredArtifact]| artifacts.iter().any(|a| a.base.is_some());
        let last = if is_increment(stored) {
            None
        } else {
            let filter = BackupFilter {
                job: Some(job.id),
                ..BackupFilter::default()
            };
            let backups = self.store.backups(filter).await?;
            backups
                .into_iter()
                .find(|b| b.critical && b.verified_ok != Some(false) && !is_increment(&b.manifest.artifacts))
        };
        match job
            .spec
            .guards
            .judge(bytes, last.map(|b| b.manifest.source_bytes()))
        {
            Ok(()) => Ok(()),
            Err(Refusal::Shrunk { .. }) if accept_shrink => Ok(()),
            Err(refusal) => {
                let shrunk = matches!(refusal, Refusal::Shrunk { .. });
                let error = Error::from(refusal);
                if shrunk {
                    self.store.freeze_retention(job.id, Some(&error.report())).await?;
                }
                Err(error)
            }
        }
    }

    fn manifest(
        &self,
        goal: &Goal<'_>,
        id: Uuid,
        artifacts: Vec<StoredArtifact>,
        told: Told,
    ) -> Result<Manifest> {
        let bases: Vec<Uuid> = artifacts.iter().filter_map(|a| a.base).collect();
        let depends_on = bases.first().copied();
        if bases.iter().any(|b| Some(*b) != depends_on) {
            return Err(Error::internal(
                "artifacts of one backup build on different backups",
            ));
        }
        Ok(Manifest {
            manifest_version: MANIFEST_VERSION,
            id,
            instance_id: self.store.instance_id(),
            device: self.device.clone(),
            job: JobRef {
                id: goal.job.id,
                name: goal.job.spec.name.clone(),
            },
            run_id: goal.base.run_id,
            destination_index: goal.index,
            created_at: goal.opened_at,
            finished_at: self.clock.now(),
            host_version: self.version.to_owned(),
            source: plugin_use(goal.source, &goal.job.spec.source.config),
            destination: plugin_use(goal.plugin, &goal.spec.config),
            filters: goal.job.spec.filters.clone(),
            artifacts,
            depends_on,
            warnings: told.warnings,
            more_warnings: told.more_warnings,
            stages: told.stages,
            checksum: String::new(),
        })
    }
}

fn plugin_use(plugin: &Plugin, config: &serde_json::Map<String, serde_json::Value>) -> PluginUse {
    PluginUse {
        plugin: plugin.manifest().id.clone(),
        version: plugin.manifest().version.clone(),
        digest: plugin.digest().to_owned(),
        config: config.clone(),
    }
}

/// Says which of several artifacts it was that failed.
pub(crate) fn name_artifact(error: Error, name: &str, count: usize) -> Error {
    if count < 2 {
        return error;
    }
    let named = Error::new(error.code(), format!("the artifact {name}"));
    let named = match error.hint_text() {
        Some(hint) => named.hint(hint),
        None => named,
    };
    let named = if error.is_retryable() {
        named.retryable()
    } else {
        named
    };
    named.because(error)
}

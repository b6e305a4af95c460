//! The backup at one destination: its artifacts, the guards, its manifest, its row in the catalogue. In this order.

use std::sync::Arc;

use backstay_model::event::Level;
use backstay_model::guards::Refusal;
use backstay_model::job::{DestinationSpec, Job};
use backstay_model::manifest::{
    JobRef, MANIFEST_NAME, MANIFEST_VERSION, Manifest, PluginUse, StoredArtifact,
};
use backstay_model::run::Warning;
use backstay_model::{Error, Result};
use backstay_plugin::{Content, Offered, Plugin, RunScope};
use backstay_store::{Backup, BackupFilter};
use backstay_stream::recipe::TextRecipe;
use jiff::Timestamp;
use uuid::Uuid;

use crate::Engine;
use crate::backup::{BackupOptions, Gathered};
use crate::copy::Way;
use crate::recorder::Recorder;

/// One destination of one run.
pub(crate) struct Goal<'a> {
    pub(crate) job: &'a Job,
    pub(crate) index: usize,
    pub(crate) spec: &'a DestinationSpec,
    pub(crate) source: &'a Plugin,
    pub(crate) plugin: &'a Plugin,
    pub(crate) base: &'a RunScope,
    pub(crate) opened_at: Timestamp,
    /// Nothing more is read from the source after it.
    pub(crate) is_last: bool,
}

impl Engine {
    /// Stores all artifacts and their manifest at one destination, and puts the backup into the catalogue.
    pub(crate) async fn store_at(
        &self,
        goal: &Goal<'_>,
        artifacts: &[Offered],
        options: &BackupOptions,
        recorder: &Recorder,
        gathered: &mut Gathered,
    ) -> Result<Backup> {
        let Goal {
            job,
            index,
            spec,
            plugin,
            ..
        } = goal;
        let id = Uuid::now_v7();
        let run = RunScope {
            destination: Some(*index),
            ..goal.base.clone()
        };
        let mut scope = self.scope(
            spec.config.clone(),
            Some(run),
            options.context.clone(),
            recorder.listener(&spec.plugin),
        );
        scope.filters = job.spec.filters.clone();
        let prefix = format!("{}/{id}", job.spec.name);
        let mut way = Way {
            plugin,
            scope,
            prefix,
            retries: &job.spec.retries,
            recorder,
        };
        let started = self.clock.now();
        let mut stored = Vec::new();
        for artifact in artifacts {
            let base = match artifact.base {
                Some(base) => Some(self.base_at(base, *index).await?),
                None => None,
            };
            let artifact = Offered {
                base,
                ..artifact.clone()
            };
            let copied = self.copy(&way, &artifact).await;
            stored.push(copied.map_err(|error| name_artifact(error, &artifact.name, artifacts.len()))?);
        }
        let stage = self.stage(&format!("store at {}", spec.plugin), started);
        gathered.stages.push(stage.clone());
        let released = if goal.is_last {
            let started = self.clock.now();
            let warnings = self.release_source(goal.base, recorder).await?;
            gathered.stages.push(self.stage("release", started));
            warnings
        } else {
            Vec::new()
        };
        let (mut warnings, more_warnings) = options.context.notes.take();
        for warning in &warnings {
            recorder.say(Level::Warn, "host", warning.message.clone());
        }
        warnings.extend(released);
        gathered.warnings.extend(warnings.iter().cloned());
        if *index == 0 {
            self.judge(job, &stored, options.accept_shrink).await?;
        }
        let mut manifest = self.manifest(goal, id, stored, warnings, more_warnings)?;
        manifest.stages = gathered.stages.clone();
        let text = manifest.seal()?;
        way.scope.filters = backstay_model::filters::Filters::default();
        let object = format!("{}/{MANIFEST_NAME}", way.prefix);
        let content = Content::Stream(Arc::new(TextRecipe::new(text.into_bytes())));
        let put = self.put(&way, &object, "application/json", content).await?;
        options.context.cancel.check()?;
        let backup = Backup {
            run_id: goal.base.run_id,
            created_at: manifest.created_at,
            manifest,
            destination_index: *index,
            receipt: put.receipt,
            location: put.location,
            critical: *index == 0,
            verified_at: None,
            verified_level: None,
            verified_ok: None,
        };
        self.store.commit_backup(&backup, &[]).await?;
        if backup.critical && options.accept_shrink {
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
        warnings: Vec<Warning>,
        more_warnings: u64,
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
            warnings,
            more_warnings,
            stages: Vec::new(),
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
fn name_artifact(error: Error, name: &str, count: usize) -> Error {
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

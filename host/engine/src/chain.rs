//! The backups that must be restored before one, and what of them is really at their destination.

use std::collections::HashMap;
use std::sync::Arc;

use backstay_model::manifest::{Form, Manifest, StoredArtifact};
use backstay_model::plugin::PluginKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Offered, Plugin, Previous, RunScope, Scope};
use backstay_store::Backup;
use backstay_stream::Context;
use backstay_stream::Recipe;
use backstay_stream::codec::{DecodedRecipe, Expected, Identities, check_stored};
use backstay_stream::read::read;
use backstay_stream::tree::MendedRecipe;
use uuid::Uuid;

use crate::Engine;
use crate::copy::as_stream;
use crate::recorder::Recorder;
use crate::verify::blocking;

/// Longest chain that is followed: one increment an hour for more than a year.
const LONGEST: usize = 10_000;

/// Largest manifest that is read, in bytes.
const MANIFEST_BYTES: usize = 64 << 20;

/// A backup, with the plugin that holds it.
pub(crate) struct Link {
    pub(crate) backup: Backup,
    pub(crate) plugin: Plugin,
    pub(crate) scope: Scope,
}

impl Engine {
    /// A backup and all that it depends on, the first to restore first.
    pub(crate) async fn chain(&self, backup: &Backup) -> Result<Vec<Backup>> {
        let mut chain = vec![backup.clone()];
        while let Some(base) = chain.last().and_then(|b| b.manifest.depends_on) {
            if chain.len() >= LONGEST || chain.iter().any(|b| b.manifest.id == base) {
                return Err(Error::new(
                    Code::Verification,
                    format!("the backups that {} depends on form no chain", backup.manifest.id),
                ));
            }
            let last = chain.last().map(|b| b.manifest.id);
            let base = self.store.backup(base).await.map_err(|e| {
                if e.code() != Code::Configuration {
                    return e;
                }
                Error::new(
                    Code::Verification,
                    format!(
                        "backup {} builds on {base}, which is not in the catalogue",
                        last.unwrap_or_default()
                    ),
                )
                .because(e)
                .hint("without it this one can't be restored: use an older backup")
            })?;
            chain.push(base);
        }
        chain.reverse();
        Ok(chain)
    }

    /// Those backups that are known to be damaged, or build on one that is, or on one that isn't in the
    /// catalogue. Each link is looked at once, however many chains share it.
    pub(crate) async fn with_broken_chains(&self, backups: &[Backup]) -> Result<Vec<Uuid>> {
        let mut judged: HashMap<Uuid, bool> = HashMap::new();
        let mut broken = Vec::new();
        for backup in backups {
            let mut walked = Vec::new();
            let mut next: Result<Backup> = Ok(backup.clone());
            let whole = loop {
                let link = match next {
                    Ok(link) => link,
                    Err(error) if error.code() == Code::Configuration => break false,
                    Err(error) => return Err(error),
                };
                if let Some(whole) = judged.get(&link.manifest.id) {
                    break *whole;
                }
                // A forged manifest may build on what builds on it.
                let is_circle = walked.contains(&link.manifest.id);
                walked.push(link.manifest.id);
                if link.verified_ok == Some(false) || is_circle || walked.len() > LONGEST {
                    break false;
                }
                let Some(base) = link.manifest.depends_on else {
                    break true;
                };
                next = self.store.backup(base).await;
            };
            judged.extend(walked.into_iter().map(|id| (id, whole)));
            if !whole {
                broken.push(backup.manifest.id);
            }
        }
        Ok(broken)
    }

    /// What a run left at one destination, by what it left at the critical one: each destination has a chain
    /// of its own, so that losing one of them costs nothing at the other.
    pub(crate) async fn base_at(&self, critical: Uuid, destination_index: usize) -> Result<Uuid> {
        let run = self.store.backup(critical).await?.run_id;
        let backups = self.store.backups_of_run(run).await?;
        let here = backups.iter().find(|b| b.destination_index == destination_index);
        here.map(|b| b.manifest.id)
            .ok_or_else(|| Error::internal("the base of an increment is not at every destination"))
    }

    /// Opens the destination of a backup with the configuration that it was made with.
    pub(crate) async fn link(
        &self,
        backup: Backup,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
    ) -> Result<Link> {
        let used = &backup.manifest.destination;
        let plugin = self.plugins.get(&used.plugin, PluginKind::Destination).await?;
        let run = RunScope {
            destination: Some(backup.destination_index),
            ..base.clone()
        };
        let scope = self.scope(
            used.config.clone(),
            Some(run),
            context.clone(),
            recorder.listener(&used.plugin),
        );
        Ok(Link {
            plugin,
            scope,
            backup,
        })
    }
}

impl Link {
    /// Reads the manifest at the destination and proves that it is the one in the catalogue.
    pub(crate) async fn check_manifest(&self) -> Result<()> {
        let place = &self.backup.location;
        let fetched = self
            .plugin
            .fetch(&self.scope, &self.backup.receipt)
            .await
            .and_then(|c| as_stream(c, place));
        let recipe = fetched
            .map_err(|e| Error::new(e.code(), format!("the manifest {place} can't be read")).because(e))?;
        let context = self.scope.context.clone();
        let bytes = blocking(move || read_whole(recipe, MANIFEST_BYTES, &context)).await?;
        let text = String::from_utf8(bytes).map_err(|e| {
            Error::new(Code::Verification, format!("the manifest {place} is not text")).because(e)
        })?;
        let other = || {
            Error::new(
                Code::Verification,
                format!("the manifest {place} is not the one in the catalogue"),
            )
            .hint("somebody put another backup's manifest there")
        };
        match Manifest::unseal(&text, place) {
            Ok(manifest) if manifest.checksum == self.backup.manifest.checksum => Ok(()),
            Ok(_) => Err(other()),
            // The one in the catalogue is of a version that this host knows.
            Err(error) if error.code() == Code::Configuration => Err(other().because(error)),
            Err(error) => Err(error),
        }
    }

    /// The stored bytes of a stream.
    pub(crate) async fn stored(&self, artifact: &StoredArtifact) -> Result<Arc<dyn Recipe>> {
        as_stream(
            self.plugin.fetch(&self.scope, &artifact.receipt).await?,
            &artifact.location,
        )
    }

    /// A tree that is stored as files: its directory, or a tar stream that proves itself by the index while it is read, with
    /// these paths of it at least; no paths at all are everything.
    pub(crate) async fn stored_tree(&self, artifact: &StoredArtifact, paths: &[String]) -> Result<Content> {
        let tar = match self.plugin.fetch(&self.scope, &artifact.receipt).await? {
            Content::Tree(spec) => return Ok(Content::Tree(spec)),
            Content::Stream(tar) => tar,
        };
        let index = self.stored_index(artifact, &self.scope.context).await?;
        let mended = MendedRecipe::of_paths(index, tar, &artifact.location, paths);
        Ok(Content::Stream(Arc::new(mended)))
    }

    /// The stored index of such a tree, proved to be the one that was stored.
    pub(crate) async fn stored_index(
        &self,
        artifact: &StoredArtifact,
        context: &Context,
    ) -> Result<Arc<dyn Recipe>> {
        let index = artifact
            .index
            .as_ref()
            .ok_or_else(|| Error::new(Code::Verification, format!("{} has no index", artifact.object)))?;
        let location = artifact.index_location().unwrap_or_default();
        let stored = as_stream(self.plugin.fetch(&self.scope, &index.receipt).await?, &location)?;
        let expected = Expected {
            object: location,
            stored: index.stored.clone(),
            raw: artifact.raw.clone(),
            compression: None,
            encrypted: false,
        };
        // A line that can't be read says less than a hash.
        let (proved, proving) = (Arc::clone(&stored), context.uncounted());
        let known = expected.clone();
        blocking(move || check_stored(proved, &known, &proving)).await?;
        Ok(Arc::new(DecodedRecipe::new(
            stored,
            expected,
            Identities::default(),
        )?))
    }

    /// The damage of a stored stream, if it is why its content could not be used; otherwise the failure as it is.
    pub(crate) async fn damage_behind(
        &self,
        artifact: &StoredArtifact,
        error: Error,
        context: &Context,
    ) -> Error {
        let may_be = !matches!(
            error.code(),
            Code::Cancelled
                | Code::Configuration
                | Code::DiskSpace
                | Code::Permission
                | Code::Security
                | Code::Verification
        );
        if !may_be || artifact.form == Form::Tree {
            return error;
        }
        let Ok(stored) = self.stored(artifact).await else {
            return error;
        };
        let expected = Expected {
            object: artifact.location.clone(),
            ..Expected::from(artifact)
        };
        let context = context.uncounted();
        match blocking(move || check_stored(stored, &expected, &context)).await {
            Err(damage) if damage.code() == Code::Verification => damage.because(error),
            _ => error,
        }
    }

    /// An artifact as its source gave it; a stream proves itself while it is read, a directory doesn't.
    pub(crate) async fn content(
        &self,
        artifact: &StoredArtifact,
        identities: &Identities,
    ) -> Result<Content> {
        self.content_of(artifact, &[], identities).await
    }

    /// The same with these paths of a tree at least; no paths at all are everything.
    pub(crate) async fn content_of(
        &self,
        artifact: &StoredArtifact,
        paths: &[String],
        identities: &Identities,
    ) -> Result<Content> {
        if artifact.form == Form::Tree {
            return self.stored_tree(artifact, paths).await;
        }
        let stored = self.stored(artifact).await?;
        let expected = Expected {
            object: artifact.location.clone(),
            ..Expected::from(artifact)
        };
        Ok(Content::Stream(Arc::new(DecodedRecipe::new(
            stored,
            expected,
            identities.clone(),
        )?)))
    }
}

/// An increment to anything else could never be restored.
pub(crate) fn refuse_unknown_bases(
    plugin: &str,
    artifacts: Vec<Offered>,
    previous: &[Previous],
) -> Result<Vec<Offered>> {
    let known = |base: &Uuid| previous.iter().any(|p| p.backup_id == *base);
    match artifacts
        .iter()
        .find(|a| a.base.is_some_and(|base| !known(&base)))
    {
        None => Ok(artifacts),
        Some(artifact) => Err(Error::new(
            Code::Internal,
            format!(
                "plugin {plugin} offered `{}` as an increment to a backup that it was not told of",
                artifact.name
            ),
        )
        .hint("this is a defect of the plugin; nothing was stored")),
    }
}

/// All of a manifest, if it is no longer than `most` bytes.
pub(crate) fn read_whole(recipe: Arc<dyn Recipe>, most: usize, context: &Context) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut reading = read(recipe, context)?;
    let mut bytes = Vec::new();
    let read = (&mut reading).take(most as u64 + 1).read_to_end(&mut bytes);
    if let Err(e) = read {
        return Err(reading.fail(Error::new(Code::Storage, "cannot read a manifest").because(e)));
    }
    if bytes.len() > most {
        let message = format!("a manifest is larger than {} MiB", most >> 20);
        return Err(reading.fail(Error::new(Code::Verification, message)));
    }
    reading.finish()?;
    Ok(bytes)
}

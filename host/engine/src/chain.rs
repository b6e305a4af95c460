//! The backups that must be restored before one, and what of them is really at their destination.

use std::sync::Arc;

use backstay_model::manifest::{Form, Manifest, StoredArtifact};
use backstay_model::plugin::PluginKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Plugin, RunScope, Scope};
use backstay_store::Backup;
use backstay_stream::Context;
use backstay_stream::Recipe;
use backstay_stream::codec::{DecodedRecipe, Expected, Identities};
use backstay_stream::read::read;
use backstay_stream::tree::TreeSpec;

use crate::Engine;
use crate::copy::{as_stream, as_tree};
use crate::recorder::Recorder;

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
        let text = tokio::task::spawn_blocking(move || read_whole(recipe, &context))
            .await
            .map_err(|e| Error::internal("a worker thread panicked").because(e))??;
        let manifest = Manifest::unseal(&text, place)?;
        if manifest.checksum != self.backup.manifest.checksum {
            return Err(Error::new(
                Code::Verification,
                format!("the manifest {place} is not the one in the catalogue"),
            )
            .hint("somebody put another backup's manifest there"));
        }
        Ok(())
    }

    /// The stored bytes of a stream.
    pub(crate) async fn stored(&self, artifact: &StoredArtifact) -> Result<Arc<dyn Recipe>> {
        as_stream(
            self.plugin.fetch(&self.scope, &artifact.receipt).await?,
            &artifact.location,
        )
    }

    /// The directory of a tree that is stored as files.
    pub(crate) async fn stored_tree(&self, artifact: &StoredArtifact) -> Result<Arc<TreeSpec>> {
        as_tree(
            self.plugin.fetch(&self.scope, &artifact.receipt).await?,
            &artifact.location,
        )
    }

    /// The stored index of such a tree, as bytes that prove themselves.
    pub(crate) async fn stored_index(&self, artifact: &StoredArtifact) -> Result<Arc<dyn Recipe>> {
        let index = artifact
            .index
            .as_ref()
            .ok_or_else(|| Error::new(Code::Verification, format!("{} has no index", artifact.object)))?;
        let stored = as_stream(
            self.plugin.fetch(&self.scope, &index.receipt).await?,
            &index.object,
        )?;
        let expected = Expected {
            object: index.object.clone(),
            stored: index.stored.clone(),
            raw: artifact.raw.clone(),
            compression: None,
            encrypted: false,
        };
        Ok(Arc::new(DecodedRecipe::new(
            stored,
            expected,
            Identities::default(),
        )?))
    }

    /// An artifact as its source gave it; a stream proves itself while it is read.
    pub(crate) async fn content(
        &self,
        artifact: &StoredArtifact,
        identities: &Identities,
    ) -> Result<Content> {
        if artifact.form == Form::Tree {
            return Ok(Content::Tree(self.stored_tree(artifact).await?));
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

fn read_whole(recipe: Arc<dyn Recipe>, context: &Context) -> Result<String> {
    use std::io::Read as _;
    let mut reading = read(recipe, context)?;
    let mut bytes = Vec::new();
    let read = (&mut reading)
        .take(MANIFEST_BYTES as u64 + 1)
        .read_to_end(&mut bytes);
    if let Err(e) = read {
        return Err(reading.fail(Error::new(Code::Storage, "cannot read a manifest").because(e)));
    }
    if bytes.len() > MANIFEST_BYTES {
        return Err(reading.fail(Error::new(Code::Verification, "a manifest is larger than 64 MiB")));
    }
    reading.finish()?;
    String::from_utf8(bytes).map_err(|e| Error::new(Code::Verification, "a manifest is not text").because(e))
}

//! Gives data back: whole or single paths, to the original place, another, or standard output.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use backstay_model::event::Level;
use backstay_model::job::Timeouts;
use backstay_model::manifest::{Form, StoredArtifact};
use backstay_model::plugin::PluginKind;
use backstay_model::run::{RunKind, RunStatus};
use backstay_model::span::Span;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Offered, Restored, RunScope, Target};
use backstay_store::Backup;
use backstay_stream::codec::Identities;
use backstay_stream::read::read;
use backstay_stream::tree::{TarRecipe, TreeSpec};
use backstay_stream::{Context, Recipe};

use crate::Engine;
use crate::backup::Report;
use crate::chain::Link;
use crate::lock::JobLock;
use crate::recorder::{Observer, Recorder};
use crate::verify::{blocking, check_directory, walk_tar};
use crate::watch::watch;

/// What to restore, and where to.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Where to; nothing for the original place.
    pub place: Option<String>,
    /// Only these paths.
    pub paths: Vec<String>,
    /// Only this artifact.
    pub artifact: Option<String>,
    /// Write over what is there.
    pub overwrite: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Private keys.
    pub identities: Identities,
    /// Cancellation.
    pub context: Context,
}

impl Engine {
    /// Restores a backup, and before it those that it builds on. A failure is in the report.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn restore(
        &self,
        backup: &Backup,
        options: &RestoreOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        let started = Instant::now();
        let (mut run, base) = self.run_on(backup, RunKind::Restore);
        let recorder = Recorder::new(self.store.clone(), Arc::clone(&self.clock), run.id, observer);
        let lock = JobLock::take(&self.locks(), run.id)?;
        run.status = RunStatus::Transferring;
        self.store.begin_run(&run, &[]).await?;
        let watch = watch(recorder.clone(), options.context.clone(), Timeouts::default());
        let result = self.restore_chain(backup, options, &base, &recorder).await;
        drop(watch);
        let run = self
            .end_other(&mut run, &base, &result, &recorder, &options.context, started)
            .await?;
        if let Some(lock) = lock {
            lock.remove()?;
        }
        Ok(Report {
            run,
            backups: vec![backup.clone()],
        })
    }

    async fn restore_chain(
        &self,
        backup: &Backup,
        options: &RestoreOptions,
        base: &RunScope,
        recorder: &Recorder,
    ) -> Result<u64> {
        // Retention may have begun to delete it before this run could be seen.
        self.store.backup(backup.manifest.id).await?;
        let chain = self.chain(backup).await?;
        if chain.len() > 1 {
            recorder.say(
                Level::Info,
                "host",
                format!("restoring a chain of {} backups", chain.len()),
            );
        }
        let mut bytes = 0;
        for (position, backup) in chain.into_iter().enumerate() {
            let link = self.link(backup, base, &options.context, recorder).await?;
            link.check_manifest().await?;
            let manifest = &link.backup.manifest;
            let chosen = chosen(&manifest.artifacts, options.artifact.as_deref())?;
            refuse_one_place_for_many(&chosen, options)?;
            for artifact in chosen {
                let content = link
                    .content_of(artifact, &options.paths, &options.identities)
                    .await?;
                match &content {
                    Content::Tree(spec) => {
                        check_directory(&link, artifact, Arc::clone(spec), &options.context).await?;
                    }
                    // It proves itself while it is read, which is too late for what it is written over.
                    Content::Stream(tar)
                        if artifact.form == Form::Tree && options.overwrite && !options.dry_run =>
                    {
                        walk_tar(Arc::clone(tar), &options.context).await?;
                    }
                    Content::Stream(_) => {}
                }
                let target = Target {
                    place: options.place.clone(),
                    paths: options.paths.clone(),
                    overwrite: options.overwrite,
                    dry_run: options.dry_run,
                    continues: position > 0,
                    drill: false,
                };
                let restored = self
                    .give_back(&link, artifact, content, &target, base, recorder)
                    .await?;
                let restored = measured(restored, artifact, options);
                bytes += restored.bytes;
                let verb = if options.dry_run {
                    "would restore"
                } else {
                    "restored"
                };
                let what = format!(
                    "{verb} {} to {}: {} entries, {} bytes",
                    artifact.name, restored.place, restored.entries, restored.bytes
                );
                recorder.say(Level::Info, "host", what);
            }
        }
        Ok(bytes)
    }

    /// Has the source of a backup take an artifact back.
    pub(crate) async fn give_back(
        &self,
        link: &Link,
        artifact: &StoredArtifact,
        content: Content,
        target: &Target,
        base: &RunScope,
        recorder: &Recorder,
    ) -> Result<Restored> {
        let used = &link.backup.manifest.source;
        let source = self.plugins.get(&used.plugin, PluginKind::Source).await?;
        let context = &link.scope.context;
        let mut scope = self.scope(
            used.config.clone(),
            Some(base.clone()),
            context.clone(),
            recorder.listener(&used.plugin),
        );
        scope.target.clone_from(&target.place);
        let offered = Offered {
            name: artifact.name.clone(),
            media_type: artifact.media_type.clone(),
            content,
            metadata: artifact.metadata.clone(),
            base: artifact.base,
        };
        match source.restore(&scope, offered, target).await {
            Ok(restored) => Ok(restored),
            Err(_) if context.cancel.is_cancelled() => Err(context.cancel.reason()),
            Err(error) => Err(link.damage_behind(artifact, error, context).await),
        }
    }

    /// Writes one artifact, as its source gave it, into `out`.
    ///
    /// # Errors
    /// It is damaged (what was written by then must not be used), there are several, or `out` can't take it.
    pub async fn restore_to(
        &self,
        backup: &Backup,
        options: &RestoreOptions,
        out: impl Write + Send + 'static,
    ) -> Result<u64> {
        if options.dry_run {
            return Err(Error::new(
                Code::Configuration,
                "a restore to standard output can't be tried without doing it",
            )
            .hint("name a directory in --to: nothing is written to it"));
        }
        if !options.paths.is_empty() {
            return Err(Error::new(
                Code::Configuration,
                "single paths can't be restored to standard output",
            )
            .hint("restore them to a directory, or pipe the whole into `tar -x PATH`"));
        }
        let started = Instant::now();
        let (mut run, base) = self.run_on(backup, RunKind::Restore);
        let recorder = Recorder::new(
            self.store.clone(),
            Arc::clone(&self.clock),
            run.id,
            Arc::new(crate::recorder::Silent),
        );
        // What a destination needs to give data back is in the journal, and so belongs to a run.
        let lock = JobLock::take(&self.locks(), run.id)?;
        run.status = RunStatus::Transferring;
        self.store.begin_run(&run, &[]).await?;
        // Whoever reads may take a break: that is no stall.
        let timeouts = Timeouts {
            stall: Span::seconds(0),
            ..Timeouts::default()
        };
        let watch = watch(recorder.clone(), options.context.clone(), timeouts);
        let written = self.write_to(backup, options, &base, &recorder, out).await;
        drop(watch);
        self.end_other(&mut run, &base, &written, &recorder, &options.context, started)
            .await?;
        if let Some(lock) = lock {
            lock.remove()?;
        }
        written
    }

    async fn write_to(
        &self,
        backup: &Backup,
        options: &RestoreOptions,
        base: &RunScope,
        recorder: &Recorder,
        mut out: impl Write + Send + 'static,
    ) -> Result<u64> {
        let link = self
            .link(backup.clone(), base, &options.context, recorder)
            .await?;
        link.check_manifest().await?;
        let chosen = chosen(&link.backup.manifest.artifacts, options.artifact.as_deref())?;
        let [artifact] = chosen.as_slice() else {
            let names: Vec<&str> = chosen.iter().map(|a| a.name.as_str()).collect();
            return Err(Error::new(
                Code::Configuration,
                "the backup has several artifacts, and standard output takes one",
            )
            .hint(format!("name one with --artifact: {}", names.join(", "))));
        };
        let recipe: Arc<dyn Recipe> = match link.content(artifact, &options.identities).await? {
            Content::Stream(recipe) => recipe,
            Content::Tree(spec) => {
                check_directory(&link, artifact, Arc::clone(&spec), &options.context).await?;
                Arc::new(TarRecipe::new(TreeSpec::clone(&spec)))
            }
        };
        let context = options.context.clone();
        blocking(move || {
            let mut reading = read(recipe, &context)?;
            let copied = std::io::copy(&mut reading, &mut out).and_then(|n| out.flush().map(|()| n));
            match copied {
                Ok(bytes) => reading.finish().map(|_| bytes),
                Err(e) => {
                    Err(reading.fail(Error::new(Code::Storage, "cannot write to standard output").because(e)))
                }
            }
        })
        .await
    }
}

/// What a plugin didn't count itself, such as what a program received, is known from the manifest.
fn measured(restored: Restored, artifact: &StoredArtifact, options: &RestoreOptions) -> Restored {
    if restored.bytes == 0 && options.paths.is_empty() {
        return Restored {
            bytes: artifact.content_bytes,
            ..restored
        };
    }
    restored
}

/// Files can share a directory. Streams of the source's own kind, such as two databases, can't share a name: the
/// second would be in the way of the first, or replace it.
fn refuse_one_place_for_many(chosen: &[&StoredArtifact], options: &RestoreOptions) -> Result<()> {
    let streams: Vec<&str> = chosen
        .iter()
        .filter(|artifact| artifact.form == Form::Stream)
        .map(|artifact| artifact.name.as_str())
        .collect();
    if options.place.is_none() || streams.len() < 2 {
        return Ok(());
    }
    Err(Error::new(
        Code::Configuration,
        "the backup has several artifacts, and --to names one place",
    )
    .hint(format!(
        "name one with --artifact: {}; or restore all with --in-place",
        streams.join(", ")
    )))
}

fn chosen<'a>(artifacts: &'a [StoredArtifact], name: Option<&str>) -> Result<Vec<&'a StoredArtifact>> {
    let chosen: Vec<_> = artifacts
        .iter()
        .filter(|a| name.is_none_or(|n| n == a.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = artifacts.iter().map(|a| a.name.as_str()).collect();
        return Err(Error::new(
            Code::Configuration,
            format!("the backup has no artifact `{}`", name.unwrap_or_default()),
        )
        .hint(format!("it has: {}", names.join(", "))));
    }
    Ok(chosen)
}

//! Drills: tries out whether backups can be restored, as deep as this machine can without touching anything.

use std::sync::Arc;

use backstay_model::event::Level;
use backstay_model::job::VerifyLevel;
use backstay_model::manifest::{Form, Manifest, StoredArtifact};
use backstay_model::plugin::PluginKind;
use backstay_model::run::RunKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::Target;
use backstay_store::Backup;
use backstay_stream::Context;
use backstay_stream::codec::Identities;

use crate::Engine;
use crate::backup::Report;
use crate::chain::Link;
use crate::outcome::{Check, DrillPlace};
use crate::recorder::{Observer, Recorder};
use crate::verify::{Goal, decode};

/// What each file takes on a disk besides its content, in bytes: a block that isn't full.
const ENTRY_BYTES: u64 = 4096;

impl Engine {
    /// Tries a backup out as a run of its own, with all that it builds on. Files are restored to a scratch place,
    /// which is removed again, and compared; what only its source's tools can read these restore to `place`, or else to the
    /// one that the job names, and remove it again. Without a place it is decoded to its end. How deep
    /// that was is kept in the catalogue. What is wrong with the backup is in the report.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn drill(
        &self,
        backup: &Backup,
        place: Option<&str>,
        identities: &Identities,
        context: &Context,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        self.check_run(
            RunKind::Drill,
            backup,
            Goal::Drill { place },
            identities,
            context,
            observer,
        )
        .await
    }

    /// Where the source's own tools may restore to: the place that is named, or else the one of the job, if that still has the
    /// source that the backup is of.
    async fn drill_place(
        &self,
        backup: &Backup,
        named: Option<&str>,
        recorder: &Recorder,
    ) -> Result<Option<String>> {
        let used = &backup.manifest.source;
        let place = match named {
            Some(place) => Some(place.to_owned()),
            None => {
                let job = self.store.existing_job(backup.manifest.job.id).await?;
                let spec = job.map(|job| job.spec);
                let is_same = spec
                    .as_ref()
                    .is_some_and(|s| s.source.plugin == used.plugin && s.source.config == used.config);
                let place = spec.and_then(|spec| spec.verify.drill_to);
                if place.is_some() && !is_same {
                    let message =
                        "`drillTo` is not used: the source of the job has changed since this backup was made";
                    recorder.say(Level::Info, "host", message.to_owned());
                }
                place.filter(|_| is_same)
            }
        };
        let Some(place) = place else {
            return Ok(None);
        };
        let source = self.plugins.get(&used.plugin, PluginKind::Source).await?;
        if source.manifest().drills {
            return Ok(Some(place));
        }
        Err(
            Error::new(Code::Configuration, format!("{} restores nothing to {place} for a drill", used.plugin))
                .hint("leave the place out: files are tried out at a scratch place of their own, and the rest is decoded"),
        )
    }

    pub(crate) async fn drill_chain(
        &self,
        backup: &Backup,
        place: Option<&str>,
        check: &Check<'_>,
    ) -> Result<()> {
        let source = &backup.manifest.source.plugin;
        let place = self.drill_place(backup, place, check.recorder).await?;
        let place = place.as_deref();
        let chain = self.chain(backup).await?;
        if chain.len() > 1 {
            let message = format!("trying out a chain of {} backups", chain.len());
            check.recorder.say(Level::Info, "host", message);
        }
        for (position, link) in chain.iter().enumerate() {
            let place = place.map(|name| DrillPlace {
                name,
                continues: position > 0,
            });
            let check = Check { place, ..*check };
            self.check_and_record(link, deepest(&link.manifest, place), &check)
                .await?;
        }
        if deepest(&backup.manifest, None) != VerifyLevel::Restore && place.is_none() {
            let message = format!(
                "decoded to its end, but not restored: only the tools of plugin {source} can read it"
            );
            check.recorder.say(Level::Info, "host", message);
        }
        Ok(())
    }

    /// Has the source restore a stream, and gives the level that it passed. What it makes goes when the run ends, or at the host's
    /// next start.
    pub(crate) async fn restore_for_drill(
        &self,
        link: &Link,
        artifact: &StoredArtifact,
        place: DrillPlace<'_>,
        check: &Check<'_>,
    ) -> Result<VerifyLevel> {
        let target = Target {
            place: Some(place.name.to_owned()),
            paths: Vec::new(),
            overwrite: false,
            dry_run: false,
            continues: place.continues,
            drill: true,
        };
        let content = link.content(artifact, check.identities).await?;
        let restored = self
            .give_back(link, artifact, content, &target, check.base, check.recorder)
            .await?;
        if restored.place.is_empty() {
            decode(link, artifact, check.identities, check.context).await?;
            let message = format!(
                "{} is only decoded to its end: a drill can't restore it beside what is there",
                artifact.name
            );
            check.recorder.say(Level::Info, "host", message);
            return Ok(VerifyLevel::Archive);
        }
        let message = format!(
            "{} was restored to {}, which goes again",
            artifact.name, restored.place
        );
        check.recorder.say(Level::Info, "host", message);
        Ok(VerifyLevel::Restore)
    }

    /// Refuses to restore to the scratch place what would fill its disk.
    pub(crate) fn refuse_without_room(&self, artifact: &StoredArtifact) -> Result<()> {
        // Of a sparse file the stream has less than the file is long.
        let content = match artifact.form {
            Form::Tree => artifact.content_bytes,
            Form::Stream | Form::Tar => artifact.content_bytes.min(artifact.raw.bytes),
        };
        let needed = content.saturating_add(artifact.entries.saturating_mul(ENTRY_BYTES));
        let scratch = self.scratch();
        // It may be a disk of its own.
        let disk = if scratch.is_dir() {
            &scratch
        } else {
            &self.data_dir
        };
        let stat = rustix::fs::statvfs(disk).map_err(|e| Error::io("find the room in", disk, e.into()))?;
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed <= available {
            return Ok(());
        }
        Err(Error::new(
            Code::DiskSpace,
            format!(
                "{} takes {needed} bytes to restore, and {} has {available}",
                artifact.name,
                scratch.display()
            ),
        )
        .hint("make room there, or mount a larger disk at that directory; --level archive needs none"))
    }
}

/// How deep a backup can be checked: without a place for what its source's tools restore, only to the end of its streams.
pub(crate) fn deepest(manifest: &Manifest, place: Option<DrillPlace<'_>>) -> VerifyLevel {
    if place.is_none() && manifest.artifacts.iter().all(|a| a.form == Form::Stream) {
        VerifyLevel::Archive
    } else {
        VerifyLevel::Restore
    }
}

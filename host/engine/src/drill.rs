//! Drills: tries out whether backups can be restored, as deep as this machine can without touching anything.

use std::sync::Arc;

use backstay_model::event::Level;
use backstay_model::job::VerifyLevel;
use backstay_model::manifest::{Form, Manifest, StoredArtifact};
use backstay_model::run::RunKind;
use backstay_model::{Code, Error, Result};
use backstay_store::Backup;
use backstay_stream::Context;
use backstay_stream::codec::Identities;

use crate::Engine;
use crate::backup::Report;
use crate::outcome::Check;
use crate::recorder::Observer;

/// What each file takes on a disk besides its content, in bytes: a block that isn't full.
const ENTRY_BYTES: u64 = 4096;

impl Engine {
    /// Tries a backup out as a run of its own, with all that it builds on. Files are restored to a scratch place,
    /// which is removed again, and compared; what only its source's tools can read is decoded to its end. How deep
    /// that was is kept in the catalogue. What is wrong with the backup is in the report.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn drill(
        &self,
        backup: &Backup,
        identities: &Identities,
        context: &Context,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        self.check_run(RunKind::Drill, backup, None, identities, context, observer)
            .await
    }

    pub(crate) async fn drill_chain(&self, backup: &Backup, check: &Check<'_>) -> Result<()> {
        let chain = self.chain(backup).await?;
        if chain.len() > 1 {
            let message = format!("trying out a chain of {} backups", chain.len());
            check.recorder.say(Level::Info, "host", message);
        }
        for link in &chain {
            self.check_and_record(link, deepest(&link.manifest), check)
                .await?;
        }
        if deepest(&backup.manifest) != VerifyLevel::Restore {
            let message = format!(
                "decoded to its end, but not restored: only the tools of plugin {} can read it",
                backup.manifest.source.plugin
            );
            check.recorder.say(Level::Info, "host", message);
        }
        Ok(())
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

/// How deep a backup can be checked without its source's tools.
pub(crate) fn deepest(manifest: &Manifest) -> VerifyLevel {
    if manifest.artifacts.iter().all(|a| a.form == Form::Stream) {
        VerifyLevel::Archive
    } else {
        VerifyLevel::Restore
    }
}

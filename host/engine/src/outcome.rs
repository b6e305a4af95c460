//! What a check says about a backup, and what of it the catalogue keeps.

use backstay_model::event::Level;
use backstay_model::job::VerifyLevel;
use backstay_model::{Code, Result};
use backstay_plugin::RunScope;
use backstay_store::Backup;
use backstay_stream::Context;
use backstay_stream::codec::Identities;

use crate::Engine;
use crate::drill::deepest;
use crate::recorder::Recorder;

/// What a check of a backup needs besides the backup.
pub(crate) struct Check<'a> {
    pub(crate) identities: &'a Identities,
    pub(crate) base: &'a RunScope,
    pub(crate) context: &'a Context,
    pub(crate) recorder: &'a Recorder,
    /// Where the source's own tools may restore to, for as long as the drill takes.
    pub(crate) place: Option<DrillPlace<'a>>,
}

/// Where a drill has a source restore a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrillPlace<'a> {
    /// As a person names it.
    pub(crate) name: &'a str,
    /// What the backup builds on is there already.
    pub(crate) continues: bool,
}

impl Engine {
    /// Checks one backup and keeps the outcome in the catalogue.
    pub(crate) async fn check_and_record(
        &self,
        backup: &Backup,
        level: VerifyLevel,
        check: &Check<'_>,
    ) -> Result<()> {
        let result = self.check_backup(backup, level, check).await;
        let reached = result.as_ref().map_or(level, |passed| *passed);
        let result = result.map(drop);
        let id = backup.manifest.id;
        let Some(ok) = verdict(&result) else {
            self.store.note_attempt(id).await?;
            return result;
        };
        // What can't be checked deeper could else never be cleared.
        let level = reached.min(deepest(&backup.manifest, check.place));
        let before = self.store.backup(id).await?;
        match before.verified_level {
            // A look at sizes neither takes back what a look at the content found, nor counts as one.
            // With a place it was as deep as can be.
            Some(found) if ok && level < found && check.place.is_none() => {
                if before.verified_ok == Some(false) {
                    let message = format!(
                        "{id} stays marked as damaged: that was found on the level {}{}",
                        found.name(),
                        if found > deepest(&backup.manifest, None) {
                            "; `backstay drill` with this id and --to looks as deep again"
                        } else {
                            ""
                        }
                    );
                    check.recorder.say(Level::Warn, "host", message);
                }
            }
            _ => {
                self.store
                    .record_verification(id, level, ok, self.clock.now())
                    .await?;
            }
        }
        result
    }
}

/// What a check says about the backup itself, which isn't bad because somebody cancelled, or has no key, or a
/// disk isn't there now.
pub(crate) fn verdict(checked: &Result<()>) -> Option<bool> {
    match checked {
        Ok(()) => Some(true),
        Err(e) if matches!(e.code(), Code::Verification | Code::Archive | Code::Compression) => Some(false),
        Err(_) => None,
    }
}

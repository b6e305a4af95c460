//! Takes back what a run left behind, from its journal. The same way after success, failure and power loss.

use std::path::Path;

use backstay_model::event::Level;
use backstay_model::journal::{Entry, HostEntry, Owner, UndoWhen};
use backstay_model::plugin::PluginKind;
use backstay_model::run::Warning;
use backstay_model::{Error, Result};
use backstay_plugin::{RunScope, Scope};
use backstay_stream::{Context, tree};
use uuid::Uuid;

use crate::Engine;
use crate::recorder::Recorder;

/// The code of the warning that something could not be undone.
const NOT_UNDONE: &str = "not-undone";

/// What a run has made count: a source's entries go by the critical one, a destination's by its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed {
    /// The critical backup is in the catalogue; for a restore, it ended well.
    pub(crate) whole: bool,
    /// Destinations whose backup is in the catalogue.
    pub(crate) destinations: Vec<usize>,
}

impl Committed {
    fn covers(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Plugin {
                destination: Some(index),
                ..
            } => self.destinations.contains(index),
            _ => self.whole,
        }
    }
}

impl Engine {
    /// What is in the catalogue of a run.
    pub(crate) async fn committed(&self, run_id: Uuid) -> Result<Committed> {
        let backups = self.store.backups_of_run(run_id).await?;
        Ok(Committed {
            whole: self.store.is_committed(run_id).await?,
            destinations: backups.iter().map(|b| b.destination_index).collect(),
        })
    }

    /// Undoes or drops each entry of a run, the newest first. What can't be undone stays and is said.
    pub(crate) async fn settle_journal(
        &self,
        base: &RunScope,
        committed: &Committed,
        recorder: &Recorder,
    ) -> Result<Vec<Warning>> {
        let entries = self.store.entries(base.run_id).await?;
        self.settle_entries(base, entries, committed, recorder).await
    }

    pub(crate) async fn settle_entries(
        &self,
        base: &RunScope,
        entries: Vec<Entry>,
        committed: &Committed,
        recorder: &Recorder,
    ) -> Result<Vec<Warning>> {
        let mut done = Vec::new();
        let mut warnings = Vec::new();
        for entry in entries {
            let context = Context::default();
            let undone = if entry.when.applies(committed.covers(&entry.owner)) {
                self.undo(base, &entry, &context, recorder).await
            } else {
                Ok(())
            };
            warnings.extend(context.notes.take().0);
            if let Err(error) = undone {
                let message = format!(
                    "something could not be undone and is tried again at the next start: {}",
                    error.report()
                );
                recorder.say(Level::Warn, "host", message.clone());
                warnings.push(Warning {
                    code: NOT_UNDONE.to_owned(),
                    message,
                    path: None,
                });
                continue;
            }
            done.push(entry.id);
        }
        self.store.remove_entries(&done).await?;
        Ok(warnings)
    }

    /// Undoes what the source asked to have undone however the run ends. Called as soon as all is read that it
    /// offered, so that what was stopped for the backup doesn't wait for what comes after. What can't be undone
    /// is tried again, and said, at the end of the run.
    pub(crate) async fn release_source(&self, base: &RunScope, recorder: &Recorder) -> Result<Vec<Warning>> {
        let mut entries = self.store.entries(base.run_id).await?;
        let of_source = |owner: &Owner| {
            matches!(
                owner,
                Owner::Plugin {
                    destination: None,
                    ..
                }
            )
        };
        entries.retain(|entry| entry.when == UndoWhen::Always && of_source(&entry.owner));
        let mut warnings = self
            .settle_entries(base, entries, &Committed::default(), recorder)
            .await?;
        warnings.retain(|warning| warning.code != NOT_UNDONE);
        Ok(warnings)
    }

    /// What a plugin warns of meanwhile is in the notes of the context, which nobody has cancelled.
    async fn undo(
        &self,
        base: &RunScope,
        entry: &Entry,
        context: &Context,
        recorder: &Recorder,
    ) -> Result<()> {
        match &entry.owner {
            Owner::Host => undo_own(&entry.entry),
            Owner::Plugin {
                id,
                config,
                destination,
                target,
            } => {
                let kind = if destination.is_some() {
                    PluginKind::Destination
                } else {
                    PluginKind::Source
                };
                let plugin = self.plugins.get(id, kind).await?;
                let run = RunScope {
                    destination: *destination,
                    ..base.clone()
                };
                let mut scope = self.scope(config.clone(), Some(run), context.clone(), recorder.listener(id));
                scope.target.clone_from(target);
                match kind {
                    PluginKind::Source => plugin.undo_source(&scope, &entry.entry).await,
                    PluginKind::Destination => plugin.undo_destination(&scope, &entry.entry).await,
                }
            }
        }
    }

    /// A scope without a target or filters.
    pub(crate) fn scope(
        &self,
        config: serde_json::Map<String, serde_json::Value>,
        run: Option<RunScope>,
        context: Context,
        listener: std::sync::Arc<dyn backstay_plugin::Listener>,
    ) -> Scope {
        Scope {
            config,
            target: None,
            run,
            context,
            listener,
            filters: backstay_model::filters::Filters::default(),
            data_dir: self.data_dir.clone(),
            limits: backstay_plugin::limits::Limits::default(),
        }
    }
}

fn undo_own(entry: &str) -> Result<()> {
    let entry: HostEntry = serde_json::from_str(entry)
        .map_err(|e| Error::internal("a journal entry of the host can't be read").because(e))?;
    match entry {
        HostEntry::EmptyDirectory { path, remove } => {
            let path = Path::new(&path);
            tree::empty_directory(path)?;
            if remove
                && let Err(e) = std::fs::remove_dir(path)
                && e.kind() != std::io::ErrorKind::NotFound
            {
                return Err(Error::io("remove", path, e));
            }
            Ok(())
        }
    }
}

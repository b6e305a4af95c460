//! Says what a run would change, without changing anything: nothing is stored, and no run is kept. The source runs no
//! program; a destination that is reached by one, such as by ssh, is asked by it for the list of what it has.

use std::io::BufReader;
use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::job::{DestinationSpec, Job};
use backstay_model::manifest::{Form, StoredArtifact};
use backstay_model::plugin::{PluginKind, PluginManifest, TreeFields};
use backstay_model::run::{RunKind, Warning};
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Offered, RunScope};
use backstay_store::{Backup, BackupFilter};
use backstay_stream::read::read;
use backstay_stream::tree::{Amounts, Change, TreeSpec, preview};
use backstay_stream::{Context, Recipe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Engine;
use crate::copy::Way;
use crate::recorder::{Recorder, Silent};
use crate::verify::blocking;

/// Changes that are listed for each artifact at each destination; further ones are only counted.
const MOST_LISTED: usize = 1_000;

/// What a run would change.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// Name of the job.
    pub job: String,
    /// Each artifact at each destination.
    pub destinations: Vec<Kept>,
    /// What could not be looked at.
    pub warnings: Vec<Warning>,
}

impl Preview {
    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        if self.warnings.is_empty() {
            0
        } else {
            Code::Warning.exit_code()
        }
    }
}

/// What would be kept of an artifact at a destination.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Which destination of the job.
    pub destination: usize,
    /// Its plugin.
    pub plugin: String,
    /// The source's name for the artifact.
    pub artifact: String,
    /// How it would be stored.
    pub form: Form,
    /// The backup that the source was compared with; without one, all of it would be stored.
    pub compared_with: Option<Uuid>,
    /// How much would become what; nothing of a stream, which nobody knows before it is made.
    #[serde(flatten)]
    pub amounts: Option<Amounts>,
    /// The first of the entries that would not stay as they are.
    pub changes: Vec<Change>,
    /// How many more there are.
    pub more: u64,
}

impl Engine {
    /// Compares what the source has with the newest backup at each destination. Files are compared by size, times and
    /// attributes, not by content.
    ///
    /// # Errors
    /// The source can't say what it has without doing something, it can't be read, or a destination doesn't give the list
    /// of what it has.
    pub async fn preview(&self, job: &Job, context: &Context) -> Result<Preview> {
        let used = &job.spec.source;
        let source = self.plugins.get(&used.plugin, PluginKind::Source).await?;
        refuse_if_it_acts(source.manifest())?;
        let run = self.new_run(job, RunKind::Backup);
        let recorder = Recorder::new(
            self.store.clone(),
            Arc::clone(&self.clock),
            run.id,
            Arc::new(Silent),
        );
        let base = self.scope_of(&run);
        let listener = recorder.listener(&used.plugin);
        let scope = self.scope(used.config.clone(), Some(base.clone()), context.clone(), listener);
        let artifacts = source.open(&scope, &[]).await?;
        let mut destinations = Vec::new();
        for (index, spec) in job.spec.destinations.iter().enumerate() {
            let newest = self.newest_at(job, index, spec).await?;
            for artifact in &artifacts {
                let kept = self
                    .kept(
                        job,
                        (index, spec),
                        newest.as_ref(),
                        artifact,
                        &base,
                        &recorder,
                        context,
                    )
                    .await?;
                destinations.push(kept);
            }
        }
        let (mut warnings, _) = context.notes.take();
        warnings.dedup();
        Ok(Preview {
            job: job.spec.name.clone(),
            destinations,
            warnings,
        })
    }

    /// The newest backup that a destination of a job has. Nothing is built on one that is known to be damaged, unless what
    /// is gone from the source is carried over from it.
    async fn newest_at(&self, job: &Job, index: usize, spec: &DestinationSpec) -> Result<Option<Backup>> {
        let filter = BackupFilter {
            job: Some(job.id),
            ..BackupFilter::default()
        };
        let plugin = self.plugins.get(&spec.plugin, PluginKind::Destination).await?;
        let carries = is_off(&spec.config, plugin.manifest().tree_fields.mirror.as_ref());
        let backups = self.store.backups(filter).await?;
        Ok(backups.into_iter().find(|b| {
            let is_here = b.destination_index == index && b.manifest.destination.plugin == spec.plugin;
            is_here && (carries || b.verified_ok != Some(false))
        }))
    }

    /// The index of a stored tree, if it is where the job says now.
    async fn index_there(
        &self,
        mut backup: Backup,
        artifact: &StoredArtifact,
        spec: &DestinationSpec,
        (base, recorder): (&RunScope, &Recorder),
        context: &Context,
    ) -> Result<Option<Arc<dyn Recipe>>> {
        let used = &mut backup.manifest.destination.config;
        let is_changed = *used != spec.config;
        used.clone_from(&spec.config);
        let link = self.link(backup, base, context, recorder).await?;
        if is_changed && !link.plugin.check(&link.scope, &artifact.receipt).await?.found {
            return Ok(None);
        }
        link.stored_index(artifact, context).await.map(Some)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one artifact of one job at one of its destinations, with what is there"
    )]
    async fn kept(
        &self,
        job: &Job,
        (index, spec): (usize, &DestinationSpec),
        newest: Option<&Backup>,
        artifact: &Offered,
        base: &RunScope,
        recorder: &Recorder,
        context: &Context,
    ) -> Result<Kept> {
        let plugin = self.plugins.get(&spec.plugin, PluginKind::Destination).await?;
        let listener = recorder.listener(&spec.plugin);
        let mut scope = self.scope(spec.config.clone(), Some(base.clone()), context.clone(), listener);
        scope.filters = Filters::clone(&job.spec.filters);
        let way = Way {
            plugin: &plugin,
            scope,
            prefix: String::new(),
            retries: &job.spec.retries,
            recorder,
        };
        let form = way.shape(artifact)?.form;
        let mut kept = Kept {
            destination: index,
            plugin: spec.plugin.clone(),
            artifact: artifact.name.clone(),
            form,
            compared_with: None,
            amounts: None,
            changes: Vec::new(),
            more: 0,
        };
        let Content::Tree(tree) = &artifact.content else {
            return Ok(kept);
        };
        let stored = newest.filter(|_| form == Form::Tree).and_then(|backup| {
            let mut all = backup.manifest.artifacts.iter();
            let same = all.find(|a| a.name == artifact.name && a.form == Form::Tree && a.index.is_some());
            same.map(|artifact| (backup, artifact))
        });
        let earlier = match stored {
            None => None,
            Some((backup, artifact)) => {
                let index = self
                    .index_there(backup.clone(), artifact, spec, (base, recorder), context)
                    .await?;
                kept.compared_with = index.as_ref().map(|_| backup.manifest.id);
                index
            }
        };
        let (tree, mirrors) = as_kept(
            TreeSpec::clone(tree),
            form,
            &plugin.manifest().tree_fields,
            &spec.config,
        )?;
        let context = context.clone();
        let (amounts, changes, more) = blocking(move || {
            let (mut changes, mut more) = (Vec::new(), 0);
            let mut each = |change: Change| -> Result<()> {
                if changes.len() < MOST_LISTED {
                    changes.push(change);
                } else {
                    more += 1;
                }
                Ok(())
            };
            let Some(index) = earlier else {
                let amounts = preview(&tree, None, mirrors, &context, &mut each)?;
                return Ok((amounts, changes, more));
            };
            let mut reading = BufReader::new(read(index, &context.uncounted())?);
            let compared = preview(&tree, Some(&mut reading), mirrors, &context, &mut each);
            let reading = reading.into_inner();
            match compared {
                Ok(amounts) => reading.finish().map(|_| (amounts, changes, more)),
                Err(error) => Err(reading.fail(error)),
            }
        })
        .await?;
        Ok(Kept {
            amounts: Some(amounts),
            changes,
            more,
            ..kept
        })
    }
}

/// Refuses sources that have to do something before they can say what they have: make a snapshot, stop a container, run
/// a script.
fn refuse_if_it_acts(source: &PluginManifest) -> Result<()> {
    let asked = &source.capabilities;
    let is_quiet = asked.exec.is_empty() && asked.script.is_empty() && asked.storage.is_empty();
    if is_quiet && asked.state.is_none() {
        return Ok(());
    }
    Err(Error::new(
        Code::Configuration,
        format!(
            "the source {} has to run programs before it can say what it has, so a run can't be previewed",
            source.id
        ),
    )
    .hint("run the job: each run keeps what was new with it, and the runs before are untouched"))
}

/// A tree as a destination keeps it, and whether what is gone from it is gone there.
fn as_kept(
    mut tree: TreeSpec,
    form: Form,
    fields: &TreeFields,
    config: &Map<String, Value>,
) -> Result<(TreeSpec, bool)> {
    if form != Form::Tree {
        return Ok((tree, true));
    }
    let field = |name: &Option<String>| name.as_ref().and_then(|name| config.get(name));
    if let Some(Value::Array(patterns)) = field(&fields.exclude) {
        let patterns: Vec<&str> = patterns.iter().filter_map(Value::as_str).collect();
        tree = tree.leaving_out(&patterns, "destination's exclude")?;
    }
    if is_off(config, fields.hard_links.as_ref()) {
        tree = tree.with_separate_names();
    }
    Ok((tree, !is_off(config, fields.mirror.as_ref())))
}

/// Whether a field is `false`.
fn is_off(config: &Map<String, Value>, name: Option<&String>) -> bool {
    name.and_then(|name| config.get(name)) == Some(&Value::Bool(false))
}

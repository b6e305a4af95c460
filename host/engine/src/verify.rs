//! Checks backups: that they are there, that they are what was stored, that they open, that they restore.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use backstay_model::event::Level;
use backstay_model::job::VerifyLevel;
use backstay_model::journal::{HostEntry, Owner, UndoWhen};
use backstay_model::manifest::{Form, StoredArtifact};
use backstay_model::run::{Run, RunError, RunKind, RunReason, RunStatus, Stats};
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, RunScope};
use backstay_store::Backup;
use backstay_stream::codec::{Expected, Identities, check_stored};
use backstay_stream::read::read;
use backstay_stream::tree::{self, TreeSpec, UnpackOptions, Unpacked};
use backstay_stream::{Context, Recipe};
use uuid::Uuid;

use crate::Engine;
use crate::backup::Report;
use crate::chain::Link;
use crate::lock::JobLock;
use crate::outcome::Check;
use crate::recorder::{Observer, Recorder};
use crate::undo::Committed;
use crate::watch::watch;

/// What a run that checks a backup is to do.
pub(crate) enum Goal<'a> {
    /// Check this backup.
    Level(VerifyLevel),
    /// Try it out with all that it builds on, each as deep as can be.
    Drill {
        /// Where the source's own tools may restore to; without it, where the job says.
        place: Option<&'a str>,
    },
}

impl Engine {
    /// Checks a backup as a run of its own. What is wrong with the backup is in the report.
    ///
    /// # Errors
    /// The run could not even be recorded.
    pub async fn verify(
        &self,
        backup: &Backup,
        level: VerifyLevel,
        identities: &Identities,
        context: &Context,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        let kind = if level == VerifyLevel::Restore {
            RunKind::Drill
        } else {
            RunKind::Verify
        };
        self.check_run(kind, backup, Goal::Level(level), identities, context, observer)
            .await
    }

    /// A run that checks a backup.
    pub(crate) async fn check_run(
        &self,
        kind: RunKind,
        backup: &Backup,
        goal: Goal<'_>,
        identities: &Identities,
        context: &Context,
        observer: Arc<dyn Observer>,
    ) -> Result<Report> {
        let started = Instant::now();
        let (mut run, base) = self.run_on(backup, kind);
        let recorder = Recorder::new(self.store.clone(), Arc::clone(&self.clock), run.id, observer);
        let lock = JobLock::take(&self.locks(), run.id)?;
        run.status = RunStatus::Verifying;
        self.store.begin_run(&run, &[]).await?;
        let watch = watch(
            recorder.clone(),
            context.clone(),
            backstay_model::job::Timeouts::default(),
        );
        let check = Check {
            identities,
            base: &base,
            context,
            recorder: &recorder,
            place: None,
        };
        let result = match goal {
            Goal::Level(level) => self.check_and_record(backup, level, &check).await,
            Goal::Drill { place } => self.drill_chain(backup, place, &check).await,
        };
        drop(watch);
        let report = self
            .end_other(
                &mut run,
                &base,
                &result.map(|()| backup.manifest.content_bytes()),
                &recorder,
                context,
                started,
            )
            .await;
        if let Some(lock) = lock {
            lock.remove()?;
        }
        let after = self.store.existing_backup(backup.manifest.id).await?;
        report.map(|run| Report {
            run,
            backups: vec![after.unwrap_or_else(|| backup.clone())],
        })
    }

    /// A run over a backup that exists.
    pub(crate) fn run_on(&self, backup: &Backup, kind: RunKind) -> (Run, RunScope) {
        let job = &backup.manifest.job;
        let run = Run {
            id: Uuid::now_v7(),
            job_id: job.id,
            job_name: job.name.clone(),
            kind,
            status: RunStatus::Queued,
            reason: RunReason::Manual,
            due_at: None,
            started_at: self.clock.now(),
            finished_at: None,
            error: None,
            warnings: Vec::new(),
            stats: Stats::default(),
        };
        let base = self.scope_of(&run);
        (run, base)
    }

    /// Ends a run that makes no backup.
    pub(crate) async fn end_other(
        &self,
        run: &mut Run,
        base: &RunScope,
        result: &Result<u64>,
        recorder: &Recorder,
        context: &Context,
        started: Instant,
    ) -> Result<Run> {
        let committed = Committed {
            whole: result.is_ok(),
            destinations: Vec::new(),
        };
        let not_undone = self.settle_journal(base, &committed, recorder).await?;
        let (warnings, _) = context.notes.take();
        for warning in &warnings {
            recorder.say(Level::Warn, "host", warning.message.clone());
        }
        run.warnings = warnings;
        run.warnings.extend(not_undone);
        run.finished_at = Some(self.clock.now());
        run.stats.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let message = match result {
            Ok(bytes) => {
                run.stats.source_bytes = *bytes;
                run.status = if run.warnings.is_empty() {
                    RunStatus::Succeeded
                } else {
                    RunStatus::Warning
                };
                "done".to_owned()
            }
            Err(error) => {
                run.status = if error.code() == Code::Cancelled {
                    RunStatus::Cancelled
                } else {
                    RunStatus::Failed
                };
                run.error = Some(RunError::from(error));
                error.report()
            }
        };
        self.store
            .finish_run(run, &recorder.last_events(run.status, message))
            .await?;
        Ok(run.clone())
    }

    /// Checks one backup, and gives the level on which the deepest of its artifacts passed. Each level includes the ones before it.
    pub(crate) async fn check_backup(
        &self,
        backup: &Backup,
        level: VerifyLevel,
        check: &Check<'_>,
    ) -> Result<VerifyLevel> {
        let Check {
            identities,
            base,
            context,
            recorder,
            place,
        } = *check;
        // Retention may have begun to delete it before this run could be seen.
        self.store.backup(backup.manifest.id).await?;
        let link = self.link(backup.clone(), base, context, recorder).await?;
        link.check_manifest().await?;
        let has_files = backup.manifest.artifacts.iter().any(|a| a.form != Form::Stream);
        let mut reached = VerifyLevel::Size;
        for artifact in &backup.manifest.artifacts {
            // The index of a tree says more than its size: which file it is.
            if level == VerifyLevel::Size || artifact.form != Form::Tree {
                check_size(&link, artifact).await?;
            }
            let passed = match (level, artifact.form) {
                (VerifyLevel::Size, _) => level,
                (VerifyLevel::Checksum | VerifyLevel::Archive, Form::Tree) => {
                    check_tree(&link, artifact, context).await?;
                    level
                }
                (VerifyLevel::Checksum, _) => {
                    let (stored, context) = (link.stored(artifact).await?, context.clone());
                    let expected = Expected {
                        object: artifact.location.clone(),
                        ..Expected::from(artifact)
                    };
                    blocking(move || check_stored(stored, &expected, &context)).await?;
                    level
                }
                (VerifyLevel::Archive, _) => {
                    decode(&link, artifact, identities, context).await?;
                    level
                }
                (VerifyLevel::Restore, Form::Stream) if let Some(place) = place => {
                    self.restore_for_drill(&link, artifact, place, check).await?
                }
                // Beside files it is checked as far as it can be.
                (VerifyLevel::Restore, Form::Stream) if has_files => {
                    decode(&link, artifact, identities, context).await?;
                    let message = format!(
                        "{} is not tried out: only plugin {} knows where it goes",
                        artifact.name, backup.manifest.source.plugin
                    );
                    recorder.say(Level::Info, "host", message);
                    VerifyLevel::Archive
                }
                (VerifyLevel::Restore, Form::Stream) => {
                    return Err(Error::new(
                        Code::Configuration,
                        format!(
                            "{} can't be restored to scratch files: only plugin {} knows where it goes",
                            artifact.name, backup.manifest.source.plugin
                        ),
                    )
                    .hint("use --level archive, or try it out: `backstay drill BACKUP --to PLACE`"));
                }
                (VerifyLevel::Restore, _) => {
                    self.try_out(&link, artifact, identities, base, context).await?;
                    level
                }
            };
            recorder.say(
                Level::Info,
                "host",
                format!("{} passed the level {}", artifact.location, passed.name()),
            );
            reached = reached.max(passed);
        }
        Ok(reached)
    }

    /// Restores an artifact to a scratch place and compares.
    async fn try_out(
        &self,
        link: &Link,
        artifact: &StoredArtifact,
        identities: &Identities,
        base: &RunScope,
        context: &Context,
    ) -> Result<()> {
        let scratch = self.scratch().join(format!(
            "{}-{}-{}",
            base.run_id, link.backup.manifest.id, artifact.name
        ));
        self.refuse_without_room(artifact)?;
        let path = scratch
            .to_str()
            .ok_or_else(|| Error::new(Code::Configuration, "the data directory's path is not UTF-8"))?;
        let entry = serde_json::to_string(&HostEntry::EmptyDirectory {
            path: path.to_owned(),
            remove: true,
        })
        .map_err(|e| Error::internal("cannot write a journal entry").because(e))?;
        self.store
            .record_entry(base.run_id, &Owner::Host, UndoWhen::Always, &entry)
            .await?;
        let recipe: Arc<dyn Recipe> = match link.content(artifact, identities).await? {
            Content::Stream(recipe) => recipe,
            Content::Tree(spec) => {
                check_directory(link, artifact, Arc::clone(&spec), context).await?;
                Arc::new(tree::TarRecipe::new(TreeSpec::clone(&spec)))
            }
        };
        let (restored, restoring) = (artifact.clone(), context.clone());
        match blocking(move || restore_and_compare(recipe, &scratch, &restored, &restoring)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(link.damage_behind(artifact, error, context).await),
        }
    }
}

pub(crate) async fn check_size(link: &Link, artifact: &StoredArtifact) -> Result<()> {
    let index = artifact.index.as_ref().zip(artifact.index_location());
    let index = index.map(|(index, location)| (&index.receipt, location, index.stored.bytes));
    let location = artifact.location.clone();
    let itself = (&artifact.receipt, location, artifact.stored_bytes());
    for (receipt, object, bytes) in [itself].into_iter().chain(index) {
        let facts = link.plugin.check(&link.scope, receipt).await?;
        let what = if !facts.found {
            "it is not there".to_owned()
        } else if facts.size_bytes != bytes {
            format!("it has {} bytes instead of {bytes}", facts.size_bytes)
        } else {
            continue;
        };
        return Err(
            Error::new(Code::Verification, format!("{object} is damaged: {what}")).hint(
                "restore from another backup or destination; keep this one until you have found out why",
            ),
        );
    }
    Ok(())
}

/// Compares a tree that is stored as files with its index.
pub(crate) async fn check_tree(link: &Link, artifact: &StoredArtifact, context: &Context) -> Result<()> {
    match link.stored_tree(artifact, &[]).await? {
        Content::Tree(spec) => check_directory(link, artifact, spec, context).await,
        Content::Stream(tar) => walk_tar(tar, context).await,
    }
}

/// Reads a tar stream to its end and checks all of it.
pub(crate) async fn walk_tar(tar: Arc<dyn Recipe>, context: &Context) -> Result<()> {
    let context = context.clone();
    blocking(move || {
        let mut reading = read(tar, &context)?;
        match tree::walk(&mut reading, &context) {
            Ok(_) => reading.finish().map(drop),
            Err(error) => Err(reading.fail(error)),
        }
    })
    .await
}

/// Compares the directory of such a tree with its index.
pub(crate) async fn check_directory(
    link: &Link,
    artifact: &StoredArtifact,
    spec: Arc<TreeSpec>,
    context: &Context,
) -> Result<()> {
    let index = link.stored_index(artifact, context).await?;
    let (context, place) = (context.clone(), artifact.location.clone());
    blocking(move || {
        let mut expected = read(index, &context)?;
        let actual = index_of(&spec, &context)?;
        let differences = match tree::compare_index(BufReader::new(&mut expected), BufReader::new(actual)) {
            Ok(differences) => differences,
            Err(error) => return Err(expected.fail(error)),
        };
        expected.finish()?;
        refuse_differences(&place, &differences)
    })
    .await
}

/// Decodes a stored stream to its end, and looks at each entry if it is an archive.
pub(crate) async fn decode(
    link: &Link,
    artifact: &StoredArtifact,
    identities: &Identities,
    context: &Context,
) -> Result<()> {
    let Content::Stream(content) = link.content(artifact, identities).await? else {
        return Err(Error::internal("a stream turned into a tree"));
    };
    let (walked, walking) = (artifact.clone(), context.clone());
    match blocking(move || walk(content, &walked, &walking)).await {
        Ok(()) => Ok(()),
        Err(error) => Err(link.damage_behind(artifact, error, context).await),
    }
}

fn walk(content: Arc<dyn Recipe>, artifact: &StoredArtifact, context: &Context) -> Result<()> {
    let mut reading = read(content, context)?;
    if artifact.form == Form::Tar {
        let walked = match tree::walk(&mut reading, context) {
            Ok(walked) => walked,
            Err(error) => return Err(reading.fail(error)),
        };
        reading.finish()?;
        return compare_counts(&walked, artifact);
    }
    let copied = std::io::copy(&mut reading, &mut std::io::sink());
    match copied {
        Ok(_) => reading.finish().map(drop),
        Err(e) => Err(reading
            .fail(Error::new(Code::Verification, format!("cannot read {}", artifact.location)).because(e))),
    }
}

fn restore_and_compare(
    recipe: Arc<dyn Recipe>,
    scratch: &Path,
    artifact: &StoredArtifact,
    context: &Context,
) -> Result<()> {
    let failed = |e| Error::io("write an index in", scratch, e);
    let mut index = BufWriter::new(tempfile::tempfile().map_err(failed)?);
    let mut reading = read(recipe, context)?;
    let unpacked = tree::unpack(
        &mut reading,
        scratch,
        &UnpackOptions::default(),
        context,
        Some(&mut index),
    );
    let unpacked = match unpacked {
        Ok(unpacked) => unpacked,
        Err(error) => return Err(reading.fail(error)),
    };
    reading.finish()?;
    // A tree was compared with its index; of a single file it also holds the directory that it is in.
    if artifact.form != Form::Tree {
        compare_counts(&unpacked, artifact)?;
    }
    let mut expected = index.into_inner().map_err(|e| failed(e.into_error()))?;
    expected.seek(SeekFrom::Start(0)).map_err(failed)?;
    let spec = TreeSpec::all(scratch)?;
    // That this user may not give files away says nothing about the backup.
    if unpacked.lossy {
        let mut kept = BufWriter::new(tempfile::tempfile().map_err(failed)?);
        tree::index_kept(&spec, BufReader::new(expected), context, &mut kept)?;
        expected = kept.into_inner().map_err(|e| failed(e.into_error()))?;
        expected.seek(SeekFrom::Start(0)).map_err(failed)?;
    }
    let actual = index_of(&spec, context)?;
    let differences = tree::compare_index(BufReader::new(expected), BufReader::new(actual))?;
    refuse_differences(&artifact.location, &differences)
}

pub(crate) fn index_of(spec: &TreeSpec, context: &Context) -> Result<File> {
    let failed = |e| Error::io("write an index of", spec.root(), e);
    let mut index = BufWriter::new(tempfile::tempfile().map_err(failed)?);
    tree::index_directory(spec, context, &mut index)?;
    let mut file = index.into_inner().map_err(|e| failed(e.into_error()))?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}

fn compare_counts(found: &Unpacked, artifact: &StoredArtifact) -> Result<()> {
    // A tar stream that a program made isn't counted by the host.
    if artifact.entries == 0
        || (found.entries, found.content_bytes) == (artifact.entries, artifact.content_bytes)
    {
        return Ok(());
    }
    Err(Error::new(
        Code::Verification,
        format!(
            "{} holds {} entries with {} bytes; its manifest says {} with {}",
            artifact.location, found.entries, found.content_bytes, artifact.entries, artifact.content_bytes
        ),
    ))
}

fn refuse_differences(place: &str, differences: &[String]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::Verification,
        format!("{place} is damaged: {}", differences.join("; ")),
    )
    .hint("restore from another backup or destination; keep this one until you have found out why"))
}

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal("a worker thread panicked").because(e)),
    }
}

//! Rebuilds the catalogue from the manifests at a destination, on a machine that knows nothing else.
//!
//! Nothing stops at the first damaged manifest: each is named and counted. What is in the catalogue already stays,
//! and nothing at the destination is changed, so it can be interrupted and done again.

mod found;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;

use backstay_model::diagnostic::into_error;
use backstay_model::error::show_bytes;
use backstay_model::manifest::MANIFEST_NAME;
use backstay_model::plugin::PluginKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::RunScope;
use backstay_stream::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Engine;
use crate::catalog::found::{Found, Reader};
use crate::recorder::Unheard;

/// Manifests that are read, checked and put into the catalogue together: of ordinary size, and at their own place.
const BATCH: usize = 256;

/// How many of them at a time.
const AT_ONCE: usize = 8;

/// Where to look for backups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// Id of a destination plugin.
    pub plugin: String,
    /// Its configuration.
    pub config: Map<String, Value>,
}

/// How to rebuild.
#[derive(Debug, Clone, Default)]
pub struct RebuildOptions {
    /// Only say what would be added.
    pub dry_run: bool,
    /// Cancellation.
    pub context: Context,
}

/// What was found at one place.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// Files with the name of a manifest.
    pub found: u64,
    /// Backups that are in the catalogue now and were not before; in a dry run, that would be.
    pub added: u64,
    /// Of those, how many were made by another installation.
    pub of_others: u64,
    /// Of those, how many are damaged: something is missing or has another size. They are marked so.
    pub damaged: u64,
    /// Backups that were in the catalogue before.
    pub known: u64,
    /// Further copies of the same manifest.
    pub copies: u64,
    /// What a run that isn't over has stored so far.
    pub under_way: u64,
    /// Added backups by the name of their job.
    pub jobs: BTreeMap<String, u64>,
    /// What could not be taken for a backup, and what is wrong with what was.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with one manifest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the manifest is, in the destination's own words.
    pub manifest: String,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A class of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemKind {
    /// The manifest isn't what was written, or could not have been written by a host.
    Damaged,
    /// It is in the catalogue; something that it lists is missing or has another size.
    Incomplete,
    /// It has the id of another backup and differs from it.
    Conflict,
    /// It isn't a manifest of Backstay, or was stored by another plugin.
    Foreign,
    /// It is of a version that this host doesn't know.
    Newer,
    /// It could not be read or checked now.
    Unreadable,
    /// The backup that it builds on is neither here nor in the catalogue.
    Baseless,
}

impl Engine {
    /// Puts every backup whose manifest is at a place into the catalogue.
    ///
    /// # Errors
    /// The place can't be listed, its configuration is wrong, or the database can't be written. What is wrong with
    /// single manifests is in the result.
    pub async fn rebuild_catalog(&self, place: &Place, options: &RebuildOptions) -> Result<Rebuilt> {
        let reader = self.reader(place, options).await?;
        let mut receipts = reader
            .plugin
            .find(&reader.scope, &format!("/{MANIFEST_NAME}"))
            .await?;
        receipts.sort();
        receipts.dedup();
        let mut rebuilding = Rebuilding {
            engine: self,
            reader,
            dry_run: options.dry_run,
            seen: HashMap::new(),
            dependents: Vec::new(),
            later: Vec::new(),
            result: Rebuilt::default(),
        };
        for batch in receipts.chunks(BATCH) {
            options.context.cancel.check()?;
            rebuilding.add(batch, Turn::First).await?;
        }
        // One at a time: each may take many times its size in memory.
        for receipt in std::mem::take(&mut rebuilding.later) {
            options.context.cancel.check()?;
            rebuilding.add(&[receipt], Turn::Last).await?;
        }
        rebuilding.name_baseless().await?;
        Ok(rebuilding.result)
    }

    /// The plugin of a place, after its configuration was checked like that of a job.
    async fn reader(&self, place: &Place, options: &RebuildOptions) -> Result<Reader> {
        let mut diagnostics = Vec::new();
        let end = json!(place);
        let plugin = self
            .check_end(Some(&end), "", PluginKind::Destination, &mut diagnostics)
            .await?;
        if let Some(error) = into_error(&diagnostics) {
            return Err(error);
        }
        let plugin =
            plugin.ok_or_else(|| Error::new(Code::Configuration, "a destination names no plugin"))?;
        // Of no run that is recorded: it leaves nothing to undo. But a long list may take its time.
        let run = RunScope {
            store: self.store.clone(),
            run_id: Uuid::now_v7(),
            job_id: Uuid::nil(),
            job_name: "catalog-rebuild".to_owned(),
            device: self.device.clone(),
            started_at: self.clock.now(),
            destination: Some(0),
        };
        let scope = self.scope(
            place.config.clone(),
            Some(run),
            options.context.clone(),
            Arc::new(Unheard),
        );
        Ok(Reader {
            plugin,
            scope,
            at: self.clock.now(),
        })
    }
}

/// When a manifest is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// With many others. What is large, or not where a host stores a manifest, waits: a copy must not come before the
    /// backup itself.
    First,
    /// Alone.
    Last,
}

/// A rebuild under way.
struct Rebuilding<'a> {
    engine: &'a Engine,
    reader: Reader,
    dry_run: bool,
    /// The checksum of each manifest so far.
    seen: HashMap<Uuid, String>,
    /// What is read at the end.
    later: Vec<String>,
    /// Backups that build on another, with where they are.
    dependents: Vec<(String, Uuid, Uuid)>,
    result: Rebuilt,
}

impl Rebuilding<'_> {
    async fn add(&mut self, receipts: &[String], turn: Turn) -> Result<()> {
        let reader = &self.reader;
        let read = in_parallel(receipts.to_vec(), |receipt| reader.clone().read(receipt, turn)).await?;
        let mut fresh = Vec::new();
        for (receipt, read) in receipts.iter().zip(read) {
            self.result.found += u64::from(!matches!(read, Ok(None)));
            match read {
                Err(problem) => self.result.problems.push(problem),
                Ok(None) => self.later.push(receipt.clone()),
                Ok(Some(found)) if self.is_first(receipt, &found) => fresh.push(found),
                Ok(Some(_)) => {}
            }
        }
        let ids: Vec<Uuid> = fresh.iter().map(Found::id).collect();
        let known = self.engine.store.checksums(&ids).await?;
        let (old, new): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|f| known.contains_key(&f.id()));
        for found in old {
            let same = known.get(&found.id()) == Some(found.checksum());
            self.count_known(&found, same);
        }
        let reader = &self.reader;
        let checked = in_parallel(new, |found| reader.clone().check(found)).await?;
        let mut good = Vec::new();
        for found in checked {
            match found {
                Ok(found) => good.push(found),
                Err(problem) => self.result.problems.push(problem),
            }
        }
        let backups: Vec<_> = good.iter().map(|found| found.backup.clone()).collect();
        let added = if self.dry_run || backups.is_empty() {
            vec![true; backups.len()]
        } else {
            self.engine.store.add_backups(&backups).await?
        };
        for (found, added) in good.into_iter().zip(added) {
            self.count_new(found, added);
        }
        Ok(())
    }

    /// Whether nothing with the same id was found before.
    fn is_first(&mut self, receipt: &str, found: &Found) -> bool {
        match self.seen.get(&found.id()) {
            None => {
                self.seen.insert(found.id(), found.checksum().clone());
                true
            }
            Some(checksum) if checksum == found.checksum() => {
                self.result.copies += 1;
                false
            }
            Some(_) => {
                let message = format!(
                    "another manifest here has the same id {} and says something else",
                    found.id()
                );
                self.result.problems.push(Problem::new(
                    receipt,
                    ProblemKind::Conflict,
                    &Error::new(Code::Verification, message)
                        .hint("find out which of the two is the backup's own"),
                ));
                false
            }
        }
    }

    fn count_known(&mut self, found: &Found, same: bool) {
        if same {
            self.result.known += 1;
            return;
        }
        let message = format!("the catalogue has another manifest of backup {}", found.id());
        let error = Error::new(Code::Verification, message)
            .hint("what is in the catalogue stays; `backstay verify` says whether it is still there");
        self.result
            .problems
            .push(Problem::new(&found.backup.receipt, ProblemKind::Conflict, &error));
    }

    fn count_new(&mut self, found: Found, added: bool) {
        if !added {
            self.result.under_way += 1;
            return;
        }
        let manifest = &found.backup.manifest;
        self.result.added += 1;
        *self.result.jobs.entry(manifest.job.name.clone()).or_default() += 1;
        if manifest.instance_id != self.engine.store.instance_id() {
            self.result.of_others += 1;
        }
        if let Some(base) = manifest.depends_on {
            self.dependents
                .push((found.backup.receipt.clone(), manifest.id, base));
        }
        if let Some(damage) = found.damage {
            self.result.damaged += 1;
            self.result.problems.push(Problem::new(
                &found.backup.receipt,
                ProblemKind::Incomplete,
                &damage,
            ));
        }
    }

    /// Says which increments can't be restored because what they build on is nowhere.
    async fn name_baseless(&mut self) -> Result<()> {
        let bases: Vec<Uuid> = self.dependents.iter().map(|(.., base)| *base).collect();
        let known = self.engine.store.checksums(&bases).await?;
        for (receipt, id, base) in &self.dependents {
            let here = self.dry_run && self.seen.contains_key(base);
            if !here && !known.contains_key(base) {
                let message = format!("backup {id} builds on {base}, which is not in the catalogue");
                let error = Error::new(Code::Verification, message)
                    .hint("rebuild from the destination that holds it as well; without it this one can't be restored");
                self.result
                    .problems
                    .push(Problem::new(receipt, ProblemKind::Baseless, &error));
            }
        }
        Ok(())
    }
}

impl Problem {
    fn new(receipt: &str, kind: ProblemKind, error: &Error) -> Self {
        /// Longest sentence that is shown, in characters.
        const SHOWN: usize = 1_000;
        let shown = |text: &str| {
            let text: String = text.chars().take(SHOWN).collect();
            show_bytes(text.as_bytes())
        };
        Problem {
            manifest: shown(receipt),
            kind,
            message: shown(&error.report()),
            hint: error.hint_text().map(shown),
        }
    }
}

/// Does the same to each of many, a few at a time. The results are in the order of what they are of.
async fn in_parallel<T, F, R>(items: Vec<T>, work: impl Fn(T) -> F) -> Result<Vec<R>>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let (turns, task) = (Arc::clone(&turns), work(item));
        tasks.spawn(async move {
            // It is never closed.
            let _turn = turns.acquire_owned().await;
            (index, task.await)
        });
    }
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(done) = tasks.join_next().await {
        results.push(done.map_err(|e| Error::internal("a worker panicked").because(e))?);
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

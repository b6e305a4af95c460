//! The JSON of things, the same on the command line and over HTTP.

use backstay_engine::backup::Report;
use backstay_model::job::VerifyLevel;
use backstay_model::manifest::Manifest;
use backstay_model::plugin::PluginManifest;
use backstay_model::run::{Progress, Run, RunError, RunKind, RunStatus, Stats, Warning};
use backstay_model::{Diagnostic, Error, Result};
use backstay_store::{Backup, Store};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A part of a long list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// What to give as `cursor` for the next part. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` things, of which one more was asked for to see whether there are more.
    pub fn of(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(key);
        Page { items, next }
    }
}

/// So many things are read at once.
const PORTION: u16 = 10;

/// A page that has as many bytes ends there, whatever its limit: things with long lists of warnings are large.
const MOST_BYTES: usize = 2 << 20;

impl<T: Serialize> Page<T> {
    /// The page after `cursor`, read in small portions by `read`, which gives the next so many after a cursor.
    ///
    /// # Errors
    /// As `read`; or something can't be written as JSON.
    pub async fn read<F: Future<Output = Result<Vec<T>>>>(
        limit: u32,
        mut cursor: Option<Uuid>,
        id: impl Fn(&T) -> Uuid,
        read: impl Fn(Option<Uuid>, u32) -> F,
    ) -> Result<Self> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut items: Vec<T> = Vec::new();
        let mut bytes = 0;
        loop {
            let portion = read(cursor, PORTION.into()).await?;
            let is_last = portion.len() < usize::from(PORTION);
            for item in portion {
                if items.len() >= limit || bytes > MOST_BYTES {
                    let next = cursor.map(|id| id.to_string());
                    return Ok(Page { items, next });
                }
                cursor = Some(id(&item));
                bytes += serde_json::to_vec(&item)
                    .map_err(|e| Error::internal("cannot write JSON").because(e))?
                    .len();
                items.push(item);
            }
            if is_last {
                return Ok(Page { items, next: None });
            }
        }
    }
}

/// A backup.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// UUIDv7.
    pub id: Uuid,
    /// The job's name when it was made.
    pub job: String,
    /// The job's id.
    pub job_id: Uuid,
    /// The run that made it.
    pub run_id: Uuid,
    /// When the source was opened.
    pub created_at: Timestamp,
    /// The plugin that stored it.
    pub destination: String,
    /// Where its manifest is.
    pub location: String,
    /// Whether that is the job's critical destination.
    pub critical: bool,
    /// The installation that made it.
    pub instance_id: Uuid,
    /// The machine that made it.
    pub device: String,
    /// The backup that must be restored before it.
    pub depends_on: Option<Uuid>,
    /// Content of the source.
    pub source_bytes: u64,
    /// What it takes at the destination.
    pub stored_bytes: u64,
    /// When it was last checked.
    pub verified_at: Option<Timestamp>,
    /// How deep.
    pub verified_level: Option<VerifyLevel>,
    /// With which outcome.
    pub verified_ok: Option<bool>,
    /// Whether this installation made it: only then it is ever deleted. Absent in the report of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
    /// All that it says about itself.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub manifest: Manifest,
}

impl BackupView {
    /// As it is listed, with whether this installation made it.
    pub fn listed(backup: &Backup, store: &Store) -> Self {
        BackupView {
            own: Some(backup.manifest.instance_id == store.instance_id()),
            ..BackupView::from(backup)
        }
    }
}

impl From<&Backup> for BackupView {
    fn from(backup: &Backup) -> Self {
        let manifest = &backup.manifest;
        BackupView {
            id: manifest.id,
            job: manifest.job.name.clone(),
            job_id: manifest.job.id,
            run_id: backup.run_id,
            created_at: backup.created_at,
            destination: manifest.destination.plugin.clone(),
            location: backup.location.clone(),
            critical: backup.critical,
            instance_id: manifest.instance_id,
            device: manifest.device.clone(),
            depends_on: manifest.depends_on,
            source_bytes: manifest.content_bytes(),
            stored_bytes: manifest.stored_bytes(),
            verified_at: backup.verified_at,
            verified_level: backup.verified_level,
            verified_ok: backup.verified_ok,
            own: None,
            manifest: manifest.clone(),
        }
    }
}

/// A run and what it left.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// UUIDv7.
    pub id: Uuid,
    /// The job's name when it ran.
    pub job: String,
    /// The job's id.
    pub job_id: Uuid,
    /// What it does.
    pub kind: RunKind,
    /// Where it is, or how it ended.
    pub status: RunStatus,
    /// When it began; while it is queued, when it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
    /// What it left in the catalogue.
    pub backups: Vec<BackupView>,
    /// What it moved.
    pub stats: Stats,
    /// How far it is, if it is under way in the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl RunView {
    /// A run with what it left so far.
    ///
    /// # Errors
    /// The catalogue can't be read.
    pub async fn load(store: &Store, run: Run) -> Result<Self> {
        let backups = store.backups_of_run(run.id).await?;
        Ok(RunView::from(&Report { run, backups }))
    }
}

impl From<&Report> for RunView {
    fn from(report: &Report) -> Self {
        let run = &report.run;
        RunView {
            id: run.id,
            job: run.job_name.clone(),
            job_id: run.job_id,
            kind: run.kind,
            status: run.status,
            started_at: run.started_at,
            finished_at: run.finished_at,
            error: run.error.clone(),
            warnings: run.warnings.clone(),
            backups: report.backups.iter().map(BackupView::from).collect(),
            stats: run.stats.clone(),
            progress: None,
        }
    }
}

/// A plugin in the list of all.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PluginView {
    /// What it says about itself and asks for.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub manifest: PluginManifest,
    /// Whether it comes with the host.
    pub bundled: bool,
}

/// A plugin with all that is known about it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginDetails {
    /// What it says about itself and asks for.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub manifest: PluginManifest,
    /// BLAKE3 of the component, hexadecimal.
    pub digest: String,
    /// Whether it comes with the host.
    pub bundled: bool,
    /// The JSON Schema of its configuration in a job.
    pub config_schema: Value,
}

/// When a job is due.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NextRuns {
    /// The job's id.
    pub id: Uuid,
    /// Its name.
    pub job: String,
    /// The next times, the nearest first. None for a job that only runs by hand.
    pub next: Vec<Timestamp>,
}

/// What there is to say about a job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Validation {
    /// Whether it can be accepted.
    pub ok: bool,
    /// Errors first.
    pub diagnostics: Vec<Diagnostic>,
}

impl From<Vec<Diagnostic>> for Validation {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Validation {
            ok: !diagnostics.iter().any(Diagnostic::is_error),
            diagnostics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pages of things of so many bytes each, newest first.
    async fn pages(things: u32, bytes: usize, limit: u32) -> Vec<Vec<Uuid>> {
        let all: Vec<(Uuid, String)> = (0..things)
            .rev()
            .map(|n| (Uuid::from_u128(u128::from(n) + 1), "x".repeat(bytes)))
            .collect();
        let read = |cursor: Option<Uuid>, count: u32| {
            let before = cursor.unwrap_or(Uuid::max());
            let rest = all.iter().filter(|(id, _)| *id < before);
            let count = usize::try_from(count).unwrap();
            std::future::ready(Ok(rest.take(count).cloned().collect::<Vec<_>>()))
        };
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page::read(limit, cursor, |(id, _): &(Uuid, String)| *id, read)
                .await
                .unwrap();
            pages.push(page.items.iter().map(|(id, _)| *id).collect());
            match page.next {
                Some(next) => cursor = Some(next.parse().unwrap()),
                None => return pages,
            }
        }
    }

    async fn lengths(things: u32, bytes: usize, limit: u32) -> Vec<usize> {
        let pages = pages(things, bytes, limit).await;
        let ids: Vec<u128> = pages.iter().flatten().map(|id| id.as_u128()).collect();
        assert_eq!(ids, (1..=u128::from(things)).rev().collect::<Vec<_>>());
        pages.iter().map(Vec::len).collect()
    }

    #[tokio::test]
    async fn pages_have_everything_once_and_are_never_large() {
        assert_eq!(lengths(0, 1, 5).await, [0]);
        assert_eq!(lengths(5, 1, 5).await, [5]);
        assert_eq!(lengths(23, 1, 10).await, [10, 10, 3]);
        assert_eq!(lengths(30, 1, 30).await, [30]);
        assert_eq!(lengths(6, 1 << 20, 500).await, [2, 2, 2]);
        assert_eq!(lengths(3, 5 << 20, 500).await, [1, 1, 1]);
    }
}

//! What is counted about jobs: their runs and their backups. Costs the same however many there are of the former.

use backstay_model::Result;
use backstay_model::run::{RunKind, RunStatus, Stats};
use jiff::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, maybe, read_id, read_json, read_time, read_word};

pub(crate) const OF_RUNS: &str = "SELECT t.job_id, t.kind, t.status, t.runs, t.duration_ms, r.finished_at, r.stats \
     FROM run_totals AS t JOIN runs AS r ON r.id = t.last_run_id";
pub(crate) const OF_BACKUPS: &str = "SELECT job_id, count(*), sum(verified_ok IS 0), sum(verified_ok IS NULL), min(created_at), \
     max(created_at), max(verified_at) FROM backups INDEXED BY backups_in_brief \
     WHERE removed_by IS NULL AND critical = 1 GROUP BY job_id";

/// How often runs of a job ended in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTotal {
    /// Whose.
    pub job_id: Uuid,
    /// What they did.
    pub kind: RunKind,
    /// How they ended.
    pub status: RunStatus,
    /// So many.
    pub runs: u64,
    /// What they took together, in milliseconds.
    pub duration_ms: u64,
    /// When the last of them ended.
    pub last_at: Timestamp,
    /// What the last of them moved.
    pub last_stats: Stats,
}

/// So many backups of a job that took at most so long, and longer than the next smaller limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationTotal {
    /// Whose.
    pub job_id: Uuid,
    /// In seconds; nothing for those longer than all limits.
    pub at_most: Option<u64>,
    /// So many.
    pub runs: u64,
}

/// The backups of a job at its critical destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupTotal {
    /// Whose.
    pub job_id: Uuid,
    /// So many.
    pub backups: u64,
    /// Of these, found damaged.
    pub damaged: u64,
    /// Of these, never checked.
    pub unverified: u64,
    /// When the oldest was made.
    pub oldest_at: Timestamp,
    /// When the newest was made.
    pub newest_at: Timestamp,
    /// When one was last checked.
    pub verified_at: Option<Timestamp>,
}

/// The limits that durations are counted by, in seconds.
pub const DURATION_LIMITS: [u64; 10] = [1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400];

#[derive(FromRow)]
struct RunRow {
    job_id: String,
    kind: String,
    status: String,
    runs: i64,
    duration_ms: i64,
    finished_at: String,
    stats: String,
}

impl TryFrom<RunRow> for RunTotal {
    type Error = Unreadable;

    fn try_from(row: RunRow) -> Result<Self, Unreadable> {
        Ok(RunTotal {
            job_id: read_id(&row.job_id)?,
            kind: read_word(row.kind)?,
            status: read_word(row.status)?,
            runs: count(row.runs),
            duration_ms: count(row.duration_ms),
            last_at: read_time(&row.finished_at)?,
            last_stats: read_json(&row.stats)?,
        })
    }
}

type BackupRow = (String, i64, i64, i64, String, String, Option<String>);

fn backups(
    (job, all, damaged, unverified, oldest, newest, verified): BackupRow,
) -> Result<BackupTotal, Unreadable> {
    Ok(BackupTotal {
        job_id: read_id(&job)?,
        backups: count(all),
        damaged: count(damaged),
        unverified: count(unverified),
        oldest_at: read_time(&oldest)?,
        newest_at: read_time(&newest)?,
        verified_at: maybe(verified, |at| read_time(&at))?,
    })
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Store {
    /// How often runs of each job ended how.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn run_totals(&self) -> Result<Vec<RunTotal>> {
        let rows: Vec<RunRow> = sqlx::query_as(OF_RUNS)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("count runs"))?;
        rows.into_iter()
            .map(RunTotal::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a count of runs"))
    }

    /// How long backups of each job took.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn duration_totals(&self) -> Result<Vec<DurationTotal>> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as("SELECT job_id, at_most, runs FROM run_durations")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("count runs"))?;
        rows.into_iter()
            .map(|(job, at_most, runs)| {
                Ok(DurationTotal {
                    job_id: read_id(&job)?,
                    at_most: Some(count(at_most)).filter(|limit| *limit > 0),
                    runs: count(runs),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a count of runs"))
    }

    /// The backups of each job at its critical destination.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn backup_totals(&self) -> Result<Vec<BackupTotal>> {
        let rows: Vec<BackupRow> = sqlx::query_as(OF_BACKUPS)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("count backups"))?;
        rows.into_iter()
            .map(backups)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a count of backups"))
    }

    /// Jobs that something is wrong with, or that can't be started at all.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn jobs_in_trouble(&self) -> Result<Vec<Uuid>> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT job_id FROM troubles \
             UNION SELECT id FROM jobs WHERE name IN (SELECT job_name FROM unable)",
        )
        .fetch_all(&self.inner.readers)
        .await
        .map_err(self.failed("read what is wrong"))?;
        rows.iter()
            .map(|id| read_id(id))
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a job that something is wrong with"))
    }
}

//! One execution of a job.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Code, Error};

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Makes backups.
    Backup,
    /// Gives data back.
    Restore,
    /// Checks a backup.
    Verify,
    /// Deletes what retention lets go.
    Prune,
    /// Restores to a scratch place and compares.
    Drill,
}

/// Where a run is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Waits for its turn.
    Queued,
    /// The source gets ready.
    Preparing,
    /// Bytes move.
    Transferring,
    /// What was stored is checked.
    Verifying,
    /// Old backups are deleted.
    Pruning,
    /// All is well.
    Succeeded,
    /// Complete, with something to look at.
    Warning,
    /// Not done; the error says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// The host went away during it.
    Interrupted,
    /// Not done, on purpose.
    Skipped,
}

impl RunStatus {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            RunStatus::Succeeded
                | RunStatus::Warning
                | RunStatus::Failed
                | RunStatus::Cancelled
                | RunStatus::Interrupted
                | RunStatus::Skipped
        )
    }

    /// The word used in events, JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Preparing => "preparing",
            RunStatus::Transferring => "transferring",
            RunStatus::Verifying => "verifying",
            RunStatus::Pruning => "pruning",
            RunStatus::Succeeded => "succeeded",
            RunStatus::Warning => "warning",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Interrupted => "interrupted",
            RunStatus::Skipped => "skipped",
        }
    }
}

/// Why a run was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunReason {
    /// Somebody asked for it.
    #[default]
    Manual,
    /// Its job was due.
    Schedule,
    /// It makes up for a start that was missed.
    Missed,
}

impl RunReason {
    /// The word used in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            RunReason::Manual => "manual",
            RunReason::Schedule => "schedule",
            RunReason::Missed => "missed",
        }
    }
}

/// One execution of a job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// UUIDv7, so that ids sort by time.
    pub id: Uuid,
    /// Whose.
    pub job_id: Uuid,
    /// The job's name when it ran.
    pub job_name: String,
    /// What it does.
    pub kind: RunKind,
    /// Where it is, or how it ended.
    pub status: RunStatus,
    /// Why it was asked for.
    #[serde(default)]
    pub reason: RunReason,
    /// The due time of the schedule that it is for.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
    /// When it began; while it is queued, when it was asked for.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// What somebody should look at.
    pub warnings: Vec<Warning>,
    /// What it moved.
    pub stats: Stats,
}

impl Run {
    /// The exit code of a command that waited for its end.
    pub const fn exit_code(&self) -> u8 {
        match (self.status, &self.error) {
            (RunStatus::Succeeded, _) => 0,
            (RunStatus::Warning, _) => Code::Warning.exit_code(),
            (RunStatus::Skipped, _) => Code::Skipped.exit_code(),
            (_, Some(error)) => error.code.exit_code(),
            (_, None) => Code::Internal.exit_code(),
        }
    }
}

/// Why a run failed, in the form that is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// The class, which decides the exit code.
    pub code: Code,
    /// The root cause.
    pub message: String,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&Error> for RunError {
    fn from(error: &Error) -> Self {
        RunError {
            code: error.code(),
            message: error.report(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

/// Something that somebody should look at, kept with the run and in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// A stable word for programs, such as `unreadable` or `changed-while-read`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The file it is about, printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// At most this many warnings are kept one by one; the rest is counted.
pub const MAX_WARNINGS: usize = 1_000;

/// What a run moved. The last word of each name is its unit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Content of the source.
    pub source_bytes: u64,
    /// What was written to the critical destination.
    pub stored_bytes: u64,
    /// Files, directories, links and devices seen.
    pub entries: u64,
    /// Backups that retention deleted.
    pub deleted_backups: u64,
    /// What they took at their destinations.
    pub freed_bytes: u64,
    /// Milliseconds from start to end.
    pub duration_ms: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is being done, such as `transferring` or the plugin's own word.
    pub stage: String,
    /// Bytes read from the source so far.
    pub bytes: u64,
    /// Bytes in all, if known.
    pub total_bytes: Option<u64>,
    /// Bytes per second, lately.
    pub rate: u64,
    /// Files so far.
    pub files: u64,
    /// The file or item at hand, printable.
    pub current: Option<String>,
    /// Seconds to go, if a total is known.
    pub remaining_seconds: Option<u64>,
}

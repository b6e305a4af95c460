//! A job: what to back up, to where, when, and for how long it is kept.

pub mod check;
pub mod rules;
pub mod script;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::filters::Filters;
use crate::guards::Guards;
use crate::notify::{NotifyTo, PingSpec};
use crate::run::RunStatus;
use crate::schedule::Schedule;
use crate::span::Span;
pub use script::ScriptSpec;

/// A stored job: what somebody wrote, and what the host knows about it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Given by the host, UUIDv7.
    pub id: Uuid,
    /// What somebody wrote.
    #[serde(flatten)]
    pub spec: JobSpec,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When its last run started.
    pub last_run_at: Option<Timestamp>,
    /// How its last run ended, or where it is.
    pub last_run_status: Option<RunStatus>,
    /// When it is due, for jobs with a schedule.
    pub next_run_at: Option<Timestamp>,
    /// The run that is under way.
    pub current_run_id: Option<Uuid>,
    /// Why nothing of this job may be deleted until somebody says go on.
    pub retention_frozen: Option<String>,
}

/// The part of a job that people write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    /// Unique name: letters, digits, `.`, `_` and `-`, at most 64, starting with a letter or digit.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// Whether the schedule starts it. A run by hand always works.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it runs by itself; without it only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What is backed up.
    pub source: SourceSpec,
    /// Where it goes. The first is critical.
    #[schemars(length(min = 1))]
    pub destinations: Vec<DestinationSpec>,
    /// What happens to the bytes in between.
    #[serde(default)]
    pub filters: Filters,
    /// How long each part may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What is tried again, and how often.
    #[serde(default)]
    pub retries: Retries,
    /// For how long backups are kept; without it for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When a backup is too small to be believed.
    #[serde(default)]
    pub guards: Guards,
    /// How backups are checked.
    #[serde(default)]
    pub verify: Verify,
    /// Undo what a failed run left behind. The host always does.
    #[serde(default = "yes")]
    pub cleanup_on_failure: bool,
    /// Notification channels that are told of it, by name or with the events; without this all that are for jobs that
    /// don't say, with an empty list none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Vec<NotifyTo>>,
    /// Who is told at the start and the end of each run, and misses it if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping: Option<PingSpec>,
    /// Runs before anything else. If it fails, so does the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ScriptSpec>,
    /// Runs after a run that ended well. If it fails, that is a warning: the backup is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ScriptSpec>,
    /// Runs after a run that failed, whatever failed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<ScriptSpec>,
}

impl JobSpec {
    /// Its scripts, each with its name in the job.
    pub fn scripts(&self) -> impl Iterator<Item = (&'static str, &ScriptSpec)> {
        let all = [
            ("before", &self.before),
            ("after", &self.after),
            ("onFailure", &self.on_failure),
        ];
        all.into_iter()
            .filter_map(|(name, script)| Some((name, script.as_ref()?)))
    }
}

fn yes() -> bool {
    true
}

/// The plugin that reads, and its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// Id of a source plugin.
    pub plugin: String,
    /// What the plugin's own schema says.
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// The plugin that stores, and its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationSpec {
    /// Id of a destination plugin.
    pub plugin: String,
    /// What the plugin's own schema says.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Its failure is a warning. The first destination is never optional.
    #[serde(default)]
    pub optional: bool,
}

/// How long each part of a run may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a run to wait for its turn, before it is skipped; 0 is no limit. If absent, 300s for sources that only
    /// stream, else no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Span>,
    /// For the source to get ready, 1–3600 s.
    pub prepare: Span,
    /// For moving the data; 0 is no limit.
    pub transfer: Span,
    /// A stream without a byte for this long is reported; for ten times this long it fails.
    pub stall: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            queue: None,
            prepare: Span::seconds(300),
            transfer: Span::seconds(0),
            stall: Span::seconds(30),
        }
    }
}

/// What is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retries {
    /// How often in all, the first time included.
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from then on.
    pub first_delay: Span,
    /// The longest wait.
    pub max_delay: Span,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts: 3,
            first_delay: Span::seconds(1),
            max_delay: Span::seconds(30),
        }
    }
}

/// For how long backups are kept, at each destination by itself. What any rule takes is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// The newest so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// The newest of each of the last so many days that have one, in the time zone of the job's schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<u32>,
    /// The same for weeks, from Monday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<u32>,
    /// The same for months.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<u32>,
    /// The same for years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<u32>,
    /// No rule keeps what is older. As the only rule it keeps all that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

/// How backups are checked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Verify {
    /// How deep.
    pub level: VerifyLevel,
    /// Check each backup as part of its run.
    pub after_run: bool,
    /// Check again this often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// Where a drill restores what only the tools of the source can read, such as a ZFS stream, and removes it again. Without it
    /// that is only decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill_to: Option<String>,
}

impl Verify {
    /// Whether each backup is to be checked, so that one that has not been doesn't count as kept.
    pub fn is_asked_for(&self) -> bool {
        self.after_run || self.every.is_some()
    }
}

/// How deep a check goes. Each level includes the ones before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum VerifyLevel {
    /// What is stored is there and as long as it should be.
    Size,
    /// What is stored is read back and its hashes compared.
    #[default]
    Checksum,
    /// It is decrypted, decompressed, and the archive walked to its end.
    Archive,
    /// It is restored to a scratch place and compared.
    Restore,
}

impl VerifyLevel {
    /// All levels, the least first.
    pub const ALL: [VerifyLevel; 4] = [
        VerifyLevel::Size,
        VerifyLevel::Checksum,
        VerifyLevel::Archive,
        VerifyLevel::Restore,
    ];

    /// The word used in jobs and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            VerifyLevel::Size => "size",
            VerifyLevel::Checksum => "checksum",
            VerifyLevel::Archive => "archive",
            VerifyLevel::Restore => "restore",
        }
    }
}

/// Free-form facts that a plugin reports about an artifact.
pub type Metadata = BTreeMap<String, Value>;

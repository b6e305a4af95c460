//! What happened, as it is stored, logged and streamed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::run::RunStatus;

/// How loud an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever writes a plugin.
    Debug,
    /// What was done.
    Info,
    /// To be looked at.
    Warn,
    /// What failed.
    Error,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Counts up over the whole database.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// In which run.
    pub run_id: Uuid,
    /// How loud.
    pub level: Level,
    /// Who says it: `host`, or `plugin:ID`.
    pub origin: String,
    /// One sentence.
    pub message: String,
    /// The run's new status, if that is what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
}

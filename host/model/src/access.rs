//! Who may do what through the HTTP interface, and what they did.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::span::Span;

/// What somebody may do. Each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Start and end runs.
    Operator,
    /// Change jobs.
    Admin,
}

impl Role {
    /// The word used in JSON, in the database and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// What is known about a token. The token itself is told once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// UUIDv7.
    pub id: Uuid,
    /// Whose it is, unique.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; never if absent.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// When a token is to expire that is made now and good for so long; nothing if that is no time to expire after.
    pub fn expiry(now: Timestamp, span: Span) -> Option<Timestamp> {
        let span = SignedDuration::try_from(span.duration()).ok()?;
        now.checked_add(span).ok().filter(|at| *at > now)
    }
}

/// A browser that somebody has logged in with a token. It may do what the token allows, and ends with it at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// UUIDv7.
    pub id: Uuid,
    /// Name of the token.
    pub token: String,
    /// What it allows.
    pub role: Role,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// The address that it began from.
    pub address: String,
    /// What the browser called itself then.
    pub agent: Option<String>,
}

/// One thing that somebody wanted to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Counts up.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: `token:NAME`, `user:UID` for somebody on this machine, or `host` for the service by itself.
    pub actor: String,
    /// What: a noun and a verb, such as `job.change`.
    pub action: String,
    /// What of: a job's name, a run's id, a token's name.
    pub subject: String,
    /// What came of it: `done`, or why not. Absent if the host stopped before that was known.
    pub outcome: Option<String>,
}

//! The durable list of things that must be undone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// When an entry is undone. In the other case it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoWhen {
    /// When the run ends, however it ends.
    Always,
    /// When the run ends without a committed backup.
    OnAbort,
    /// When the run has committed a backup.
    OnCommit,
}

impl UndoWhen {
    /// Whether an entry is undone, or else dropped.
    pub const fn applies(self, committed: bool) -> bool {
        match self {
            UndoWhen::Always => true,
            UndoWhen::OnAbort => !committed,
            UndoWhen::OnCommit => committed,
        }
    }
}

/// Who wrote an entry and can undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Owner {
    /// The host; `entry` is a [`HostEntry`].
    Host,
    /// A plugin, called again with the configuration that it had.
    Plugin {
        /// Its id.
        id: String,
        /// Its configuration at the time, so that its grants are the same.
        config: Map<String, Value>,
        /// The destination it acted for; nothing for a source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination: Option<usize>,
        /// What a restore named as its target, for the same reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
}

/// One thing that must be undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; entries are undone from the newest back.
    pub id: i64,
    /// The run that it belongs to.
    pub run_id: Uuid,
    /// Who can undo it.
    pub owner: Owner,
    /// When to.
    pub when: UndoWhen,
    /// What its owner needs to know, opaque to others.
    pub entry: String,
}

/// What the host itself has to undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum HostEntry {
    /// Remove what a restore or a drill wrote into a place that was empty before it.
    EmptyDirectory {
        /// Absolute path.
        path: String,
        /// Remove the directory as well, because the run made it.
        remove: bool,
    },
}

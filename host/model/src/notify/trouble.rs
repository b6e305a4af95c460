//! Whether something is wrong with a job, so that the end of it can be told once.

use crate::run::{RunKind, RunStatus};

/// What the end of a run says about its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Something is wrong from now on, if it wasn't before.
    Begins,
    /// All is well from now on.
    Ends,
    /// Nothing new.
    Unchanged,
}

impl Trouble {
    /// What the end of a run of this kind says. Only what makes backups counts: that a check went well doesn't mean that
    /// backups are made.
    pub fn after(kind: RunKind, status: RunStatus, was_due: bool) -> Trouble {
        match (kind, status) {
            (RunKind::Backup, RunStatus::Succeeded | RunStatus::Warning) => Trouble::Ends,
            (RunKind::Backup, RunStatus::Failed | RunStatus::Interrupted) => Trouble::Begins,
            (RunKind::Backup, RunStatus::Skipped) if was_due => Trouble::Begins,
            _ => Trouble::Unchanged,
        }
    }
}

//! The database of Backstay: jobs, runs, events, the catalogue of backups, the undo journal, plugins, remotes, secrets,
//! tokens, and who changed what.
//!
//! Only this crate knows SQL; nobody outside sees a row, a pool or a database error of their own kind.
//! It keeps and finds things: it never decides (what retention deletes, when a job is due, which entry
//! is undone), never starts anything and never reads the machine's clock. The engine calls it.
//!
//! A method is one transaction: when it has returned `Ok`, a killed process loses nothing of it. What it
//! writes is also safe from a power loss, at the price of one fsync, unless its documentation says that it
//! waits for the next durable write.
//!
//! Where to add things: a noun has a file with its queries; a table or a column is a new file in
//! `migrations/sqlite` (released ones never change); what a database error means to a person is in `failure`.

mod audit;
mod backups;
mod catalogue;
mod columns;
mod events;
mod failure;
mod files;
mod jobs;
mod journal;
mod names;
mod open;
mod outbox;
mod plugins;
mod queue;
mod remotes;
mod removals;
mod requests;
mod runs;
mod secrets;
mod sessions;
mod state;
mod throttle;
mod tokens;
mod totals;
mod transaction;
mod vault;

#[cfg(test)]
mod plans;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use backstay_model::clock::Clock;
use sqlx::SqlitePool;
use uuid::Uuid;

pub use backups::{Backup, BackupFilter};
pub use events::NewEvent;
pub use jobs::Applied;
pub use open::FILE_NAME;
pub use outbox::{ChannelState, Delivery, DeliveryState, TroubleChange, What};
pub use plugins::InstalledPlugin;
pub use queue::{Changes, Considered, Dealt};
pub use remotes::KnownRemote;
pub use requests::{Edited, Outcome, RequestKey};
pub use runs::RunFilter;
pub use secrets::KnownSecret;
pub use state::{MAX_KEY_BYTES, MAX_NOTE_BYTES, MAX_NOTES};
pub use tokens::TOKEN_PREFIX;
pub use totals::{BackupTotal, DURATION_LIMITS, DurationTotal, RunTotal};
pub use vault::{CREDENTIAL_NAME, KEY_FILE_NAME, KeyState, Rotated};

/// An open database. Clones are cheap and share it.
///
/// Several handles and several processes may have the same database open; each write waits up to
/// ten seconds for the others.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    file: PathBuf,
    /// One connection, so that writers of this process queue here in order instead of polling the lock.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Whether a write was refused because its connection can only read.
    reads_only: AtomicBool,
    instance_id: Uuid,
    clock: Arc<dyn Clock>,
    /// Of the secrets.
    key: vault::KeyFile,
}

impl Store {
    /// This installation: made once with the database, UUIDv4, and stamped on each of its backups.
    pub fn instance_id(&self) -> Uuid {
        self.inner.instance_id
    }

    /// The database file, absolute.
    pub fn file(&self) -> &Path {
        &self.inner.file
    }

    /// Waits for what is under way, then closes the database for all clones of this handle. Nothing is lost
    /// without it; the last one to close also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("file", &self.inner.file)
            .field("instance_id", &self.inner.instance_id)
            .finish()
    }
}

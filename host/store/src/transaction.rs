//! Writing: one transaction at a time, and when it is safe.

use std::sync::atomic::Ordering;

use backstay_model::Result;
use sqlx::{Sqlite, Transaction};

use crate::Store;

/// When a write is safe from a power loss. From a killed process it always is, at its commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Durability {
    /// At its commit, for one fsync.
    Now,
    /// At the next commit that is durable now, for none. What is lost is always the newest, never a gap.
    WithNext,
}

impl Store {
    /// Takes the write lock. Dropping the transaction takes back what was done in it.
    pub(crate) async fn begin(
        &self,
        durability: Durability,
        doing: &str,
    ) -> Result<Transaction<'static, Sqlite>> {
        // Set each time, so that a cancelled task never leaves the connection in the weaker mode.
        let statement = match durability {
            Durability::Now => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Durability::WithNext => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        };
        if self.inner.reads_only.swap(false, Ordering::Relaxed) {
            self.replace_writer().await;
        }
        let begun = self.inner.writer.begin_with(statement).await;
        begun.map_err(self.failed(doing))
    }

    /// A connection that was opened while the file couldn't be written stays so when it can be again. If only the write-ahead log
    /// could not be, it refuses to begin; if the database could not be, it begins, and refuses the first write.
    async fn replace_writer(&self) {
        // What is wrong with it otherwise is said by the next write.
        if let Ok(connection) = self.inner.writer.acquire().await {
            let _ = connection.close().await;
        }
    }

    pub(crate) async fn commit(&self, transaction: Transaction<'static, Sqlite>, doing: &str) -> Result<()> {
        transaction.commit().await.map_err(self.failed(doing))
    }
}

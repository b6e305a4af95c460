//! Writing: one transaction at a time, and when it is safe.

use backstay_model::Result;
use sqlx::{Sqlite, Transaction};

use crate::Store;
use crate::failure::is_read_only;

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
        let begun = self.inner.writer.begin_with(statement).await;
        if begun.as_ref().is_err_and(is_read_only) {
            self.replace_writer().await;
        }
        begun.map_err(self.failed(doing))
    }

    /// A connection that was opened while the file couldn't be written stays so when it can be again. The next one is new.
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

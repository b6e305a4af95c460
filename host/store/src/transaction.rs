//! Writing: one transaction at a time, and when it is safe.

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
        self.inner
            .writer
            .begin_with(statement)
            .await
            .map_err(self.failed(doing))
    }

    pub(crate) async fn commit(&self, transaction: Transaction<'static, Sqlite>, doing: &str) -> Result<()> {
        transaction.commit().await.map_err(self.failed(doing))
    }
}

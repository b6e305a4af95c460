//! Who changed what.

use backstay_model::Result;
use backstay_model::access::AuditEntry;
use backstay_model::span::Span;
use jiff::Timestamp;
use sqlx::FromRow;

use crate::Store;
use crate::columns::{Unreadable, read_time, time};
use crate::transaction::Durability;

pub(crate) const PAGE: &str =
    "SELECT id, at, actor, action, subject, outcome FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

#[derive(FromRow)]
struct Row {
    id: i64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    outcome: Option<String>,
}

impl TryFrom<Row> for AuditEntry {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(AuditEntry {
            id: row.id,
            at: read_time(&row.at)?,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            outcome: row.outcome,
        })
    }
}

impl Store {
    /// Writes down that somebody is about to change something. What can't be written down isn't to be done.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn begin_audit(&self, actor: &str, action: &str, subject: &str) -> Result<i64> {
        const DOING: &str = "write down who changes what";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let id = sqlx::query("INSERT INTO audit (at, actor, action, subject) VALUES (?1, ?2, ?3, ?4)")
            .bind(time(self.inner.clock.now()))
            .bind(actor)
            .bind(action)
            .bind(subject)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .last_insert_rowid();
        self.commit(transaction, DOING).await?;
        Ok(id)
    }

    /// Writes down what came of it. Safe from a power loss with the next durable write.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn end_audit(&self, id: i64, outcome: &str) -> Result<()> {
        const DOING: &str = "write down what came of a change";
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        sqlx::query("UPDATE audit SET outcome = ?2 WHERE id = ?1")
            .bind(id)
            .bind(outcome)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// Removes entries that are older than this, and writes down that it did, in one step; nothing if there is none. How many
    /// it removed. It counts from the newest entry that isn't such a note, so that a clock which runs ahead removes no more than
    /// one that is right while nothing is changed under it. What came after an entry that stays, stays.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn expire_audit(&self, actor: &str, keep: Span) -> Result<u64> {
        const DOING: &str = "remove old entries of who changed what";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let newest: Option<String> =
            sqlx::query_scalar("SELECT max(at) FROM audit WHERE action <> 'audit.expire'")
                .fetch_one(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
        let Some(newest) = newest else { return Ok(0) };
        let newest = read_time(&newest).map_err(self.unreadable("who changed what"))?;
        let now = self.inner.clock.now();
        let before = now
            .min(newest)
            .saturating_sub(keep.duration())
            .unwrap_or(Timestamp::MIN);
        let removed = sqlx::query("DELETE FROM audit WHERE id < (SELECT min(id) FROM audit WHERE at >= ?1)")
            .bind(time(before))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        if removed == 0 {
            return Ok(0);
        }
        sqlx::query(
            "INSERT INTO audit (at, actor, action, subject, outcome) VALUES (?1, ?2, 'audit.expire', ?3, 'done')",
        )
        .bind(time(now))
        .bind(actor)
        .bind(format!("{removed} entries from before {before:.0}"))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await?;
        Ok(removed)
    }

    /// What was changed, newest first: what came before an entry, or the newest. Any page costs the same.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>> {
        let rows: Vec<Row> = sqlx::query_as(PAGE)
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read who changed what"))?;
        rows.into_iter()
            .map(AuditEntry::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("who changed what"))
    }
}

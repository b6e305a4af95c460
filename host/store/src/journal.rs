//! The durable list of things that must be undone.

use backstay_model::Result;
use backstay_model::journal::{Entry, Owner, UndoWhen};
use sqlx::FromRow;
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, json, read_id, read_json, read_word, time, word};
use crate::transaction::Durability;

pub(crate) const OF_RUN: &str =
    "SELECT id, run_id, owner, undo_when, entry FROM journal WHERE run_id = ?1 ORDER BY id DESC";

#[derive(FromRow)]
struct Row {
    id: i64,
    run_id: String,
    owner: String,
    undo_when: String,
    entry: String,
}

impl TryFrom<Row> for Entry {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Entry {
            id: row.id,
            run_id: read_id(&row.run_id)?,
            owner: read_json(&row.owner)?,
            when: read_word(row.undo_when)?,
            entry: row.entry,
        })
    }
}

impl Store {
    /// Writes down what will have to be undone, before it is done. Safe from a power loss on return.
    /// Numbers only go up and are never given again.
    ///
    /// # Errors
    /// [`backstay_model::Code::Internal`] if the run hasn't begun; or the database can't be written.
    pub async fn record_entry(
        &self,
        run_id: Uuid,
        owner: &Owner,
        when: UndoWhen,
        entry: &str,
    ) -> Result<i64> {
        const DOING: &str = "write to the undo journal";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let id = sqlx::query(
            "INSERT INTO journal (run_id, owner, undo_when, entry, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(run_id.to_string())
        .bind(json(owner)?)
        .bind(word(when)?)
        .bind(entry)
        .bind(time(self.inner.clock.now()))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?
        .last_insert_rowid();
        self.commit(transaction, DOING).await?;
        Ok(id)
    }

    /// Strikes out an entry that was undone, or need not be. One that is gone already is no error.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_entry(&self, id: i64) -> Result<()> {
        self.remove_entries(&[id]).await
    }

    /// Strikes out several entries at once, all or none, for the price of one.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_entries(&self, ids: &[i64]) -> Result<()> {
        const DOING: &str = "strike out of the undo journal";
        if ids.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        for id in ids {
            sqlx::query("DELETE FROM journal WHERE id = ?1")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
        }
        self.commit(transaction, DOING).await
    }

    /// What is left to undo of a run, newest first: the order to undo it in.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn entries(&self, run_id: Uuid) -> Result<Vec<Entry>> {
        let rows: Vec<Row> = sqlx::query_as(OF_RUN)
            .bind(run_id.to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the undo journal"))?;
        rows.into_iter()
            .map(Entry::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a journal entry"))
    }

    /// The runs with something left to undo, by their oldest entry: the order to undo them in.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn runs_with_entries(&self) -> Result<Vec<Uuid>> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT run_id FROM journal GROUP BY run_id ORDER BY MIN(id)")
                .fetch_all(&self.inner.readers)
                .await
                .map_err(self.failed("read the undo journal"))?;
        ids.iter()
            .map(|id| read_id(id))
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a journal entry"))
    }

    /// Whether a run has committed a backup at its critical destination. Stays true when that is deleted later.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn is_committed(&self, run_id: Uuid) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1 AND committed = 1) \
             OR EXISTS (SELECT 1 FROM backups WHERE run_id = ?1 AND critical = 1)",
        )
        .bind(run_id.to_string())
        .fetch_one(&self.inner.readers)
        .await
        .map_err(self.failed("read whether a run was committed"))
    }
}

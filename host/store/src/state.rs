//! Notes that a plugin keeps for one job, from run to run.

use backstay_model::{Code, Error, Result};
use uuid::Uuid;

use crate::Store;
use crate::columns::time;
use crate::transaction::Durability;

/// Notes of one plugin for one job. Stops a plugin from filling the host's disk.
pub const MAX_NOTES: u32 = 64;

/// Bytes of one note.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Bytes of a note's key.
pub const MAX_KEY_BYTES: usize = 256;

impl Store {
    /// Reads a note.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn state(&self, job_id: Uuid, plugin_id: &str, key: &str) -> Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM state WHERE job_id = ?1 AND plugin_id = ?2 AND key = ?3")
            .bind(job_id.to_string())
            .bind(plugin_id)
            .bind(key)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read a plugin's note"))
    }

    /// Writes a note, or removes it.
    ///
    /// # Errors
    /// [`Code::Security`] for more than [`MAX_NOTES`] notes, [`MAX_NOTE_BYTES`] or [`MAX_KEY_BYTES`];
    /// or the database can't be written.
    pub async fn set_state(
        &self,
        job_id: Uuid,
        plugin_id: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<()> {
        const DOING: &str = "save a plugin's note";
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Error::new(
                Code::Security,
                format!(
                    "plugin `{plugin_id}`: a note's key must have 1 to {MAX_KEY_BYTES} bytes, not {}",
                    key.len()
                ),
            ));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_NOTE_BYTES) {
            return Err(Error::new(
                Code::Security,
                format!(
                    "plugin `{plugin_id}`: the note `{key}` has {} bytes, more than the {MAX_NOTE_BYTES} allowed",
                    value.len()
                ),
            ));
        }
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let Some(value) = value else {
            sqlx::query("DELETE FROM state WHERE job_id = ?1 AND plugin_id = ?2 AND key = ?3")
                .bind(job_id.to_string())
                .bind(plugin_id)
                .bind(key)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            return self.commit(transaction, DOING).await;
        };
        let others: u32 = sqlx::query_scalar(
            "SELECT count(*) FROM state WHERE job_id = ?1 AND plugin_id = ?2 AND key <> ?3",
        )
        .bind(job_id.to_string())
        .bind(plugin_id)
        .bind(key)
        .fetch_one(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        if others >= MAX_NOTES {
            return Err(Error::new(
                Code::Security,
                format!(
                    "plugin `{plugin_id}`: the note `{key}` is one more than the {MAX_NOTES} allowed for a job"
                ),
            ));
        }
        sqlx::query(
            "INSERT INTO state (job_id, plugin_id, key, value, updated_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (job_id, plugin_id, key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        )
        .bind(job_id.to_string())
        .bind(plugin_id)
        .bind(key)
        .bind(value)
        .bind(time(self.inner.clock.now()))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }
}

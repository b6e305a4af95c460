//! Backups that are being deleted: out of every list as soon as it begins, gone when it is done.

use backstay_model::Result;
use uuid::Uuid;

use crate::Store;
use crate::backups::no_backup;
use crate::columns::read_id;
use crate::transaction::Durability;

impl Store {
    /// Says that `run_id` is about to delete a backup at its destination. From here on it is in no list, and
    /// [`Store::removals`] has it until [`Store::remove_backup`] takes it out or [`Store::keep_backup`] puts it
    /// back. Safe from a power loss on return. If another backup builds on it, wherever that is, nothing is done and
    /// that one's id returned.
    ///
    /// # Errors
    /// [`backstay_model::Code::Configuration`] if there is no such backup; or the database can't be written.
    pub async fn begin_removal(&self, id: Uuid, run_id: Uuid) -> Result<Option<Uuid>> {
        self.set_removed_by(id, Some(run_id)).await
    }

    /// Puts a backup back into the lists, of which nothing has been deleted yet.
    ///
    /// # Errors
    /// [`backstay_model::Code::Configuration`] if there is no such backup; or the database can't be written.
    pub async fn keep_backup(&self, id: Uuid) -> Result<()> {
        self.set_removed_by(id, None).await.map(|_| ())
    }

    /// Takes a backup out of the catalogue, once its data is deleted. Whether it was there.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_backup(&self, id: Uuid) -> Result<bool> {
        const DOING: &str = "take a backup out of the catalogue";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let removed = sqlx::query("DELETE FROM backups WHERE id = ?1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        self.commit(transaction, DOING).await?;
        Ok(removed > 0)
    }

    async fn set_removed_by(&self, id: Uuid, run_id: Option<Uuid>) -> Result<Option<Uuid>> {
        const DOING: &str = "save that a backup is being deleted";
        const DEPENDENT: &str = "SELECT id FROM backups \
             WHERE json_extract(manifest, '$.dependsOn') = ?1 AND removed_by IS NULL LIMIT 1";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        if run_id.is_some() {
            let dependent: Option<String> = sqlx::query_scalar(DEPENDENT)
                .bind(id.to_string())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            if let Some(dependent) = dependent {
                return read_id(&dependent).map(Some).map_err(self.unreadable("a backup"));
            }
        }
        let changed = sqlx::query("UPDATE backups SET removed_by = ?2 WHERE id = ?1")
            .bind(id.to_string())
            .bind(run_id.map(|id| id.to_string()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        if changed == 0 {
            return Err(no_backup(id));
        }
        self.commit(transaction, DOING).await?;
        Ok(None)
    }
}

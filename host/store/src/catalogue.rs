//! Backups that were found at their destination: which of them the catalogue knows, and the others put into it.

use std::collections::HashMap;

use backstay_model::job::VerifyLevel;
use backstay_model::{Error, Result};
use jiff::Timestamp;
use uuid::Uuid;

use crate::columns::{json, read_id, read_time, time};
use crate::transaction::Durability;
use crate::{Backup, Store};

const CHECKSUMS: &str = "SELECT id, json_extract(manifest, '$.checksum') FROM backups \
     WHERE id IN (SELECT value FROM json_each(?1))";

// What a run that is under way has stored isn't a backup yet, and what a failed one left is about to be undone.
const ADD: &str = "INSERT INTO backups (id, run_id, job_id, job_name, destination_index, critical, location, receipt, \
     manifest, created_at, verified_at, verified_level, verified_ok) \
     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 \
     WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = ?2 AND finished_at IS NULL) \
     AND NOT EXISTS (SELECT 1 FROM journal WHERE run_id = ?2) ON CONFLICT (id) DO NOTHING";

// A check that was not as deep as is asked for doesn't count.
const UNCHECKED: &str = "SELECT id, max(since, coalesce(attempted_at, since)) AS last FROM \
     (SELECT id, attempted_at, CASE WHEN verified_level IN (SELECT value FROM json_each(?3)) \
     THEN coalesce(verified_at, created_at) ELSE created_at END AS since FROM backups \
     WHERE job_name = ?1 AND removed_by IS NULL) WHERE since < ?2 ORDER BY last, id";

impl Store {
    /// The checksums of the manifests of those of these backups that the catalogue has.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn checksums(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, String>> {
        const DOING: &str = "look backups up in the catalogue";
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let rows: Vec<(String, String)> = sqlx::query_as(CHECKSUMS)
            .bind(json(&ids)?)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed(DOING))?;
        rows.into_iter()
            .map(|(id, checksum)| Ok((read_id(&id)?, checksum)))
            .collect::<std::result::Result<_, _>>()
            .map_err(self.unreadable("a backup"))
    }

    /// Puts backups that were found into the catalogue, all or none, and says of each whether it was added. One
    /// that is there already stays as it is. One of a run that is under way, or has something to undo, is left out.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn add_backups(&self, backups: &[Backup]) -> Result<Vec<bool>> {
        const DOING: &str = "add backups to the catalogue";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let mut added = Vec::with_capacity(backups.len());
        for backup in backups {
            let manifest = &backup.manifest;
            let destination_index = i64::try_from(backup.destination_index)
                .map_err(|e| Error::internal("a destination has an impossible index").because(e))?;
            let done = sqlx::query(ADD)
                .bind(manifest.id.to_string())
                .bind(backup.run_id.to_string())
                .bind(manifest.job.id.to_string())
                .bind(&manifest.job.name)
                .bind(destination_index)
                .bind(backup.critical)
                .bind(&backup.location)
                .bind(&backup.receipt)
                .bind(json(manifest)?)
                .bind(time(backup.created_at))
                .bind(backup.verified_at.map(time))
                .bind(backup.verified_level.map(VerifyLevel::name))
                .bind(backup.verified_ok)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            added.push(done.rows_affected() > 0);
        }
        self.commit(transaction, DOING).await?;
        Ok(added)
    }

    /// The ids of all backups, or of those of one job, newest first: what is to be done to each of many takes no
    /// more memory than this.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn backup_ids(&self, job_name: Option<&str>) -> Result<Vec<Uuid>> {
        let query = match job_name {
            None => sqlx::query_scalar("SELECT id FROM backups WHERE removed_by IS NULL ORDER BY id DESC"),
            Some(name) => {
                const OF_JOB: &str =
                    "SELECT id FROM backups WHERE job_name = ?1 AND removed_by IS NULL ORDER BY id DESC";
                sqlx::query_scalar(OF_JOB).bind(name)
            }
        };
        self.read_ids(query.fetch_all(&self.inner.readers).await)
    }

    /// The ids of those backups of a job that nobody has checked on this level or a deeper one since `before`; of ones
    /// that never were it counts when they were made. Each with when it was last checked, made, or tried to be checked
    /// in vain: who goes by that, the longest ago first, gets round also if some of them can't be checked.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn unchecked_since(
        &self,
        job_name: &str,
        level: VerifyLevel,
        before: Timestamp,
    ) -> Result<Vec<(Uuid, Timestamp)>> {
        let enough: Vec<&str> = VerifyLevel::ALL
            .into_iter()
            .filter(|other| *other >= level)
            .map(VerifyLevel::name)
            .collect();
        let rows: Vec<(String, String)> = sqlx::query_as(UNCHECKED)
            .bind(job_name)
            .bind(time(before))
            .bind(json(&enough)?)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("list backups"))?;
        rows.iter()
            .map(|(id, last)| Ok((read_id(id)?, read_time(last)?)))
            .collect::<std::result::Result<_, _>>()
            .map_err(self.unreadable("a backup"))
    }

    /// Notes that a check of a backup was tried in vain.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn note_attempt(&self, id: Uuid) -> Result<()> {
        const DOING: &str = "note that a backup was not checked";
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        sqlx::query("UPDATE backups SET attempted_at = ?2 WHERE id = ?1")
            .bind(id.to_string())
            .bind(time(self.inner.clock.now()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// The names of all jobs that have backups.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn jobs_with_backups(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT job_name FROM backups WHERE removed_by IS NULL ORDER BY job_name")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("list jobs that have backups"))
    }

    fn read_ids(&self, ids: sqlx::Result<Vec<String>>) -> Result<Vec<Uuid>> {
        let ids = ids.map_err(self.failed("list backups"))?;
        ids.iter()
            .map(|id| read_id(id))
            .collect::<std::result::Result<_, _>>()
            .map_err(self.unreadable("a backup"))
    }
}

//! The catalogue of backups.

use backstay_model::job::VerifyLevel;
use backstay_model::manifest::Manifest;
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use crate::columns::{Unreadable, json, maybe, read_id, read_json, read_time, read_word, time};
use crate::names::suggest;
use crate::transaction::Durability;
use crate::{NewEvent, Store};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT run_id, destination_index, critical, location, receipt, manifest, created_at, \
             verified_at, verified_level, verified_ok, removed_by FROM backups ",
            $tail
        )
    };
}

pub(crate) const BY_ID: &str = select!("WHERE id = ?1 AND removed_by IS NULL");
pub(crate) const NEWEST: &str = select!("WHERE removed_by IS NULL ORDER BY id DESC LIMIT ?1");
pub(crate) const NEWEST_OF_JOB: &str =
    select!("WHERE job_id = ?2 AND removed_by IS NULL ORDER BY id DESC LIMIT ?1");
pub(crate) const PAGE: &str = select!("WHERE id < ?1 AND removed_by IS NULL ORDER BY id DESC LIMIT ?2");
pub(crate) const PAGE_OF_JOB: &str =
    select!("WHERE job_id = ?1 AND id < ?2 AND removed_by IS NULL ORDER BY id DESC LIMIT ?3");
pub(crate) const NEWEST_OF_NAME: &str =
    select!("WHERE job_name = ?2 AND removed_by IS NULL ORDER BY id DESC LIMIT ?1");
pub(crate) const NEWEST_OF_BOTH: &str =
    select!("WHERE job_id = ?2 AND job_name = ?3 AND removed_by IS NULL ORDER BY id DESC LIMIT ?1");
pub(crate) const OF_RUN: &str =
    select!("WHERE run_id = ?1 AND removed_by IS NULL ORDER BY destination_index, id");
pub(crate) const BEING_REMOVED: &str = select!("WHERE removed_by IS NOT NULL ORDER BY id DESC");
// Of what the newest run left, the critical one rather than a copy at an optional destination.
pub(crate) const LATEST_OF_JOB: &str = select!(
    "WHERE run_id = (SELECT run_id FROM backups WHERE job_id = ?1 AND removed_by IS NULL ORDER BY id DESC LIMIT 1) \
     AND removed_by IS NULL ORDER BY critical DESC, destination_index, id DESC LIMIT 1"
);
// A rebuilt catalogue may have what a job of the same name on another host left at the same place.
pub(crate) const LATEST_OF_OWN: &str = select!(
    "WHERE run_id = (SELECT run_id FROM backups WHERE job_id = (SELECT id FROM jobs WHERE name = ?1) \
     AND removed_by IS NULL ORDER BY id DESC LIMIT 1) \
     AND removed_by IS NULL ORDER BY critical DESC, destination_index, id DESC LIMIT 1"
);
pub(crate) const LATEST_OF_NAME: &str = select!(
    "WHERE run_id = (SELECT run_id FROM backups WHERE job_name = ?1 AND removed_by IS NULL ORDER BY id DESC LIMIT 1) \
     AND removed_by IS NULL ORDER BY critical DESC, destination_index, id DESC LIMIT 1"
);

pub(crate) const DAMAGED_OF_JOB: &str = "SELECT id FROM backups WHERE job_id = ?1 AND verified_ok = 0 AND removed_by IS NULL ORDER BY id DESC LIMIT 100";

/// What a run left at one destination. Its id, its job and its run are in the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// What it says about itself.
    pub manifest: Manifest,
    /// Which of the job's destinations.
    pub destination_index: usize,
    /// Where the manifest is stored: the destination's own words, handed back to it.
    pub receipt: String,
    /// Where it is, for people.
    pub location: String,
    /// Whether that is the job's critical destination, so that the run is committed with it.
    pub critical: bool,
    /// When it was last checked.
    pub verified_at: Option<Timestamp>,
    /// How deep.
    pub verified_level: Option<VerifyLevel>,
    /// With which outcome.
    pub verified_ok: Option<bool>,
    /// The run that made it.
    pub run_id: Uuid,
    /// When the source was opened.
    pub created_at: Timestamp,
}

/// Which backups to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFilter<'a> {
    /// Only those of the job with this id.
    pub job: Option<Uuid>,
    /// Only those of jobs that had this name.
    pub job_name: Option<&'a str>,
    /// At most so many.
    pub limit: u32,
}

impl Default for BackupFilter<'_> {
    /// The newest hundred.
    fn default() -> Self {
        BackupFilter {
            job: None,
            job_name: None,
            limit: 100,
        }
    }
}

#[derive(FromRow)]
struct Row {
    run_id: String,
    destination_index: i64,
    critical: bool,
    location: String,
    receipt: String,
    manifest: String,
    created_at: String,
    verified_at: Option<String>,
    verified_level: Option<String>,
    verified_ok: Option<bool>,
    removed_by: Option<String>,
}

impl TryFrom<Row> for Backup {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Backup {
            manifest: read_json(&row.manifest)?,
            destination_index: usize::try_from(row.destination_index)?,
            receipt: row.receipt,
            location: row.location,
            critical: row.critical,
            verified_at: maybe(row.verified_at, |at| read_time(&at))?,
            verified_level: maybe(row.verified_level, read_word)?,
            verified_ok: row.verified_ok,
            run_id: read_id(&row.run_id)?,
            created_at: read_time(&row.created_at)?,
        })
    }
}

impl Store {
    /// Adds a backup to the catalogue, with the events that go with it; at the critical destination this
    /// commits its run. The run need not be known here, so that a catalogue can be rebuilt.
    ///
    /// # Errors
    /// [`Code::Internal`] if the catalogue has it already; or the database can't be written.
    pub async fn commit_backup(&self, backup: &Backup, events: &[NewEvent]) -> Result<()> {
        const DOING: &str = "add a backup to the catalogue";
        let manifest = &backup.manifest;
        let destination_index = i64::try_from(backup.destination_index)
            .map_err(|e| Error::internal("a destination has an impossible index").because(e))?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let added = sqlx::query(
            "INSERT INTO backups (id, run_id, job_id, job_name, destination_index, critical, location, receipt, \
             manifest, created_at, verified_at, verified_level, verified_ok) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING",
        )
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
        .map_err(self.failed(DOING))?
        .rows_affected();
        if added == 0 {
            return Err(Error::internal(format!(
                "the backup {} is in the catalogue already",
                manifest.id
            )));
        }
        if backup.critical {
            sqlx::query("UPDATE runs SET committed = 1 WHERE id = ?1")
                .bind(backup.run_id.to_string())
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
        }
        self.insert_events(&mut transaction, events).await?;
        self.commit(transaction, DOING).await
    }

    /// The newest backups of a job that a verification found damaged, at most a hundred.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn damaged_backups(&self, job: Uuid) -> Result<Vec<Uuid>> {
        const DOING: &str = "list damaged backups";
        let ids: Vec<(String,)> = sqlx::query_as(DAMAGED_OF_JOB)
            .bind(job.to_string())
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed(DOING))?;
        ids.iter()
            .map(|(id,)| read_id(id))
            .collect::<Result<_, Unreadable>>()
            .map_err(self.unreadable("the id of a backup"))
    }

    /// Backups, newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn backups(&self, filter: BackupFilter<'_>) -> Result<Vec<Backup>> {
        let query = match (filter.job, filter.job_name) {
            (None, None) => sqlx::query_as(NEWEST).bind(filter.limit),
            (Some(job), None) => sqlx::query_as(NEWEST_OF_JOB)
                .bind(filter.limit)
                .bind(job.to_string()),
            (None, Some(name)) => sqlx::query_as(NEWEST_OF_NAME).bind(filter.limit).bind(name),
            (Some(job), Some(name)) => sqlx::query_as(NEWEST_OF_BOTH)
                .bind(filter.limit)
                .bind(job.to_string())
                .bind(name),
        };
        self.read_backups(query.fetch_all(&self.inner.readers).await)
    }

    /// The next page of a job's backups, newest first: those before one, or the newest. Any page costs the same, so
    /// that a long history can be looked through without being held in memory.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn backups_before(
        &self,
        job_id: Uuid,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Backup>> {
        let rows = sqlx::query_as(PAGE_OF_JOB)
            .bind(job_id.to_string())
            .bind(before.unwrap_or(Uuid::max()).to_string())
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await;
        self.read_backups(rows)
    }

    /// The next page of all backups, newest first: those before one, or the newest. Any page costs the same.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn all_backups_before(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<Backup>> {
        let rows = sqlx::query_as(PAGE)
            .bind(before.unwrap_or(Uuid::max()).to_string())
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await;
        self.read_backups(rows)
    }

    /// A backup, if it is still there.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn existing_backup(&self, id: Uuid) -> Result<Option<Backup>> {
        self.find_backup(BY_ID, &id.to_string()).await
    }

    /// A backup.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is none; or the database can't be read.
    pub async fn backup(&self, id: Uuid) -> Result<Backup> {
        self.existing_backup(id).await?.ok_or_else(|| no_backup(id))
    }

    /// What the newest run of a job left, at its critical destination if that has it. The job, by id or name,
    /// may have been removed since. Of other jobs of that name, which a rebuilt catalogue may have, something is only
    /// returned if there is nothing of a job here. Whether it passed its check is for the caller to look at.
    ///
    /// # Errors
    /// [`Code::Configuration`], with a hint on what there is, if there is none; or the database can't be read.
    pub async fn latest_backup(&self, job: &str) -> Result<Backup> {
        if let Ok(id) = Uuid::parse_str(job)
            && let Some(backup) = self.find_backup(LATEST_OF_JOB, &id.to_string()).await?
        {
            return Ok(backup);
        }
        if let Some(backup) = self.find_backup(LATEST_OF_OWN, job).await? {
            return Ok(backup);
        }
        match self.find_backup(LATEST_OF_NAME, job).await? {
            Some(backup) => Ok(backup),
            None => Err(self.no_backup_of(job).await),
        }
    }

    /// What a run left, by destination.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn backups_of_run(&self, run_id: Uuid) -> Result<Vec<Backup>> {
        let rows = sqlx::query_as(OF_RUN)
            .bind(run_id.to_string())
            .fetch_all(&self.inner.readers)
            .await;
        self.read_backups(rows)
    }

    /// Keeps the outcome of the latest check of a backup, in place of the one before.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no such backup; or the database can't be written.
    pub async fn record_verification(
        &self,
        id: Uuid,
        level: VerifyLevel,
        ok: bool,
        at: Timestamp,
    ) -> Result<()> {
        const DOING: &str = "save the outcome of a check";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let changed = sqlx::query(
            "UPDATE backups SET verified_at = ?2, verified_level = ?3, verified_ok = ?4 WHERE id = ?1",
        )
        .bind(id.to_string())
        .bind(time(at))
        .bind(level.name())
        .bind(ok)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?
        .rows_affected();
        if changed == 0 {
            return Err(no_backup(id));
        }
        self.commit(transaction, DOING).await
    }

    /// What is being deleted, with the run that does it, the newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn removals(&self) -> Result<Vec<(Backup, Uuid)>> {
        let rows: Vec<Row> = sqlx::query_as(BEING_REMOVED)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read what is being deleted"))?;
        let with_run = |mut row: Row| {
            let run = row.removed_by.take().unwrap_or_default();
            Ok((Backup::try_from(row)?, read_id(&run)?))
        };
        rows.into_iter()
            .map(with_run)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a backup"))
    }

    async fn find_backup(&self, query: &'static str, key: &str) -> Result<Option<Backup>> {
        let row: Option<Row> = sqlx::query_as(query)
            .bind(key)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read a backup"))?;
        row.map(Backup::try_from)
            .transpose()
            .map_err(self.unreadable("a backup"))
    }

    fn read_backups(&self, rows: sqlx::Result<Vec<Row>>) -> Result<Vec<Backup>> {
        let rows = rows.map_err(self.failed("read backups"))?;
        rows.into_iter()
            .map(Backup::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a backup"))
    }

    async fn no_backup_of(&self, job: &str) -> Error {
        let names: sqlx::Result<Vec<String>> =
            sqlx::query_scalar("SELECT DISTINCT job_name FROM backups ORDER BY job_name")
                .fetch_all(&self.inner.readers)
                .await;
        match names {
            Ok(names) if names.iter().any(|name| name == job) => no_backup(job),
            Ok(names) => Error::new(
                Code::Configuration,
                format!("there is no backup of a job `{job}`"),
            )
            .hint(suggest(
                job,
                &names,
                "there are no backups yet: `backstay run JOB` makes one",
            )),
            Err(e) => self.failed("read backups")(e),
        }
    }
}

pub(crate) fn no_backup(id: impl std::fmt::Display) -> Error {
    Error::new(Code::Configuration, format!("there is no backup {id}")).hint("`backstay backups` lists them")
}

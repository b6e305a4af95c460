//! Jobs, by name or id.

use backstay_model::job::{Job, JobSpec};
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, json, maybe, read_id, read_json, read_time, read_word, time};
use crate::names::suggest;
use crate::transaction::Durability;

// The last run is the last that makes backups: what a restore or a check did says nothing about them,
// and doesn't move the schedule.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT jobs.id, jobs.name, spec, created_at, updated_at, retention_frozen, \
             last.started_at AS last_run_at, last.status AS last_run_status, \
             (SELECT id FROM runs WHERE job_id = jobs.id AND finished_at IS NULL AND status <> 'queued' \
              ORDER BY id DESC LIMIT 1) AS current_run_id \
             FROM jobs LEFT JOIN runs AS last ON last.id = \
             (SELECT id FROM runs WHERE job_id = jobs.id AND kind = 'backup' ORDER BY id DESC LIMIT 1) ",
            $tail
        )
    };
}

pub(crate) const BY_ID: &str = select!("WHERE jobs.id = ?1");
pub(crate) const BY_NAME: &str = select!("WHERE jobs.name = ?1");
pub(crate) const ALL: &str = select!("ORDER BY jobs.name");
pub(crate) const PAGE: &str = select!("WHERE jobs.name > ?1 ORDER BY jobs.name LIMIT ?2");
pub(crate) const ACTIVE_RUN: &str =
    "SELECT id, job_name FROM runs WHERE job_id = ?1 AND finished_at IS NULL ORDER BY id LIMIT 1";

/// What applying a job changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// There was none of that name.
    Created,
    /// The one of that name was another.
    Updated,
    /// It was the same.
    Unchanged,
}

#[derive(FromRow)]
pub(crate) struct Row {
    id: String,
    name: String,
    spec: String,
    created_at: String,
    updated_at: String,
    retention_frozen: Option<String>,
    last_run_at: Option<String>,
    last_run_status: Option<String>,
    current_run_id: Option<String>,
}

impl TryFrom<Row> for Job {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Job {
            id: read_id(&row.id)?,
            spec: read_json(&row.spec)?,
            created_at: read_time(&row.created_at)?,
            updated_at: read_time(&row.updated_at)?,
            last_run_at: maybe(row.last_run_at, |at| read_time(&at))?,
            last_run_status: maybe(row.last_run_status, read_word)?,
            next_run_at: None,
            current_run_id: maybe(row.current_run_id, |id| read_id(&id))?,
            retention_frozen: row.retention_frozen,
        })
    }
}

impl Store {
    /// Makes the job of that name be as `spec` says. It keeps its id and what is known about it.
    ///
    /// `next_run_at` of jobs from here is always empty: it follows from the schedule, not from the database.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn apply_job(&self, spec: &JobSpec) -> Result<(Job, Applied)> {
        let doing = &format!("save the job `{}`", spec.name);
        let text = json(spec)?;
        let now = self.inner.clock.now();
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let before: Option<String> = sqlx::query_scalar("SELECT spec FROM jobs WHERE name = ?1")
            .bind(&spec.name)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(doing))?;
        let applied = match before {
            None => Applied::Created,
            // One that can't be read any more is replaced.
            Some(before) if read_json::<JobSpec>(&before).is_ok_and(|before| before == *spec) => {
                Applied::Unchanged
            }
            Some(_) => Applied::Updated,
        };
        let change = match applied {
            Applied::Created => Some(
                sqlx::query(
                    "INSERT INTO jobs (name, spec, updated_at, id, created_at) VALUES (?1, ?2, ?3, ?4, ?3)",
                )
                .bind(&spec.name)
                .bind(text)
                .bind(time(now))
                .bind(new_id(now).to_string()),
            ),
            Applied::Updated => Some(
                sqlx::query("UPDATE jobs SET spec = ?2, updated_at = ?3 WHERE name = ?1")
                    .bind(&spec.name)
                    .bind(text)
                    .bind(time(now)),
            ),
            Applied::Unchanged => None,
        };
        if let Some(change) = change {
            change
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(doing))?;
        }
        let row: Row = sqlx::query_as(BY_NAME)
            .bind(&spec.name)
            .fetch_one(&mut *transaction)
            .await
            .map_err(self.failed(doing))?;
        let job = Job::try_from(row).map_err(self.unreadable("a job"))?;
        self.commit(transaction, doing).await?;
        Ok((job, applied))
    }

    /// The job of that id, or else of that name.
    ///
    /// # Errors
    /// [`Code::Configuration`], with a hint on what there is, if there is none; or the database can't be read.
    pub async fn job(&self, name_or_id: &str) -> Result<Job> {
        let mut found: Option<Row> = None;
        if let Ok(id) = Uuid::parse_str(name_or_id) {
            found = self.find_job(BY_ID, &id.to_string()).await?;
        }
        if found.is_none() {
            found = self.find_job(BY_NAME, name_or_id).await?;
        }
        match found {
            Some(row) => Job::try_from(row).map_err(self.unreadable("a job")),
            None => Err(self.no_job(name_or_id).await),
        }
    }

    /// The job of an id, if there still is one.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn existing_job(&self, id: Uuid) -> Result<Option<Job>> {
        let found = self.find_job(BY_ID, &id.to_string()).await?;
        let job = found.map(|row| Job::try_from(row).map_err(self.unreadable("a job")));
        job.transpose()
    }

    /// All jobs, by name.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn jobs(&self) -> Result<Vec<Job>> {
        let each = self.each_job().await?;
        each.into_iter().map(|(_, job)| job).collect()
    }

    /// The first `limit` jobs whose names come after one, by name. Any page costs the same.
    ///
    /// # Errors
    /// The database can't be read, or a job in it.
    pub async fn jobs_after(&self, name: &str, limit: u32) -> Result<Vec<Job>> {
        let rows: Vec<Row> = sqlx::query_as(PAGE)
            .bind(name)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the jobs"))?;
        rows.into_iter()
            .map(Job::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a job"))
    }

    /// All jobs by name, each on its own: one that can't be read doesn't hide the others.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn each_job(&self) -> Result<Vec<(String, Result<Job>)>> {
        let rows: Vec<Row> = sqlx::query_as(ALL)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the jobs"))?;
        let read = |row: Row| {
            let name = row.name.clone();
            let what = format!("a job, `{name}`,");
            (name, Job::try_from(row).map_err(self.unreadable(&what)))
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Whether there is a job of this id, readable or not.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn has_job(&self, id: Uuid) -> Result<bool> {
        let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = ?1")
            .bind(id.to_string())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("look for a job"))?;
        Ok(there.is_some())
    }

    /// Removes a job. Its runs, its backups and its plugins' notes stay: they are needed to restore.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is none, or while it has a run that has not ended;
    /// or the database can't be written.
    pub async fn remove_job(&self, id: Uuid) -> Result<()> {
        self.remove_job_as_seen(id, None).await.map(|_| ())
    }

    /// As [`Store::remove_job`], if the job is still as it was at `seen`, its time of the last change. False if it isn't.
    ///
    /// # Errors
    /// As [`Store::remove_job`].
    pub async fn remove_job_as_seen(&self, id: Uuid, seen: Option<Timestamp>) -> Result<bool> {
        const DOING: &str = "remove a job";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        if let Some(seen) = seen {
            let changed: Option<String> =
                sqlx::query_scalar("SELECT updated_at FROM jobs WHERE id = ?1 AND updated_at <> ?2")
                    .bind(id.to_string())
                    .bind(time(seen))
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(self.failed(DOING))?;
            if changed.is_some() {
                return Ok(false);
            }
        }
        let active: Option<(String, String)> = sqlx::query_as(ACTIVE_RUN)
            .bind(id.to_string())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        if let Some((run_id, name)) = active {
            return Err(Error::new(
                Code::Configuration,
                format!("the job `{name}` can't be removed: its run {run_id} has not ended"),
            )
            .hint("cancel the run or wait for its end"));
        }
        let removed = sqlx::query("DELETE FROM jobs WHERE id = ?1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        keep_if_found(removed, transaction, self, DOING, id).await?;
        Ok(true)
    }

    /// Stops all deletion of a job's backups for a reason, or allows it again with `None`.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no such job; or the database can't be written.
    pub async fn freeze_retention(&self, job_id: Uuid, reason: Option<&str>) -> Result<()> {
        const DOING: &str = "save whether a job's backups may be deleted";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let changed = sqlx::query("UPDATE jobs SET retention_frozen = ?2 WHERE id = ?1")
            .bind(job_id.to_string())
            .bind(reason)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        keep_if_found(changed, transaction, self, DOING, job_id).await
    }

    async fn find_job(&self, query: &'static str, key: &str) -> Result<Option<Row>> {
        sqlx::query_as(query)
            .bind(key)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read a job"))
    }

    async fn no_job(&self, wanted: &str) -> Error {
        let names: sqlx::Result<Vec<String>> = sqlx::query_scalar("SELECT name FROM jobs ORDER BY name")
            .fetch_all(&self.inner.readers)
            .await;
        match names {
            Ok(names) => {
                Error::new(Code::Configuration, format!("there is no job `{wanted}`")).hint(suggest(
                    wanted,
                    &names,
                    "there are no jobs yet: `backstay apply -f job.yaml` adds one",
                ))
            }
            Err(e) => self.failed("read the jobs")(e),
        }
    }
}

/// Commits a change of one job, or says that there is no such job.
async fn keep_if_found(
    changed: u64,
    transaction: sqlx::Transaction<'static, sqlx::Sqlite>,
    store: &Store,
    doing: &str,
    id: Uuid,
) -> Result<()> {
    if changed == 0 {
        drop(transaction);
        return Err(store.no_job(&id.to_string()).await);
    }
    store.commit(transaction, doing).await
}

/// A UUIDv7 of the injected clock's time.
pub(crate) fn new_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds))
}

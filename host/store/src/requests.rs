//! Requests that may come twice: what was done for one is written down with it, in one transaction.

use backstay_model::job::{Job, JobSpec};
use backstay_model::run::{Run, RunStatus};
use backstay_model::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use sqlx::query::QueryAs;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use crate::columns::{json, read_id, time};
use crate::jobs::{BY_ID, BY_NAME, Row as JobRow, new_id};
use crate::transaction::Durability;
use crate::{NewEvent, Store};

const RECALLING: &str = "look for a request that came before";

/// For so long a request is known again.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

pub(crate) const UNFINISHED_BACKUP: &str = "SELECT id FROM runs WHERE job_id = ?1 AND finished_at IS NULL \
     AND kind = 'backup' ORDER BY id LIMIT 1";

pub(crate) const BY_KEY: &str =
    "SELECT asked, answer FROM requests WHERE actor = ?1 AND key = ?2 AND created_at >= ?3";

/// What tells a request from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Who asks.
    pub actor: String,
    /// What they call it.
    pub key: String,
    /// A hash of what they ask for.
    pub asked: String,
}

/// What came of a request that may come twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// It was done now.
    Done(T),
    /// It is there already, whoever asked for it.
    There(T),
    /// The same request came before, and this came of it.
    Repeated(Uuid),
    /// Another request came before with the same key.
    OtherRequest,
}

/// What came of an edit that holds only for what its author has seen.
#[derive(Debug)]
pub enum Edited {
    /// It was done.
    Done(Box<Job>),
    /// Somebody else has changed it since; this is how it is now.
    Stale(Box<Job>),
}

impl Store {
    /// Puts a run that makes backups into the queue, unless one of its job waits there or is under way.
    ///
    /// # Errors
    /// [`Code::Configuration`] for a job that was removed; or the database can't be written.
    pub async fn enqueue_run(
        &self,
        run: &Run,
        event: &NewEvent,
        key: Option<&RequestKey>,
    ) -> Result<Outcome<Uuid>> {
        const DOING: &str = "put a run into the queue";
        if run.status != RunStatus::Queued {
            return Err(Error::internal("only a run that is queued goes into the queue"));
        }
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        if let Some(known) = self.recall(&mut transaction, key).await? {
            return Ok(known);
        }
        let under_way: Option<String> = sqlx::query_scalar(UNFINISHED_BACKUP)
            .bind(run.job_id.to_string())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        let outcome = match under_way {
            Some(id) => Outcome::There(read_id(&id).map_err(self.unreadable("a run"))?),
            None => {
                let job: Option<i64> = sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = ?1")
                    .bind(run.job_id.to_string())
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(self.failed(DOING))?;
                if job.is_none() {
                    return Err(Error::new(
                        Code::Configuration,
                        format!("the job `{}` can't run: it was removed", run.job_name),
                    ));
                }
                self.insert_run(&mut transaction, run, DOING).await?;
                self.insert_events(&mut transaction, std::slice::from_ref(event))
                    .await?;
                Outcome::Done(run.id)
            }
        };
        if let Outcome::There(id) | Outcome::Done(id) = &outcome {
            self.remember(&mut transaction, key, *id).await?;
        }
        self.commit(transaction, DOING).await?;
        Ok(outcome)
    }

    /// Adds a job, unless there is one of its name.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn create_job(&self, spec: &JobSpec, key: Option<&RequestKey>) -> Result<Outcome<Box<Job>>> {
        let doing = &format!("save the job `{}`", spec.name);
        let now = self.inner.clock.now();
        let mut transaction = self.begin(Durability::Now, doing).await?;
        if let Some(known) = self.recall(&mut transaction, key).await? {
            return Ok(known);
        }
        if let Some(row) = self.job_row(&mut transaction, BY_NAME, &spec.name).await? {
            return Ok(Outcome::There(Box::new(self.readable(row)?)));
        }
        sqlx::query("INSERT INTO jobs (name, spec, updated_at, id, created_at) VALUES (?1, ?2, ?3, ?4, ?3)")
            .bind(&spec.name)
            .bind(json(spec)?)
            .bind(time(now))
            .bind(new_id(now).to_string())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?;
        let row = self.job_row(&mut transaction, BY_NAME, &spec.name).await?;
        let row = row.ok_or_else(|| Error::internal("a job is gone that was just added"))?;
        let job = self.readable(row)?;
        self.remember(&mut transaction, key, job.id).await?;
        self.commit(transaction, doing).await?;
        Ok(Outcome::Done(Box::new(job)))
    }

    /// Makes a job be as `spec` says if it is still as it was at `seen`, its time of the last change. Its name stays.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no such job, or its name is another; or the database can't be written.
    pub async fn change_job(&self, id: Uuid, spec: &JobSpec, seen: Timestamp) -> Result<Edited> {
        let doing = &format!("save the job `{}`", spec.name);
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let before = self.job_in(&mut transaction, id).await?;
        if before.updated_at != seen {
            return Ok(Edited::Stale(Box::new(before)));
        }
        if before.spec.name != spec.name {
            let error = Error::new(
                Code::Configuration,
                format!(
                    "the job `{}` can't become `{}`: a job keeps its name",
                    before.spec.name, spec.name
                ),
            );
            return Err(error.hint("its backups go by that name: add another job instead"));
        }
        if before.spec == *spec {
            return Ok(Edited::Done(Box::new(before)));
        }
        sqlx::query("UPDATE jobs SET spec = ?2, updated_at = ?3 WHERE id = ?1")
            .bind(id.to_string())
            .bind(json(spec)?)
            .bind(time(self.inner.clock.now()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?;
        let job = self.job_in(&mut transaction, id).await?;
        self.commit(transaction, doing).await?;
        Ok(Edited::Done(Box::new(job)))
    }

    async fn job_in(&self, transaction: &mut Transaction<'static, Sqlite>, id: Uuid) -> Result<Job> {
        match self.job_row(transaction, BY_ID, &id.to_string()).await? {
            Some(row) => self.readable(row),
            None => Err(Error::new(Code::Configuration, format!("there is no job {id}"))),
        }
    }

    async fn job_row(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        query: &'static str,
        key: &str,
    ) -> Result<Option<JobRow>> {
        sqlx::query_as(query)
            .bind(key)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.failed("read a job"))
    }

    fn readable(&self, row: JobRow) -> Result<Job> {
        Job::try_from(row).map_err(self.unreadable("a job"))
    }

    /// What came of a request that came before, for who would have to do much before it can be done; nothing if it is new,
    /// as far as can be told before it is done.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn recalled(&self, key: &RequestKey) -> Result<Option<Outcome<Uuid>>> {
        let known: Option<(String, String)> = self
            .known(key)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed(RECALLING))?;
        self.outcome(key, known)
    }

    /// What came of a request that came before.
    async fn recall<T>(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        key: Option<&RequestKey>,
    ) -> Result<Option<Outcome<T>>> {
        let Some(key) = key else { return Ok(None) };
        sqlx::query("DELETE FROM requests WHERE created_at < ?1")
            .bind(time(self.remembered_since()))
            .execute(&mut **transaction)
            .await
            .map_err(self.failed(RECALLING))?;
        let known: Option<(String, String)> = self
            .known(key)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.failed(RECALLING))?;
        self.outcome(key, known)
    }

    fn remembered_since(&self) -> Timestamp {
        let now = self.inner.clock.now();
        now.saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN)
    }

    fn known<'q>(&self, key: &'q RequestKey) -> QueryAs<'q, Sqlite, (String, String), SqliteArguments> {
        sqlx::query_as(BY_KEY)
            .bind(&key.actor)
            .bind(&key.key)
            .bind(time(self.remembered_since()))
    }

    fn outcome<T>(&self, key: &RequestKey, known: Option<(String, String)>) -> Result<Option<Outcome<T>>> {
        let Some((asked, answer)) = known else {
            return Ok(None);
        };
        if asked != key.asked {
            return Ok(Some(Outcome::OtherRequest));
        }
        let answer = read_id(&answer).map_err(self.unreadable("a request"))?;
        Ok(Some(Outcome::Repeated(answer)))
    }

    async fn remember(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        key: Option<&RequestKey>,
        answer: Uuid,
    ) -> Result<()> {
        let Some(key) = key else { return Ok(()) };
        sqlx::query(
            "INSERT INTO requests (actor, key, asked, answer, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(&key.actor)
        .bind(&key.key)
        .bind(&key.asked)
        .bind(answer.to_string())
        .bind(time(self.inner.clock.now()))
        .execute(&mut **transaction)
        .await
        .map_err(self.failed("write down a request"))?;
        Ok(())
    }
}

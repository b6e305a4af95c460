//! Executions of jobs.

use backstay_model::run::{Run, RunKind, RunStatus};
use backstay_model::{Code, Error, Result};
use sqlx::{FromRow, SqliteConnection};
use uuid::Uuid;

use crate::columns::{Unreadable, json, maybe, read_id, read_json, read_time, read_word, time, word};
use crate::transaction::Durability;
use crate::{NewEvent, Store};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, job_id, job_name, kind, status, reason, due_at, started_at, finished_at, error, warnings, stats \
             FROM runs ",
            $tail
        )
    };
}
pub(crate) use select;

pub(crate) const BY_ID: &str = select!("WHERE id = ?1");
pub(crate) const PAGE: &str = select!("WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
pub(crate) const PAGE_OF_JOB: &str = select!("WHERE id < ?1 AND job_id = ?3 ORDER BY id DESC LIMIT ?2");
pub(crate) const UNFINISHED: &str = select!("WHERE finished_at IS NULL ORDER BY id");

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those of this job.
    pub job: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
    /// Only those that began before this one: the last id of the page before.
    pub before: Option<Uuid>,
}

impl Default for RunFilter {
    /// The newest hundred.
    fn default() -> Self {
        RunFilter {
            job: None,
            limit: 100,
            before: None,
        }
    }
}

#[derive(FromRow)]
pub(crate) struct Row {
    id: String,
    job_id: String,
    job_name: String,
    kind: String,
    status: String,
    reason: String,
    due_at: Option<String>,
    started_at: String,
    finished_at: Option<String>,
    error: Option<String>,
    warnings: String,
    stats: String,
}

impl TryFrom<Row> for Run {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Run {
            id: read_id(&row.id)?,
            job_id: read_id(&row.job_id)?,
            job_name: row.job_name,
            kind: read_word(row.kind)?,
            status: read_word(row.status)?,
            reason: read_word(row.reason)?,
            due_at: maybe(row.due_at, |at| read_time(&at))?,
            started_at: read_time(&row.started_at)?,
            finished_at: maybe(row.finished_at, |at| read_time(&at))?,
            error: maybe(row.error, |error| read_json(&error))?,
            warnings: read_json(&row.warnings)?,
            stats: read_json(&row.stats)?,
        })
    }
}

impl Store {
    /// Adds a run, with the events that go with it. It may have ended already, for example as `skipped`.
    ///
    /// # Errors
    /// [`Code::Configuration`] for a run that makes backups for a job that was removed;
    /// or the database can't be written.
    pub async fn begin_run(&self, run: &Run, events: &[NewEvent]) -> Result<()> {
        const DOING: &str = "begin a run";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        if run.kind == RunKind::Backup {
            let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = ?1")
                .bind(run.job_id.to_string())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            if there.is_none() {
                return Err(Error::new(
                    Code::Configuration,
                    format!("the job `{}` can't run: it was removed", run.job_name),
                ));
            }
        }
        self.insert_run(&mut transaction, run, DOING).await?;
        self.insert_events(&mut transaction, events).await?;
        self.commit(transaction, DOING).await
    }

    /// Adds a run to a transaction that is under way.
    pub(crate) async fn insert_run(
        &self,
        connection: &mut SqliteConnection,
        run: &Run,
        doing: &str,
    ) -> Result<()> {
        check_end(run)?;
        sqlx::query(
            "INSERT INTO runs (id, job_id, job_name, kind, status, started_at, finished_at, error, warnings, stats, \
             reason, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .bind(run.id.to_string())
        .bind(run.job_id.to_string())
        .bind(&run.job_name)
        .bind(word(run.kind)?)
        .bind(run.status.name())
        .bind(time(run.started_at))
        .bind(run.finished_at.map(time))
        .bind(run.error.as_ref().map(json).transpose()?)
        .bind(json(&run.warnings)?)
        .bind(json(&run.stats)?)
        .bind(word(run.reason)?)
        .bind(run.due_at.map(time))
        .execute(connection)
        .await
        .map_err(self.failed(doing))?;
        Ok(())
    }

    /// Moves a run on, with the events that go with it. Safe from a power loss with the next durable write.
    ///
    /// # Errors
    /// [`Code::Internal`] if the status is a final one or the run has ended; or the database can't be written.
    pub async fn set_run_status(&self, run_id: Uuid, status: RunStatus, events: &[NewEvent]) -> Result<()> {
        const DOING: &str = "save a run's status";
        if status.is_final() {
            return Err(Error::internal(format!(
                "the run {run_id} can't just become {}: it must be finished",
                status.name()
            )));
        }
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        let changed = sqlx::query("UPDATE runs SET status = ?2 WHERE id = ?1 AND finished_at IS NULL")
            .bind(run_id.to_string())
            .bind(status.name())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        if changed == 0 {
            return Err(self.why_not_open(&mut transaction, run_id).await);
        }
        self.insert_events(&mut transaction, events).await?;
        self.commit(transaction, DOING).await
    }

    /// Ends a run: its status, end, error, warnings and statistics, with the events that go with it.
    ///
    /// # Errors
    /// [`Code::Internal`] if its status isn't final or it has ended before; or the database can't be written.
    pub async fn finish_run(&self, run: &Run, events: &[NewEvent]) -> Result<()> {
        const DOING: &str = "save the end of a run";
        check_ended(run)?;
        let error = run.error.as_ref().map(json).transpose()?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let changed = sqlx::query(
            "UPDATE runs SET status = ?2, finished_at = ?3, error = ?4, warnings = ?5, stats = ?6 \
             WHERE id = ?1 AND finished_at IS NULL",
        )
        .bind(run.id.to_string())
        .bind(run.status.name())
        .bind(run.finished_at.map(time))
        .bind(error)
        .bind(json(&run.warnings)?)
        .bind(json(&run.stats)?)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?
        .rows_affected();
        if changed == 0 {
            return Err(self.why_not_open(&mut transaction, run.id).await);
        }
        self.insert_events(&mut transaction, events).await?;
        self.commit(transaction, DOING).await
    }

    /// A run.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is none; or the database can't be read.
    pub async fn run(&self, id: Uuid) -> Result<Run> {
        let row: Option<Row> = sqlx::query_as(BY_ID)
            .bind(id.to_string())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read a run"))?;
        let row = row.ok_or_else(|| {
            Error::new(Code::Configuration, format!("there is no run {id}"))
                .hint("`backstay runs` lists them")
        })?;
        Run::try_from(row).map_err(self.unreadable("a run"))
    }

    /// Runs, newest first. Any page costs the same.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>> {
        let before = filter.before.unwrap_or(Uuid::max()).to_string();
        let query = match filter.job {
            None => sqlx::query_as(PAGE).bind(before).bind(filter.limit),
            Some(job) => sqlx::query_as(PAGE_OF_JOB)
                .bind(before)
                .bind(filter.limit)
                .bind(job.to_string()),
        };
        self.read_runs(query.fetch_all(&self.inner.readers).await)
    }

    /// Runs that have not ended, oldest first: under way in some process, or interrupted with one.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn unfinished_runs(&self) -> Result<Vec<Run>> {
        self.read_runs(sqlx::query_as(UNFINISHED).fetch_all(&self.inner.readers).await)
    }

    pub(crate) fn read_runs(&self, rows: sqlx::Result<Vec<Row>>) -> Result<Vec<Run>> {
        let rows = rows.map_err(self.failed("read runs"))?;
        rows.into_iter()
            .map(Run::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a run"))
    }

    async fn why_not_open(&self, connection: &mut SqliteConnection, run_id: Uuid) -> Error {
        let status: sqlx::Result<Option<String>> =
            sqlx::query_scalar("SELECT status FROM runs WHERE id = ?1")
                .bind(run_id.to_string())
                .fetch_optional(connection)
                .await;
        match status {
            Ok(Some(status)) => Error::internal(format!("the run {run_id} has ended before, as {status}")),
            Ok(None) => Error::internal(format!("the run {run_id} has not begun")),
            Err(e) => self.failed("read a run")(e),
        }
    }
}

/// A run has an end exactly if its status is final.
/// Whether a run has ended, and in a way in which runs end.
pub(crate) fn check_ended(run: &Run) -> Result<()> {
    check_end(run)?;
    if run.finished_at.is_none() {
        return Err(Error::internal(format!(
            "the run {} can't be finished as {}",
            run.id,
            run.status.name()
        )));
    }
    Ok(())
}

fn check_end(run: &Run) -> Result<()> {
    if run.finished_at.is_some() == run.status.is_final() {
        return Ok(());
    }
    let end = if run.finished_at.is_some() {
        "an end"
    } else {
        "no end"
    };
    Err(Error::internal(format!(
        "the run {} is {} and has {end}",
        run.id,
        run.status.name()
    )))
}

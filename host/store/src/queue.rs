//! Runs that wait for their turn, and how far the schedules of jobs have been dealt with.

use std::collections::HashMap;

use backstay_model::Result;
use backstay_model::run::Run;
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};
use uuid::Uuid;

use crate::columns::{json, read_id, read_time, time};
use crate::runs::{check_ended, select};
use crate::transaction::Durability;
use crate::{NewEvent, Store};

pub(crate) const WAITING: &str = select!("WHERE status = 'queued' ORDER BY id");

/// Numbers that grow with each change, whichever process makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Jobs were added, changed or removed.
    pub jobs: i64,
    /// Runs were put into the queue or left it.
    pub queue: i64,
}

/// Up to when the due times of a job have been dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// The schedule that this holds for, as its user compares it.
    pub schedule: String,
    /// Due times up to here need nothing more.
    pub at: Timestamp,
}

/// One thing to be kept about a job's schedule.
#[derive(Debug, Clone)]
pub struct Dealt {
    /// Whose.
    pub job_id: Uuid,
    /// How far it has been dealt with.
    pub considered: Considered,
    /// The run that its newest due time led to, queued or ended as skipped, with the event that goes with it.
    pub run: Option<(Run, NewEvent)>,
}

impl From<(Uuid, Considered)> for Dealt {
    /// No due time led to a run.
    fn from((job_id, considered): (Uuid, Considered)) -> Self {
        Dealt {
            job_id,
            considered,
            run: None,
        }
    }
}

impl Store {
    /// Keeps what was done about due times, all or nothing, and returns the ids of the runs that were added. A run is left
    /// out if there is one for the same job and due time, or if the job is gone.
    ///
    /// # Errors
    /// The database can't be written; then nothing was kept.
    pub async fn deal_with(&self, dealt: &[Dealt]) -> Result<Vec<Uuid>> {
        const DOING: &str = "save what is due";
        let mut added = Vec::new();
        if dealt.is_empty() {
            return Ok(added);
        }
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        for one in dealt {
            let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM jobs WHERE id = ?1")
                .bind(one.job_id.to_string())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            if there.is_none() {
                continue;
            }
            if let Some((run, event)) = &one.run
                && !self.has_run_for(&mut transaction, run).await?
            {
                self.insert_run(&mut transaction, run, DOING).await?;
                self.insert_events(&mut transaction, std::slice::from_ref(event))
                    .await?;
                added.push(run.id);
            }
            sqlx::query(
                "INSERT INTO schedules (job_id, schedule, considered_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (job_id) DO UPDATE SET schedule = excluded.schedule, considered_at = excluded.considered_at",
            )
            .bind(one.job_id.to_string())
            .bind(&one.considered.schedule)
            .bind(time(one.considered.at))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        }
        self.commit(transaction, DOING).await?;
        Ok(added)
    }

    async fn has_run_for(&self, transaction: &mut Transaction<'static, Sqlite>, run: &Run) -> Result<bool> {
        let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM runs WHERE job_id = ?1 AND due_at = ?2")
            .bind(run.job_id.to_string())
            .bind(run.due_at.map(time))
            .fetch_optional(&mut **transaction)
            .await
            .map_err(self.failed("look for a run"))?;
        Ok(there.is_some())
    }

    /// How far each job's schedule has been dealt with. A row that can't be read is an error of its own, so that it keeps
    /// no other job from its due times.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn considered(&self) -> Result<HashMap<Uuid, Result<Considered>>> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT job_id, schedule, considered_at FROM schedules")
                .fetch_all(&self.inner.readers)
                .await
                .map_err(self.failed("read what has been due"))?;
        rows.into_iter()
            .map(|(job, schedule, at)| {
                let at = read_time(&at).map_err(self.unreadable("how far a schedule was dealt with"));
                Ok((read_id(&job)?, at.map(|at| Considered { schedule, at })))
            })
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a schedule"))
    }

    /// Runs that wait for their turn, the oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn waiting_runs(&self) -> Result<Vec<Run>> {
        self.read_runs(sqlx::query_as(WAITING).fetch_all(&self.inner.readers).await)
    }

    /// Takes a run out of the queue to carry it out, as `preparing`. False if it doesn't wait any more: somebody else
    /// has taken or cancelled it.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn take_run(&self, id: Uuid, started_at: Timestamp) -> Result<bool> {
        const DOING: &str = "take a run out of the queue";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let taken = sqlx::query(
            "UPDATE runs SET status = 'preparing', started_at = ?2 WHERE id = ?1 AND status = 'queued'",
        )
        .bind(id.to_string())
        .bind(time(started_at))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?
        .rows_affected();
        self.commit(transaction, DOING).await?;
        Ok(taken == 1)
    }

    /// Ends a run that still waits, with what goes with it. False if it doesn't wait any more.
    ///
    /// # Errors
    /// [`backstay_model::Code::Internal`] if its status isn't final; or the database can't be written.
    pub async fn end_waiting_run(&self, run: &Run, event: &NewEvent) -> Result<bool> {
        const DOING: &str = "end a run that waits";
        check_ended(run)?;
        let error = run.error.as_ref().map(json).transpose()?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        // One statement, so that nobody can take it in between.
        let ended = sqlx::query(
            "UPDATE runs SET status = ?2, finished_at = ?3, error = ?4 WHERE id = ?1 AND status = 'queued'",
        )
        .bind(run.id.to_string())
        .bind(run.status.name())
        .bind(run.finished_at.map(time))
        .bind(error)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?
        .rows_affected();
        if ended == 0 {
            return Ok(false);
        }
        self.insert_events(&mut transaction, std::slice::from_ref(event))
            .await?;
        self.commit(transaction, DOING).await?;
        Ok(true)
    }

    /// Asks whoever carries out a run to end it. False if it has ended.
    ///
    /// # Errors
    /// [`backstay_model::Code::Configuration`] if there is none; or the database can't be written.
    pub async fn ask_to_cancel(&self, id: Uuid) -> Result<bool> {
        const DOING: &str = "ask a run to end";
        self.run(id).await?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let asked = sqlx::query("UPDATE runs SET cancel_asked_at = ?2 WHERE id = ?1 AND finished_at IS NULL")
            .bind(id.to_string())
            .bind(time(self.inner.clock.now()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        self.commit(transaction, DOING).await?;
        Ok(asked == 1)
    }

    /// Whether somebody asked a run to end.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn is_cancel_asked(&self, id: Uuid) -> Result<bool> {
        let asked: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM runs WHERE id = ?1 AND cancel_asked_at IS NOT NULL")
                .bind(id.to_string())
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(self.failed("ask whether a run is to end"))?;
        Ok(asked.is_some())
    }

    /// What has changed, as numbers to compare with those of before.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn changes(&self) -> Result<Changes> {
        let (jobs, queue) = sqlx::query_as("SELECT jobs, queue FROM changes")
            .fetch_one(&self.inner.readers)
            .await
            .map_err(self.failed("ask what has changed"))?;
        Ok(Changes { jobs, queue })
    }
}

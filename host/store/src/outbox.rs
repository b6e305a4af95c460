//! What somebody is to be told: what happened, the messages made of it, and what became of them.
//!
//! Triggers write down what happens to runs as notices. [`Store::settle_notice`] turns one into deliveries, once.

use std::collections::{BTreeMap, BTreeSet};

use backstay_model::run::RunStatus;
use backstay_model::{Error, Result};
use jiff::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, maybe, read_id, read_time, read_word, time, word};
use crate::transaction::Durability;

pub(crate) const DUE: &str = "SELECT id, channel, job_name, event, payload, created_at, state, attempts, at, error \
     FROM deliveries WHERE state = 'waiting' AND (at <= ?1 OR at > ?2) \
     AND channel NOT IN (SELECT value FROM json_each(?4)) ORDER BY at, id LIMIT ?3";
pub(crate) const NEXT: &str =
    "SELECT (SELECT min(at) FROM deliveries WHERE state = 'waiting'), EXISTS (SELECT 1 FROM notices)";

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A backup began.
    Began(Uuid),
    /// A run ended, with the status that it had before.
    Ended(Uuid, Option<RunStatus>),
    /// A job can't be started, and why.
    Unable {
        /// Whose.
        job: String,
        /// Why.
        message: String,
        /// When that was found.
        at: Timestamp,
    },
    /// A job can be started again.
    Able {
        /// Whose.
        job: String,
        /// When that was found.
        at: Timestamp,
    },
}

/// What is kept about a job being in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleChange {
    /// It is since then, unless it was before.
    Since(Uuid, Timestamp),
    /// It isn't any more.
    Over(Uuid),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It is on its way.
    Waiting,
    /// It was taken by whoever is at the other end.
    Sent,
    /// It could not be sent for too long.
    GivenUp,
    /// A newer ping of its job took its place.
    Replaced,
}

/// A message to one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// UUIDv7.
    pub id: Uuid,
    /// Where to.
    pub channel: String,
    /// Whose job it is about.
    pub job_name: String,
    /// What it tells of.
    pub event: String,
    /// What is sent, as its maker reads it; nothing once it doesn't wait any more.
    pub payload: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// How often sending was tried.
    pub attempts: u32,
    /// When it is tried next; when it was sent or given up.
    pub at: Timestamp,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What there is for a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelState {
    /// Messages on their way.
    pub waiting: u64,
    /// Messages given up, of those that are still kept.
    pub given_up: u64,
    /// When the last was sent.
    pub last_sent_at: Option<Timestamp>,
    /// Why the last attempt of those on their way or given up failed.
    pub last_error: Option<String>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    channel: String,
    job_name: String,
    event: String,
    payload: String,
    created_at: String,
    state: String,
    attempts: u32,
    at: String,
    error: Option<String>,
}

impl TryFrom<Row> for Delivery {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Delivery {
            id: read_id(&row.id)?,
            channel: row.channel,
            job_name: row.job_name,
            event: row.event,
            payload: row.payload,
            created_at: read_time(&row.created_at)?,
            state: read_word(row.state)?,
            attempts: row.attempts,
            at: read_time(&row.at)?,
            error: row.error,
        })
    }
}

type NoticeRow = (
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

fn what((id, what, at, run, was, job, message): NoticeRow) -> Result<What, Unreadable> {
    let run = maybe(run, |run| read_id(&run))?;
    let at = maybe(at, |at| read_time(&at))?;
    Ok(match (what.as_str(), run, job, message, at) {
        ("began", Some(run), ..) => What::Began(run),
        ("ended", Some(run), ..) => What::Ended(run, maybe(was, read_word)?),
        ("unable", _, Some(job), Some(message), Some(at)) => What::Unable { job, message, at },
        ("able", _, Some(job), _, Some(at)) => What::Able { job, at },
        _ => return Err(format!("the notice {id} is incomplete").into()),
    })
}

impl Store {
    /// What happened and is not settled, by its number, the oldest first; an error for one that can't be read.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn notices(&self, limit: u32) -> Result<Vec<(i64, Result<What>)>> {
        let rows: Vec<NoticeRow> = sqlx::query_as(
            "SELECT id, what, at, run_id, was, job_name, message FROM notices ORDER BY id LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(self.failed("read what happened"))?;
        let each = rows.into_iter();
        Ok(each
            .map(|row| (row.0, what(row).map_err(self.unreadable("a notice"))))
            .collect())
    }

    /// Since when something is wrong with a job.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn trouble(&self, job: Uuid) -> Result<Option<Timestamp>> {
        let since: Option<String> = sqlx::query_scalar("SELECT since FROM troubles WHERE job_id = ?1")
            .bind(job.to_string())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read what is wrong"))?;
        maybe(since, |since| read_time(&since)).map_err(self.unreadable("when something went wrong"))
    }

    /// Makes deliveries of a notice, all or nothing. Of those to a `ping/…`, what waited in vain for the same is replaced. False if
    /// somebody else has done it; then nothing was kept.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn settle_notice(
        &self,
        notice: i64,
        trouble: Option<TroubleChange>,
        deliveries: &[Delivery],
    ) -> Result<bool> {
        const DOING: &str = "save who is to be told what";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let settled = sqlx::query("DELETE FROM notices WHERE id = ?1")
            .bind(notice)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        if settled == 0 {
            return Ok(false);
        }
        let change = trouble.map(|trouble| match trouble {
            TroubleChange::Since(job, at) => {
                sqlx::query("INSERT INTO troubles (job_id, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
                    .bind(job.to_string())
                    .bind(time(at))
            }
            TroubleChange::Over(job) => {
                sqlx::query("DELETE FROM troubles WHERE job_id = ?1").bind(job.to_string())
            }
        });
        if let Some(change) = change {
            change
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
        }
        for delivery in deliveries {
            if delivery.channel.starts_with("ping/") {
                sqlx::query(
                    "UPDATE deliveries SET state = 'replaced', payload = '' \
                     WHERE channel = ?1 AND state = 'waiting' AND attempts > 0",
                )
                .bind(&delivery.channel)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
            }
            sqlx::query(
                "INSERT INTO deliveries (id, channel, job_name, event, payload, created_at, state, attempts, at, error) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )
            .bind(delivery.id.to_string())
            .bind(&delivery.channel)
            .bind(&delivery.job_name)
            .bind(&delivery.event)
            .bind(&delivery.payload)
            .bind(time(delivery.created_at))
            .bind(word(delivery.state)?)
            .bind(delivery.attempts)
            .bind(time(delivery.at))
            .bind(&delivery.error)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        }
        self.commit(transaction, DOING).await?;
        Ok(true)
    }

    /// Messages to be sent now, the longest due first. What is due only after `latest` is due by a clock that was put back,
    /// and counts as due. Those of the channels that are `busy` are left out.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn due_deliveries(
        &self,
        now: Timestamp,
        latest: Timestamp,
        busy: &BTreeSet<String>,
        limit: u32,
    ) -> Result<Vec<Delivery>> {
        let busy = serde_json::to_string(busy)
            .map_err(|e| Error::internal("cannot write names of channels as JSON").because(e))?;
        let rows: Vec<Row> = sqlx::query_as(DUE)
            .bind(time(now))
            .bind(time(latest))
            .bind(limit)
            .bind(busy)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read what is to be sent"))?;
        self.read_deliveries(rows)
    }

    /// Whether something happened that isn't settled, and when the next message is to be sent.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn outbox_state(&self) -> Result<(bool, Option<Timestamp>)> {
        let (next, has_notices): (Option<String>, bool) = sqlx::query_as(NEXT)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(self.failed("read what is to be sent"))?;
        let next = maybe(next, |at| read_time(&at)).map_err(self.unreadable("a message"))?;
        Ok((has_notices, next))
    }

    /// Keeps what became of a message after one more attempt. One to a `ping/…` that would wait behind a newer one is replaced
    /// by that. Nothing if it doesn't wait any more.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn record_attempt(
        &self,
        id: Uuid,
        state: DeliveryState,
        at: Timestamp,
        error: Option<&str>,
    ) -> Result<()> {
        const DOING: &str = "save what became of a message";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        sqlx::query(
            "UPDATE deliveries SET at = ?3, state = new.state, error = ?4, attempts = attempts + 1, \
             payload = CASE new.state WHEN 'waiting' THEN payload ELSE '' END \
             FROM (SELECT CASE WHEN ?2 = 'waiting' AND old.channel LIKE 'ping/%' AND EXISTS \
             (SELECT 1 FROM deliveries AS later WHERE later.channel = old.channel AND later.rowid > old.rowid) \
             THEN 'replaced' ELSE ?2 END AS state FROM deliveries AS old WHERE old.id = ?1) AS new \
             WHERE id = ?1 AND deliveries.state = 'waiting'",
        )
        .bind(id.to_string())
        .bind(word(state)?)
        .bind(time(at))
        .bind(error)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// Forgets messages that don't wait and are older than this.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn forget_deliveries(&self, before: Timestamp) -> Result<()> {
        const DOING: &str = "forget old messages";
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        sqlx::query("DELETE FROM deliveries WHERE state <> 'waiting' AND created_at < ?1")
            .bind(time(before))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// Messages, the newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn deliveries(&self, limit: u32) -> Result<Vec<Delivery>> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM deliveries ORDER BY id DESC LIMIT ?1")
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the messages"))?;
        self.read_deliveries(rows)
    }

    /// What there is for each channel, by name; pings of jobs too.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn channel_states(&self) -> Result<BTreeMap<String, ChannelState>> {
        const DOING: &str = "read the messages";
        // The error is the one of the row with the largest time: SQLite's rule for a bare column beside max().
        let rows: Vec<(String, String, i64, String, Option<String>)> = sqlx::query_as(
            "SELECT channel, state, count(*), max(at), error FROM deliveries GROUP BY channel, state",
        )
        .fetch_all(&self.inner.readers)
        .await
        .map_err(self.failed(DOING))?;
        let mut states: BTreeMap<String, ChannelState> = BTreeMap::new();
        for (channel, state, count, at, error) in rows {
            let of = states.entry(channel).or_default();
            let count = u64::try_from(count).unwrap_or(0);
            match read_word(state).map_err(self.unreadable("a message"))? {
                DeliveryState::Waiting => {
                    of.waiting = count;
                    of.last_error = error.or(of.last_error.take());
                }
                DeliveryState::GivenUp => {
                    of.given_up = count;
                    of.last_error = of.last_error.take().or(error);
                }
                DeliveryState::Sent => {
                    of.last_sent_at = Some(read_time(&at).map_err(self.unreadable("a message"))?);
                }
                DeliveryState::Replaced => {}
            }
        }
        Ok(states)
    }

    /// Keeps which jobs can't be started, by name with the reason, and makes a notice of each that is new, has another
    /// reason, or is over.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn set_unable(&self, unable: &BTreeMap<String, String>) -> Result<()> {
        const DOING: &str = "save which jobs can't be started";
        let known: Vec<(String, String)> = sqlx::query_as("SELECT job_name, message FROM unable")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed(DOING))?;
        let known: BTreeMap<String, String> = known.into_iter().collect();
        if known == *unable {
            return Ok(());
        }
        let now = time(self.inner.clock.now());
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        for (job, message) in unable.iter().filter(|(job, why)| known.get(*job) != Some(*why)) {
            for statement in [
                "INSERT INTO unable (job_name, message) VALUES (?1, ?2) \
                 ON CONFLICT (job_name) DO UPDATE SET message = excluded.message",
                "INSERT INTO notices (what, job_name, message, at) VALUES ('unable', ?1, ?2, ?3)",
            ] {
                sqlx::query(statement)
                    .bind(job)
                    .bind(message)
                    .bind(&now)
                    .execute(&mut *transaction)
                    .await
                    .map_err(self.failed(DOING))?;
            }
        }
        for job in known.keys().filter(|job| !unable.contains_key(*job)) {
            for statement in [
                "DELETE FROM unable WHERE job_name = ?1",
                "INSERT INTO notices (what, job_name, at) VALUES ('able', ?1, ?2)",
            ] {
                sqlx::query(statement)
                    .bind(job)
                    .bind(&now)
                    .execute(&mut *transaction)
                    .await
                    .map_err(self.failed(DOING))?;
            }
        }
        self.commit(transaction, DOING).await
    }

    fn read_deliveries(&self, rows: Vec<Row>) -> Result<Vec<Delivery>> {
        rows.into_iter()
            .map(Delivery::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a message"))
    }
}

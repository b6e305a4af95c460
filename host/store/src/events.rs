//! What happened in runs.

use backstay_model::Result;
use backstay_model::event::{Event, Level};
use backstay_model::run::RunStatus;
use jiff::Timestamp;
use sqlx::{FromRow, QueryBuilder, SqliteConnection};
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, maybe, read_id, read_time, read_word, time, word};
use crate::transaction::Durability;

/// Rows in one statement; well below SQLite's limit of 32,766 values.
const ROWS: usize = 500;

pub(crate) const OF_RUN: &str = "SELECT id, at, run_id, level, origin, message, status FROM events \
     WHERE run_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

pub(crate) const ALL: &str = "SELECT id, at, run_id, level, origin, message, status FROM events \
     WHERE id > ?1 ORDER BY id LIMIT ?2";

pub(crate) const LAST_OF_RUN: &str = "SELECT id, at, run_id, level, origin, message, status FROM events \
     WHERE run_id = ?1 ORDER BY id DESC LIMIT ?2";

/// An event that has no number yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// In which run; it must have begun.
    pub run_id: Uuid,
    /// How loud.
    pub level: Level,
    /// Who says it: `host`, or `plugin:ID`.
    pub origin: String,
    /// One sentence.
    pub message: String,
    /// The run's new status, if that is what happened.
    pub status: Option<RunStatus>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    at: String,
    run_id: String,
    level: String,
    origin: String,
    message: String,
    status: Option<String>,
}

impl TryFrom<Row> for Event {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Event {
            id: row.id,
            at: read_time(&row.at)?,
            run_id: read_id(&row.run_id)?,
            level: read_word(row.level)?,
            origin: row.origin,
            message: row.message,
            status: maybe(row.status, read_word)?,
        })
    }
}

impl Store {
    /// Adds events, in this order, all or none. Safe from a power loss with the next durable write.
    ///
    /// # Errors
    /// The database can't be written, or a run hasn't begun ([`backstay_model::Code::Internal`]).
    pub async fn append_events(&self, events: &[NewEvent]) -> Result<()> {
        const DOING: &str = "save events";
        if events.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        self.insert_events(&mut transaction, events).await?;
        self.commit(transaction, DOING).await
    }

    /// The first `limit` events of a run after the one numbered `after` (0 for all), oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn events(&self, run_id: Uuid, after: i64, limit: u32) -> Result<Vec<Event>> {
        let rows: Vec<Row> = sqlx::query_as(OF_RUN)
            .bind(run_id.to_string())
            .bind(after)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the events of a run"))?;
        rows.into_iter()
            .map(Event::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("an event"))
    }

    /// The first `limit` events of all runs after the one numbered `after`, oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn all_events(&self, after: i64, limit: u32) -> Result<Vec<Event>> {
        let rows: Vec<Row> = sqlx::query_as(ALL)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read events"))?;
        rows.into_iter()
            .map(Event::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("an event"))
    }

    /// The last `limit` events of a run, oldest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn last_events(&self, run_id: Uuid, limit: u32) -> Result<Vec<Event>> {
        let rows: Vec<Row> = sqlx::query_as(LAST_OF_RUN)
            .bind(run_id.to_string())
            .bind(limit)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the events of a run"))?;
        rows.into_iter()
            .rev()
            .map(Event::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("an event"))
    }

    /// The number of the newest event; 0 if there is none.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn newest_event(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM events")
            .fetch_one(&self.inner.readers)
            .await
            .map_err(self.failed("ask for the newest event"))
    }

    /// Adds events to a transaction that is under way.
    pub(crate) async fn insert_events(
        &self,
        connection: &mut SqliteConnection,
        events: &[NewEvent],
    ) -> Result<()> {
        for chunk in events.chunks(ROWS) {
            let words: Vec<(String, Option<String>)> = chunk
                .iter()
                .map(|event| {
                    Ok((
                        word(event.level)?,
                        event.status.map(|status| status.name().to_owned()),
                    ))
                })
                .collect::<Result<_>>()?;
            let mut insert =
                QueryBuilder::new("INSERT INTO events (at, run_id, level, origin, message, status) ");
            insert.push_values(chunk.iter().zip(words), |mut row, (event, (level, status))| {
                row.push_bind(time(event.at))
                    .push_bind(event.run_id.to_string())
                    .push_bind(level)
                    .push_bind(&event.origin)
                    .push_bind(&event.message)
                    .push_bind(status);
            });
            insert
                .build()
                .execute(&mut *connection)
                .await
                .map_err(self.failed("save events"))?;
        }
        Ok(())
    }
}

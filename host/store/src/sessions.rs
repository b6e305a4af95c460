//! Browsers that are logged in to the HTTP interface. Only hashes of what their cookies hold are here.
//!
//! A session is looked up together with its token at each request, so that it ends with that and never allows more.

use backstay_model::Result;
use backstay_model::access::{Session, Token};
use backstay_model::settings::SessionSettings;
use backstay_model::span::Span;
use jiff::Timestamp;
use sqlx::{FromRow, SqliteConnection};
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, maybe, read_id, read_time, read_word, time};
use crate::tokens::{hash, new_text};
use crate::transaction::Durability;

/// What the text of a session begins with, so that programs that look for lost secrets know one.
const PREFIX: &str = "bss_";

/// So many browsers may be logged in with one token; a further one takes the place of that which was used longest ago.
const MOST: i64 = 20;

pub(crate) const BY_HASH: &str = "SELECT s.id, t.name AS token, t.role, s.created_at, s.seen_at, s.expires_at, \
     s.address, s.agent, t.id AS token_id, t.created_at AS token_created_at, t.expires_at AS token_expires_at \
     FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.hash = ?1";

const ALL: &str = "SELECT s.id, t.name AS token, t.role, s.created_at, s.seen_at, s.expires_at, \
     s.address, s.agent, t.id AS token_id, t.created_at AS token_created_at, t.expires_at AS token_expires_at \
     FROM sessions s JOIN tokens t ON t.id = s.token_id ORDER BY s.id DESC";

#[derive(FromRow)]
struct Row {
    id: String,
    token: String,
    role: String,
    created_at: String,
    seen_at: String,
    expires_at: String,
    address: String,
    agent: Option<String>,
    token_id: String,
    token_created_at: String,
    token_expires_at: Option<String>,
}

impl TryFrom<Row> for (Session, Token) {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        let role = read_word(row.role)?;
        let session = Session {
            id: read_id(&row.id)?,
            token: row.token.clone(),
            role,
            created_at: read_time(&row.created_at)?,
            seen_at: read_time(&row.seen_at)?,
            expires_at: read_time(&row.expires_at)?,
            address: row.address,
            agent: row.agent,
        };
        let token = Token {
            id: read_id(&row.token_id)?,
            name: row.token,
            role,
            created_at: read_time(&row.token_created_at)?,
            expires_at: maybe(row.token_expires_at, |at| read_time(&at))?,
        };
        Ok((session, token))
    }
}

/// A session as it is now, unless it has ended.
fn as_of(
    (session, token): (Session, Token),
    limits: &SessionSettings,
    now: Timestamp,
) -> Option<(Session, Token)> {
    let expires_at = session.expires_at.min(after(session.created_at, limits.absolute));
    let is_good = now < expires_at
        && token.expires_at.is_none_or(|at| now < at)
        && now < after(session.seen_at, limits.idle);
    is_good.then_some((
        Session {
            expires_at,
            ..session
        },
        token,
    ))
}

fn after(start: Timestamp, span: Span) -> Timestamp {
    start.saturating_add(span.duration()).unwrap_or(Timestamp::MAX)
}

impl Store {
    /// Begins a session with a token, and returns it with its text, which nobody can ask for again. What has ended of
    /// earlier ones is removed.
    ///
    /// # Errors
    /// The database can't be written; so it is when the token was removed meanwhile.
    pub async fn begin_session(
        &self,
        token: &Token,
        limits: &SessionSettings,
        address: &str,
        agent: Option<&str>,
    ) -> Result<(Session, String)> {
        const DOING: &str = "save a session";
        let now = self.inner.clock.now();
        let end = after(now, limits.absolute);
        let session = Session {
            id: Uuid::now_v7(),
            token: token.name.clone(),
            role: token.role,
            created_at: now,
            seen_at: now,
            expires_at: token.expires_at.map_or(end, |at| at.min(end)),
            address: address.to_owned(),
            agent: agent.map(str::to_owned),
        };
        let text = new_text(PREFIX)?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        self.remove_ended(&mut transaction, limits)
            .await
            .map_err(self.failed(DOING))?;
        sqlx::query(
            "DELETE FROM sessions WHERE id IN \
             (SELECT id FROM sessions WHERE token_id = ?1 ORDER BY seen_at DESC LIMIT -1 OFFSET ?2)",
        )
        .bind(token.id.to_string())
        .bind(MOST - 1)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        sqlx::query(
            "INSERT INTO sessions (id, token_id, hash, created_at, seen_at, expires_at, address, agent) \
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7)",
        )
        .bind(session.id.to_string())
        .bind(token.id.to_string())
        .bind(hash(&text))
        .bind(time(now))
        .bind(time(session.expires_at))
        .bind(address)
        .bind(agent)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await?;
        Ok((session, text))
    }

    /// Removes the sessions that have ended, so that longer limits don't bring them back. How many.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_ended_sessions(&self, limits: &SessionSettings) -> Result<u64> {
        const DOING: &str = "remove sessions that have ended";
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        let removed = self.remove_ended(&mut transaction, limits).await;
        let removed = removed.map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await?;
        Ok(removed)
    }

    async fn remove_ended(
        &self,
        connection: &mut SqliteConnection,
        limits: &SessionSettings,
    ) -> sqlx::Result<u64> {
        let now = self.inner.clock.now();
        let before = |span: Span| now.saturating_sub(span.duration()).unwrap_or(Timestamp::MIN);
        let removed =
            sqlx::query("DELETE FROM sessions WHERE expires_at <= ?1 OR seen_at <= ?2 OR created_at <= ?3")
                .bind(time(now))
                .bind(time(before(limits.idle)))
                .bind(time(before(limits.absolute)))
                .execute(connection)
                .await?;
        Ok(removed.rows_affected())
    }

    /// The session with this text and its token, unless it has ended: by its age, by not being used for long, or with its
    /// token.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn session_of(&self, text: &str, limits: &SessionSettings) -> Result<Option<(Session, Token)>> {
        let row: Option<Row> = sqlx::query_as(BY_HASH)
            .bind(hash(text))
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("look for a session"))?;
        let found: Option<(Session, Token)> = row
            .map(TryFrom::try_from)
            .transpose()
            .map_err(self.unreadable("a session"))?;
        let now = self.inner.clock.now();
        Ok(found.and_then(|found| as_of(found, limits, now)))
    }

    /// Writes down that a session is used now. What is lost of it by a power loss only ends it sooner.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn see_session(&self, id: Uuid) -> Result<()> {
        const DOING: &str = "write down that a session is used";
        let mut transaction = self.begin(Durability::WithNext, DOING).await?;
        sqlx::query("UPDATE sessions SET seen_at = ?2 WHERE id = ?1")
            .bind(id.to_string())
            .bind(time(self.inner.clock.now()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// All sessions that have not ended, the newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn sessions(&self, limits: &SessionSettings) -> Result<Vec<Session>> {
        let rows: Vec<Row> = sqlx::query_as(ALL)
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the sessions"))?;
        let now = self.inner.clock.now();
        let mut sessions = Vec::new();
        for row in rows {
            let found = row.try_into().map_err(self.unreadable("a session"))?;
            sessions.extend(as_of(found, limits, now).map(|(session, _)| session));
        }
        Ok(sessions)
    }

    /// Ends a session: it is refused from now on. Whether there was one.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn end_session(&self, id: Uuid) -> Result<bool> {
        const DOING: &str = "end a session";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let ended = sqlx::query("DELETE FROM sessions WHERE id = ?1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?
            .rows_affected();
        self.commit(transaction, DOING).await?;
        Ok(ended > 0)
    }
}

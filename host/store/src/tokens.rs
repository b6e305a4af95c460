//! Tokens of the HTTP interface. Only their hashes are here.
//!
//! A token is 256 random bits, so that a fast hash is as good as a slow one: there is nothing to guess. It is found by
//! its hash, which says nothing about it by how long that takes.

use backstay_model::access::{Role, Token};
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use sqlx::{FromRow, Sqlite, Transaction};
use uuid::Uuid;

use crate::Store;
use crate::columns::{Unreadable, maybe, read_id, read_time, read_word, time};
use crate::names::suggest;
use crate::transaction::Durability;

/// What a token begins with, so that programs that look for lost secrets know one.
pub const TOKEN_PREFIX: &str = "bst_";

/// The note that there was a token once.
const FIRST: &str = "first_token_at";

pub(crate) const BY_HASH: &str = "SELECT id, name, role, created_at, expires_at FROM tokens WHERE hash = ?1";

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    role: String,
    created_at: String,
    expires_at: Option<String>,
}

impl TryFrom<Row> for Token {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(Token {
            id: read_id(&row.id)?,
            name: row.name,
            role: read_word(row.role)?,
            created_at: read_time(&row.created_at)?,
            expires_at: maybe(row.expires_at, |at| read_time(&at))?,
        })
    }
}

impl Store {
    /// Makes a token and returns it with its text, which nobody can ask for again.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the name is taken or none; or the database can't be written.
    pub async fn add_token(
        &self,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(Token, String)> {
        let doing = &format!("save the token `{name}`");
        check_name(name)?;
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let taken: Option<i64> = sqlx::query_scalar("SELECT 1 FROM tokens WHERE name = ?1")
            .bind(name)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(doing))?;
        if taken.is_some() {
            let error = Error::new(Code::Configuration, format!("there is a token `{name}` already"));
            return Err(error.hint("choose another name, or remove that one: `backstay token rm`"));
        }
        let made = self
            .insert_token(&mut transaction, name, role, expires_at)
            .await?;
        self.commit(transaction, doing).await?;
        Ok(made)
    }

    /// Makes a token if there has never been one, and writes down in the same step for whom.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn add_first_token(
        &self,
        name: &str,
        role: Role,
        expires_at: Timestamp,
        actor: &str,
    ) -> Result<Option<(Token, String)>> {
        const DOING: &str = "save the first token";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let had: Option<i64> = sqlx::query_scalar("SELECT 1 FROM meta WHERE key = ?1")
            .bind(FIRST)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        if had.is_some() {
            return Ok(None);
        }
        let made = self
            .insert_token(&mut transaction, name, role, Some(expires_at))
            .await?;
        sqlx::query(
            "INSERT INTO audit (at, actor, action, subject, outcome) VALUES (?1, ?2, 'token.add', ?3, 'done')",
        )
        .bind(time(made.0.created_at))
        .bind(actor)
        .bind(name)
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await?;
        Ok(Some(made))
    }

    async fn insert_token(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(Token, String)> {
        const DOING: &str = "save a token";
        let text = new_text(TOKEN_PREFIX)?;
        let token = Token {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            role,
            created_at: self.inner.clock.now(),
            expires_at,
        };
        sqlx::query(
            "INSERT INTO tokens (id, name, role, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(token.id.to_string())
        .bind(name)
        .bind(role.name())
        .bind(hash(&text))
        .bind(time(token.created_at))
        .bind(expires_at.map(time))
        .execute(&mut **transaction)
        .await
        .map_err(self.failed(DOING))?;
        sqlx::query("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING")
            .bind(FIRST)
            .bind(time(token.created_at))
            .execute(&mut **transaction)
            .await
            .map_err(self.failed(DOING))?;
        Ok((token, text))
    }

    /// The token with this text, unless it has expired.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn token_of(&self, text: &str) -> Result<Option<Token>> {
        let row: Option<Row> = sqlx::query_as(BY_HASH)
            .bind(hash(text))
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("look for a token"))?;
        let token: Option<Token> = row
            .map(Token::try_from)
            .transpose()
            .map_err(self.unreadable("a token"))?;
        let now = self.inner.clock.now();
        Ok(token.filter(|token| token.expires_at.is_none_or(|at| now < at)))
    }

    /// All tokens, by name; those that have expired too.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT id, name, role, created_at, expires_at FROM tokens ORDER BY name")
                .fetch_all(&self.inner.readers)
                .await
                .map_err(self.failed("read the tokens"))?;
        rows.into_iter()
            .map(Token::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a token"))
    }

    /// The token of this id or name.
    ///
    /// # Errors
    /// [`Code::Configuration`], with a hint on what there is, if there is none; or the database can't be read.
    pub async fn token(&self, name_or_id: &str) -> Result<Token> {
        let tokens = self.tokens().await?;
        let found = tokens
            .iter()
            .find(|token| token.name == name_or_id || token.id.to_string() == name_or_id);
        let Some(token) = found else {
            let names: Vec<String> = tokens.into_iter().map(|token| token.name).collect();
            let error = Error::new(Code::Configuration, format!("there is no token `{name_or_id}`"));
            return Err(error.hint(suggest(name_or_id, &names, "there are no tokens")));
        };
        Ok(token.clone())
    }

    /// Removes the token of this id or name: it is refused from now on, and so are sessions that were begun with it.
    ///
    /// # Errors
    /// As [`Store::token`]; or the database can't be written.
    pub async fn remove_token(&self, name_or_id: &str) -> Result<Token> {
        const DOING: &str = "remove a token";
        let token = self.token(name_or_id).await?;
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        sqlx::query("DELETE FROM tokens WHERE id = ?1")
            .bind(token.id.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await?;
        Ok(token)
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    let error = Error::new(Code::Configuration, format!("`{name}` is no name for a token"));
    Err(error.hint("take 1 to 64 letters, digits, `.`, `_` or `-`, not beginning with `.` or `-`"))
}

/// 256 random bits from the kernel, in hexadecimal after a prefix.
pub(crate) fn new_text(prefix: &str) -> Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Code::Environment, "the system gives no random numbers").because(e))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{prefix}{digits}"))
}

pub(crate) fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

//! Object stores that jobs name, with their secrets sealed.

use backstay_model::remote::Remote;
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use sqlx::FromRow;

use crate::Store;
use crate::columns::{Unreadable, json, read_json, read_time, time};
use crate::transaction::Durability;
use crate::vault::Kind;

/// A remote as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRemote {
    /// Its settings.
    pub remote: Remote,
    /// Whether a secret is kept for it.
    pub has_secret: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct Row {
    settings: String,
    sealed: Option<Vec<u8>>,
    created_at: String,
}

impl TryFrom<&Row> for KnownRemote {
    type Error = Unreadable;

    fn try_from(row: &Row) -> Result<Self, Unreadable> {
        Ok(KnownRemote {
            remote: read_json(&row.settings)?,
            has_secret: row.sealed.is_some(),
            created_at: read_time(&row.created_at)?,
        })
    }
}

impl Store {
    /// Adds a remote. Its secret is written only in sealed form.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is one of that name; the key can't be used, or the database not written.
    pub async fn add_remote(&self, remote: &Remote, secret: Option<&str>) -> Result<()> {
        let doing = &format!("save the remote `{}`", remote.name);
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let sealed = match secret {
            Some(secret) => Some(
                self.seal(&mut transaction, Kind::Remote, &remote.name, secret)
                    .await?,
            ),
            None => None,
        };
        let added = sqlx::query(
            "INSERT INTO remotes (name, settings, sealed, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )
        .bind(&remote.name)
        .bind(json(remote)?)
        .bind(sealed)
        .bind(time(self.inner.clock.now()))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(doing))?
        .rows_affected();
        if added == 0 {
            return Err(Error::new(
                Code::Configuration,
                format!("there is a remote `{}` already", remote.name),
            )
            .hint("choose another name, or remove that one: `backstay remote rm`"));
        }
        self.commit(transaction, doing).await
    }

    /// Gives a remote another secret, which is written only in sealed form.
    ///
    /// # Errors
    /// As for [`Store::remote`]; the key can't be used, or the database not written.
    pub async fn change_secret(&self, name: &str, secret: Option<&str>) -> Result<()> {
        let doing = &format!("save the secret of the remote `{name}`");
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let sealed = match secret {
            Some(secret) => Some(self.seal(&mut transaction, Kind::Remote, name, secret).await?),
            None => None,
        };
        let changed = sqlx::query("UPDATE remotes SET sealed = ?2 WHERE name = ?1")
            .bind(name)
            .bind(sealed)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?
            .rows_affected();
        self.commit(transaction, doing).await?;
        if changed == 0 {
            // Says which there are.
            self.remote(name).await?;
        }
        Ok(())
    }

    /// All remotes, by name.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn remotes(&self) -> Result<Vec<KnownRemote>> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM remotes ORDER BY name")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the remotes"))?;
        rows.iter()
            .map(KnownRemote::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a remote"))
    }

    /// The remote of a name.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is none, with those that there are.
    pub async fn remote(&self, name: &str) -> Result<KnownRemote> {
        let row = self.remote_row(name).await?;
        KnownRemote::try_from(&row).map_err(self.unreadable("a remote"))
    }

    /// A remote with its secret, to be used at once and kept nowhere.
    ///
    /// # Errors
    /// As for [`Store::remote`]; [`Code::Encryption`] if the secret can't be opened.
    pub async fn open_remote(&self, name: &str) -> Result<(Remote, Option<String>)> {
        let known = self.remote(name).await?;
        let secret = self.unseal(Kind::Remote, name).await?;
        Ok((known.remote, secret))
    }

    /// Removes a remote with its secret. Whether it was there.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_remote(&self, name: &str) -> Result<bool> {
        let doing = &format!("remove the remote `{name}`");
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let removed = sqlx::query("DELETE FROM remotes WHERE name = ?1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?
            .rows_affected();
        self.commit(transaction, doing).await?;
        Ok(removed > 0)
    }

    async fn remote_row(&self, name: &str) -> Result<Row> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM remotes WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read a remote"))?;
        if let Some(row) = row {
            return Ok(row);
        }
        let known: Vec<String> = self.remotes().await?.into_iter().map(|r| r.remote.name).collect();
        let hint = if known.is_empty() {
            "there is none yet: `backstay remote add` makes one".to_owned()
        } else {
            format!(
                "there are: {}; `backstay remote add` makes another",
                known.join(", ")
            )
        };
        Err(Error::new(Code::Configuration, format!("there is no remote `{name}`")).hint(hint))
    }
}

//! Secrets that jobs name, sealed.

use backstay_model::error::show;
use backstay_model::secrets::check_name;
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use sqlx::FromRow;

use crate::Store;
use crate::columns::{Unreadable, read_time, time};
use crate::names::suggest;
use crate::transaction::Durability;
use crate::vault::Kind;

/// A secret as it is listed: all but its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSecret {
    /// The name that jobs say.
    pub name: String,
    /// When it got its text.
    pub set_at: Timestamp,
}

#[derive(FromRow)]
struct Row {
    name: String,
    set_at: String,
}

impl TryFrom<Row> for KnownSecret {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(KnownSecret {
            set_at: read_time(&row.set_at)?,
            name: row.name,
        })
    }
}

impl Store {
    /// Keeps a secret, in the place of one of the same name. It is written only in sealed form.
    ///
    /// # Errors
    /// The name is none; the key can't be used, or the database not written.
    pub async fn set_secret(&self, name: &str, text: &str) -> Result<()> {
        check_name(name)?;
        let doing = &format!("save the secret `{name}`");
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let sealed = self.seal(&mut transaction, Kind::Secret, name, text).await?;
        sqlx::query(
            "INSERT INTO secrets (name, sealed, set_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, set_at = excluded.set_at",
        )
        .bind(name)
        .bind(sealed)
        .bind(time(self.inner.clock.now()))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(doing))?;
        self.commit(transaction, doing).await
    }

    /// All secrets, by name.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn secrets(&self) -> Result<Vec<KnownSecret>> {
        let rows: Vec<Row> = sqlx::query_as("SELECT name, set_at FROM secrets ORDER BY name")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the secrets"))?;
        rows.into_iter()
            .map(KnownSecret::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a secret"))
    }

    /// Whether there is a secret of a name.
    ///
    /// # Errors
    /// The name can't be one; or the database can't be read.
    pub async fn has_secret(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM secrets WHERE name = ?1)")
            .bind(name)
            .fetch_one(&self.inner.readers)
            .await
            .map_err(self.failed("read the secrets"))
    }

    /// The text of a secret, to be used at once and kept nowhere.
    ///
    /// # Errors
    /// [`Code::Environment`] if there is none of that name; [`Code::Encryption`] if it can't be opened.
    pub async fn secret(&self, name: &str) -> Result<String> {
        check_name(name)?;
        match self.unseal(Kind::Secret, name).await? {
            Some(text) => Ok(text),
            None => Err(self.no_secret(name).await),
        }
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// [`Code::Environment`] if there is none of that name; or the database can't be written.
    pub async fn remove_secret(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let doing = &format!("remove the secret `{name}`");
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let removed = sqlx::query("DELETE FROM secrets WHERE name = ?1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?
            .rows_affected();
        self.commit(transaction, doing).await?;
        match removed {
            0 => Err(self.no_secret(name).await),
            _ => Ok(()),
        }
    }

    async fn no_secret(&self, name: &str) -> Error {
        let missing = Error::new(Code::Environment, format!("there is no secret `{name}`"));
        let file = self.file().with_file_name("secrets").join(name);
        if file.is_file() {
            let file = show(&file);
            return missing.hint(format!(
                "secrets are not read from files any more: `backstay secret set {name} --from-file {file}`, then remove {file}"
            ));
        }
        match self.secrets().await {
            Err(error) => error,
            Ok(known) => {
                let names: Vec<String> = known.into_iter().map(|secret| secret.name).collect();
                let hint = suggest(name, &names, "there are no secrets yet");
                missing.hint(format!("{hint}; `backstay secret set {name}` makes it"))
            }
        }
    }
}

//! Another key for the secrets.
//!
//! First the new key is put before the old one in the key file, then everything is sealed anew, then the old one goes.
//! After each of these steps everything can be opened, so whoever is killed has lost nothing, and the next rotation
//! ends what this one began.

use std::path::PathBuf;

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};

use super::key::{KeyFile, Keys};
use super::{Sealed, blocking, lost};
use crate::Store;
use crate::transaction::Durability;

const DOING: &str = "exchange the key of the secrets";

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Where the key is.
    pub file: PathBuf,
    /// How many secrets were sealed anew.
    pub secrets: usize,
    /// The old key is still in the file, which only the service manager's administrator can change.
    pub keeps_old: bool,
}

impl Store {
    /// Seals all secrets for another key: a new one, or the first of several in a credential of the service manager,
    /// which isn't the host's to change.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no key, or no other one in the credential; a secret can't be opened with the
    /// key that is there; the key file or the database can't be written. Whatever fails, each secret that could be
    /// opened before can be opened.
    pub async fn rotate_key(&self) -> Result<Rotated> {
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let rows = self.sealed(&mut transaction).await?;
        let (file, secrets) = (self.key_file(), rows.len());
        let resealed = blocking(move || exchange(&file, rows)).await?;
        for row in resealed {
            sqlx::query(row.kind.update())
                .bind(row.name)
                .bind(row.sealed)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed(DOING))?;
        }
        self.commit(transaction, DOING).await?;
        let file = self.key_file();
        if !file.is_credential() {
            self.retire().await?;
        }
        Ok(Rotated {
            file: file.path().to_owned(),
            secrets,
            keeps_old: file.is_credential(),
        })
    }

    /// Takes all keys but the first out of the file, if the first opens everything.
    async fn retire(&self) -> Result<()> {
        // Nothing is written, but nobody else may seal or rotate meanwhile.
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let rows = self.sealed(&mut transaction).await?;
        let file = self.key_file();
        blocking(move || {
            let first = file.read()?.ok_or_else(|| lost(&file))?.first();
            match rows.iter().all(|row| first.open(&row.sealed).is_ok()) {
                true => file.write(&first),
                // Another rotation began and wasn't ended.
                false => Ok(()),
            }
        })
        .await
    }
}

/// Opens everything, puts the new key into the file, and seals everything for it.
fn exchange(file: &KeyFile, rows: Vec<Sealed>) -> Result<Vec<Sealed>> {
    let keys = match file.read()? {
        Some(keys) => keys,
        None if rows.is_empty() => {
            return Err(Error::new(
                Code::Configuration,
                "there is no key to exchange: no secret was ever kept here",
            )
            .hint("`backstay secret set` and `backstay remote add` make it"));
        }
        None => return Err(lost(file)),
    };
    let mut opened = Vec::with_capacity(rows.len());
    for row in rows {
        let secret = super::open_with(&keys, file, row.kind, &row.name, &row.sealed)?;
        opened.push((row.kind, row.name, secret));
    }
    let keys = next(file, keys)?;
    opened
        .into_iter()
        .map(|(kind, name, secret)| {
            let sealed = keys.seal(&kind.purpose(&name), &secret)?;
            Ok(Sealed { kind, name, sealed })
        })
        .collect()
}

/// The keys with the one to seal for first, which are in the file before anything is sealed for it.
fn next(file: &KeyFile, keys: Keys) -> Result<Keys> {
    if !file.is_credential() {
        let keys = keys.with_new();
        file.write(&keys)?;
        return Ok(keys);
    }
    if keys.count() > 1 {
        return Ok(keys);
    }
    let message = format!(
        "the key of the secrets is a credential of the service manager, {}, which Backstay can't change",
        show(file.path())
    );
    Err(Error::new(Code::Configuration, message).hint(
        "make a key by `age-keygen`, put it before the old one into the credential, start the service anew, repeat this, and take the old one out",
    ))
}

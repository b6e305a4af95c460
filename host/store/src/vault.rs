//! Seals secrets before they are written to the database: as age files for a key that lies apart from it.
//!
//! Who gets hold of the database alone, from a backup or a support bundle, has nothing. The key file is an ordinary
//! age identity file, so that the tools of age can open what is sealed when Backstay can't.
//!
//! Whoever seals holds the database's write lock from before the key is read until the secret is kept, so that no key
//! is exchanged or made in between. Who opens holds nothing, and looks again if what is sealed changed meanwhile.

mod key;
mod rotate;

use std::path::{Path, PathBuf};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use sqlx::{Sqlite, Transaction};

use crate::Store;
pub(crate) use key::KeyFile;
use key::Keys;
pub use key::{CREDENTIAL_NAME, KEY_FILE_NAME, KeyState};
pub use rotate::Rotated;

/// What a sealed secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To sign in to a remote.
    Remote,
    /// For jobs that name it.
    Secret,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Remote, Kind::Secret];

    /// What is sealed with a secret, so that nobody can put it to another use by moving it within the database.
    fn purpose(self, name: &str) -> String {
        match self {
            Kind::Remote => format!("the remote `{name}`"),
            Kind::Secret => format!("the secret `{name}`"),
        }
    }

    /// What it is called in a message.
    fn title(self, name: &str) -> String {
        match self {
            Kind::Remote => format!("the secret of the remote `{name}`"),
            Kind::Secret => format!("the secret `{name}`"),
        }
    }

    /// Reads the one of a name.
    fn one(self) -> &'static str {
        match self {
            Kind::Remote => "SELECT sealed FROM remotes WHERE name = ?1 AND sealed IS NOT NULL",
            Kind::Secret => "SELECT sealed FROM secrets WHERE name = ?1",
        }
    }

    /// Reads all, with their names.
    fn all(self) -> &'static str {
        match self {
            Kind::Remote => "SELECT name, sealed FROM remotes WHERE sealed IS NOT NULL ORDER BY name",
            Kind::Secret => "SELECT name, sealed FROM secrets ORDER BY name",
        }
    }

    /// Writes one that is there.
    fn update(self) -> &'static str {
        match self {
            Kind::Remote => "UPDATE remotes SET sealed = ?2 WHERE name = ?1",
            Kind::Secret => "UPDATE secrets SET sealed = ?2 WHERE name = ?1",
        }
    }
}

/// A secret as the database has it.
struct Sealed {
    kind: Kind,
    name: String,
    sealed: Vec<u8>,
}

impl Store {
    /// Seals a secret. Makes the key if this is the first one; while there are others, the key must be theirs.
    pub(crate) async fn seal(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        kind: Kind,
        name: &str,
        secret: &str,
    ) -> Result<Vec<u8>> {
        let there = self.sealed(transaction).await?;
        let (file, name, secret) = (self.key_file(), name.to_owned(), secret.to_owned());
        blocking(move || {
            let keys = match file.read()? {
                Some(keys) => keys,
                None if there.is_empty() => file.make()?,
                None => return Err(lost(&file)),
            };
            // The one that is sealed anew may be one that nobody can open any more.
            let other = there.iter().find(|one| !(one.kind == kind && one.name == name));
            if let Some(other) = other {
                open_with(&keys, &file, other.kind, &other.name, &other.sealed)?;
            }
            keys.seal(&kind.purpose(&name), &secret)
        })
        .await
    }

    /// Opens a secret; nothing if none of that name is sealed.
    pub(crate) async fn unseal(&self, kind: Kind, name: &str) -> Result<Option<String>> {
        let mut seen = None;
        loop {
            let sealed: Option<Vec<u8>> = sqlx::query_scalar(kind.one())
                .bind(name)
                .fetch_optional(&self.inner.readers)
                .await
                .map_err(self.failed("read a secret"))?;
            let Some(sealed) = sealed else { return Ok(None) };
            let (file, name, now) = (self.key_file(), name.to_owned(), sealed.clone());
            match blocking(move || open(&file, kind, &name, &now)).await {
                Ok(secret) => return Ok(Some(secret)),
                // The key was exchanged between the two looks.
                Err(_) if seen.as_ref() != Some(&sealed) => seen = Some(sealed),
                Err(error) => return Err(error),
            }
        }
    }

    /// The key of the secrets, as it is found: its owner and mode are as they should be.
    ///
    /// # Errors
    /// It can't be used, why, and what to do; or it is gone while there are secrets.
    pub async fn key_state(&self) -> Result<Option<KeyState>> {
        let sealed = self.sealed_secrets().await?;
        let file = self.key_file();
        blocking(move || match file.state()? {
            None if sealed > 0 => Err(lost(&file)),
            state => Ok(state),
        })
        .await
    }

    /// All secrets that are sealed.
    async fn sealed(&self, transaction: &mut Transaction<'static, Sqlite>) -> Result<Vec<Sealed>> {
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(kind.all())
                .fetch_all(&mut **transaction)
                .await
                .map_err(self.failed("read the secrets"))?;
            all.extend(
                rows.into_iter()
                    .map(|(name, sealed)| Sealed { kind, name, sealed }),
            );
        }
        Ok(all)
    }

    /// How many secrets are sealed, of remotes and for jobs.
    async fn sealed_secrets(&self) -> Result<i64> {
        sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM remotes WHERE sealed IS NOT NULL) + (SELECT count(*) FROM secrets)",
        )
        .fetch_one(&self.inner.readers)
        .await
        .map_err(self.failed("read the secrets"))
    }

    fn key_file(&self) -> KeyFile {
        self.inner.key.clone()
    }
}

fn open(file: &KeyFile, kind: Kind, name: &str, sealed: &[u8]) -> Result<String> {
    let keys = file.read()?.ok_or_else(|| {
        foreign(
            kind,
            name,
            format!("can't be opened: {} is gone", show(file.path())),
        )
    })?;
    open_with(&keys, file, kind, name, sealed)
}

fn open_with(keys: &Keys, file: &KeyFile, kind: Kind, name: &str, sealed: &[u8]) -> Result<String> {
    let opened = keys.open(sealed).map_err(|cause| {
        let what = format!("can't be opened with the key in {}", show(file.path()));
        foreign(kind, name, what).because(cause)
    })?;
    match opened {
        None => Err(foreign(kind, name, "was not written by Backstay".to_owned())),
        Some(opened) if opened.purpose != kind.purpose(name) => {
            Err(foreign(kind, name, format!("belongs to {}", opened.purpose)))
        }
        Some(opened) => Ok(opened.secret),
    }
}

fn foreign(kind: Kind, name: &str, what: String) -> Error {
    Error::new(Code::Encryption, format!("{} {what}", kind.title(name)))
        .hint("put back the key file that belongs to this database, or remove the secret and give it again")
}

/// A new key would open none of the secrets that are there, and lie where theirs must be put back.
fn lost(file: &KeyFile) -> Error {
    Error::new(
        Code::Encryption,
        format!("{} is gone, the key of the secrets in the database", show(file.path())),
    )
    .hint(format!(
        "put {} back from a backup, or remove all that it had sealed and give it again: `backstay secret rm`, `backstay remote rm`",
        file.name()
    ))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("a secret was not handled").because(e))?
}

/// Where the key is: in the credential of the service manager if there is one, else beside the database.
pub(crate) fn key_of(dir: &Path, credential: Option<PathBuf>) -> KeyFile {
    match credential {
        Some(path) => KeyFile::credential(path),
        None => KeyFile::own(dir.join(KEY_FILE_NAME)),
    }
}

//! Seals secrets before they are written to the database: as age files for a key that lies beside it.
//!
//! Who gets hold of the database alone, from a backup or a support bundle, has nothing. The key file is an ordinary
//! age identity, so that the tools of age can open what is sealed when Backstay can't.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Store;

/// Name of the key file in the data directory.
pub const KEY_FILE_NAME: &str = "secrets.key";

/// What is sealed: a secret together with what it is for, so that nobody can put it to another use by moving it
/// within the database.
#[derive(Serialize, Deserialize)]
struct Sealed {
    purpose: String,
    secret: String,
}

impl Store {
    /// Seals a secret. Makes the key if this is the first one; while there are others, their key must be there.
    pub(crate) async fn seal(&self, purpose: String, secret: String) -> Result<Vec<u8>> {
        let file = self.key_file();
        // Asked before the key is looked for: another process makes the key before it keeps a secret.
        let has_sealed = self.has_sealed_secrets().await?;
        blocking(move || {
            let key = match read(&file)? {
                Some(key) => key,
                None if has_sealed => return Err(lost(&file)),
                None => make(&file)?,
            };
            let text = serde_json::to_vec(&Sealed { purpose, secret })
                .map_err(|e| Error::internal("cannot write a secret as JSON").because(e))?;
            age::encrypt(&key.to_public(), &text)
                .map_err(|e| Error::new(Code::Encryption, "cannot encrypt a secret").because(e))
        })
        .await
    }

    /// Opens what was sealed for this purpose.
    pub(crate) async fn unseal(&self, purpose: String, sealed: Vec<u8>) -> Result<String> {
        let file = self.key_file();
        blocking(move || {
            let foreign = |what: &str| {
                Error::new(Code::Encryption, format!("the secret of {purpose} {what}")).hint(
                    "put back the key file that belongs to this database, or remove it and give the secret again",
                )
            };
            let key = read(&file)?
                .ok_or_else(|| foreign(&format!("can't be opened: {} is gone", show(&file))))?;
            let text = age::decrypt(&key, &sealed).map_err(|e| {
                foreign(&format!("can't be opened with the key in {}", show(&file))).because(e)
            })?;
            let sealed: Sealed = serde_json::from_slice(&text)
                .map_err(|_| foreign("was not written by Backstay"))?;
            if sealed.purpose != purpose {
                return Err(foreign(&format!("belongs to {}", sealed.purpose)));
            }
            Ok(sealed.secret)
        })
        .await
    }

    fn key_file(&self) -> PathBuf {
        self.file().with_file_name(KEY_FILE_NAME)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("a secret was not handled").because(e))?
}

/// A new key would open none of the secrets that are there, and lie where theirs must be put back.
fn lost(file: &Path) -> Error {
    Error::new(
        Code::Encryption,
        format!("{} is gone, the key of the secrets in the database", show(file)),
    )
    .hint(format!(
        "put {KEY_FILE_NAME} back from a backup, or remove the remotes that have a secret and add them again: `backstay remote rm`, `backstay remote add`"
    ))
}

/// The key, if there is one.
fn read(file: &Path) -> Result<Option<Identity>> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = |e| Error::io_as(Code::Permission, "read the key of the secrets,", file, e);
    let meta = match fs::metadata(file) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    if meta.mode() & 0o077 != 0 {
        return Err(Error::new(
            Code::Permission,
            format!("the key of the secrets, {}, can be read by others", show(file)),
        )
        .hint(format!("chmod 600 {}", show(file))));
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    let mut lines = text.lines().map(str::trim);
    let key = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let key = key.and_then(|line| line.parse().ok());
    let damaged = || Error::new(Code::Encryption, format!("{} holds no age key", show(file)));
    Ok(Some(key.ok_or_else(damaged)?))
}

/// Makes the key; if somebody else was faster, theirs is taken. What is used is what lies in the file, never what was
/// meant to.
fn make(file: &Path) -> Result<Identity> {
    let temporary = file.with_file_name(format!("{KEY_FILE_NAME}.{}", Uuid::new_v4()));
    let written = write_once(&temporary, file);
    // It has its real name by now, or is of no use.
    let _ = fs::remove_file(&temporary);
    written.map_err(|e| Error::io_as(Code::Environment, "make the key of the secrets,", file, e))?;
    read(file)?.ok_or_else(|| Error::io("read", file, io::ErrorKind::NotFound.into()))
}

/// Writes a new key to a temporary file, and gives it the real name if nothing has that yet.
fn write_once(temporary: &Path, file: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let key = Identity::generate();
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(temporary)?;
    writeln!(
        out,
        "# opens the secrets in the database beside it; keep it from others"
    )?;
    writeln!(out, "{}", key.to_string().expose_secret())?;
    out.sync_all()?;
    // It appears whole or not at all, and never in the place of another.
    match fs::hard_link(temporary, file) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // Also for the key of another, who may not have come this far.
    fs::File::open(file.parent().unwrap_or(file))?.sync_all()
}

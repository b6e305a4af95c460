//! The key file: age identities, a line each. What is sealed is sealed for the first; each of them opens. There is more
//! than one only while the key is exchanged.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// Name of the key file in the data directory.
pub const KEY_FILE_NAME: &str = "secrets.key";

/// Name of the credential of the service manager that holds the key instead, if there is one.
pub const CREDENTIAL_NAME: &str = "backstay-secrets.key";

/// A secret together with what it is for.
#[derive(Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) purpose: String,
    pub(super) secret: String,
}

/// Where the key is.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile {
    path: PathBuf,
    /// The service manager put it there, guards it, and takes it away again.
    is_credential: bool,
}

/// What a key file looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The file.
    pub path: PathBuf,
    /// Whether it is a credential of the service manager.
    pub is_credential: bool,
    /// How many keys it holds: more than one if the key was not exchanged to the end.
    pub keys: usize,
}

/// The keys of a file, never none.
pub(super) struct Keys(Vec<Identity>);

impl Keys {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// A new one before these.
    pub(super) fn with_new(mut self) -> Self {
        self.0.insert(0, Identity::generate());
        self
    }

    /// Only the first.
    pub(super) fn first(mut self) -> Self {
        self.0.truncate(1);
        self
    }

    pub(super) fn seal(&self, purpose: &str, secret: &str) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(&Sealed {
            purpose: purpose.to_owned(),
            secret: secret.to_owned(),
        })
        .map_err(|e| Error::internal("cannot write a secret as JSON").because(e))?;
        let Some(first) = self.0.first() else {
            return Err(Error::internal("there is no key to seal a secret for"));
        };
        age::encrypt(&first.to_public(), &text)
            .map_err(|e| Error::new(Code::Encryption, "cannot encrypt a secret").because(e))
    }

    /// What was sealed for one of them; nothing if it isn't from here.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Option<Sealed>, age::DecryptError> {
        let mut refused = age::DecryptError::NoMatchingKeys;
        for key in &self.0 {
            match age::decrypt(key, sealed) {
                Ok(text) => return Ok(serde_json::from_slice(&text).ok()),
                Err(cause) => refused = cause,
            }
        }
        Err(refused)
    }

    fn text(&self) -> String {
        let mut text = String::from("# opens the secrets in the database beside it; keep it from others\n");
        for key in &self.0 {
            text.push_str(key.to_string().expose_secret());
            text.push('\n');
        }
        text
    }
}

impl KeyFile {
    /// A file of this host.
    pub(crate) fn own(path: PathBuf) -> Self {
        KeyFile {
            path,
            is_credential: false,
        }
    }

    /// A file of the service manager.
    pub(crate) fn credential(path: PathBuf) -> Self {
        KeyFile {
            path,
            is_credential: true,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_credential(&self) -> bool {
        self.is_credential
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_credential {
            CREDENTIAL_NAME
        } else {
            KEY_FILE_NAME
        }
    }

    /// The keys, if the file is there.
    pub(super) fn read(&self) -> Result<Option<Keys>> {
        let Some(meta) = self.metadata()? else {
            return Ok(None);
        };
        let file = show(&self.path);
        // The service manager guards its own by the directory.
        if !self.is_credential && meta.mode() & 0o077 != 0 {
            return Err(Error::new(
                Code::Permission,
                format!("the key of the secrets, {file}, can be read by others"),
            )
            .hint(format!("chmod 600 {file}")));
        }
        let text = fs::read_to_string(&self.path).map_err(|e| self.unreadable(e))?;
        let lines = text.lines().map(str::trim);
        let keys: Option<Vec<Identity>> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.parse().ok())
            .collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Some(Keys(keys))),
            _ => Err(Error::new(Code::Encryption, format!("{file} holds no age key"))
                .hint("put the key file back from a backup")),
        }
    }

    /// What the file looks like, if it is there.
    ///
    /// # Errors
    /// It can't be used, or doesn't belong to whom the data directory belongs to.
    pub(super) fn state(&self) -> Result<Option<KeyState>> {
        let Some(keys) = self.read()? else {
            return Ok(None);
        };
        if let (false, Some(meta), Some(dir)) = (self.is_credential, self.metadata()?, self.path.parent()) {
            let owner = fs::metadata(dir).map_err(|e| self.unreadable(e))?.uid();
            if meta.uid() != owner {
                let file = show(&self.path);
                return Err(Error::new(
                    Code::Permission,
                    format!(
                        "the key of the secrets, {file}, belongs to the user {}, and its directory to {owner}",
                        meta.uid()
                    ),
                )
                .hint(format!("chown {owner} {file}")));
            }
        }
        Ok(Some(KeyState {
            path: self.path.clone(),
            is_credential: self.is_credential,
            keys: keys.count(),
        }))
    }

    /// Makes the key, which isn't there. What is used is what lies in the file, never what was meant to.
    pub(super) fn make(&self) -> Result<Keys> {
        if self.is_credential {
            return Err(Error::new(
                Code::Environment,
                format!("the credential {} is gone", show(&self.path)),
            )
            .hint("start the service anew"));
        }
        self.write(&Keys(vec![Identity::generate()]))?;
        self.read()?
            .ok_or_else(|| Error::io("read", &self.path, io::ErrorKind::NotFound.into()))
    }

    /// Puts these keys into the place of what is there, whole or not at all. Only with the database's write lock.
    pub(super) fn write(&self, keys: &Keys) -> Result<()> {
        self.target()
            .and_then(|target| replace(&target, keys))
            .map_err(|e| Error::io_as(Code::Environment, "write the key of the secrets,", &self.path, e))
    }

    /// The file itself, where its name is a link, perhaps to a disk that is encrypted: no key is ever written elsewhere.
    fn target(&self) -> io::Result<PathBuf> {
        match fs::canonicalize(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !self.path.is_symlink() => Ok(self.path.clone()),
            other => other,
        }
    }

    fn metadata(&self) -> Result<Option<fs::Metadata>> {
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.unreadable(e)),
        }
    }

    fn unreadable(&self, cause: io::Error) -> Error {
        Error::io_as(
            Code::Permission,
            "read the key of the secrets,",
            &self.path,
            cause,
        )
    }
}

fn replace(file: &Path, keys: &Keys) -> io::Result<()> {
    let temporary = file.with_file_name(format!("{KEY_FILE_NAME}.new"));
    // Of somebody who died here.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut out = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    out.write_all(keys.text().as_bytes())?;
    out.sync_all()?;
    fs::rename(&temporary, file)?;
    fs::File::open(file.parent().unwrap_or(file))?.sync_all()
}

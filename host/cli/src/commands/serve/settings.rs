//! The settings file: where it is, what it says, and whether it was edited.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use backstay_model::settings::Settings;
use backstay_model::{Code, Error, Result};
use serde_json::Value;

use crate::wire;

/// A settings file.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    /// Somebody named it, so it must be there.
    is_named: bool,
    seen: Option<Seen>,
}

/// What tells an edited file from the one before: inode, size, and time of the last change in nanoseconds.
#[derive(Debug, PartialEq, Eq)]
struct Seen(u64, u64, i64, i64);

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Seen(
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        )
    }
}

impl SettingsFile {
    /// The file that was named, or else the one of this user.
    ///
    /// # Errors
    /// The working directory can't be found.
    pub fn find(named: Option<PathBuf>) -> Result<Self> {
        let is_named = named.is_some();
        let path = match named {
            Some(path) => wire::absolute(&path)?,
            None => wire::default_config_file()?,
        };
        Ok(SettingsFile {
            path,
            is_named,
            seen: None,
        })
    }

    /// What it says. Without a file all is as by default, unless it was named.
    ///
    /// # Errors
    /// It can't be read, isn't YAML, or says something wrong.
    pub fn read(&mut self) -> Result<Settings> {
        self.seen = self.look();
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.is_named => {
                return Ok(Settings::default());
            }
            Err(e) => return Err(Error::io("read the settings file", &self.path, e)),
        };
        let at = |error: Error| {
            Error::new(
                error.code(),
                format!("{}: {}", self.path.display(), error.report()),
            )
            .hint("`backstay serve --print-config` prints a file with all settings")
        };
        let value: Option<Value> = serde_saphyr::from_str(&text)
            .map_err(|e| at(Error::new(Code::Configuration, format!("it is not YAML: {e}"))))?;
        Settings::read(&value.unwrap_or_default()).map_err(at)
    }

    /// Whether it is another than when it was read last.
    pub fn has_changed(&self) -> bool {
        self.look() != self.seen
    }

    fn look(&self) -> Option<Seen> {
        std::fs::metadata(&self.path).ok().as_ref().map(Seen::of)
    }
}
